//! Copies of a source's volume that the user asks for, by annotations on its PVC: whether one is needed, whether it is there, and what is
//! written on the PVC of one that is, or that nobody waits for any more.

use crate::api::labels::{COPY_TRIGGER, USE_COPY_TRIGGER};
use crate::api::reason::Reason;
use crate::api::status::{Phase, Run};
use crate::core::decision::Decision;
use crate::core::model::copy::{CopyBy, CopyStatus};
use crate::core::model::facts::{Claim, Facts, Meta, Refresh, Role};
use crate::core::model::plan::{ChildKind, ChildRef, CopyNote, Step};
use crate::core::model::spec::{Capture, Spec, Volume};

/// The source's claim, where its copies wait for a trigger. One that is read in place is not copied.
pub(in crate::core) fn on_request<'a>(facts: &'a Facts, spec: &Spec) -> Option<&'a Claim> {
    match &spec.volume {
        Volume::Source { capture: Capture::Direct, .. } | Volume::Destination { .. } => None,
        Volume::Source { claim, .. } => facts.users_claim(claim).filter(|claim| claim.copy.used),
    }
}

/// Whether the copy of this run is there or being made, as far as the facts show.
pub(in crate::core) fn exists(facts: &Facts, spec: &Spec, run: &str) -> bool {
    let good = |meta: &Meta, value: Option<&str>| meta.serves(run) && !is_too_late(facts, run, value);
    match &spec.volume {
        Volume::Source { capture: Capture::Clone, .. } => facts.claims_as(Role::Capture).any(|c| good(&c.meta, c.copied_for.as_deref())),
        _ => facts.snapshots_as(Role::Capture).any(|s| good(&s.meta, s.copied_for.as_deref())),
    }
}

/// Whether the copy that this value asked for came into being too late for the run, see [`CopyTrigger::is_too_late`].
///
/// [`CopyTrigger::is_too_late`]: crate::core::model::copy::CopyTrigger::is_too_late
pub(in crate::core) fn is_too_late(facts: &Facts, run: &str, value: Option<&str>) -> bool {
    let asked = facts.spec.as_ref().ok().and_then(|spec| on_request(facts, spec));
    asked.is_some_and(|claim| claim.copy.is_too_late(&facts.object.uid, run, value))
}

/// The same, whichever copyMethod the spec has by now.
pub(in crate::core) fn of_any_method(facts: &Facts, run: &str) -> bool {
    facts.claims_as(Role::Capture).any(|c| c.meta.serves(run)) || facts.snapshots_as(Role::Capture).any(|s| s.meta.serves(run))
}

/// The note on this claim that a copy is as far as `status`.
pub(in crate::core) fn note(claim: &Claim, status: Option<CopyStatus>, by: CopyBy) -> CopyNote {
    let (claim, version) = (ChildRef::of(ChildKind::Claim, &claim.meta), claim.copy.version.clone());
    CopyNote { claim, version, status, waiting_since: None, latest: None, by, told: None }
}

/// Facts without which nothing is written on a claim: a copy that the cache does not show yet may be there.
pub(in crate::core) const FACTS: [Refresh; 2] = [Refresh::Claims, Refresh::Snapshots];

/// Plans what is to be written of this source's copies: one whose point in time is certain is completed, and a status that holds no more
/// goes. A script that waits for either has stopped an application.
pub(in crate::core) fn settle(decision: &mut Decision<'_>) {
    let facts = decision.facts;
    unused(decision);
    if decision.plan.steps.iter().any(|step| matches!(step, Step::NoteCopy(_))) {
        return;
    }
    let uid = &facts.object.uid;
    for claim in facts.claims.iter().filter(|claim| claim.meta.role.is_none() && !claim.meta.deleting) {
        // What one has left that is gone holds for nobody.
        let Some(by) = claim.copy.by.as_ref().filter(|by| by.uid == *uid || by.uid.is_empty()) else { continue };
        let made = Made::of(decision, by);
        let status = match claim.copy.status {
            Some(CopyStatus::WaitingForTrigger) if !waits(decision, claim, by) => None,
            Some(CopyStatus::InProgress) if made == Made::Fixed => Some(CopyStatus::Completed),
            Some(CopyStatus::InProgress) if made == Made::No && !waits(decision, claim, by) => None,
            _ => continue,
        };
        decision.plan.needs.extend(FACTS);
        if status.is_none() && !facts.snapshots_known {
            continue; // its copy may be there
        }
        let latest = by.taken.clone().filter(|_| status.is_some());
        let told = latest.as_ref().map(|value| {
            let note = format!(
                "The copy of PVC {} that {COPY_TRIGGER}={value:?} asked for is there: what is written from now on is not part of it",
                claim.meta.name
            );
            Decision::told(false, Reason::CopyCompleted, note, &format!("{}/{value}", by.run))
        });
        let step = Step::NoteCopy(CopyNote { latest, told, ..note(claim, status, by.clone()) });
        if completed(decision).is_some_and(|run| run.id == by.run) && status.is_some() {
            // Once the run is closed, nothing shows that the copy was there.
            decision.before_the_status.push(step);
        } else {
            // Before all that may fail.
            decision.plan.steps.insert(0, step);
        }
    }
}

/// The run, where this decision records its success.
fn completed<'a>(decision: &Decision<'a>) -> Option<&'a Run> {
    let (before, now) = (&decision.facts.status, &decision.status);
    before.run.as_ref().filter(|_| now.run.is_none() && now.last_sync_time != before.last_sync_time)
}

/// Whether the run waits for a value, or for the copy of one that it has taken to be made.
fn waits(decision: &Decision<'_>, claim: &Claim, by: &CopyBy) -> bool {
    let facts = decision.facts;
    let asks = facts.spec.as_ref().ok().and_then(|spec| on_request(facts, spec)).is_some_and(|asked| asked.meta.uid == claim.meta.uid);
    let run = decision.status.run.as_ref().filter(|run| run.phase == Phase::WaitingForSnapshot);
    asks && run.is_some_and(|run| by.is_of(&facts.object.uid, run))
}

/// What there is of the copy that was asked for by the value which was taken last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    No,
    /// Which moment it will show is not certain yet.
    Underway,
    /// The data was captured: the application may go on.
    Fixed,
}

impl Made {
    fn of(decision: &Decision<'_>, by: &CopyBy) -> Made {
        let facts = decision.facts;
        let completed = completed(decision);
        // What is to be deleted is used by nobody, but for the last time by a run that has pushed it.
        let kept =
            |meta: &Meta| completed.is_some() || !decision.plan.steps.iter().any(|step| step.removes().is_some_and(|r| r.uid == meta.uid));
        let used = decision.status.run.as_ref().filter(|run| !decision.is_suspended(run)).or(completed);
        if used.is_none_or(|run| run.id != by.run) || by.taken.is_none() {
            return Made::No; // what there is of another run is not used
        }
        let of_it = |meta: &Meta, value: &Option<String>| meta.serves(&by.run) && *value == by.taken && kept(meta);
        let snapshot = facts.snapshots_as(Role::Capture).find(|s| of_it(&s.meta, &s.copied_for));
        let clone = facts.claims_as(Role::Capture).find(|c| of_it(&c.meta, &c.copied_for));
        match (snapshot, clone) {
            (None, None) => Made::No,
            // Its mover has read it.
            _ if completed.is_some() => Made::Fixed,
            // The driver answers with the time of capture; until it is ready it may be copied elsewhere.
            (Some(snapshot), _) if snapshot.taken || snapshot.ready => Made::Fixed,
            (_, Some(clone)) if clone.bound => Made::Fixed,
            _ => Made::Underway,
        }
    }
}

/// A trigger that nothing waits for is no error, but somebody may believe otherwise.
fn unused(decision: &mut Decision<'_>) {
    let Ok(spec) = &decision.facts.spec else { return };
    let Volume::Source { claim, capture: Capture::Direct, .. } = &spec.volume else { return };
    if decision.facts.users_claim(claim).is_some_and(|claim| claim.copy.used) {
        let note = format!("{USE_COPY_TRIGGER} on PVC {claim} has no effect: with copyMethod Direct no copy is made");
        decision.notes.push(note);
    }
}
