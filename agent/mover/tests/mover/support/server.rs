//! The servers that stand for a remote, each an rclone of its own on a port the kernel picks.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use assert_fs::TempDir;

use super::rclone;

pub(crate) const KEY: &str = "AKIDFORTESTS";
pub(crate) const SECRET: &str = "secret-for-tests-only";

/// An S3 server; buckets are the folders of a directory.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: String,
    pub(crate) buckets: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// With no bucket.
    pub(crate) fn start() -> Self {
        Self::on(TempDir::new().unwrap())
    }

    /// With the folders of this directory as buckets. What is put there later goes unseen by a server that has looked before.
    pub(crate) fn on(buckets: TempDir) -> Self {
        let mut process = Command::new(rclone())
            // To S3, names that differ only in Unicode normal form are different names; to this server they are one unless told so.
            .args(["serve", "s3", "--no-unicode-normalization", "--addr", "127.0.0.1:0", "--auth-key", &format!("{KEY},{SECRET}")])
            .arg(buckets.path())
            .env("RCLONE_CONFIG", "/dev/null")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map(|line| line.unwrap())
            .find_map(|line| Some(line.split_once("http://")?.1.split_once('/')?.0.to_owned()))
            .unwrap();
        // Else a full pipe would stop the server.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address, buckets }
    }
}
