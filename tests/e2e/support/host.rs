//! The node's processes, which the machine that runs the tests sees as its own: for killing them where it hurts.

use super::closely::closely;
use super::site::Site;
use super::until::until;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The main process of a pod.
#[derive(Clone, Copy, Debug)]
pub struct Process(Pid);

impl Site {
    /// The agent's process, once it serves.
    pub async fn agent(&self) -> Process {
        let pod = until("the agent is ready", 60, async || {
            let pods = self.pods("app.kubernetes.io/component=agent").await;
            let ready = pods.iter().find(|pod| is_ready(pod)).map(ResourceExt::name_any);
            ready.ok_or_else(|| pods.iter().map(|pod| pod.status.clone()).collect::<Vec<_>>())
        })
        .await;
        until("the agent has a process", 10, async || process_of(&pod).ok_or("none")).await
    }

    /// How often the agent was started again.
    pub async fn restarts(&self) -> i32 {
        let pods = self.pods("app.kubernetes.io/component=agent").await;
        pods.iter().filter_map(|pod| pod.status.as_ref()?.container_statuses.as_ref()?.first().map(|c| c.restart_count)).sum()
    }

    /// The process of the mover that runs, once one does.
    pub async fn mover(&self) -> Process {
        until("a mover runs", 60, async || {
            let pods = self.pods("app.kubernetes.io/component=mover").await;
            pods.iter().find_map(|pod| process_of(&pod.name_any())).ok_or(pods.len())
        })
        .await
    }

    async fn pods(&self, selector: &str) -> Vec<Pod> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        api.list(&ListParams::default().labels(selector)).await.unwrap().items
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// The process of our binary whose container has this pod's host name.
fn process_of(pod: &str) -> Option<Process> {
    let host_name = format!("HOSTNAME={pod}");
    find("scribe-agent", |variable| variable == host_name.as_bytes())
}

/// A process of this name with such a variable in its environment.
fn find(program: &str, wanted: impl Fn(&[u8]) -> bool) -> Option<Process> {
    let ids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let mut ours = ids.filter(|id| fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|name| name.trim() == program));
    let found = ours.find(|id| {
        let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(&wanted)
    });
    found.and_then(Pid::from_raw).map(Process)
}

impl Process {
    /// A process of our binary that runs right now and whose environment has a variable that begins like this.
    pub fn running(variable: &str) -> Option<Process> {
        find("scribe-agent", |found| found.starts_with(variable.as_bytes()))
    }

    /// A shell of this pod's.
    pub fn shell_of(pod: &str) -> Option<Process> {
        let host_name = format!("HOSTNAME={pod}");
        find("sh", |found| found == host_name.as_bytes())
    }

    /// The rclone of this pod's.
    pub fn rclone_of(pod: &str) -> Option<Process> {
        let host_name = format!("HOSTNAME={pod}");
        find("rclone", |found| found == host_name.as_bytes())
    }

    /// Ends the process without a warning, unless it has ended by itself.
    pub fn kill_if_alive(self) -> bool {
        kill_process(self.0, Signal::KILL).is_ok()
    }

    /// Has it stand still.
    pub fn stop(self) {
        kill_process(self.0, Signal::STOP).unwrap();
    }

    /// Has it go on.
    pub fn go_on(self) {
        kill_process(self.0, Signal::CONT).unwrap();
    }

    /// Ends the process without a warning.
    pub fn kill(self) {
        kill_process(self.0, Signal::KILL).unwrap();
    }

    /// A line of `/proc/<id>/status`, such as `VmRSS`, in KiB.
    pub fn kibibytes(self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.as_raw_nonzero())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Size of a file by its path below `/proc/<id>`.
    pub fn size_of_file(self, path: &str) -> u64 {
        fs::metadata(format!("/proc/{}/{path}", self.0.as_raw_nonzero())).unwrap().len()
    }

    /// Whether the process lives and has a file of this path, by its own root.
    pub fn sees(self, path: &str) -> bool {
        fs::symlink_metadata(self.path(path)).is_ok()
    }

    /// What the process sees at this path, for this machine.
    pub fn path(self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.0.as_raw_nonzero()))
    }

    /// The next process of our binary whose environment has a variable that begins like this: the greatest figures of its memory cgroup by the time
    /// it ends, in bytes: all that counts against the limit, and the part of it that cannot be given back (`rss`: no files). `None` if it is `over`
    /// before one was seen.
    pub async fn memory_of_the_next(variable: String, over: Arc<AtomicBool>) -> Option<(u64, u64)> {
        let (mut process, mut all, mut kept) = (None, 0, 0);
        closely(move || {
            process = process.or_else(|| Self::running(&variable));
            match process.map(Self::memory) {
                None => over.load(Ordering::Relaxed).then_some(None),
                Some(Some((now, rss))) if process.is_some_and(|process| process.sees("/")) => {
                    (all, kept) = (all.max(now), kept.max(rss));
                    None
                }
                Some(_) => Some(Some((all, kept))),
            }
        })
        .await
    }

    fn memory(self) -> Option<(u64, u64)> {
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", self.0.as_raw_nonzero())).ok()?;
        let group = groups.lines().find_map(|line| line.split_once(":memory:")).map(|(_, path)| format!("/sys/fs/cgroup/memory{path}"))?;
        let all = fs::read_to_string(format!("{group}/memory.max_usage_in_bytes")).ok()?.trim().parse().ok()?;
        let stat = fs::read_to_string(format!("{group}/memory.stat")).ok()?;
        Some((all, stat.lines().find_map(|line| line.strip_prefix("total_rss "))?.parse().ok()?))
    }

    /// All bytes that the process has read by the time it ends. It is looked at all the time, because nobody keeps the figure.
    pub fn bytes_read_until_its_end(self) -> u64 {
        let file = format!("/proc/{}/io", self.0.as_raw_nonzero());
        let mut last = 0;
        while let Ok(io) = fs::read_to_string(&file) {
            let read = io.lines().find_map(|line| line.strip_prefix("rchar: ")).and_then(|bytes| bytes.parse().ok());
            let Some(read) = read else { break };
            last = read;
            std::thread::yield_now();
        }
        last
    }
}
