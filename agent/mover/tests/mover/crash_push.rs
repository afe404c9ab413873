//! A push that dies at any of its requests: what it leaves is one whole revision, and the next push makes all of it good.
//!
//! Mover and rclone are killed together, before a request or after it took effect, at one request after the other, until a push ends
//! undisturbed. What each crash leaves on the remote is a state; each state that is unlike those before is pulled and pushed over.
//!
//! Of layout Files; pushes of the other one are killed between any two writes in `packs_push/crashes`, and over any switch in
//! `packs_push/switching_killed`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use assert_fs::TempDir;
use rstest::rstest;
use scribe_mover::format::documents::{Claim, Commit, Control, unseal};
use scribe_mover::pull::{PullOptions, pull};
use scribe_mover::push::{PushOptions, push};

use crate::support::program::{Group, mover};
use crate::support::proxy::{Action, Request, When};
use crate::support::server::{Backend, Server};
use crate::support::tree::{copy, snapshot, write};
use crate::support::{Site, done, owner};

/// More than any of these pushes has requests.
const MOST: usize = 120;

type Tree = BTreeMap<Vec<u8>, String>;

/// What a push that dies is about.
struct Ground {
    /// Where the path's objects are kept before it.
    remote: PathBuf,
    /// The tree that is committed there.
    old: Tree,
    /// The revision that the pushing object knows that it pushed last.
    known: String,
    /// What is pushed.
    source: PathBuf,
    new: Tree,
}

fn old_tree(root: &Path) {
    for name in ["keep", "deep/replaced", "deep/deleted", "file becomes folder", "folder becomes file/a/b"] {
        write(root, name, format!("old {name}"));
    }
    for name in ["odd\nkept", "odd\nreplaced", "odd\ndeleted"] {
        write(root, name, format!("old {name}"));
    }
    symlink("keep", root.join("link")).unwrap();
    fs::hard_link(root.join("keep"), root.join("second name")).unwrap();
}

fn new_tree(root: &Path) {
    fs::remove_file(root.join("deep/deleted")).unwrap();
    fs::remove_file(root.join("odd\ndeleted")).unwrap();
    fs::remove_file(root.join("file becomes folder")).unwrap();
    fs::remove_dir_all(root.join("folder becomes file")).unwrap();
    for name in ["deep/replaced", "added", "file becomes folder/x/y", "folder becomes file", "odd\nreplaced", "odd\nadded"] {
        write(root, name, format!("new {name}"));
    }
}

fn newest_tree(root: &Path) {
    fs::remove_file(root.join("added")).unwrap();
    fs::remove_dir_all(root.join("file becomes folder")).unwrap();
    fs::remove_file(root.join("odd\nadded")).unwrap();
    for name in ["deep/replaced", "file becomes folder", "deep/deleted", "odd\nreplaced", "added later"] {
        write(root, name, format!("newest {name}"));
    }
}

/// What a path holds, in words that do not depend on when it was pushed; revisions other than `base` are all alike.
fn remains(path: &Path, base: &str) -> BTreeMap<String, String> {
    let which = |revision: &str| if revision == base { "base" } else { "later" };
    let mut remains = BTreeMap::new();
    for entry in walkdir::WalkDir::new(path).into_iter().map(|entry| entry.unwrap()).filter(|entry| entry.file_type().is_file()) {
        let name = entry.path().strip_prefix(path).unwrap().to_str().unwrap();
        let content = fs::read(entry.path()).unwrap();
        let (name, what) = match name.strip_prefix(".scribe/") {
            Some("commit.json") => match unseal::<Commit>(&content).unwrap() {
                Control::Present(commit) => (name.to_owned(), format!("{} staged: {}", which(&commit.revision), commit.staged)),
                broken => panic!("{broken:?}"),
            },
            Some("claim.json") => match unseal::<Claim>(&content).unwrap() {
                Control::Present(_) => (name.to_owned(), String::new()),
                broken => panic!("{broken:?}"),
            },
            Some(ours) if ours.starts_with("manifests/") || ours.starts_with("staged/") => {
                let (kind, rest) = ours.split_once('/').unwrap();
                let end = rest.find(['/', '.']).unwrap();
                (format!("{kind} {} {}", which(&rest[..end]), &rest[end..]), String::new())
            }
            _ => (name.to_owned(), String::from_utf8(content).unwrap()),
        };
        remains.insert(name, what);
    }
    remains
}

fn revision(path: &Path) -> Option<String> {
    match unseal::<Commit>(&fs::read(path.join(".scribe/commit.json")).ok()?).unwrap() {
        Control::Present(commit) => Some(commit.revision),
        broken => panic!("{broken:?}"),
    }
}

/// A folder of buckets, each to hold a copy of `remote` once it is used, and a server that has not looked into them yet.
struct Copies<'a> {
    server: Arc<Server>,
    remote: &'a Path,
    next: AtomicUsize,
}

impl<'a> Copies<'a> {
    fn of(remote: &'a Path) -> Self {
        let buckets = TempDir::new().unwrap();
        for number in 0..MOST {
            fs::create_dir(buckets.path().join(format!("copy-{number}"))).unwrap();
        }
        Self { server: Arc::new(Server::on(Backend::S3, buckets)), remote, next: AtomicUsize::new(0) }
    }

    fn next(&self) -> Site {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let site = Site::at(&self.server, &format!("s3:copy-{number}/path"));
        copy(self.remote, &site.object(""));
        site
    }
}

/// Kills a push at its `n`-th request on a copy of the path: whether it got so far.
fn dies(site: &Site, ground: &Ground, when: When, n: usize) -> bool {
    let mut seen = 0;
    dies_at(site, ground, when, move |request| {
        // Only what changes something is worth a crash right after it.
        let counts = when == When::Before || !matches!(request.method.as_str(), "GET" | "HEAD");
        seen += usize::from(counts);
        counts && seen == n
    })
}

fn dies_at(site: &Site, ground: &Ground, when: When, mut at: impl FnMut(&Request) -> bool + Send + 'static) -> bool {
    let reached = site.proxy.watch(move |request| if at(request) { Action::Kill(when) } else { Action::Pass });
    let mut push = Group::spawn(mover(site, "push", &ground.source, &["--pushed-revision", &ground.known]));
    site.proxy.victim(push.pid);
    let status = push.wait();
    site.proxy.settle();
    let killed = reached.try_recv().is_ok();
    assert!(killed || status.success(), "an undisturbed push failed");
    site.proxy.behave();
    killed
}

fn pulled(site: &Site) -> Tree {
    let dest = TempDir::new().unwrap();
    done(pull(&site.remote(), &PullOptions { volume: dest.path().into(), ..site.pull_options() }));
    snapshot(dest.path())
}

/// Pushes over what is there, and checks that a pull gives it and that nothing else is left.
fn heals(site: &Site, ground: &Ground, moment: &str) {
    let mut options = PushOptions { volume: ground.source.clone(), ..site.push_options() };
    options.pusher.pushed = Some(ground.known.clone());
    let pushed = push(&site.remote(), &options).unwrap_or_else(|failure| panic!("{moment}: {failure}"));
    assert_eq!(pulled(site), ground.new, "{moment}: pushed over");
    let names = |plain: bool| {
        let files = ground.new.iter().filter(|(name, what)| what.starts_with("file") && name.contains(&b'\n') != plain);
        files.map(|(name, _)| String::from_utf8(name.clone()).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(site.user_objects(), names(true), "{moment}");
    let (objects, others): (Vec<_>, Vec<_>) = site.control_objects().into_iter().partition(|name| name.starts_with("objects/"));
    assert_eq!(others, ["commit.json".to_owned(), format!("manifests/{}.zst", pushed.revision)], "{moment}");
    assert_eq!(objects.len(), names(false).len(), "{moment}: {objects:?}");
}

/// Lets pushes die at every request, and checks what they left. Returns how many different states that was.
fn crash_everywhere(ground: &Ground, whens: &[When]) -> usize {
    let before = revision(&ground.remote).unwrap();
    let copies = Copies::of(&ground.remote);
    let seen = Mutex::new(BTreeSet::new());
    let ends: Vec<AtomicUsize> = whens.iter().map(|_| AtomicUsize::new(usize::MAX)).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let round = next.fetch_add(1, Ordering::Relaxed);
            let (n, at) = (round / whens.len() + 1, round % whens.len());
            if ends.iter().all(|end| end.load(Ordering::Relaxed) <= n) {
                return;
            }
            if ends[at].load(Ordering::Relaxed) <= n {
                continue;
            }
            let site = copies.next();
            if !dies(&site, ground, whens[at], n) {
                ends[at].fetch_min(n, Ordering::Relaxed);
                continue;
            }
            let remains = remains(&site.object(""), &before);
            if !seen.lock().unwrap().insert(remains.clone()) {
                continue;
            }
            let moment = format!("killed {:?} request {n}, leaving {remains:#?}", whens[at]);
            let tree = pulled(&site);
            assert!(tree == ground.old || tree == ground.new, "{moment}: a mixture was pulled:\n{tree:#?}");
            heals(&site, ground, &moment);
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(work);
        work();
        other.join().unwrap();
    });
    let states = seen.into_inner().unwrap().len();
    println!("undisturbed from {ends:?} on; {states} states");
    states
}

/// A path with the old tree, and a volume that holds the new one.
fn ready() -> (Site, Ground) {
    let site = Site::with_bucket();
    let source = site.source.path();
    old_tree(source);
    let old = snapshot(source);
    let known = site.push().revision;
    new_tree(source);
    let ground = Ground { remote: site.object(""), old, known, source: source.into(), new: snapshot(source) };
    (site, ground)
}

#[test]
fn a_crash_at_any_request_leaves_a_whole_revision() {
    let (_site, ground) = ready();
    let states = crash_everywhere(&ground, &[When::Before, When::After]);
    assert!(states >= 20, "{states}");
}

/// A push that cleans up after a dead one dies itself: before the dead one's commit, and after it.
#[rstest]
#[case(When::Before)]
#[case(When::After)]
fn a_crash_of_the_push_after_a_crash_leaves_a_whole_revision(#[case] when: When) {
    let (site, mut ground) = ready();
    assert!(dies_at(&site, &ground, when, |request| request.is("PUT", "commit.json")));
    if when == When::After {
        ground.old = ground.new;
    }
    newest_tree(&ground.source);
    ground.new = snapshot(&ground.source);
    let states = crash_everywhere(&ground, &[When::After]);
    assert!(states >= 10, "{states}");
}

/// A first push, and one that takes the path over, die after their commit: their agent knows no revision of theirs.
#[rstest]
fn a_push_of_an_object_that_has_pushed_nothing_is_tidied_up_after(#[values(true, false)] takes_over: bool) {
    let site = Site::with_bucket();
    old_tree(site.source.path());
    if takes_over {
        let mut options = site.push_options();
        options.pusher.owner = owner("db", "uid-0");
        push(&site.remote(), &options).unwrap();
        new_tree(site.source.path());
    }
    site.proxy.watch(|request| if request.is("DELETE", "claim.json") { Action::Kill(When::Before) } else { Action::Pass });
    let mut dying = Group::spawn(mover(&site, "push", site.source.path(), &[]));
    site.proxy.victim(dying.pid);
    dying.wait();
    site.proxy.settle();
    site.proxy.behave();
    assert!(site.object(".scribe/claim.json").exists());
    let pushed = site.push();
    let others: Vec<_> = site.control_objects().into_iter().filter(|name| !name.starts_with("objects/")).collect();
    assert_eq!(others, ["commit.json".to_owned(), format!("manifests/{}.zst", pushed.revision)]);
}
