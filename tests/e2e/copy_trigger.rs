//! Copies that are made when a user asks for them, by annotations on the source's PVC.

use crate::support::history::Seen;
use crate::support::replication::{SYNC, is};
use crate::support::site::site;
use crate::support::until::until;
use serde_json::json;

/// By both copy methods, with an agent that dies while it waits and one that dies when it was asked.
#[tokio::test]
async fn a_copy_is_of_the_moment_that_was_asked_for() {
    site("on-request", async |site| {
        let source = site.filled("data").await;
        let history = site.history().await;
        site.annotate_claim("data", "use-copy-trigger", "");
        let push = site.source("push", "data", json!({ "rclone": { "copyMethod": "Snapshot" } }));
        let pull =
            site.destination("pull", json!({ "rclone": { "copyMethod": "Direct" }, "trigger": { "manual": "none" }, "paused": true }));
        for (tag, method) in [("first", "Snapshot"), ("second", "Clone")] {
            push.patch(json!({ "trigger": { "manual": tag }, "rclone": { "copyMethod": method } })).await;
            let copy = site.until_copy("data", "latest-copy-status", "WaitingForTrigger").await;
            assert!(copy.contains_key("latest-copy-trigger-waiting-since"), "{copy:?}");
            let words = "Waiting for a new value of the annotation scribe.backube/copy-trigger on PVC data";
            push.until("it says what it waits for", SYNC, |s| s.message.as_ref().is_some_and(|message| message.contains(words))).await;
            site.agent().await.kill();
            site.agent().await;
            source.run(&format!("echo before {tag} >plain"));
            let of_it = |seen: &Seen| seen.ours() && matches!(seen.kind, "VolumeSnapshot" | "PersistentVolumeClaim");
            let made = |history: &crate::support::history::History| {
                let all = ["VolumeSnapshot", "PersistentVolumeClaim"].map(|kind| history.all(kind).into_iter().filter(&of_it).count());
                all.into_iter().sum::<usize>()
            };
            if tag == "first" {
                assert_eq!(made(&history), 0, "a copy that nobody asked for");
            }
            site.annotate_claim("data", "copy-trigger", tag);
            if tag == "first" {
                site.agent().await.kill();
            }
            let copy = site.until_copy("data", "latest-copy-trigger", tag).await;
            assert!(copy["latest-copy-status"] == "Completed" && !copy.contains_key("latest-copy-trigger-waiting-since"), "{copy:?}");
            source.run(&format!("echo after {tag} >plain"));
            push.synced(tag).await;
            pull.patch(json!({ "paused": false })).await;
            pull.sync(tag).await;
            let pulled = site.hand("scribe-dest-pull").await;
            assert_eq!(pulled.run("cat plain"), format!("before {tag}\n"), "{method}");
            pulled.remove().await;
        }
        until("events tell of it", 30, async || {
            let reasons: Vec<_> = push.events().await.into_iter().filter_map(|event| event.reason).collect();
            let told = |reason: &str| reasons.iter().filter(|found| *found == reason).count() == 2;
            if told("WaitingForCopyTrigger") && told("CopyCompleted") { Ok(()) } else { Err(reasons) }
        })
        .await;
        let copies: Vec<_> = history.made("VolumeSnapshot").into_iter().filter(|name| name == "scribe-src-push").collect();
        assert_eq!(copies.len(), 1, "{copies:?}");
    })
    .await;
}

/// Without the right to write on the claim nothing is copied, and the status says which right that is; with it, the sync goes on.
#[tokio::test]
async fn a_missing_right_is_reported() {
    site("no-patch", async |site| {
        let _source = site.filled("data").await;
        let rights = |verbs: &str| {
            let patch = format!(r#"[{{"op": "replace", "path": "/rules/3/verbs", "value": {verbs}}}]"#);
            site.kubectl(&["patch", "role", "scribe-agent", "--type=json", "--patch", &patch]);
        };
        rights(r#"["list", "watch", "create", "delete"]"#);
        site.annotate_claim("data", "use-copy-trigger", "");
        site.annotate_claim("data", "copy-trigger", "one");
        let push = site.source("push", "data", json!({}));
        let status = push.until("the missing right is reported", SYNC, |s| is(s, "Stalled", "True", "MissingPermission")).await;
        let error = status.last_error.unwrap();
        assert!(error.message.contains("cannot patch resource \"persistentvolumeclaims\""), "{error:?}");
        assert!(!site.copy_of("data").await.contains_key("latest-copy-status"));
        rights(r#"["list", "watch", "create", "patch", "delete"]"#);
        push.synced("first").await;
        assert_eq!(site.copy_of("data").await["latest-copy-trigger"], "one");
    })
    .await;
}
