//! Nothing outside the volume is read, written or deleted, whatever is put in the place of a folder, planted on the volume, mounted there, or
//! written into a manifest.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use assert_fs::TempDir;
use jiff::Timestamp;
use nix::libc;
use rstest::rstest;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use scribe_mover::digest::Digest;
use scribe_mover::format::documents::{Commit, Control, ManifestRef, seal, unseal};
use scribe_mover::format::manifest::Writer;
use scribe_mover::report::Reason;
use scribe_mover::volume::entry::{Entry, FileEntry, Kind, Location, Meta};
use scribe_mover::volume::path::RelPath;
use sha2::{Digest as _, Sha256};

use crate::support::beside::AtDrop;
use crate::support::program::{mover, report, without};
use crate::support::proxy::Action;
use crate::support::server::Backend;
use crate::support::tree::{assert_same, snapshot, write};
use crate::support::{Layout, Site, owner};

const SECRET: &str = "what lies outside of the volume";

/// A folder beside the volumes, with files of the names that theirs have.
fn outside() -> TempDir {
    let outside = TempDir::new().unwrap();
    for name in ["f", "gone", "deep/er"] {
        write(outside.path(), name, SECRET);
    }
    outside
}

/// A site whose source and destination have a folder `d`; the next revision replaces, removes and adds in it.
fn site(layout: Layout) -> Site {
    let site = Site::with_bucket().of(layout);
    for name in ["d/f", "d/gone", "d/deep/er", "z"] {
        write(site.source.path(), name, "old");
    }
    site.push();
    site.pull();
    write(site.source.path(), "d/f", "newer");
    write(site.source.path(), "d/new", "new");
    fs::remove_file(site.source.path().join("d/gone")).unwrap();
    site.push();
    site
}

/// `dir` becomes a link to `target`, and what it was is beside it.
fn swap(dir: &Path, target: &Path) {
    fs::rename(dir, dir.with_extension("moved")).unwrap();
    symlink(target, dir).unwrap();
}

/// While the content is on its way, a folder of the volume, or of the pull itself, becomes a link.
#[rstest]
#[case::of_the_volume("d", Reason::VolumeUnreadable)]
#[case::of_the_pull(".scribe-staging/in", Reason::VolumeUnreadable)]
#[case::of_the_pull_itself(".scribe-staging", Reason::VolumeUnreadable)]
fn a_folder_that_becomes_a_link_during_a_pull_leads_nowhere(
    #[case] folder: &'static str,
    #[case] reason: Reason,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let (site, outside) = (site(layout), outside());
    let before = snapshot(outside.path());
    let (dest, target) = (site.dest.path().to_path_buf(), outside.path().to_path_buf());
    let mut swapped = false;
    site.proxy.rule(move |request| {
        if layout.fetches(request, "d/f") && !std::mem::replace(&mut swapped, true) {
            swap(&dest.join(folder), &target);
        }
        Action::Pass
    });
    if let Err(failure) = site.try_pull() {
        assert_eq!(failure.reason, reason, "{failure}");
    }
    assert_eq!(snapshot(outside.path()), before);
    site.proxy.behave();
    let _ = fs::remove_dir_all(site.dest.path().join(".moved"));
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    assert_eq!(snapshot(outside.path()), before);
}

/// Links that lie where a pull keeps its own.
#[rstest]
fn planted_links_lead_nowhere(
    #[values(".scribe-staging", ".scribe-staging/ok", ".scribe-staging/in", ".scribe-staging/tmp")] name: &str,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let (site, outside) = (site(layout), outside());
    let before = snapshot(outside.path());
    let link = site.dest.path().join(name);
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    symlink(outside.path(), &link).unwrap();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    assert_eq!(snapshot(outside.path()), before);
}

/// Folders that others may write to: they could let rclone write elsewhere, or exchange what was verified.
#[rstest]
#[case::everybodys(0o777, 0)]
#[case::of_another_user(0o700, 65_534)]
fn a_planted_folder_is_replaced(#[case] mode: u32, #[case] uid: u32, #[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = site(layout);
    let planted = [".scribe-staging", ".scribe-staging/in", ".scribe-staging/ok"].map(|name| site.dest.path().join(name));
    for folder in &planted {
        fs::create_dir(folder).unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
        chown(folder, Some(uid), None).unwrap();
    }
    let (seen, note) = (Arc::new(Mutex::new(Vec::new())), planted.clone());
    let noted = Arc::clone(&seen);
    site.proxy.rule(move |request| {
        if layout.fetches(request, "d/f") {
            noted
                .lock()
                .unwrap()
                .extend(note.iter().map(|folder| fs::metadata(folder).unwrap()).map(|meta| (meta.mode() & 0o777, meta.uid())));
        }
        Action::Pass
    });
    site.pull();
    assert_eq!(*seen.lock().unwrap(), [(0o700, 0); 3]);
    assert_same(site.source.path(), site.dest.path());
}

/// While the content is on its way, a file takes the name of a folder: it does not get the folder's mode.
#[rstest]
fn what_takes_the_name_of_a_folder_keeps_its_mode(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    fs::create_dir_all(site.source.path().join("home/d")).unwrap();
    fs::set_permissions(site.source.path().join("home/d"), fs::Permissions::from_mode(0o777)).unwrap();
    write(site.source.path(), "z", "old");
    site.push();
    site.pull();
    write(site.source.path(), "z", "newer");
    site.push();
    let home = site.dest.path().join("home");
    write(&home, "secret", SECRET);
    fs::set_permissions(home.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    let moving = home.clone();
    let mut moved = false;
    site.proxy.rule(move |request| {
        if layout.fetches(request, "z") && !std::mem::replace(&mut moved, true) {
            fs::rename(moving.join("d"), moving.join("e")).unwrap();
            fs::rename(moving.join("secret"), moving.join("d")).unwrap();
        }
        Action::Pass
    });
    let failure = site.try_pull().unwrap_err();
    assert_eq!(failure.reason, Reason::VolumeUnreadable, "{failure}");
    assert_eq!(fs::metadata(home.join("d")).unwrap().mode() & 0o777, 0o600);
    site.proxy.behave();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

/// Exchanges `d` and a link to `target` again and again, until told to stop; then `d` is the folder.
fn exchange(root: &Path, target: &Path, stop: &AtomicBool) {
    let (dir, link) = (root.join("d"), root.join("l"));
    symlink(target, &link).unwrap();
    while !stop.load(Ordering::SeqCst) {
        // A pull may just have replaced the one or the other.
        let _ = renameat_with(CWD, &dir, CWD, &link, RenameFlags::EXCHANGE);
    }
    if dir.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) {
        fs::remove_file(&dir).unwrap();
    }
    match link.symlink_metadata() {
        Ok(meta) if meta.is_symlink() => fs::remove_file(&link).unwrap(),
        // A pull may have made another folder meanwhile.
        Ok(_) => fs::rename(&link, &dir).or_else(|_| fs::remove_dir_all(&link)).unwrap(),
        Err(_) => {}
    }
}

#[rstest]
fn folders_that_are_exchanged_for_links_all_the_time_lead_nowhere(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    const ROUNDS: usize = 6;
    let (site, outside) = (site(layout), outside());
    let before = snapshot(outside.path());
    for round in 0..ROUNDS {
        for name in ["d/f", "d/new", "d/deep/er"] {
            write(site.source.path(), name, format!("{name} of round {round}"));
        }
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let pushing = round % 2 == 0;
            let root = if pushing { site.source.path() } else { site.dest.path() };
            let stop_at_end = AtDrop(&stop);
            let swapping = scope.spawn(|| exchange(root, outside.path(), &stop));
            if pushing {
                let _ = site.try_push();
            } else {
                site.push();
                let _ = site.try_pull();
            }
            drop(stop_at_end);
            swapping.join().unwrap();
        });
        assert_eq!(snapshot(outside.path()), before);
        let sent = walkdir::WalkDir::new(site.server.buckets.path()).into_iter().map(|entry| entry.unwrap());
        for object in sent.filter(|entry| entry.file_type().is_file()) {
            let content = fs::read(object.path()).unwrap();
            assert!(!content.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()), "{} was sent", object.path().display());
        }
    }
    site.push();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

/// A mount is told and left out, as a file or a folder, of this device or another.
#[rstest]
fn what_is_mounted_below_the_root_is_left_out_and_told(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let (site, outside) = (site(layout), outside());
    fs::hard_link(outside.path().join("f"), outside.path().join("second")).unwrap();
    write(site.source.path(), "file", "inside");
    fs::create_dir(site.source.path().join("dir")).unwrap();
    let bind = |from: &Path, to: &str| {
        let to = site.source.path().join(to);
        assert!(Command::new("mount").arg("--bind").arg(from).arg(&to).status().unwrap().success(), "this needs root");
        to
    };
    let mounted = [bind(&outside.path().join("second"), "file"), bind(outside.path(), "dir")];
    let pushed = site.try_push();
    for mount in mounted {
        assert!(Command::new("umount").arg(mount).status().unwrap().success());
    }
    let pushed = pushed.unwrap();
    assert_eq!(pushed.skipped.get("otherFileSystems"), Some(&2), "{:?}", pushed.skipped);
    site.pull();
    assert!(!site.dest.path().join("dir").exists() && !site.dest.path().join("file").exists());
}

/// Replaces the manifest of a committed revision of layout Files, as whoever may write to the bucket can. What that can put there of layout Packs is in
/// `packs_hostile`.
fn forge(site: &Site, entries: &[Entry]) {
    forge_manifest(site, |revision| {
        let mut writer = Writer::new(Vec::new(), revision).unwrap();
        for entry in entries {
            writer.push(entry).unwrap();
        }
        writer.finish().unwrap()
    });
}

/// The same, by its bytes.
pub(crate) fn forge_manifest(site: &Site, make: impl FnOnce(&str) -> Vec<u8>) {
    let path = site.object(".scribe/commit.json");
    let Control::Present(commit) = unseal::<Commit>(&fs::read(&path).unwrap()).unwrap() else { panic!("no commit") };
    let manifest = make(&commit.revision);
    write(&site.object(""), format!(".scribe/manifests/{}.zst", commit.revision), &manifest);
    let sha256 = Digest(Sha256::digest(&manifest).into()).hex();
    let manifest = ManifestRef { size: manifest.len() as u64, sha256 };
    fs::write(path, seal(&Commit { manifest, owner: owner("db", "uid-1"), data_time: Timestamp::now(), ..commit }).unwrap()).unwrap();
}

/// A hard link through a symbolic link, which would give a name of the volume to a file outside of it.
#[rstest]
fn a_forged_hard_link_leads_nowhere(#[values("s/f", "s")] first: &str) {
    let site = Site::on(Backend::Local);
    write(site.source.path(), "a", "a");
    site.push();
    let outside = outside();
    let before = snapshot(outside.path());
    let entry =
        |name: &str, kind| Entry { path: RelPath::new(name.as_bytes()).unwrap(), meta: Meta { mode: 0o777, ..Meta::default() }, kind };
    let file = FileEntry {
        size: SECRET.len() as u64,
        sha256: Digest(Sha256::digest(SECRET).into()),
        at: Location::Own,
        changed: 1,
        link: RelPath::new(first.as_bytes()),
        holes: Box::default(),
        hints: None,
    };
    let target = outside.path().to_str().unwrap().as_bytes().into();
    forge(&site, &[entry("", Kind::Dir), entry("s", Kind::Symlink(target)), entry("t", Kind::File(file))]);
    let failure = site.try_pull().unwrap_err();
    assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
    assert!(failure.message.contains("hard link"), "{failure}");
    assert_eq!(snapshot(outside.path()), before);
    assert_eq!(fs::read_dir(site.dest.path()).unwrap().count(), 0);
}

/// What no push writes, and no volume could hold as it is said: refused before the volume is changed.
#[rstest]
#[case::name_too_long(&[b'x'; 300], Location::Object, 6, "longer than the 255 bytes")]
#[case::line_break(b"a\nb", Location::Own, 6, "a line break")]
#[case::another_size(b"a", Location::Own, 7, "another size")]
#[case::no_size(b"a", Location::Own, 0, "another size")]
fn a_forged_file_is_refused(#[case] name: &[u8], #[case] at: Location, #[case] size: u64, #[case] words: &str) {
    let site = Site::on(Backend::Local);
    let content = b"secret";
    write(site.source.path(), "a", content);
    site.push();
    site.pull();
    let before = snapshot(site.dest.path());
    let digest = Digest(Sha256::digest(content).into());
    write(&site.object(""), format!(".scribe/objects/{}", digest.hex()), content);
    let entry = |path: &[u8], kind| Entry { path: RelPath::new(path).unwrap(), meta: Meta { mode: 0o755, ..Meta::default() }, kind };
    let file = FileEntry { size, sha256: digest, at, changed: 1, link: None, holes: Box::default(), hints: None };
    forge(&site, &[entry(b"", Kind::Dir), entry(name, Kind::File(file))]);
    let failure = site.try_pull().unwrap_err();
    assert!(failure.message.contains(words), "{failure}");
    let held = |tree: &BTreeMap<Vec<u8>, String>| {
        tree.keys().filter(|name| !name.is_empty() && !name.starts_with(b".scribe-staging")).cloned().collect::<Vec<_>>()
    };
    assert_eq!(held(&snapshot(site.dest.path())), held(&before));
    assert_eq!(fs::read(site.dest.path().join("a")).unwrap(), content);
}

/// Everything would have to be deleted for it, the volume itself too.
#[test]
fn a_forged_tree_without_a_root_is_refused() {
    let site = Site::on(Backend::Local);
    write(site.source.path(), "a", "a");
    site.push();
    site.pull();
    forge(&site, &[]);
    let failure = site.try_pull().unwrap_err();
    assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
    assert!(failure.message.contains("no root") && site.dest.path().join("a").exists(), "{failure}");
}

#[rstest]
fn a_kernel_that_refuses_openat2_is_named(
    #[values("push", "pull")] verb: &str,
    #[values(1, 38)] errno: i32,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let site = site(layout);
    let command = mover(&site, verb, if verb == "push" { site.source.path() } else { site.dest.path() }, &[]);
    let mut without = without(libc::SYS_openat2, errno, &command);
    let output = without.env("TMPDIR", site.scratch.path()).output().unwrap();
    let report = report(&output);
    assert_eq!(report.reason, Some(Reason::VolumeUnreadable), "{}", report.message);
    assert!(report.message.contains("Linux 5.6") && report.message.contains("seccomp"), "{}", report.message);
}
