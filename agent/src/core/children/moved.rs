//! What a run has captured or moves, whatever the spec names by now.

use crate::api::status::{Run, Subject};
use crate::core::model::facts::{Facts, Job};
use crate::core::model::place::Place;
use crate::core::model::spec::Spec;
use crate::core::model::subject::{self, Named};

/// What the mover of this Job moved, or the run captured for it. Not every agent has recorded it; a spec that has not been edited since
/// is still the same.
pub(in crate::core) fn subject(facts: &Facts, spec: &Spec, run: &Run, job: Option<&Job>) -> Option<Subject> {
    let moved = job.and_then(|job| job.subject.as_deref()).and_then(subject::parse);
    let unedited = || (run.generation == facts.object.generation).then(|| Named::by(spec).record());
    moved.or_else(|| run.subject.clone()).or_else(unedited)
}

/// Where this run pulls into or pushes.
pub(in crate::core) fn place(facts: &Facts, spec: &Spec, run: &Run, job: Option<&Job>) -> Option<Place> {
    Some(Place::of_subject(&subject(facts, spec, run, job)?, &facts.object.claim_name()))
}
