//! Copies of a source's volume that the user asks for, by annotations on its PVC: whether one is needed, whether it is there, and what is
//! written on the PVC of one that is, or that nobody waits for any more.

use crate::api::labels::{COPY_TRIGGER, USE_COPY_TRIGGER};
use crate::api::reason::Reason;
use crate::api::status::Phase;
use crate::core::decision::Decision;
use crate::core::model::copy::{CopyBy, CopyStatus};
use crate::core::model::facts::{Claim, Facts, Refresh, Role};
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
    match &spec.volume {
        Volume::Source { capture: Capture::Clone, .. } => facts.claims_as(Role::Capture).any(|c| c.meta.serves(run)),
        _ => facts.snapshots_as(Role::Capture).any(|s| s.meta.serves(run)),
    }
}

/// The same, whichever copyMethod the spec has by now.
pub(in crate::core) fn of_any_method(facts: &Facts, run: &str) -> bool {
    facts.claims_as(Role::Capture).any(|c| c.meta.serves(run)) || facts.snapshots_as(Role::Capture).any(|s| s.meta.serves(run))
}

/// The note on this claim that a copy is as far as `status`.
pub(in crate::core) fn note(claim: &Claim, status: Option<CopyStatus>, by: CopyBy) -> CopyNote {
    let (claim, version) = (ChildRef::of(ChildKind::Claim, &claim.meta), claim.copy.version.clone());
    CopyNote { claim, version, status, waiting_since: None, latest: None, by }
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
        if let Some(value) = &latest {
            let note = format!(
                "The copy of PVC {} that {COPY_TRIGGER}={value:?} asked for is there: what is written from now on is not part of it",
                claim.meta.name
            );
            decision.event(false, Reason::CopyCompleted, note, &format!("{}/{value}", by.run));
        }
        // Before all that may fail.
        decision.plan.steps.insert(0, Step::NoteCopy(CopyNote { latest, ..note(claim, status, by.clone()) }));
    }
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
        if decision.status.run.as_ref().is_none_or(|run| run.id != by.run) || by.taken.is_none() {
            return Made::No; // what there is of another run is not used
        }
        let snapshot = facts.snapshots_as(Role::Capture).find(|s| s.meta.serves(&by.run) && s.copied_for == by.taken);
        let clone = facts.claims_as(Role::Capture).find(|c| c.meta.serves(&by.run) && c.copied_for == by.taken);
        match (snapshot, clone) {
            (None, None) => Made::No,
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
