//! Every child as YAML, for review.

use super::job::Mover;
use super::{claim, event, job, snapshot};
use crate::api::mover::MoverPod;
use crate::api::pin::PinSpec;
use crate::api::reason::Reason;
use crate::api::status::Subject;
use crate::core::model::facts::{Kind, Object, Role};
use crate::core::model::placement::Pin;
use crate::core::model::plan::{Event, MoverTask, NewClaim, NewJob, NewSnapshot, Origin};
use crate::core::model::pod::PodOptions;
use crate::core::model::retention::Retention;
use crate::core::model::spec::{ClaimShape, Guard, PushLayout, Remote, SnapshotClass};
use insta::assert_yaml_snapshot;
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use rstest::rstest;
use serde_json::{Value, json};

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
        subject: Subject { remote: "aws-s3-bucket:bucket/database".into(), claim: Some("data".into()), layout: "Files".into(), pin: None },
        remote: Remote { secret: "rclone-secret".into(), section: "aws-s3-bucket".into(), path: "bucket/database".into() },
        guard: Guard { percent: 90, floor: 10 },
        allow_deletions: None,
        pod: MoverPod::default(),
        pin: None,
        work,
    }
}

fn pod(fields: Value) -> MoverPod {
    serde_json::from_value(fields).unwrap()
}

fn mover() -> Mover {
    Mover {
        image: "example.org/scribe-agent:1".into(),
        image_pull_policy: Some("IfNotPresent".into()),
        image_pull_secrets: vec!["pull".into()],
        pod: pod(json!({ "moverServiceAccount": "scribe-mover", "moverResources": { "requests": { "memory": "64Mi" } } })),
        options: PodOptions::default(),
        environment: Vec::new(),
        temporary_space: "4Gi".into(),
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
        copied_for: Some("backup-7".into()),
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
        copied_for: None,
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
        copied_for: None,
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
        copied_for: Some("backup-7".into()),
    };
    assert_yaml_snapshot!(claim::build(&owner(Kind::Source), &new));
}

#[test]
fn destination_volume() {
    let shape = ClaimShape { storage_class: None, ..shape() };
    let new = NewClaim { name: "scribe-dest-database".into(), role: Role::Volume, run: None, from: Origin::Empty, shape, copied_for: None };
    assert_yaml_snapshot!(claim::build(&owner(Kind::Destination), &new));
}

#[test]
fn push_job() {
    let captured = Some("2026-01-01T00:00:00Z".parse().unwrap());
    let (pushed, adopt_state) = (Some("revision".into()), Some("-state".into()));
    let exclude = vec!["--*.tmp".into(), "!$(HOME)".into()];
    let layout = PushLayout::Packs { retain: None };
    let work = MoverTask::Push { captured, pushed, adopt: true, adopt_state, verify_now: true, layout, exclude };
    assert_yaml_snapshot!(job::build(&owner(Kind::Source), &new_job(work), &mover()));
}

/// What `--retain` says is what the spec says, and nothing else.
#[rstest]
#[case(Retention::last(1), "last=1,timeZone=UTC")]
#[case(
    Retention { hourly: 24, daily: 7, weekly: 4, monthly: 3, max_age: Some(SignedDuration::from_hours(2160)), zone: TimeZone::get("Europe/Berlin").unwrap(), ..Retention::last(2) },
    "last=2,hourly=24,daily=7,weekly=4,monthly=3,maxAge=7776000s,timeZone=Europe/Berlin"
)]
#[case(Retention { daily: 7, ..Retention::last(0) }, "daily=7,timeZone=UTC")]
fn a_push_says_which_revisions_stay(#[case] retain: Retention, #[case] expected: &str) {
    let layout = PushLayout::Packs { retain: Some(Box::new(retain)) };
    let work =
        MoverTask::Push { captured: None, pushed: None, adopt: false, adopt_state: None, verify_now: false, layout, exclude: Vec::new() };
    let job = job::build(&owner(Kind::Source), &new_job(work), &mover());
    let arguments: Vec<_> = job["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap().clone();
    let at = arguments.iter().position(|argument| argument == "--retain").unwrap();
    assert_eq!(arguments[at + 1], json!(expected));
}

#[rstest]
#[case(PinSpec { revision: Some("20261123T042858Z-1c9a77e0-17-5f2e".into()), as_of: None }, ["--revision", "20261123T042858Z-1c9a77e0-17-5f2e"])]
#[case(PinSpec { revision: None, as_of: Some("2026-11-23T06:00:00Z".into()) }, ["--as-of", "2026-11-23T06:00:00Z"])]
fn a_pull_says_which_revision(#[case] pin: PinSpec, #[case] expected: [&str; 2]) {
    let work = MoverTask::Pull { applied: None, private: true, plain: false, pin: Some(pin) };
    let job = job::build(&owner(Kind::Destination), &new_job(work), &mover());
    let arguments = job["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap().clone();
    assert!(arguments.windows(2).any(|pair| pair == expected), "{arguments:?}");
}

#[test]
fn pull_job() {
    let work = MoverTask::Pull { applied: Some("revision".into()), private: true, plain: true, pin: None };
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
    assert_eq!(built["message"].as_str().unwrap().len(), 1024);
}

/// Kubernetes replaces `$(NAME)` and `$$` in arguments.
#[test]
fn a_path_reaches_the_mover_as_it_is() {
    let path = "bucket/a$$b/$(KUBERNETES_SERVICE_HOST)/$";
    let work = MoverTask::Pull { applied: None, private: true, plain: false, pin: None };
    let new = NewJob { remote: Remote { path: path.into(), ..new_job(work.clone()).remote }, ..new_job(work) };
    let job = job::build(&owner(Kind::Destination), &new, &mover());
    let arguments = job["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
    // Every dollar is escaped, so that nothing is left to replace.
    let remote = arguments.iter().filter_map(|a| a.as_str()).find(|a| a.contains("bucket/")).unwrap();
    assert!(!remote.replace("$$", "").contains('$'), "{remote}");
    assert!(remote.replace("$$", "$").ends_with(path), "{remote}");
}

/// All that a spec and the settings can say of a pod, and both of them of one thing.
#[test]
fn pull_job_with_a_pod_of_the_users() {
    let secret = |folder: &str, name: &str| json!({ "mountPath": folder, "volumeSource": { "secret": { "secretName": name } } });
    let claim =
        |folder: &str, name: &str| json!({ "mountPath": folder, "volumeSource": { "persistentVolumeClaim": { "claimName": name } } });
    let spec = pod(json!({
        "moverResources": { "limits": { "memory": "1Gi", "cpu": 2 } },
        "moverSecurityContext": { "runAsUser": 1000, "runAsGroup": 1001, "fsGroup": 1002, "fsGroupChangePolicy": "OnRootMismatch" },
        "moverServiceAccount": "keyless",
        "moverPodLabels": { "team": "storage", "sidecar.istio.io/inject": "true" },
        "moverAffinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{ "matchExpressions": [{ "key": "pool", "operator": "In", "values": ["backup"] }] }],
        } } },
        "customCA": { "secretName": "ca", "key": "ca.crt" },
        "moverVolumes": [secret("keys", "ssh"), claim("other", "other"), claim("itself", "data"), claim("again", "other")],
    }));
    let settings = Mover {
        pod: pod(json!({
            "moverServiceAccount": "scribe-mover",
            "moverResources": { "requests": { "memory": "64Mi" } },
            "moverSecurityContext": { "runAsNonRoot": true },
            "moverPodLabels": { "team": "none", "site": "edge-7" },
            "moverVolumes": [secret("keys", "of-the-settings"), secret("common", "common")],
        })),
        options: PodOptions {
            node_selector: [("disk".to_owned(), "ssd".to_owned())].into(),
            tolerations: serde_json::from_value(json!([{ "key": "backup", "operator": "Exists" }])).unwrap(),
            priority_class: Some("low".into()),
            annotations: [("example.org/scrape".to_owned(), "no".to_owned())].into(),
            host_users: Some(false),
        },
        environment: vec![json!({ "name": "HTTPS_PROXY", "value": "http://proxy:3128" })],
        ..mover()
    };
    let work = MoverTask::Pull { applied: None, private: false, plain: false, pin: None };
    let new = NewJob { pod: spec, ..new_job(work) };
    assert_yaml_snapshot!(job::build(&owner(Kind::Destination), &new, &settings));
}

/// The rights of the mover under a security context of the user's, and who can read its Secret.
#[rstest]
#[case::none(json!(null), Some((0, Some(0))), 0o400)]
#[case::root_with_a_group(json!({ "runAsUser": 0, "runAsGroup": 5, "fsGroup": 6 }), Some((0, None)), 0o400)]
#[case::a_user(json!({ "runAsUser": 1000 }), None, 0o440)]
#[case::a_user_and_its_group(json!({ "runAsUser": 1000, "runAsGroup": 1000 }), None, 0o444)]
#[case::a_user_and_a_group_of_files(json!({ "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000 }), None, 0o440)]
#[case::the_images_user(json!({ "runAsNonRoot": true }), None, 0o444)]
#[case::the_images_user_with_roots_group(json!({ "runAsNonRoot": true, "supplementalGroups": [0] }), None, 0o440)]
fn a_mover_has_no_more_rights_than_its_user(#[case] context: Value, #[case] root: Option<(i64, Option<i64>)>, #[case] mode: i64) {
    let work = MoverTask::Pull { applied: None, private: false, plain: false, pin: None };
    let new = NewJob { pod: pod(json!({ "moverSecurityContext": context })), ..new_job(work) };
    let job = job::build(&owner(Kind::Destination), &new, &mover());
    let spec = &job["spec"]["template"]["spec"];
    let rights = &spec["containers"][0]["securityContext"];
    for (field, value) in context.as_object().into_iter().flatten() {
        assert_eq!(&spec["securityContext"][field], value, "{field}");
    }
    assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let policy = if context["fsGroup"].is_null() { json!(null) } else { json!("OnRootMismatch") };
    assert_eq!(spec["securityContext"]["fsGroupChangePolicy"], policy, "unless it is set");
    let user = rights["runAsUser"].as_i64().map(|user| (user, rights["runAsGroup"].as_i64()));
    assert_eq!((user, rights["runAsGroup"].as_i64()), (root, root.and_then(|root| root.1)));
    assert_eq!((&rights["runAsNonRoot"], rights["capabilities"]["add"].is_array()), (&json!(root.is_none()), root.is_some()));
    assert_eq!((&rights["capabilities"]["drop"], &rights["allowPrivilegeEscalation"]), (&json!(["ALL"]), &json!(false)));
    assert_eq!(spec["volumes"][1]["secret"]["defaultMode"], mode);
}

#[test]
fn a_config_map_of_certificates() {
    let work = MoverTask::Pull { applied: None, private: false, plain: false, pin: None };
    let new = NewJob { pod: pod(json!({ "customCA": { "configMapName": "ca", "key": "$(KEY).pem" } })), ..new_job(work) };
    let job = job::build(&owner(Kind::Destination), &new, &mover());
    let spec = &job["spec"]["template"]["spec"];
    let volume = json!({ "name": "custom-ca", "configMap": { "name": "ca", "optional": true, "items": [{ "key": "$(KEY).pem", "path": "ca.crt" }] } });
    assert_eq!(spec["volumes"][3], volume);
    let arguments: Vec<_> = spec["containers"][0]["args"].as_array().unwrap().iter().rev().take(4).rev().collect();
    assert_eq!(
        arguments,
        ["--custom-ca", "/etc/custom-ca/ca.crt", "--custom-ca-name", "key \"$$(KEY).pem\" of ConfigMap \"ca\""],
        "no variable of the mover is put in its place"
    );
}

/// The pin comes on top, and the Job says why.
#[test]
fn a_mover_is_kept_to_a_node() {
    let pin = Pin {
        node: "far".into(),
        tolerations: vec![json!({ "operator": "Exists" })],
        why: "on node far, where pod app uses PVC data".into(),
    };
    let work = MoverTask::Pull { applied: None, private: false, plain: false, pin: None };
    let job = job::build(&owner(Kind::Destination), &NewJob { pin: Some(pin), ..new_job(work) }, &mover());
    assert_eq!(job["metadata"]["annotations"]["scribe.backube/placement"], "on node far, where pod app uses PVC data");
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["tolerations"], json!([{ "operator": "Exists" }]));
    let terms = &pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
    assert_eq!(*terms, json!([{ "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["far"] }] }]));
}
