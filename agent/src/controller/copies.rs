//! What is written on a user's PVC of a copy that is there, or that nobody waits for any more. Nothing else depends on it: a write that fails
//! keeps no sync from going on, and is reported beside it.

use super::Context;
use super::memory::remember;
use crate::cluster::pace::causes;
use crate::cluster::refusal::Answer;
use crate::core::model::facts::{Claim, Facts};
use crate::core::model::plan::Step;
use crate::manifests::job::Mover;
use jiff::Timestamp;
use std::time::Duration;

/// In [`Memory::denied`](super::Memory::denied).
const ANNOTATIONS: &str = "annotations of a copy";
/// The PVC has changed, or the API server is in trouble: it is read again soon, an application may be waiting.
const SOON: Duration = Duration::from_millis(500);
/// Whoever refuses it may be corrected.
const LATER: Duration = Duration::from_secs(10);

/// Writes it. Returns when to try again, where that did not work.
pub(super) async fn noted(context: &Context, facts: &Facts, step: &Step, mover: &Mover) -> Option<Duration> {
    let answer = context.writer.step(&facts.object, step, mover, Timestamp::now()).await.err();
    let refused = match &answer {
        Some(Answer::Refused(refusal)) => Some(refusal.message.clone()),
        _ => None,
    };
    remember(context, &facts.object.uid, |memory| match refused.clone() {
        Some(message) => memory.denied.insert(ANNOTATIONS, message),
        None => memory.denied.remove(ANNOTATIONS),
    });
    match answer? {
        Answer::Refused(_) | Answer::Ending => Some(LATER),
        Answer::Transient(error) => {
            tracing::warn!(
                name = facts.object.name,
                error = causes(&error),
                "the state of a copy could not be written to its PVC; retrying"
            );
            Some(SOON)
        }
        Answer::Conflict | Answer::Taken | Answer::Undeclared(_) => Some(SOON),
    }
}

/// What a source has left on a PVC counts no more once the source is gone; the value that it took last is still used up.
pub(super) fn forget_the_gone(context: &Context, facts: &mut Facts) {
    if !context.objects.complete() {
        return;
    }
    let gone = |claim: &&mut Claim| claim.copy.by.as_ref().is_some_and(|by| by.uid != facts.object.uid && !context.objects.has(&by.uid));
    for claim in facts.claims.iter_mut().filter(gone) {
        if let Some(by) = claim.copy.by.as_mut() {
            by.uid.clear();
        }
    }
}
