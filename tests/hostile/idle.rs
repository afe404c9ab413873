//! Nothing is asked of an API server while nothing is due.

use super::quiet::quiet;
use super::site::Site;
use super::until::until;
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::time::{Duration, Instant};

const OBJECTS: usize = 50;

/// Minutes to be idle for; `make soak` has more of them.
fn minutes() -> u64 {
    std::env::var("IDLE_MINUTES").map_or(1, |minutes| minutes.parse().unwrap())
}

/// Fifty objects that wait: for their slots, for a tag, for a person who paused them.
#[tokio::test]
async fn fifty_objects_that_wait_cost_nothing() {
    let site = Site::start("idle").await;
    let (before, after) = idle(&site, "Snapshot").await;
    assert_eq!(after, before, "requests while nothing was due");
}

/// The same in a cluster without snapshots: the one kind that cannot be watched is asked for less and less often.
#[tokio::test]
async fn nor_do_they_without_snapshots() {
    let site = Site::without_snapshots("idle-direct").await;
    let (before, after) = idle(&site, "Direct").await;
    let asked = after - before;
    assert!(asked <= 5 + usize::try_from(minutes()).unwrap(), "{asked} requests for a kind that is not served");
    let log = site.agent.log();
    let lines = log.lines().filter(|line| line.contains("volumesnapshots")).count();
    assert_eq!(lines, 1, "{log}");
}

/// Waits until all objects wait and nothing is asked any more. Gives the number of requests before and after the idle time.
async fn idle(site: &Site, copy_method: &str) -> (usize, usize) {
    let before_long = Timestamp::now().saturating_sub(SignedDuration::from_mins(2)).unwrap();
    let slot = before_long.strftime("%M * * * *").to_string();
    let specs = [
        json!({ "trigger": { "schedule": slot } }),
        json!({ "trigger": { "manual": "done" } }),
        json!({ "trigger": { "schedule": slot, "runOnCreate": false } }),
        json!({ "trigger": { "schedule": slot }, "paused": true }),
    ]
    .map(|mut spec| {
        spec["rclone"] = json!({ "copyMethod": copy_method });
        spec
    });
    let mut objects = Vec::new();
    for (number, spec) in specs.iter().cycle().take(OBJECTS).enumerate() {
        let name = format!("o{number}");
        objects.push(if number % 8 < 4 { site.source(&name, spec.clone()).await } else { site.destination(&name, spec.clone()).await });
    }
    let waits = |s: &scribe_agent::api::Status| {
        s.run.is_none()
            && s.conditions.iter().any(|c| c.type_ == "Synchronizing" && (c.reason.starts_with("WaitingFor") || c.reason == "Paused"))
    };
    join_all(objects.iter().map(|object| object.until("it waits", 120, waits))).await;
    let asked = || site.proxy.counted().values().sum::<usize>();
    quiet(asked).await;

    let (before, began, long) = (asked(), Instant::now(), Duration::from_secs(60 * minutes()));
    until("the time has passed", 60 * minutes() + 10, async || if began.elapsed() >= long { Ok(()) } else { Err(()) }).await;
    println!("{} requests in {} idle minutes with {OBJECTS} objects", asked() - before, minutes());
    (before, asked())
}
