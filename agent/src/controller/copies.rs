//! What is written on a user's PVC of a copy that is there, or that nobody waits for any more. No sync depends on it for long: a write that is
//! refused keeps none from going on, and is reported beside it.

use super::memory::remember;
use super::{Context, FAILURES_THAT_PASS, events};
use crate::cluster::pace::causes;
use crate::cluster::refusal::Answer;
use crate::core::model::copy::CopyBy;
use crate::core::model::facts::{Claim, Facts, Kind};
use crate::core::model::plan::{CopyNote, Plan, Step};
use crate::core::schedule::backoff;
use crate::manifests::job::Mover;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// In [`Memory::denied`](super::Memory::denied).
const ANNOTATIONS: &str = "annotations of a copy";
/// The PVC has changed, or the API server is in trouble: it is read again soon, an application may be waiting.
const SOON: SignedDuration = SignedDuration::from_millis(500);
/// Whoever refuses it may be corrected.
const LATER: SignedDuration = SignedDuration::from_secs(10);
/// The longest of the delays, each of which is twice as long as the one before.
const LONGEST: SignedDuration = SignedDuration::from_secs(60);

/// What became of it.
pub(super) enum Noted {
    /// It is written.
    Written,
    /// It is tried again after this time.
    Again(Duration),
    /// The same, and nothing else is done before: the status that comes next would leave nothing that shows the copy.
    First(Duration),
}

/// Writes it, and tells of it.
pub(super) async fn noted(context: &Context, facts: &Facts, note: &CopyNote, plan: &Plan, mover: &Mover) -> Noted {
    let step = Step::NoteCopy(note.clone());
    let answer = context.writer.step(&facts.object, &step, mover, Timestamp::now()).await.err();
    let refused = match &answer {
        Some(Answer::Refused(refusal)) => Some(refusal.message.clone()),
        _ => None,
    };
    let failures = remember(context, &facts.object.uid, |memory| {
        memory.unnoted = if answer.is_some() { memory.unnoted.saturating_add(1) } else { 0 };
        match refused.clone() {
            Some(message) => memory.denied.insert(ANNOTATIONS, message),
            None => memory.denied.remove(ANNOTATIONS),
        };
    })
    .unnoted;
    let Some(answer) = answer else {
        if let Some(event) = &note.told {
            events::publish(context, &facts.object, event).await;
        }
        return Noted::Written;
    };
    let (passes, delay) = again(&answer, failures, &facts.object.uid);
    if let Answer::Transient(error) = answer {
        tracing::warn!(name = facts.object.name, error = causes(&error), "the state of a copy could not be written to its PVC; retrying");
    }
    let is_this = |other: &Step| matches!(other, Step::NoteCopy(other) if other == note);
    let status_follows = plan.steps.iter().skip_while(|step| !is_this(step)).any(|step| matches!(step, Step::WriteStatus(_)));
    if passes && status_follows { Noted::First(delay) } else { Noted::Again(delay) }
}

/// Whether the next try may work, and when it is made; `failures` in a row, this one included.
fn again(answer: &Answer, failures: i64, seed: &str) -> (bool, Duration) {
    let refused = matches!(answer, Answer::Refused(_) | Answer::Ending);
    let delay = backoff::delay(if refused { LATER } else { SOON }, LONGEST, failures, seed);
    // What goes on for so long is no moment's trouble, whichever code it is answered with.
    (!refused && failures < FAILURES_THAT_PASS, delay.unsigned_abs())
}

/// What a source has left on a PVC counts no more once the source is gone; the value that it took last is still used up.
pub(super) fn forget_the_gone(context: &Context, facts: &mut Facts) {
    if !context.objects.complete() {
        return;
    }
    for by in facts.claims.iter_mut().filter_map(|claim| left_behind(context, &facts.object.uid, claim)) {
        by.uid.clear();
    }
}

/// The same of claims that were just read: a source that the cache does not show may be a new one, and another agent's.
pub(super) async fn forget_those_that_have_gone(context: &Context, facts: &mut Facts) -> kube::Result<()> {
    for by in facts.claims.iter_mut().filter_map(|claim| left_behind(context, &facts.object.uid, claim)) {
        let there = context.reader.replication(Kind::Source, &by.source).await?;
        if there.is_none_or(|source| source.object.uid != by.uid) {
            by.uid.clear();
        }
    }
    Ok(())
}

/// What another source has left there that the cache does not show, where it would matter to this one.
fn left_behind<'a>(context: &Context, uid: &str, claim: &'a mut Claim) -> Option<&'a mut CopyBy> {
    let busy = claim.copy.is_of_another(uid);
    claim.copy.by.as_mut().filter(|by| busy && !context.objects.has(&by.uid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::reason::Reason;
    use crate::core::model::facts::Refusal;

    /// One that was refused was tried again every ten seconds, for ever.
    #[test]
    fn what_is_not_written_is_tried_less_and_less_often() {
        let refused = || Answer::Refused(Refusal { reason: Reason::AdmissionDenied, message: "no".into() });
        for (answer, first) in [(Answer::Conflict, SOON), (refused(), LATER), (Answer::Ending, LATER)] {
            let delay = |failures| again(&answer, failures, "seed").1;
            assert!(delay(1) <= first.unsigned_abs() && delay(1) >= first.unsigned_abs() / 2, "{answer:?}");
            assert!(delay(2) > delay(1) && delay(1000) >= Duration::from_secs(45), "{answer:?}");
            assert!(delay(1000) <= LONGEST.unsigned_abs(), "{answer:?}");
        }
    }

    /// A sync is closed without it once that has lasted, or at once where the answer will be the same.
    #[test]
    fn a_sync_is_closed_all_the_same() {
        assert!(again(&Answer::Conflict, 1, "seed").0 && !again(&Answer::Conflict, FAILURES_THAT_PASS, "seed").0);
        assert!(!again(&Answer::Ending, 1, "seed").0);
    }
}
