//! Fifty syncs while agent and movers are killed at random: all of them end, the data is exact, and nothing is left over.

use crate::support::chance::Chance;
use crate::support::host::Process;
use crate::support::replication::{Replication, image_of};
use crate::support::site::{SETTINGS, Site, site_for};
use crate::support::until::until;
use crate::support::volume::{Claim, Hand};
use futures::future::join_all;
use serde_json::json;
use std::cell::Cell;
use std::time::{Duration, Instant};

const PAIRS: usize = 5;
const ROUNDS: usize = 5;
/// Syncs take longer when they are killed: this is for each of them.
const PATIENCE: u64 = 240;

#[tokio::test]
async fn fifty_syncs_under_random_kills() {
    site_for(Duration::from_secs(900), "chaos", SETTINGS, async |site| {
        let mut pairs = Vec::new();
        for number in 0..PAIRS {
            pairs.push(Pair::new(site, number).await);
        }
        let over = Cell::new(false);
        let (kills, ()) = tokio::join!(kill_at_random(site, &over), async {
            join_all(pairs.iter().map(Pair::sync_all)).await;
            over.set(true);
        });
        println!("{} syncs; killed: the agent {} times, movers {} times", 2 * PAIRS * ROUNDS, kills.agents, kills.movers);
        assert!(kills.agents >= 3 && kills.movers >= 10, "too few to prove anything: {kills:?}");

        let mut left = Vec::new();
        for pair in &pairs {
            let status = pair.pull.status().await;
            let image = image_of(&status);
            assert_eq!(status.revision, pair.push.status().await.revision);
            site.listing_of_image(&image).await.assert_is(&pair.data.listing());
            left.extend([format!("PersistentVolumeClaim/scribe-dest-{}", pair.pull.name), format!("VolumeSnapshot/{image}")]);
        }
        site.only_children(&left.iter().map(String::as_str).collect::<Vec<_>>()).await;
    })
    .await;
}

/// A volume, a source that pushes it and a destination that pulls it.
struct Pair<'a> {
    data: Hand<'a>,
    push: Replication<'a>,
    pull: Replication<'a>,
}

impl<'a> Pair<'a> {
    async fn new(site: &'a Site, number: usize) -> Self {
        let claim = format!("data-{number}");
        site.claim(&Claim { name: &claim, class: None, image: None });
        let data = site.hand(&claim).await;
        let path = json!({ "rcloneDestPath": format!("{}-{number}", site.path) });
        let waiting = json!({ "runOnCreate": false, "manual": null, "schedule": "0 0 29 2 *" });
        let push = site.source(&format!("chaos-push-{number}"), &claim, json!({ "trigger": waiting, "rclone": path }));
        let pull = site.destination(&format!("chaos-pull-{number}"), json!({ "trigger": waiting, "rclone": path }));
        Pair { data, push, pull }
    }

    async fn sync_all(&self) {
        for round in 0..ROUNDS {
            self.data.run(&format!(
                "rm -rf round-* && mkdir round-{round} && for i in $(seq 8); do head -c 30000 /dev/urandom >file-$i; cp file-$i round-{round}/; done"
            ));
            for replication in [&self.push, &self.pull] {
                let tag = round.to_string();
                replication.patch(json!({ "trigger": { "manual": tag } })).await;
                let done = |s: &scribe_agent::api::Status| s.last_manual_sync.as_ref() == Some(&tag);
                replication.until(&format!("sync {tag} is complete"), PATIENCE, done).await;
            }
        }
    }
}

#[derive(Debug, Default)]
struct Kills {
    agents: usize,
    movers: usize,
}

/// A mover now and then, wherever it is; the agent less often, for the kubelet starts it again later each time.
async fn kill_at_random(site: &Site, over: &Cell<bool>) -> Kills {
    let mut chance = Chance::new(5);
    let mut kills = Kills::default();
    let mut agent_killed = Instant::now();
    while !over.get() {
        let draw = chance.draw();
        let pause = Duration::from_millis(100 + draw % 600);
        let began = Instant::now();
        until("a while has passed", 10, async || if began.elapsed() >= pause { Ok(()) } else { Err(()) }).await;
        let movers = ["src-chaos-push", "dest-chaos-pull"].map(|name| format!("HOSTNAME=scribe-rclone-{name}"));
        // Now of this kind, now of that.
        let mover = Process::running(&movers[usize::from(draw >> 30 == 1)]);
        kills.movers += usize::from(mover.is_some_and(Process::kill_if_alive));
        if agent_killed.elapsed() > Duration::from_secs(20) {
            agent_killed = Instant::now();
            let agent = Process::running(&format!("POD_NAMESPACE={}", site.namespace));
            kills.agents += usize::from(agent.is_some_and(Process::kill_if_alive));
        }
        if kills.movers >= 40 {
            // Enough is enough: the rest is to end.
            until("the syncs are over", 3 * PATIENCE, async || if over.get() { Ok(()) } else { Err(()) }).await;
        }
    }
    kills
}
