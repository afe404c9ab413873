//! The local HTTP endpoint: health for the kubelet, state for people, metrics for Prometheus.
//!
//! Read-only.

use crate::controller::objects::Objects;
use crate::metrics::{Metrics, Sample};
use crate::reload::Current;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// A client that has not sent its request by then is gone.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// One that has not taken its answer by then is not waited for.
const LONGEST_CONNECTION: Duration = Duration::from_secs(10);
/// Connections at a time; each costs memory and a file descriptor. One more takes the place of the oldest.
const CONNECTIONS: usize = 256;
/// So long every connection has, for a request that is on its way. With this, idle clients delay a probe of the kubelet by far less than
/// its timeout of a second.
const SHORTEST_CONNECTION: Duration = Duration::from_millis(100);
/// Pause after a connection that could not be accepted: file descriptors come back when connections end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// Such trouble may come and go many times a second; it is logged no more often than this.
const WARN_AGAIN: Duration = Duration::from_secs(60);

/// What the endpoint reports.
pub struct State {
    /// The objects.
    pub objects: Objects,
    /// Counters.
    pub metrics: Metrics,
    /// Settings in force.
    pub settings: watch::Receiver<Current>,
    /// Whether the first lists are in.
    pub ready: AtomicBool,
}

/// Serves until the future is dropped. Nothing that a client does, or that the system lacks for a while, ends it.
pub async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut open: VecDeque<(Instant, AbortHandle)> = VecDeque::new();
    let mut serving = JoinSet::new();
    let mut warned: Option<Instant> = None;
    loop {
        while serving.try_join_next().is_some() {}
        open.retain(|(_, connection)| !connection.is_finished());
        if open.len() >= CONNECTIONS
            && let Some((since, oldest)) = open.pop_front()
        {
            tokio::time::sleep(SHORTEST_CONNECTION.saturating_sub(since.elapsed())).await;
            oldest.abort();
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                let state = state.clone();
                let connection = serving.spawn(async move {
                    if tokio::time::timeout(LONGEST_CONNECTION, connection(stream, &state)).await.is_err() {
                        tracing::debug!("a client of the health endpoint took too long");
                    }
                });
                open.push_back((Instant::now(), connection));
            }
            Err(error) => {
                if warned.is_none_or(|warned| warned.elapsed() >= WARN_AGAIN) {
                    tracing::warn!(%error, "the health endpoint cannot accept connections; retrying");
                    warned = Some(Instant::now());
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One request and its answer.
async fn connection(stream: TcpStream, state: &State) {
    let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(&request, state))));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .keep_alive(false)
        .max_buf_size(8 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a client of the health endpoint went away");
    }
}

fn answer(request: &Request<Incoming>, state: &State) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    match request.uri().path() {
        "/livez" => text(StatusCode::OK, "ok\n"),
        "/readyz" if state.ready.load(Ordering::Relaxed) => text(StatusCode::OK, "ok\n"),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "the first lists of objects are not complete yet\n"),
        "/healthz" => typed(StatusCode::OK, "application/json", format!("{:#}\n", health(state, Timestamp::now()))),
        "/metrics" => metrics(state),
        _ => text(StatusCode::NOT_FOUND, "/livez /readyz /healthz /metrics\n"),
    }
}

fn metrics(state: &State) -> Response<Full<Bytes>> {
    let all = state.objects.all();
    let samples: Vec<_> =
        all.iter().map(|r| Sample { object: &r.object, status: &r.status, paused: r.spec.as_ref().is_ok_and(|s| s.paused) }).collect();
    let good = state.settings.borrow().problem.is_none();
    match state.metrics.exposition(&samples, good, Timestamp::now()) {
        Ok(body) => typed(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", body),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
    }
}

/// Each replication: how old its data is, and what it waits for.
fn health(state: &State, now: Timestamp) -> Value {
    let replications: Vec<_> = state
        .objects
        .all()
        .iter()
        .map(|r| {
            let condition = |kind: &str| r.status.conditions.iter().find(|c| c.type_ == kind);
            json!({
                "kind": r.object.kind.as_str(),
                "name": r.object.name,
                "ready": condition("Ready").is_some_and(|c| c.status == "True"),
                "stalled": condition("Stalled").filter(|c| c.status == "True").map(|c| &c.message),
                "state": condition("Synchronizing").map(|c| &c.reason),
                "message": condition("Synchronizing").map(|c| &c.message),
                "lastSyncTime": r.status.last_sync_time,
                "nextSyncTime": r.status.next_sync_time,
                "dataAgeSeconds": r.status.data_time.as_ref().map(|t| now.duration_since(t.0).as_secs()),
                "sourceCheckedTime": r.status.source_checked_time,
                "waitingSince": r.status.waiting_since,
                "attempts": r.status.attempts,
                "nextAttemptTime": r.status.next_attempt_time,
                "lastError": r.status.last_error,
            })
        })
        .collect();
    json!({
        "ready": state.ready.load(Ordering::Relaxed),
        "settingsProblem": state.settings.borrow().problem,
        "replications": replications,
    })
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", body.to_owned())
}

fn typed(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
