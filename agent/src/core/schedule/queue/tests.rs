//! The queue, one rule after another.

use super::*;
use crate::api::status::LastError;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn view<'a>(kind: Kind, uid: &'a str, status: &'a Status) -> QueueEntry<'a> {
    QueueEntry {
        kind,
        uid,
        generation: 1,
        created: Some(at(50)),
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

fn synced(next: i64) -> Status {
    let (start, end) = (Some(Time(at(1))), Some(Time(at(2))));
    Status { last_sync_start_time: start, last_sync_time: end, next_sync_time: Some(Time(at(next))), ..Status::default() }
}

#[test]
fn the_longest_due_goes_first_but_a_first_pull_before_all() {
    let (old, older, new) = (synced(20), synced(10), Status::default());
    let views = [view(Kind::Source, "old", &old), view(Kind::Destination, "older", &older), view(Kind::Destination, "new", &new)];
    let all: Vec<_> = views.iter().map(|v| v.candidate(Movers::None, at(100))).collect();
    let may = |uid: &str, limit| {
        let mine = all.iter().find(|c| c.uid == uid).and_then(|c| c.position.clone()).unwrap();
        slot(&mine, &all, limit) == Slot::Free
    };
    assert!(may("new", 1) && !may("older", 1) && !may("old", 1));
    assert!(may("older", 2) && !may("old", 2));
    assert!(may("old", 3));
}

/// A pod that does not start takes no slot from those that work, once the status says that it waits; one that runs does.
#[test]
fn a_pod_that_waits_holds_no_slot() {
    let run = json!({
        "id": "r", "phase": "Transferring", "startTime": "1970-01-01T00:00:00.000000Z", "attempt": 1,
        "phaseTime": "1970-01-01T00:00:00.000000Z", "generation": 1, "waitsForPod": true,
    });
    let waits = Status { run: Some(serde_json::from_value(run).unwrap()), ..synced(20) };
    for (movers, holds) in [(Movers::None, false), (Movers::Leftover, false), (Movers::Pending, false), (Movers::Running, true)] {
        let candidate = view(Kind::Source, "a", &waits).candidate(movers, at(100));
        assert_eq!((candidate.under_way, candidate.waits_for_pod, candidate.position), (holds, !holds, None), "{movers:?}");
    }
    let edited = QueueEntry { generation: 2, ..view(Kind::Source, "a", &waits) };
    assert_eq!(edited.due_since(at(100)), Some(at(20)), "a sync of the new spec needs one");
    let status = synced(20);
    assert!(view(Kind::Source, "a", &status).candidate(Movers::Pending, at(100)).under_way);
}

/// Only the next ones say who holds the slots: of a long queue, each would write that whenever it changes.
#[test]
fn the_next_ones_learn_who_holds_the_slots() {
    let candidate = |uid: &str, since: Option<i64>| {
        let position = since.map(|since| QueuePosition { later: true, since: at(since), uid: uid.into() });
        Candidate { uid: uid.into(), under_way: position.is_none(), waits_for_pod: false, position }
    };
    let all = [candidate("x", None), candidate("y", None), candidate("a", Some(1)), candidate("b", Some(2)), candidate("c", Some(3))];
    let told = |uid: &str| holders(all.iter().find(|c| c.uid == uid).unwrap().position.as_ref().unwrap(), &all, 2);
    assert_eq!((told("a"), told("b")), (vec!["x".to_owned(), "y".to_owned()], vec!["x".to_owned(), "y".to_owned()]));
    assert!(told("c").is_empty());
}

/// Beyond as many as there are slots, each takes one: all of them may start at the same time.
#[test]
fn pods_that_wait_are_bounded() {
    let mine = QueuePosition { later: true, since: at(9), uid: "mine".into() };
    let candidate = |uid: &str, under_way: bool, position: Option<QueuePosition>| {
        let waits_for_pod = !under_way && uid.starts_with('w');
        Candidate { uid: uid.into(), under_way, waits_for_pod, position }
    };
    let next = |uid: &str| Some(QueuePosition { later: true, since: at(1), uid: uid.into() });
    for (running, waiting, first, expected) in
        [(0, 2, 0, true), (1, 2, 0, true), (2, 0, 0, false), (1, 3, 0, false), (0, 3, 0, true), (0, 4, 0, false), (0, 3, 1, false)]
    {
        let running = (0..running).map(|n| candidate(&format!("r{n}"), true, None));
        let waiting = (0..waiting).map(|n| candidate(&format!("w{n}"), false, None));
        let first = (0..first).map(|n| candidate(&format!("f{n}"), false, next(&format!("f{n}"))));
        let all: Vec<_> = running.chain(waiting).chain(first).collect();
        assert_eq!(slot(&mine, &all, 2) == Slot::Free, expected, "{all:#?}");
    }
    // An edit makes one that waits ask anew: it counts once, and not against itself.
    let edited = [candidate("w0", false, next("w0")), candidate("w1", false, None), candidate("w2", false, None)];
    assert!(slot(&mine, &edited, 2) == Slot::Free && slot(edited[0].position.as_ref().unwrap(), &edited, 2) == Slot::Free);
    // They are named to whoever waits because of them.
    let all = [candidate("r", true, None), candidate("w0", false, None), candidate("w1", false, None)];
    assert_eq!((holders(&mine, &all, 1), holders(&mine, &all, 2)), (vec!["r".into(), "w0".into(), "w1".into()], vec!["r".to_owned()]));
}

#[test]
fn the_one_that_waits_longer_stays_in_front() {
    let waiting = Status { waiting_since: Some(Time(at(5))), ..synced(20) };
    let (waiting, other) = (view(Kind::Source, "b", &waiting), synced(10));
    let other = view(Kind::Source, "a", &other);
    assert!(waiting.position(at(100)) < other.position(at(100)));
}

#[test]
fn paused_refused_and_early_ones_do_not_wait() {
    let status = synced(200);
    assert_eq!(view(Kind::Source, "a", &status).due_since(at(100)), None);
    let status = synced(20);
    let paused = QueueEntry { lifecycle: Lifecycle::Paused, ..view(Kind::Source, "a", &status) };
    assert_eq!(paused.due_since(at(100)), None);
    assert_eq!(view(Kind::Source, "a", &status).due_since(at(100)), Some(at(20)));
}

/// What is due beside the trigger waits for a slot as well.
#[test]
fn another_subject_and_a_verification_wait() {
    let status = synced(200);
    let idle = view(Kind::Source, "a", &status);
    assert_eq!(QueueEntry { stale: true, ..idle.clone() }.due_since(at(100)), Some(at(100)));
    assert_eq!(QueueEntry { verify_now: Some("1"), ..idle.clone() }.due_since(at(100)), Some(at(100)));
    assert_eq!(QueueEntry { stale: true, verify_now: Some("1"), lifecycle: Lifecycle::Paused, ..idle }.due_since(at(100)), None);
    let handled = Status { last_handled_verify_now: Some("1".into()), ..synced(200) };
    assert_eq!(QueueEntry { verify_now: Some("1"), ..view(Kind::Source, "a", &handled) }.due_since(at(100)), None);
    let run = json!({
        "id": "r", "phase": "Backoff", "startTime": "2026-01-01T00:00:00.000000Z", "attempt": 2,
        "phaseTime": "2026-01-01T00:00:00.000000Z", "generation": 1, "verifyNow": "1",
    });
    let failed = Status { run: Some(serde_json::from_value(run).unwrap()), next_attempt_time: Some(Time(at(150))), ..synced(200) };
    for (value, due) in [("1", None), ("2", Some(at(100)))] {
        assert_eq!(QueueEntry { verify_now: Some(value), ..view(Kind::Source, "a", &failed) }.due_since(at(100)), due);
    }
}

/// Until it is edited.
#[test]
fn a_refused_spec_does_not_wait() {
    let condition = json!({
        "type": "Synchronizing", "status": "False", "reason": "Error", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    let status = Status { conditions: vec![serde_json::from_value(condition).unwrap()], observed_generation: Some(1), ..synced(20) };
    let refused = view(Kind::Source, "a", &status);
    assert_eq!(refused.due_since(at(100)), None);
    assert_eq!(QueueEntry { generation: 2, ..refused }.due_since(at(100)), Some(at(20)));
}

/// Its slots count only once its next attempt is due, where a person is needed.
#[test]
fn one_that_failed_waits_by_its_reason() {
    let run = json!({
        "id": "r", "phase": "Backoff", "startTime": "2026-01-01T00:00:00.000000Z", "attempt": 2,
        "phaseTime": "2026-01-01T00:00:00.000000Z", "generation": 1,
    });
    for (reason, attempt, expected) in [
        ("Unreachable", 200, Some(at(20))),
        ("DeletionGuard", 200, None),
        ("DeletionGuard", 30, Some(at(20))),
        ("DeletionGuard", 10, Some(at(10))),
    ] {
        let status = Status {
            run: Some(serde_json::from_value(run.clone()).unwrap()),
            last_error: Some(LastError { reason: reason.into(), message: String::new(), time: Time(at(5)), generation: None }),
            next_attempt_time: Some(Time(at(attempt))),
            ..synced(20)
        };
        assert_eq!(view(Kind::Source, "a", &status).due_since(at(100)), expected, "{reason}, {attempt}");
    }
}
