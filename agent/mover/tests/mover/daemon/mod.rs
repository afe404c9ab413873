//! The verbs of rclone's daemon: what they do, and what they cost in requests.

mod bulk;
mod calls;
mod folders;
mod objects;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;

use scribe_mover::rclone::daemon::{Check, Daemon, Found, Fs, Links};
use scribe_mover::scratch::Scratch;
use scribe_mover::store::List;

use crate::support::Site;
use crate::support::server::Backend;

/// A daemon for a path of a site that has its bucket, and a folder for files.
struct At {
    site: Site,
    daemon: Daemon,
    fs: Fs,
    files: Scratch,
}

impl At {
    fn new(backend: Backend) -> Self {
        let site = Site::on(backend);
        fs::create_dir(site.server.buckets.path().join("bucket")).unwrap();
        Self::of(site, None)
    }

    fn of(site: Site, root: Option<&str>) -> Self {
        let root = root.map_or_else(|| site.name.clone(), str::to_owned);
        let rclone = site.rclone_of(root.split(':').next().unwrap());
        let daemon = Daemon::start(&rclone).unwrap();
        let fs = daemon.fs(&root);
        Self { site, daemon, fs, files: Scratch::new().unwrap() }
    }

    fn encrypted() -> Self {
        let site = Site::with_bucket();
        site.encrypt();
        Self::of(site, Some("enc:path"))
    }

    fn file(&self, content: &[u8]) -> PathBuf {
        let path = self.files.fresh("file");
        fs::write(&path, content).unwrap();
        path
    }

    fn put(&self, name: &str, content: &[u8]) {
        self.daemon.write(&self.file(content), &self.fs, name, Check::Rclone).unwrap();
    }

    fn get(&self, name: &str) -> Option<Vec<u8>> {
        let to = self.files.fresh("got");
        match self.daemon.read(&self.fs, name, &to, 1 << 30).unwrap() {
            Found::Content => Some(fs::read(to).unwrap()),
            Found::Absent => {
                assert!(!to.exists());
                None
            }
        }
    }

    /// Sends these under their own names.
    fn links(&self, names: &[&str]) -> Links {
        let mut links = Links::new(&self.files).unwrap();
        for name in names {
            links.add(name.as_bytes(), File::open(self.file(name.as_bytes())).unwrap()).unwrap();
        }
        links
    }

    fn names(&self) -> Vec<String> {
        let listed = self.daemon.list(&self.fs, List { recursive: true, ..List::default() }).unwrap().unwrap_or_default();
        let mut names: Vec<String> = listed.into_iter().filter(|item| !item.is_folder).map(|item| item.name).collect();
        names.sort();
        names
    }

    /// The requests since the last time, by method.
    fn cost(&self) -> BTreeMap<String, usize> {
        self.site.proxy.take().into_iter().fold(BTreeMap::new(), |mut count, request| {
            *count.entry(request.method).or_default() += 1;
            count
        })
    }
}

fn cost(of: &[(&str, usize)]) -> BTreeMap<String, usize> {
    of.iter().map(|(method, count)| ((*method).to_owned(), *count)).collect()
}

fn bytes<'a>(names: &[&'a str]) -> Vec<&'a [u8]> {
    names.iter().map(|name| name.as_bytes()).collect()
}
