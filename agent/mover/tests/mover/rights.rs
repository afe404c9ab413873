//! Content that somebody writes on a user's volume while it is pulled into never gets another's rights: no owner, no setuid, no capability.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rstest::rstest;
use rustix::fs::lgetxattr;
use scribe_mover::pull::{Synced, pull, pull_plain};
use scribe_mover::volume::xattrs::CAPABILITY;

use crate::support::proxy::Action;
use crate::support::tree::{assert_same, capability, set, write};
use crate::support::{Layout, Site, done};

const RIGHT: &str = "the program";
const EVIL: &str = "another one";

fn user_pull(site: &Site) -> Synced {
    let mut options = site.pull_options();
    options.private = false;
    done(pull(&site.remote(), &options))
}

/// Both volumes hold `tool` and its second name; the next revision changes its metadata by `change`, and the content of `z`.
fn site(layout: Layout, change: impl FnOnce(&Path)) -> Site {
    let site = Site::with_bucket().of(layout);
    let source = site.source.path();
    write(source, "dir/tool", RIGHT);
    write(source, "z", "old");
    fs::hard_link(source.join("dir/tool"), source.join("linked")).unwrap();
    for name in ["dir/tool", "z"] {
        chown(source.join(name), Some(1000), Some(1000)).unwrap();
    }
    site.push();
    user_pull(&site);
    change(&source.join("dir/tool"));
    write(source, "z", "newer");
    site.push();
    site
}

/// Calls `act` once, when the pull has compared the volume and fetches content.
fn meanwhile(site: &Site, mut act: impl FnMut() + Send + 'static) {
    let (mut done, layout) = (false, site.layout);
    site.proxy.rule(move |request| {
        if layout.fetches(request, "z") && !std::mem::replace(&mut done, true) {
            act();
        }
        Action::Pass
    });
}

/// In place, and with the time that it had.
fn overwrite(path: &Path) {
    let file = File::options().write(true).open(path).unwrap();
    let time = file.metadata().unwrap().modified().unwrap();
    file.write_all_at(EVIL.as_bytes(), 0).unwrap();
    file.set_modified(time).unwrap();
}

fn setuid(tool: &Path) {
    chown(tool, Some(0), Some(0)).unwrap();
    fs::set_permissions(tool, fs::Permissions::from_mode(0o6755)).unwrap();
}

fn capable(tool: &Path) {
    fs::set_permissions(tool, fs::Permissions::from_mode(0o755)).unwrap();
    set(tool, CAPABILITY, &capability());
}

fn touched_and_setuid(tool: &Path) {
    setuid(tool);
    crate::support::tree::touch(tool, 7, 7);
}

fn powerless(path: &Path) -> bool {
    let meta = fs::metadata(path).unwrap();
    meta.uid() == 1000 && meta.mode() & 0o6000 == 0 && lgetxattr(path, CAPABILITY, &mut [0u8; 64]).is_err()
}

#[rstest]
#[case::setuid(setuid)]
#[case::capability(capable)]
#[case::with_time(touched_and_setuid)]
fn what_was_written_meanwhile_does_not_run_with_the_rights_of_another(
    #[case] change: fn(&Path),
    #[values(false, true)] by_descriptor: bool,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let site = site(layout, change);
    let tool = site.dest.path().join("dir/tool");
    let open = File::options().write(true).open(&tool).unwrap();
    if !by_descriptor {
        let tool = tool.clone();
        meanwhile(&site, move || overwrite(&tool));
    }
    user_pull(&site);
    // Who had it open has another file open by now.
    open.write_all_at(EVIL.as_bytes(), 0).unwrap();
    assert_eq!(fs::read_to_string(&tool).unwrap(), RIGHT);
    assert_same(site.source.path(), site.dest.path());
    site.proxy.behave();
    assert!(!user_pull(&site).changed);
}

#[rstest]
fn what_was_written_meanwhile_is_given_to_nobody(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = site(layout, |tool| chown(tool, Some(0), Some(0)).unwrap());
    let tool = site.dest.path().join("dir/tool");
    let written = tool.clone();
    meanwhile(&site, move || overwrite(&written));
    let pulled = user_pull(&site);
    assert_eq!(fs::read_to_string(&tool).unwrap(), EVIL);
    assert!(powerless(&tool), "{:?}", fs::metadata(&tool));
    assert_eq!(pulled.skipped.get("changedMeanwhile"), Some(&1), "{:?}", pulled.skipped);
    site.proxy.behave();
    assert_eq!(user_pull(&site).skipped.len(), 0);
    assert_same(site.source.path(), site.dest.path());
}

/// The owner alone changes, and the pull gives the inode a name more: that is no change of its content, and it stays this inode.
#[rstest]
fn an_owner_changes_in_place(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = site(layout, |tool| {
        chown(tool, Some(0), Some(0)).unwrap();
        fs::hard_link(tool, tool.with_extension("more")).unwrap();
    });
    let inode = |name: &str| fs::metadata(site.dest.path().join(name)).unwrap().ino();
    let before = inode("dir/tool");
    let pulled = user_pull(&site);
    assert_eq!((inode("dir/tool"), pulled.skipped.len()), (before, 0), "{:?}", pulled.skipped);
    if layout == Layout::Files {
        assert_eq!(pulled.transferred, 5);
    }
    assert_same(site.source.path(), site.dest.path());
}

/// An unchanged setuid file whose time alone is another one: if it was written to, and lost its rights by that, it does not get them again.
#[rstest]
fn rights_that_went_with_a_write_do_not_come_back(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let source = site.source.path();
    for (name, content) in [("tool", RIGHT), ("z", "old")] {
        write(source, name, content);
    }
    setuid(&source.join("tool"));
    site.push();
    user_pull(&site);
    crate::support::tree::touch(&source.join("tool"), 7, 7);
    write(source, "z", "newer");
    site.push();
    let tool: PathBuf = site.dest.path().join("tool");
    let written = tool.clone();
    meanwhile(&site, move || {
        overwrite(&written);
        fs::set_permissions(&written, fs::Permissions::from_mode(0o755)).unwrap();
    });
    user_pull(&site);
    assert_eq!((fs::read_to_string(&tool).unwrap().as_str(), fs::metadata(&tool).unwrap().mode() & 0o7777), (EVIL, 0o755));
    site.proxy.behave();
    user_pull(&site);
    assert_same(source, site.dest.path());
}

/// A layout that has owners and modes in a file of its own.
#[test]
fn a_plain_pull_gives_no_rights_either() {
    let site = Site::with_bucket();
    let facl = "# file: .\n# owner: 0\n# group: 0\nuser::rwx\ngroup::r-x\nother::r-x\n\n# file: tool\n# owner: 0\n# group: 0\n# flags: ss-\nuser::rwx\ngroup::r-x\nother::r-x\n";
    for (name, content) in [("tool", RIGHT), ("z", "newer"), ("permissions.facl", facl)] {
        site.meddle("rcat", name, content.as_bytes());
    }
    let dest = site.dest.path();
    write(dest, "tool", RIGHT);
    write(dest, "z", "old");
    chown(dest.join("tool"), Some(1000), Some(1000)).unwrap();
    let open = File::options().write(true).open(dest.join("tool")).unwrap();
    let mut options = site.pull_options();
    options.private = false;
    done(pull_plain(&site.remote(), &options));
    open.write_all_at(EVIL.as_bytes(), 0).unwrap();
    let meta = fs::metadata(dest.join("tool")).unwrap();
    assert_eq!((fs::read_to_string(dest.join("tool")).unwrap().as_str(), meta.mode() & 0o7777), (RIGHT, 0o6755));
}
