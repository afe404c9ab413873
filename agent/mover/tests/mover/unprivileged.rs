//! A mover without privileges (another user, no capabilities): what it cannot restore is counted, the rest is right, and it goes on
//! working on what it restored. And one with the few privileges that the mover's Jobs have.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::Path;

use assert_fs::TempDir;
use rstest::rstest;
use rustix::fs::lgetxattr;
use scribe_mover::report::{Outcome, Reason, Report};
use scribe_mover::volume::xattrs::{ACL_ACCESS, CAPABILITY};

use crate::support::program::{mover, program, report};
use crate::support::proxy::Action;
use crate::support::tree::{acl, assert_same, capability, differences, set, snapshot, varied, write};
use crate::support::{Layout, Site, rclone};

pub(crate) const NOBODY: u32 = 1000;

/// Programs that this user may run: a home directory, where the build puts them, is closed to others.
pub(crate) struct Programs(TempDir);

impl Programs {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        for (name, from) in [("mover", program().as_path()), ("rclone", rclone())] {
            let to = dir.path().join(name);
            fs::hard_link(from, &to).or_else(|_| fs::copy(from, &to).map(drop)).unwrap();
        }
        open_to_all(dir.path());
        Self(dir)
    }

    /// Runs the mover as that user, with no capability and no further group.
    pub(crate) fn run(&self, site: &Site, verb: &str, volume: &Path) -> Report {
        let mut command = self.command(site, verb, volume, std::process::Command::new(self.0.path().join("mover")));
        report(&command.uid(NOBODY).gid(NOBODY).output().unwrap())
    }

    /// As [`Self::run`], a pull into a volume that nothing else writes to.
    pub(crate) fn pull_privately(&self, site: &Site, volume: &Path) -> Report {
        let mut command = self.command(site, "pull", volume, std::process::Command::new(self.0.path().join("mover")));
        report(&command.arg("--private-volume").uid(NOBODY).gid(NOBODY).output().unwrap())
    }

    /// Runs the mover as root, with no more capabilities than its Jobs have.
    fn run_as_job(&self, site: &Site, verb: &str, volume: &Path) -> Report {
        let mut bounded = std::process::Command::new("setpriv");
        bounded.args(["--bounding-set", "-all,+dac_override,+chown,+fowner,+fsetid,+setfcap"]).arg(self.0.path().join("mover"));
        report(&self.command(site, verb, volume, bounded).output().unwrap())
    }

    fn command(&self, site: &Site, verb: &str, volume: &Path, mut command: std::process::Command) -> std::process::Command {
        open_to_all(site.secret.path());
        let as_root = mover(site, verb, volume, &["--rclone", self.0.path().join("rclone").to_str().unwrap()]);
        // The last of two options of one name is refused, so the first one goes.
        let mut args: Vec<_> = as_root.get_args().collect();
        let first = args.iter().position(|arg| *arg == "--rclone").unwrap();
        args.drain(first..first + 2);
        command.args(args).env("TMPDIR", "/tmp");
        command
    }
}

fn open_to_all(dir: &Path) {
    fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
}

pub(crate) fn own(path: &Path) {
    lchown(path, Some(NOBODY), Some(NOBODY)).unwrap();
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Most of it is that user's own.
fn tree(root: &Path) {
    for name in ["mine", "foreign", "group", "setuid", "setuid-mine", "capable", "trusted", "acl", "closed/in", "closed/gone", "readonly"] {
        write(root, name, name);
        own(&root.join(name));
    }
    own(root);
    own(&root.join("closed"));
    lchown(root.join("foreign"), Some(7), Some(NOBODY)).unwrap();
    lchown(root.join("group"), Some(NOBODY), Some(7)).unwrap();
    lchown(root.join("setuid"), Some(0), Some(0)).unwrap();
    mode(&root.join("setuid"), 0o6755);
    mode(&root.join("setuid-mine"), 0o4711);
    set(&root.join("capable"), CAPABILITY, &capability());
    set(&root.join("trusted"), b"trusted.x", b"x");
    set(&root.join("acl"), ACL_ACCESS, &acl(6, 4, 4));
    set(&root.join("readonly"), b"user.x", b"x");
    mode(&root.join("readonly"), 0o444);
    mode(&root.join("closed"), 0o555);
}

fn lost() -> BTreeMap<String, u64> {
    BTreeMap::from([("owners", 3), ("setuidBits", 1), ("capabilities", 1), ("trustedAttributes", 1)].map(|(kind, n)| (kind.to_owned(), n)))
}

#[rstest]
fn what_it_cannot_restore_is_counted_and_the_rest_is_right(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let (source, dest, programs) = (site.source.path(), site.dest.path(), Programs::new());
    tree(source);
    own(dest);
    site.push();
    let first = programs.run(&site, "pull", dest);
    assert_eq!((first.result, first.changed, &first.skipped), (Outcome::Successful, true, &lost()), "{}", first.message);
    // Root's setuid file must not become a setuid file of ours.
    let setuid = fs::metadata(dest.join("setuid")).unwrap();
    assert_eq!((setuid.uid(), setuid.mode() & 0o7777), (NOBODY, 0o755));
    let (there, here) = (snapshot(source), snapshot(dest));
    let differing: Vec<_> = there.iter().filter(|(name, what)| here.get(*name) != Some(what)).map(|(name, _)| name.clone()).collect();
    assert_eq!(differing, [&b"capable"[..], b"foreign", b"group", b"setuid", b"trusted"]);
    assert_eq!(there.len(), here.len());

    let before = fs::metadata(dest).unwrap().ctime_nsec();
    let again = programs.run(&site, "pull", dest);
    assert_eq!((again.result, again.changed, &again.skipped), (Outcome::Successful, false, &lost()));
    assert_eq!(fs::metadata(dest).unwrap().ctime_nsec(), before, "a pull that can change nothing leaves no trace");

    // A mover with privileges makes good what is missing.
    let pulled = site.pull();
    assert_eq!((pulled.changed, pulled.transferred, pulled.skipped), (true, 0, BTreeMap::new()));
    assert_same(source, dest);
}

#[rstest]
fn it_gets_into_directories_and_files_that_it_closed_to_itself(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let (source, dest, programs) = (site.source.path(), site.dest.path(), Programs::new());
    own(source);
    own(dest);
    for name in ["closed/in", "closed/deeper/in", "closed/gone", "blind/in", "unreadable"] {
        write(source, name, name);
        own(&source.join(name));
    }
    for name in ["closed", "closed/deeper", "blind"] {
        own(&source.join(name));
    }
    set(&source.join("closed/in"), b"user.x", b"x");
    mode(&source.join("unreadable"), 0);
    mode(&source.join("closed/in"), 0o444);
    mode(&source.join("closed/deeper"), 0o500);
    mode(&source.join("closed"), 0o555);
    mode(&source.join("blind"), 0o200);
    site.push();
    let blind = BTreeMap::from([("modes".to_owned(), 2)]);
    let first = programs.run(&site, "pull", dest);
    assert_eq!((first.result, first.skipped), (Outcome::Successful, blind.clone()), "{}", first.message);
    assert_eq!(fs::metadata(dest.join("closed")).unwrap().mode() & 0o777, 0o555);
    assert_eq!(fs::metadata(dest.join("unreadable")).unwrap().mode() & 0o777, 0o400);
    assert_eq!(fs::metadata(dest.join("blind")).unwrap().mode() & 0o777, 0o700);

    write(source, "closed/in", "edited");
    write(source, "closed/deeper/new/x", "new");
    for name in ["closed/deeper/new", "closed/deeper/new/x"] {
        own(&source.join(name));
    }
    set(&source.join("closed/in"), b"user.x", b"another");
    fs::remove_file(source.join("closed/gone")).unwrap();
    site.push();
    let second = programs.run(&site, "pull", dest);
    assert_eq!((second.result, second.skipped), (Outcome::Successful, blind), "{}", second.message);
    assert_eq!(fs::read(dest.join("closed/in")).unwrap(), b"edited");
    let mut value = [0u8; 9];
    assert_eq!(lgetxattr(dest.join("closed/in"), "user.x", &mut value).unwrap(), 7);
    site.pull();
    assert_same(source, dest);
}

#[rstest]
fn a_push_without_privileges_names_the_file_it_cannot_read(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let (source, programs) = (site.source.path(), Programs::new());
    tree(source);
    let pushed = programs.run(&site, "push", source);
    assert_eq!((pushed.result, pushed.files), (Outcome::Successful, 11), "{}", pushed.message);
    mode(&source.join("foreign"), 0o600);
    let refused = programs.run(&site, "push", source);
    assert_eq!((refused.result, refused.reason), (Outcome::Failed, Some(Reason::VolumeUnreadable)));
    assert!(refused.message.contains("/foreign"), "{}", refused.message);
}

/// Of layout Files alone, whose files rclone opens itself, by a link to what the mover has open: that it may not is no refusal of the remote's.
#[test]
fn a_file_that_may_not_be_read_any_more_is_the_volumes() {
    let site = Site::with_bucket();
    let (source, programs) = (site.source.path().to_owned(), Programs::new());
    for name in ["a", "b"] {
        write(&source, name, name);
        own(&source.join(name));
    }
    fs::write(site.secret.path().join("RCLONE_TRANSFERS"), "1").unwrap();
    let files = source.clone();
    site.proxy.rule(move |request| {
        for (sent, other) in [("path/a", "b"), ("path/b", "a")] {
            if request.is("PUT", sent) {
                mode(&files.join(other), 0);
            }
        }
        Action::Pass
    });
    let pushed = programs.run(&site, "push", &source);
    assert_eq!(pushed.reason, Some(Reason::VolumeUnreadable), "looked at again: {}", pushed.message);
    assert!(pushed.message.contains("cannot read") && !pushed.message.contains("credentials"), "{}", pushed.message);
}

#[rstest]
fn with_the_capabilities_of_a_job_all_comes_back_but_trusted_attributes(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let (source, dest, programs) = (site.source.path(), site.dest.path(), Programs::new());
    varied(source);
    tree(&source.join("more"));
    mode(&source.join("more/foreign"), 0);
    let pushed = programs.run_as_job(&site, "push", source);
    assert_eq!((pushed.result, pushed.skipped), (Outcome::Successful, BTreeMap::new()), "{}", pushed.message);
    let pulled = programs.run_as_job(&site, "pull", dest);
    assert_eq!((pulled.result, pulled.skipped), (Outcome::Successful, BTreeMap::new()), "{}", pulled.message);
    assert_eq!(differences(source, dest).into_keys().collect::<Vec<_>>(), [b"more/trusted"], "it cannot even see them");

    // Pushed by one that sees them, pulled by one that may not set them.
    site.push();
    let lost = BTreeMap::from([("trustedAttributes".to_owned(), 1)]);
    for _ in 0..2 {
        let again = programs.run_as_job(&site, "pull", dest);
        assert_eq!((again.result, again.changed, &again.skipped), (Outcome::Successful, false, &lost), "{}", again.message);
    }
}
