//! Puts the agent together: settings, watches, controller, ticker and health endpoint, from start to shutdown.
//!
//! Imports everything but `mover`.

use crate::admin;
use crate::cluster::cache::{self, Cache};
use crate::cluster::identity;
use crate::cluster::read::Reader;
use crate::cluster::write::Writer;
use crate::controller::wake::Wakes;
use crate::controller::{self, Context as Shared};
use crate::metrics::Metrics;
use crate::reload;
use crate::triggers;
use anyhow::{Context, Result};
use clap::Args;
use futures::FutureExt;
use kube::Client;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Where the agent runs and what it reads.
#[derive(Args, Debug)]
pub struct Options {
    /// The settings file; its folder is watched for changes.
    #[arg(long, default_value = "/etc/scribe-agent/agent.yaml")]
    pub config: PathBuf,
    /// Address of the health endpoint.
    #[arg(long, default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// The namespace to work in.
    #[arg(long, env = "POD_NAMESPACE")]
    pub namespace: String,
    /// The agent's own pod: its image and pull secrets are those of the movers.
    #[arg(long, env = "POD_NAME")]
    pub pod: String,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When the agent cannot start, or the health endpoint fails.
pub async fn run(options: Options) -> Result<()> {
    let stop = shutdown()?;
    let (settings, _settings_watcher) = reload::watch(&options.config)?;
    let client = Client::try_default().await.context("finding the API server")?;
    let inherited = identity::inherited(&client, &options.namespace, &options.pod).await?;

    let (cache, changes) = cache::watch(&client, &options.namespace);
    let watched = controller::watch_objects(&client, &options.namespace);
    let wakes = Wakes::new(&options.namespace);
    let metrics = Metrics::default();
    let _ticker = triggers::start(watched.objects.clone(), wakes.sender(), settings.clone()).await?;
    let state = Arc::new(admin::State {
        objects: watched.objects.clone(),
        metrics: metrics.clone(),
        settings: settings.clone(),
        ready: AtomicBool::new(false),
    });
    let listener = TcpListener::bind(options.listen).await.with_context(|| format!("listening on {}", options.listen))?;
    let shared = Arc::new(Shared {
        reader: Reader::new(client.clone(), &options.namespace),
        writer: Writer::new(client, &options.namespace, &options.pod),
        cache: cache.clone(),
        settings,
        inherited,
        metrics,
        objects: watched.objects.clone(),
        started: std::time::Instant::now(),
        gate: Mutex::default(),
        wakes: wakes.sender(),
        memory: Mutex::default(),
    });
    tracing::info!(namespace = options.namespace, image = shared.inherited.image, version = env!("CARGO_PKG_VERSION"), "started");
    let objects = watched.objects.clone();
    tokio::select! {
        () = controller::run(watched, changes, wakes, shared, stop) => {
            tracing::info!("stopped; syncs under way go on without the agent");
            Ok(())
        }
        served = admin::serve(listener, state.clone()) => served,
        failed = announce(cache, objects, state) => failed,
    }
}

/// Says so once the first lists are in, and then waits for ever.
async fn announce(cache: Cache, objects: controller::objects::Objects, state: Arc<admin::State>) -> Result<()> {
    cache.ready().await?;
    objects.ready().await?;
    state.ready.store(true, Ordering::Relaxed);
    tracing::info!("ready");
    std::future::pending().await
}

fn shutdown() -> Result<impl Future<Output = ()> + Clone + Send + Sync + 'static> {
    let mut terminate = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("waiting for SIGINT")?;
    let (sender, receiver) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        // Nobody left to tell means that everything has ended already.
        let _ = sender.send(true).is_ok();
    });
    let stopped = async move {
        let mut receiver = receiver;
        // An error means that the sender is gone, which happens only after it has spoken.
        let _ = receiver.wait_for(|stop| *stop).await.is_ok();
    };
    Ok(stopped.boxed().shared())
}
