//! Whatever is wrong has a reason of its own, a sentence that helps, and ends when it is mended.

use crate::support::history::Seen;
use crate::support::replication::{Replication, SYNC, condition, is, merged};
use crate::support::s3::SECTION;
use crate::support::site::{SECRET, Site, site, site_with};
use crate::support::volume::Claim;
use rstest::rstest;
use scribe_agent::api::Status;
use serde_json::{Value, json};

/// Deadlines short enough that what never comes is missed soon, and long enough that what does come on a loaded machine is not.
const IMPATIENT: &str = "{snapshotTimeout: 20s, podStartTimeout: 20s, retry: {initial: 1s, max: 3s}}";

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:9";

/// What is wrong with the remote, told by the mover of either kind. The last column: words that the sentence must have.
#[rstest]
#[case::no_secret("SecretMissing", json!({"rcloneConfig": "not-there"}), &["not-there"])]
#[case::a_secret_without_the_key("SecretInvalid", json!({"rcloneConfig": "without-key"}), &["without-key", "rclone.conf"])]
#[case::a_section_that_is_not_in_it("SecretInvalid", json!({"rcloneConfigSection": "typo"}), &["typo", SECTION])]
#[case::wrong_credentials("AccessDenied", json!({"rcloneConfig": "wrong-password"}), &["wrong-password"])]
#[case::nobody_answers("Unreachable", json!({"rcloneConfig": "unreachable"}), &["127.0.0.1:9"])]
#[tokio::test]
async fn a_remote_that_does_not_work_is_reported(
    #[values("ReplicationSource", "ReplicationDestination")] kind: &str,
    #[case] reason: &str,
    #[case] rclone: Value,
    #[case] words: &[&str],
) {
    site("remote", async |site| {
        site.secret("without-key", &[("rclone.config", &site.s3.config())]);
        site.secret("wrong-password", &[("rclone.conf", &site.s3.config_with(site.s3.endpoint(), "wrong"))]);
        site.secret("unreachable", &[("rclone.conf", &site.s3.config_with(NOWHERE, "any"))]);
        let broken = if kind == "ReplicationSource" {
            site.claim(&Claim { name: "data", class: None, image: None });
            site.hand("data").await.run("echo something >file");
            site.source("broken", "data", json!({ "rclone": merged(rclone, json!({ "copyMethod": "Direct" })) }))
        } else {
            site.destination("broken", json!({ "rclone": rclone }))
        };
        told(&broken, reason, reason != "Unreachable", words).await;
    })
    .await;
}

/// What is wrong with the volumes, told by the agent.
#[rstest]
#[case::no_claim_to_push(
    "SourcePVCMissing",
    async |site: &Site| site.source("broken", "not-there", json!({})).name,
    &["not-there", "sourcePVC"]
)]
#[case::no_claim_to_pull_into(
    "DestinationPVCMissing",
    async |site: &Site| site.destination("broken", json!({"rclone": {"destinationPVC": "not-there"}})).name,
    &["not-there", "destinationPVC"]
)]
#[case::a_class_that_is_not_there(
    "VolumeNotBound",
    async |site: &Site| site.destination("broken", json!({"rclone": {"storageClassName": "not-there"}})).name,
    &["not-there", "scribe-dest-broken"]
)]
#[case::a_snapshot_class_that_is_not_there(
    "SnapshotNotReady",
    async |site: &Site| {
        site.filled("data").await;
        site.source("broken", "data", json!({"rclone": {"volumeSnapshotClassName": "not-there"}})).name
    },
    &["not-there", "scribe-src-broken", "spec.rclone.volumeSnapshotClassName"]
)]
#[tokio::test]
async fn a_volume_that_is_not_provided_is_reported(
    #[case] reason: &str,
    #[case] arrange: impl AsyncFn(&Site) -> String,
    #[case] words: &[&str],
) {
    site_with("volume", IMPATIENT, async |site| {
        let name = arrange(site).await;
        let kind = if ["SourcePVCMissing", "SnapshotNotReady"].contains(&reason) { "ReplicationSource" } else { "ReplicationDestination" };
        told(&site.existing(kind, &name), reason, false, words).await;
    })
    .await;
}

/// Several volumes of one namespace wait for different reasons: each object quotes its own, at every attempt.
#[tokio::test]
async fn each_object_quotes_the_cause_of_its_own_trouble() {
    site_with("causes", IMPATIENT, async |site| {
        let classes = ["nosuch-alpha", "nosuch-beta", "nosuch-gamma"];
        let make = |class: &&str| site.destination(&class.replace("nosuch", "dest"), json!({ "rclone": { "storageClassName": class } }));
        let objects: Vec<_> = classes.iter().map(make).collect();
        for attempt in 1..=2 {
            for (object, class) in objects.iter().zip(classes) {
                let status = object.until(&format!("attempt {attempt} fails"), SYNC, |s| s.attempts >= Some(attempt)).await;
                let message = &status.last_error.as_ref().unwrap().message;
                let quoted: Vec<_> = classes.iter().filter(|class| message.contains(**class)).collect();
                assert_eq!(quoted, [&class], "{}: {message}", object.name);
            }
        }
    })
    .await;
}

/// The reason is in `lastError`, in a warning and in the conditions that it belongs to, everywhere with the same sentence.
async fn told(broken: &Replication<'_>, reason: &str, stalls: bool, words: &[&str]) {
    let status = broken
        .until(&format!("it fails as {reason}"), SYNC, |s| {
            s.last_error.as_ref().is_some_and(|error| error.reason == reason) && is(s, "Synchronizing", "False", "Backoff")
        })
        .await;
    let message = &status.last_error.as_ref().unwrap().message;
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
    assert!(message.split_whitespace().count() >= 5 && !message.contains('\n'), "not a sentence: {message:?}");
    assert!(!message.contains("secret_access_key"), "{message:?}");
    assert!(is(&status, "Reconciled", "True", "ReconcileComplete"), "{status:#?}");
    assert!(condition(&status, "Synchronizing").message.contains(message.as_str()), "{status:#?}");
    if stalls {
        assert!(is(&status, "Stalled", "True", reason) && is(&status, "Ready", "False", reason), "{status:#?}");
        assert_eq!(&condition(&status, "Stalled").message, message);
    } else {
        assert!(is(&status, "Stalled", "False", "NotStalled") && is(&status, "Ready", "False", "NeverSynced"), "{status:#?}");
    }
    crate::support::until::until(&format!("a warning {reason}"), 10, async || {
        let events = broken.events().await;
        let told = events.iter().any(|event| {
            event.type_.as_deref() == Some("Warning") && event.reason.as_deref() == Some(reason) && event.note.as_ref() == Some(message)
        });
        if told { Ok(()) } else { Err(events.into_iter().map(|event| (event.type_, event.reason, event.note)).collect::<Vec<_>>()) }
    })
    .await;
}

/// Text that has the form of a schedule but no meaning passes the API server; the agent says what is wrong with it.
#[rstest]
#[case::a_minute_that_is_none("99 * * * *", None, &["99 * * * *", "*/6 * * * *"])]
#[case::a_day_that_never_comes("0 0 30 2 *", None, &["0 0 30 2 *", "never"])]
#[case::a_zone_that_is_not_there("@daily", Some("Europe/Nowhere"), &["Europe/Nowhere", "Europe/Berlin"])]
#[tokio::test]
async fn a_schedule_that_cannot_be_is_refused_with_a_reason(#[case] schedule: &str, #[case] zone: Option<&str>, #[case] words: &[&str]) {
    site("bad-cron", async |site| {
        let trigger = json!({ "schedule": schedule, "timeZone": zone, "manual": null });
        let broken = site.source("broken", "data", json!({ "trigger": trigger }));
        let status = broken.until("it is refused", 30, |s| is(s, "Stalled", "True", "InvalidSpec")).await;
        assert!(is(&status, "Reconciled", "False", "ReconcileError") && is(&status, "Ready", "False", "InvalidSpec"), "{status:#?}");
        let message = &condition(&status, "Stalled").message;
        assert_eq!(&condition(&status, "Reconciled").message, message);
        for word in words {
            assert!(message.contains(word), "{word:?} is not in {message:?}");
        }
        assert!(status.run.is_none() && status.next_sync_time.is_none(), "{status:#?}");
        crate::support::until::until("a warning", 10, async || {
            let events = broken.events().await;
            let told = events.iter().any(|event| event.reason.as_deref() == Some("InvalidSpec") && event.note.as_ref() == Some(message));
            if told { Ok(()) } else { Err(events) }
        })
        .await;

        // Mended, it goes on as if nothing had been.
        broken.patch(json!({ "trigger": { "schedule": "@hourly", "timeZone": null } })).await;
        let mended = broken.until("it is accepted", 30, |s| is(s, "Reconciled", "True", "ReconcileComplete")).await;
        assert!(mended.next_sync_time.is_some(), "{mended:#?}");
    })
    .await;
}

/// A person mends it, and nobody has to tell the agent: the next attempt works, and no trace of the trouble is left.
#[rstest]
#[case::a_secret_that_comes_later("not-there-yet", "data")]
#[case::a_claim_that_comes_later(SECRET, "not-there-yet")]
#[tokio::test]
async fn what_is_fixed_works(#[case] secret: &str, #[case] claim: &str) {
    site("mended", async |site| {
        site.filled("data").await;
        let push = site.source("push", claim, json!({ "rclone": { "rcloneConfig": secret } }));
        push.until("it fails", SYNC, |s| s.last_error.is_some()).await;
        if secret == SECRET {
            site.filled(claim).await;
        } else {
            site.secret(secret, &[("rclone.conf", &site.s3.config())]);
        }
        let status: Status = push.synced("first").await;
        assert!(status.last_error.is_none() && status.run.is_none(), "{status:#?}");
        assert!(is(&status, "Ready", "True", "Synced") && is(&status, "Stalled", "False", "NotStalled"), "{status:#?}");
        site.only_children(&[]).await;
    })
    .await;
}

/// Somebody's finalizer holds on to the last sync's snapshot, as csi-provisioner 6 does for minutes when it loses a race: the next sync
/// cannot have the name. That is told, not waited out in silence; and when the snapshot is gone, the sync goes on.
#[tokio::test]
async fn a_snapshot_that_is_not_deleted_is_reported() {
    site_with("held", IMPATIENT, async |site| {
        let _source = site.filled("data").await;
        let mut history = site.history().await;
        let push = site.source("push", "data", json!({}));
        let ready = |seen: &Seen| seen.kind == "VolumeSnapshot" && seen.object.data["status"]["readyToUse"] == true;
        history.until("the temporary snapshot is ready", SYNC, ready).await;
        let patch = |operation: &str| site.kubectl(&["patch", "volumesnapshot", "scribe-src-push", "--type=json", "--patch", operation]);
        patch(r#"[{"op": "add", "path": "/metadata/finalizers/-", "value": "example.org/held"}]"#);
        push.synced("first").await;

        push.patch(json!({ "trigger": { "manual": "second" } })).await;
        let status = push.until("it is told", SYNC, |s| s.last_error.is_some()).await;
        let message = &status.last_error.as_ref().unwrap().message;
        assert!(message.contains("scribe-src-push") && message.contains("example.org/held"), "{message}");
        patch(r#"[{"op": "remove", "path": "/metadata/finalizers"}]"#);
        push.synced("second").await;
        site.only_children(&[]).await;
    })
    .await;
}
