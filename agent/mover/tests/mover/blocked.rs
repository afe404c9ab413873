//! What is in the way on a user's volume is named before anything of it is changed: sockets and mounts, and folders of others. Needs root.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use assert_fs::TempDir;
use rstest::rstest;
use scribe_mover::error::Result;
use scribe_mover::pull::{PullOutcome, pull, pull_plain};
use scribe_mover::report::{Outcome, Reason};

use crate::support::proxy::Action;
use crate::support::tree::{assert_same, snapshot, write};
use crate::support::{Layout, Site, done};
use crate::unprivileged::{NOBODY, Programs, own};

fn try_pull(site: &Site) -> Result<PullOutcome> {
    let mut options = site.pull_options();
    options.private = false;
    pull(&site.remote(), &options)
}

/// Both volumes hold the first revision of these files; the second one changes `a`, which comes first, and what `change` does.
fn site(layout: Layout, change: impl FnOnce(&Path)) -> Site {
    let site = Site::with_bucket().of(layout);
    for name in ["a", "folder/in", "file", "z"] {
        write(site.source.path(), name, "old");
    }
    site.push();
    done(try_pull(&site));
    write(site.source.path(), "a", "newer");
    change(site.source.path());
    site.push();
    site
}

/// Everything but what the pull keeps for itself, and but the root's times.
fn live(volume: &Path) -> BTreeMap<Vec<u8>, String> {
    snapshot(volume).into_iter().filter(|(name, _)| !name.is_empty() && !name.starts_with(b".scribe-staging")).collect()
}

fn is_refused(site: &Site, named: &str, why: &str) {
    let before = live(site.dest.path());
    let failure = try_pull(site).unwrap_err();
    assert_eq!(failure.reason, Reason::VolumeUnreadable, "{failure}");
    assert!(failure.message.contains(named) && failure.message.contains(why), "{failure}");
    assert_eq!(live(site.dest.path()), before, "{failure}");
}

fn to_folder(source: &Path) {
    write(source, "new/in", "new");
}

fn to_file(source: &Path) {
    fs::remove_dir_all(source.join("folder")).unwrap();
    write(source, "folder", "a file");
}

#[rstest]
#[case::where_a_folder_is_to_be(to_folder, "new")]
#[case::in_a_folder_that_becomes_a_file(to_file, "folder/socket")]
fn a_live_socket_is_named_before_anything_is_changed(
    #[case] change: fn(&Path),
    #[case] name: &str,
    #[values(false, true)] late: bool,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let site = site(layout, change);
    let socket = site.dest.path().join(name);
    if late {
        // While content is fetched.
        let socket = socket.clone();
        let mut bound = None;
        site.proxy.rule(move |request| {
            if layout.fetches(request, "a") && bound.is_none() {
                bound = Some(UnixListener::bind(&socket).unwrap());
            }
            Action::Pass
        });
        let failure = try_pull(&site).unwrap_err();
        assert!(failure.message.contains("is a socket"), "{failure}");
        assert_eq!(fs::read(site.dest.path().join("a")).unwrap(), b"old");
        site.proxy.behave();
    } else {
        let _listening = UnixListener::bind(&socket).unwrap();
        is_refused(&site, name, "is a socket");
    }
    fs::remove_file(socket).unwrap();
    done(try_pull(&site));
    assert_same(site.source.path(), site.dest.path());
}

/// What others wrote has no manifest: what is in the way is named all the same, before anything is fetched.
#[test]
fn a_plain_pull_names_what_is_in_the_way_before_it_fetches_anything() {
    let site = Site::with_bucket();
    for name in ["a", "folder/in"] {
        site.meddle("rcat", name, name.as_bytes());
    }
    let _listening = UnixListener::bind(site.dest.path().join("folder")).unwrap();
    let (asked, seen) = std::sync::mpsc::channel();
    site.proxy.rule(move |request| {
        if request.is("GET", "path/a") {
            asked.send(()).unwrap();
        }
        Action::Pass
    });
    let mut options = site.pull_options();
    options.private = false;
    let failure = pull_plain(&site.remote(), &options).unwrap_err();
    assert_eq!(failure.reason, Reason::VolumeUnreadable, "{failure}");
    assert!(failure.message.contains("folder is a socket"), "{failure}");
    assert!(seen.try_recv().is_err(), "something was fetched");
    fs::remove_file(site.dest.path().join("folder")).unwrap();
    done(pull_plain(&site.remote(), &options));
    assert_eq!(fs::read(site.dest.path().join("folder/in")).unwrap(), b"folder/in");
}

/// A mount, undone when dropped.
struct Bind(PathBuf);

impl Bind {
    fn new(from: &Path, to: PathBuf) -> Self {
        assert!(Command::new("mount").arg("--bind").arg(from).arg(&to).status().unwrap().success(), "this needs root");
        Self(to)
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg(&self.0).status().unwrap().success());
    }
}

fn to_other_files(source: &Path) {
    for name in ["folder/in", "file"] {
        write(source, name, "newer");
    }
}

#[rstest]
#[case::a_file("file", to_other_files, "is a mount point")]
#[case::a_folder("folder", to_other_files, "is a mount point")]
#[case::a_file_in_a_folder_that_becomes_a_file("folder/in", to_file, "is a mount point")]
fn a_mount_is_named_before_anything_is_changed(
    #[case] name: &str,
    #[case] change: fn(&Path),
    #[case] why: &str,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let (site, outside) = (site(layout, change), TempDir::new().unwrap());
    write(outside.path(), "f", "outside");
    let on = site.dest.path().join(name);
    let from = if on.is_dir() { outside.path().to_owned() } else { outside.path().join("f") };
    {
        let _mounted = Bind::new(&from, on);
        is_refused(&site, name, why);
    }
    done(try_pull(&site));
    assert_same(site.source.path(), site.dest.path());
}

/// What a mover without privileges may not change in.
#[rstest]
#[case::closed(0o755, "another user's folder")]
#[case::sticky(0o1777, "sticky bit")]
fn a_folder_of_another_user_is_named_before_anything_is_changed(
    #[case] mode: u32,
    #[case] why: &str,
    #[values(false, true)] removed: bool,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let site = site(layout, |source| {
        if removed {
            fs::remove_file(source.join("folder/in")).unwrap();
        } else {
            write(source, "folder/in", "newer");
        }
    });
    let (dest, programs) = (site.dest.path(), Programs::new());
    own(dest);
    for name in ["a", "file", "z"] {
        own(&dest.join(name));
    }
    fs::set_permissions(dest.join("folder"), fs::Permissions::from_mode(mode)).unwrap();
    let before = live(dest);
    let refused = programs.run(&site, "pull", dest);
    assert_eq!((refused.result, refused.reason), (Outcome::Failed, Some(Reason::VolumeUnreadable)), "{}", refused.message);
    assert!(refused.message.contains("/folder") && refused.message.contains(why), "{}", refused.message);
    assert_eq!(live(dest), before);
    std::os::unix::fs::chown(dest.join("folder"), Some(NOBODY), None).unwrap();
    let pulled = programs.run(&site, "pull", dest);
    assert_eq!(pulled.result, Outcome::Successful, "{}", pulled.message);
}
