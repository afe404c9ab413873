//! The watched children of the namespace, in memory.

use super::watches::Watches;
use super::{guarded, slim};
use crate::api::labels;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use tokio::sync::Notify;

/// Page size of lists: keeps the peak of memory low in a large namespace.
const PAGE: u32 = 50;

/// Read access to what the watches have seen.
#[derive(Clone)]
pub struct Cache {
    /// All claims of the namespace: the user's are sources, targets and users of images.
    pub claims: Store<slim::Claim>,
    /// The agent's snapshots.
    pub snapshots: Store<slim::Snapshot>,
    /// The agent's Jobs.
    pub jobs: Store<slim::Job>,
    /// The movers' pods.
    pub pods: Store<slim::Pod>,
    snapshots_served: Arc<Notify>,
}

/// Metadata of children that changed, or that something they are needed for changed: their labels and owners tell whose they are.
pub type Changes = BoxStream<'static, ObjectMeta>;

/// Starts the watches; the stream has to be polled for the cache to be filled.
pub fn watch(client: &Client, namespace: &str, watches: &Watches) -> (Cache, Changes) {
    let all = watcher::Config::default().page_size(PAGE);
    let ours = all.clone().labels(&format!("{}={}", labels::MANAGED_BY, labels::MANAGER));
    let snapshots_served = Arc::new(Notify::new());
    let (claims, claim_changes) = reflect::<slim::Claim>(Api::namespaced(client.clone(), namespace), all, Arc::default(), watches);
    let (snapshots, snapshot_changes) =
        reflect::<slim::Snapshot>(Api::namespaced(client.clone(), namespace), ours.clone(), snapshots_served.clone(), watches);
    let (jobs, job_changes) = reflect::<slim::Job>(Api::namespaced(client.clone(), namespace), ours.clone(), Arc::default(), watches);
    let (pods, pod_changes) = reflect::<slim::Pod>(Api::namespaced(client.clone(), namespace), ours, Arc::default(), watches);
    let images = snapshots.clone();
    let claim_changes = claim_changes.flat_map(move |claim| {
        // Once a claim is bound, the image that it was created from may be deleted.
        let image = claim.image().and_then(|name| images.find(|snapshot| snapshot.metadata.name.as_deref() == Some(name)));
        futures::stream::iter([Some(claim.metadata), image.map(|image| image.metadata.clone())].into_iter().flatten())
    });
    let changes =
        futures::stream::select_all([claim_changes.boxed(), metadata(snapshot_changes), metadata(job_changes), metadata(pod_changes)]);
    (Cache { claims, snapshots, jobs, pods, snapshots_served }, changes.boxed())
}

fn metadata<K: Resource + 'static>(changed: BoxStream<'static, K>) -> Changes {
    changed.map(|mut object| std::mem::take(object.meta_mut())).boxed()
}

fn reflect<K>(
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
    again: Arc<Notify>,
    watches: &Watches,
) -> (Store<K>, BoxStream<'static, K>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Hash + Eq + Clone + Default,
{
    let (store, writer) = reflector::store();
    let stream = guarded::watched(api, config, again, watches.clone()).reflect(writer).touched_objects();
    (store, changes(stream).boxed())
}

fn changes<K: Send>(stream: impl Stream<Item = watcher::Result<K>> + Send) -> impl Stream<Item = K> + Send {
    stream.filter_map(|object| std::future::ready(object.ok()))
}

impl Cache {
    /// A snapshot was made: the cluster serves them, also where it did not when they were last listed.
    pub fn snapshots_are_served(&self) {
        self.snapshots_served.notify_one();
    }

    /// Whether the snapshots were ever listed. What a list has brought stays while later ones fail.
    pub fn knows_snapshots(&self) -> bool {
        self.snapshots.wait_until_ready().now_or_never().is_some()
    }

    /// Waits until every first list is in.
    ///
    /// # Errors
    /// When the watches have ended, which means that the agent is shutting down.
    pub async fn ready(&self) -> anyhow::Result<()> {
        self.claims.wait_until_ready().await?;
        self.jobs.wait_until_ready().await?;
        self.pods.wait_until_ready().await?;
        Ok(())
    }
}
