//! API requests: of one sync of each kind, and of a minute in which nothing is due.

use super::audit::{quiet, quiet_of, requests, requests_of};
use super::support::replication::Replication;
use super::support::site::Site;
use super::support::until::until;
use super::volsync::{self, Peer};
use super::{Pair, Row, row};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

/// The same of VolSync's manager.
pub async fn of_the_peers_syncs(pair: &Pair<'_>, peer: &mut Peer<'_>) -> Vec<Row> {
    pair.change();
    let mut figures = Vec::new();
    for _ in 0..2 {
        for kind in volsync::KINDS {
            quiet_of(volsync::USER).await;
            let from = Timestamp::now();
            peer.sync(kind).await;
            quiet_of(volsync::USER).await;
            figures.push(requests_of(volsync::USER, from, Timestamp::now()).describe());
        }
    }
    let what = [
        "VolSync: API requests of a source's sync (snapshot, ten changed files)",
        "VolSync: API requests of a destination's sync (snapshot, ten changed files)",
        "VolSync: API requests of a source's sync, nothing changed",
        "VolSync: API requests of a destination's sync, nothing changed",
    ];
    what.into_iter().zip(figures).map(|(what, figure)| row(what, figure)).collect()
}

/// One push of ten changed files, and one pull of them.
pub async fn of_syncs(site: &Site, pair: &Pair<'_>) -> Vec<Row> {
    pair.change();
    vec![
        row("API requests of a source's sync (snapshot, ten changed files)", of_one(site, &pair.source).await),
        row("API requests of a destination's sync (snapshot, ten changed files)", of_one(site, &pair.destination).await),
        row("API requests of a source's sync, nothing changed", of_one(site, &pair.source).await),
        row("API requests of a destination's sync, nothing changed", of_one(site, &pair.destination).await),
    ]
}

async fn of_one(site: &Site, replication: &Replication<'_>) -> String {
    quiet(site).await;
    let from = Timestamp::now();
    replication.sync(&format!("requests {from}")).await;
    quiet(site).await;
    requests(site, from, Timestamp::now()).describe()
}

/// A minute with both objects scheduled an hour ahead.
pub async fn of_an_idle_minute(site: &Site, pair: &Pair<'_>) -> Vec<Row> {
    let an_hour_ahead = Timestamp::now().saturating_add(SignedDuration::from_mins(59)).unwrap().strftime("%M * * * *").to_string();
    for replication in [&pair.source, &pair.destination] {
        replication.patch(json!({ "trigger": { "schedule": an_hour_ahead } })).await;
        replication.until("it is scheduled", 30, |s| s.next_sync_time.is_some()).await;
    }
    quiet(site).await;
    let from = Timestamp::now();
    let to = from.saturating_add(SignedDuration::from_secs(60)).unwrap();
    until("a minute has passed", 70, async || if Timestamp::now() >= to { Ok(()) } else { Err("not yet") }).await;
    vec![row("API requests in 60 idle seconds, both objects scheduled", requests(site, from, to).describe())]
}
