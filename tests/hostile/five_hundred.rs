//! Five hundred syncs while one request in ten goes wrong: none is lost, none is done twice, and nothing is asked for without end.

use super::chance::Chance;
use super::limits::figure;
use super::proxy::{Call, Fault};
use super::site::{Replication, Site};
use super::until::until;
use futures::future::join_all;
use serde_json::json;
use std::collections::BTreeSet;

const OBJECTS: usize = 10;
const SYNCS: usize = 25;
#[tokio::test]
async fn none_is_lost_and_none_is_doubled() {
    let site = Site::start("five-hundred").await;
    let mut objects = Vec::new();
    for number in 0..OBJECTS {
        // Names may be shared by a source and a destination.
        objects.push(site.source(&format!("o{number}"), json!({ "trigger": { "manual": "0" } })).await);
        objects.push(site.destination(&format!("o{number}"), json!({ "trigger": { "manual": "0" } })).await);
    }
    // Everything works once, so that what is counted are syncs and not the start.
    join_all(objects.iter().map(|object| object.sync("0", 60))).await;
    let before: usize = site.proxy.counted().values().sum();
    site.proxy.rule(one_in_ten(7));

    join_all(objects.iter().map(all_of_them)).await;

    let counted = site.proxy.counted();
    let requests: usize = counted.values().sum::<usize>() - before;
    site.proxy.rule(|_| Fault::None);
    let record = std::mem::take(&mut *site.world.record.lock().unwrap());
    assert_eq!(record.violations, Vec::<String>::new());
    let doubled: Vec<_> = record.movers.iter().filter(|(_, movers)| **movers != 1).collect();
    assert!(doubled.is_empty(), "syncs whose mover ran more than once: {doubled:?}");
    let syncs = 2 * OBJECTS * (SYNCS + 1);
    assert_eq!(record.movers.len(), syncs, "movers of other runs than the {syncs} that were asked for");
    let all = 2 * OBJECTS * SYNCS;
    println!(
        "{all} syncs, {requests} requests ({} a sync), the agent was started {} times: {counted:?}",
        requests / all,
        site.agent.starts()
    );
    // More than a sync needs when nothing goes wrong, for what is asked again.
    assert!(requests <= all * figure("api_requests_of_a_sync_under_faults"), "{requests} requests for {all} syncs");
    only_images_and_volumes_are_left(&site, &objects).await;
}

/// Longer than one object's bad luck lasts: its reconciles are retried with increasing delays, and some fail several times in a row.
const PATIENCE: u64 = 240;

/// One sync after another, each of which has its own result.
async fn all_of_them(object: &Replication<'_>) {
    let mut revisions = BTreeSet::new();
    for tag in 1..=SYNCS {
        let status = object.sync(&tag.to_string(), PATIENCE).await;
        assert!(revisions.insert(status.revision), "{}: sync {tag} has the result of another", object.name);
    }
}

async fn only_images_and_volumes_are_left(site: &Site, objects: &[Replication<'_>]) {
    let images: BTreeSet<_> =
        join_all(objects.iter().map(Replication::status)).await.into_iter().filter_map(|s| Some(s.latest_image?.name)).collect();
    let volumes: BTreeSet<_> = (0..OBJECTS).map(|number| format!("scribe-dest-o{number}")).collect();
    until("only images and volumes are left", 60, async || {
        let left = |kind, group, version| async move { site.children(group, version, kind).await.into_iter().collect::<BTreeSet<_>>() };
        let found = (
            left("VolumeSnapshot", "snapshot.storage.k8s.io", "v1").await,
            left("PersistentVolumeClaim", "", "v1").await,
            left("Job", "batch", "v1").await,
        );
        let expected = (images.clone(), volumes.clone(), BTreeSet::new());
        if found == expected { Ok(()) } else { Err((found, expected)) }
    })
    .await;
}

/// Every kind of fault in turn, for about one request in ten; the same ones for the same seed.
fn one_in_ten(seed: u64) -> impl FnMut(&Call) -> Fault + Send {
    let mut chance = Chance::new(seed);
    move |call| {
        let draw = chance.draw();
        let faults: &[Fault] = match (call.watch, call.writes()) {
            (true, _) => &[Fault::Expired, Fault::WatchCut, Fault::TooManyRequests, Fault::ServerError],
            (false, false) => &[Fault::TooManyRequests, Fault::ServerError, Fault::CutBefore, Fault::CutAfter, Fault::Late],
            (false, true) => &[
                Fault::Conflict,
                Fault::TooManyRequests,
                Fault::ServerError,
                Fault::CutBefore,
                Fault::CutAfter,
                Fault::TimeoutAfter,
                Fault::Late,
            ],
        };
        if !draw.is_multiple_of(10) {
            return Fault::None;
        }
        faults[usize::try_from(draw / 10).unwrap() % faults.len()]
    }
}
