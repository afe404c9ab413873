//! S3 servers that nobody here wrote: how each is started, and what is known of it.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use assert_fs::TempDir;

use super::ports::free_ports;
use super::server::{KEY, SECRET};

/// Whose server stands behind [`super::server::Backend::S3`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum S3 {
    /// `rclone serve s3`: quick, and by the authors of the client.
    Rclone,
    /// versitygw: objects are files of a directory.
    Versity,
    /// SeaweedFS: objects are in a store of its own.
    SeaweedFs,
}

impl S3 {
    /// The one that `S3_SERVER` names: `tests/tools/s3-servers` runs a part of these tests with each of the others, too.
    pub(crate) fn chosen() -> Self {
        match std::env::var("S3_SERVER").as_deref() {
            Err(_) => Self::Rclone,
            Ok("versitygw") => Self::Versity,
            Ok("seaweedfs") => Self::SeaweedFs,
            Ok(other) => panic!("S3_SERVER is {other:?}, which is none of versitygw and seaweedfs"),
        }
    }

    /// One that keeps versions and markers of folders: the chosen one, unless that is rclone's.
    pub(crate) fn outsider() -> Self {
        match Self::chosen() {
            Self::Rclone => Self::Versity,
            outsider => outsider,
        }
    }

    /// What rclone calls it: for one that it does not know, what its users have to write.
    pub(crate) fn provider(self) -> &'static str {
        match self {
            Self::Rclone => "Rclone",
            Self::Versity => "Other",
            Self::SeaweedFs => "SeaweedFS",
        }
    }
}

/// A server of another one's, ended when dropped.
#[derive(Debug)]
pub(crate) struct Outsider {
    process: Child,
    pub(crate) port: u16,
    /// What is not in its buckets: versions, configuration, log.
    dir: TempDir,
}

impl Drop for Outsider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Outsider {
    pub(crate) fn versity(buckets: &Path) -> Self {
        let (dir, [port]) = (TempDir::new().unwrap(), free_ports());
        let versions = dir.path().join("versions");
        fs::create_dir(&versions).unwrap();
        let mut command = Command::new(tool("versitygw"));
        command.env("ROOT_ACCESS_KEY_ID", KEY).env("ROOT_SECRET_ACCESS_KEY", SECRET).env("VGW_PORT", format!("127.0.0.1:{port}"));
        command.args(["posix", "--versioning-dir"]).arg(versions).arg(buckets);
        Self::start(&mut command, dir, port)
    }

    /// The one of all tests that run at the same time, because its start takes seconds.
    pub(crate) fn seaweedfs() -> Arc<Self> {
        static RUNNING: Mutex<Weak<Outsider>> = Mutex::new(Weak::new());
        let mut running = RUNNING.lock().unwrap();
        running.upgrade().unwrap_or_else(|| {
            let started = Arc::new(Self::start_seaweedfs());
            *running = Arc::downgrade(&started);
            started
        })
    }

    fn start_seaweedfs() -> Self {
        let (dir, ports) = (TempDir::new().unwrap(), free_ports::<8>());
        let [master, _, volume, _, filer, _, port, _] = ports;
        let identity = serde_json::json!({ "identities": [{
            "name": "tests", "credentials": [{ "accessKey": KEY, "secretKey": SECRET }], "actions": ["Admin", "Read", "Write", "List"],
        }] });
        let config = dir.path().join("s3.json");
        fs::write(&config, identity.to_string()).unwrap();
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        let mut command = Command::new(tool("seaweedfs"));
        // A bucket takes seven volumes, and there are many buckets.
        command.env("WEED_MASTER_VOLUME_GROWTH_COPY_1", "1").args([
            "server",
            "-s3",
            "-volume.max=300",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
        ]);
        for (name, port) in [
            "master.port",
            "master.port.grpc",
            "volume.port",
            "volume.port.grpc",
            "filer.port",
            "filer.port.grpc",
            "s3.port",
            "s3.port.grpc",
        ]
        .iter()
        .zip(ports)
        {
            command.arg(format!("-{name}={port}"));
        }
        command.arg(format!("-dir={}", data.display())).arg(format!("-s3.config={}", config.display())).current_dir(dir.path());
        let mut server = Self::start(&mut command, dir, port);
        for port in [master, volume, filer] {
            server.listens(port);
        }
        server
    }

    fn start(command: &mut Command, dir: TempDir, port: u16) -> Self {
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let process = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let mut server = Self { process, port, dir };
        server.listens(port);
        server
    }

    /// Waits until somebody answers there.
    fn listens(&mut self, port: u16) {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let dead = self.process.try_wait().unwrap().is_some();
            assert!(!dead && began.elapsed() < Duration::from_secs(60), "does not come up:\n{}", self.log());
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// The end of what it said.
    pub(crate) fn log(&self) -> String {
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

/// The program that this script of `tests/tools` gets.
fn tool(name: &str) -> PathBuf {
    static PATHS: [OnceLock<PathBuf>; 2] = [const { OnceLock::new() }; 2];
    PATHS[usize::from(name == "versitygw")].get_or_init(|| super::tool(name)).clone()
}
