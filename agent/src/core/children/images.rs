//! The images of a destination: which of them are published, in the order of their publishing, and which one is the latest.

use crate::api::Status;
use crate::api::status::{Image, ImageRef};
use crate::core::children;
use crate::core::decision::Decision;
use crate::core::model::clock::seconds;
use crate::core::model::facts::{Facts, Refresh, Role, Snapshot};
use crate::core::model::retention::Retention;
use crate::core::model::spec::{Spec, Volume};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use scribe_mover::report::Report;

/// API group and kind of an image.
const GROUP: &str = "snapshot.storage.k8s.io";
const KIND: &str = "VolumeSnapshot";
/// Kind of a published volume.
const VOLUME: &str = "PersistentVolumeClaim";

/// Puts a new image in front.
pub(in crate::core) fn publish(decision: &mut Decision<'_>, snapshot: &Snapshot, report: &Report) {
    let name = snapshot.meta.name.clone();
    decision.status.images.retain(|image| image.name != name);
    let image = Image {
        name: name.clone(),
        revision: report.revision.clone(),
        data_time: report.data_time.map(|t| Time(seconds(t))),
        ready_time: Some(Time(seconds(decision.now))),
    };
    decision.status.images.insert(0, image);
    (decision.status.latest_image, decision.status.latest_image_uid) = (Some(reference(name)), None);
    decision.plan.needs.insert(Refresh::Snapshots);
}

/// Brings the list in line with what is there: an image that was deleted or released is no longer published, and of the others
/// only those that the spec keeps. While nothing is known of them the list stays as it is. An image leaves the list before it is
/// deleted, see `tidy`.
pub(in crate::core) fn review(decision: &mut Decision<'_>, spec: Option<&Spec>) {
    if let Some(spec) = spec {
        review_volume(decision, spec);
    }
    let facts = decision.facts;
    if !facts.snapshots_known {
        return;
    }
    let before = (decision.status.images.clone(), decision.status.latest_image.clone());
    let there = |name: &str| facts.snapshots_as(Role::Image).any(|s| s.meta.name == name && !s.meta.deleting && !s.keep);
    let status = &mut decision.status;
    let latest = status.latest_image.as_ref().filter(|i| i.kind == KIND).map(|i| i.name.clone());
    if let Some(name) = latest.clone().filter(|name| status.images.iter().all(|i| i.name != *name)) {
        // Published by an agent that kept no list.
        status.images.insert(0, Image { name, revision: status.revision.clone(), data_time: status.data_time.clone(), ready_time: None });
    }
    status.images.retain(|image| there(&image.name));
    if let Some(Volume::Destination { image: Some(_), retain, .. }) = spec.map(|s| &s.volume) {
        thin_out(status, facts, retain, decision.now);
    }
    if latest.is_some_and(|name| !status.images.iter().any(|image| image.name == name && !is_of_another_revision(image, status))) {
        // An image of other data is not the latest of what was synced: a restore from it would give something else than the status says.
        let same = |image: &&Image| image.revision.is_some() && image.revision == status.revision;
        status.latest_image = status.images.iter().find(same).map(|image| reference(image.name.clone()));
    }
    if before != (status.images.clone(), status.latest_image.clone()) {
        decision.plan.needs.insert(Refresh::Snapshots);
    }
}

/// Whether an image is known to hold something else than was synced last, as one that an earlier agent let stand in.
fn is_of_another_revision(image: &Image, status: &Status) -> bool {
    image.revision.as_ref().zip(status.revision.as_ref()).is_some_and(|(held, synced)| held != synced)
}

/// Takes from the list what the spec does not keep. The time of an image is that of its data, but no later than the image itself was made: a
/// source whose clock is ahead would move its images from one period to the next. Where no source has told it, it is that of the image.
///
/// How old they are by now is said by the API server, which has dated the images and the movers: an agent's clock that jumps ahead for a
/// moment would cost all of them. While no sync runs, no image grows older.
fn thin_out(status: &mut Status, facts: &Facts, retain: &Retention, now: Timestamp) {
    let made = |image: &Image| {
        let snapshot = facts.snapshots_as(Role::Image).find(|snapshot| snapshot.meta.name == image.name);
        snapshot.and_then(|snapshot| snapshot.meta.created).or(image.ready_time.as_ref().map(|time| time.0))
    };
    let time = |image: &Image| match (image.data_time.as_ref().map(|time| time.0), made(image)) {
        (Some(data), Some(made)) => Some(data.min(made)),
        (data, made) => data.or(made),
    };
    let times: Vec<_> = status.images.iter().map(time).collect();
    let dated = status.images.iter().filter_map(made).chain(facts.movers().filter_map(|job| job.meta.created));
    let now = dated.max().unwrap_or(now);
    let latest = status.latest_image.as_ref().map(|latest| &latest.name);
    let mut kept = retain.kept(&times, now).into_iter();
    status.images.retain(|image| kept.next().unwrap_or(true) || Some(&image.name) == latest);
}

/// A volume that is published itself is so no more once it is gone, or replaced by another of its name.
fn review_volume(decision: &mut Decision<'_>, spec: &Spec) {
    let Volume::Destination { claim, .. } = &spec.volume else { return };
    let (facts, status) = (decision.facts, &mut decision.status);
    let name = children::destination_claim(facts, claim);
    let Some(_) = status.latest_image.as_ref().filter(|latest| latest.kind == VOLUME && latest.name == name) else { return };
    // One that was pulled into was bound; it is so no more when its volume is lost.
    let uid = children::pulled_into(facts, spec).filter(|claim| claim.bound).map(|claim| claim.meta.uid.clone());
    // Not every agent has recorded the UID.
    let is_it = uid.is_some() && status.latest_image_uid.as_ref().is_none_or(|known| Some(known) == uid.as_ref());
    if !is_it {
        status.latest_image = None;
    }
    let known = uid.filter(|_| is_it);
    if status.latest_image_uid != known || !is_it {
        status.latest_image_uid = known;
        decision.plan.needs.insert(Refresh::Claims);
    }
}

/// The published volume of copyMethod Direct, by the UID of the claim that was pulled into.
pub(in crate::core) fn publish_volume(decision: &mut Decision<'_>, name: String, uid: Option<String>) {
    let latest = ImageRef { api_group: String::new(), kind: VOLUME.to_owned(), name };
    (decision.status.latest_image, decision.status.latest_image_uid) = (Some(latest), uid);
}

fn reference(name: String) -> ImageRef {
    ImageRef { api_group: GROUP.to_owned(), kind: KIND.to_owned(), name }
}
