//! A database that stands still while it is copied: the script of `docs/usage.md`, as it stands there, with a MariaDB under load.

use crate::support::cluster::root;
use crate::support::database::CLAIM;
use crate::support::replication::image_of;
use crate::support::site::{SETTINGS, Site, site_for};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

/// What MariaDB's InnoDB prints where the volume is not all that the server knew.
const RECOVERY: &str = "crash recovery";

/// The script of the document.
fn script() -> String {
    let guide = std::fs::read_to_string(root().join("docs/usage.md")).unwrap();
    let (_, rest) = guide.split_once("```sh\n#!/bin/bash\n# One copy of a MariaDB").expect("no script in docs/usage.md");
    let (body, _) = rest.split_once("```").unwrap();
    format!("#!/bin/bash\n#{body}")
}

/// Runs it, with a kubectl that knows the namespace.
fn run(site: &Site) {
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("script-{}", site.namespace));
    std::fs::create_dir_all(&folder).unwrap();
    let kubectl = folder.join("kubectl");
    let path = std::env::var("PATH").unwrap();
    std::fs::write(&kubectl, format!("#!/bin/bash\nPATH={path} exec kubectl --namespace {} \"$@\"\n", site.namespace)).unwrap();
    std::fs::set_permissions(&kubectl, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{path}", folder.display());
    let output = Command::new("timeout").args(["120", "bash", "-c", &script()]).env("PATH", path).output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}

/// The same database, copied while it works, recovers: so the check can fail.
#[tokio::test]
async fn a_database_that_stands_still_needs_no_recovery() {
    site_for(Duration::from_secs(480), "at-rest", SETTINGS, async |site| {
        let writer = site.database();
        writer.goes_on(100).await;
        let push = site.source("push", CLAIM, json!({}));
        push.synced("first").await;
        let pull = site.destination("pull", json!({}));
        let image = image_of(&pull.synced("first").await);
        let log = site.database_of_image("at-work", &image, 100);
        assert!(log.contains(RECOVERY), "the check cannot fail: {log}");

        site.annotate_claim(CLAIM, "use-copy-trigger", "");
        push.patch(json!({ "trigger": { "manual": "second" } })).await;
        site.until_copy(CLAIM, "latest-copy-status", "WaitingForTrigger").await;
        writer.goes_on(100).await;
        let written = writer.committed();
        run(site);
        let copy = site.copy_of(CLAIM).await;
        assert_eq!(
            (copy.get("latest-copy-status").map(String::as_str), copy.get("latest-copy-trigger")),
            (Some("Completed"), copy.get("copy-trigger"))
        );
        writer.goes_on(50).await;
        push.synced("second").await;
        let image = image_of(&pull.sync("second").await);
        let log = site.database_of_image("at-rest", &image, written);
        assert!(log.contains("ready for connections") && !log.contains(RECOVERY), "{log}");
    })
    .await;
}
