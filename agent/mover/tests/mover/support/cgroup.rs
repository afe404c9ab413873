//! A memory cgroup of our own, of either version: limits a process and all it starts, page cache included.
//!
//! Shared by the tests and the bench.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The group, removed when dropped.
#[derive(Debug)]
pub(crate) struct Cgroup {
    dir: PathBuf,
    v2: bool,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Cgroup {
    /// One that holds `limit` bytes. Needs root and a mounted memory controller, and says so when it cannot be made.
    pub(crate) fn new(limit: u64) -> io::Result<Self> {
        let explain = |error: io::Error| {
            io::Error::other(format!(
                "cannot make a memory cgroup (this needs root, and the memory controller under /sys/fs/cgroup): {error}"
            ))
        };
        Self::make(limit).map_err(explain)
    }

    fn make(limit: u64) -> io::Result<Self> {
        let name = format!("scribe-mover-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let v1 = Path::new("/sys/fs/cgroup/memory");
        let group = if v1.join("memory.limit_in_bytes").exists() {
            Self { dir: v1.join(name), v2: false }
        } else {
            let root = Path::new("/sys/fs/cgroup");
            fs::write(root.join("cgroup.subtree_control"), "+memory")?;
            Self { dir: root.join(name), v2: true }
        };
        fs::create_dir(&group.dir)?;
        let (file, swap) =
            if group.v2 { ("memory.max", "memory.swap.max") } else { ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes") };
        fs::write(group.dir.join(file), limit.to_string())?;
        // Swap would hide what does not fit; where it is not accounted for, there is no such file.
        let swap = group.dir.join(swap);
        if swap.exists() {
            fs::write(swap, if group.v2 { "0".to_owned() } else { limit.to_string() })?;
        }
        Ok(group)
    }

    /// `command` with its first act being to enter the group.
    pub(crate) fn enter(&self, command: &Command) -> Command {
        let mut inside = Command::new("/bin/sh");
        inside.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(self.dir.join("cgroup.procs"));
        inside.arg(command.get_program());
        arguments_and_surroundings(command, inside)
    }

    /// Processes that the kernel killed in it because they did not fit.
    pub(crate) fn killed(&self) -> io::Result<u64> {
        let file = if self.v2 { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(self.dir.join(file))?;
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok());
        count.ok_or_else(|| io::Error::other(format!("{file} has no oom_kill")))
    }
}

/// The same command again, outside of any group: a `Command` cannot be cloned.
#[allow(dead_code, reason = "the bench alone runs anything without a limit")]
pub(crate) fn outside(command: &Command) -> Command {
    arguments_and_surroundings(command, Command::new(command.get_program()))
}

/// Arguments, environment and folder of `from` for `to`.
fn arguments_and_surroundings(from: &Command, mut to: Command) -> Command {
    to.args(from.get_args());
    for (name, value) in from.get_envs() {
        let _: &mut Command = match value {
            Some(value) => to.env(name, value),
            None => to.env_remove(name),
        };
    }
    if let Some(dir) = from.get_current_dir() {
        to.current_dir(dir);
    }
    to
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Cached pages of an ended process may hold it for a moment; an empty group that is left behind costs nothing.
        if let Err(error) = fs::remove_dir(&self.dir) {
            eprintln!("cannot remove {}: {error}", self.dir.display());
        }
    }
}
