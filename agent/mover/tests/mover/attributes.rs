//! Extended attributes, ACLs, capabilities and holes: they come back, on every kind of entry, and what cannot come back is counted.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;
use std::process::Command;

use assert_fs::TempDir;
use rstest::rstest;
use rustix::fs::{XattrFlags, lgetxattr, lremovexattr, lsetxattr};
use scribe_mover::report::{Outcome, Report};
use scribe_mover::volume::xattrs::{ACL_ACCESS, ACL_DEFAULT, CAPABILITY};

use crate::support::program::mover;
use crate::support::tree::{acl, assert_same, assert_same_but_for_room, capability, set, touch, varied, write};
use crate::support::{Layout, Site};

/// Attributes of every kind on entries of every type.
fn decorate(root: &Path) {
    set(&root.join("plain"), b"user.colour", b"red");
    set(&root.join("plain"), b"user.binary \xff", b"\0\xff\n");
    set(&root.join("plain"), b"user.empty", b"");
    set(&root.join("plain"), b"trusted.secret", b"t");
    set(&root.join("big"), ACL_ACCESS, &acl(7, 4, 5));
    set(&root.join("big"), b"user.big", &[3; 3000]);
    set(&root.join("empty"), CAPABILITY, &capability());
    set(&root.join("link"), b"trusted.on.a.link", b"l");
    set(&root.join("pipe"), b"trusted.on.a.pipe", b"p");
    set(&root.join("pipe"), ACL_ACCESS, &acl(6, 0, 4));
    set(&root.join("hollow/inner"), b"user.dir", b"d");
    set(&root.join("hollow/inner"), ACL_DEFAULT, &acl(7, 5, 5));
    set(&root.join("sub"), ACL_ACCESS, &acl(7, 0, 7));
    set(root, b"user.root", b"r");
    set(root, ACL_DEFAULT, &acl(7, 7, 7));
}

#[rstest]
fn attributes_of_every_kind_come_back_on_every_type_of_entry(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let source = site.source.path();
    varied(source);
    decorate(source);
    // Belongs to the site that set it.
    set(&source.join("plain"), b"security.ima", b"\x04");
    let pushed = site.push();
    assert_eq!(pushed.skipped, BTreeMap::new());
    let pulled = site.pull();
    assert_eq!(pulled.skipped, BTreeMap::new());
    assert!(lgetxattr(site.dest.path().join("plain"), "security.ima", &mut [0u8; 9]).is_err());
    set(&site.dest.path().join("plain"), b"security.ima", b"\x05");
    lremovexattr(source.join("plain"), "security.ima").unwrap();
    lremovexattr(site.dest.path().join("plain"), "security.ima").unwrap();
    assert_same(source, site.dest.path());
    assert!(!site.push().changed && !site.pull().changed);
}

#[rstest]
fn a_change_of_attributes_alone_moves_no_content_and_settles(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let source = site.source.path();
    varied(source);
    decorate(source);
    site.push();
    site.pull();
    set(&source.join("plain"), b"user.colour", b"blue");
    set(&source.join("sub"), b"user.new", b"n");
    set(&source.join("big"), ACL_ACCESS, &acl(4, 4, 4));
    lremovexattr(source.join("empty"), CAPABILITY).unwrap();
    lremovexattr(source.join("pipe"), ACL_ACCESS).unwrap();
    lremovexattr(source, ACL_DEFAULT).unwrap();
    lremovexattr(source.join("link"), "trusted.on.a.link").unwrap();
    let pushed = site.push();
    assert!(pushed.changed && pushed.transferred == 0);
    let pulled = site.pull();
    assert!(pulled.changed && pulled.transferred == 0);
    assert_same(source, site.dest.path());
    assert!(!site.pull().changed);
}

#[rstest]
fn attributes_that_only_the_destination_has_go(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let source = site.source.path();
    varied(source);
    site.push();
    varied(site.dest.path());
    decorate(site.dest.path());
    // What is made in a directory with a default ACL begins with it.
    set(site.dest.path(), ACL_DEFAULT, &acl(7, 7, 7));
    write(source, "new/file", "inherits nothing");
    site.push();
    site.pull();
    assert_same(source, site.dest.path());
}

#[rstest]
fn a_capability_survives_the_change_of_owner_before_it(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let (source, dest) = (site.source.path(), site.dest.path());
    write(source, "ping", "program");
    lchown(source.join("ping"), Some(1234), Some(1234)).unwrap();
    fs::set_permissions(source.join("ping"), fs::Permissions::from_mode(0o4755)).unwrap();
    set(&source.join("ping"), CAPABILITY, &capability());
    site.push();
    site.pull();
    assert_same(source, dest);
    // Now on the file in place: the owner alone changes, and the kernel drops setuid and capability with it.
    lchown(source.join("ping"), Some(99), Some(99)).unwrap();
    fs::set_permissions(source.join("ping"), fs::Permissions::from_mode(0o4755)).unwrap();
    set(&source.join("ping"), CAPABILITY, &capability());
    site.push();
    let pulled = site.pull();
    assert_eq!((pulled.transferred, pulled.skipped), (0, BTreeMap::new()));
    assert_same(source, dest);
}

#[rstest]
fn values_as_large_as_linux_allows_come_back_or_are_counted(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let mut site = Site::with_bucket().of(layout);
    // tmpfs holds what ext4 has no room for.
    site.source = TempDir::new_in("/dev/shm").unwrap();
    let roomy = TempDir::new_in("/dev/shm").unwrap();
    let source = site.source.path();
    write(source, "a", "a");
    set(&source.join("a"), b"user.large", &vec![b'v'; 65536]);
    set(&source.join("a"), b"user.small", b"s");
    site.push();
    let narrow = std::mem::replace(&mut site.dest, roomy);
    assert_eq!(site.pull().skipped, BTreeMap::new());
    assert_same(site.source.path(), site.dest.path());

    site.dest = narrow;
    let fits = lsetxattr(site.dest.path(), "user.probe", &vec![0; 65536], XattrFlags::empty()).is_ok();
    let lost = if fits { BTreeMap::new() } else { BTreeMap::from([("userAttributes".to_owned(), 1)]) };
    let first = site.pull();
    assert_eq!((first.changed, &first.skipped), (true, &lost));
    let mut value = [0u8; 9];
    assert_eq!(lgetxattr(site.dest.path().join("a"), "user.small", &mut value).unwrap(), 1, "the others are there");
    let before = fs::metadata(site.dest.path()).unwrap().ctime_nsec();
    let again = site.pull();
    assert_eq!((again.changed, again.transferred, again.skipped), (false, 0, lost));
    assert_eq!(fs::metadata(site.dest.path()).unwrap().ctime_nsec(), before, "a pull that can change nothing leaves no trace");
}

/// 8 MiB, of which 128 KiB are data.
fn sparse(path: &Path) {
    let file = File::create(path).unwrap();
    file.set_len(8 << 20).unwrap();
    file.write_all_at(&vec![7; 65536], 1 << 20).unwrap();
    file.write_all_at(&vec![9; 65536], 6 << 20).unwrap();
}

fn room(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

#[rstest]
fn holes_come_back(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let (source, dest) = (site.source.path(), site.dest.path());
    sparse(&source.join("a"));
    // Content that two names share, and zeros that take room.
    fs::copy(source.join("a"), source.join("copy")).unwrap();
    sparse(&source.join("copy"));
    fs::hard_link(source.join("a"), source.join("linked")).unwrap();
    File::create(source.join("nothing")).unwrap().set_len(1 << 20).unwrap();
    write(source, "zeros", vec![0; 1 << 20]);
    site.push();
    let pulled = site.pull();
    assert_eq!(pulled.skipped, BTreeMap::new());
    match layout {
        Layout::Files => assert_same(source, dest),
        Layout::Packs => assert_same_but_for_room(source, dest),
    }
    for (name, most) in [("a", 256 << 10), ("copy", 256 << 10), ("nothing", 4096)] {
        assert!(room(&dest.join(name)) <= most, "{name} takes {} bytes", room(&dest.join(name)));
    }
    // Layout Packs has no blocks of zeros, and no list of holes.
    assert!(layout == Layout::Packs || room(&dest.join("zeros")) >= 1 << 20, "what is no hole is not made one");
}

#[rstest]
fn a_file_is_no_other_one_for_its_holes_alone(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let (source, dest) = (site.source.path(), site.dest.path());
    sparse(&source.join("a"));
    touch(&source.join("a"), 1000, 0);
    touch(source, 1000, 0);
    let pushed = site.push();
    let content = fs::read(source.join("a")).unwrap();
    fs::write(dest.join("a"), &content).unwrap();
    touch(&dest.join("a"), 1000, 0);
    fs::set_permissions(dest, fs::Permissions::from_mode(fs::metadata(source).unwrap().mode())).unwrap();
    touch(dest, 1000, 0);
    let pulled = site.pull();
    assert_eq!((pulled.changed, pulled.transferred), (false, 0), "a full file with the same content stays");
    // The same on the source: filled, nothing else changed.
    fs::write(source.join("a"), &content).unwrap();
    touch(&source.join("a"), 1000, 0);
    let again = site.push();
    assert_eq!((again.changed, again.revision), (false, pushed.revision));
}

#[rstest]
fn symlinks_themselves_are_meant(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let outside = TempDir::new().unwrap();
    write(outside.path(), "victim", "v");
    symlink(outside.path().join("victim"), site.source.path().join("link")).unwrap();
    set(&site.source.path().join("link"), b"trusted.mine", b"1");
    lchown(site.source.path().join("link"), Some(55), Some(55)).unwrap();
    let before = fs::metadata(outside.path().join("victim")).unwrap();
    site.push();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    let after = fs::metadata(outside.path().join("victim")).unwrap();
    assert_eq!((before.uid(), before.ctime_nsec(), before.mode()), (after.uid(), after.ctime_nsec(), after.mode()));
}

#[rstest]
fn a_file_system_that_holds_none_of_it_is_no_failure_and_settles(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let source = site.source.path();
    varied(source);
    decorate(source);
    // Begins with the ACL that the root has for what is made in it.
    sparse(&source.join("sparse"));
    site.push();
    // ramfs knows neither attributes nor holes. Only these commands see it.
    let script = "volume=$1; shift; mount -t ramfs none \"$volume\" && \"$@\" && \"$@\" && stat -c %a \"$volume\"/big \"$volume\"/sub";
    let pull = mover(&site, "pull", site.dest.path(), &[]);
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec", script, "sh"]).arg(site.dest.path()).arg(pull.get_program()).args(pull.get_args());
    let output = String::from_utf8(command.env("TMPDIR", site.scratch.path()).output().unwrap().stdout).unwrap();
    let reports: Vec<Report> = output.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let lost = [("userAttributes", 4), ("trustedAttributes", 3), ("acls", 6), ("capabilities", 1), ("holes", 1)];
    // Layout Packs writes no blocks of zeros, and has no holes that could be lost.
    let told = |kind: &str| layout == Layout::Files || kind != "holes";
    let mut lost: BTreeMap<String, u64> =
        lost.into_iter().filter(|(kind, _)| told(kind)).map(|(kind, count)| (kind.to_owned(), count)).collect();
    let [first, again] = &reports[..] else { panic!("{output}") };
    assert_eq!((first.result, first.changed, &first.skipped), (Outcome::Successful, true, &lost), "{}", first.message);
    // Holes are given only to what is put in place.
    lost.remove("holes");
    assert_eq!((again.result, again.changed, &again.skipped), (Outcome::Successful, false, &lost), "{}", again.message);
    // What was the most that anybody in the ACL may do is not what the group may.
    assert!(output.ends_with("\n6740\n700\n"), "{output}");
}
