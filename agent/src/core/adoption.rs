//! Taking over a path by the annotation `scribe.backube/adopt-path`. An adoption happens once for each time that the annotation is
//! set, and acts on the one state of the path that its first push saw: an annotation that stays must not let two sources take turns.

use super::draft::Draft;
use super::facts::{Kind, Object};
use super::identity::permits;
use super::spec::Spec;
use super::subject::trimmed;
use crate::api::Status;
use crate::api::labels::ADOPT_PATH;
use crate::api::reason::Reason;
use crate::api::status::{Phase, Run};
use scribe_mover::report::Report;

/// The path that the annotation names, unless it has been taken over since the annotation was set.
pub fn pending<'a>(annotation: Option<&'a str>, status: &Status) -> Option<&'a str> {
    annotation.map(named).filter(|path| status.adopted_path.as_deref() != Some(*path))
}

/// The path that an attempt which begins now may take over.
pub(super) fn wanted(object: &Object, spec: &Spec, status: &Status) -> Option<String> {
    let path = pending(annotation(object), status)?;
    (path == named(&spec.remote.path)).then(|| path.to_owned())
}

/// Whether the run's adoption is still asked for. An annotation that was removed before the mover started is obeyed.
pub(super) fn still_wanted(object: &Object, run: &Run) -> bool {
    run.adopt.is_some() && annotation(object).map(named) == run.adopt.as_deref()
}

/// Forgets an adoption whose annotation is gone, so that setting it again is another one.
pub(super) fn withdraw(draft: &mut Draft<'_>) {
    let object = &draft.facts.object;
    let annotation = annotation(object).map(named);
    if draft.status.adopted_path.is_some() && draft.status.adopted_path.as_deref() != annotation {
        draft.status.adopted_path = None;
    }
    let allowed = object.allow_deletions.as_deref();
    let waiting = |run: &&mut Run| matches!(run.phase, Phase::Backoff | Phase::WaitingForFirstPush);
    if annotation.is_none()
        && let Some(run) = draft.status.run.as_mut().filter(waiting)
        && run.adopt.is_some()
    {
        // What else the last attempt knew to be permitted stays known; what it did not know is news.
        if run.permits == permits(run.adopt.as_deref(), allowed) {
            run.permits = permits(None, allowed);
        }
        (run.adopt, run.adopted_state) = (None, None);
    }
}

/// Keeps the state of the path that the first push of an adoption acted on.
pub(super) fn bind(draft: &mut Draft<'_>, report: &Report) {
    if let Some(run) = draft.status.run.as_mut().filter(|run| run.adopt.is_some() && run.adopted_state.is_none()) {
        run.adopted_state.clone_from(&report.adopted_state);
    }
}

/// The run ended well: its adoption is done.
pub(super) fn complete(draft: &mut Draft<'_>, run: &Run) {
    if still_wanted(&draft.facts.object, run) {
        draft.status.adopted_path.clone_from(&run.adopt);
    }
}

/// Publishes that the annotation names another path than the spec, so that nothing is taken over.
pub(super) fn warn(draft: &mut Draft<'_>, spec: &Spec) {
    if let Some(note) = mismatch(&draft.facts.object, spec) {
        let (annotation, path) = (draft.facts.object.adopt_path.clone().unwrap_or_default(), &spec.remote.path);
        draft.event(true, Reason::AnnotationIgnored, note, &format!("{annotation}/{path}"));
    }
}

/// Why the annotation did not help a push that was refused as another's, where it is set at all.
pub(super) fn why_not(object: &Object, spec: &Spec, status: &Status) -> Option<String> {
    mismatch(object, spec).or_else(|| {
        let path = annotation(object).map(named).filter(|path| status.adopted_path.as_deref() == Some(*path))?;
        Some(format!("{path} was taken over once already (status.adoptedPath); to take it over again, remove the annotation {ADOPT_PATH} and set it again"))
    })
}

fn mismatch(object: &Object, spec: &Spec) -> Option<String> {
    let annotation = annotation(object).filter(|path| named(path) != named(&spec.remote.path))?;
    let path = &spec.remote.path;
    Some(format!(
        "The annotation {ADOPT_PATH} names {annotation:?}, and spec.rclone.rcloneDestPath is {path:?}: nothing is taken over until the two are the same"
    ))
}

/// The annotation of a source; on a destination it has no meaning.
fn annotation(object: &Object) -> Option<&str> {
    object.adopt_path.as_deref().filter(|_| object.kind == Kind::Source)
}

fn named(path: &str) -> &str {
    trimmed(path.trim())
}
