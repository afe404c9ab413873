//! The pods of the namespace are listed where a mover shares its volume with them, once a mover, and for nothing else.

use super::proxy::Fault;
use super::site::Site;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[tokio::test]
async fn pods_are_listed_once_for_a_mover_in_place() {
    let site = Site::start("in-place").await;
    let lists = Arc::new(AtomicUsize::new(0));
    site.proxy.rule({
        let lists = lists.clone();
        move |call| {
            // The movers' pods, which the agent watches and reads, are selected by their labels.
            if call.path.ends_with("/pods") && !call.query.contains("labelSelector") {
                lists.fetch_add(1, Ordering::SeqCst);
            }
            Fault::None
        }
    });
    let spec = |method: &str| json!({ "trigger": { "manual": "first" }, "rclone": { "copyMethod": method } });
    let others = [site.source("snapshot", spec("Snapshot")).await, site.destination("image", spec("Snapshot")).await];
    for other in &others {
        other.until("its first sync", 120, |s| s.last_manual_sync.is_some()).await;
        other.sync("second", 120).await;
    }
    assert_eq!(lists.load(Ordering::SeqCst), 0, "for volumes that nobody else uses");
    let direct = site.source("direct", spec("Direct")).await;
    direct.until("its first sync", 120, |s| s.last_manual_sync.is_some()).await;
    // A decision that meets a newer version of its object is made again, with all that it reads.
    let once = |before: usize| (before + 1..=before + 2).contains(&lists.load(Ordering::SeqCst));
    assert!(once(0), "{lists:?}");
    let first = lists.load(Ordering::SeqCst);
    direct.sync("second", 120).await;
    assert!(once(first), "{lists:?} after {first}");
}
