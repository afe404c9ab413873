//! A place to measure in: an S3 server, the proxy in front of it, a source volume, and a destination volume for each contender.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::proxy::Proxy;

/// The key of the server, which holds nothing of worth.
pub const KEY: &str = "AKIDFORBENCH";
/// Its secret.
pub const SECRET: &str = "secret-for-the-bench-only";

/// The place; gone with all it holds when dropped.
pub struct Site {
    /// In front of the server.
    pub proxy: Proxy,
    /// The rclone binary.
    pub rclone: PathBuf,
    server: Child,
    dir: PathBuf,
}

impl Drop for Site {
    fn drop(&mut self) {
        let ended = self.server.kill().and_then(|()| self.server.wait().map(drop));
        if let Err(error) = ended.and_then(|()| std::fs::remove_dir_all(&self.dir)) {
            eprintln!("cannot clean up {}: {error}", self.dir.display());
        }
    }
}

impl Site {
    /// A fresh one below `work`, which must be on a disk.
    pub fn new(work: &Path, rclone: &Path) -> Result<Self> {
        let dir = work.join(format!("scribe-bench-{}", std::process::id()));
        for name in ["buckets/bucket", "secret", "source/data", "ours/data", "peer/data", "tmp"] {
            std::fs::create_dir_all(dir.join(name)).with_context(|| format!("make {}", dir.join(name).display()))?;
        }
        let mut server = Command::new(rclone)
            .args(["serve", "s3", "--addr", "127.0.0.1:0", "--auth-key", &format!("{KEY},{SECRET}")])
            .arg(dir.join("buckets"))
            .env("RCLONE_CONFIG", "/dev/null")
            .stderr(Stdio::piped())
            .spawn()
            .context("start rclone serve s3")?;
        let mut lines = BufReader::new(server.stderr.take().context("no log")?).lines().map_while(Result::ok);
        let address = lines.find_map(|line| Some(line.split_once("http://")?.1.split_once('/')?.0.to_owned()));
        // Else a full pipe would stop the server.
        std::thread::spawn(move || lines.for_each(drop));
        let proxy = Proxy::start(&address.context("the server does not say where it listens")?)?;
        let conf = format!(
            "[s3]\ntype = s3\nprovider = Rclone\nendpoint = http://{}\naccess_key_id = {KEY}\nsecret_access_key = {SECRET}\nregion = us-east-1\n",
            proxy.address()
        );
        std::fs::write(dir.join("secret/rclone.conf"), conf)?;
        Ok(Self { proxy, rclone: rclone.to_owned(), server, dir })
    }

    /// The volume that both push.
    pub fn source(&self) -> PathBuf {
        self.dir.join("source/data")
    }

    /// The volume that `contender` pulls into.
    pub fn dest(&self, contender: &str) -> PathBuf {
        self.dir.join(contender).join("data")
    }

    /// The mounted Secret.
    pub fn secret(&self) -> PathBuf {
        self.dir.join("secret")
    }

    /// For temporary files.
    pub fn tmp(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    /// Where the server keeps what lies below `contender`'s path.
    pub fn objects(&self, contender: &str) -> PathBuf {
        self.dir.join("buckets/bucket").join(contender)
    }
}
