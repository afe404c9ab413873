//! The identity of a run: derived from what caused it, never from the clock, so that a restarted agent finds its own children.
//!
//! Imports nothing of this crate.

use jiff::Timestamp;
use scribe_mover::entry::hex;
use sha2::{Digest, Sha256};

/// What makes a sync due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The object is new and syncs at once.
    Created,
    /// A slot of the schedule, or the end of the continuous interval.
    Slot(Timestamp),
    /// A new `spec.trigger.manual`.
    Manual(String),
    /// The spec changed while an attempt was failing or had not reached its mover, or names something else than was synced last.
    SpecChanged(i64),
    /// A new value of the annotation `scribe.backube/verify-now`.
    VerifyNow(String),
}

/// Identity of the run that `cause` starts, after the sync that ended at `last_sync` and in the place of `superseded`.
///
/// The superseded run takes part, so that a manual tag that comes back after a failure starts a run of its own.
pub fn run_id(uid: &str, cause: &Cause, last_sync: Option<Timestamp>, superseded: Option<&str>) -> String {
    let cause = match cause {
        Cause::Created => "created".to_owned(),
        Cause::Slot(time) => format!("slot {time}"),
        Cause::Manual(tag) => format!("manual {tag}"),
        Cause::SpecChanged(generation) => format!("generation {generation}"),
        Cause::VerifyNow(value) => format!("verify {value}"),
    };
    let last = last_sync.map_or_else(|| "never".to_owned(), |t| t.to_string());
    // Length prefixes keep a hostile tag from imitating another field.
    let mut hash = Sha256::new();
    for part in [uid, &cause, &last, superseded.unwrap_or("")] {
        hash.update(part.len().to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex(&hash.finalize())[..16].to_owned()
}

/// A digest of what a user's annotations permit: the path to take over, and the deletion to let through. None where they permit nothing.
pub fn permits(adopt_path: Option<&str>, allow_deletions: Option<&str>) -> Option<String> {
    adopt_path.or(allow_deletions)?;
    let text = serde_json::json!([adopt_path, allow_deletions]).to_string();
    Some(hex(&Sha256::digest(text))[..16].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_causes_give_equal_runs_and_others_do_not() {
        let time: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let a = run_id("u", &Cause::Manual("a".into()), Some(time), None);
        assert_eq!(a, run_id("u", &Cause::Manual("a".into()), Some(time), None));
        let later = time + jiff::SignedDuration::from_secs(9);
        for other in [
            run_id("v", &Cause::Manual("a".into()), Some(time), None),
            run_id("u", &Cause::Manual("b".into()), Some(time), None),
            run_id("u", &Cause::Manual("a".into()), Some(later), None),
            run_id("u", &Cause::Manual("a".into()), None, None),
            run_id("u", &Cause::Manual("a".into()), Some(time), Some(&a)),
            run_id("u", &Cause::Slot(time), Some(time), None),
        ] {
            assert_ne!(a, other);
        }
    }
}
