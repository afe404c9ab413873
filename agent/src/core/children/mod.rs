//! Which children a run needs next, and their content.

pub(super) mod cleanup;
pub(super) mod copies;
pub(super) mod images;
pub(super) mod kept;
mod moved;
pub(super) mod placement;
pub(super) mod resize;
pub(super) mod revision;
pub(super) mod sharing;
pub(super) mod terminating;

pub(super) use moved::{place, subject};

use crate::api::Status;
use crate::api::reason::Reason;
use crate::api::status::Run;
use crate::core::model::facts::{Claim, Facts, Job, Meta, Role, Snapshot};
use crate::core::model::placement::Pin;
use crate::core::model::plan::{Child, MoverTask, NewClaim, NewJob, NewSnapshot, Origin, Step};
use crate::core::model::spec::{Capture, ClaimShape, DestinationClaim, Spec, Volume};
use crate::core::model::subject::Named;
use crate::core::model::{approvals, names};
use crate::core::schedule::due;
use jiff::{SignedDuration, Timestamp};
use scribe_mover::report::Report;

/// What keeps the volumes that the spec needs from being used, if anything does.
pub(super) fn volume_problem(facts: &Facts, spec: &Spec) -> Option<(Reason, String)> {
    match &spec.volume {
        Volume::Source { claim, capture, .. } => {
            named(facts, spec, claim).or_else(|| sharing::refused(facts, spec)).or_else(|| match capture {
                Capture::Direct => None,
                Capture::Clone => taken(facts, &names::capture(&facts.object.name)),
                Capture::Snapshot(_) => {
                    let name = names::capture(&facts.object.name);
                    taken(facts, &name).or_else(|| taken_snapshot(facts, &name))
                }
            })
        }
        Volume::Destination { claim: DestinationClaim::Existing(claim), .. } => {
            named(facts, spec, claim).or_else(|| sharing::refused(facts, spec))
        }
        Volume::Destination { claim: DestinationClaim::Private(_), .. } => {
            taken(facts, &names::volume(&facts.object.name)).or_else(|| sharing::refused(facts, spec))
        }
    }
}

/// A claim of the user's has to be there and to hold files.
fn named(facts: &Facts, spec: &Spec, name: &str) -> Option<(Reason, String)> {
    match facts.users_claim(name) {
        None => missing(facts, spec),
        Some(claim) if claim.block => {
            let message = format!(
                "PVC {name:?} is a raw block volume (volumeMode Block), which holds no files: name a PVC with volumeMode Filesystem, such as one \
                 that the application writes its dumps or backups to. Block devices are replicated by the storage system, or by VolSync's rsync-tls mover"
            );
            Some((Reason::InvalidSpec, message))
        }
        Some(claim) if matches!(spec.volume, Volume::Destination { .. }) && is_read_only(claim) => {
            let message = format!(
                "PVC {name:?} is ReadOnlyMany, and a destination writes to its PVC: name one that is ReadWriteOnce or ReadWriteMany"
            );
            Some((Reason::InvalidSpec, message))
        }
        Some(_) => None,
    }
}

/// Whether nothing can be written to it, by its access modes.
fn is_read_only(claim: &Claim) -> bool {
    claim.shape.access_modes.as_ref().is_some_and(|modes| !modes.is_empty() && modes.iter().all(|mode| mode == "ReadOnlyMany"))
}

/// What is reported while the claim of the user's that the spec names is not there, or on its way out.
pub(super) fn missing(facts: &Facts, spec: &Spec) -> Option<(Reason, String)> {
    let (name, namespace) = (spec.users_claim()?, &facts.object.namespace);
    let (reason, field) = match spec.volume {
        Volume::Source { .. } => (Reason::SourcePVCMissing, "spec.sourcePVC"),
        Volume::Destination { .. } => (Reason::DestinationPVCMissing, "spec.rclone.destinationPVC"),
    };
    let message = match facts.claims.iter().find(|c| c.meta.name == name && c.meta.role.is_none() && c.meta.deleting) {
        Some(Claim { meta, .. }) => {
            let since = meta.deleting_since.map_or_else(String::new, |since| format!(" since {since}"));
            format!(
                "PVC {name:?} in namespace {namespace}, which {field} names, is being deleted{since}{}: once it has gone, create it again, or correct the name",
                meta.held()
            )
        }
        None => format!("There is no PVC {name:?} in namespace {namespace}: {field} names it; create it or correct the name"),
    };
    Some((reason, message))
}

/// A claim of this name must be our own: a pull would delete what is in it.
fn taken(facts: &Facts, name: &str) -> Option<(Reason, String)> {
    facts.users_claim(name).filter(|c| !c.meta.namesake).map(|_| {
        let message = format!(
            "PVC {name:?} does not belong to this object, but has the name that this object's own PVC needs: rename it, delete it, or name it in the spec"
        );
        (Reason::InvalidSpec, message)
    })
}

/// A snapshot that has the labels of this object and the name that its temporary one would get, and is not its own: its
/// owner reference was removed, or it is a copy.
fn taken_snapshot(facts: &Facts, name: &str) -> Option<(Reason, String)> {
    facts.snapshots.iter().find(|s| s.meta.name == name && s.meta.role != Some(Role::Capture)).map(|_| {
        let message = format!(
            "VolumeSnapshot {name:?} is not owned by this object, but has the name that its temporary snapshot needs: rename or delete it"
        );
        (Reason::InvalidSpec, message)
    })
}

/// The point-in-time copy of a source: its temporary snapshot, or clone. None that is made on request without the value that asks for it.
pub(super) fn copy(facts: &Facts, spec: &Spec, run: &Run, asked_by: Option<&str>) -> Option<Step> {
    let Volume::Source { claim, capture, temporary } = &spec.volume else { return None };
    match capture {
        Capture::Snapshot(_) => capture_snapshot(facts, spec, run, asked_by),
        Capture::Clone => temporary_claim(facts, spec, run, facts.users_claim(claim)?, temporary, Origin::Claim(claim.clone()), asked_by).0,
        Capture::Direct => None,
    }
}

/// The temporary snapshot of a source, where its claim is there.
pub(super) fn capture_snapshot(facts: &Facts, spec: &Spec, run: &Run, asked_by: Option<&str>) -> Option<Step> {
    let Volume::Source { claim, capture: Capture::Snapshot(class), .. } = &spec.volume else { return None };
    facts.users_claim(claim)?;
    if asked_by.is_none() && copies::on_request(facts, spec).is_some() {
        return None;
    }
    let name = names::capture(&facts.object.name);
    if facts.snapshots.iter().any(|s| s.meta.name == name) {
        return None; // an earlier run's, on its way out
    }
    Some(Step::Create(Child::Snapshot(NewSnapshot {
        name,
        role: Role::Capture,
        run: run.id.clone(),
        claim: claim.clone(),
        class: class.clone(),
        content: None,
        copied_for: asked_by.map(str::to_owned),
    })))
}

/// The volume that the mover needs, if it is not there, and the mover's Job. The Job never waits for the volume to be bound: the volume may be waiting for the Job's pod.
///
/// Nothing while a fixed name is still taken by a child on its way out.
pub(super) fn mover(facts: &Facts, spec: &Spec, run: &Run, status: &Status, pin: Option<Pin>) -> Vec<Step> {
    let mut steps = Vec::new();
    let name = facts.object.job_name();
    if in_the_way(facts, run).is_some() {
        return steps;
    }
    let (claim, work) = match &spec.volume {
        Volume::Source { claim, capture, temporary } => {
            let Some(source) = facts.users_claim(claim) else { return steps };
            let (mounted, captured) = match capture {
                Capture::Direct => (claim.clone(), None),
                Capture::Clone => {
                    let (step, captured) = temporary_claim(facts, spec, run, source, temporary, Origin::Claim(claim.clone()), None);
                    if step.is_some() || !copies::exists(facts, spec, &run.id) {
                        // The mover needs a time that is not later than the data; the claim's creation time is one.
                        return step.into_iter().collect();
                    }
                    (names::capture(&facts.object.name), captured)
                }
                Capture::Snapshot(_) => {
                    let name = names::capture(&facts.object.name);
                    let (step, _) = temporary_claim(facts, spec, run, source, temporary, Origin::Snapshot(name.clone()), None);
                    steps.extend(step);
                    (name, facts.snapshots_as(Role::Capture).find(|s| s.meta.serves(&run.id)).and_then(|s| s.captured))
                }
            };
            let adopt = approvals::still_adopts(&facts.object, run);
            let adopt_state = run.adopted_state.clone().filter(|_| adopt);
            let (pushed, verify_now, layout, exclude) =
                (pushed(spec, status), run.verify_now.is_some(), spec.layout.clone(), spec.exclude.clone());
            (mounted, MoverTask::Push { captured, pushed, adopt, adopt_state, verify_now, layout, exclude })
        }
        Volume::Destination { claim, plain, .. } => {
            if let DestinationClaim::Private(shape) = claim
                && let Some(step) = destination_volume(facts, spec, status, shape)
            {
                // The Job has to name the very claim that it pulls into, by its UID.
                return vec![step];
            }
            let private = matches!(claim, DestinationClaim::Private(_));
            let (applied, pin) = (applied(facts, spec, status), revision::wanted(spec, status));
            (destination_claim(facts, claim), MoverTask::Pull { applied, private, plain: *plain, pin })
        }
    };
    steps.push(Step::Create(Child::Job(Box::new(NewJob {
        name,
        run: run.id.clone(),
        attempt: run.attempt,
        claim,
        claim_uid: pulled_into(facts, spec).map(|c| c.meta.uid.clone()),
        subject: Named::by(spec).record(),
        remote: spec.remote.clone(),
        guard: spec.guard,
        allow_deletions: facts.object.allow_deletions.clone(),
        pod: spec.pod.clone(),
        pin,
        work,
    }))));
    steps
}

/// A child of an earlier run or attempt that still has a name which this one needs, and what keeps it.
pub(super) fn in_the_way(facts: &Facts, run: &Run) -> Option<String> {
    let outgoing =
        |meta: &&Meta| meta.deleting || meta.run.as_ref().is_some_and(|r| *r != run.id) || meta.attempt.is_some_and(|a| a != run.attempt);
    let snapshots = facts.snapshots_as(Role::Capture).map(|s| ("VolumeSnapshot", &s.meta));
    let claims = facts.claims_as(Role::Capture).chain(facts.claims_as(Role::Volume)).map(|c| ("PVC", &c.meta));
    let jobs = facts.movers().map(|j| ("Job", &j.meta));
    let name = facts.object.claim_name();
    if let Some(job) = facts.foreign_jobs.first() {
        return Some(format!("Job {job} of another destination has not ended, and its pod would write to the same PVC"));
    }
    if facts.claims.iter().any(|c| c.meta.namesake && c.meta.name == name) {
        return Some(format!("PVC {name} of an earlier object of this name is still there"));
    }
    // The next report may be of the same revision, and would be taken to be about it.
    let images = facts.snapshots_as(Role::Image).filter(|s| facts.status.volume_touched && s.meta.serves(&run.id));
    let late = |value: &Option<String>| copies::is_too_late(facts, &run.id, value.as_deref());
    let late_snapshots = facts.snapshots_as(Role::Capture).filter(|s| late(&s.copied_for));
    let late_claims = facts.claims_as(Role::Capture).filter(|c| late(&c.copied_for)).map(|c| ("PVC", &c.meta));
    let others = images.chain(late_snapshots).map(|s| ("VolumeSnapshot", &s.meta)).chain(late_claims);
    let left = snapshots.chain(claims).chain(jobs).filter(|(_, meta)| outgoing(meta)).chain(others);
    let left: Vec<_> = left.collect();
    let answer = |meta: &Meta| facts.undeleted.get(&meta.uid).filter(|_| !meta.deleting);
    // The others may be waiting for the one that cannot be deleted.
    let (kind, meta) = left.iter().find(|(_, meta)| answer(meta).is_some()).or(left.first())?;
    let name = &meta.name;
    Some(match answer(meta) {
        _ if meta.deleting => format!("{kind} {name} of an earlier attempt is still being deleted{}", meta.held()),
        Some(answer) => format!("{kind} {name} of an earlier attempt could not be deleted: {answer}"),
        None => format!("{kind} {name} of an earlier attempt has not been deleted yet"),
    })
}

/// The temporary claim of a source, if it is not there; and when it was made, which for a clone is not later than its data. No clone without
/// the value that asks for it, where it is made on request.
fn temporary_claim(
    facts: &Facts,
    spec: &Spec,
    run: &Run,
    source: &Claim,
    wanted: &ClaimShape,
    from: Origin,
    asked_by: Option<&str>,
) -> (Option<Step>, Option<Timestamp>) {
    if let Some(claim) = facts.claims_as(Role::Capture).find(|c| c.meta.serves(&run.id)) {
        return (None, claim.meta.created);
    }
    if matches!(from, Origin::Claim(_)) && asked_by.is_none() && copies::on_request(facts, spec).is_some() {
        return (None, None);
    }
    let restore_size = match &from {
        Origin::Snapshot(_) => facts.snapshots_as(Role::Capture).find(|s| s.meta.serves(&run.id)).and_then(|s| s.restore_size),
        _ => None,
    };
    let shape = ClaimShape {
        size: [wanted.size, restore_size, source.shape.size].into_iter().flatten().max(),
        access_modes: wanted.access_modes.clone().or_else(|| source.shape.access_modes.clone()),
        storage_class: wanted.storage_class.clone().or_else(|| source.shape.storage_class.clone()),
    };
    let (name, copied_for) = (names::capture(&facts.object.name), asked_by.map(str::to_owned));
    let claim = NewClaim { name, role: Role::Capture, run: Some(run.id.clone()), from, shape, copied_for };
    (Some(Step::Create(Child::Claim(claim))), None)
}

fn destination_volume(facts: &Facts, spec: &Spec, status: &Status, shape: &ClaimShape) -> Option<Step> {
    if facts.claims_as(Role::Volume).any(|c| !c.meta.deleting) {
        return None;
    }
    let image = last_image(facts, spec, status);
    let size = shape.size.max(image.and_then(|image| image.restore_size));
    let access_modes = shape.access_modes.clone().or_else(|| Some(vec!["ReadWriteOnce".to_owned()]));
    let from = image.map_or(Origin::Empty, |image| Origin::Snapshot(image.meta.name.clone()));
    let shape = ClaimShape { size, access_modes, storage_class: shape.storage_class.clone() };
    let (name, role) = (names::volume(&facts.object.name), Role::Volume);
    Some(Step::Create(Child::Claim(NewClaim { name, role, run: None, from, shape, copied_for: None })))
}

/// The image that a volume which goes after each sync is created from, so that nothing is transferred twice: that of the last sync. None where
/// that is not certain, or the last volume that was created so had no success.
fn last_image<'a>(facts: &'a Facts, spec: &Spec, status: &Status) -> Option<&'a Snapshot> {
    let Volume::Destination { cleanup: true, image: Some(_), .. } = &spec.volume else { return None };
    if status.failed_for(Reason::VolumeNotBound) || status.volume_touched || due::needs_new_sync(spec, status) {
        return None;
    }
    let name = &status.latest_image.as_ref()?.name;
    let of_the_last_sync = |s: &&Snapshot| s.meta.name == *name && s.ready && !s.meta.deleting && s.revision == status.revision;
    facts.snapshots_as(Role::Image).find(of_the_last_sync).filter(|image| image.revision.is_some())
}

/// Whether this image was taken from the claim, or the claim was created from it.
pub(super) fn is_of(image: &Snapshot, claim: &Claim) -> bool {
    image.claim_uid.as_deref() == Some(claim.meta.uid.as_str()) || claim.made_from.as_deref() == Some(image.meta.name.as_str())
}

/// Name of the claim that a destination pulls into.
pub(super) fn destination_claim(facts: &Facts, claim: &DestinationClaim) -> String {
    match claim {
        DestinationClaim::Existing(name) => name.clone(),
        DestinationClaim::Private(_) => names::volume(&facts.object.name),
    }
}

/// Whether what this Job pulled is still there: its claim may have been deleted, and another made under the same name.
pub(super) fn still_there(facts: &Facts, spec: &Spec, job: &Job) -> bool {
    let now = pulled_into(facts, spec).map(|claim| claim.meta.uid.as_str());
    match &spec.volume {
        Volume::Source { .. } => true,
        Volume::Destination { .. } => now.is_some() && job.claim_uid.as_deref().is_none_or(|uid| Some(uid) == now),
    }
}

/// The claim itself.
pub(super) fn pulled_into<'a>(facts: &'a Facts, spec: &Spec) -> Option<&'a Claim> {
    match &spec.volume {
        Volume::Destination { claim: DestinationClaim::Existing(name), .. } => facts.users_claim(name),
        Volume::Destination { claim: DestinationClaim::Private(_), .. } => facts.claims_as(Role::Volume).find(|c| !c.meta.deleting),
        Volume::Source { .. } => None,
    }
}

/// The revision that this object pushed last, where that was to this very path: of any other path it says nothing. Not every agent has
/// recorded the path.
fn pushed(spec: &Spec, status: &Status) -> Option<String> {
    let here = status.synced.as_ref().is_none_or(|synced| Named::by(spec).at(synced));
    status.revision.clone().filter(|_| here)
}

/// The revision that the volume is certain to hold: it is private, the published image of that revision was taken
/// from this very claim, and nothing else has been pulled since, also by a mover whose report was lost.
fn applied(facts: &Facts, spec: &Spec, status: &Status) -> Option<String> {
    let Volume::Destination { claim: DestinationClaim::Private(_), image: Some(_), .. } = &spec.volume else { return None };
    if status.volume_touched || due::needs_new_sync(spec, status) {
        return None;
    }
    let revision = status.revision.as_ref()?;
    published(facts, spec, status, revision).then(|| revision.clone())
}

/// Whether the published image holds what the mover reports, so that no new one is needed.
pub(super) fn image_holds(facts: &Facts, spec: &Spec, status: &Status, report: &Report) -> bool {
    !report.changed && report.revision.as_ref().is_some_and(|revision| published(facts, spec, status, revision))
}

fn published(facts: &Facts, spec: &Spec, status: &Status, revision: &str) -> bool {
    let (Some(claim), Some(image)) = (pulled_into(facts, spec), &status.latest_image) else { return false };
    facts
        .snapshots_as(Role::Image)
        .any(|s| s.meta.name == image.name && !s.meta.deleting && s.ready && s.revision.as_deref() == Some(revision) && is_of(s, claim))
}

/// The image that was made of what this report is about. A run may have another one, of an attempt whose report was lost.
pub(super) fn image_of<'a>(facts: &'a Facts, run: &Run, job: &Job, report: &Report) -> Option<&'a Snapshot> {
    let revision = report.revision.as_deref().unwrap_or_default();
    let of_this = |s: &&Snapshot| s.revision.as_deref() == Some(revision) && (job.claim_uid.is_none() || s.claim_uid == job.claim_uid);
    facts.snapshots_as(Role::Image).filter(|s| s.meta.serves(&run.id)).find(of_this)
}

/// The image of what the mover just applied, named after the second in which it finished; none where the claim is gone.
pub(super) fn image(facts: &Facts, spec: &Spec, run: &Run, report: &Report, finished: Timestamp) -> Option<Child> {
    let Volume::Destination { image: Some(class), .. } = &spec.volume else { return None };
    let claim = pulled_into(facts, spec)?;
    let mut time = finished;
    // A clock set back may bring a second twice; the name of another run's image is never used again.
    while facts
        .snapshots
        .iter()
        .any(|s| s.meta.name == names::image(&facts.object.name, time) && s.meta.run.as_deref() != Some(run.id.as_str()))
    {
        time = time.saturating_add(SignedDuration::from_secs(1)).unwrap_or(time);
    }
    Some(Child::Snapshot(NewSnapshot {
        name: names::image(&facts.object.name, time),
        role: Role::Image,
        run: run.id.clone(),
        claim: claim.meta.name.clone(),
        class: class.clone(),
        content: Some((report.revision.clone().unwrap_or_default(), claim.meta.uid.clone())),
        copied_for: None,
    }))
}
