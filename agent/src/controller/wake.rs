//! Decides which objects to reconcile: the owners of changed children, and the objects that are due.

use super::objects::Objects;
use crate::api::{ReplicationDestination, ReplicationSource, labels};
use crate::cluster::cache::Changes;
use crate::core::model::facts::{Kind, Role};
use crate::core::schedule::due;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
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

/// Wakes the owner of every changed child, and the objects that use a changed claim, be it another object's child or not; and of those that
/// wait for a slot as many as there are `slots`, where one may be free: a mover that ends has one, and an object that is deleted.
pub(super) async fn by_children(mut changes: Changes, objects: Objects, sender: Sender, slots: impl Fn() -> usize) {
    while let Some(child) = changes.next().await {
        let name = child.name.as_deref().unwrap_or_default();
        if may_free_a_slot(&child, &objects) {
            queue(&objects, &sender, slots(), Timestamp::now());
        }
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

fn may_free_a_slot(child: &ObjectMeta, objects: &Objects) -> bool {
    let label = |key: &str| child.labels.as_ref().and_then(|labels| labels.get(key));
    let moves = label(labels::COMPONENT).is_some_and(|component| component == Role::Mover.as_str());
    moves || label(labels::OWNER_UID).is_some_and(|owner| objects.owner(owner).is_none())
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

#[cfg(test)]
mod tests {
    use super::*;
    use kube::runtime::reflector::{Store, store};
    use kube::runtime::watcher::Event;
    use serde_json::json;

    fn holding<K>(objects: Vec<serde_json::Value>) -> Store<K>
    where
        K: kube::Resource<DynamicType = ()> + serde::de::DeserializeOwned + Clone + 'static,
    {
        let (reader, mut writer) = store();
        for object in objects {
            writer.apply_watcher_event(&Event::Apply(serde_json::from_value(object).unwrap()));
        }
        reader
    }

    fn object(kind: &str, name: &str, rclone: &serde_json::Value) -> serde_json::Value {
        let mut rclone = rclone.clone();
        (rclone["rcloneConfig"], rclone["rcloneConfigSection"], rclone["rcloneDestPath"]) = (json!("s"), json!("r"), json!("p"));
        json!({ "apiVersion": "scribe.backube/v1alpha1", "kind": kind, "metadata": { "name": name, "namespace": "ns", "uid": name },
            "spec": { "sourcePVC": "shared", "rclone": rclone } })
    }

    /// Everything that is woken by the change of a claim with this name, which has the labels of this owner.
    async fn woken(claim: &str, owner: Option<&str>) -> BTreeSet<String> {
        let objects = Objects {
            sources: holding(vec![object("ReplicationSource", "push", &json!({}))]),
            destinations: holding(vec![
                object("ReplicationDestination", "owner", &json!({ "capacity": "1Gi" })),
                object("ReplicationDestination", "user", &json!({ "destinationPVC": "scribe-dest-owner" })),
            ]),
        };
        let labels = owner.map(|owner| [(labels::OWNER_UID.to_owned(), owner.to_owned())].into());
        let changed = ObjectMeta { name: Some(claim.to_owned()), labels, ..ObjectMeta::default() };
        let wakes = Wakes::new("ns");
        by_children(futures::stream::iter([changed]).boxed(), objects, wakes.sender(), || 1).await;
        let (sources, destinations) = wakes.split();
        let (sources, destinations) = (sources.map(|object| object.name), destinations.map(|object| object.name));
        futures::stream::select(sources, destinations).collect().await
    }

    /// The ticker would do so five seconds later. One that changes in any other way takes no slot, and gives none back.
    #[tokio::test]
    async fn those_that_wait_for_a_slot_are_woken_when_a_mover_ends() {
        let time = "1970-01-01T00:00:00Z";
        let waits = |name: &str, since: &str| {
            let mut source = object("ReplicationSource", name, &json!({}));
            source["spec"]["trigger"] = json!({ "manual": "now" });
            source["status"] = json!({ "waitingSince": since });
            source
        };
        for (owner, component, expected) in
            [("works", "mover", vec!["first", "works"]), ("works", "capture", vec!["works"]), ("deleted", "capture", vec!["first"])]
        {
            let works = object("ReplicationSource", "works", &json!({}));
            let objects = Objects {
                sources: holding(vec![works, waits("second", "1970-01-02T00:00:00Z"), waits("first", time)]),
                destinations: holding(vec![]),
            };
            let labels = [(labels::OWNER_UID, owner), (labels::COMPONENT, component)];
            let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            let changed = ObjectMeta { name: Some("child".to_owned()), labels: Some(labels), ..ObjectMeta::default() };
            let wakes = Wakes::new("ns");
            by_children(futures::stream::iter([changed]).boxed(), objects, wakes.sender(), || 1).await;
            let woken: BTreeSet<String> = wakes.split().0.map(|object| object.name).collect().await;
            assert_eq!(woken, expected.into_iter().map(str::to_owned).collect(), "{component} of {owner}");
        }
    }

    /// A destination that names the volume of another one learnt only a minute later that it was there.
    #[tokio::test]
    async fn a_claim_wakes_its_owner_and_all_that_name_it() {
        let names = |names: &[&str]| -> BTreeSet<String> { names.iter().map(|name| (*name).to_owned()).collect() };
        assert_eq!(woken("scribe-dest-owner", Some("owner")).await, names(&["owner", "user"]));
        assert_eq!(woken("shared", None).await, names(&["push"]));
        assert_eq!(woken("shared", Some("owner")).await, names(&["owner", "push"]), "a copy with the labels of a child");
        assert_eq!(woken("scribe-dest-owner", Some("gone")).await, names(&["owner", "user"]), "the next one of its name");
    }
}
