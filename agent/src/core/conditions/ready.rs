//! The condition Ready: whether there is a complete copy of what the spec names.

use super::{Verdict, is_history, lasting, present_stall, verdict};
use crate::api::Status;
use crate::api::reason::Reason;
use crate::api::status::Phase;
use crate::core::model::clock::seconds;
use crate::core::model::limits::Limits;
use crate::core::model::spec::{InvalidSpec, Spec, Volume};
use crate::core::model::subject::Named;
use crate::core::schedule::due;
use jiff::Timestamp;

/// Ready, and the generation that it speaks of: the one that was synced last, so that waiting for Ready after an edit waits for its sync;
/// or the present one, if everything that the spec asks for was synced.
pub(super) fn ready(status: &Status, spec: &Result<Spec, InvalidSpec>, generation: i64, limits: &Limits, now: Timestamp) -> (Verdict, i64) {
    let spec = match spec {
        Ok(spec) => spec,
        Err(InvalidSpec(problem)) => return (verdict(false, Reason::InvalidSpec, problem), generation),
    };
    if let Some((reason, error)) = present_stall(status) {
        return (verdict(false, reason, &error.message), generation);
    }
    if status.last_sync_time.is_none() {
        return match lasting(status, limits) {
            Some((reason, error)) => (verdict(false, reason, &error.message), generation),
            None if is_history(status) => (untried(status, spec), generation),
            None => (verdict(false, Reason::NeverSynced, "No sync has succeeded yet"), generation),
        };
    }
    if let Some(time) = due::republishes(&Named::by(spec), status) {
        return (verdict(false, Reason::NotPublished, not_published(status, spec, due::possible(time, now), now)), generation);
    }
    if due::is_touched(spec, status) && matches!(spec.volume, Volume::Destination { image: None, .. }) {
        return (verdict(false, Reason::NotPublished, last_sync(status, spec)), generation);
    }
    if let Some((reason, _)) = lasting(status, limits) {
        return (verdict(false, reason, last_sync(status, spec)), generation);
    }
    let before = status.conditions.iter().find(|c| c.type_ == "Ready" && c.status == "True");
    if is_history(status) && before.is_none() {
        // Neither does an edit make it Ready, nor is what an earlier spec failed with true of this one.
        return (untried(status, spec), generation);
    }
    // A volume that the pull of another spec has touched needs a sync, even if the spec has been changed back.
    let asks = due::is_stale(&Named::by(spec), status) || due::is_unsynced(&spec.trigger, status);
    // Not every agent has recorded it.
    let last = status.last_sync_generation.or(before.and_then(|c| c.observed_generation));
    let synced = last.map(|last| if asks { last } else { generation });
    let of_a_changed_spec = status.run.as_ref().is_some_and(|run| Some(run.generation) > last);
    match status.present_error() {
        Some(error) if synced.is_none() || of_a_changed_spec => {
            let reason = Reason::parse(&error.reason).unwrap_or(Reason::MoverFailed);
            (verdict(false, reason, error.message.clone()), generation)
        }
        // It was not Ready, and what the spec asks for now has not been synced.
        _ if asks && synced.is_none() => (verdict(false, Reason::NeverSynced, not_of_this_spec(status, spec)), generation),
        _ => (verdict(true, Reason::Synced, last_sync(status, spec)), synced.unwrap_or(generation)),
    }
}

/// The spec has changed since the last attempt failed, and no attempt of it has ended yet.
fn untried(status: &Status, spec: &Spec) -> Verdict {
    let changed = "The spec has changed since the last attempt failed";
    match &status.run {
        Some(run) if Some(run.generation) == status.observed_generation && !matches!(run.phase, Phase::Backoff) => {
            verdict(false, Reason::SyncInProgress, format!("{changed}; its first sync is in progress"))
        }
        _ if spec.paused => verdict(false, Reason::Paused, format!("{changed}; a sync of it follows{}", once_resumed(status, spec))),
        _ => verdict(false, Reason::SyncInProgress, format!("{changed}; a sync of it follows{}", once_resumed(status, spec))),
    }
}

/// What follows the announcement of a sync that is due.
fn once_resumed(status: &Status, spec: &Spec) -> &'static str {
    match () {
        () if spec.paused => " once spec.paused is false",
        () if due::waits_for_a_trigger(status) => " with the next trigger, because the last one was aborted",
        () => "",
    }
}

fn not_published(status: &Status, spec: &Spec, time: Timestamp, now: Timestamp) -> String {
    let what = match &spec.volume {
        Volume::Destination { image: None, .. } => "The PVC that the last sync pulled into was deleted or replaced",
        _ => "The image of the last sync was deleted or released",
    };
    let then = match once_resumed(status, spec) {
        "" if time > now && status.run.is_none() => {
            format!(" at {}, because one that published it again has just been made", seconds(time))
        }
        then => then.to_owned(),
    };
    format!("{what}; a sync follows{then}")
}

fn not_of_this_spec(status: &Status, spec: &Spec) -> String {
    if due::needs_new_sync(spec, status) {
        return last_sync(status, spec);
    }
    "The sync that spec.trigger.manual asks for has not succeeded yet".to_owned()
}

/// What the last sync was of, where that is not what the spec names; otherwise how it ended, and what came after it.
fn last_sync(status: &Status, spec: &Spec) -> String {
    if let Some(synced) = status.synced.as_ref().filter(|_| due::needs_new_sync(spec, status)) {
        let then = once_resumed(status, spec);
        return format!("The last successful sync used an earlier spec ({}); a sync of the current spec follows{then}", synced.remote);
    }
    if due::is_touched(spec, status) {
        let what = match &status.aborted {
            Some(_) if due::waits_for_a_trigger(status) => "The sync that was aborted may have changed the PVC",
            _ => "Another destination may have pulled into the PVC since the last sync",
        };
        return format!("{what}; a sync follows{}", once_resumed(status, spec));
    }
    let (Some(error), Some(time)) = (&status.last_error, &status.last_sync_time) else {
        return "The last sync succeeded".to_owned();
    };
    if error.reason == Reason::CopyTriggerTimeout.as_str() {
        return format!("A sync succeeded at {}; the next one waits: {}", time.0, error.message);
    }
    let attempts = match status.attempts {
        Some(failures) if failures > 1 => format!("the last {failures} attempts"),
        _ => "the last attempt".to_owned(),
    };
    format!("A sync succeeded at {}; {attempts} failed: {}", time.0, error.message)
}
