//! Thirty pulls of layout Packs, each of which is killed at a random moment while the source goes on pushing. Whatever the moment, the volume is
//! one committed revision, unless it was just being changed, and then it says so; what a sync ends with is the revision that the status names,
//! and the last pulls bring the newest.

use crate::support::chance::Chance;
use crate::support::closely::closely;
use crate::support::host::Process;
use crate::support::replication::{Replication, SYNC};
use crate::support::site::{SETTINGS, Site, site_for};
use crate::support::until::until;
use crate::support::volume::{Claim, Hand};
use futures::future::join_all;
use scribe_agent::api::Status;
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Their names are those of no other test: a mover is found by the name of its pod, whatever its namespace.
const DESTINATIONS: [&str; 3] = ["killed-north", "killed-south", "killed-west"];
/// Of each of them.
const KILLS: usize = 10;
/// Some pulls are over before they are killed.
const PULLS: usize = 3 * KILLS;
/// Kills of movers after which the agent is killed too. The kubelet starts it again later each time.
const WITH_THE_AGENT: [usize; 2] = [8, 19];
/// A pull takes about so many milliseconds at this speed.
const SPEED: u64 = 500_000;
const LONGEST: u64 = 600;
/// The next attempt begins a second later at the earliest, see `retry` in the settings, and its pod takes its time.
const UNTOUCHED: Duration = Duration::from_millis(900);
/// A file that each version writes anew, in place.
const LARGE: usize = 8 << 20;
/// While it is there, the volume is being changed.
const JOURNAL: &str = ".scribe-staging/journal";

#[tokio::test]
async fn thirty_pulls_that_are_killed_leave_whole_revisions() {
    let seed = std::env::var("E2E_SEED").map_or_else(|_| u64::from(std::process::id()), |seed| seed.parse().unwrap());
    println!("killed by E2E_SEED={seed}");
    site_for(Duration::from_secs(600), "killed-pulls", SETTINGS, async |site| {
        site.claim(&Claim { name: "data", class: None, image: None });
        let source = site.hand("data").await;
        let push = site.source("push", "data", json!({ "trigger": null, "rclone": { "layout": "Packs", "copyMethod": "Direct" } }));
        let pushes = &Pushes { source, push, versions: RefCell::default() };
        site.slow_down(SPEED);
        pushes.one().await;
        let (over, kills, rounds) = (Cell::new(false), &Cell::new(Kills::default()), &Cell::new(0));
        let pulls = DESTINATIONS.map(async |name| {
            let pull = site.destination(name, json!({ "rclone": { "copyMethod": "Direct" } }));
            pull.synced("first").await;
            let volume = site.hand(&format!("scribe-dest-{name}")).await;
            Pulls { site, pull, volume, pushes, kills, rounds }
        });
        let pulls = join_all(pulls).await;
        tokio::join!(
            async {
                while !over.get() {
                    let seen = rounds.get();
                    pushes.one().await;
                    let more = || over.get() || rounds.get() >= seen + 2;
                    until("more pulls are over", 3 * SYNC, async || if more() { Ok(()) } else { Err(seen) }).await;
                }
            },
            async {
                join_all(pulls.iter().zip(seed..).map(|(pulls, seed)| pulls.killed(Chance::new(seed)))).await;
                over.set(true);
            },
        );
        println!("{:?} in {} pulls", kills.get(), rounds.get());
        assert!(kills.get().prove_something(), "too few to prove anything: {kills:?}");

        site.speed_up();
        let last = pushes.one().await;
        for pulls in &pulls {
            assert_eq!(pulls.pull.sync("last").await.revision, last.revision, "{}", pulls.pull.name);
            pulls.volume.listing().assert_is(&pushes.source.listing());
        }
    })
    .await;
}

/// Movers that were killed: of those, some while they changed the volume, which shows; others left it whole. Of the rest it could not be seen.
#[derive(Clone, Copy, Debug, Default)]
struct Kills {
    movers: usize,
    amid_changes: usize,
    whole: usize,
}

impl Kills {
    fn prove_something(self) -> bool {
        self.amid_changes > 0 && self.whole > 0
    }
}

/// The source, and which version of the data each revision is.
struct Pushes<'a> {
    source: Hand<'a>,
    push: Replication<'a>,
    versions: RefCell<BTreeMap<String, usize>>,
}

impl Pushes<'_> {
    /// Pushes the next version.
    async fn one(&self) -> Status {
        let version = self.versions.borrow().len() + 1;
        self.source.write_version(version);
        self.source.run(&format!("yes {version:07} | head -c {LARGE} | dd of=large conv=notrunc bs=1M 2>/dev/null"));
        let status = self.push.sync(&version.to_string()).await;
        self.versions.borrow_mut().insert(status.revision.clone().unwrap(), version);
        status
    }

    /// The version that was pushed as this revision.
    async fn version_of(&self, revision: &str) -> usize {
        until("the push is known to be over", SYNC, async || {
            let known = self.versions.borrow();
            known.get(revision).copied().ok_or_else(|| known.clone())
        })
        .await
    }
}

/// A destination, and a hand in its volume.
struct Pulls<'a> {
    site: &'a Site,
    pull: Replication<'a>,
    volume: Hand<'a>,
    pushes: &'a Pushes<'a>,
    kills: &'a Cell<Kills>,
    rounds: &'a Cell<usize>,
}

impl Pulls<'_> {
    /// Kills one pull after another, and looks what each has left, and what the sync has come to.
    async fn killed(&self, mut chance: Chance) {
        let mut done = 0;
        for pull in 0..PULLS {
            let tag = &format!("pull {pull}");
            let over = Arc::new(AtomicBool::new(false));
            let (killed, status) = tokio::join!(self.kill(chance.draw(), over.clone()), async {
                self.pull.patch(json!({ "trigger": { "manual": tag } })).await;
                let status = self.pull.until(&format!("{tag} is over"), 2 * SYNC, |s| s.last_manual_sync.as_ref() == Some(tag)).await;
                over.store(true, Ordering::Relaxed);
                status
            });
            done += usize::from(killed);
            self.rounds.set(self.rounds.get() + 1);
            let expected = self.pushes.version_of(&status.revision.unwrap()).await;
            assert_eq!(self.volume.process().version_in("/data"), Ok(expected), "{}, {tag}", self.pull.name);
            // On a busy machine, what a kill has left is often seen too late.
            if done >= KILLS && self.kills.get().prove_something() {
                return;
            }
        }
        assert!(done >= KILLS, "{}: only {done} of {PULLS} pulls were killed", self.pull.name);
    }

    /// Kills the mover of the next pull at a random moment: some time after it has begun, or while it changes the volume. Returns whether it was
    /// still alive. `over` tells that the pull is over, be it killed or not.
    async fn kill(&self, draw: u64, over: Arc<AtomicBool>) -> bool {
        let pod = format!("HOSTNAME=scribe-rclone-dest-{}", self.pull.name);
        let volume = self.volume.process();
        let found = closely(move || match Process::running(&pod) {
            Some(mover) => Some(Some(mover)),
            None => over.load(Ordering::Relaxed).then_some(None),
        });
        let Some(mover) = found.await else { return false };
        let began = Instant::now();
        let changes = draw.is_multiple_of(3);
        let pause = Duration::from_millis((draw >> 8) % if changes { 30 } else { LONGEST });
        let mut since = (!changes).then_some(began);
        let journal = format!("/data/{JOURNAL}");
        let mut killed = None;
        let left = closely(move || match killed {
            None if !mover.sees("/") => Some(None),
            None => {
                if since.is_none() && volume.sees(&journal) {
                    since = Some(Instant::now());
                }
                if since.is_some_and(|since| since.elapsed() >= pause) && mover.kill_if_alive() {
                    killed = Some(Instant::now());
                }
                None
            }
            Some(_) if mover.sees("/") => None,
            Some(killed) => {
                let left = (volume.sees(&journal), volume.version_in("/data"));
                // Longer than that, and the next attempt may have begun.
                Some(Some(if killed.elapsed() < UNTOUCHED { Some(left) } else { None }))
            }
        });
        let Some(left) = left.await else { return false };
        let mut kills = self.kills.get();
        kills.movers += 1;
        match left {
            None => {}
            Some((true, _)) => kills.amid_changes += 1,
            Some((false, Ok(_))) => kills.whole += 1,
            Some((false, Err(mixture))) => panic!("{}: {mixture}, {:?} after its beginning", self.pull.name, began.elapsed()),
        }
        self.kills.set(kills);
        if WITH_THE_AGENT.contains(&kills.movers) {
            Process::running(&format!("POD_NAMESPACE={}", self.site.namespace)).map(Process::kill_if_alive);
        }
        true
    }
}
