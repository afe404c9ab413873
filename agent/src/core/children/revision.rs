//! Which revision a destination pulls: the newest, or the one that its spec pins. A time becomes a revision once, at its first pull.

use crate::api::Status;
use crate::api::pin::PinSpec;
use crate::api::reason::Reason;
use crate::api::status::Pinned;
use crate::core::decision::Decision;
use crate::core::model::clock::seconds;
use crate::core::model::facts::Job;
use crate::core::model::spec::Spec;
use crate::core::model::subject::{self, Named};
use jiff::Timestamp;
use scribe_mover::report::Report;

/// What the spec's pin was found to be at this very path.
fn found<'a>(spec: &Spec, status: &'a Status) -> Option<&'a Pinned> {
    let pin = spec.pin.as_ref()?;
    let of_this = |pinned: &&Pinned| {
        let named = pin.revision.as_ref().is_none_or(|revision| *revision == pinned.revision);
        named && pin.as_of == pinned.as_of && Named::by(spec).is_at(&pinned.remote)
    };
    status.pinned.as_deref().filter(of_this)
}

/// Forgets what another pin was found to be, or this one at another path.
pub(in crate::core) fn forget(decision: &mut Decision<'_>, spec: &Spec) {
    if found(spec, &decision.status).is_none() {
        decision.status.pinned = None;
    }
}

/// What the mover is to pull; none for the newest.
pub(super) fn wanted(spec: &Spec, status: &Status) -> Option<PinSpec> {
    match found(spec, status) {
        Some(pinned) => Some(PinSpec { revision: Some(pinned.revision.clone()), as_of: None }),
        None => spec.pin.clone(),
    }
}

/// What is wrong with a time that has not come: the path may still get revisions of before it.
pub(in crate::core) fn refused(spec: &Spec, status: &Status, now: Timestamp) -> Option<(Reason, String)> {
    let as_of = spec.pin.as_ref()?.as_of.as_deref()?;
    let time = as_of.parse::<Timestamp>().ok().filter(|time| *time > now)?;
    if found(spec, status).is_some() {
        return None; // it had passed, and the clock was set back
    }
    let message = format!(
        "spec.rclone.pin.asOf {time} has not passed, it is {}: write a time that has, or leave pin out to pull the newest revision",
        seconds(now)
    );
    Some((Reason::InvalidSpec, message))
}

/// Keeps which revision the pin stands for, as the mover of this Job has pulled it. Where that is another one than it was sent for, says so: it
/// must not be published.
pub(in crate::core) fn keep(decision: &mut Decision<'_>, spec: &Spec, job: &Job, report: &Report) -> Result<(), (Reason, String)> {
    let Some(pin) = &spec.pin else { return Ok(()) };
    let expected = wanted(spec, &decision.status).and_then(|wanted| wanted.revision);
    match &report.revision {
        Some(pulled) if expected.as_ref().is_none_or(|expected| expected == pulled) => {
            let moved = job.subject.as_deref().and_then(subject::parse).unwrap_or_else(|| Named::by(spec).record());
            let pinned = Pinned { revision: pulled.clone(), as_of: pin.as_of.clone(), remote: moved.remote };
            decision.status.pinned = Some(Box::new(pinned));
            Ok(())
        }
        pulled => {
            let (pulled, expected) = (pulled.as_deref().unwrap_or("none"), expected.as_deref().unwrap_or("any"));
            let message = format!("The mover pulled revision {pulled} although spec.rclone.pin asks for {expected}: it is not published");
            Err((Reason::RevisionMissing, message))
        }
    }
}
