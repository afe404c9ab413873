//! A user's volume gets all of a revision or nothing: what it cannot take shows before anything of it is changed. Needs root, for small file
//! systems of their own.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use assert_fs::TempDir;
use nix::libc;
use rstest::rstest;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use scribe_mover::error::Result;
use scribe_mover::guard::Guard;
use scribe_mover::pull::{PullOptions, Synced, pull};
use scribe_mover::report::Reason;

use crate::support::program::{mover, report, without};
use crate::support::proxy::Action;
use crate::support::server::Backend;
use crate::support::tree::{set, snapshot, write};
use crate::support::{Layout, Local, Site, done};

/// An ext4 of its own, in a file.
struct Image {
    dir: TempDir,
    file: TempDir,
}

impl Image {
    fn new(kib: u64, options: &[&str]) -> Self {
        let image = Self { dir: TempDir::new().unwrap(), file: TempDir::new_in("/dev/shm").unwrap() };
        let path = image.file.path().join("image");
        fs::File::create(&path).unwrap().set_len(kib << 10).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-b", "1024", "-m", "0"]).args(options).arg(&path));
        run(Command::new("mount").args(["-o", "loop"]).arg(&path).arg(image.dir.path()));
        image
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

fn run(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}: this needs root");
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.dir.path()).status();
    }
}

/// A path with two revisions; the second one has something of every kind to put in place.
fn site(layout: Layout) -> Local {
    let site = Local::new();
    first(site.source.path());
    push(&site, layout);
    site
}

fn second(site: &Local, layout: Layout) {
    change(site.source.path());
    push(site, layout);
}

fn first(source: &Path) {
    for name in ["a/replaced", "a/kept", "a/gone", "z/replaced", "becomes a folder"] {
        write(source, name, format!("old {name}"));
    }
}

fn change(source: &Path) {
    for name in ["a/replaced", "z/replaced", "z/new", "twice/a", "twice/b"] {
        write(source, name, format!("new {}", name.split('/').next().unwrap()).repeat(300));
    }
    fs::remove_file(source.join("a/gone")).unwrap();
    fs::remove_file(source.join("becomes a folder")).unwrap();
    for number in 0..30 {
        write(source, format!("becomes a folder/with/a long name, so that it takes room in its folder {number}"), "");
    }
    symlink("x".repeat(200), source.join("a/long link")).unwrap();
    fs::hard_link(source.join("a/kept"), source.join("z/linked")).unwrap();
    fs::hard_link(source.join("z/new"), source.join("z/newly linked")).unwrap();
    mknodat(CWD, source.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    set(&source.join("z/new"), b"user.x", &[7; 200]);
}

fn push(site: &Local, layout: Layout) {
    layout.push(&site.remote(), &site.push_options()).unwrap();
}

fn try_pull(site: &Local, volume: &Path, private: bool) -> Result<Synced> {
    // What fills a volume goes with a pull.
    let guard = Guard { percent: 100, floor: 10_000, allowed: None };
    pull(&site.remote(), &PullOptions { volume: volume.into(), applied: None, private, guard }).map(|outcome| done(Ok(outcome)))
}

/// Everything but what the pull keeps for itself, and but times and room of directories, which that changes.
fn live(volume: &Path) -> BTreeMap<Vec<u8>, String> {
    let own = |name: &[u8]| [&b".scribe-staging"[..], b"lost+found", b"filler"].iter().any(|own| name.starts_with(own));
    let entries = snapshot(volume).into_iter().filter(|(name, _)| !name.is_empty() && !own(name));
    entries.map(|(name, what)| (name, if what.starts_with("dir") { "dir".to_owned() } else { what })).collect()
}

fn wanted(site: &Local) -> BTreeMap<Vec<u8>, String> {
    live(site.source.path())
}

/// Pulls with ever more room, from none on, until it is enough.
fn with_ever_more_room(layout: Layout, image: &Image, fill: impl Fn(u64) -> bool) {
    let site = site(layout);
    try_pull(&site, image.path(), false).unwrap();
    let old = live(image.path());
    second(&site, layout);
    let filler = image.path().join("filler");
    let mut refused = 0;
    for room in 0.. {
        fs::create_dir(&filler).unwrap();
        assert!(fill(room), "it fits nowhere");
        match try_pull(&site, image.path(), false) {
            Ok(_) => {
                assert_eq!(live(image.path()), wanted(&site), "with room {room}");
                break;
            }
            Err(failure) => {
                assert_eq!(failure.reason, Reason::NoSpace, "with room {room}: {failure}");
                assert_eq!(live(image.path()), old, "with room {room}: {failure}");
                refused += 1;
            }
        }
        fs::remove_dir_all(&filler).unwrap();
        // There may have been no inode for it.
        let _ = fs::remove_dir_all(image.path().join(".scribe-staging"));
    }
    assert!(refused > 3, "{refused}");
}

#[rstest]
fn a_disk_that_is_full_at_any_step_leaves_the_volume_as_it_was(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let image = Image::new(2048, &["-O", "^has_journal", "-N", "512"]);
    let filler = image.path().join("filler");
    with_ever_more_room(layout, &image, |room| {
        let file = fs::File::create(filler.join("blocks")).unwrap();
        let free = rustix::fs::statvfs(image.path()).unwrap();
        // Four blocks at a time, or more where much more is needed.
        let room = if layout == Layout::Files { room } else { room * 6 };
        let Some(take) = (free.f_bavail * free.f_frsize).checked_sub(room * 4096) else { return false };
        take == 0 || rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, take.saturating_sub(8192).max(1024)).is_ok()
    });
}

#[rstest]
fn inodes_that_run_out_at_any_step_leave_the_volume_as_it_was(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let image = Image::new(2048, &["-O", "^has_journal", "-N", "128"]);
    let filler = image.path().join("filler");
    with_ever_more_room(layout, &image, |room| {
        let free = rustix::fs::statvfs(image.path()).unwrap().f_favail;
        let Some(take) = free.checked_sub(room * if layout == Layout::Files { 3 } else { 8 }) else { return false };
        (0..take).all(|number| fs::File::create(filler.join(number.to_string())).is_ok())
    });
}

/// Every second file of the first revision is immutable, or a folder is: nothing is changed, and it is named.
#[rstest]
#[case("a/replaced", "a/replaced")]
#[case("a/gone", "a/gone")]
#[case("z", "z")]
fn what_is_immutable_is_named_before_anything_is_changed(
    #[case] name: &str,
    #[case] named: &str,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let (site, image) = (site(layout), Image::new(4096, &[]));
    try_pull(&site, image.path(), false).unwrap();
    let old = live(image.path());
    second(&site, layout);
    run(Command::new("chattr").arg("+i").arg(image.path().join(name)));
    let failure = try_pull(&site, image.path(), false).unwrap_err();
    let unchanged = live(image.path());
    run(Command::new("chattr").arg("-i").arg(image.path().join(name)));
    assert_eq!(failure.reason, Reason::VolumeUnreadable, "{failure}");
    assert!(failure.message.contains(named) && failure.message.contains("immutable"), "{failure}");
    assert_eq!(unchanged, old);
    try_pull(&site, image.path(), false).unwrap();
    assert_eq!(live(image.path()), wanted(&site));
}

/// A volume that has no links, or no pipes, such as an SMB share; or that takes no more names of one inode (EMLINK).
#[rstest]
#[case::hard_links(libc::SYS_linkat, libc::EOPNOTSUPP, "cannot hold hard links")]
#[case::many_hard_links(libc::SYS_linkat, libc::EMLINK, "as many names of one file")]
#[case::symbolic_links(libc::SYS_symlinkat, libc::EOPNOTSUPP, "symbolic link")]
#[case::pipes(libc::SYS_mknodat, libc::EPERM, "pipe")]
fn a_volume_that_cannot_hold_a_kind_of_entry_stays_as_it_was(
    #[case] call: i64,
    #[case] errno: i32,
    #[case] named: &str,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let site = Site::on(Backend::Local).of(layout);
    first(site.source.path());
    site.push();
    site.pull();
    let old = live(site.dest.path());
    change(site.source.path());
    site.push();
    let mut mover = without(call, errno, &mover(&site, "pull", site.dest.path(), &[]));
    let report = report(&mover.env("TMPDIR", site.scratch.path()).output().unwrap());
    assert_eq!(report.reason, Some(Reason::VolumeUnreadable), "{}", report.message);
    assert!(report.message.contains(named), "{}", report.message);
    assert_eq!(live(site.dest.path()), old);
    site.pull();
    assert_eq!(live(site.dest.path()), live(site.source.path()));
}

/// What an application removes while a pull fetches is gone, and stops nothing.
#[rstest]
fn what_an_application_removed_meanwhile_is_no_failure(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let pull_it = || done(pull(&site.remote(), &PullOptions { private: false, ..site.pull_options() }));
    first(site.source.path());
    site.push();
    pull_it();
    change(site.source.path());
    fs::set_permissions(site.source.path().join("becomes a folder"), fs::Permissions::from_mode(0o711)).unwrap();
    site.push();
    let dest = site.dest.path().to_path_buf();
    site.proxy.rule(move |request| {
        if layout.fetches(request, "z/new") {
            for name in ["a/gone", "becomes a folder", "a/replaced"] {
                let _ = fs::remove_file(dest.join(name));
            }
            let _ = fs::remove_dir_all(dest.join("z"));
        }
        Action::Pass
    });
    pull_it();
    site.proxy.behave();
    assert_eq!(fs::read(site.dest.path().join("z/new")).unwrap(), fs::read(site.source.path().join("z/new")).unwrap());
    pull_it();
    assert_eq!(live(site.dest.path()), live(site.source.path()));
}

/// Of layout Files alone: a pull of layout Packs changes files in place, and needs the room of all that is new beforehand.
#[test]
fn a_private_volume_of_small_files_is_replaced_in_parts() {
    let (site, image) = (Local::new(), Image::new(3072, &["-O", "^has_journal", "-N", "1400"]));
    let fill = |version: &str| {
        for number in 0..900 {
            write(site.source.path(), format!("d{}/{number}", number % 7), format!("{version} {number}"));
        }
        push(&site, Layout::Files);
    };
    fill("old");
    try_pull(&site, image.path(), true).unwrap();
    fill("new");
    try_pull(&site, image.path(), true).unwrap();
    assert_eq!(live(image.path()), wanted(&site));
}
