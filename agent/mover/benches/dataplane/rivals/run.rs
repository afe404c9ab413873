//! Runs the contenders on one volume, one after the other, and keeps what each has cost.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::contenders::{CONTENDERS, Contender};
use crate::measure::{Cost, measure};
use crate::site::{KEY, SECRET, Site};
use crate::tree;

/// The programs of others.
pub struct Programs {
    /// restic
    pub restic: PathBuf,
    /// kopia
    pub kopia: PathBuf,
}

/// Some of the contenders at one site, prepared.
pub struct Field<'a> {
    site: &'a Site,
    programs: &'a Programs,
    contenders: Vec<&'static Contender>,
}

/// What one work has cost each of them, by name, in the order of the contenders.
pub struct Costs(pub Vec<(&'static str, Cost)>);

impl<'a> Field<'a> {
    /// Prepares those whose names are asked for.
    pub fn new(site: &'a Site, programs: &'a Programs, asked: impl Fn(&str) -> bool) -> Result<Self> {
        let contenders = CONTENDERS.iter().filter(|contender| asked(contender.name)).collect();
        let field = Self { site, programs, contenders };
        for contender in &field.contenders {
            std::fs::create_dir_all(field.state(contender))?;
            std::fs::create_dir_all(site.dest(contender.name))?;
            let output = field.command(contender, contender.prepare)?.output().context("start /bin/sh")?;
            ensure!(output.status.success(), "prepare {}: {}", contender.name, String::from_utf8_lossy(&output.stderr));
        }
        Ok(field)
    }

    /// A push by each of them.
    pub fn push(&self) -> Result<Costs> {
        self.run("push", |contender| contender.push, |_| self.site.source())
    }

    /// A pull by each of them, into a volume of its own.
    pub fn pull(&self) -> Result<Costs> {
        self.run("pull", |contender| contender.pull, |contender| self.site.dest(contender.name))
    }

    fn run(&self, verb: &str, script: fn(&Contender) -> &str, volume: impl Fn(&Contender) -> PathBuf) -> Result<Costs> {
        let run = |contender: &&'static Contender| {
            let (command, volume) = (self.command(contender, script(contender))?, volume(contender));
            let cost = measure(&command, &volume, &self.site.proxy, None).with_context(|| format!("{}: {verb}", contender.name))?;
            // A pull that brings back something else would cost less.
            tree::same_content(&self.site.source(), &volume).with_context(|| format!("{}: {verb}", contender.name))?;
            Ok((contender.name, cost))
        };
        self.contenders.iter().map(run).collect::<Result<_>>().map(Costs)
    }

    fn state(&self, contender: &Contender) -> PathBuf {
        self.site.tmp().join(contender.name)
    }

    fn command(&self, contender: &Contender, script: &str) -> Result<Command> {
        let (site, state, address) = (self.site, self.state(contender), self.site.proxy.address());
        let mut command = Command::new("/bin/sh");
        command.args(["-euc", script]).env("VOLUME", site.source()).env("DEST", site.dest(contender.name));
        command.env("SECRET", site.secret()).env("TMPDIR", site.tmp());
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
