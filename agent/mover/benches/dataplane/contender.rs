//! The two contenders: our mover, and the peer's procedure with plain rclone. Both push one source to a path of their own.

use std::process::Command;

use anyhow::{Context, Result};
use scribe_mover::report::Report;

use crate::cgroup::Cgroup;
use crate::measure::{Cost, measure};
use crate::site::Site;

/// Our mover, run by this very program as a process of its own.
pub struct Ours<'a> {
    site: &'a Site,
    /// MiB that it runs in, rclone and page cache included.
    limit: u64,
    layout: &'static str,
    /// The revision that was pushed last, and the one that the destination holds.
    pushed: Option<String>,
    pulled: Option<String>,
    verify: bool,
}

impl<'a> Ours<'a> {
    /// At a path that nothing has been pushed to.
    pub fn new(site: &'a Site, limit: u64) -> Self {
        Self { site, limit, layout: "files", pushed: None, pulled: None, verify: false }
    }

    /// Whose pushes have layout Packs.
    pub fn packs(self) -> Self {
        Self { layout: "packs", ..self }
    }

    /// Whether the next push lists the remote path, as one does now and then.
    pub fn verify_now(&mut self, verify: bool) {
        self.verify = verify;
    }

    /// Pushes the source.
    pub fn push(&mut self) -> Result<Cost> {
        let (cost, report) = self.run("push", self.pushed.clone())?;
        self.pushed = report.revision;
        Ok(cost)
    }

    /// Pulls into a volume that nobody else writes to.
    pub fn pull(&mut self) -> Result<Cost> {
        let (cost, report) = self.run("pull", self.pulled.clone())?;
        self.pulled = report.revision;
        Ok(cost)
    }

    fn run(&self, verb: &str, revision: Option<String>) -> Result<(Cost, Report)> {
        let site = self.site;
        let report = site.tmp().join("report");
        let volume = if verb == "push" { site.source() } else { site.dest("ours") };
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["mover", verb, "--remote", "s3:bucket/ours"]).arg("--volume").arg(&volume);
        command.arg("--config-dir").arg(site.secret()).arg("--rclone").arg(&site.rclone).arg("--report").arg(&report);
        command.env("TMPDIR", site.tmp());
        if verb == "push" {
            command.args(["--owner", "shop/db", "--owner-uid", "uid-1", "--layout", self.layout]);
            command.args(["--verify-interval", if self.verify { "0s" } else { "24h" }]);
            revision.map(|revision| command.args(["--pushed-revision", &revision]));
        } else {
            command.arg("--private-volume");
            revision.map(|revision| command.args(["--applied-revision", &revision]));
        }
        let group = Cgroup::new(self.limit << 20)?;
        let cost = measure(&command, &volume, &site.proxy, Some(&group)).with_context(|| format!("our {verb}"))?;
        let report = serde_json::from_slice(&std::fs::read(report)?).context("read the report")?;
        Ok((cost, report))
    }
}

/// What VolSync's rclone mover does, step by step, with the flags it gives rclone.
pub struct Peer<'a> {
    site: &'a Site,
    limit: Option<u64>,
}

/// rclone compares by content, because S3 keeps no times that it could compare by.
const FLAGS: &str = "--checksum --one-file-system --create-empty-src-dirs --transfers 10";

impl<'a> Peer<'a> {
    /// In this many MiB, or without a limit.
    pub fn new(site: &'a Site, limit: Option<u64>) -> Self {
        Self { site, limit }
    }

    /// Pushes the source: permissions go beside the data, in a copy of their own.
    pub fn push(&self) -> Result<Cost> {
        self.run(
            "push",
            &format!(
                "getfacl -R data > \"$TMPDIR/permissions.facl\"
                \"$RCLONE\" sync {FLAGS} data s3:bucket/peer
                \"$RCLONE\" copy {FLAGS} --include permissions.facl \"$TMPDIR\" s3:bucket/peer"
            ),
        )
    }

    /// Pulls, permissions last.
    pub fn pull(&self) -> Result<Cost> {
        self.run(
            "pull",
            &format!(
                "\"$RCLONE\" sync {FLAGS} --exclude permissions.facl s3:bucket/peer data
                \"$RCLONE\" copy {FLAGS} --include permissions.facl s3:bucket/peer \"$TMPDIR\"
                setfacl --restore=\"$TMPDIR/permissions.facl\""
            ),
        )
    }

    fn run(&self, verb: &str, script: &str) -> Result<Cost> {
        let site = self.site;
        let volume = if verb == "push" { site.source() } else { site.dest("peer") };
        let mut command = Command::new("/bin/sh");
        command.args(["-euc", script]).current_dir(volume.parent().context("no parent")?);
        command.env("RCLONE", &site.rclone).env("RCLONE_CONFIG", site.secret().join("rclone.conf")).env("TMPDIR", site.tmp());
        let group = self.limit.map(|limit| Cgroup::new(limit << 20)).transpose()?;
        measure(&command, &volume, &site.proxy, group.as_ref()).with_context(|| format!("the peer's {verb}"))
    }
}
