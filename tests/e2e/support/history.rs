//! All that happens in a namespace, in the order in which it happened: what a test was too late to see, and that nothing else was there.

use super::replication::CHILDREN;
use super::site::Site;
use futures::TryStreamExt;
use kube::api::{DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// One change.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What became of the object.
    pub change: Change,
    /// Its kind.
    pub kind: &'static str,
    /// Place in the order of all changes of the cluster.
    pub order: u64,
    /// The object afterwards; before it, for one that is gone.
    pub object: DynamicObject,
}

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Made,
    Changed,
    Gone,
}

/// The changes since the history began. Ends when dropped, with all its clones.
#[derive(Clone)]
pub struct History {
    seen: watch::Receiver<Vec<Seen>>,
    _watches: Arc<JoinSet<()>>,
}

impl Site {
    /// Begins a history of the agent's children and the user's objects.
    pub async fn history(&self) -> History {
        self.history_with(&[]).await
    }

    /// The same with more objects, each by its group, version and kind.
    pub async fn history_with(&self, more: &[(&'static str, &'static str, &'static str)]) -> History {
        let (sender, seen) = watch::channel(Vec::new());
        let mut watches = JoinSet::new();
        let replications = [("scribe.backube", "v1alpha1", "ReplicationSource"), ("scribe.backube", "v1alpha1", "ReplicationDestination")];
        for (group, version, kind) in CHILDREN.into_iter().chain(replications).chain(more.iter().copied()) {
            let api = self.api(group, version, kind);
            let now = api.list(&ListParams::default().limit(1)).await.unwrap().metadata.resource_version.unwrap();
            watches.spawn(record(api, kind, now, sender.clone()));
        }
        History { seen, _watches: Arc::new(watches) }
    }
}

async fn record(api: Api<DynamicObject>, kind: &'static str, mut since: String, sender: watch::Sender<Vec<Seen>>) {
    loop {
        let mut events = Box::pin(api.watch(&WatchParams::default(), &since).await.unwrap());
        while let Some(event) = events.try_next().await.unwrap() {
            let (change, object) = match event {
                WatchEvent::Added(object) => (Change::Made, object),
                WatchEvent::Modified(object) => (Change::Changed, object),
                WatchEvent::Deleted(object) => (Change::Gone, object),
                WatchEvent::Bookmark(_) => continue,
                WatchEvent::Error(error) => panic!("watching {kind}: {error:?}"),
            };
            since = object.resource_version().unwrap();
            let seen = Seen { change, kind, order: since.parse().unwrap(), object };
            sender.send_modify(|all| all.push(seen));
        }
    }
}

impl History {
    /// Waits for a change, which may have happened already. Returns at once when it happens.
    pub async fn until(&mut self, what: &str, seconds: u64, wanted: impl Fn(&Seen) -> bool) -> Seen {
        let found = self.seen.wait_for(|all| all.iter().any(&wanted));
        let found = tokio::time::timeout(Duration::from_secs(seconds), found).await;
        let Ok(Ok(all)) = found else { panic!("waited {seconds} s in vain for: {what}") };
        all.iter().find(|seen| wanted(seen)).cloned().unwrap()
    }

    /// Waits until there is something new that is wanted.
    pub async fn until_more(&mut self, seconds: u64, wanted: impl Fn(&History) -> bool) {
        let looking = async {
            while !wanted(self) {
                self.seen.changed().await.unwrap();
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(seconds), looking).await.is_ok(), "waited {seconds} s in vain for anything new");
    }

    /// All changes of this kind so far, in order.
    pub fn all(&self, kind: &str) -> Vec<Seen> {
        let mut all: Vec<_> = self.seen.borrow().iter().filter(|seen| seen.kind == kind).cloned().collect();
        all.sort_by_key(|seen| seen.order);
        all
    }

    /// Names of the objects of this kind that the agent has made, in order. One that was made twice is there twice.
    pub fn made(&self, kind: &str) -> Vec<String> {
        self.all(kind).iter().filter(|seen| seen.change == Change::Made && seen.ours()).map(|seen| seen.object.name_any()).collect()
    }
}

impl Seen {
    /// Whether the agent made the object.
    pub fn ours(&self) -> bool {
        self.object.labels().get("app.kubernetes.io/managed-by").is_some_and(|manager| manager == "scribe-agent")
    }

    /// Whether an object of this kind and name was made.
    pub fn made(&self, kind: &str, name: &str) -> bool {
        self.change == Change::Made && self.kind == kind && self.object.name_any() == name
    }
}
