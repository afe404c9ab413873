//! Decides which objects to reconcile: the owners of changed children, and the objects that are due.

use super::objects::Objects;
use crate::api::{ReplicationDestination, ReplicationSource, labels};
use crate::cluster::cache::Changes;
use crate::core::model::facts::Kind;
use crate::core::schedule::due;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use std::collections::BTreeSet;

/// Sends objects to be reconciled. Repeats cost nothing: the controller reconciles once.
#[derive(Clone)]
pub struct Sender {
    namespace: String,
    sources: UnboundedSender<ObjectRef<ReplicationSource>>,
    destinations: UnboundedSender<ObjectRef<ReplicationDestination>>,
}

/// Both ends of the queue of objects to reconcile.
pub struct Wakes {
    sender: Sender,
    sources: UnboundedReceiver<ObjectRef<ReplicationSource>>,
    destinations: UnboundedReceiver<ObjectRef<ReplicationDestination>>,
}

impl Wakes {
    /// An empty queue for the objects of this namespace.
    pub fn new(namespace: &str) -> Self {
        let (source_sender, sources) = unbounded();
        let (destination_sender, destinations) = unbounded();
        Wakes {
            sender: Sender { namespace: namespace.to_owned(), sources: source_sender, destinations: destination_sender },
            sources,
            destinations,
        }
    }

    /// The sending end.
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    pub(super) fn split(self) -> (impl Stream<Item = ObjectRef<ReplicationSource>>, impl Stream<Item = ObjectRef<ReplicationDestination>>) {
        (self.sources, self.destinations)
    }
}

impl Sender {
    /// Wakes one object. A closed channel means that the controller is shutting down.
    pub fn wake(&self, kind: Kind, name: &str) {
        let sent = match kind {
            Kind::Source => self.sources.unbounded_send(ObjectRef::new(name).within(&self.namespace)).is_ok(),
            Kind::Destination => self.destinations.unbounded_send(ObjectRef::new(name).within(&self.namespace)).is_ok(),
        };
        if !sent {
            tracing::debug!(name, "not reconciled: the agent is shutting down");
        }
    }
}

/// Wakes the owner of every changed child, and the objects that use a changed claim, be it another object's child or not.
pub(super) async fn by_children(mut changes: Changes, objects: Objects, sender: Sender) {
    while let Some(child) = changes.next().await {
        let name = child.name.as_deref().unwrap_or_default();
        // A claim may be one object's child, or have the labels of one, and be named in the spec of others.
        let mut concerned = objects.users_of(name);
        if let Some(owner) = child.labels.as_ref().and_then(|l| l.get(labels::OWNER_UID)) {
            // What an object left behind may stand in the way of the next one of its name.
            concerned.extend(objects.owner(owner).or_else(|| objects.heir(name)));
        }
        for (kind, name) in concerned {
            sender.wake(kind, &name);
        }
    }
}

/// Wakes every object whose next sync or attempt is due by `now`. Of those that wait for a slot, only as many as could
/// start at once: the rest of a long queue would be reconciled for nothing. `failing` objects, by UID, are woken when their delay is over.
pub fn due(objects: &Objects, sender: &Sender, failing: &BTreeSet<String>, slots: usize, now: Timestamp) {
    objects.each(|kind, name, view| {
        let status = view.status;
        let due = due::next_time(status).is_some_and(|time| time <= now);
        if due && status.waiting_since.is_none() && !failing.contains(view.uid) {
            sender.wake(kind, name);
        }
    });
    queue(objects, sender, slots, now);
}

/// Wakes the objects that are next in the queue for a slot.
pub(super) fn queue(objects: &Objects, sender: &Sender, slots: usize, now: Timestamp) {
    let mut waiting = Vec::new();
    objects.each(|kind, name, view| {
        if view.status.waiting_since.is_some()
            && let Some(position) = view.position(now)
        {
            waiting.push((position, kind, name.to_owned()));
        }
    });
    waiting.sort();
    for (_, kind, name) in waiting.iter().take(slots) {
        sender.wake(*kind, name);
    }
}
