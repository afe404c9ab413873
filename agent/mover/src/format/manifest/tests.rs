use super::*;
use crate::digest::Digest;
use crate::format::lines::LONGEST_LINE;
use crate::volume::entry::{FileEntry, Hints, Location, Meta, Time};
use crate::volume::holes::Hole;
use crate::volume::xattrs::{Attribute, Attributes};

fn entry(path: &[u8], kind: Kind) -> Entry {
    let attribute = |name: &[u8], value: &[u8]| Attribute { name: name.into(), value: value.into() };
    let attributes = Attributes::new(vec![attribute(b"user.\xff", b"\0\xff"), attribute(b"system.posix_acl_access", b"")]);
    let meta = Meta { mode: 0o4755, uid: 7, gid: 8, mtime: Time { secs: -2, nanos: 999_999_999 }, attributes };
    Entry { path: RelPath::new(path).unwrap(), meta, kind }
}

fn file(link: Option<&[u8]>) -> Kind {
    Kind::File(FileEntry {
        size: 5,
        sha256: Digest([0xab; 32]),
        at: Location::Staged,
        changed: 3,
        link: link.map(|l| RelPath::new(l).unwrap()),
        hints: Some(Hints { ctime: Time { secs: 9, nanos: 1 }, inode: u64::MAX }),
        holes: [Hole { start: 0, length: 2 }, Hole { start: 4, length: 1 }].into(),
    })
}

fn sample() -> Vec<Entry> {
    vec![
        entry(b"", Kind::Dir),
        entry(b"a", file(None)),
        entry(b"b", Kind::Dir),
        entry(b"b/\xff\n", file(Some(b"a"))),
        entry(b"c", Kind::Symlink(b"../\xfe".as_slice().into())),
        entry(b"d", Kind::Fifo),
    ]
}

fn packed(entries: &[Entry]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), "R").unwrap();
    for entry in entries {
        writer.push(entry).unwrap();
    }
    writer.finish().unwrap()
}

fn read(input: &[u8], revision: &str) -> Result<Vec<Entry>> {
    super::read(input, revision)?.collect()
}

#[test]
fn everything_comes_back() {
    assert_eq!(read(&packed(&sample()), "R").unwrap(), sample());
}

#[test]
fn damage_is_noticed_at_any_length() {
    let bytes = packed(&sample());
    for cut in 0..bytes.len() {
        let failure = read(&bytes[..cut], "R").unwrap_err();
        assert_eq!(failure.reason, Reason::RemoteInconsistent, "cut at {cut}");
    }
}

#[test]
fn entries_that_would_leave_their_directory_are_refused() {
    let through_link = [entry(b"", Kind::Dir), entry(b"a", Kind::Symlink((*b"/etc").into())), entry(b"a/passwd", file(None))];
    let unordered = [entry(b"", Kind::Dir), entry(b"b", file(None)), entry(b"a", file(None))];
    let twice = [entry(b"", Kind::Dir), entry(b"b", file(None)), entry(b"b", file(None))];
    for bad in [&through_link[..], &unordered, &twice, &through_link[1..]] {
        assert_eq!(read(&packed(bad), "R").unwrap_err().reason, Reason::RemoteInconsistent);
    }
}

#[test]
fn a_name_that_pulls_keep_for_themselves_is_refused() {
    let root = entry(b"", Kind::Dir);
    for path in [&b".scribe-staging"[..], b".scribe-staging/ok"] {
        let text = packed(&[root.clone(), entry(path, Kind::Dir)]);
        let failure = read(&text, "R").unwrap_err();
        assert!(failure.message.contains("a name that pulls keep for themselves"), "{failure}");
    }
}

/// The kernel takes that number for "as it is".
#[test]
fn an_owner_that_is_none_is_refused() {
    for (uid, gid) in [(u32::MAX, 0), (0, u32::MAX)] {
        let mut root = entry(b"", Kind::Dir);
        (root.meta.uid, root.meta.gid) = (uid, gid);
        assert!(read(&packed(&[root]), "R").unwrap_err().message.contains("an impossible owner"));
    }
}

#[test]
fn older_manifests_have_neither_attributes_nor_holes() {
    let text = format!(
        "{}\n{}\n{}\n",
        r#"{"format":1,"revision":"R"}"#,
        r#"{"p":"","t":"d","m":493,"o":[0,0],"mt":[0,0]}"#,
        format_args!(r#"{{"p":"a","t":"f","m":420,"o":[0,0],"mt":[0,0],"s":5,"h":"{}","g":1}}"#, "ab".repeat(32)),
    );
    let entries = read(&zstd::encode_all(text.as_bytes(), 1).unwrap(), "R").unwrap();
    assert!(entries.iter().all(|entry| entry.meta.attributes.is_empty()));
    let older = &entries[1];
    let mut newer = older.clone();
    newer.meta.attributes = Attributes::new(vec![Attribute { name: (*b"user.a").into(), value: Box::default() }]);
    assert!(!older.same_result(&newer), "attributes found by an upgraded source are pushed");
    let Kind::File(file) = &mut newer.kind else { unreachable!() };
    file.holes = [Hole { start: 0, length: 5 }].into();
    newer.meta.attributes = Attributes::default();
    assert!(older.same_result(&newer), "holes alone make no new revision");
}

#[test]
fn attributes_of_a_newer_program_are_ignored_and_impossible_ones_refused() {
    let line = |members: &str| {
        let text =
            format!("{}\n{{\"p\":\"\",\"t\":\"d\",\"m\":493,\"o\":[0,0],\"mt\":[0,0],{members}}}\n", r#"{"format":1,"revision":"R"}"#);
        read(&zstd::encode_all(text.as_bytes(), 1).unwrap(), "R")
    };
    assert!(line(r#""x":{"security.selinux":"00","system.nfs4_acl":"00"}"#).unwrap()[0].meta.attributes.is_empty());
    assert_eq!(line(r#""x":{"user.a":"0"}"#).unwrap_err().reason, Reason::RemoteInconsistent);
    assert_eq!(line(r#""xx":{"zz":"00"}"#).unwrap_err().reason, Reason::RemoteInconsistent);
}

#[test]
fn holes_outside_their_file_are_refused() {
    let mut bad = sample();
    let Kind::File(file) = &mut bad[1].kind else { unreachable!() };
    file.holes = [Hole { start: 4, length: 2 }].into();
    assert_eq!(read(&packed(&bad), "R").unwrap_err().reason, Reason::RemoteInconsistent);
}

#[test]
fn unknown_members_are_ignored_and_unknown_formats_are_not() {
    let zst = |text: &str| zstd::encode_all(text.as_bytes(), 1).unwrap();
    let root = r#"{"p":"","t":"d","m":493,"o":[0,0],"mt":[0,0],"new":[1]}"#;
    assert_eq!(read(&zst(&format!("{{\"format\":1,\"revision\":\"R\",\"new\":1}}\n{root}\n")), "R").unwrap().len(), 1);
    let newer = read(&zst("{\"format\":2,\"revision\":\"R\"}\n"), "R").unwrap_err();
    assert!(newer.message.contains("newer"), "{newer}");
}

/// What would fill the memory: a line without end, a window larger than any of ours, and sizes that no file system has.
#[test]
fn nothing_is_without_bounds() {
    let header = "{\"format\":1,\"revision\":\"R\"}\n";
    let refused = |bytes: &[u8]| {
        let failure = read(bytes, "R").unwrap_err();
        assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
        failure.message
    };
    let zst = |text: &str| zstd::encode_all(text.as_bytes(), 1).unwrap();
    let endless = "x".repeat(LONGEST_LINE + 1);
    assert!(refused(&zst(&endless)).contains("endless"));
    assert!(refused(&zst(&format!("{header}{endless}"))).contains("endless"));
    assert!(!refused(&zst(&format!("{header}{}", "x".repeat(LONGEST_LINE)))).contains("endless"));
    let mut large = zstd::Encoder::new(Vec::new(), 1).unwrap();
    large.window_log(27).unwrap();
    large.write_all(header.as_bytes()).unwrap();
    refused(&large.finish().unwrap());
    let line = |members: &str| refused(&zst(&format!("{header}{{\"m\":493,\"o\":[0,0],\"mt\":[0,0],{members}}}\n")));
    let long = "x".repeat(4096);
    assert!(line(&format!("\"t\":\"d\",\"p\":\"{long}\"")).contains("path"));
    assert!(line(&format!("\"t\":\"l\",\"p\":\"\",\"to\":\"{long}\"")).contains("target"));
    let mut writer = Writer::new(Vec::new(), "R").unwrap();
    let mut heavy = entry(b"", Kind::Dir);
    let value = vec![0; LONGEST_LINE / 2].into();
    heavy.meta.attributes = Attributes::new(vec![Attribute { name: (*b"user.a").into(), value }]);
    assert_eq!(writer.push(&heavy).unwrap_err().kind(), std::io::ErrorKind::FileTooLarge);
}
