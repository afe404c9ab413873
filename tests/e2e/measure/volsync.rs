//! VolSync, which runs beside our agent on the same node: a source and a destination of the same volume, and their syncs.

use super::support::history::History;
use super::support::namespace::random;
use super::support::replication::{Replication, SYNC};
use super::support::s3::SECTION;
use super::support::site::{SECRET, Site};
use super::support::until::until;
use serde_json::json;
use std::time::Instant;

const GROUP: &str = "volsync.backube";
/// What its manager runs as: tests/tools/measure makes this ServiceAccount.
pub const USER: &str = "system:serviceaccount:default:volsync";
/// Its kinds, which have the same names as ours.
pub const KINDS: [&str; 2] = ["ReplicationSource", "ReplicationDestination"];

/// A source and a destination of VolSync's that have synced once.
pub struct Peer<'a> {
    site: &'a Site,
    history: History,
}

impl<'a> Peer<'a> {
    /// Of the volume `data`, by a path of its own.
    pub async fn set_up(site: &'a Site) -> Self {
        // Without them, VolSync's mover cannot read the volume.
        site.kubectl(&["annotate", "namespace", &site.namespace, "volsync.backube/privileged-movers=true"]);
        let history = site.history_with(&KINDS.map(|kind| (GROUP, "v1alpha1", kind))).await;
        let rclone = json!({
            "rcloneConfig": SECRET, "rcloneConfigSection": SECTION, "rcloneDestPath": format!("{}-volsync", site.path), "copyMethod": "Snapshot",
        });
        let mut peer = Peer { site, history };
        let source = json!({ "sourcePVC": "data", "trigger": { "manual": "first" }, "rclone": rclone });
        peer.create(KINDS[0], &source).await;
        let mut pull = rclone;
        pull["capacity"] = json!("1Gi");
        pull["accessModes"] = json!(["ReadWriteOnce"]);
        peer.create(KINDS[1], &json!({ "trigger": { "manual": "first" }, "rclone": pull })).await;
        peer
    }

    async fn create(&mut self, kind: &'static str, spec: &serde_json::Value) {
        self.site
            .apply(json!({ "apiVersion": format!("{GROUP}/v1alpha1"), "kind": kind, "metadata": { "name": "volsync" }, "spec": spec }));
        self.synced(kind, "first").await;
    }

    /// One sync by a new tag: seconds from the tag to `lastManualSync`. Returns when what VolSync made for it is gone.
    pub async fn sync(&mut self, kind: &'static str) -> f64 {
        let tag = format!("round {}", random());
        let object: Replication<'_> = self.site.existing_of(GROUP, kind, "volsync");
        let began = Instant::now();
        object.patch(json!({ "trigger": { "manual": tag } })).await;
        self.history.until("VolSync's sync is complete", SYNC, |seen| seen.object.data["status"]["lastManualSync"] == tag.as_str()).await;
        let took = began.elapsed().as_secs_f64();
        self.synced(kind, &tag).await;
        took
    }

    async fn synced(&mut self, kind: &str, tag: &str) {
        let is_it = |seen: &super::support::history::Seen| {
            let group = seen.object.types.as_ref().is_some_and(|types| types.api_version.starts_with(GROUP));
            group && seen.kind == kind && seen.object.data["status"]["lastManualSync"] == tag
        };
        self.history.until("VolSync's sync is complete", SYNC, is_it).await;
        // The destination's volume and its newest image stay, of a source nothing does.
        until("what VolSync made for the sync is gone", 60, async || {
            let all = self.site.labelled("app.kubernetes.io/created-by=volsync").await;
            let left: Vec<_> = all.into_iter().filter(|child| !child.contains("/volsync-volsync-dest")).collect();
            if left.is_empty() { Ok(()) } else { Err(left) }
        })
        .await;
    }
}

/// Resident memory of the manager, in bytes.
pub fn memory() -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", super::given("E2E_VOLSYNC_PROCESS"))).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
