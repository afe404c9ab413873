//! What the tests share: a server, a proxy in front of it, volumes, and a way to see whether two trees are the same.

pub(crate) mod altering;
pub(crate) mod beside;
pub(crate) mod cgroup;
pub(crate) mod liar;
pub(crate) mod limits;
pub(crate) mod objects;
pub(crate) mod outsider;
pub(crate) mod packed;
mod ports;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod server;
pub(crate) mod silent;
pub(crate) mod token_service;
pub(crate) mod tree;
pub(crate) mod user_space;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use assert_fs::TempDir;
use jiff::{SignedDuration, Timestamp, ToSpan};
use liar::{Liar, Rule};
use outsider::S3;
use proxy::{Proxy, Request};
use scribe_mover::error::Result;
use scribe_mover::format::documents::Owner;
use scribe_mover::guard::Guard;
use scribe_mover::pull::{PullOptions, PullOutcome, Synced, pull};
use scribe_mover::push::{PushOptions, Pusher, Sizes, push, push_packs};
use scribe_mover::rclone::daemon::Daemon;
use scribe_mover::rclone::options::Direction;
use scribe_mover::rclone::{Rclone, RcloneStore, environment, open};
use scribe_mover::remote::Remote;
use scribe_mover::retention::Retention;
use scribe_mover::stop::Stop;
use scribe_mover::store::progress::Progress;
use scribe_mover::store::{Context, Store};
use scribe_mover::volume::exclude::Exclude;
use server::{Backend, KEY, Server};

/// How a revision lies on the remote. What a test promises of one layout, it promises of both, unless it says why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    Files,
    Packs,
}

impl Layout {
    /// Pushes in this layout.
    pub(crate) fn push(self, remote: &Remote, options: &PushOptions) -> Result<Synced> {
        match self {
            Self::Files => push(remote, options),
            Self::Packs => push_packs(remote, options),
        }
    }

    /// Whether this request reads content that a pull puts in place: that of the file `name`, or of any, where several lie in one object.
    pub(crate) fn fetches(self, request: &Request, name: &str) -> bool {
        match self {
            Self::Files => request.is("GET", &format!("path/{name}")),
            Self::Packs => request.is("GET", "/.scribe/packs/"),
        }
    }

    /// Whether it is the first one of a push after the first look at the volume: what is said or sent of that.
    pub(crate) fn begins(self, request: &Request) -> bool {
        match self {
            Self::Files => request.is("PUT", "/.scribe/manifests/"),
            Self::Packs => request.is("PUT", "/.scribe/claim.json"),
        }
    }

    /// Whether it sends content: that of the file `name`, in place or staged, or of any, where several lie in one object.
    pub(crate) fn sends(self, request: &Request, name: &str) -> bool {
        match self {
            Self::Files => request.method == "PUT" && request.target.split('?').next().unwrap().ends_with(&format!("/{name}")),
            Self::Packs => request.is("PUT", "/.scribe/packs/"),
        }
    }
}

/// The rclone this project is tested with.
pub(crate) fn rclone() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| tool("rclone"))
}

/// What this script of `tests/tools` prints the path of.
fn tool(name: &str) -> PathBuf {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tools").join(name);
    let output = Command::new(tool).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// A path on a server with a proxy in front of it, a Secret that leads there, and two volumes.
pub(crate) struct Site {
    pub(crate) server: Arc<Server>,
    pub(crate) proxy: Proxy,
    pub(crate) secret: TempDir,
    pub(crate) scratch: TempDir,
    pub(crate) source: TempDir,
    pub(crate) dest: TempDir,
    pub(crate) name: String,
    /// Which its source pushes in.
    pub(crate) layout: Layout,
}

impl Drop for Site {
    fn drop(&mut self) {
        // A rule may hold another site, and with it a server.
        self.proxy.behave();
    }
}

impl Site {
    /// A fresh one, whose bucket does not exist.
    pub(crate) fn new() -> Self {
        Self::on(Backend::S3)
    }

    /// On another kind of remote; the section is called s3 all the same.
    pub(crate) fn on(backend: Backend) -> Self {
        let server = Server::start(backend);
        let name = format!("s3:{}", server.path(&format!("{}/path", server.bucket)));
        Self::at(&Arc::new(server), &name)
    }

    /// A path on this server, with a proxy and volumes of its own.
    pub(crate) fn at(server: &Arc<Server>, name: &str) -> Self {
        let dir = || TempDir::new().unwrap();
        let (proxy, server) = (Proxy::start(&server.address), Arc::clone(server));
        let site =
            Self { server, proxy, secret: dir(), scratch: dir(), source: dir(), dest: dir(), name: name.into(), layout: Layout::Files };
        site.write_secret(&site.address(), KEY);
        site
    }

    /// The same, whose source pushes in this layout.
    pub(crate) fn of(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// One whose bucket exists.
    pub(crate) fn with_bucket() -> Self {
        let site = Self::new();
        site.make_bucket();
        site
    }

    /// One whose bucket exists and may keep versions, on a server that can.
    pub(crate) fn of_outsider(versions: bool) -> Self {
        let mut server = Server::of(S3::outsider(), TempDir::new().unwrap());
        server.versions = versions;
        let name = format!("s3:{}/path", server.bucket);
        let site = Self::at(&Arc::new(server), &name);
        site.make_bucket();
        site
    }

    /// Where the Secret leads: to the proxy, which speaks HTTP alone.
    pub(crate) fn address(&self) -> String {
        match self.server.backend {
            Backend::Sftp | Backend::Local => self.server.address.clone(),
            Backend::S3 | Backend::WebDav => self.proxy.address(),
        }
    }

    pub(crate) fn write_secret(&self, address: &str, key: &str) {
        let conf = format!("[s3]\n{}", self.server.section(address, key));
        std::fs::write(self.secret.path().join("rclone.conf"), conf).unwrap();
    }

    pub(crate) fn remote(&self) -> Remote {
        remote(self.secret.path(), &self.name)
    }

    /// One that lies, or is killed, where `rule` says.
    pub(crate) fn lying(&self, rule: Rule) -> Remote {
        let (context, store) = store(self.secret.path(), &self.name);
        Remote::new(context, Box::new(Liar::new(store, rule)), &self.name)
    }

    /// One that stores these names under another one.
    pub(crate) fn altering(&self, alter: altering::Alter) -> Remote {
        let (context, store) = store(self.secret.path(), &self.name);
        Remote::new(context, Box::new(altering::Altering { store, alter }), &self.name)
    }

    /// The same, at which this rule applies.
    pub(crate) fn altering_by(&self, alter: altering::Alter, rule: Rule) -> Remote {
        let (context, store) = store(self.secret.path(), &self.name);
        Remote::new(context, Box::new(Liar::new(Box::new(altering::Altering { store, alter }), rule)), &self.name)
    }

    /// The rclone of another section of the configuration.
    pub(crate) fn rclone_of(&self, section: &str) -> Rclone {
        opened(self.secret.path(), section).unwrap().0
    }

    /// Adds a section that encrypts what goes below the folder `enc` of the bucket.
    pub(crate) fn encrypt(&self) {
        let conf = self.secret.path().join("rclone.conf");
        let old = std::fs::read_to_string(&conf).unwrap();
        std::fs::write(conf, format!("{old}\n[enc]\ntype = crypt\nremote = s3:bucket/enc\npassword = {}\n", server::obscured())).unwrap();
    }

    /// Options of a push some time after the last change of the volume, so that hints count.
    pub(crate) fn push_options(&self) -> PushOptions {
        push_options(self.source.path())
    }

    pub(crate) fn pull_options(&self) -> PullOptions {
        PullOptions { volume: self.dest.path().into(), applied: None, private: true, guard: guard() }
    }

    pub(crate) fn try_push(&self) -> Result<Synced> {
        self.push_by(&self.push_options())
    }

    /// Pushes with these options.
    pub(crate) fn push_by(&self, options: &PushOptions) -> Result<Synced> {
        self.layout.push(&self.remote(), options)
    }

    pub(crate) fn push(&self) -> Synced {
        self.try_push().unwrap()
    }

    pub(crate) fn try_pull(&self) -> Result<PullOutcome> {
        pull(&self.remote(), &self.pull_options())
    }

    pub(crate) fn pull(&self) -> Synced {
        done(self.try_pull())
    }
}

/// A remote that is a directory, and two volumes, all of them in memory: many syncs in little time.
pub(crate) struct Local {
    pub(crate) secret: TempDir,
    pub(crate) bucket: TempDir,
    pub(crate) source: TempDir,
    pub(crate) dest: TempDir,
}

impl Local {
    pub(crate) fn new() -> Self {
        let dir = || TempDir::new_in("/dev/shm").unwrap();
        let site = Self { secret: dir(), bucket: dir(), source: dir(), dest: dir() };
        std::fs::write(site.secret.path().join("rclone.conf"), "[dir]\ntype = local\n").unwrap();
        site
    }

    pub(crate) fn remote(&self) -> Remote {
        remote(self.secret.path(), &format!("dir:{}", self.bucket.path().display()))
    }

    /// As [`Site::push_options`].
    pub(crate) fn push_options(&self) -> PushOptions {
        push_options(self.source.path())
    }
}

fn remote(secret: &Path, name: &str) -> Remote {
    let (context, store) = store(secret, name);
    Remote::new(context, store, name)
}

fn store(secret: &Path, name: &str) -> (Context, Box<dyn Store>) {
    let opened = opened(secret, name.split(':').next().unwrap()).unwrap();
    (opened.0.context.clone(), Box::new(RcloneStore::new(opened, name)))
}

/// rclone for a section of this Secret.
pub(crate) fn opened(secret: &Path, section: &str) -> Result<(Rclone, Daemon)> {
    let environment = environment::from_mount(secret, Some("creds"), &[])?.tuned(None, Direction::Push);
    let context = Context::new(Stop::default(), Progress::default()).unwrap();
    open(Rclone { binary: rclone().into(), program: program::program(), environment, context }, section)
}

fn push_options(volume: &Path) -> PushOptions {
    let started = Timestamp::now() + 150.seconds();
    PushOptions {
        volume: volume.into(),
        exclude: Exclude::default(),
        pusher: Pusher { owner: owner("db", "uid-1"), pushed: None, adopt: false, adopt_state: None, adopted_state: OnceLock::default() },
        data_time: started,
        started,
        verify_interval: SignedDuration::from_hours(24),
        verify_now: false,
        rehash_interval: SignedDuration::from_hours(168),
        // What else is written by a push that finds nothing new is counted.
        heartbeat_interval: SignedDuration::MAX,
        guard: guard(),
        retention: Retention::last(1),
        sizes: Sizes::default(),
    }
}

pub(crate) fn done(outcome: Result<PullOutcome>) -> Synced {
    match outcome.unwrap() {
        PullOutcome::Done(pulled) => pulled,
        PullOutcome::WaitingForFirstPush => panic!("nothing was pushed"),
    }
}

pub(crate) fn owner(name: &str, uid: &str) -> Owner {
    Owner { namespace: "shop".into(), name: name.into(), uid: uid.into() }
}

pub(crate) fn guard() -> Guard {
    Guard { percent: 90, floor: 10, allowed: None }
}
