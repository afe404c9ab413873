//! What makes a sync due, and when the next one is.
//!
//! `status.nextSyncTime` is the truth: a scheduled time that passed while the agent was away is still due, and several collapse into one.

use crate::api::Status;
use crate::api::reason::Reason;
use crate::api::status::{Phase, Run};
use crate::core::model::clock::seconds;
use crate::core::model::facts::Object;
use crate::core::model::limits::Limits;
use crate::core::model::run_id::Cause;
use crate::core::model::spec::{Spec, Trigger};
use crate::core::model::subject::Named;
use jiff::{SignedDuration, Timestamp};

/// What in its trigger makes a sync due, while no run is open.
pub fn cause(trigger: &Trigger, status: &Status, now: Timestamp) -> Option<Cause> {
    if let Some(tag) = new_tag(trigger, status) {
        return Some(Cause::Manual(tag.to_owned()));
    }
    if let Some(next) = &status.next_sync_time
        && next.0 <= now
    {
        return Some(Cause::Scheduled(next.0));
    }
    (never_synced(status) && trigger.starts_at_once() && !waits_for_a_trigger(status)).then_some(Cause::Created)
}

/// Whether a sync was aborted and nothing follows by itself: the next one starts at a scheduled time or the end of the interval, with a new
/// tag or annotation, or after an edit of the spec.
pub fn waits_for_a_trigger(status: &Status) -> bool {
    status.aborted.as_ref().is_some_and(|aborted| aborted.generation.is_some())
}

/// What makes a sync due beside the trigger, if anything does: a sync or a verification that the user wants, a spec that names something else
/// than was synced last, a volume that may hold something else, and a published image or volume that is there no more.
pub fn cause_beside_trigger(spec: &Spec, object: &Object, status: &Status, now: Timestamp) -> Option<Cause> {
    if let Some(value) = new_sync_now(object.sync_now.as_deref(), status) {
        return Some(Cause::SyncNow(value.to_owned()));
    }
    if let Some(value) = new_verification(object.verify_now.as_deref(), status) {
        return Some(Cause::VerifyNow(value.to_owned()));
    }
    if waits_for_a_trigger(status) {
        return None;
    }
    if is_stale(&Named::by(spec), status) {
        return Some(Cause::SpecChanged(object.generation));
    }
    republishes(&Named::by(spec), status).is_some_and(|time| possible(time, now) <= now).then_some(Cause::Unpublished)
}

/// No second sync follows so soon to publish again what is gone: something may take away every image at once.
const PUBLISHES_AGAIN: SignedDuration = SignedDuration::from_mins(10);

/// When a sync is due because nothing is published of what was synced last; none while it is published. At once, but for one that follows
/// another of its kind. See [`possible`].
pub fn republishes(subject: &Named<'_>, status: &Status) -> Option<Timestamp> {
    let missing = subject.publishes() && !is_published(status);
    let last = status.last_sync_time.as_ref().filter(|_| missing)?;
    let again = status.last_republish_time.as_ref().map(|time| time.0.saturating_add(PUBLISHES_AGAIN).unwrap_or(Timestamp::MAX));
    Some(again.map_or(last.0, |again| again.max(last.0)))
}

/// The time of [`republishes`], as it can be: one that is further away comes of a clock that was ahead when the last sync ended.
pub fn possible(republishes: Timestamp, now: Timestamp) -> Timestamp {
    if republishes.duration_since(now) > PUBLISHES_AGAIN { now } else { republishes }
}

/// Whether `latestImage` is of the revision that was synced last. An image of which no revision was recorded counts as such.
fn is_published(status: &Status) -> bool {
    let Some(latest) = &status.latest_image else { return false };
    let image = status.images.iter().find(|image| image.name == latest.name);
    let revision = image.and_then(|image| image.revision.as_ref());
    revision.zip(status.revision.as_ref()).is_none_or(|(published, synced)| published == synced)
}

/// Whether the spec names something else than the last successful sync was of: another claim, section, path or layout, or a snapshot
/// instead of the volume. What is published or pushed then belongs to an earlier spec, and a sync of this one is due at once.
///
/// False where that is not known: before the first success, and after one of an agent that did not record it.
pub fn needs_new_sync(spec: &Spec, status: &Status) -> bool {
    differs(&Named::by(spec), status)
}

/// The same of a subject that is at hand.
pub fn differs(subject: &Named<'_>, status: &Status) -> bool {
    let published = subject.is_published_as(status.latest_image.as_ref());
    status.synced.as_ref().is_some_and(|synced| !subject.is(synced) || !published)
}

/// Whether what was synced last is not what is wanted, or a destination's volume may not hold it any more.
pub fn is_stale(subject: &Named<'_>, status: &Status) -> bool {
    differs(subject, status) || status.volume_touched
}

/// Whether nothing but the volume keeps it from being what was synced: another destination may have pulled into it since.
pub fn is_touched(spec: &Spec, status: &Status) -> bool {
    status.volume_touched && status.run.is_none() && !needs_new_sync(spec, status)
}

/// Whether what a run captured is something else than the spec names by now, as far as its status shows.
pub fn is_of_another(subject: &Named<'_>, run: &Run, generation: i64) -> bool {
    run.subject.as_ref().map_or(run.generation != generation, |captured| !subject.is(captured))
}

/// The value of the annotation `scribe.backube/sync-now`, where no sync that was started with it has succeeded or was aborted yet.
pub fn new_sync_now<'a>(annotation: Option<&'a str>, status: &Status) -> Option<&'a str> {
    let aborted = status.aborted.as_ref().and_then(|aborted| aborted.sync_now.as_deref());
    annotation.filter(|value| status.last_handled_sync_now.as_deref() != Some(*value) && aborted != Some(*value))
}

/// Whether the user wants a sync at once that this run was not opened with.
pub fn asked_to_sync(annotation: Option<&str>, run: &Run, status: &Status) -> bool {
    new_sync_now(annotation, status).is_some_and(|value| run.sync_now.as_deref() != Some(value))
}

/// The value of the annotation `scribe.backube/verify-now`, where no sync that was started with it has succeeded or was aborted yet.
pub fn new_verification<'a>(annotation: Option<&'a str>, status: &Status) -> Option<&'a str> {
    let aborted = status.aborted.as_ref().and_then(|aborted| aborted.verify_now.as_deref());
    annotation.filter(|value| status.last_handled_verify_now.as_deref() != Some(*value) && aborted != Some(*value))
}

/// Whether no sync of the object has ever succeeded. One that was started may have been given up, because its spec was invalid for a moment.
pub fn never_synced(status: &Status) -> bool {
    status.last_sync_time.is_none()
}

/// The manual tag, where it is not the one that was synced last, nor the one whose sync was aborted.
pub fn new_tag<'a>(trigger: &'a Trigger, status: &Status) -> Option<&'a str> {
    trigger.manual.as_deref().filter(|tag| is_new_tag(tag, status))
}

/// The same of a tag that is at hand.
pub fn is_new_tag(tag: &str, status: &Status) -> bool {
    let aborted = status.aborted.as_ref().and_then(|aborted| aborted.manual.as_deref());
    status.last_manual_sync.as_deref() != Some(tag) && aborted != Some(tag)
}

/// Whether the manual tag is not the one that was synced last: it may have been aborted.
pub fn is_unsynced(trigger: &Trigger, status: &Status) -> bool {
    trigger.manual.is_some() && trigger.manual != status.last_manual_sync
}

/// Whether the user wants a verification that the last attempt of this run did not know of.
pub fn asked_to_verify(annotation: Option<&str>, run: &Run, status: &Status) -> bool {
    new_verification(annotation, status).is_some_and(|value| run.verify_now.as_deref() != Some(value))
}

/// Whether scheduled times wait for the next attempt as well: the error requires action, or the run waits for something that a new
/// one would have to ask for again.
pub fn schedule_waits(status: &Status) -> bool {
    status.stalling_error().is_some() || was_slow(status) || lacked_claim(status)
}

/// Whether the last attempt failed because a PVC of the user's was not there. Once it is, the next attempt is due.
pub fn lacked_claim(status: &Status) -> bool {
    [Reason::SourcePVCMissing, Reason::DestinationPVCMissing].into_iter().any(|missing| status.failed_for(missing))
}

/// When a status asks for something to be done: its next sync or attempt. A scheduled time that waits for the next attempt asks for nothing.
pub fn next_time(status: &Status) -> Option<Timestamp> {
    let waits = status.run.as_ref().is_some_and(|run| run.phase == Phase::Backoff) && schedule_waits(status);
    let slot = status.next_sync_time.as_ref().filter(|_| !waits);
    slot.into_iter().chain(&status.next_attempt_time).map(|time| time.0).min()
}

/// Whether the last attempt failed because the cluster takes long over a snapshot or volume.
pub fn was_slow(status: &Status) -> bool {
    [Reason::SnapshotNotReady, Reason::VolumeNotBound].into_iter().any(|slow| status.failed_for(slow))
}

/// Whether the image that this run waits for has been reported as late.
pub fn is_late(status: &Status, run: &Run) -> bool {
    run.phase == Phase::Publishing && status.last_error.as_ref().is_some_and(|e| e.time.0 >= seconds(run.phase_time.0))
}

/// What `status.nextSyncTime` should be while nothing is opened or closed.
///
/// A time that has come stays until a run is opened for it. One that lies later than the next scheduled time counted from now was
/// computed under a wrong clock or another schedule, and is computed again; so it is when `spec_changed`.
pub fn next_sync_time(trigger: &Trigger, status: &Status, limits: &Limits, spec_changed: bool, now: Timestamp) -> Option<Timestamp> {
    let current = status.next_sync_time.as_ref().map(|t| t.0);
    let latest = match &trigger.schedule {
        Some(_) => trigger.first_time(now)?,
        None if trigger.continuous() && status.run.is_none() && (status.last_sync_time.is_some() || waits_for_a_trigger(status)) => {
            now.checked_add(limits.continuous_interval).ok()?
        }
        None => return None,
    };
    match current {
        Some(time) if time <= now => Some(time),
        Some(time) if time <= latest && !(spec_changed && trigger.schedule.is_some()) => Some(time),
        // An interval counts from the last sync also when the spec was edited: edits that come more often must not put it off for ever.
        Some(_) if spec_changed && trigger.counts_from_last_sync() => {
            let last = status.last_sync_start_time.as_ref().and_then(|last| trigger.next_time(last.0));
            Some(last.map_or(latest, |slot| slot.clamp(now, latest)))
        }
        _ => Some(latest),
    }
}

/// What `status.nextSyncTime` becomes when a run is opened: all scheduled times up to now are taken by it.
pub fn after_opening(trigger: &Trigger, status: &Status, now: Timestamp) -> Option<Timestamp> {
    trigger.schedule.as_ref()?;
    let ahead = status.next_sync_time.as_ref().map(|t| t.0).filter(|t| *t > now);
    ahead.or_else(|| trigger.next_time(now))
}

/// What it becomes when a run is closed.
pub fn after_closing(trigger: &Trigger, status: &Status, limits: &Limits, now: Timestamp) -> Option<Timestamp> {
    if trigger.continuous() {
        return now.checked_add(limits.continuous_interval).ok();
    }
    next_sync_time(trigger, status, limits, false, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::syntax::cron::Schedule;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn every_six_minutes() -> Trigger {
        Trigger { schedule: Some(Schedule::parse("*/6 * * * *", None).unwrap()), ..Trigger::default() }
    }

    fn synced(next: Option<&str>) -> Status {
        Status {
            last_sync_start_time: Some(Time(at("2026-01-01T00:00:00Z"))),
            last_sync_time: Some(Time(at("2026-01-01T00:00:10Z"))),
            next_sync_time: next.map(|t| Time(at(t))),
            ..Status::default()
        }
    }

    #[test]
    fn a_new_object_is_due_at_once_unless_told_to_wait() {
        let now = at("2026-01-01T00:01:00Z");
        assert_eq!(cause(&every_six_minutes(), &Status::default(), now), Some(Cause::Created));
        let waiting = Trigger { wait_for_schedule: true, ..every_six_minutes() };
        assert_eq!(cause(&waiting, &Status::default(), now), None);
        assert_eq!(next_sync_time(&waiting, &Status::default(), &Limits::default(), false, now), Some(at("2026-01-01T00:06:00Z")));
    }

    #[test]
    fn a_time_further_away_than_it_can_be_is_now() {
        let (now, second) = (at("2026-01-01T00:00:00Z"), SignedDuration::from_secs(1));
        let last = now + PUBLISHES_AGAIN;
        for (time, possibly) in [(now - second, now - second), (last, last), (last + second, now)] {
            assert_eq!(possible(time, now), possibly);
        }
    }

    #[test]
    fn one_whose_first_sync_was_given_up_is_due_at_once() {
        let given_up = Status { last_sync_time: None, ..synced(None) };
        let (now, due) = (at("2026-01-01T00:01:00Z"), Some(Cause::Created));
        assert_eq!(cause(&every_six_minutes(), &given_up, now), due);
        assert_eq!(cause(&Trigger::default(), &given_up, now), due);
        let waiting = Trigger { wait_for_schedule: true, ..every_six_minutes() };
        assert_eq!(cause(&waiting, &given_up, now), None, "its slot comes");
        let manual = Trigger { manual: Some("a".into()), ..Trigger::default() };
        assert_eq!(cause(&manual, &given_up, now), Some(Cause::Manual("a".into())));
    }

    #[test]
    fn missed_times_collapse_into_one() {
        let (status, now) = (synced(Some("2026-01-01T00:06:00Z")), at("2026-01-02T00:07:00Z"));
        assert_eq!(cause(&every_six_minutes(), &status, now), Some(Cause::Scheduled(at("2026-01-01T00:06:00Z"))));
        assert_eq!(next_sync_time(&every_six_minutes(), &status, &Limits::default(), false, now), Some(at("2026-01-01T00:06:00Z")));
        assert_eq!(after_opening(&every_six_minutes(), &status, now), Some(at("2026-01-02T00:12:00Z")));
    }

    #[test]
    fn a_time_from_a_wrong_clock_is_computed_again() {
        let (status, now) = (synced(Some("2031-01-01T00:00:00Z")), at("2026-01-01T00:01:00Z"));
        assert_eq!(next_sync_time(&every_six_minutes(), &status, &Limits::default(), false, now), Some(at("2026-01-01T00:06:00Z")));
        let continuous = Trigger::default();
        assert_eq!(next_sync_time(&continuous, &status, &Limits::default(), false, now), Some(at("2026-01-01T00:02:00Z")));
    }

    #[test]
    fn an_edited_schedule_takes_effect_but_a_due_slot_stays_due() {
        let hourly = Trigger { schedule: Some(Schedule::parse("@hourly", None).unwrap()), ..Trigger::default() };
        let now = at("2026-01-01T00:01:00Z");
        let waiting = synced(Some("2026-01-01T00:06:00Z"));
        assert_eq!(next_sync_time(&hourly, &waiting, &Limits::default(), true, now), Some(at("2026-01-01T01:00:00Z")));
        let due = synced(Some("2026-01-01T00:00:30Z"));
        assert_eq!(next_sync_time(&hourly, &due, &Limits::default(), true, now), Some(at("2026-01-01T00:00:30Z")));
    }

    #[test]
    fn an_interval_counts_from_the_last_sync() {
        let every = |text: &str| Trigger { schedule: Some(Schedule::parse(text, None).unwrap()), ..Trigger::default() };
        let (now, waiting) = (at("2026-01-01T01:00:00Z"), synced(Some("2026-01-01T01:30:00Z")));
        for (schedule, next) in
            [("@every 90m", "2026-01-01T01:30:00Z"), ("@every 4h", "2026-01-01T04:00:00Z"), ("@every 10m", "2026-01-01T01:00:00Z")]
        {
            assert_eq!(next_sync_time(&every(schedule), &waiting, &Limits::default(), true, now), Some(at(next)), "{schedule}");
        }
        let clock_set_back = at("2025-12-31T00:00:00Z");
        let latest = at("2025-12-31T01:30:00Z");
        assert_eq!(next_sync_time(&every("@every 90m"), &waiting, &Limits::default(), true, clock_set_back), Some(latest));
    }

    #[test]
    fn a_tag_is_due_until_it_is_the_one_synced_last() {
        let manual = Trigger { manual: Some("a".into()), ..Trigger::default() };
        let mut status = synced(None);
        assert_eq!(cause(&manual, &status, at("2026-01-01T00:01:00Z")), Some(Cause::Manual("a".into())));
        status.last_manual_sync = Some("a".into());
        assert_eq!(cause(&manual, &status, at("2026-01-01T00:01:00Z")), None);
    }
}
