//! A pull that dies at any step, remote or local: the live tree never holds a byte that is not verified, and the next pull ends right
//! without fetching again what was verified.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use assert_fs::TempDir;
use rstest::rstest;
use scribe_mover::pull::{PullOptions, pull};

use crate::support::program::{Group, example, mover};
use crate::support::proxy::{Action, When};
use crate::support::tree::{assert_same, touch, write};
use crate::support::{Layout, Site, done};

fn old_tree(root: &Path) {
    for name in ["replaced", "deleted", "moved/deep", "file becomes folder", "folder becomes file/a", "touched", "in a group"] {
        write(root, name, format!("old {name}"));
    }
    fs::hard_link(root.join("in a group"), root.join("second in the group")).unwrap();
    symlink("replaced", root.join("link")).unwrap();
}

fn new_tree(root: &Path) {
    fs::remove_file(root.join("deleted")).unwrap();
    fs::remove_file(root.join("file becomes folder")).unwrap();
    fs::remove_dir_all(root.join("folder becomes file")).unwrap();
    fs::rename(root.join("moved"), root.join("moved here")).unwrap();
    for name in ["replaced", "file becomes folder/b", "folder becomes file", "in a group", "odd\nname"] {
        write(root, name, format!("new {name}"));
    }
    for name in ["twice/a", "twice/b"] {
        write(root, name, "the same twice");
    }
    fs::remove_file(root.join("link")).unwrap();
    symlink("touched", root.join("link")).unwrap();
    touch(&root.join("touched"), 1, 1);
    touch(&root.join("twice"), 2, 2);
}

/// Content of every file by its name; staging left out.
fn contents(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = walkdir::WalkDir::new(root).into_iter().filter_entry(|entry| entry.file_name() != ".scribe-staging");
    let files = entries.map(|entry| entry.unwrap()).filter(|entry| entry.file_type().is_file());
    files.map(|file| (file.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned(), fs::read(file.path()).unwrap())).collect()
}

/// Everything that lies in the staging folder, verified or on its way there.
fn staged(root: &Path) -> Vec<Vec<u8>> {
    let dirs = ["ok", "in"].map(|dir| root.join(".scribe-staging").join(dir));
    let files = dirs.iter().filter(|dir| dir.exists()).flat_map(|dir| contents(dir).into_values());
    files.collect()
}

struct Ground {
    site: Site,
    /// A volume that holds the old tree.
    before: TempDir,
    old: BTreeMap<String, Vec<u8>>,
    new: BTreeMap<String, Vec<u8>>,
}

impl Ground {
    fn new(layout: Layout) -> Self {
        let site = Site::with_bucket().of(layout);
        let source = site.source.path();
        old_tree(source);
        site.push();
        let before = TempDir::new().unwrap();
        done(pull(&site.remote(), &PullOptions { volume: before.path().into(), ..site.pull_options() }));
        let old = contents(source);
        new_tree(source);
        site.push();
        let new = contents(source);
        Self { site, before, old, new }
    }

    /// Another way to the same path, and a volume that holds the old tree.
    fn round(&self) -> Site {
        let site = Site::at(&self.site.server, &self.site.name);
        let status = Command::new("cp").arg("-a").arg(self.before.path().join(".")).arg(site.dest.path()).status().unwrap();
        assert!(status.success());
        site
    }

    /// What a crash at this moment left is fine, and the next pull completes it.
    fn check(&self, site: &Site, moment: &str) {
        let root = site.dest.path();
        let live = contents(root);
        for (name, content) in &live {
            let known = [self.old.get(name), self.new.get(name)].contains(&Some(content));
            assert!(known, "{moment}: {name} holds {:?}", String::from_utf8_lossy(content));
        }
        let mut have = staged(root);
        have.extend(live.into_iter().filter(|(name, content)| self.new.get(name) == Some(content)).map(|(_, content)| content));
        site.proxy.take();
        done(pull(&site.remote(), &site.pull_options()));
        for request in site.proxy.take() {
            let fetched = self.new.iter().find(|(name, _)| request.target.contains(&format!("path/{}?", name.replace(' ', "%20"))));
            assert!(fetched.is_none_or(|(_, content)| !have.contains(content)), "{moment}: {} was there", request.target);
        }
        assert_same(self.site.source.path(), root);
    }
}

/// Of layout Files: `packs_crash` does the same with the other one.
#[test]
fn a_crash_at_any_local_step_is_completed_by_the_next_pull() {
    let ground = Ground::new(Layout::Files);
    let next = AtomicUsize::new(1);
    let end = AtomicUsize::new(usize::MAX);
    let steps = Arc::new(std::sync::Mutex::new(BTreeMap::<String, usize>::new()));
    let work = || {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if end.load(Ordering::Relaxed) <= n {
                return;
            }
            let site = ground.round();
            let pull = mover(&site, "pull", site.dest.path(), &["--private-volume", "--report", "/dev/null"]);
            let mut crash = Command::new(example("crash"));
            crash.arg(n.to_string()).arg(site.dest.path()).arg(pull.get_program()).args(pull.get_args());
            crash.env("TMPDIR", site.scratch.path());
            let output = crash.output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            match said.lines().last().unwrap_or_default().strip_prefix("killed before ") {
                Some(step) => {
                    *steps.lock().unwrap().entry(step.split(' ').next().unwrap().to_owned()).or_default() += 1;
                    ground.check(&site, &format!("killed before {step} (change {n})"));
                }
                None => {
                    assert!(said.ends_with("ended 0\n"), "{said} {}", String::from_utf8_lossy(&output.stderr));
                    assert_same(ground.site.source.path(), site.dest.path());
                    end.fetch_min(n, Ordering::Relaxed);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(work);
        work();
        other.join().unwrap();
    });
    println!("killed before {:?}", steps.lock().unwrap());
    assert!(end.load(Ordering::Relaxed) > 40, "{end:?}");
}

#[rstest]
fn a_crash_at_any_request_is_completed_by_the_next_pull(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let ground = Ground::new(layout);
    for when in [When::Before, When::After] {
        for n in 1.. {
            let site = ground.round();
            let reached = site.proxy.watch(move |request| if request.number == n { Action::Kill(when) } else { Action::Pass });
            let mut pull = Group::spawn(mover(&site, "pull", site.dest.path(), &["--private-volume"]));
            site.proxy.victim(pull.pid);
            let status = pull.wait();
            site.proxy.settle();
            let killed = reached.try_recv().is_ok();
            site.proxy.behave();
            if !killed {
                assert!(status.success());
                assert!(n > if layout == Layout::Files { 5 } else { 3 }, "{n}");
                break;
            }
            ground.check(&site, &format!("killed {when:?} request {n}"));
        }
    }
}
