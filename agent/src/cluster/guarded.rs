//! A watch that one object cannot break: what this version of the agent cannot read is named in the log, and the others go on.
//!
//! Imports nothing of this crate.

use futures::{Stream, StreamExt};
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Watches `api`, and tries again with a growing delay after whatever ends the watch.
///
/// An object that cannot be read any more stays in the cache as it last could be. It is read afresh before anything is done about it,
/// and that fails.
pub fn watched<K>(api: Api<DeserializeGuard<K>>, config: watcher::Config) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    watch(api, config).default_backoff().filter_map(|event| std::future::ready(event.map(readable).transpose()))
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
        "this object cannot be read and is left alone; was it written for a newer agent?"
    );
    None
}
