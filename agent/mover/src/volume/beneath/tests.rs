use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, symlink};

use assert_fs::TempDir;
use rustix::fs::XattrFlags;

use super::*;
use crate::volume::entry::Time;

fn path(path: &str) -> RelPath {
    RelPath::new(path.as_bytes()).unwrap()
}

fn read(root: &Root, name: &str) -> Option<String> {
    let mut file = root.file(&path(name)).unwrap()?;
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    Some(text)
}

/// A volume with a folder `d`, a link `link` to a folder outside, one within, and a pipe.
fn volume() -> (TempDir, TempDir, Root) {
    let (dir, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::create_dir(dir.path().join("d")).unwrap();
    fs::write(dir.path().join("d/f"), "inside").unwrap();
    fs::write(outside.path().join("f"), "outside").unwrap();
    symlink(outside.path(), dir.path().join("link")).unwrap();
    symlink("d", dir.path().join("near")).unwrap();
    symlink("d/f", dir.path().join("file")).unwrap();
    rustix::fs::mkfifoat(CWD, dir.path().join("pipe"), Mode::RWXU).unwrap();
    let root = Root::open(dir.path()).unwrap();
    (dir, outside, root)
}

#[test]
fn a_file_is_opened_and_nothing_else_nor_through_a_link() {
    let (dir, outside, root) = volume();
    assert_eq!(read(&root, "d/f").as_deref(), Some("inside"));
    for path in ["link/f", "near/f", "file", "pipe", "d", "none", "d/f/x"] {
        assert_eq!(read(&root, path), None, "{path}");
    }
    // The folder itself becomes a link that leads out of the volume.
    fs::rename(dir.path().join("d"), dir.path().join("moved")).unwrap();
    symlink(outside.path(), dir.path().join("d")).unwrap();
    assert_eq!(read(&root, "d/f"), None);
}

#[test]
fn nothing_is_made_moved_or_removed_through_a_link() {
    let (_dir, outside, root) = volume();
    for through in ["link/f", "near/f"] {
        let (through, own) = (path(through), path("d/f"));
        assert!(is_gone(&root.at(&through).unwrap_err()) && is_gone(&root.hold(&through).unwrap_err()));
        assert!(root.find(&through).unwrap().is_none() && root.find(&own).unwrap().is_some());
        assert!(root.folder(&path("link")).is_err() && root.below(&path("near")).is_err());
    }
    root.remove_tree(&path("link")).unwrap();
    root.remove_tree(&path("none")).unwrap();
    assert!(root.find(&path("link")).unwrap().is_none());
    assert_eq!(fs::read(outside.path().join("f")).unwrap(), b"outside");
    symlink(outside.path(), root.shown(&path("d/planted"))).unwrap();
    fs::create_dir_all(root.shown(&path("d/deep/er"))).unwrap();
    root.remove_tree(&path("d")).unwrap();
    assert!(root.find(&path("d")).unwrap().is_none());
    assert_eq!(fs::read(outside.path().join("f")).unwrap(), b"outside");
}

#[test]
fn metadata_is_that_of_the_entry_and_of_a_link_itself() {
    let (dir, outside, root) = volume();
    let target = outside.path().join("f");
    symlink(&target, dir.path().join("to_file")).unwrap();
    let before = target.symlink_metadata().unwrap();
    let link = root.hold(&path("to_file")).unwrap();
    assert_eq!(*link.target().unwrap(), *target.as_os_str().as_bytes());
    link.set_owner(Some(7), 8).unwrap();
    link.set_mtime(Time { secs: 9, nanos: 10 }).unwrap();
    link.set_attribute(b"trusted.own", b"1").unwrap();
    link.set_mode(0o777).unwrap_err();
    let after = target.symlink_metadata().unwrap();
    assert_eq!((after.uid(), after.gid(), after.mtime_nsec(), after.ctime_nsec()), {
        (before.uid(), before.gid(), before.mtime_nsec(), before.ctime_nsec())
    });
    let seen = link.look().unwrap();
    assert_eq!((seen.uid, seen.gid, seen.mtime), (7, 8, Time { secs: 9, nanos: 10 }));
    let mut names = [0; 64];
    let length = link.list_attributes(&mut names).unwrap();
    assert_eq!(&names[..length], b"trusted.own\0");

    // Held, it is the same file whatever takes its name.
    let held = root.hold(&path("d/f")).unwrap();
    fs::rename(dir.path().join("d"), dir.path().join("moved")).unwrap();
    symlink(outside.path(), dir.path().join("d")).unwrap();
    held.set_mode(0o640).unwrap();
    held.set_attribute(b"user.x", b"y").unwrap();
    assert_eq!(dir.path().join("moved/f").metadata().unwrap().mode() & 0o777, 0o640);
    assert_eq!(target.metadata().unwrap().mode(), before.mode());
    assert!(rustix::fs::setxattr(dir.path().join("moved/f"), "user.x", b"", XattrFlags::CREATE).is_err());
}

#[test]
fn what_is_mounted_below_the_root_is_another_file_system() {
    // Of the machine: it has it everywhere.
    let root = Root::open(Path::new("/")).unwrap();
    assert!(is_elsewhere(&root.hold(&path("proc")).unwrap_err()));
    assert!(is_elsewhere(&root.folder(&path("proc/self")).unwrap_err()));
    assert!(root.file(&path("proc/version")).unwrap().is_none());
}

#[test]
fn files_are_found_in_all_folders() {
    let (_dir, _outside, root) = volume();
    fs::write(root.shown(&path("g")), "g").unwrap();
    let mut found: Vec<String> = root.files().map(|file| file.unwrap().to_string()).collect();
    found.sort();
    assert_eq!(found, ["d/f", "g"]);
}
