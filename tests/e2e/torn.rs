//! The promise under haste: a source that pushes all the time, three destinations that pull all the time, and every image that they ever
//! publish holds exactly one version of the data.

use crate::support::history::{Change, History};
use crate::support::replication::{Replication, SYNC, laid_out, merged, status_of};
use crate::support::site::{SETTINGS, Site, site_for};
use crate::support::volume::{Claim, Hand};
use futures::stream::{FuturesUnordered, StreamExt};
use kube::ResourceExt;
use rstest::rstest;
use serde_json::json;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Images to look into, of all destinations together, in each layout.
const IMAGES: usize = 15;
const DESTINATIONS: [&str; 3] = ["north", "south", "west"];

/// Each version stands in the first line of every file.
#[rstest]
#[tokio::test]
async fn every_image_holds_exactly_one_version(#[values("Files", "Packs")] layout: &str) {
    site_for(Duration::from_secs(420), "torn", SETTINGS, async |site| {
        site.claim(&Claim { name: "data", class: None, image: None });
        let source = site.hand("data").await;
        source.write_version(1);
        let history = site.history().await;
        let push = site.source("push", "data", merged(laid_out(layout), json!({ "trigger": { "manual": "1" } })));
        push.synced("1").await;
        // Slow enough that most pulls begin while a push is under way, and end in another one.
        site.slow_down(80_000);
        for name in DESTINATIONS {
            site.destination(name, json!({ "trigger": null }));
        }
        let enough = Cell::new(false);
        let (pushed, versions) = tokio::join!(push_until(&enough, &source, &push, &history), async {
            let versions = look_into_images(site, &history).await;
            enough.set(true);
            versions
        });
        let seen: BTreeSet<_> = versions.values().collect();
        println!("{} images of {} pushed versions hold {} different ones; torn: 0", versions.len(), pushed, seen.len());
        assert!(seen.len() >= 4, "too few versions for a race: {versions:?}");
    })
    .await;
}

/// Pushes one version after another; returns the last one. Nothing is written until the snapshot of the version before is ready, and
/// then at once.
async fn push_until(enough: &Cell<bool>, source: &Hand<'_>, push: &Replication<'_>, history: &History) -> usize {
    let mut history = history.clone();
    let mut version = 1;
    while !enough.get() {
        version += 1;
        source.write_version(version);
        let ready = |seen: &crate::support::history::Seen| {
            seen.kind == "VolumeSnapshot" && seen.object.name_any() == "scribe-src-push" && seen.object.data["status"]["readyToUse"] == true
        };
        let known: BTreeSet<_> = history.all("VolumeSnapshot").iter().filter(|seen| ready(seen)).map(|seen| seen.object.uid()).collect();
        push.patch(json!({ "trigger": { "manual": version.to_string() } })).await;
        history.until("the next snapshot is ready", SYNC, |seen| ready(seen) && !known.contains(&seen.object.uid())).await;
        // Into the volume, but not into this version.
        source.write_version(0);
        push.synced(&version.to_string()).await;
    }
    version
}

/// Restores every image as soon as it is published, and returns the version that each holds.
async fn look_into_images(site: &Site, history: &History) -> BTreeMap<String, usize> {
    let mut history = history.clone();
    let mut claimed = BTreeSet::new();
    let mut versions = BTreeMap::new();
    let mut looks = FuturesUnordered::new();
    while versions.len() < IMAGES {
        for image in published(&history) {
            if claimed.insert(image.clone()) {
                // Made from the image while it is there: the agent leaves an image alone that a claim still waits for.
                site.claim(&Claim { name: &image, class: None, image: Some(&image) });
                looks.push(look_into(site, image));
            }
        }
        let known = claimed.len();
        tokio::select! {
            Some((image, version)) = looks.next() => { versions.insert(image, version); }
            () = history.until_more(SYNC, |history| published(history).len() > known) => {}
        }
    }
    versions
}

fn published(history: &History) -> BTreeSet<String> {
    let destinations = history.all("ReplicationDestination");
    destinations
        .iter()
        .filter(|seen| seen.change != Change::Gone)
        .filter_map(|seen| Some(status_of(&seen.object).latest_image?.name))
        .collect()
}

/// Panics unless the image holds one version, and all of it.
async fn look_into(site: &Site, image: String) -> (String, usize) {
    let hand = site.hand(&image).await;
    let version = hand.version(&image);
    hand.remove().await;
    assert_ne!(version, 0, "{image} holds what was written after the snapshot was ready");
    (image, version)
}
