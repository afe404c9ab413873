//! Taking over a path by the annotation `scribe.backube/adopt-path`. An adoption happens once for each time that the annotation is
//! set, and acts on the one state of the path that its first push saw: an annotation that stays must not let two sources take turns.

use crate::api::Status;
use crate::api::labels::ADOPT_PATH;
use crate::api::reason::Reason;
use crate::api::status::{Phase, Run};
use crate::core::decision::Decision;
use crate::core::model::approvals::{self, adopt_path, still_adopts, trimmed_path};
use crate::core::model::facts::Object;
use crate::core::model::spec::Spec;
use crate::core::schedule::due;
use scribe_mover::report::Report;

/// Binds the run in the making to what the user's annotations permit and ask for as its attempt begins.
pub(super) fn bind_annotations(decision: &mut Decision<'_>, spec: &Spec) {
    let object = &decision.facts.object;
    let (permits, adopt) = (object.approvals(&decision.status), approvals::adoption(object, spec, &decision.status));
    let verify_now = due::new_verification(object.verify_now.as_deref(), &decision.status).map(str::to_owned);
    if let Some(run) = decision.status.run.as_mut() {
        if run.adopt != adopt {
            run.adopted_state = None;
        }
        (run.permits, run.adopt, run.verify_now) = (permits, adopt, verify_now);
    }
}

/// Forgets an adoption whose annotation is gone, so that setting it again is another one.
pub(super) fn withdraw(decision: &mut Decision<'_>) {
    let object = &decision.facts.object;
    let annotation = adopt_path(object).map(trimmed_path);
    if decision.status.adopted_path.is_some() && decision.status.adopted_path.as_deref() != annotation {
        decision.status.adopted_path = None;
    }
    let allowed = object.allow_deletions.as_deref();
    let waiting = |run: &&mut Run| matches!(run.phase, Phase::Backoff | Phase::WaitingForFirstPush);
    if annotation.is_none()
        && let Some(run) = decision.status.run.as_mut().filter(waiting)
        && run.adopt.is_some()
    {
        // What else the last attempt knew to be permitted stays known; what it did not know is news.
        if run.permits == approvals::digest(run.adopt.as_deref(), allowed) {
            run.permits = approvals::digest(None, allowed);
        }
        (run.adopt, run.adopted_state) = (None, None);
    }
}

/// Keeps the state of the path that the first push of an adoption acted on.
pub(super) fn bind(decision: &mut Decision<'_>, report: &Report) {
    if let Some(run) = decision.status.run.as_mut().filter(|run| run.adopt.is_some() && run.adopted_state.is_none()) {
        run.adopted_state.clone_from(&report.adopted_state);
    }
}

/// The run ended well: its adoption is done.
pub(super) fn complete(decision: &mut Decision<'_>, run: &Run) {
    if still_adopts(&decision.facts.object, run) {
        decision.status.adopted_path.clone_from(&run.adopt);
    }
}

/// Reports, as soon as it is seen, that the annotation names another path than the spec, so that nothing is taken over. That it stands in the
/// condition, beside whatever else that tells, is how it is known that the event was published.
pub(super) fn report(decision: &mut Decision<'_>, spec: &Spec) {
    let facts = decision.facts;
    let Some(note) = mismatch(&facts.object, spec) else { return };
    let told = facts.status.conditions.iter().any(|c| c.type_ == "Reconciled" && c.message.contains(&note));
    if !told {
        let (annotation, path) = (facts.object.adopt_path.clone().unwrap_or_default(), &spec.remote.path);
        decision.event(true, Reason::AnnotationIgnored, note.clone(), &format!("{annotation}/{path}"));
    }
    decision.notes.push(note);
}

/// Why the annotation did not help a push that was refused as another's, where it is set at all.
pub(super) fn why_not(object: &Object, spec: &Spec, status: &Status) -> Option<String> {
    mismatch(object, spec).or_else(|| {
        let path = adopt_path(object).map(trimmed_path).filter(|path| status.adopted_path.as_deref() == Some(*path))?;
        Some(format!("{path} was taken over once already (status.adoptedPath); to take it over again, remove the annotation {ADOPT_PATH} and set it again"))
    })
}

fn mismatch(object: &Object, spec: &Spec) -> Option<String> {
    let annotation = adopt_path(object).filter(|path| trimmed_path(path) != trimmed_path(&spec.remote.path))?;
    let path = &spec.remote.path;
    Some(format!(
        "The annotation {ADOPT_PATH} names {annotation:?}, and spec.rclone.rcloneDestPath is {path:?}: nothing is taken over until the two are the same"
    ))
}
