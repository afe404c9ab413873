//! A push that dies at any of its requests: what it leaves is one whole revision, and the next push makes all of it good.
//!
//! Mover and rclone are killed together, before a request or after it took effect, at one request after the other, until a push ends
//! undisturbed. What each crash leaves on the remote is a state; each state that is unlike those before is pulled and pushed over.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use assert_fs::TempDir;
use scribe_mover::control::{Claim, Commit, Control, unseal};
use scribe_mover::pull::{PullOptions, pull};
use scribe_mover::push::{PushOptions, push};

use crate::support::program::{Group, mover};
use crate::support::proxy::{Action, When};
use crate::support::server::Server;
use crate::support::tree::{copy, snapshot, write};
use crate::support::{Site, done};

/// More than any of these pushes has requests.
const MOST: usize = 120;

type Tree = BTreeMap<Vec<u8>, String>;

/// The trees that a path may hold.
struct Ground {
    /// What was committed before.
    old: Tree,
    /// What the dying push pushes.
    source: TempDir,
    new: Tree,
    /// What a later push pushes.
    later: TempDir,
    newest: Tree,
}

/// What a crash left.
struct State {
    /// Where the path's objects were kept.
    remote: PathBuf,
    /// When it happened, for messages.
    moment: String,
}

fn old_tree(root: &Path) {
    for name in ["keep", "replaced", "deep/replaced too", "deleted", "deep/deleted too", "file becomes folder", "folder becomes file/a/b"] {
        write(root, name, format!("old {name}"));
    }
    for name in ["odd\nkept", "odd\nreplaced", "odd\ndeleted"] {
        write(root, name, format!("old {name}"));
    }
    symlink("keep", root.join("link")).unwrap();
    fs::hard_link(root.join("keep"), root.join("second name")).unwrap();
}

fn new_tree(root: &Path) {
    fs::remove_file(root.join("deleted")).unwrap();
    fs::remove_file(root.join("deep/deleted too")).unwrap();
    fs::remove_file(root.join("odd\ndeleted")).unwrap();
    fs::remove_file(root.join("file becomes folder")).unwrap();
    fs::remove_dir_all(root.join("folder becomes file")).unwrap();
    for name in ["replaced", "deep/replaced too", "added", "file becomes folder/x/y", "folder becomes file", "odd\nreplaced", "odd\nadded"]
    {
        write(root, name, format!("new {name}"));
    }
}

fn newest_tree(root: &Path) {
    fs::remove_file(root.join("added")).unwrap();
    fs::remove_dir_all(root.join("file becomes folder")).unwrap();
    fs::remove_file(root.join("odd\nadded")).unwrap();
    for name in ["replaced", "file becomes folder", "deleted", "odd\nreplaced", "added later"] {
        write(root, name, format!("newest {name}"));
    }
}

/// A copy with everything that a snapshot looks at.
fn clone_tree(from: &Path) -> TempDir {
    let dir = TempDir::new().unwrap();
    let status = std::process::Command::new("cp").arg("-a").arg(from.join(".")).arg(dir.path()).status().unwrap();
    assert!(status.success());
    dir
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
        Self { server: Arc::new(Server::on(buckets)), remote, next: AtomicUsize::new(0) }
    }

    fn next(&self) -> Site {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let site = Site::at(&self.server, &format!("s3:copy-{number}/path"));
        copy(self.remote, &site.object(""));
        site
    }
}

/// Kills a push of the new tree at its `n`-th request, on a copy of the path: whether it got so far.
fn dies(site: &Site, ground: &Ground, when: When, n: usize) -> bool {
    let mut seen = 0;
    let reached = site.proxy.watch(move |request| {
        // Only what changes something is worth a crash right after it.
        seen += usize::from(when == When::Before || !matches!(request.method.as_str(), "GET" | "HEAD"));
        if seen == n { Action::Kill(when) } else { Action::Pass }
    });
    let mut push = Group::spawn(mover(site, "push", ground.source.path(), &[]));
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

/// Pushes `source` over what is there, and checks that a pull gives it and that nothing else is left.
fn heals(site: &Site, source: &Path, tree: &Tree, last: Option<&str>, moment: &str) {
    let mut options = PushOptions { volume: source.into(), ..site.push_options() };
    options.asker.pushed = last.map(str::to_owned);
    let pushed = push(&site.remote(), &options).unwrap_or_else(|failure| panic!("{moment}: {failure}"));
    assert_eq!(&pulled(site), tree, "{moment}: pushed over");
    let control = site.control_objects();
    let objects = tree.keys().filter(|name| name.contains(&b'\n')).count();
    let (objects_there, others): (Vec<_>, Vec<_>) = control.into_iter().partition(|name| name.starts_with("objects/"));
    assert_eq!(others, ["commit.json".to_owned(), format!("manifests/{}.zst", pushed.revision)], "{moment}");
    assert_eq!(objects_there.len(), objects, "{moment}: {objects_there:?}");
    let plain: BTreeSet<Vec<u8>> =
        tree.iter().filter(|(name, what)| what.starts_with("file") && !name.contains(&b'\n')).map(|(name, _)| name.clone()).collect();
    let there: BTreeSet<Vec<u8>> = site.user_objects().into_iter().map(String::into_bytes).collect();
    assert_eq!(there, plain, "{moment}");
}

/// Lets pushes on copies of `base` die at every request. Returns the states they left, each checked.
fn crash_everywhere(base: &State, ground: &Ground, keep: &Path) -> Vec<State> {
    let before = revision(&base.remote);
    let copies = Copies::of(&base.remote);
    let seen = Mutex::new(BTreeSet::new());
    let states = Mutex::new(Vec::new());
    let undisturbed = [AtomicUsize::new(usize::MAX), AtomicUsize::new(usize::MAX)];
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let round = next.fetch_add(1, Ordering::Relaxed);
            let (n, when) = (round / 2 + 1, [When::Before, When::After][round % 2]);
            if undisturbed.iter().all(|end| end.load(Ordering::Relaxed) <= n) {
                return;
            }
            if undisturbed[round % 2].load(Ordering::Relaxed) <= n {
                continue;
            }
            let site = copies.next();
            if !dies(&site, ground, when, n) {
                undisturbed[round % 2].fetch_min(n, Ordering::Relaxed);
                continue;
            }
            let remains = remains(&site.object(""), before.as_deref().unwrap_or_default());
            if !seen.lock().unwrap().insert(remains.clone()) {
                continue;
            }
            let moment = format!("{}, killed {when:?} {n}, leaving {remains:#?}", base.moment);
            let kept = State { remote: keep.join(format!("{round}")), moment: moment.clone() };
            copy(&site.object(""), &kept.remote);
            if revision(&kept.remote).is_some() {
                let tree = pulled(&site);
                assert!(tree == ground.old || tree == ground.new, "{moment}: a mixture was pulled:\n{tree:#?}");
            }
            heals(&site, ground.source.path(), &ground.new, before.as_deref(), &moment);
            states.lock().unwrap().push(kept);
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(work);
        work();
        other.join().unwrap();
    });
    let states = states.into_inner().unwrap();
    println!(
        "{}: {} and {} rounds, {} states",
        base.moment,
        undisturbed[0].load(Ordering::Relaxed),
        undisturbed[1].load(Ordering::Relaxed),
        states.len()
    );
    states
}

#[test]
fn a_crash_at_any_request_leaves_a_whole_revision() {
    let site = Site::with_bucket();
    old_tree(site.source.path());
    let old = snapshot(site.source.path());
    site.push();
    let source = clone_tree(site.source.path());
    new_tree(source.path());
    let later = clone_tree(source.path());
    newest_tree(later.path());
    let ground = Ground { old, new: snapshot(source.path()), newest: snapshot(later.path()), source, later };
    let keep = TempDir::new().unwrap();
    let base = State { remote: site.object(""), moment: "a push over another".into() };
    let states = crash_everywhere(&base, &ground, keep.path());
    assert!(states.len() > 10, "{}", states.len());
}
