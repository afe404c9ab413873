//! The identity of a run: derived from what caused it, never from the clock, so that a restarted agent finds its own children.

use jiff::Timestamp;
use scribe_mover::digest::hex;
use sha2::{Digest, Sha256};

/// What makes a sync due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The object has never been synced, and syncs at once.
    Created,
    /// A scheduled time, or the end of the continuous interval.
    Scheduled(Timestamp),
    /// A new `spec.trigger.manual`.
    Manual(String),
    /// The spec changed while an attempt was failing or had not reached its mover, or names something else than was synced last.
    SpecChanged(i64),
    /// A new value of the annotation `scribe.backube/sync-now`.
    SyncNow(String),
    /// A new value of the annotation `scribe.backube/verify-now`.
    VerifyNow(String),
    /// What the last sync published is there no more.
    Unpublished,
}

/// What a run begins from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Before<'a> {
    /// `metadata.generation`
    pub generation: i64,
    /// `status.lastSyncTime`
    pub synced: Option<Timestamp>,
    /// The run that is superseded, or was aborted last.
    pub superseded: Option<&'a str>,
}

/// Identity of the run that `cause` starts.
///
/// The superseded run takes part, so that a manual tag that comes back after a failure starts a run of its own; and so does the
/// generation: a run that was given up because its spec was invalid for a moment is not opened again.
pub fn run_id(uid: &str, cause: &Cause, before: Before<'_>) -> String {
    let cause = match cause {
        Cause::Created => "created".to_owned(),
        Cause::Scheduled(time) => format!("slot {time}"),
        Cause::Manual(tag) => format!("manual {tag}"),
        Cause::SpecChanged(generation) => format!("generation {generation}"),
        Cause::SyncNow(value) => format!("sync {value}"),
        Cause::VerifyNow(value) => format!("verify {value}"),
        Cause::Unpublished => "unpublished".to_owned(),
    };
    let synced = before.synced.map_or_else(|| "never".to_owned(), |t| t.to_string());
    let generation = before.generation.to_string();
    // Length prefixes keep a hostile tag from imitating another field.
    let mut hash = Sha256::new();
    for part in [uid, &cause, &generation, &synced, before.superseded.unwrap_or("")] {
        hash.update(part.len().to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex(&hash.finalize())[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_causes_give_equal_runs_and_others_do_not() {
        let time: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let before = Before { generation: 1, synced: Some(time), superseded: None };
        let a = run_id("u", &Cause::Manual("a".into()), before);
        assert_eq!(a, run_id("u", &Cause::Manual("a".into()), before));
        let later = time + jiff::SignedDuration::from_secs(9);
        for other in [
            run_id("v", &Cause::Manual("a".into()), before),
            run_id("u", &Cause::Manual("b".into()), before),
            run_id("u", &Cause::Manual("a".into()), Before { synced: Some(later), ..before }),
            run_id("u", &Cause::Manual("a".into()), Before { generation: 2, ..before }),
            run_id("u", &Cause::Manual("a".into()), Before { synced: None, ..before }),
            run_id("u", &Cause::Manual("a".into()), Before { superseded: Some(&a), ..before }),
            run_id("u", &Cause::Scheduled(time), before),
        ] {
            assert_ne!(a, other);
        }
    }
}
