//! What lies on a remote, and how it is altered, behind the mover's back.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::outsider::S3;
use super::server::Backend;
use super::{Layout, Site, rclone};

impl Site {
    /// Makes the bucket, on the server alone.
    pub(crate) fn make_bucket(&self) {
        let bucket = format!("s3:{}", self.server.bucket);
        match (self.server.backend, self.server.s3) {
            // One that is found among its files is none to such a server.
            (Backend::S3, S3::Versity | S3::SeaweedFs) => drop(self.by_hand(&["mkdir", &bucket])),
            _ => std::fs::create_dir(self.server.buckets.path().join(&self.server.bucket)).unwrap(),
        }
        if self.server.versions {
            self.by_hand(&["backend", "versioning", &bucket, "Enabled"]);
        }
    }

    /// Alters the bucket behind the mover's back: rclone's server is told, because it remembers what it has seen.
    pub(crate) fn meddle(&self, verb: &str, name: &str, content: &[u8]) {
        let mut child = self.rclone(&[verb, &format!("{}/{name}", self.name)]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(content).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// What rclone prints, past the proxy.
    pub(crate) fn by_hand(&self, args: &[&str]) -> Vec<u8> {
        let output = self.past_the_proxy(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn past_the_proxy(&self, args: &[&str]) -> Output {
        self.rclone(args).env("RCLONE_CONFIG_S3_ENDPOINT", format!("http://{}", self.server.address)).output().unwrap()
    }

    fn rclone(&self, args: &[&str]) -> Command {
        let mut command = Command::new(rclone());
        command.args(args).env("RCLONE_CONFIG", self.secret.path().join("rclone.conf"));
        command
    }

    /// Where the server keeps an object.
    pub(crate) fn object(&self, name: &str) -> PathBuf {
        assert!(self.in_files(), "this server keeps objects in no files: ask it");
        self.server.buckets.path().join(self.name.split_once(':').unwrap().1).join(name)
    }

    /// Whether an object is a file of the same name.
    fn in_files(&self) -> bool {
        !(self.server.backend == Backend::S3 && self.server.s3 == S3::SeaweedFs || self.server.versions)
    }

    /// The content of an object, if it is there.
    pub(crate) fn read(&self, name: &str) -> Option<Vec<u8>> {
        if self.in_files() {
            return std::fs::read(self.object(name)).ok();
        }
        let there = self.names("").iter().any(|there| there == name);
        there.then(|| self.by_hand(&["cat", &format!("{}/{name}", self.name)]))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.read(name).is_some()
    }

    /// Names below the path, ours left out.
    pub(crate) fn user_objects(&self) -> Vec<String> {
        self.names("").into_iter().filter(|name| !name.starts_with(".scribe/")).collect()
    }

    /// That files lie under their own names: these, or in layout Packs none.
    pub(crate) fn assert_user_objects(&self, names: &[&str]) {
        let expected = if self.layout == Layout::Files { names } else { &[] };
        assert_eq!(self.user_objects(), expected);
    }

    /// That this revision is the committed one, and nothing is left of a push: in layout Packs, what it replaced stays for a while.
    pub(crate) fn assert_tidy(&self, revision: &str) {
        self.assert_only(revision, |_| true);
    }

    /// The same, where files of odd names lie under their hashes.
    pub(crate) fn assert_tidy_but_for_content(&self, revision: &str) {
        self.assert_only(revision, |name| !name.starts_with("objects/"));
    }

    fn assert_only(&self, revision: &str, counts: fn(&str) -> bool) {
        let manifest = format!("manifests/{revision}.zst");
        let mut control = self.control_objects();
        control.retain(|name| counts(name));
        if self.layout == Layout::Packs {
            control.retain(|name| *name == manifest || !["manifests/", "packs/", "runs/"].iter().any(|folder| name.starts_with(folder)));
        }
        assert_eq!(control, ["commit.json".to_owned(), manifest]);
    }

    /// Names of our own objects.
    pub(crate) fn control_objects(&self) -> Vec<String> {
        self.names("").iter().filter_map(|name| name.strip_prefix(".scribe/")).map(str::to_owned).collect()
    }

    fn names(&self, below: &str) -> Vec<String> {
        let mut names = if self.in_files() { files(&self.object(below)) } else { self.listed(below) };
        names.sort();
        names
    }

    fn listed(&self, below: &str) -> Vec<String> {
        let output = self.past_the_proxy(&["lsf", "-R", "--files-only", &format!("{}/{below}", self.name)]);
        // 3: there is no such bucket, or folder.
        assert!(matches!(output.status.code(), Some(0 | 3)), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

fn files(root: &Path) -> Vec<String> {
    if !root.exists() {
        return Vec::new();
    }
    let entries = walkdir::WalkDir::new(root).into_iter().map(|entry| entry.unwrap()).filter(|entry| entry.file_type().is_file());
    entries.map(|entry| entry.path().strip_prefix(root).unwrap().to_string_lossy().into_owned()).collect()
}
