//! What it costs that an unchanged source says that it is alive: requests of its mover to the remote, and of the agent to the API server.

use super::audit::{quiet, requests};
use super::support::replication::Replication;
use super::support::s3;
use super::support::site::{SETTINGS, Site};
use super::{Row, at_rest, row};
use jiff::Timestamp;
use serde_json::json;
use std::time::Instant;

/// A server whose log has every request.
const SERVER: &str = "deployment/s3";
const SECRET: &str = "counted";

/// Two syncs of an unchanged source: before a heartbeat is due, and once it is.
pub async fn of_an_unchanged_source(site: &Site) -> Vec<Row> {
    let server = s3::start(site.client.clone(), &site.namespace).await;
    site.kubectl(&["set", "env", SERVER, "RCLONE_LOG_LEVEL=DEBUG"]);
    site.kubectl(&["rollout", "status", SERVER, "--timeout=60s"]);
    site.secret(SECRET, &[("rclone.conf", &server.config())]);
    let began = Instant::now();
    let source = site.source(
        "heartbeat",
        "data",
        json!({ "rclone": { "rcloneConfig": SECRET, "rcloneDestPath": format!("{}-heartbeat", site.path) } }),
    );
    source.synced("first").await;
    at_rest(began).await;
    // That its files are known from now on is written once.
    source.sync("at rest").await;
    let idle = of_one(site, &source, "unchanged").await;
    site.install(&SETTINGS.replacen('{', "{heartbeatInterval: 1s, ", 1));
    site.kubectl(&["rollout", "restart", "deployment/scribe-agent"]);
    site.kubectl(&["rollout", "status", "deployment/scribe-agent", "--timeout=90s"]);
    let due = of_one(site, &source, "a heartbeat is due").await;
    vec![row("an unchanged source's sync, no heartbeat due", idle), row("the same, heartbeat due", due)]
}

async fn of_one(site: &Site, source: &Replication<'_>, tag: &str) -> String {
    quiet(site).await;
    let from = Timestamp::now();
    let before = to_the_remote(site);
    source.sync(tag).await;
    let made = to_the_remote(site) - before;
    quiet(site).await;
    format!("{made} requests of the mover to the remote; API requests: {}", requests(site, from, Timestamp::now()).describe())
}

/// The requests that the server has had: rclone names each by its verb, in capitals.
fn to_the_remote(site: &Site) -> usize {
    let log = site.kubectl(&["logs", SERVER, "--tail=-1"]);
    let verbs = log.lines().filter_map(|line| line.split_once("serve s3: "));
    verbs.filter(|(_, said)| said.bytes().take(3).all(|byte| byte.is_ascii_uppercase())).count()
}
