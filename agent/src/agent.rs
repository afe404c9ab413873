//! Puts the agent together: settings, watches, controller, ticker and health endpoint, from start to shutdown.

use crate::admin;
use crate::api::mover::MoverPod;
use crate::api::reason::Reason;
use crate::cluster::budget::Budget;
use crate::cluster::cache::{self, Cache};
use crate::cluster::client;
use crate::cluster::identity;
use crate::cluster::notices::Notices;
use crate::cluster::read::Reader;
use crate::cluster::warnings::Warnings;
use crate::cluster::watches::Watches;
use crate::cluster::write::Writer;
use crate::controller::places::Places;
use crate::controller::undeclared::Undeclared;
use crate::controller::wake::Wakes;
use crate::controller::{self, Context as Shared, Memories, Watched};
use crate::metrics::Metrics;
use crate::reload::{self, Current};
use crate::settings;
use crate::triggers;
use anyhow::{Context, Result};
use clap::Args;
use futures::FutureExt;
use k8s_openapi::api::core::v1::PodSecurityContext;
use kube::Client;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// What is logged unless `RUST_LOG` says otherwise. The ticker's start-up chatter says nothing to a user; of failed requests kube would
/// log every try, where the agent logs every new trouble (`cluster::pace`).
pub const LOG: &str = "info,tokio_cron_scheduler=warn,kube_runtime::watcher=off,kube_client::client::builder=off";

/// Running reconciles may finish within this time. One that is cut off does no harm: a crash does none either.
const LAST_LOOKS: Duration = Duration::from_secs(1);

/// Pause before an event about the settings is tried again.
const PUBLISH_AGAIN: Duration = Duration::from_secs(60);

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
    /// The `ServiceAccount` of the movers' pods, unless the settings name one.
    #[arg(long, env = "MOVER_SERVICE_ACCOUNT", default_value = "scribe-mover")]
    pub mover_service_account: String,
    /// The security context of the movers' pods, as YAML, unless the settings or an object's spec say another.
    #[arg(long, env = "MOVER_SECURITY_CONTEXT", value_parser = settings::mover::security_context)]
    pub mover_security_context: Option<PodSecurityContext>,
    /// The agent's own pod: its image and pull secrets are those of the movers.
    #[arg(long, env = "POD_NAME")]
    pub pod: String,
}

/// Runs until SIGTERM or SIGINT, which end it at once in whatever it is at.
///
/// The health endpoint answers before anything is asked of the API server: an agent that waits for one lives.
///
/// # Errors
/// When the agent cannot start, or the health endpoint fails.
pub async fn run(options: Options) -> Result<()> {
    let stop = shutdown()?;
    let (settings, _settings_watcher) = reload::watch(&options.config);
    let watches = Watches::default();
    let in_force = settings.clone();
    let client = client::client(&watches, Budget::new(move || in_force.borrow().settings.requests)).await?;
    let watched = controller::watch_objects(&client, &options.namespace, &watches);
    let state =
        Arc::new(admin::State { objects: watched.objects.clone(), metrics: Metrics::default(), settings, ready: AtomicBool::new(false) });
    let listener = TcpListener::bind(options.listen).await.with_context(|| format!("listening on {}", options.listen))?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    let ended = tokio::select! {
        ended = work(&options, client, (watched, watches), state.clone(), stop.clone()) => ended,
        () = admin::serve(listener, state.clone()) => Ok(()),
        () = stopped(stop, &state) => Ok(()),
    };
    if ended.is_ok() {
        tracing::info!("stopped; running movers continue without the agent");
    }
    ended
}

/// Everything that needs the API server, until `stop`.
async fn work(
    options: &Options,
    client: Client,
    (watched, watches): (Watched, Watches),
    state: Arc<admin::State>,
    stop: impl Future<Output = ()> + Clone + Send + Sync + 'static,
) -> Result<()> {
    let inherited = identity::inherited(&client, &options.namespace, &options.pod).await?;
    let notices = Notices::new(client.clone(), &options.namespace, &options.pod, &inherited.uid);
    let (cache, changes) = cache::watch(&client, &options.namespace, &watches);
    let wakes = Wakes::new(&options.namespace);
    let objects = watched.objects.clone();
    let memory = Memories::default();
    let _ticker = triggers::start(objects.clone(), wakes.sender(), memory.clone(), state.settings.clone()).await?;
    let reader = Reader::new(client.clone(), &options.namespace);
    let shared = Arc::new(Shared {
        warnings: Warnings::new(reader.clone()),
        reader,
        writer: Writer::new(client, &options.namespace, &options.pod),
        cache: cache.clone(),
        watches,
        settings: state.settings.clone(),
        inherited,
        movers: MoverPod {
            service_account: Some(options.mover_service_account.clone()),
            security_context: options.mover_security_context.clone().map(Box::new),
            ..MoverPod::default()
        },
        metrics: state.metrics.clone(),
        objects: objects.clone(),
        started: std::time::Instant::now(),
        slots: Mutex::default(),
        claims: Mutex::default(),
        places: Places::default(),
        wakes: wakes.sender(),
        memory,
        undeclared: Undeclared::default(),
    });
    tracing::info!(namespace = options.namespace, image = shared.inherited.image, version = env!("CARGO_PKG_VERSION"), "started");
    tokio::select! {
        () = controller::run(watched, changes, wakes, shared, stop) => {}
        () = announce(cache, objects, state.clone()) => {}
        () = report_settings(state.settings.clone(), notices) => {}
    }
    Ok(())
}

/// Returns when it is time to end without waiting for anything else.
async fn stopped(stop: impl Future<Output = ()>, state: &admin::State) {
    stop.await;
    if state.ready.load(Ordering::Relaxed) {
        tokio::time::sleep(LAST_LOOKS).await;
    }
}

/// An event on the agent's own pod whenever the settings are found to be invalid. Waits for ever.
async fn report_settings(mut settings: watch::Receiver<Current>, notices: Notices) {
    loop {
        let problem = settings.borrow_and_update().problem.clone();
        if let Some(problem) = problem {
            while let Err(error) = notices.publish(Reason::SettingsInvalid, &problem).await {
                tracing::warn!(%error, "the event about the settings is not published; retrying");
                tokio::time::sleep(PUBLISH_AGAIN).await;
                if settings.has_changed().unwrap_or(true) {
                    break;
                }
            }
        }
        if settings.changed().await.is_err() {
            // They cannot change any more.
            std::future::pending::<()>().await;
        }
    }
}

/// Says so once the first lists are in, and then waits for ever.
async fn announce(cache: Cache, objects: controller::objects::Objects, state: Arc<admin::State>) {
    // They fail when the watches end before that, which they do when the agent is asked to stop: no failure of its own.
    if cache.ready().await.is_ok() && objects.ready().await.is_ok() {
        state.ready.store(true, Ordering::Relaxed);
        tracing::info!("ready");
    }
    std::future::pending::<()>().await;
}

fn shutdown() -> Result<impl Future<Output = ()> + Clone + Send + Sync + 'static> {
    let mut terminate = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("waiting for SIGINT")?;
    let (sender, receiver) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        // Without a receiver everything has ended already.
        let _ = sender.send(true).is_ok();
    });
    let stopped = async move {
        let mut receiver = receiver;
        // An error means that the sender is gone, which happens only after it has spoken.
        let _ = receiver.wait_for(|stop| *stop).await.is_ok();
    };
    Ok(stopped.boxed().shared())
}
