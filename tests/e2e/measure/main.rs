//! What replication costs, measured on a real node and printed as a Markdown table for `docs/performance-tables.md`.
//!
//! With `BUDGET_MINUTES=10`, what a thousand objects cost that cannot work, for so many minutes, instead of the rest; with `MEASURE_IMAGES=1`
//! the space that images take alone.
//!
//! Not a test: nothing fails because a number is bad. Needs what the end-to-end tests need, and a node with nothing else to do.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "it has nobody to report a failure to")]

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "shared with the end-to-end tests, which need other parts of it")]
mod support;

mod audit;
mod budget;
mod bytes_read;
mod heartbeat;
mod images;
mod requests;
mod seconds;
mod volsync;

use std::time::{Duration, Instant};
use support::cluster::{self, given};
use support::namespace::{random, removed_afterwards};
use support::replication::Replication;
use support::site::{SETTINGS, Site};
use support::until::until;
use support::volume::Claim;

/// What was measured, in words; one row of the table.
struct Row {
    what: &'static str,
    figure: String,
}

fn row(what: &'static str, figure: impl Into<String>) -> Row {
    Row { what, figure: figure.into() }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let client = cluster::client().await;
    let namespace = format!("measure-{}", random());
    removed_afterwards(&client, &[&namespace], async || {
        let site = &Site::new(&client, &namespace, SETTINGS).await;
        println!("| what | measured |\n|---|---|");
        match budget::minutes() {
            Some(minutes) => print(budget::of_missing_claims(site, minutes).await),
            None if images::alone() => print(images::of_small_changes(site).await),
            None => of_a_pair(site).await,
        }
    })
    .await;
}

/// Shown as soon as they are known: all of it takes a quarter of an hour.
fn print(rows: Vec<Row>) {
    for Row { what, figure } in rows {
        println!("| {what} | {figure} |");
    }
}

async fn of_a_pair(site: &Site) {
    let pair = Pair::set_up(site).await;
    let mut peer = volsync::Peer::set_up(site).await;
    print(seconds::of_syncs(site, &pair, &mut peer).await);
    print(requests::of_syncs(site, &pair).await);
    print(requests::of_the_peers_syncs(&pair, &mut peer).await);
    print(requests::of_an_idle_minute(site, &pair).await);
    print(sizes(site).await);
    print(heartbeat::of_an_unchanged_source(site).await);
    print(bytes_read::by_an_unchanged_push(site, &pair).await);
    print(images::of_small_changes(site).await);
}

/// A source and a destination that have synced once, and a hand in the source's volume.
struct Pair<'a> {
    source: Replication<'a>,
    destination: Replication<'a>,
    data: support::volume::Hand<'a>,
}

impl<'a> Pair<'a> {
    async fn set_up(site: &'a Site) -> Self {
        // Not the tree of the tests: rclone by itself, and VolSync with it, fails at some of its names.
        site.claim(&Claim { name: "data", class: None, image: None });
        let data = site.hand("data").await;
        data.run("for i in $(seq 200); do head -c 10000 /dev/urandom >file-$i; done");
        let source = site.source("push", "data", serde_json::json!({}));
        source.synced("first").await;
        let destination = site.destination("pull", serde_json::json!({}));
        destination.synced("first").await;
        Pair { source, destination, data }
    }

    /// Changes ten files of the source.
    fn change(&self) {
        self.data.run("for i in $(seq 10); do head -c 10000 /dev/urandom >file-$i; done");
    }
}

/// Waits until files that were written by then are known without being read, once they are captured.
async fn at_rest(written: Instant) {
    until("the files have been at rest for two minutes", 150, async || {
        if written.elapsed() >= Duration::from_secs(124) { Ok(()) } else { Err(written.elapsed()) }
    })
    .await;
}

/// Memory of the agent after the minute without work, and sizes of what is installed.
async fn sizes(site: &Site) -> Vec<Row> {
    let agent = site.agent().await;
    let nodes: serde_json::Value = serde_json::from_str(&site.kubectl(&["get", "nodes", "--output=json"])).unwrap();
    let image = given("E2E_IMAGE");
    let images = nodes["items"][0]["status"]["images"].as_array().unwrap();
    let of_this_name = images.iter().find(|i| i["names"].as_array().unwrap().iter().any(|name| name.as_str() == Some(&image)));
    let image_size = of_this_name.and_then(|i| i["sizeBytes"].as_u64()).unwrap_or_else(|| panic!("the node does not know {image}"));
    vec![
        row("resident memory of the agent, idle", mebibytes(agent.kibibytes("VmRSS") * 1024)),
        row("its peak", mebibytes(agent.kibibytes("VmHWM") * 1024)),
        row("resident memory of VolSync's manager, idle", mebibytes(volsync::memory())),
        row("image, compressed", mebibytes(image_size)),
        row("binary: agent and mover", mebibytes(agent.size_of_file("exe"))),
        row("rclone in the image", mebibytes(agent.size_of_file("root/usr/local/bin/rclone"))),
    ]
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}
