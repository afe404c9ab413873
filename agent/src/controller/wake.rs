//! Who is to be looked at: the owners of changed children, and the objects whose time has come.
//!
//! Imports `objects`, `cluster`, `core`, `api`.

use super::objects::Objects;
use crate::api::{ReplicationDestination, ReplicationSource, labels};
use crate::cluster::cache::Changes;
use crate::cluster::view::Replication;
use crate::core::facts::{Kind, Object};
use crate::core::spec::{Target, Volume};
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::reflector::ObjectRef;

/// Sends objects to be looked at. Repeats cost nothing: the controller looks once.
#[derive(Clone)]
pub struct Sender {
    sources: UnboundedSender<ObjectRef<ReplicationSource>>,
    destinations: UnboundedSender<ObjectRef<ReplicationDestination>>,
}

/// Both ends of the queue of objects to look at.
pub struct Wakes {
    sender: Sender,
    sources: UnboundedReceiver<ObjectRef<ReplicationSource>>,
    destinations: UnboundedReceiver<ObjectRef<ReplicationDestination>>,
}

impl Default for Wakes {
    fn default() -> Self {
        let (source_sender, sources) = unbounded();
        let (destination_sender, destinations) = unbounded();
        Wakes { sender: Sender { sources: source_sender, destinations: destination_sender }, sources, destinations }
    }
}

impl Wakes {
    /// The sending end.
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    pub(super) fn split(self) -> (impl Stream<Item = ObjectRef<ReplicationSource>>, impl Stream<Item = ObjectRef<ReplicationDestination>>) {
        (self.sources, self.destinations)
    }
}

impl Sender {
    /// Has one object looked at.
    pub fn wake(&self, object: &Object) {
        let (name, namespace) = (object.name.as_str(), object.namespace.as_str());
        // A closed channel means that the controller is shutting down.
        let _ = match object.kind {
            Kind::Source => self.sources.unbounded_send(ObjectRef::new(name).within(namespace)).is_ok(),
            Kind::Destination => self.destinations.unbounded_send(ObjectRef::new(name).within(namespace)).is_ok(),
        };
    }
}

/// Has the owner of every changed child looked at.
pub(super) async fn by_children(mut changes: Changes, objects: Objects, sender: Sender) {
    while let Some(child) = changes.next().await {
        for replication in objects.all() {
            if concerns(&child, &replication) {
                sender.wake(&replication.object);
            }
        }
    }
}

fn concerns(child: &ObjectMeta, replication: &Replication) -> bool {
    match child.labels.as_ref().and_then(|l| l.get(labels::OWNER_UID)) {
        Some(owner) => *owner == replication.object.uid,
        // One of the user's claims.
        None => child.name.as_ref().is_some_and(|name| match replication.spec.as_ref().map(|s| &s.volume) {
            Ok(Volume::Source { claim, .. } | Volume::Destination { claim: Target::Existing(claim), .. }) => claim == name,
            _ => false,
        }),
    }
}

/// Has every object looked at whose next sync is due by `now`.
pub fn due(objects: &Objects, sender: &Sender, now: Timestamp) {
    for replication in objects.all() {
        if replication.status.next_sync_time.as_ref().is_some_and(|next| next.0 <= now) {
            sender.wake(&replication.object);
        }
    }
}
