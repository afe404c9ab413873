//! Runs a command and measures it: time, file data read from disk, memory, and what went through the proxy.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::fs::Advice;
use rustix::process::{Pid, WaitId, WaitIdOptions};

use crate::cgroup::{Cgroup, outside};
use crate::proxy::{Proxy, Traffic};

/// What a run cost.
#[derive(Clone, Debug, Default)]
pub struct Cost {
    /// From start to end.
    pub wall: Duration,
    /// Bytes that the run and its children had read from the disk: the volume's file data, for that alone is not cached.
    pub disk_read: u64,
    /// Bytes that they have had written to a disk: temporary files, caches, what the program keeps.
    pub disk_written: u64,
    /// Processor time of the run and its children.
    pub cpu: Duration,
    /// The most resident memory of the run and its children together, as seen every few milliseconds.
    pub resident: u64,
    /// The most resident memory of the first process alone: our mover without rclone.
    pub resident_own: u64,
    /// Through the proxy.
    pub traffic: Traffic,
}

/// Runs `command` on `volume`, whose file data is dropped from the page cache before. Fails when the command does.
pub fn measure(command: &Command, volume: &Path, proxy: &Proxy, group: Option<&Cgroup>) -> Result<Cost> {
    evict(volume)?;
    proxy.take();
    let mut inside = match group {
        Some(group) => group.enter(command),
        None => outside(command),
    };
    let began = Instant::now();
    let mut child = inside.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("start")?;
    let pid = Pid::from_child(&child);
    let over = AtomicBool::new(false);
    let outputs = (child.stdout.take(), child.stderr.take());
    let (resident, words, io, stat) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| watch(pid.as_raw_nonzero().get(), &over));
        let tail = |pipe: Option<Box<dyn std::io::Read + Send>>| {
            scope.spawn(move || {
                let mut bytes = Vec::new();
                pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
                String::from_utf8_lossy(&bytes).into_owned()
            })
        };
        let out = tail(outputs.0.map(|pipe| Box::new(pipe) as _));
        let err = tail(outputs.1.map(|pipe| Box::new(pipe) as _));
        // Not reaped yet: by now it has been charged with what its own children read.
        let waited = rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        let io = fs::read_to_string(format!("/proc/{}/io", pid.as_raw_nonzero()));
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        over.store(true, Ordering::Relaxed);
        waited.context("wait")?;
        let words = format!("{}{}", out.join().unwrap_or_default(), err.join().unwrap_or_default());
        anyhow::Ok((watch.join().unwrap_or_default(), words, io.context("read /proc/PID/io")?, stat.context("read /proc/PID/stat")?))
    })?;
    let wall = began.elapsed();
    let status = child.wait().context("wait")?;
    let killed = group.map_or(Ok(0), Cgroup::killed)?;
    ensure!(
        status.success() && killed == 0,
        "{} ended with code {:?}, signal {:?}, {killed} processes killed for want of memory: {}",
        command.get_program().display(),
        status.code(),
        status.signal(),
        words.chars().rev().take(2000).collect::<Vec<_>>().into_iter().rev().collect::<String>()
    );
    let of = |name: &str| io.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0);
    Ok(Cost {
        wall,
        disk_read: of("read_bytes:"),
        disk_written: of("write_bytes:"),
        cpu: processor_time(&stat),
        resident: resident.1,
        resident_own: resident.0,
        traffic: proxy.take(),
    })
}

/// Of a process and the children that it has waited for, from its `/proc/PID/stat`.
fn processor_time(stat: &str) -> Duration {
    // The name before may hold anything, also spaces; the state, which follows it, is the third field.
    let fields = stat.rsplit_once(')').map_or("", |(_, after)| after).split_whitespace();
    // utime, stime, cutime and cstime, fields 14 to 17.
    let ticks: u64 = fields.skip(11).take(4).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

/// Writes out and drops the page cache of every file below `dir`; names and inodes stay cached.
fn evict(dir: &Path) -> Result<()> {
    rustix::fs::syncfs(fs::File::open(dir)?)?;
    for entry in walkdir::WalkDir::new(dir) {
        let entry = entry?;
        if entry.file_type().is_file() {
            rustix::fs::fadvise(fs::File::open(entry.path())?, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}

/// The most memory of the process alone, and of it and all below it together.
fn watch(pid: i32, over: &AtomicBool) -> (u64, u64) {
    let mut most = (0, 0);
    while !over.load(Ordering::Relaxed) {
        let own = resident(pid);
        most = (most.0.max(own), most.1.max(own + below(pid)));
        std::thread::sleep(Duration::from_millis(10));
    }
    most
}

fn below(pid: i32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok()).collect::<String>();
    children.split_whitespace().filter_map(|child| child.parse().ok()).map(|child| resident(child) + below(child)).sum()
}

/// A process that has just ended holds nothing.
fn resident(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib: u64 = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0);
    kib * 1024
}
