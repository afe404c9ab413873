//! Who may start a sync, by what the cache shows and by what this agent has just done and the cache does not show yet.

use crate::api::Status;
use crate::cluster::{slim, view};
use crate::core::model::facts::Slot;
use crate::core::schedule::queue::{Candidate, Movers, QueuePosition, holders, slot, under_way};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A watch that is further behind than this has other troubles.
const CATCH_UP: Duration = Duration::from_secs(30);

/// What this agent knows better than the cache.
#[derive(Debug, Default)]
pub struct Slots {
    ahead: HashMap<String, Ahead>,
}

#[derive(Debug)]
struct Ahead {
    state: State,
    until: Instant,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// A slot was assigned, and the status that shows it is not written yet.
    Given,
    /// This was written.
    Wrote(RunState),
}

/// What a status says of an object's run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunState {
    run: Option<(String, i64)>,
    under_way: bool,
    waits_for_pod: bool,
}

impl RunState {
    /// What this status says.
    pub fn of(status: &Status) -> RunState {
        let run = status.run.as_ref();
        RunState {
            run: run.map(|run| (run.id.clone(), run.attempt)),
            under_way: under_way(status),
            waits_for_pod: run.is_some_and(|run| run.waits_for_pod),
        }
    }
}

/// What the movers of an object are at, by the pods that have not ended: those of its Job and of the claim of the user's that it pulls into. One
/// whose container has terminated takes no slot any more; the pod's phase shows that two seconds later, or never where another container keeps it.
pub(super) fn movers(live: &[&slim::Pod], uid: &str, job: &str, claim: Option<&str>) -> Movers {
    let of_it = live.iter().filter(|pod| view::moves_for(pod, uid, job) || claim.is_some_and(|claim| view::pulls_into(pod, claim)));
    let its_own = |pod: &&&slim::Pod| view::owner(pod) == Some(uid) && pod.metadata.deletion_timestamp.is_none();
    let working = of_it.clone().filter(its_own).map(|pod| view::pod(pod)).filter(|pod| !view::has_terminated(pod));
    match (of_it.clone().next(), working.map(|pod| pod.started).max()) {
        (None, _) => Movers::None,
        (Some(_), None) => Movers::Leftover,
        (Some(_), Some(false)) => Movers::Pending,
        (Some(_), Some(true)) => Movers::Running,
    }
}

impl Slots {
    /// Whether the object at this position may start; if not, and it is one of the next, the UIDs of those that hold the slots. `take` assigns
    /// it the slot until it is [`settled`](Slots::settled).
    pub fn ask(
        &mut self,
        position: &QueuePosition,
        uid: &str,
        all: Vec<(Candidate, RunState)>,
        limit: usize,
        take: bool,
        now: Instant,
    ) -> (Slot, Vec<String>) {
        self.ahead.retain(|_, ahead| ahead.until > now);
        let mut candidates = Vec::with_capacity(all.len());
        for (mut candidate, seen) in all {
            match self.ahead.get(&candidate.uid).map(|ahead| &ahead.state) {
                None => {}
                Some(State::Given) => (candidate.under_way, candidate.waits_for_pod) = (true, false),
                Some(State::Wrote(wrote)) if *wrote == seen => {
                    self.ahead.remove(&candidate.uid);
                }
                Some(State::Wrote(wrote)) => {
                    (candidate.under_way, candidate.waits_for_pod) = (wrote.under_way, wrote.waits_for_pod);
                    candidate.position = None;
                }
            }
            candidates.push(candidate);
        }
        let answer = slot(position, &candidates, limit);
        let holders = if answer == Slot::Free { Vec::new() } else { holders(position, &candidates, limit) };
        if take && answer == Slot::Free {
            self.ahead.insert(uid.to_owned(), Ahead { state: State::Given, until: now + CATCH_UP });
        }
        (answer, holders)
    }

    /// This status was written.
    pub fn wrote(&mut self, uid: &str, status: &Status, now: Instant) {
        self.ahead.insert(uid.to_owned(), Ahead { state: State::Wrote(RunState::of(status)), until: now + CATCH_UP });
    }

    /// The reconcile is over; a slot that was assigned and not used is free again.
    pub fn settled(&mut self, uid: &str) {
        if self.ahead.get(uid).is_some_and(|ahead| ahead.state == State::Given) {
            self.ahead.remove(uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::facts::Kind;
    use crate::core::schedule::queue::{Lifecycle, QueueEntry};
    use jiff::Timestamp;

    fn running() -> Status {
        let time = "1970-01-01T00:00:00.000000Z";
        let run =
            serde_json::json!({ "id": "r", "phase": "Capturing", "startTime": time, "attempt": 1, "phaseTime": time, "generation": 1 });
        serde_json::from_value(serde_json::json!({ "run": run })).unwrap()
    }

    fn view<'a>(uid: &'a str, status: &'a Status) -> QueueEntry<'a> {
        QueueEntry {
            kind: Kind::Source,
            uid,
            generation: 1,
            created: None,
            lifecycle: Lifecycle::Active,
            tag: None,
            starts_at_once: true,
            approved: false,
            sync_now: None,
            verify_now: None,
            stale: false,
            republishes: None,
            outdated: false,
            pulls_into: None,
            lacks_claim: false,
            has_claim: false,
            status,
        }
    }

    /// Asks for `uid`, where the cache shows these.
    fn ask(slots: &mut Slots, uid: &str, cache: &[(&str, &Status)], take: bool, now: Instant) -> Slot {
        let time = Timestamp::from_second(100).unwrap();
        let all = cache.iter().map(|(uid, status)| (view(uid, status).candidate(Movers::None, time), RunState::of(status))).collect();
        let status = Status::default();
        slots.ask(&view(uid, &status).position_since(time), uid, all, 1, take, now).0
    }

    /// Its sync is over by then, and the next one may start. Another one of the same object waits until the pod is gone.
    #[test]
    fn a_mover_that_has_terminated_takes_no_slot() {
        let pod = |state: serde_json::Value, deleted: Option<&str>| -> slim::Pod {
            let labels = serde_json::json!({ crate::api::labels::OWNER_UID: "app" });
            let status = serde_json::json!({ "phase": "Running", "containerStatuses": [{ "name": "mover", "state": state }] });
            let meta = serde_json::json!({ "labels": labels, "deletionTimestamp": deleted });
            serde_json::from_value(serde_json::json!({ "metadata": meta, "status": status })).unwrap()
        };
        let time = "2026-01-01T00:00:00Z";
        let running = serde_json::json!({ "running": {} });
        let terminated = serde_json::json!({ "terminated": { "exitCode": 0, "finishedAt": time } });
        for (pods, expected) in [
            (vec![], Movers::None),
            (vec![pod(serde_json::json!({}), None)], Movers::Pending),
            (vec![pod(running.clone(), None)], Movers::Running),
            (vec![pod(running.clone(), Some(time))], Movers::Leftover),
            (vec![pod(terminated.clone(), None)], Movers::Leftover),
            (vec![pod(terminated, None), pod(running, None)], Movers::Running),
        ] {
            assert_eq!(movers(&pods.iter().collect::<Vec<_>>(), "app", "job", None), expected, "{pods:?}");
        }
    }

    #[test]
    fn a_slot_is_taken_and_free_before_the_cache_shows_it() {
        let (mut slots, now, new, running) = (Slots::default(), Instant::now(), Status::default(), running());
        let none = [("a", &new), ("b", &new)];
        assert_eq!(ask(&mut slots, "a", &none, true, now), Slot::Free);
        assert_eq!(ask(&mut slots, "b", &none[..1], true, now), Slot::Taken);
        slots.wrote("a", &running, now);
        slots.settled("a");
        assert_eq!(ask(&mut slots, "b", &none[..1], true, now), Slot::Taken);
        let shown = [("a", &running), ("b", &new)];
        assert_eq!(ask(&mut slots, "b", &shown, true, now), Slot::Taken);
        slots.wrote("a", &synced(), now);
        assert_eq!(ask(&mut slots, "b", &shown, true, now), Slot::Free);
    }

    fn synced() -> Status {
        let time = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH);
        Status { last_sync_time: Some(time), ..Status::default() }
    }

    #[test]
    fn a_slot_that_is_not_used_is_given_back() {
        let (mut slots, now, new) = (Slots::default(), Instant::now(), synced());
        assert_eq!(ask(&mut slots, "a", &[("a", &new)], true, now), Slot::Free);
        slots.settled("a");
        assert_eq!(ask(&mut slots, "b", &[("a", &new)], true, now), Slot::Free);
        // Nor is it kept by a reconcile that never ended.
        let later = now + CATCH_UP + Duration::from_secs(1);
        assert_eq!(ask(&mut slots, "c", &[("a", &new), ("b", &new)], true, later), Slot::Free);
    }
}
