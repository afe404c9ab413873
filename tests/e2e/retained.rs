//! Revisions of layout Packs that a source keeps in the bucket: each of them can be had again, whole, and one that is kept no more is told
//! as missing, with those that are there.

use crate::support::replication::{Replication, SYNC, is};
use crate::support::site::site;
use crate::support::volume::{Hand, Listing, SECOND_TREE};
use jiff::{SignedDuration, Timestamp};
use scribe_agent::api::Status;
use serde_json::json;

/// What is pushed after the first revision: blocks, whole files, metadata, a file that shrinks, and that grows again.
const CHANGES: [&str; 6] = [
    "dd if=/dev/urandom of=big bs=16384 count=1 seek=5 conv=notrunc 2>/dev/null",
    SECOND_TREE,
    "truncate -s 500000 big; echo third >plain",
    "truncate -s 1500000 big; dd if=/dev/urandom of=big bs=16384 count=2 seek=70 conv=notrunc 2>/dev/null; rm moved",
    "for i in $(seq 30); do echo $i >small-$i; done; mv big larger",
    "rm small-*; echo last >plain",
];
const KEPT: usize = 5;

/// Forwards and backwards, by name and by time.
#[tokio::test]
async fn each_of_five_retained_revisions_can_be_had() {
    site("retained", async |site| {
        let source = site.filled("data").await;
        source.run("head -c 2000000 /dev/urandom >big");
        let packs = json!({ "rclone": { "layout": "Packs", "retain": KEPT, "copyMethod": "Direct" } });
        let push = site.source("push", "data", packs);
        let mut pushed = vec![(push.synced("first").await, source.listing())];
        for (number, change) in CHANGES.iter().enumerate() {
            source.run(change);
            pushed.push((push.sync(&number.to_string()).await, source.listing()));
        }
        let (gone, kept) = pushed.split_at(pushed.len() - KEPT);
        let pull = site.destination("pull", json!({ "rclone": { "copyMethod": "Direct" } }));
        pull.synced("first").await;
        let pulled = &Pulled { volume: site.hand("scribe-dest-pull").await, pull };
        pulled.assert_is(kept.last().unwrap(), None);
        for number in [0, 3, 1, 4, 2] {
            pulled.pin(json!({ "revision": kept[number].0.revision }), &kept[number]).await;
        }
        // Whole seconds stand in the status, and the revision may be of any moment within.
        let as_of = data_time(&kept[2].0) - SignedDuration::from_secs(1);
        pulled.pin(json!({ "revision": null, "asOf": as_of.to_string() }), &kept[1]).await;

        let (sixth, oldest) = (&gone.last().unwrap().0, &kept[0].0);
        pulled.misses(sixth.revision.as_deref().unwrap(), None, Some(oldest)).await;
        // A name of no lineage of this path, but of a time between two of its revisions.
        let between = as_of.strftime("%Y%m%dT%H%M%SZ-00000000-1-0000").to_string();
        pulled.misses(&between, Some(&kept[1].0), Some(&kept[2].0)).await;
        pulled.assert_is(&kept[1], None);
    })
    .await;
}

type Pushed = (Status, Listing);

fn data_time(status: &Status) -> Timestamp {
    status.data_time.as_ref().unwrap().0
}

/// A destination that is pinned, and a hand in its volume.
struct Pulled<'a> {
    volume: Hand<'a>,
    pull: Replication<'a>,
}

impl Pulled<'_> {
    /// Pins it, and waits until it has exactly what was pushed as this revision.
    async fn pin(&self, pin: serde_json::Value, pushed: &Pushed) {
        self.pull.patch(json!({ "rclone": { "pin": pin } })).await;
        let revision = &pushed.0.revision;
        let is_it = |s: &Status| {
            s.run.is_none() && s.revision == *revision && s.pinned.as_ref().map(|pinned| &pinned.revision) == revision.as_ref()
        };
        let status = self.pull.until(&format!("it is pinned to {revision:?}"), SYNC, is_it).await;
        self.assert_is(pushed, Some(&status));
    }

    #[track_caller]
    fn assert_is(&self, (pushed, listing): &Pushed, pulled: Option<&Status>) {
        if let Some(pulled) = pulled {
            assert_eq!((&pulled.data_time, pulled.files, pulled.bytes), (&pushed.data_time, pushed.files, pushed.bytes));
        }
        self.volume.listing().assert_is(listing);
    }

    /// Pins it to a revision that is not there: it says so, with the nearest ones that are, and keeps what it has.
    async fn misses(&self, revision: &str, before: Option<&Status>, after: Option<&Status>) {
        let had = self.pull.status().await;
        self.pull.patch(json!({ "rclone": { "pin": { "revision": revision, "asOf": null } } })).await;
        let told = |s: &Status| is(s, "Stalled", "True", "RevisionMissing") && message(s).contains(revision);
        let stalled = self.pull.until(&format!("{revision} is told as missing"), SYNC, told).await;
        for (side, nearest) in [("before", before), ("after", after)] {
            let expected = nearest.map_or_else(
                || format!("there is none {side} it"),
                |status| format!("the nearest one {side} it is {} of ", status.revision.as_deref().unwrap()),
            );
            assert!(message(&stalled).contains(&expected), "not {expected:?}: {}", message(&stalled));
        }
        assert_eq!((&stalled.revision, &stalled.latest_image), (&had.revision, &had.latest_image));
    }
}

fn message(status: &Status) -> String {
    status.conditions.iter().filter(|condition| condition.type_ == "Stalled").map(|condition| condition.message.clone()).collect()
}
