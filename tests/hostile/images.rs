//! Images, and answers about them that are wrong once.

use super::proxy::Fault;
use super::site::Site;
use hyper::Method;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An outsider saw it: one list that was answered 200 and empty took all older images off `status.images`, and they were deleted.
#[tokio::test]
async fn one_empty_list_deletes_no_image() {
    let site = Site::start("one-empty-list").await;
    let pull = site.destination("pull", json!({ "trigger": { "manual": "0" }, "rclone": { "retain": 4 } })).await;
    for tag in 1..=2 {
        let before = pull.status().await.images.len();
        pull.sync(&tag.to_string(), 60).await;
        // Names have whole seconds.
        pull.until("another image", 60, |s| s.images.len() > before).await;
    }
    let before = pull.status().await.images;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    site.proxy.rule(move |call| {
        let read =
            *call.method == Method::GET && !call.watch && call.query.contains("labelSelector") && call.path.ends_with("/volumesnapshots");
        if read && count.fetch_add(1, Ordering::Relaxed) == 0 { Fault::Empty } else { Fault::None }
    });
    let status = pull.sync("3", 60).await;
    assert!(asked.load(Ordering::Relaxed) > 0, "nothing was asked");
    let known: Vec<_> = status.images.iter().map(|image| &image.name).collect();
    let there = site.children("snapshot.storage.k8s.io", "v1", "VolumeSnapshot").await;
    for image in &before {
        assert!(known.contains(&&image.name) && there.contains(&image.name), "{} is gone: {known:?}, {there:?}", image.name);
    }
}
