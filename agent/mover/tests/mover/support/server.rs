//! The servers that stand for a remote: an rclone of its own on a port the kernel picks, or another one's program.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use assert_fs::TempDir;

use super::outsider::{Outsider, S3};
use super::rclone;

pub(crate) const KEY: &str = "AKIDFORTESTS";
pub(crate) const SECRET: &str = "secret-for-tests-only";

/// What a remote may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    S3,
    WebDav,
    Sftp,
    Local,
}

/// A remote. Buckets are the folders of a directory, except SeaweedFS's.
pub(crate) struct Server {
    pub(crate) backend: Backend,
    /// Whose, if it is S3.
    pub(crate) s3: S3,
    /// Whether the bucket keeps versions.
    pub(crate) versions: bool,
    #[expect(dead_code, reason = "held for its drop")]
    process: Process,
    #[expect(dead_code, reason = "held for its drop, which comes with that of the last server that it stands behind")]
    outsider: Option<Arc<Outsider>>,
    /// Host and port; empty where there is no server.
    pub(crate) address: String,
    pub(crate) buckets: TempDir,
    /// The bucket of a site of its own.
    pub(crate) bucket: String,
}

/// Ended when dropped.
struct Process(Option<Child>);

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(process) = &mut self.0 {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Server {
    /// With no bucket.
    pub(crate) fn start(backend: Backend) -> Self {
        Self::on(backend, TempDir::new().unwrap())
    }

    /// A WebDAV server that does not tell upper from lower case, and does not say so.
    pub(crate) fn folding() -> Self {
        Self::with(Backend::WebDav, TempDir::new().unwrap(), &["--vfs-case-insensitive"])
    }

    /// rclone's S3 server with a certificate and its key.
    pub(crate) fn secured(certificate: &Path, key: &Path) -> Self {
        let more = ["--cert", certificate.to_str().unwrap(), "--key", key.to_str().unwrap()];
        Self::with(Backend::S3, TempDir::new().unwrap(), &more)
    }

    /// With the folders of this directory as buckets. What is put there later goes unseen by a server that has looked before.
    pub(crate) fn on(backend: Backend, buckets: TempDir) -> Self {
        if backend == Backend::S3 { Self::of(S3::chosen(), buckets) } else { Self::with(backend, buckets, &[]) }
    }

    /// An S3 server of this kind.
    pub(crate) fn of(s3: S3, buckets: TempDir) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (outsider, bucket) = match s3 {
            S3::Rclone => return Self::with(Backend::S3, buckets, &[]),
            S3::Versity => (Arc::new(Outsider::versity(buckets.path())), "bucket".to_owned()),
            // Others use it, too.
            S3::SeaweedFs => (Outsider::seaweedfs(), format!("bucket-{}", NEXT.fetch_add(1, Ordering::Relaxed))),
        };
        let address = format!("127.0.0.1:{}", outsider.port);
        Self { s3, bucket, outsider: Some(outsider), ..Self::new(Backend::S3, None, address, buckets) }
    }

    fn new(backend: Backend, process: Option<Child>, address: String, buckets: TempDir) -> Self {
        let (s3, bucket) = (S3::Rclone, "bucket".to_owned());
        Self { backend, s3, versions: false, process: Process(process), outsider: None, address, buckets, bucket }
    }

    fn with(backend: Backend, buckets: TempDir, more: &[&str]) -> Self {
        let mut command = Command::new(rclone());
        let mark = match backend {
            Backend::Local => return Self::new(backend, None, String::new(), buckets),
            Backend::S3 => {
                // To S3, names that differ only in Unicode normal form are different names; to this server they are one unless told so.
                command.args(["serve", "s3", "--no-unicode-normalization", "--auth-key", &format!("{KEY},{SECRET}")]);
                "://"
            }
            Backend::WebDav => {
                command.args(["serve", "webdav", "--no-unicode-normalization", "--user", KEY, "--pass", SECRET]);
                "http://"
            }
            Backend::Sftp => {
                command.args(["serve", "sftp", "--no-unicode-normalization", "--user", KEY, "--pass", SECRET]);
                "listening on "
            }
        };
        command.args(more).args(["--addr", "127.0.0.1:0"]).arg(buckets.path()).stderr(Stdio::piped());
        command.env("RCLONE_CONFIG", "/dev/null").env("RCLONE_CACHE_DIR", buckets.path().join(".cache"));
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map(|line| line.unwrap())
            .find_map(|line| Some(line.split_once(mark)?.1.split('/').next()?.trim().to_owned()))
            .unwrap();
        // Else a full pipe would stop the server.
        std::thread::spawn(move || lines.for_each(drop));
        Self::new(backend, Some(process), address, buckets)
    }

    /// The section of an rclone configuration that leads here, through `address`.
    pub(crate) fn section(&self, address: &str, key: &str) -> String {
        let (host, port) = address.split_once(':').unwrap_or_default();
        match self.backend {
            Backend::S3 => format!(
                "type = s3\nprovider = {}\nendpoint = http://{address}\naccess_key_id = {key}\nsecret_access_key = {SECRET}\nregion = us-east-1\n",
                self.s3.provider()
            ),
            Backend::WebDav => format!("type = webdav\nurl = http://{address}\nvendor = rclone\nuser = {key}\npass = {}\n", obscured()),
            Backend::Sftp => format!("type = sftp\nhost = {host}\nport = {port}\nuser = {key}\npass = {}\n", obscured()),
            Backend::Local => "type = local\n".to_owned(),
        }
    }

    /// Where a path in a bucket is, below the section.
    pub(crate) fn path(&self, below: &str) -> String {
        match self.backend {
            Backend::Local => self.buckets.path().join(below).to_str().unwrap().to_owned(),
            _ => below.to_owned(),
        }
    }
}

/// The secret as rclone keeps it in its configuration.
pub(crate) fn obscured() -> String {
    let output = Command::new(rclone()).args(["obscure", SECRET]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
