//! The status subresource: it keeps all that the agent writes, and takes a write only onto the version that it was decided on.

use crate::objects::Kind::{Destination, Source};
use crate::objects::{Kind, client_with_crds, stored};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use kube::Client;
use rstest::rstest;
use scribe_agent::api::status::{
    Aborted, FirstPush, Image, ImageRef, LastError, MoverResult, MoverStatus, Phase, Pinned, Run, Status, Subject, UnfinishedPull,
};
use scribe_agent::cluster::read::Reader;
use scribe_agent::cluster::refusal::Answer;
use scribe_agent::cluster::view::Replication;
use scribe_agent::cluster::write::Writer;
use scribe_agent::core::model::facts;
use scribe_agent::core::model::plan::Step;
use scribe_agent::manifests::job::Mover;

/// A status with every field set, written out so that a new field does not compile until it is here too.
fn full(kind: Kind) -> Status {
    let time = |text: &str| Time(text.parse().unwrap());
    let micro = |text: &str| MicroTime(text.parse().unwrap());
    Status {
        observed_generation: Some(7),
        trigger: Some("Schedule".to_owned()),
        reason: Some("Unreachable".to_owned()),
        message: Some("nobody answers".to_owned()),
        next_start_time: Some(time("2021-01-19T22:17:00Z")),
        conditions: ["Reconciled", "Synchronizing", "Stalled", "Ready"].map(|kind| condition(kind, time("2021-01-19T22:16:02Z"))).into(),
        last_sync_start_time: Some(time("2021-01-19T22:16:00Z")),
        last_sync_time: Some(time("2021-01-19T22:16:02Z")),
        last_sync_duration: Some("7.066022293s".to_owned()),
        next_sync_time: Some(time("2021-01-19T22:18:00Z")),
        waiting_since: Some(time("2021-01-19T22:16:30Z")),
        last_manual_sync: Some("vor dem Umzug: \"läuft?\"\n".to_owned()),
        last_handled_sync_now: Some("2021-01-19".to_owned()),
        // Only a source is asked for these, and only a destination has a volume to touch.
        last_handled_verify_now: (kind == Source).then(|| "once".to_owned()),
        last_sync_generation: Some(1),
        last_handled_abort: Some("89abcdef01234567".to_owned()),
        aborted: Some(Aborted {
            run: "89abcdef01234567".to_owned(),
            time: time("2021-01-19T22:14:00Z"),
            generation: Some(5),
            manual: Some("aborted".to_owned()),
            sync_now: Some("sooner".to_owned()),
            verify_now: Some("once more".to_owned()),
            adopt: Some("bucket/other".to_owned()),
            adopted_state: Some("another commit".to_owned()),
        }),
        synced: Some(subject("s3:bucket/old")),
        volume_touched: kind == Destination,
        adopted_path: (kind == Source).then(|| "bucket/old".to_owned()),
        transferred: Some(1_000),
        sent: (kind == Source).then_some(900),
        stored: (kind == Source).then_some(1_900),
        pinned: (kind == Destination).then(|| {
            Box::new(Pinned {
                revision: "20210119T221500Z-1c9a77e0-17-5f2e".to_owned(),
                as_of: Some("2021-01-19T22:15:30Z".to_owned()),
                remote: "s3:bucket/old".to_owned(),
            })
        }),
        source_checked_time: Some(time("2021-01-19T22:16:01Z")),
        run: Some(Run {
            id: "0123456789abcdef".to_owned(),
            phase: Phase::Transferring,
            start_time: micro("2021-01-19T22:16:00.123456Z"),
            attempt: 3,
            phase_time: micro("2021-01-19T22:16:01.654321Z"),
            generation: 6,
            bytes_done: Some(1_000),
            bytes_total: Some(5_000_000_000),
            permits: Some("fedcba9876543210".to_owned()),
            manual: Some("tag".to_owned()),
            subject: Some(subject("s3:bucket/new")),
            sync_now: Some("soon".to_owned()),
            verify_now: Some("again".to_owned()),
            adopt: Some("bucket/new".to_owned()),
            adopted_state: Some("a commit".to_owned()),
            disruptions: Some(2),
            waits_for_pod: true,
        }),
        first_push: (kind == Destination).then(|| FirstPush {
            since: time("2021-01-18T22:17:00Z"),
            message: "Nothing has been pushed".to_owned(),
            overdue: true,
        }),
        unfinished_pulls: if kind == Destination { vec![unfinished()] } else { Vec::new() },
        attempts: Some(4),
        next_attempt_time: Some(time("2021-01-19T22:17:00Z")),
        last_error: Some(LastError {
            reason: "Unreachable".to_owned(),
            message: "nobody answers at 10.0.0.1:9000".to_owned(),
            time: time("2021-01-19T22:15:00Z"),
            generation: Some(2),
        }),
        // A source has no images, and its CRD no field for them.
        last_republish_time: (kind == Destination).then(|| time("2021-01-18T22:16:00Z")),
        latest_image: (kind == Destination).then(|| ImageRef {
            api_group: "snapshot.storage.k8s.io".to_owned(),
            kind: "VolumeSnapshot".to_owned(),
            name: "scribe-dest-database-destination-20210119221601".to_owned(),
        }),
        latest_image_uid: (kind == Destination).then(|| "3f0c…".to_owned()),
        images: (kind == Destination)
            .then(|| Image {
                name: "scribe-dest-database-destination-20210119221601".to_owned(),
                revision: Some("20210119T221600Z-5f2c".to_owned()),
                data_time: Some(time("2021-01-19T22:15:59Z")),
                ready_time: Some(time("2021-01-19T22:16:02Z")),
            })
            .into_iter()
            .collect(),
        revision: Some("20210119T221600Z-5f2c".to_owned()),
        data_time: Some(time("2021-01-19T22:15:59Z")),
        files: Some(i64::MAX),
        bytes: Some(0),
        latest_mover_status: Some(MoverStatus { result: MoverResult::Failed, logs: "Transferred: 1\n".to_owned() }),
    }
}

fn unfinished() -> UnfinishedPull {
    UnfinishedPull { claim: "data".to_owned(), remote: "s3:bucket/new".to_owned(), run: "9876543210".to_owned(), attempt: 1 }
}

fn subject(remote: &str) -> Subject {
    Subject { remote: remote.to_owned(), claim: Some("data".to_owned()), layout: "Files".to_owned(), pin: None }
}

fn condition(kind: &str, time: Time) -> Condition {
    Condition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: "Because".to_owned(),
        message: "a sentence".to_owned(),
        observed_generation: Some(7),
        last_transition_time: time,
    }
}

async fn read(client: &Client, kind: Kind, name: &str) -> Replication {
    let kind = if kind == Source { facts::Kind::Source } else { facts::Kind::Destination };
    Reader::new(client.clone(), crate::objects::NAMESPACE).replication(kind, name).await.unwrap().unwrap()
}

/// Writes the way the agent does, because it is the agent's own code.
async fn write(client: &Client, seen: &Replication, status: Status) -> Result<(), Answer> {
    let writer = Writer::new(client.clone(), crate::objects::NAMESPACE, "no-pod");
    let now = "2021-01-19T22:16:02Z".parse().unwrap();
    writer.step(&seen.object, &Step::WriteStatus(Box::new(status)), &Mover::default(), now).await
}

#[rstest]
#[tokio::test]
async fn every_field_comes_back_as_it_was_written(#[values(Source, Destination)] kind: Kind) {
    let client = client_with_crds().await;
    stored(&client, kind, &kind.minimal(), async |name, _| {
        let seen = read(&client, kind, name).await;
        write(&client, &seen, full(kind)).await.unwrap();
        assert_eq!(read(&client, kind, name).await.status, full(kind));
    })
    .await;
}

/// The status is written whole: what the next write leaves out is gone.
#[rstest]
#[tokio::test]
async fn a_field_left_out_is_removed(#[values(Source, Destination)] kind: Kind) {
    let client = client_with_crds().await;
    stored(&client, kind, &kind.minimal(), async |name, _| {
        let seen = read(&client, kind, name).await;
        write(&client, &seen, full(kind)).await.unwrap();
        let less = Status { run: None, last_error: None, ..full(kind) };
        write(&client, &read(&client, kind, name).await, less.clone()).await.unwrap();
        assert_eq!(read(&client, kind, name).await.status, less);
    })
    .await;
}

/// Two agents, or one with a stale cache: only the first write lands.
#[rstest]
#[tokio::test]
async fn a_write_onto_an_older_version_is_a_conflict(#[values(Source, Destination)] kind: Kind) {
    let client = client_with_crds().await;
    stored(&client, kind, &kind.minimal(), async |name, _| {
        let seen = read(&client, kind, name).await;
        write(&client, &seen, full(kind)).await.unwrap();
        let late = Status { last_manual_sync: Some("late".to_owned()), ..full(kind) };
        let answer = write(&client, &seen, late).await;
        assert!(matches!(answer, Err(Answer::Conflict)), "{answer:?}");
        assert_eq!(read(&client, kind, name).await.status, full(kind));
    })
    .await;
}

/// The spec belongs to the user and the status to the agent: neither write touches the other half.
#[rstest]
#[tokio::test]
async fn status_and_spec_do_not_touch_each_other(#[values(Source, Destination)] kind: Kind) {
    let client = client_with_crds().await;
    stored(&client, kind, &kind.minimal(), async |name, _| {
        let before = kind.api(&client).get(name).await.unwrap();
        write(&client, &read(&client, kind, name).await, full(kind)).await.unwrap();
        let after = kind.api(&client).get(name).await.unwrap();
        assert_eq!((after.metadata.generation, &after.data["spec"]), (before.metadata.generation, &before.data["spec"]));

        crate::support::cluster::kubectl(&[
            "--namespace",
            crate::objects::NAMESPACE,
            "patch",
            kind.name(),
            name,
            "--type=merge",
            r#"--patch={"spec":{"paused":true},"status":{"files":1}}"#,
        ]);
        let patched = read(&client, kind, name).await;
        assert_eq!(patched.status, full(kind));
        assert_eq!(Some(patched.object.generation), before.metadata.generation.map(|g| g + 1));
    })
    .await;
}
