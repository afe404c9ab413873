//! A namespace that enforces the Pod Security profile `restricted`: movers without root, by `kustomize/components/restricted`.

use crate::support::replication::{Replication, SYNC, is};
use crate::support::s3;
use crate::support::site::{SETTINGS, Site, site};
use crate::support::until::until;
use crate::support::volume::Claim;
use rstest::rstest;
use serde_json::json;

/// The user of the component.
const USER: &str = "65532:65532";

/// The namespace takes pods of that profile alone from now on, and the agent starts its movers so.
pub fn restrict(site: &Site) {
    site.kubectl(&["label", "namespace", &site.namespace, "pod-security.kubernetes.io/enforce=restricted"]);
    site.install_with(SETTINGS, &["restricted"]);
    site.kubectl(&["rollout", "status", "deployment/scribe-agent", "--timeout=60s"]);
}

/// And any pods again, such as ours that look into volumes.
pub fn relax(site: &Site) {
    site.kubectl(&["label", "namespace", &site.namespace, "pod-security.kubernetes.io/enforce-"]);
}

/// What the event of the object's last sync counts as left out.
async fn left_out(object: &Replication<'_>) -> String {
    until("an event says what was left out", 15, async || {
        let notes: Vec<_> = object.events().await.into_iter().filter_map(|event| event.note).collect();
        notes.iter().find_map(|note| Some(note.split_once("not replicated: ")?.1.to_owned())).ok_or(notes)
    })
    .await
}

/// Both kinds. What a mover without root cannot restore is counted, and everything else is there.
#[tokio::test]
async fn movers_work_without_root() {
    site("restricted", async |site| {
        let source = site.filled("data").await;
        source.run(&format!(
            "chown -R -h {USER} .; chmod -R u+rwX .; mkdir pgdata; echo 15 >pgdata/PG_VERSION; chown -R {USER} pgdata; chmod 0700 pgdata; \
             echo theirs >theirs; chown 1234:5678 theirs; chmod 0644 theirs; echo set >set; chown 0:0 set; chmod 4755 set"
        ));
        restrict(site);
        let history = site.history().await;
        let push = site.source("push", "data", json!({ "rclone": { "copyMethod": "Direct" } }));
        let pushed = push.synced("first").await;
        let pull = site.destination("pull", json!({}));
        let pulled = pull.synced("first").await;
        assert_eq!((&pulled.revision, pulled.files, pulled.bytes), (&pushed.revision, pushed.files, pushed.bytes));
        let left_out = left_out(&pull).await;
        for kind in ["owners", "setuidBits"] {
            assert!(left_out.contains(kind), "{kind} is not counted: {left_out}");
        }
        // A second pull of the same revision has nothing to do, and publishes nothing.
        let image = pulled.latest_image.clone().unwrap().name;
        assert_eq!(pull.sync("second").await.latest_image.unwrap().name, image);
        let movers: Vec<_> = history.all("Pod").into_iter().filter(crate::support::history::Seen::ours).collect();
        assert!(!movers.is_empty());
        for mover in &movers {
            let spec = &mover.object.data["spec"];
            assert_eq!((&spec["securityContext"]["runAsUser"], &spec["securityContext"]["runAsNonRoot"]), (&json!(65532), &json!(true)));
            assert_eq!(spec["containers"][0]["securityContext"]["capabilities"], json!({ "drop": ["ALL"] }));
        }

        relax(site);
        let contents = "find . -type f -exec sha256sum {} + | sort; find . -type d | sort; find . -type l -exec readlink {} \\; | sort";
        let look = format!("look-{}", site.namespace);
        site.claim(&Claim { name: &look, class: None, image: Some(&image) });
        let copy = site.hand(&look).await;
        assert_eq!(copy.run(contents), source.run(contents));
        assert_eq!(copy.run("stat -c '%a %u:%g' pgdata pgdata/PG_VERSION"), format!("700 {USER}\n644 {USER}\n"));
        assert_eq!(copy.run("stat -c '%u' theirs set; stat -c '%a' set").trim(), "65532\n65532\n755");
    })
    .await;
}

/// A data directory of a database's own user: the push fails and names it; an empty tree is never pushed for it.
#[rstest]
#[case::in_the_volume("mkdir pgdata; echo 15 >pgdata/PG_VERSION; chown -R 999:999 pgdata; chmod 0700 pgdata", "/pgdata")]
#[case::the_volume_itself("rm -rf ./*; echo 15 >PG_VERSION; chown -R 999:999 .; chmod 0700 .", "/volume")]
#[tokio::test]
async fn what_cannot_be_read_fails_the_push(#[case] script: &str, #[case] named: &str) {
    site("pgdata", async |site| {
        let source = site.filled("data").await;
        source.run(&format!("chown -R -h {USER} .; chmod -R u+rwX .; {script}"));
        let before = source.listing();
        restrict(site);
        let push = site.source("push", "data", json!({ "rclone": { "copyMethod": "Direct" } }));
        let status = push.until("it fails", SYNC, |s| s.last_error.is_some()).await;
        let error = status.last_error.clone().unwrap();
        assert!(error.reason == "VolumeUnreadable" && error.message.contains(named), "{error:?}");
        assert!(status.revision.is_none() && s3::is_empty(&site.path), "something was pushed: {status:?}");
        source.listing().assert_is(&before);

        // Root is not to be had; the directory's user is.
        push.patch(json!({ "rclone": { "moverSecurityContext": { "runAsUser": 0 } } })).await;
        push.until("root is refused", 120, |s| is(s, "Stalled", "True", "PodRejected")).await;
        let database = json!({ "runAsUser": 999, "runAsGroup": 999, "fsGroup": 999, "runAsNonRoot": true });
        if named == "/volume" {
            push.patch(json!({ "rclone": { "moverSecurityContext": database } })).await;
            push.synced("first").await;
            let pull = site.destination("pull", json!({ "rclone": { "moverSecurityContext": database, "copyMethod": "Direct" } }));
            pull.synced("first").await;
            relax(site);
            let copy = site.hand("scribe-dest-pull").await;
            assert_eq!(copy.run("cat PG_VERSION; stat -c '%a %u:%g' PG_VERSION"), "15\n644 999:999\n");
        }
    })
    .await;
}
