//! A watch that one object cannot break: what this version of the agent cannot read is named in the log, and the others go on.

use super::pace::{Pace, Pacing, Trouble, causes};
use super::watches::Watches;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
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
    paced(watch(api, config).boxed(), Pacing::default(), again, watches).filter_map(|event| std::future::ready(readable(event).map(Ok)))
}

/// The events of a watch, which is not polled while it has to wait.
fn paced<K>(
    watch: BoxStream<'static, watcher::Result<Event<DeserializeGuard<K>>>>,
    pacing: Pacing,
    again: Arc<Notify>,
    watches: Watches,
) -> impl Stream<Item = Event<DeserializeGuard<K>>> + Send
where
    K: Resource<DynamicType = ()> + Send + 'static,
{
    let state = (watch, Pace::new(pacing, Instant::now()), again, watches);
    futures::stream::unfold(state, |(mut watch, mut pace, again, watches)| async move {
        loop {
            let next = if pace.troubled() {
                match tokio::time::timeout(ESTABLISHED, watch.next()).await {
                    Ok(next) => next?,
                    // Resumed, and nothing has happened yet.
                    Err(_) => {
                        pace.holds(Instant::now());
                        works_again::<K>(&watches);
                        continue;
                    }
                }
            } else {
                watch.next().await?
            };
            match next {
                Ok(event) => {
                    if pace.brought(&event, Instant::now()) {
                        works_again::<K>(&watches);
                    }
                    return Some((event, (watch, pace, again, watches)));
                }
                Err(error) => {
                    let setback = pace.ended(&error, Instant::now());
                    if setback.news {
                        fails::<K>(&error);
                    }
                    if setback.lasts {
                        watches.fail(&K::plural(&()), &text(&error), Trouble::from(&error) == Trouble::Answer(403));
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

fn works_again<K: Resource<DynamicType = ()>>(watches: &Watches) {
    watches.works(&K::plural(&()));
    tracing::info!(kind = %K::plural(&()), group = %K::group(&()), "the watch works again");
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
