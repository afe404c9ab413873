//! Runs the contenders on one volume, one after the other, and keeps what each has cost.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::contenders::{CONTENDERS, Contender};
use crate::measure::{Cost, measure};
use crate::site::{KEY, SECRET, Site};

/// The programs of others.
pub struct Programs {
    /// restic
    pub restic: PathBuf,
    /// kopia
    pub kopia: PathBuf,
}

/// The contenders at one site, prepared.
pub struct Field<'a> {
    site: &'a Site,
    programs: &'a Programs,
}

impl<'a> Field<'a> {
    /// Prepares each of them.
    pub fn new(site: &'a Site, programs: &'a Programs) -> Result<Self> {
        let field = Self { site, programs };
        for contender in CONTENDERS {
            std::fs::create_dir_all(field.state(contender))?;
            let output = field.command(contender, contender.prepare)?.output().context("start /bin/sh")?;
            ensure!(output.status.success(), "prepare {}: {}", contender.name, String::from_utf8_lossy(&output.stderr));
        }
        Ok(field)
    }

    /// A push by each of them, in the order of the contenders.
    pub fn push(&self) -> Result<Vec<Cost>> {
        let run = |contender: &Contender| {
            let command = self.command(contender, contender.push)?;
            measure(&command, &self.site.source(), &self.site.proxy, None).with_context(|| format!("{}: push", contender.name))
        };
        CONTENDERS.iter().map(run).collect()
    }

    fn state(&self, contender: &Contender) -> PathBuf {
        self.site.tmp().join(contender.name)
    }

    fn command(&self, contender: &Contender, script: &str) -> Result<Command> {
        let (site, state, address) = (self.site, self.state(contender), self.site.proxy.address());
        let mut command = Command::new("/bin/sh");
        command.args(["-euc", script]).env("VOLUME", site.source()).env("SECRET", site.secret()).env("TMPDIR", site.tmp());
        command.env("BENCH", std::env::current_exe()?).env("RCLONE", &site.rclone).env("RCLONE_CONFIG", site.secret().join("rclone.conf"));
        command.env("RESTIC", &self.programs.restic).env("KOPIA", &self.programs.kopia).env("ADDRESS", &address);
        command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET);
        command.env("RESTIC_REPOSITORY", format!("s3:http://{address}/bucket/restic")).env("RESTIC_PASSWORD", SECRET);
        command.env("RESTIC_CACHE_DIR", state.join("cache"));
        command.env("KOPIA_PASSWORD", SECRET).env("KOPIA_CONFIG_PATH", state.join("repository.config"));
        command.env("KOPIA_LOG_DIR", state.join("log")).env("KOPIA_CHECK_FOR_UPDATES", "false").env("HOME", &state).env("STATE", state);
        Ok(command)
    }
}
