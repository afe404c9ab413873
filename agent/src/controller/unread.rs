//! Reads that fail: nothing can be decided without their facts, so nothing else would be written about them.

use super::failure::Failure;
use super::memory::{recall, remember};
use super::observe::Unread;
use super::{Context, FAILURES_THAT_PASS};
use crate::api::recorded;
use crate::cluster::pace::causes;
use crate::cluster::refusal::missing_permission;
use crate::core::conditions;
use crate::core::model::facts::Facts;
use jiff::Timestamp;

/// Reports a read that failed in the condition Reconciled, alone: a missing permission at once, anything else when it lasts.
pub(super) async fn report(context: &Context, facts: &Facts, unread: Unread) -> Failure {
    let Unread { what, error } = unread;
    let uid = &facts.object.uid;
    let message = match missing_permission(&error) {
        Some(message) => message,
        // This failure is counted afterwards.
        None if recall(context, uid).failures + 1 < FAILURES_THAT_PASS => return Failure::Read { what, error },
        None => format!("The agent cannot read {what}, and cannot continue without that: {}", causes(&error)),
    };
    let memory = remember(context, uid, |memory| memory.unread.insert(what, message));
    let mut status = facts.status.clone();
    let troubles = context.troubles(facts.object.kind, &memory).join("; ");
    conditions::report_trouble(&mut status, &troubles, facts.object.generation, Timestamp::now());
    if !recorded::same(&status, &facts.status, &facts.undeclared)
        && let Err(error) = context.writer.status(&facts.object, &status).await
    {
        tracing::warn!(name = facts.object.name, %error, "cannot report a read that failed");
    }
    Failure::Read { what, error }
}

/// Everything that is wanted has been read: what failed before works again, or is not wanted any more. Returns whether the facts have changed.
pub(super) fn all_works(context: &Context, facts: &mut Facts) -> bool {
    forget(context, facts, |_| true)
}

/// This read works again.
pub(super) fn works(context: &Context, facts: &mut Facts, what: &str) {
    forget(context, facts, |other| other == what);
}

fn forget(context: &Context, facts: &mut Facts, is_over: impl Fn(&str) -> bool) -> bool {
    let mut before = 0;
    let memory = remember(context, &facts.object.uid, |memory| {
        before = memory.unread.len();
        memory.unread.retain(|what, _| !is_over(what));
    });
    let changed = memory.unread.len() != before;
    if changed {
        facts.troubles = context.troubles(facts.object.kind, &memory);
    }
    changed
}
