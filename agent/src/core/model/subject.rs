//! What is replicated: which data, from where to where. Two specs of the same subject differ only in when and how that is done, so
//! an edit from the one to the other needs no sync of its own.

use crate::api::destination::{DestinationCopyMethod, Layout};
use crate::api::pin::PinSpec;
use crate::api::source::SourceLayout;
use crate::api::status::{ImageRef, Subject};
use crate::api::{ReplicationDestinationSpec, ReplicationSourceSpec};
use crate::core::model::spec::{DestinationClaim, PushLayout, Spec, Volume};

/// A [`Subject`] as a spec names it, without a copy: every object's is compared whenever the queue is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    section: &'a str,
    path: &'a str,
    claim: Option<&'a str>,
    layout: &'static str,
    pin: Option<&'a PinSpec>,
    /// Kind of what a destination publishes; no part of the record.
    publishes: Option<&'static str>,
}

impl<'a> Named<'a> {
    /// What this spec replicates.
    pub fn by(spec: &'a Spec) -> Self {
        let (claim, layout) = match &spec.volume {
            Volume::Source { claim, .. } => (Some(claim.as_str()), pushed(spec.layout == PushLayout::Files)),
            Volume::Destination { claim: DestinationClaim::Existing(claim), plain, .. } => (Some(claim.as_str()), pulled(*plain)),
            Volume::Destination { claim: DestinationClaim::Private(_), plain, .. } => (None, pulled(*plain)),
        };
        let publishes = match &spec.volume {
            Volume::Source { .. } => None,
            Volume::Destination { image, .. } => Some(published_kind(image.is_some())),
        };
        Named { section: &spec.remote.section, path: trimmed(&spec.remote.path), claim, layout, pin: spec.pin.as_ref(), publishes }
    }

    /// The same of a source whose spec has not been read yet.
    pub fn by_source(spec: &'a ReplicationSourceSpec) -> Self {
        let rclone = &spec.rclone;
        let path = trimmed(&rclone.shared.rclone_dest_path);
        let claim = Some(spec.source_pvc.as_str());
        let layout = pushed(rclone.layout != Some(SourceLayout::Packs));
        Named { section: &rclone.shared.rclone_config_section, path, claim, layout, pin: None, publishes: None }
    }

    /// The same of a destination whose spec has not been read yet.
    pub fn by_destination(spec: &'a ReplicationDestinationSpec) -> Self {
        let rclone = &spec.rclone;
        let (path, claim) = (trimmed(&rclone.shared.rclone_dest_path), rclone.destination_pvc.as_deref());
        let method = rclone.copy_method.unwrap_or(DestinationCopyMethod::Snapshot);
        Named {
            section: &rclone.shared.rclone_config_section,
            path,
            claim,
            layout: pulled(rclone.layout == Some(Layout::Plain)),
            pin: rclone.pin.as_ref(),
            publishes: Some(published_kind(method == DestinationCopyMethod::Snapshot)),
        }
    }

    /// Whether what is published has the kind that the spec wants; true if nothing is published.
    pub fn is_published_as(&self, latest: Option<&ImageRef>) -> bool {
        self.publishes.zip(latest).is_none_or(|(kind, latest)| kind == latest.kind)
    }

    /// Whether a sync of it publishes anything: a destination's does.
    pub fn publishes(&self) -> bool {
        self.publishes.is_some()
    }

    /// The claim of the user's that it names.
    pub fn claim(&self) -> Option<&'a str> {
        self.claim
    }

    /// The claim of the user's that a destination pulls into.
    pub fn pulls_into(&self) -> Option<&'a str> {
        self.claim.filter(|_| self.publishes())
    }

    /// Whether this is the recorded one.
    pub fn is(&self, recorded: &Subject) -> bool {
        self.at(recorded)
            && self.claim == recorded.claim.as_deref()
            && self.layout == recorded.layout
            && self.pin == recorded.pin.as_deref()
    }

    /// Whether the recorded one has the same remote path.
    pub fn at(&self, recorded: &Subject) -> bool {
        self.is_at(&recorded.remote)
    }

    /// Whether this `section:path` is its own.
    pub fn is_at(&self, remote: &str) -> bool {
        remote.strip_prefix(self.section).and_then(|rest| rest.strip_prefix(':')) == Some(self.path)
    }

    /// A copy to record.
    pub fn record(&self) -> Subject {
        let (claim, layout) = (self.claim.map(str::to_owned), self.layout.to_owned());
        Subject { remote: format!("{}:{}", self.section, self.path), claim, layout, pin: self.pin.cloned().map(Box::new) }
    }
}

/// The path as it is meant: a slash at its end changes nothing.
pub fn trimmed(path: &str) -> &str {
    path.trim_end_matches('/')
}

/// Whether two paths of one remote may be the same place. No backend tells apart what a slash at the end changes; what an empty component
/// changes, one at the beginning included, depends on the backend: to most of them it is nothing.
pub fn may_be_one(a: &str, b: &str) -> bool {
    let is_there = |component: &&str| !component.is_empty();
    a.split('/').filter(is_there).eq(b.split('/').filter(is_there))
}

/// The kind of `status.latestImage`: a snapshot, or the volume itself.
fn published_kind(image: bool) -> &'static str {
    if image { "VolumeSnapshot" } else { "PersistentVolumeClaim" }
}

/// How a source lays its path out. What it keeps there is not part of what it pushes.
fn pushed(files: bool) -> &'static str {
    if files { "Files" } else { "Packs" }
}

/// What a destination takes its path for: in which way a source laid it out is no matter.
fn pulled(plain: bool) -> &'static str {
    if plain { "Plain" } else { "Files" }
}

/// Whether it is of a path that was laid out in packs.
pub fn is_in_packs(subject: &Subject) -> bool {
    subject.layout == pushed(false)
}

/// A subject as it stands in the annotation of a mover's Job.
pub fn text(subject: &Subject) -> String {
    serde_json::json!(subject).to_string()
}

/// A subject read from there; none where nothing readable stands.
pub fn parse(text: &str) -> Option<Subject> {
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::validate;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn written(mut rclone: Value) -> Value {
        let required = json!({ "rcloneConfig": "secret", "rcloneConfigSection": "s3", "rcloneDestPath": "bucket/path" });
        for (key, value) in required.as_object().unwrap() {
            rclone.as_object_mut().unwrap().entry(key).or_insert(value.clone());
        }
        json!({ "sourcePVC": "data", "rclone": rclone })
    }

    fn source(rclone: Value) -> Subject {
        let raw: ReplicationSourceSpec = serde_json::from_value(written(rclone)).unwrap();
        let (spec, raw) = (validate::source(&raw, "uid").unwrap(), Named::by_source(&raw));
        assert_eq!(Named::by(&spec), raw, "read and not read");
        raw.record()
    }

    fn destination(rclone: Value) -> Subject {
        let raw: ReplicationDestinationSpec = serde_json::from_value(written(rclone)).unwrap();
        let (spec, raw) = (validate::destination(&raw, "uid").unwrap(), Named::by_destination(&raw));
        assert_eq!(Named::by(&spec), raw, "read and not read");
        raw.record()
    }

    /// Two destinations of one PVC get in each other's way; a source only reads its own.
    #[rstest]
    #[case(Some("mine"), Some("mine"))]
    #[case(None, None)]
    fn a_destination_pulls_into_the_claim_that_it_names(#[case] claim: Option<&str>, #[case] expected: Option<&str>) {
        let raw: ReplicationDestinationSpec = serde_json::from_value(written(json!({ "destinationPVC": claim }))).unwrap();
        assert_eq!(Named::by_destination(&raw).pulls_into(), expected);
        let raw: ReplicationSourceSpec = serde_json::from_value(written(json!({}))).unwrap();
        assert_eq!(Named::by_source(&raw).pulls_into(), None);
    }

    #[test]
    fn a_subject_is_recorded_and_comes_back() {
        let subject = |remote: &str, claim: Option<&str>, layout: &str| Subject {
            remote: remote.into(),
            claim: claim.map(str::to_owned),
            layout: layout.into(),
            pin: None,
        };
        for (recorded, expected) in [
            (source(json!({})), subject("s3:bucket/path", Some("data"), "Files")),
            (source(json!({ "rcloneDestPath": "bucket/path//" })), subject("s3:bucket/path", Some("data"), "Files")),
            (source(json!({ "layout": "Packs" })), subject("s3:bucket/path", Some("data"), "Packs")),
            (source(json!({ "layout": "Packs", "retain": 3 })), subject("s3:bucket/path", Some("data"), "Packs")),
            (destination(json!({ "capacity": "1Gi" })), subject("s3:bucket/path", None, "Files")),
            (destination(json!({ "destinationPVC": "mine", "layout": "Plain" })), subject("s3:bucket/path", Some("mine"), "Plain")),
        ] {
            assert_eq!(recorded, expected);
            assert_eq!(parse(&text(&recorded)), Some(recorded));
        }
        assert_eq!(parse("of an agent that wrote something else"), None);
    }

    /// As rclone reads them: on S3 slashes before the bucket, behind it and at the end are nothing, and in a folder any are.
    #[rstest]
    #[case("bucket/p", true)]
    #[case("/bucket/p", true)]
    #[case("//bucket//p//", true)]
    #[case("bucket/p/q", false)]
    #[case("bucket/pp", false)]
    #[case("bucketp", false)]
    #[case("bucket", false)]
    #[case("Bucket/p", false)]
    fn paths_may_be_one_place(#[case] path: &str, #[case] expected: bool) {
        assert_eq!((may_be_one(path, "bucket/p"), may_be_one("bucket/p", path)), (expected, expected));
    }

    /// How and when data are moved is not what is moved.
    #[rstest]
    #[case::nothing(json!({ "capacity": "1Gi" }), true)]
    #[case::slash(json!({ "capacity": "1Gi", "rcloneDestPath": "bucket/path/" }), true)]
    #[case::size_and_class(json!({ "capacity": "2Gi", "storageClassName": "fast" }), true)]
    #[case::images(json!({ "capacity": "1Gi", "retain": 3, "cleanupTempPVC": true }), true)]
    #[case::in_place(json!({ "capacity": "1Gi", "copyMethod": "Direct" }), true)]
    #[case::secret(json!({ "capacity": "1Gi", "rcloneConfig": "other" }), true)]
    #[case::path(json!({ "capacity": "1Gi", "rcloneDestPath": "bucket/path2" }), false)]
    #[case::section(json!({ "capacity": "1Gi", "rcloneConfigSection": "s33" }), false)]
    #[case::shifted(json!({ "capacity": "1Gi", "rcloneConfigSection": "s", "rcloneDestPath": "3:bucket/path" }), false)]
    #[case::layout(json!({ "capacity": "1Gi", "layout": "Plain" }), false)]
    #[case::a_sources_other_layout(json!({ "capacity": "1Gi", "layout": "Packs" }), true)]
    #[case::pin(json!({ "capacity": "1Gi", "pin": { "asOf": "2026-01-01T00:00:00Z" } }), false)]
    #[case::claim(json!({ "destinationPVC": "mine" }), false)]
    fn another_subject_is_known_from_the_same(#[case] rclone: Value, #[case] same: bool) {
        let raw: ReplicationDestinationSpec = serde_json::from_value(written(rclone)).unwrap();
        assert_eq!(Named::by_destination(&raw).is(&destination(json!({ "capacity": "1Gi" }))), same);
    }
}
