//! Deletions that fail: tried again after a growing delay, and reported once they have failed several times in a row. They are no failure of
//! the object, whose syncs go on, and one that fails does not keep the others from being tried.

use super::FAILURES_THAT_PASS;
use crate::core::model::plan::ChildRef;
use crate::core::schedule::backoff;
use jiff::SignedDuration;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const FIRST_DELAY: SignedDuration = SignedDuration::from_secs(1);
const LONGEST_DELAY: SignedDuration = SignedDuration::from_secs(60);

/// The deletions of one object that failed when they were tried last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removals {
    /// How often in a row at least one failed.
    failures: i64,
    /// When they are tried again.
    again: Instant,
    /// By the UID of what was to be deleted.
    failed: BTreeMap<String, Failed>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Failed {
    /// Kind and name of the child.
    what: String,
    /// The API server's answer.
    answer: String,
    /// Whether the same request can never work.
    for_good: bool,
}

/// One try of all deletions of a plan.
#[derive(Debug, Default)]
pub struct Round {
    kept_back: bool,
    failed: BTreeMap<String, Failed>,
}

impl Round {
    /// A deletion was not tried this time.
    pub fn keep_back(&mut self) {
        self.kept_back = true;
    }

    /// A deletion was tried and failed; `for_good` where the same request can never work.
    pub fn failed(&mut self, target: &ChildRef, answer: &str, for_good: bool) {
        let what = format!("{} {}", target.kind.as_str(), target.name);
        self.failed.insert(target.uid.clone(), Failed { what, answer: answer.trim().to_owned(), for_good });
    }

    /// Whether there were deletions that were not tried.
    pub fn kept_back(&self) -> bool {
        self.kept_back
    }

    /// Whether something that was to be deleted is still there.
    pub fn leaves_something(&self) -> bool {
        self.kept_back || !self.failed.is_empty()
    }

    /// What is known after this round and `before` it.
    pub fn settle(self, before: Option<Removals>, seed: &str, now: Instant) -> Option<Removals> {
        if self.failed.is_empty() {
            return before.filter(|_| self.kept_back);
        }
        let failures = before.map_or(0, |before| before.failures).saturating_add(1);
        let delay = backoff::delay(FIRST_DELAY, LONGEST_DELAY, failures, seed).unsigned_abs();
        Some(Removals { failures, again: now + delay, failed: self.failed })
    }
}

impl Removals {
    /// How long no deletion is tried.
    pub fn delay(&self, now: Instant) -> Option<Duration> {
        self.again.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// What failed, by the UID of the child: the API server's answer.
    pub fn answers(&self) -> BTreeMap<String, String> {
        self.failed.iter().map(|(uid, failed)| (uid.clone(), failed.answer.clone())).collect()
    }

    /// What is worth a report: not what may have been a moment's trouble.
    pub fn trouble(&self) -> Option<String> {
        let lasts = self.failures >= FAILURES_THAT_PASS || self.failed.values().any(|failed| failed.for_good);
        lasts.then(|| self.text()).flatten()
    }

    /// What failed, as a sentence; of many children only the first by name is quoted.
    pub fn text(&self) -> Option<String> {
        let first = self.failed.values().min_by_key(|failed| &failed.what)?;
        let others = match self.failed.len() - 1 {
            0 => String::new(),
            more => format!("; the same applies to {more} more"),
        };
        Some(format!("{} is left over and cannot be deleted: {}{others}", first.what, first.answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::plan::ChildKind;

    fn round(names: &[&str], for_good: bool) -> Round {
        let mut round = Round::default();
        for name in names {
            let target = ChildRef { kind: ChildKind::Snapshot, name: (*name).to_owned(), uid: format!("uid-{name}") };
            round.failed(&target, "leader changed\n", for_good);
        }
        round
    }

    #[test]
    fn what_fails_is_reported_when_it_lasts_and_kept_back_for_longer_and_longer() {
        let now = Instant::now();
        let mut known = None;
        for failures in 1..=8 {
            known = round(&["b", "a"], false).settle(known, "seed", now);
            let removals = known.clone().unwrap();
            assert_eq!(removals.trouble().is_some(), failures >= FAILURES_THAT_PASS, "{failures}");
        }
        let removals = known.unwrap();
        let words = "VolumeSnapshot a is left over and cannot be deleted: leader changed; the same applies to 1 more";
        assert_eq!(removals.trouble().unwrap(), words);
        assert_eq!(removals.answers()["uid-b"], "leader changed");
        assert!(removals.delay(now).is_some_and(|delay| delay >= Duration::from_secs(40) && delay <= Duration::from_secs(60)));
        assert_eq!(removals.delay(now + Duration::from_secs(60)), None);
    }

    #[test]
    fn a_refusal_is_reported_at_once() {
        assert!(round(&["a"], true).settle(None, "seed", Instant::now()).unwrap().trouble().is_some());
    }

    #[test]
    fn a_round_that_was_not_tried_changes_nothing() {
        let now = Instant::now();
        let known = round(&["a"], false).settle(None, "seed", now);
        let mut kept = Round::default();
        kept.keep_back();
        assert!(kept.leaves_something());
        assert_eq!(kept.settle(known.clone(), "seed", now), known);
        assert_eq!(Round::default().settle(known, "seed", now), None, "all worked, or nothing is wanted");
    }
}
