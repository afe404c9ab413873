use super::*;
use assert_fs::TempDir;
use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::Path;

struct Walked {
    found: Vec<Found>,
    skipped: BTreeMap<String, u64>,
    staging: bool,
}

fn look(root: &Path) -> Walked {
    let stop = Stop::default();
    let root = Root::open(root).unwrap();
    let mut walk = walk(&root, &stop).unwrap();
    let found = walk.by_ref().collect::<Result<_>>().unwrap();
    Walked { found, skipped: walk.skipped, staging: walk.staging }
}

#[test]
fn the_walk_is_in_path_order_and_counts_what_it_leaves_out() {
    let dir = TempDir::new().unwrap();
    for name in ["a.b", "a-b", "sub/lost+found/x", "lost+found/x", "sub/.scribe-staging"] {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "12345").unwrap();
    }
    symlink("nowhere", dir.path().join("a")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
    let walk = look(dir.path());
    let names: Vec<_> = walk.found.iter().map(|f| String::from_utf8_lossy(f.path.as_bytes()).into_owned()).collect();
    assert_eq!(names, ["", "a", "a-b", "a.b", "sub", "sub/.scribe-staging", "sub/lost+found", "sub/lost+found/x"]);
    assert_eq!(walk.skipped, BTreeMap::from([("lostAndFound".into(), 1), ("sockets".into(), 1)]));
    assert_eq!(walk.found[1].kind, FoundKind::Symlink((*b"nowhere").into()));
    assert_eq!(walk.found[2].kind, FoundKind::File(5));
    assert!(!walk.staging);
}

#[test]
fn attributes_are_part_of_an_entry_and_labels_of_the_site_are_not() {
    let dir = TempDir::new().unwrap();
    for name in ["a", "b"] {
        std::fs::write(dir.path().join(name), name).unwrap();
    }
    let set = |name: &str, value: &[u8]| rustix::fs::setxattr(dir.path().join("a"), name, value, rustix::fs::XattrFlags::empty());
    let plain = look(dir.path());
    set("user.colour", b"red").unwrap();
    let coloured = look(dir.path());
    assert_eq!(coloured.found[1].meta.attributes.get(b"user.colour"), Some(&b"red"[..]));
    assert_ne!(plain.found[1], coloured.found[1]);
    assert_eq!(plain.found[2], coloured.found[2]);
    assert!(coloured.skipped.is_empty());
}

#[test]
fn staging_of_an_unfinished_pull_is_reported_and_not_entered() {
    let dir = TempDir::new().unwrap();
    std::fs::create_dir_all(dir.path().join(STAGING_DIR).join("x")).unwrap();
    let walk = look(dir.path());
    assert!(walk.staging && walk.found.len() == 1);
}

#[test]
fn what_is_listed_and_cannot_be_read_is_named_and_what_was_removed_is_left_out() {
    let dir = TempDir::new().unwrap();
    for name in ["a/removed", "b/removed", "c/ghost", "z"] {
        std::fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
        std::fs::write(dir.path().join(name), "x").unwrap();
    }
    let stop = Stop::default();
    let root = Root::open(dir.path()).unwrap();
    let mut walk = super::walk(&root, &stop).unwrap();
    // Removed right after it was found, and right after its directory was read.
    let names = walk.by_ref().map(|found| found.unwrap().path.to_string()).inspect(|name| match name.as_str() {
        "a" => std::fs::remove_dir_all(dir.path().join("a")).unwrap(),
        "b" => std::fs::remove_file(dir.path().join("b/removed")).unwrap(),
        _ => {}
    });
    assert_eq!(names.collect::<Vec<_>>()[1..], ["a", "b", "c", "c/ghost", "z"]);
    assert_eq!(walk.unsettled, []);

    let hold: fn(&Folder, &OsStr) -> io::Result<Held> =
        |folder, name| if name == "ghost" { Err(Errno::NOENT.into()) } else { folder.hold(name) };
    let failure = walk_with(&root, &stop, Eyes { hold, ..EYES }).unwrap().find_map(Result::err).unwrap();
    assert_eq!(failure.reason, Reason::VolumeUnreadable);
    assert!(failure.message.contains("c/ghost"), "{failure}");
}

type Names = fn(&Root, &RelPath) -> io::Result<Vec<OsString>>;

#[test]
fn a_directory_that_cannot_be_opened_is_named_and_one_that_is_back_is_noted() {
    let dir = TempDir::new().unwrap();
    let there = dir.path().join("d");
    let root = Root::open(dir.path()).unwrap();
    let ghost: Names = |root, dir| root.hold(dir).map(|_| vec!["d".into()]);
    let back: Names = |root, dir| {
        if dir.is_root() {
            std::fs::create_dir_all(root.shown(dir).join("d"))?;
        }
        root.names(dir)
    };
    let stop = Stop::default();
    for names in [ghost, back] {
        std::fs::create_dir_all(there.join("below")).unwrap();
        let mut walk = walk_with(&root, &stop, Eyes { names, ..EYES }).unwrap();
        assert!(walk.next().unwrap().unwrap().path.is_root());
        std::fs::remove_dir_all(&there).unwrap();
        match walk.next() {
            None => assert_eq!(walk.unsettled[0].as_bytes(), b"d"),
            Some(failure) => {
                let failure = failure.unwrap_err();
                assert!(failure.reason == Reason::VolumeUnreadable && failure.message.contains(" d "), "{failure}");
            }
        }
        assert_eq!(walk.unsettled.is_empty(), !there.exists());
    }
}

#[test]
fn a_missing_volume_is_named() {
    let failure = Root::open(Path::new("/nonexistent/volume")).unwrap_err();
    assert_eq!(failure.reason, Reason::VolumeUnreadable);
    assert!(failure.message.contains("/nonexistent/volume"));
}

/// What is left out whatever its type is not looked at: a name that cannot be read may be left out, and a folder is not opened.
#[test]
fn what_is_left_out_is_not_looked_at() {
    let dir = TempDir::new().unwrap();
    for name in ["kept", "broken", "folder/below", "sub/broken"] {
        std::fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
        std::fs::write(dir.path().join(name), "x").unwrap();
    }
    let broken = Eyes {
        hold: |folder, name| match name.to_str() {
            Some("broken" | "below") => Err(Errno::IO.into()),
            _ => folder.hold(name),
        },
        ..EYES
    };
    let (root, stop) = (Root::open(dir.path()).unwrap(), Stop::default());
    let names = |patterns: &[&str]| {
        let exclude = Exclude::new(patterns).unwrap();
        let walk = walk_with(&root, &stop, broken).unwrap().without(&exclude);
        walk.map(|found| Ok(found?.path.to_string())).collect::<Result<Vec<_>>>()
    };
    assert!(names(&["folder"]).unwrap_err().message.contains("broken"));
    assert_eq!(names(&["broken", "folder/"]).unwrap()[1..], ["kept", "sub"]);
    assert!(names(&["broken", "folder", "!below"]).unwrap().len() == 3, "nothing below it is taken back");
}
