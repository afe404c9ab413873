//! What one sync costs the API server when nothing goes wrong, counted by the proxy; watches, which last, are not counted.

use super::limits::{exactly, figure};
use super::proxy::Fault;
use super::quiet::quiet;
use super::site::{Replication, Site};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Syncs of an object, at most.
const TRIES: usize = 20;

type Counted = Arc<Mutex<BTreeMap<String, usize>>>;

/// A source's and a destination's, each of which has been synced before.
#[tokio::test]
async fn a_sync_costs_what_it_should() {
    let site = Site::start("requests").await;
    let trigger = json!({ "trigger": { "manual": "0" } });
    let (source, destination) = (site.source("one", trigger.clone()).await, site.destination("one", trigger).await);
    for object in [&source, &destination] {
        object.sync("0", 60).await;
    }
    let counted = Counted::default();
    site.proxy.rule({
        let counted = counted.clone();
        move |call| {
            if !call.watch {
                *counted.lock().unwrap().entry(format!("{} {}", call.method, call.path)).or_default() += 1;
            }
            Fault::None
        }
    });
    for (name, object) in [("api_requests_of_a_source_sync", &source), ("api_requests_of_a_destination_sync", &destination)] {
        cheapest(name, &counted, object).await;
    }
}

/// Syncs until one costs what the figure says, or less. A watch event that arrives while a step is done can have the object read once more, so
/// not every sync is the cheapest; what is asked each time shows in all of them.
async fn cheapest(name: &str, counted: &Counted, object: &Replication<'_>) {
    for tag in 1..=TRIES {
        let requests = of_one(counted, object, &tag.to_string()).await;
        let total: usize = requests.values().sum();
        assert!(total <= figure(name) + figure("api_requests_more_by_timing"), "{name}: {total}: {requests:?}");
        if total <= figure(name) || tag == TRIES {
            return exactly(name, total, &requests);
        }
    }
}

/// From the tag on until everything is cleaned up and nothing more is asked.
async fn of_one(counted: &Counted, object: &Replication<'_>, tag: &str) -> BTreeMap<String, usize> {
    quiet(|| counted.lock().unwrap().values().sum()).await;
    counted.lock().unwrap().clear();
    object.sync(tag, 60).await;
    quiet(|| counted.lock().unwrap().values().sum()).await;
    counted.lock().unwrap().clone()
}
