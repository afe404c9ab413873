//! How many requests the agent makes: a token bucket just before the connection, so that no request goes around it, retries included. A
//! watch is one request, when it is opened.

use super::priority::{self, Queue};
use crate::core::model::limits::RequestRate;
use hyper::Request;
use kube::client::Body;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};
use tower::{Layer, Service};

/// The budget of all requests; its clones share it.
#[derive(Clone)]
pub struct Budget(Arc<Shared>);

struct Shared {
    /// Asked each time: settings may change.
    rate: Box<dyn Fn() -> RequestRate + Send + Sync>,
    state: Mutex<State>,
    waits: Notify,
}

struct State {
    bucket: Bucket,
    queue: Queue<oneshot::Sender<()>>,
}

impl Budget {
    /// A full budget. It needs a runtime.
    pub fn new(rate: impl Fn() -> RequestRate + Send + Sync + 'static) -> Budget {
        let bucket = Bucket::full(rate(), Instant::now());
        let state = Mutex::new(State { bucket, queue: Queue::default() });
        let shared = Arc::new(Shared { rate: Box::new(rate), state, waits: Notify::new() });
        tokio::spawn(serve(Arc::downgrade(&shared)));
        Budget(shared)
    }

    /// Waits until one more request may be made.
    pub async fn take(&self) {
        let granted = {
            let rate = (self.0.rate)();
            let mut state = self.0.state();
            if state.queue.is_empty() && state.bucket.take(rate, Instant::now()).is_ok() {
                return;
            }
            let (grant, granted) = oneshot::channel();
            state.queue.push(priority::present(), grant);
            granted
        };
        self.0.waits.notify_one();
        // An error means that the runtime ends.
        let _ = granted.await.is_ok();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves the next one that waits; otherwise says how long nothing is to be done, if anything waits.
    fn grant(&self) -> Result<(), Option<Duration>> {
        let rate = (self.rate)();
        let mut state = self.state();
        if state.queue.is_empty() {
            return Err(None);
        }
        state.bucket.take(rate, Instant::now()).map_err(Some)?;
        while let Some(next) = state.queue.pop() {
            if next.send(()).is_ok() {
                return Ok(());
            }
        }
        // All of them have been given up meanwhile.
        state.bucket.put_back();
        Err(None)
    }
}

/// Serves those that wait, for as long as there is a budget.
async fn serve(budget: Weak<Shared>) {
    loop {
        let Some(shared) = budget.upgrade() else { return };
        match shared.grant() {
            Ok(()) => {}
            Err(Some(delay)) => {
                drop(shared);
                tokio::time::sleep(delay).await;
            }
            Err(None) => shared.waits.notified().await,
        }
    }
}

/// A token bucket.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn full(rate: RequestRate, now: Instant) -> Bucket {
        Bucket { tokens: f64::from(rate.burst), filled: now }
    }

    /// Takes a token; otherwise says when there will be one.
    fn take(&mut self, rate: RequestRate, now: Instant) -> Result<(), Duration> {
        let earned = now.saturating_duration_since(self.filled).as_secs_f64() * f64::from(rate.qps);
        (self.tokens, self.filled) = ((self.tokens + earned).min(f64::from(rate.burst)), now);
        if self.tokens < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - self.tokens) / f64::from(rate.qps.max(1))));
        }
        self.tokens -= 1.0;
        Ok(())
    }

    fn put_back(&mut self) {
        self.tokens += 1.0;
    }
}

impl<S> Layer<S> for Budget {
    type Service = Budgeted<S>;

    fn layer(&self, inner: S) -> Budgeted<S> {
        Budgeted { inner, budget: self.clone() }
    }
}

/// The service below, to which no more requests go than the budget allows.
#[derive(Clone)]
pub struct Budgeted<S> {
    inner: S,
    budget: Budget,
}

impl<S> Service<Request<Body>> for Budgeted<S>
where
    S: Service<Request<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send,
    S::Error: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (mut inner, budget) = (self.inner.clone(), self.budget.clone());
        // The future is polled by the one that makes the request, whose priority counts; this function is not called by it.
        Box::pin(async move {
            budget.take().await;
            poll_fn(|context| inner.poll_ready(context)).await?;
            inner.call(request).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: RequestRate = RequestRate { qps: 20, burst: 40 };

    /// Requests within so many seconds, of one that always has another to make.
    fn within(seconds: u64, rate: RequestRate) -> usize {
        let began = Instant::now();
        let (mut bucket, mut now, mut made) = (Bucket::full(rate, began), began, 0);
        while now.duration_since(began) < Duration::from_secs(seconds) {
            match bucket.take(rate, now) {
                Ok(()) => made += 1,
                Err(delay) => now += delay.max(Duration::from_micros(1)),
            }
        }
        made
    }

    #[test]
    fn no_more_requests_than_are_allowed() {
        for (seconds, rate, expected) in [(1, USUAL, 60), (10, USUAL, 240), (60, USUAL, 1240), (10, RequestRate { qps: 1, burst: 1 }, 11)] {
            let made = within(seconds, rate);
            assert!((expected - 1..=expected).contains(&made), "{made} requests in {seconds} s with {rate:?}");
        }
    }

    /// After a day without any request there are no more at once than the burst.
    #[test]
    fn what_is_not_used_is_not_saved() {
        let began = Instant::now();
        let mut bucket = Bucket::full(USUAL, began);
        let later = began + Duration::from_secs(86_400);
        assert_eq!((0..100).filter(|_| bucket.take(USUAL, later).is_ok()).count(), 40);
    }

    /// The one that gave up waiting costs nothing, and the others are served.
    #[tokio::test]
    async fn those_that_wait_are_served() {
        let budget = Budget::new(|| RequestRate { qps: 1000, burst: 1 });
        budget.take().await;
        let given_up = budget.take();
        assert!(futures::FutureExt::now_or_never(given_up).is_none());
        let all = futures::future::join_all((0..50).map(|_| budget.take()));
        assert!(tokio::time::timeout(Duration::from_secs(20), all).await.is_ok());
    }
}
