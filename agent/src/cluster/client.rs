//! The client of the API server: kube's, with three layers.
//!
//! No more requests are made than the settings allow (`budget`).
//!
//! A request that meets with a busy API server is made again for some seconds, and not for as long as a `Retry-After` asks.
//!
//! A watch whose answer ends at once, without an error and without an event, ends for kube only after a pause. kube asks for such a watch again
//! in the same instant and reports nothing. A failing proxy, or an API server that is going down, can end watches like that for hours.

use super::budget::Budget;
use super::watches;
use crate::core::schedule::backoff;
use anyhow::{Context as _, Result};
use hyper::body::{Body as HttpBody, Bytes, Frame};
use hyper::{Request, Response};
use jiff::SignedDuration;
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::time::Sleep;
use tower::buffer::BufferLayer;
use tower::retry::RetryLayer;
use tower::{Layer, Service};

/// A server that accepts requests and never answers is given up on. Longer than any watch, which the server ends after 290 seconds.
const READ_TIMEOUT: Duration = Duration::from_secs(300);
/// A watch that lasted for so long has worked.
const SETTLED: Duration = Duration::from_secs(10);
/// After the first watch that ended at once; doubled after each one that follows, up to the longest.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(1);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(60);

/// Delays before a request is made again. The first is what an API server asks for that has too many requests (`Retry-After: 1`).
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;
/// Requests on their way to the connection; more than there are at any time.
const BUFFER: usize = 1024;

/// A client from the pod's service account, or else from `KUBECONFIG`. `reported` learns which watches work; every request is of `budget`.
///
/// # Errors
/// When neither is there, or cannot be used.
pub async fn client(reported: &watches::Watches, budget: Budget) -> Result<Client> {
    let mut config = Config::infer().await.context("finding the API server")?;
    (config.read_timeout, config.reset_reader_on_write) = (Some(READ_TIMEOUT), true);
    // That one waits for as long as `Retry-After` asks, an hour of it.
    config.default_retry = false;
    let builder = ClientBuilder::try_from(config).context("making a client of the API server")?;
    // If the API server is busy (429, 503, 504). What still fails is retried by the agent, with longer delays.
    let retry = RetryPolicy::new(FIRST_RETRY, LAST_RETRY, RETRIES, false).context("making a client of the API server")?;
    let builder = builder.with_layer(&BufferLayer::new(BUFFER)).with_layer(&budget).with_layer(&RetryLayer::new(retry));
    Ok(builder.with_layer(&WatchLayer { short: Arc::default(), reported: reported.clone() }).build())
}

/// How many watches of each path ended at once, in a row.
#[derive(Clone, Default)]
struct WatchLayer {
    short: Arc<Mutex<HashMap<String, i64>>>,
    reported: watches::Watches,
}

impl WatchLayer {
    /// A watch of `path` has begun. It may bring nothing for a long time.
    fn began(&self, path: &str) {
        self.reported.works(path.rsplit('/').next().unwrap_or_default());
    }

    /// A watch of `path` ended; how long to keep that back.
    fn ended(&self, path: &str, worked: bool) -> Option<Duration> {
        let mut all = self.short.lock().unwrap_or_else(PoisonError::into_inner);
        if worked {
            all.remove(path);
            return None;
        }
        let short = all.entry(path.to_owned()).or_default();
        *short += 1;
        if *short == 3 {
            tracing::warn!(
                path,
                "watches end immediately without an error; retrying with increasing delay: check the proxy in front of the API server"
            );
        }
        Some(backoff::delay(FIRST_PAUSE, LONGEST_PAUSE, *short, path).unsigned_abs())
    }
}

impl<S> Layer<S> for WatchLayer {
    type Service = Paced<S>;

    fn layer(&self, inner: S) -> Paced<S> {
        Paced { inner, watches: self.clone() }
    }
}

/// The service below, whose watches do not end too soon.
struct Paced<S> {
    inner: S,
    watches: WatchLayer,
}

impl<S, B> Service<Request<Body>> for Paced<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<Answer<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let watch = request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "watch=true"));
        let watch = watch.then(|| Watch { watches: self.watches.clone(), path: request.uri().path().to_owned(), began: Instant::now() });
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            if let Some(watch) = watch.as_ref().filter(|_| answer.status().is_success()) {
                watch.watches.began(&watch.path);
            }
            Ok(answer.map(|body| Answer { body: Box::pin(body), watch, pause: None }))
        })
    }
}

/// An open watch, until its first event.
struct Watch {
    watches: WatchLayer,
    path: String,
    began: Instant,
}

/// The body of an answer.
struct Answer<B> {
    body: Pin<Box<B>>,
    watch: Option<Watch>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl<B: HttpBody<Data = Bytes>> HttpBody for Answer<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(pause) = &mut self.pause {
            return pause.as_mut().poll(context).map(|()| None);
        }
        let frame = ready!(self.body.as_mut().poll_frame(context));
        let Some(watch) = self.watch.take() else { return Poll::Ready(frame) };
        let worked = frame.is_some() || watch.began.elapsed() >= SETTLED;
        let Some(pause) = watch.watches.ended(&watch.path, worked) else { return Poll::Ready(frame) };
        self.pause = Some(Box::pin(tokio::time::sleep(pause)));
        self.poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.watch.is_none() && self.pause.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_a_watch_works() {
        let watches = WatchLayer::default();
        let pauses: Vec<_> = (0..8).filter_map(|_| watches.ended("/pods", false)).collect();
        assert!(pauses[0] <= Duration::from_secs(1) && pauses[7] >= Duration::from_secs(45), "{pauses:?}");
        assert!(watches.ended("/jobs", false).is_some_and(|pause| pause <= Duration::from_secs(1)), "each kind has its own");
        assert_eq!(watches.ended("/pods", true), None);
        assert!(watches.ended("/pods", false).is_some_and(|pause| pause <= Duration::from_secs(1)));
    }
}
