//! The control loop: whatever happens to an object or its children, reconcile the object.
//!
//! `observe` reads facts, `core::decide` decides, `reconcile` executes.

pub mod claims;
mod copies;
mod events;
mod failure;
mod kept;
pub mod memory;
pub mod objects;
mod observe;
pub mod places;
pub mod progress;
mod pushes;
mod reconcile;
mod removals;
pub mod slots;
mod taken;
mod turn;
mod unconfirmed;
mod uncut;
pub mod undeclared;
mod unread;
mod waiting;
pub mod wake;
mod why;
mod written;

use crate::api::mover::MoverPod;
use crate::api::{ReplicationDestination, ReplicationSource};
use crate::cluster::cache::{Cache, Changes};
use crate::cluster::guarded;
use crate::cluster::identity::Inherited;
use crate::cluster::read::Reader;
use crate::cluster::view::Replicated;
use crate::cluster::warnings::Warnings;
use crate::cluster::watches::Watches;
use crate::cluster::write::Writer;
use crate::core::model::facts::Kind;
use crate::core::model::pod;
use crate::manifests::job::Mover;
use crate::metrics::Metrics;
use crate::reload::Current;
use claims::Claims;
use futures::{Stream, StreamExt};
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{Controller, WatchStreamExt, controller, reflector, watcher};
use kube::{Api, Client, Resource};
pub use memory::{Memories, Memory, Warning};
use objects::Objects;
use places::Places;
use serde::de::DeserializeOwned;
use slots::Slots;
use std::collections::HashMap;
use std::fmt::Debug;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use undeclared::Undeclared;

/// Changes that come close together are reconciled once.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// What has failed less often in a row than this may have been a moment's trouble, and is not reported.
const FAILURES_THAT_PASS: i64 = 3;

/// Any number of reconciles may look at the cache; those that make requests wait for their turn (`places`).
const UNLIMITED: u16 = 0;

/// What every reconcile needs.
pub struct Context {
    /// Fresh reads.
    pub reader: Reader,
    /// Why something waits.
    pub warnings: Warnings,
    /// Writes.
    pub writer: Writer,
    /// Watched children.
    pub cache: Cache,
    /// Which watches fail.
    pub watches: Watches,
    /// Settings in force.
    pub settings: watch::Receiver<Current>,
    /// What movers inherit from the agent's pod.
    pub inherited: Inherited,
    /// What the movers' pods are like by the agent's Deployment, unless the settings say otherwise.
    pub movers: MoverPod,
    /// Counters.
    pub metrics: Metrics,
    /// When the agent started.
    pub started: Instant,
    /// All objects of the namespace, for the slots.
    pub objects: Objects,
    /// Who may start a sync.
    pub slots: Mutex<Slots>,
    /// Which destination may write to a PVC.
    pub claims: Mutex<Claims>,
    /// Which reconciles make requests.
    pub places: Places,
    /// Wakes objects that may have a slot now.
    pub wakes: wake::Sender,
    /// Per object's UID, what the agent remembers between two reconciles.
    pub memory: Memories,
    /// What the CRDs lack.
    pub undeclared: Undeclared,
}

impl Context {
    fn slots(&self) -> std::sync::MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What movers are made of beside what the plan says.
    fn mover(&self) -> Mover {
        let settings = self.settings.borrow().settings.mover.clone();
        Mover {
            image: self.inherited.image.clone(),
            image_pull_policy: self.inherited.image_pull_policy.clone(),
            image_pull_secrets: self.inherited.image_pull_secrets.clone(),
            pod: pod::over(&settings.pod, &self.movers),
            options: settings.options,
            environment: self.inherited.proxies.clone(),
            temporary_space: settings.temporary_space,
            verify_interval: settings.verify_interval,
            rehash_interval: settings.rehash_interval,
            heartbeat_interval: settings.heartbeat_interval,
        }
    }

    fn claims(&self) -> std::sync::MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What does not work although syncs go on: for the object that `memory` is of, for all of its kind, and for all of them.
    fn troubles(&self, kind: Kind, memory: &Memory) -> Vec<String> {
        memory.troubles().into_iter().chain(self.undeclared.trouble(kind, Instant::now())).chain(self.watches.troubles()).collect()
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, HashMap<String, Memory>> {
        self.memory.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Both kinds' stores and the streams that fill them.
pub struct Watched {
    /// Read access.
    pub objects: Objects,
    sources: futures::stream::BoxStream<'static, Result<ReplicationSource, watcher::Error>>,
    destinations: futures::stream::BoxStream<'static, Result<ReplicationDestination, watcher::Error>>,
}

/// Watches both kinds.
pub fn watch_objects(client: &Client, namespace: &str, watches: &Watches) -> Watched {
    let (sources, source_stream) = reflect(Api::namespaced(client.clone(), namespace), watches);
    let (destinations, destination_stream) = reflect(Api::namespaced(client.clone(), namespace), watches);
    Watched { objects: Objects { sources, destinations }, sources: source_stream, destinations: destination_stream }
}

fn reflect<K>(
    api: Api<DeserializeGuard<K>>,
    watches: &Watches,
) -> (Store<K>, futures::stream::BoxStream<'static, Result<K, watcher::Error>>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let stream = guarded::watched(api, watcher::Config::default().page_size(50), Arc::default(), watches.clone())
        .modify(|object| object.meta_mut().managed_fields = None)
        .reflect(writer)
        .applied_objects();
    (store, stream.boxed())
}

/// Runs until `shutdown`, then lets running reconciles finish.
pub async fn run(
    watched: Watched,
    changes: Changes,
    wakes: wake::Wakes,
    context: Arc<Context>,
    shutdown: impl Future<Output = ()> + Clone + Send + Sync + 'static,
) {
    let Watched { objects, sources, destinations } = watched;
    let settings = context.settings.clone();
    let slots = move || settings.borrow().settings.limits.max_concurrent_syncs;
    let pokes = wake::by_children(changes, objects.clone(), wakes.sender(), slots);
    let (source_wakes, destination_wakes) = wakes.split();
    tokio::join!(
        drive(sources, objects.sources, source_wakes, context.clone(), shutdown.clone()),
        drive(destinations, objects.destinations, destination_wakes, context, shutdown.clone()),
        async {
            tokio::select! { () = pokes => {}, () = shutdown => {} }
        },
    );
}

async fn drive<K>(
    stream: impl Stream<Item = Result<K, watcher::Error>> + Send + 'static,
    store: Store<K>,
    wakes: impl Stream<Item = ObjectRef<K>> + Send + 'static,
    context: Arc<Context>,
    shutdown: impl Future<Output = ()> + Send + Sync + 'static,
) where
    K: Resource<DynamicType = ()> + Replicated + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    Controller::for_stream(stream, store)
        .with_config(controller::Config::default().debounce(DEBOUNCE).concurrency(UNLIMITED))
        .reconcile_on(wakes)
        .graceful_shutdown_on(shutdown)
        .run(reconcile::reconcile::<K>, reconcile::again_after_failure::<K>, context)
        .for_each(|result| {
            if let Err(error) = result
                && !matches!(error, controller::Error::ReconcilerFailed(..) | controller::Error::ObjectNotFound(_))
            {
                tracing::warn!(%error, kind = K::KIND.as_str(), "the watch of the objects failed; retrying");
            }
            std::future::ready(())
        })
        .await;
}
