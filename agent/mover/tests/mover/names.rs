//! Every name that a Linux file system takes comes back, whatever rclone and the server make of it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use rstest::rstest;
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use scribe_mover::report::Reason;

use crate::support::tree::{assert_same, write};
use crate::support::{Layout, Site};

/// Parted by the one byte that is in no name.
const TEXT: &str = "\
    line\nbreak/\n/cr\r/\r\n/tab\t/\u{1}\u{7f}/bell\u{7}/c1\u{85}/quote\u{201b}/\u{201b}\u{201b}/\u{201b}\u{ff0f}/\
    wide\u{ff0f}/\u{ff0e}/\u{ff0e}\u{ff0e}/\u{ff1a}colon/replaced\u{fffd}/\u{feff}bom/\u{202e}rtl/\u{200b}/\u{1f4be}/（株）/\
    back\\slash/\\/a\\..\\b/ lead/trail / /  both  /glob*?[a]{b}/*/?/[/]/{a,b}/!not/#hash/# hash/;semi/; semi/&/$HOME/\
    $(true)/`true`/|/<>/\"/'/=/,/a+b/a b/%41/%/%2F/%00/^/~/~user/-dash/--flag/-/.../..foo/.hidden/trailing./trailing../\
    colon:name/s3:bucket/:memory:/C:/con/NUL.txt/x.partial/x.abcdef12.partial/y.rclonelink/.rclonelink/\
    z.rclonelink.rclonelink/permissions.facl/.scribe/.scribe-staging/lost+found/commit.json/@eaDir/Case/case/CASE/e\u{301}/\
    \u{e9}/\u{212b}/\u{c5}/A\u{30a}/\u{1100}\u{1161}/\u{ac00}/ﬁ/fi/ß/ss/ı/i";

/// One component each.
pub(crate) fn hostile() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = TEXT.split('/').map(|name| name.as_bytes().to_vec()).collect();
    names.extend((0x2400..=0x2426).map(|code| format!("pict{}", char::from_u32(code).unwrap()).into_bytes()));
    names.extend((1..0x20).map(|code: u8| vec![b'c', code, b'c']));
    names.extend([&b"not utf8 \xff\xfe"[..], b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf8\x88"].map(<[u8]>::to_vec));
    names.extend([200, 201, 250, 255].map(|length| vec![b'n'; length]));
    names.push("\u{e9}".repeat(127).into_bytes());
    names.push(vec![0xff; 255]);
    names
}

/// Of layout Files alone: of the other one, no object has a name of the volume. Some servers keep one of the forms that Unicode has for a text, or no dots and blanks at the end of a name.
#[test]
fn of_names_that_some_remotes_merge_one_is_a_name_there() {
    let site = Site::with_bucket();
    for name in ["\u{e9}", "e\u{301}", "a", "a.", "b", "b "] {
        write(site.source.path(), name, format!("content of {name}"));
    }
    site.push();
    assert_eq!(site.user_objects(), ["a", "b", "\u{e9}"]);
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

#[rstest]
fn hostile_names_survive_on_every_type_of_entry_and_at_every_depth(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let source = site.source.path();
    for (number, name) in hostile().iter().enumerate() {
        let name = OsStr::from_bytes(name);
        // At the top some names mean something else.
        if !matches!(name.as_bytes(), b".scribe-staging" | b"lost+found" | b".scribe") {
            write(source, name, format!("content {number}"));
        }
        write(source, Path::new("below").join(name), format!("below {number}"));
        write(source, Path::new("dirs").join(name).join("x"), format!("in {number}"));
        fs::create_dir_all(source.join("empty").join(name)).unwrap();
        fs::create_dir_all(source.join("links")).unwrap();
        symlink(name, source.join("links").join(name)).unwrap();
    }
    for name in [".scribe/commit.json", ".scribe/claim.json", ".scribe/objects/x", ".scribe/staged/x"] {
        write(source, name, name);
    }
    write(source, vec!["deep"; 180].join("/"), "deep");
    site.push();
    site.pull();
    assert_same(source, site.dest.path());

    // Replaced, removed, and turned into something else.
    for (number, name) in hostile().iter().enumerate() {
        let name = OsStr::from_bytes(name);
        let (below, dir) = (source.join("below").join(name), source.join("dirs").join(name));
        match number % 4 {
            0 => fs::write(below, format!("replaced {number}")).unwrap(),
            1 => fs::remove_file(below).unwrap(),
            2 => {
                fs::remove_file(&below).unwrap();
                write(&below, "now/a/directory", "x");
            }
            _ => {
                fs::remove_dir_all(&dir).unwrap();
                fs::write(&dir, "now a file").unwrap();
            }
        }
    }
    site.push();
    site.pull();
    assert_same(source, site.dest.path());
    assert!(!site.push().changed && !site.pull().changed);
}

/// Directories in one another, made step by step because no call takes so long a path.
fn nest(root: &Path, name: &str, depth: usize) {
    let mut dir = openat(CWD, root, OFlags::DIRECTORY | OFlags::PATH, Mode::empty()).unwrap();
    for _ in 0..depth {
        mkdirat(&dir, name, Mode::RWXU).unwrap();
        dir = openat(&dir, name, OFlags::DIRECTORY | OFlags::PATH, Mode::empty()).unwrap();
    }
}

#[rstest]
fn paths_up_to_what_linux_opens_come_back_and_longer_ones_are_named(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let source = site.source.path();
    // Room for the volume's own path and the staging folder's.
    let long = vec!["d".repeat(99); 39].join("/");
    write(source, &long, "deep down");
    site.push();
    site.pull();
    assert_same(source, site.dest.path());

    nest(source, &"e".repeat(250), 17);
    let failure = site.try_push().unwrap_err();
    assert_eq!(failure.reason, Reason::VolumeUnreadable);
    assert!(failure.message.contains("longer than the 4095 bytes that Linux opens") && failure.message.contains("eeee"), "{failure}");
    // Nothing of it was committed.
    site.pull();
    assert_eq!(fs::read(site.dest.path().join(&long)).unwrap(), b"deep down");
    assert!(!site.dest.path().join("e".repeat(250)).exists());
}
