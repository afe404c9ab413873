//! What a mover reads of the files when nothing has changed.
//!
//! The kernel counts every byte that a process reads, from files, pipes and /proc alike. The same push with the same number
//! of files, once small and once large, tells the files' share: the difference.

use super::support::replication::SYNC;
use super::support::site::Site;
use super::{Pair, Row, row};
use serde_json::json;
use std::time::Instant;

/// Unchanged pushes: of files that were at rest before they were captured, and of such as had just been written.
pub async fn by_an_unchanged_push(site: &Site, pair: &Pair<'_>) -> Vec<Row> {
    let small = of_one(site, pair, "10000", true).await;
    let large = of_one(site, pair, "1000000", true).await;
    let hot = of_one(site, pair, "1000000", false).await;
    vec![
        row("all that the mover reads in an unchanged push of 200 files of 10 kB", format!("{small} bytes")),
        row("the same with files of 1 MB", format!("{large} bytes")),
        row("the same with files of 1 MB that were written right before they were first captured", format!("{hot} bytes")),
    ]
}

async fn of_one(site: &Site, pair: &Pair<'_>, size: &str, at_rest: bool) -> u64 {
    pair.data.run(&format!("for i in $(seq 200); do head -c {size} /dev/urandom >file-$i; done"));
    if at_rest {
        super::at_rest(Instant::now()).await;
    }
    let tag = format!("{size} bytes each, at rest: {at_rest}");
    pair.source.sync(&tag).await;
    let again = format!("{tag}, unchanged");
    pair.source.patch(json!({ "trigger": { "manual": again } })).await;
    let read = site.mover().await.bytes_read_until_its_end();
    let status = pair.source.until("the unchanged push is complete", SYNC, |s| s.last_manual_sync.as_ref() == Some(&again)).await;
    let logs = status.latest_mover_status.map(|mover| mover.logs).unwrap_or_default();
    assert!(read > 0, "the mover was gone before it could be looked at: {logs}");
    read
}
