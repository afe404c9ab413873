//! The agent's binary as a process that is started again when it ends, as a kubelet would.

use serde_json::json;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The process. Ended when dropped.
pub struct Agent {
    stop: Arc<AtomicBool>,
    starts: Arc<AtomicUsize>,
    again: Arc<AtomicBool>,
    log: PathBuf,
    keeper: Option<std::thread::JoinHandle<()>>,
}

/// How an agent is started.
pub struct Launch<'a> {
    /// Folder for its files.
    pub dir: &'a Path,
    /// The API server, or what stands before it.
    pub server: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its settings.
    pub settings: &'a str,
}

impl Agent {
    /// File with the token that it shows the server.
    pub fn token_file(dir: &Path) -> PathBuf {
        dir.join("token")
    }

    /// How it is run, and its log.
    pub fn command(launch: &Launch) -> (Command, PathBuf) {
        let path = |name: &str| launch.dir.join(name);
        let token = Agent::token_file(launch.dir);
        fs::write(&token, "first-token").unwrap();
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{ "name": "it", "cluster": { "server": launch.server } }],
            "users": [{ "name": "agent", "user": { "tokenFile": token } }],
            "contexts": [{ "name": "it", "context": { "cluster": "it", "user": "agent" } }],
        });
        fs::write(path("agent.kubeconfig"), kubeconfig.to_string()).unwrap();
        fs::write(path("agent.yaml"), launch.settings).unwrap();
        let log = path("agent.log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_scribe-agent"));
        command
            .args(["run", "--listen", "127.0.0.1:0", "--namespace", launch.namespace, "--pod", super::site::POD])
            .arg("--config")
            .arg(path("agent.yaml"))
            .env("KUBECONFIG", path("agent.kubeconfig"))
            .env("RUST_LOG", format!("{},scribe_agent=debug", scribe_agent::agent::LOG))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap());
        (command, log)
    }

    /// Starts it.
    pub fn start(launch: &Launch) -> Agent {
        let (mut command, log) = Agent::command(launch);
        let (stop, again) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let starts = Arc::new(AtomicUsize::new(0));
        let keeper = std::thread::spawn({
            let (stop, starts, again) = (stop.clone(), starts.clone(), again.clone());
            move || keep(&mut command, &stop, &starts, &again)
        });
        Agent { stop, starts, again, log, keeper: Some(keeper) }
    }

    /// How often it was started.
    pub fn starts(&self) -> usize {
        self.starts.load(Ordering::Relaxed)
    }

    /// Ends it without a warning. It is started again.
    pub fn kill(&self) {
        self.again.store(true, Ordering::Relaxed);
    }

    /// All that it has said since it was started the last time.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

fn keep(command: &mut Command, stop: &AtomicBool, starts: &AtomicUsize, again: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let mut child: Child = command.spawn().unwrap();
        starts.fetch_add(1, Ordering::Relaxed);
        while child.try_wait().unwrap().is_none() {
            if stop.load(Ordering::Relaxed) || again.swap(false, Ordering::Relaxed) {
                let _ = child.kill();
            }
            std::thread::park_timeout(std::time::Duration::from_millis(100));
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(keeper) = self.keeper.take() {
            keeper.thread().unpark();
            let _ = keeper.join();
        }
        if std::thread::panicking() {
            let log = self.log();
            let end: Vec<_> = log.lines().rev().take(60).collect();
            eprintln!("the agent's last words:\n{}", end.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
    }
}
