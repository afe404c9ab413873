//! Every child as YAML, for review.

use super::job::Mover;
use super::{claim, event, job, snapshot};
use crate::api::reason::Reason;
use crate::api::status::Subject;
use crate::core::model::facts::{Kind, Object, Role};
use crate::core::model::placement::Pin;
use crate::core::model::plan::{Event, MoverTask, NewClaim, NewJob, NewSnapshot, Origin};
use crate::core::model::spec::{ClaimShape, Guard, Remote, SnapshotClass};
use insta::assert_yaml_snapshot;
use jiff::SignedDuration;
use serde_json::json;

fn owner(kind: Kind) -> Object {
    Object { resource_version: "41".into(), ..Object::new(kind, "edge-7", "database", "0b3c8f1e-4a43-4d6e-9d53-1f4d6f1f7a11") }
}

fn shape() -> ClaimShape {
    ClaimShape { size: Some(10 << 30), access_modes: Some(vec!["ReadWriteOnce".into()]), storage_class: Some("fast".into()) }
}

fn new_job(work: MoverTask) -> NewJob {
    NewJob {
        name: "scribe-rclone-database".into(),
        run: "5a8bc966d3102cd5".into(),
        attempt: 2,
        claim: "data".into(),
        claim_uid: None,
        subject: Subject { remote: "aws-s3-bucket:bucket/database".into(), claim: Some("data".into()), layout: "Files".into() },
        remote: Remote { secret: "rclone-secret".into(), section: "aws-s3-bucket".into(), path: "bucket/database".into() },
        guard: Guard { percent: 90, floor: 10 },
        allow_deletions: None,
        pin: None,
        work,
    }
}

fn mover() -> Mover {
    Mover {
        image: "example.org/scribe-agent:1".into(),
        image_pull_policy: Some("IfNotPresent".into()),
        image_pull_secrets: vec!["pull".into()],
        service_account: "scribe-mover".into(),
        temporary_space: "4Gi".into(),
        resources: json!({ "requests": { "memory": "64Mi" } }),
        verify_interval: SignedDuration::from_hours(24),
        heartbeat_interval: SignedDuration::from_hours(1),
        rehash_interval: SignedDuration::from_hours(168),
    }
}

#[test]
fn temporary_snapshot() {
    let new = NewSnapshot {
        name: "scribe-src-database".into(),
        role: Role::Capture,
        run: "5a8bc966d3102cd5".into(),
        claim: "data".into(),
        class: SnapshotClass(None),
        content: None,
    };
    assert_yaml_snapshot!(snapshot::build(&owner(Kind::Source), &new));
}

#[test]
fn image() {
    let new = NewSnapshot {
        name: "scribe-dest-database-20210119221601".into(),
        role: Role::Image,
        run: "5a8bc966d3102cd5".into(),
        claim: "scribe-dest-database".into(),
        class: SnapshotClass(Some("csi".into())),
        content: Some(("revision".into(), "claim-uid".into())),
    };
    assert_yaml_snapshot!(snapshot::build(&owner(Kind::Destination), &new));
}

#[test]
fn temporary_claim_from_a_snapshot() {
    let new = NewClaim {
        name: "scribe-src-database".into(),
        role: Role::Capture,
        run: Some("5a8bc966d3102cd5".into()),
        from: Origin::Snapshot("scribe-src-database".into()),
        shape: shape(),
    };
    assert_yaml_snapshot!(claim::build(&owner(Kind::Source), &new));
}

#[test]
fn clone() {
    let new = NewClaim {
        name: "scribe-src-database".into(),
        role: Role::Capture,
        run: Some("5a8bc966d3102cd5".into()),
        from: Origin::Claim("data".into()),
        shape: shape(),
    };
    assert_yaml_snapshot!(claim::build(&owner(Kind::Source), &new));
}

#[test]
fn destination_volume() {
    let shape = ClaimShape { storage_class: None, ..shape() };
    let new = NewClaim { name: "scribe-dest-database".into(), role: Role::Volume, run: None, from: Origin::Empty, shape };
    assert_yaml_snapshot!(claim::build(&owner(Kind::Destination), &new));
}

#[test]
fn push_job() {
    let captured = Some("2026-01-01T00:00:00Z".parse().unwrap());
    let work =
        MoverTask::Push { captured, pushed: Some("revision".into()), adopt: true, adopt_state: Some("-state".into()), verify_now: true };
    assert_yaml_snapshot!(job::build(&owner(Kind::Source), &new_job(work), &mover()));
}

#[test]
fn pull_job() {
    let work = MoverTask::Pull { applied: Some("revision".into()), private: true, plain: true };
    let guard = Guard { percent: 50, floor: 0 };
    let new = NewJob { claim_uid: Some("claim-uid".into()), guard, allow_deletions: Some("-17-0123456789\n".into()), ..new_job(work) };
    assert_yaml_snapshot!(job::build(&owner(Kind::Destination), &new, &mover()));
}

#[test]
fn describe_event() {
    let event = Event { warning: true, reason: Reason::Unreachable, note: "The remote did not answer".into(), key: "run/1".into() };
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    assert_yaml_snapshot!(event::build(&owner(Kind::Source), &event, "scribe-agent-0", now));
}

/// Notes are cut at what the API server takes, never in the middle of a character.
#[test]
fn long_notes_are_cut_between_characters() {
    let event = Event { warning: true, reason: Reason::Unreachable, note: "ä".repeat(2000), key: "k".into() };
    let built = event::build(&owner(Kind::Source), &event, "i", "2026-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(built["note"].as_str().unwrap().len(), 1024);
}

/// Kubernetes replaces `$(NAME)` and `$$` in arguments.
#[test]
fn a_path_reaches_the_mover_as_it_is() {
    let path = "bucket/a$$b/$(KUBERNETES_SERVICE_HOST)/$";
    let work = MoverTask::Pull { applied: None, private: true, plain: false };
    let new = NewJob { remote: Remote { path: path.into(), ..new_job(work.clone()).remote }, ..new_job(work) };
    let job = job::build(&owner(Kind::Destination), &new, &mover());
    let arguments = job["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
    // Every dollar is escaped, so that nothing is left to replace.
    let remote = arguments.iter().filter_map(|a| a.as_str()).find(|a| a.contains("bucket/")).unwrap();
    assert!(!remote.replace("$$", "").contains('$'), "{remote}");
    assert!(remote.replace("$$", "$").ends_with(path), "{remote}");
}

/// The pin comes on top, and the Job says why.
#[test]
fn a_mover_is_kept_to_a_node() {
    let pin = Pin {
        node: "far".into(),
        tolerations: vec![json!({ "operator": "Exists" })],
        why: "on node far, where pod app uses PVC data".into(),
    };
    let work = MoverTask::Pull { applied: None, private: false, plain: false };
    let job = job::build(&owner(Kind::Destination), &NewJob { pin: Some(pin), ..new_job(work) }, &mover());
    assert_eq!(job["metadata"]["annotations"]["scribe.backube/placement"], "on node far, where pod app uses PVC data");
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["tolerations"], json!([{ "operator": "Exists" }]));
    let terms = &pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
    assert_eq!(*terms, json!([{ "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["far"] }] }]));
}
