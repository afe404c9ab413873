//! A watch that one object cannot break: what this version of the agent cannot read is named in the log, and the others go on.

use super::pace::{Pace, Pacing, Trouble, causes};
use super::watches::Watches;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::runtime::watcher as watch;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// No request takes as long (the client's read timeout is 300 seconds): a watch that has brought no error by then is established.
const ESTABLISHED: Duration = Duration::from_secs(310);
/// An API server that takes longer than this for a list of one object does not answer.
const SHORT: Duration = Duration::from_secs(10);

/// Watches `api`, and tries again with a growing delay after whatever ends the watch. The log reports every new trouble once, and its
/// end; the stream itself has no errors.
///
/// An object that cannot be read any more stays in the cache as it last could be. It is read afresh before anything is done about it,
/// and that fails.
///
/// `again` ends a delay at once: something else has shown that the API server serves the kind. `watches` knows what fails for long.
pub fn watched<K>(
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
    again: Arc<Notify>,
    watches: Watches,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let asked = api.clone();
    let answers = move || answers(asked.clone()).boxed();
    let reports = Reports { watches, answers, answered: false };
    paced(watch(api, config).boxed(), Pacing::default(), again, reports).filter_map(|event| std::future::ready(readable(event).map(Ok)))
}

/// Whether the API server answers a short request, be it with an error.
async fn answers<K>(api: Api<DeserializeGuard<K>>) -> bool
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let one = ListParams::default().limit(1);
    match tokio::time::timeout(SHORT, api.list_metadata(&one)).await {
        Ok(answer) => answer.err().is_none_or(|error| Trouble::from(&error) != Trouble::Unreachable),
        Err(_) => false,
    }
}

/// What users learn of a watch.
struct Reports<A> {
    watches: Watches,
    /// Asks the API server something else.
    answers: A,
    /// Whether it answered when the watch failed last.
    answered: bool,
}

impl<A: Fn() -> BoxFuture<'static, bool>> Reports<A> {
    /// A watch fails for long. Where there is no answer, the API server may be away altogether, which its objects cannot show, and which is
    /// over for all watches as soon as it is back: only a watch that fails although other requests work, twice in a row, is reported.
    fn fails<K: Resource<DynamicType = ()>>(&mut self, error: &watcher::Error) -> impl Future<Output = ()> {
        let trouble = Trouble::from(error);
        let text = text(error);
        let asked = (trouble == Trouble::Unreachable).then(|| (self.answers)());
        async move {
            let before = self.answered;
            self.answered = match asked {
                Some(asked) => asked.await,
                None => true,
            };
            if self.answered && (before || trouble != Trouble::Unreachable) {
                self.watches.fail(&K::plural(&()), &text, trouble == Trouble::Answer(403));
            }
        }
    }

    fn works<K: Resource<DynamicType = ()>>(&mut self) {
        self.answered = false;
        self.watches.works(&K::plural(&()));
        tracing::info!(kind = %K::plural(&()), group = %K::group(&()), "the watch works again");
    }
}

/// The events of a watch, which is not polled while it has to wait.
fn paced<K, A>(
    watch: BoxStream<'static, watcher::Result<Event<DeserializeGuard<K>>>>,
    pacing: Pacing,
    again: Arc<Notify>,
    reports: Reports<A>,
) -> impl Stream<Item = Event<DeserializeGuard<K>>> + Send
where
    K: Resource<DynamicType = ()> + Send + 'static,
    A: Fn() -> BoxFuture<'static, bool> + Send,
{
    let state = (watch, Pace::new(pacing, Instant::now()), again, reports);
    futures::stream::unfold(state, |(mut watch, mut pace, again, mut reports)| async move {
        loop {
            let next = if pace.troubled() {
                match tokio::time::timeout(ESTABLISHED, watch.next()).await {
                    Ok(next) => next?,
                    // Resumed, and nothing has happened yet.
                    Err(_) => {
                        pace.holds(Instant::now());
                        reports.works::<K>();
                        continue;
                    }
                }
            } else {
                watch.next().await?
            };
            match next {
                Ok(event) => {
                    if pace.brought(&event, Instant::now()) {
                        reports.works::<K>();
                    }
                    return Some((event, (watch, pace, again, reports)));
                }
                Err(error) => {
                    let setback = pace.ended(&error, Instant::now());
                    if setback.news {
                        fails::<K>(&error);
                    }
                    if setback.lasts {
                        reports.fails::<K>(&error).await;
                    }
                    tokio::select! {
                        () = tokio::time::sleep(setback.delay) => {}
                        () = again.notified() => {}
                    }
                }
            }
        }
    })
}

fn fails<K: Resource<DynamicType = ()>>(error: &watcher::Error) {
    let hint = match Trouble::from(error) {
        Trouble::Answer(404) => "the cluster does not serve this kind: is its CRD installed?",
        Trouble::Answer(403) => "the agent's Role lacks a verb; kustomize/base has the complete Role",
        Trouble::Answer(410) => "the list expires before its last page is read",
        _ => "the API server is unreachable or fails",
    };
    let (kind, group, error) = (K::plural(&()), K::group(&()), text(error));
    tracing::warn!(%kind, %group, error, hint, "a watch failed; retrying with increasing delay");
}

fn text(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
            causes(error)
        }
        other => causes(other),
    }
}

fn readable<K: Resource<DynamicType = ()>>(event: Event<DeserializeGuard<K>>) -> Option<Event<K>> {
    match event {
        Event::Apply(object) => read(object).map(Event::Apply),
        Event::InitApply(object) => read(object).map(Event::InitApply),
        Event::Delete(object) => object.0.ok().map(Event::Delete),
        Event::Init => Some(Event::Init),
        Event::InitDone => Some(Event::InitDone),
    }
}

fn read<K: Resource<DynamicType = ()>>(object: DeserializeGuard<K>) -> Option<K> {
    let unreadable = match object.0 {
        Ok(object) => return Some(object),
        Err(unreadable) => unreadable,
    };
    tracing::error!(
        kind = %K::kind(&()),
        name = unreadable.metadata.name.unwrap_or_default(),
        error = %unreadable.error,
        "this object cannot be parsed and is ignored; it may have been written for a newer agent"
    );
    None
}
