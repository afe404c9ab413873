//! A long transfer says how far it is.

use crate::support::replication::SYNC;
use crate::support::site::site;
use crate::support::volume::Claim;
use serde_json::json;

/// Twenty seconds' worth of data, at the speed that it is given.
const FILES: &str = "for i in $(seq 20); do head -c 40000 /dev/urandom >file-$i; done";
const BYTES: i64 = 800_000;

#[tokio::test]
async fn a_long_push_shows_its_bytes_and_then_ends() {
    site("progress", async |site| {
        site.claim(&Claim { name: "data", class: None, image: None });
        site.hand("data").await.run(FILES);
        site.slow_down(30_000);
        let push = site.source("push", "data", json!({ "rclone": { "copyMethod": "Direct" } }));
        let status = push.until("it says how far it is", SYNC, |s| s.run.as_ref().is_some_and(|run| run.bytes_done.is_some())).await;
        let run = status.run.unwrap();
        assert_eq!(run.bytes_total, Some(BYTES), "{run:?}");
        assert!(run.bytes_done.is_some_and(|done| done < BYTES), "{run:?}");
        let further = |s: &scribe_agent::api::Status| s.run.as_ref().is_none_or(|now| now.bytes_done > run.bytes_done);
        push.until("it moves on", SYNC, further).await;
        assert_eq!(push.synced("first").await.bytes, Some(BYTES));
    })
    .await;
}
