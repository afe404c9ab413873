//! The manifest: every entry of a revision, one JSON object a line, in path order, zstd around it.
//!
//! Format described in `docs/remote-format.md`. Readers ignore members they do not know and refuse values they do
//! not know.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Split, Write};

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, hex, unhex};
use crate::error::{Failure, Result};
use crate::report::Reason;
use crate::volume::entry::{At, Entry, FileEntry, Hints, Kind, Meta, Time};
use crate::volume::holes::{Hole, possible};
use crate::volume::path::RelPath;
use crate::volume::xattrs::{Attribute, AttributeKind, Attributes};

/// Version of the whole remote layout this program writes, and the newest it reads.
pub const FORMAT: u32 = 1;
/// zstd level: 3 costs little time and stays within 60 bytes an entry.
const LEVEL: i32 = 3;

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    revision: String,
    /// The revisions that this one descends from, newest first: the latest of them. Absent from older manifests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ancestors: Vec<String>,
}

/// One line. Short names, because a manifest has one for each file.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Line {
    /// Path, if UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    p: Option<String>,
    /// Path in hexadecimal, otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    px: Option<String>,
    /// Type.
    t: String,
    /// Mode.
    m: u32,
    /// Owner and group.
    o: (u32, u32),
    /// mtime, seconds and nanoseconds.
    mt: (i64, u32),
    /// Size.
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<u64>,
    /// sha256.
    #[serde(skip_serializing_if = "Option::is_none")]
    h: Option<String>,
    /// Where the content is, unless under its own name.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    /// Generation in which the content last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    g: Option<u64>,
    /// First name of the same inode, as `p` or as `px`.
    #[serde(skip_serializing_if = "Option::is_none")]
    l: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lx: Option<String>,
    /// Hints: ctime seconds, nanoseconds, inode.
    #[serde(skip_serializing_if = "Option::is_none")]
    c: Option<(i64, u32, u64)>,
    /// Link target, as text or as hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tox: Option<String>,
    /// Extended attributes: values in hexadecimal, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    x: BTreeMap<String, String>,
    /// Those whose names are not UTF-8: by name in hexadecimal.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    xx: BTreeMap<String, String>,
    /// Holes: start and length.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    z: Vec<(u64, u64)>,
}

/// Writes entries, one by one and in path order.
pub struct Writer<W: Write> {
    zstd: zstd::Encoder<'static, W>,
}

impl<W: Write> Writer<W> {
    /// A manifest of `revision`, which descends from nothing.
    pub fn new(out: W, revision: &str) -> std::io::Result<Self> {
        Self::following(out, revision, Vec::new())
    }

    /// A manifest of `revision`, which descends from these.
    pub fn following(out: W, revision: &str, ancestors: Vec<String>) -> std::io::Result<Self> {
        let mut zstd = zstd::Encoder::new(out, LEVEL)?;
        zstd.include_checksum(true)?;
        let mut writer = Self { zstd };
        writer.line(&Header { format: FORMAT, revision: revision.to_owned(), ancestors })?;
        Ok(writer)
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: &Entry) -> std::io::Result<()> {
        self.line(&encode(entry))
    }

    fn line(&mut self, value: &impl Serialize) -> std::io::Result<()> {
        serde_json::to_writer(&mut self.zstd, value)?;
        self.zstd.write_all(b"\n")
    }

    /// Ends it and returns the stream.
    pub fn finish(self) -> std::io::Result<W> {
        self.zstd.finish()
    }
}

/// Reads a manifest entry by entry, and checks its order, its paths and that every entry's directory is there. What is wrong with
/// it shows when it is met: all entries have to be read before any is believed.
pub struct Reader<R: Read> {
    lines: Split<BufReader<zstd::Decoder<'static, BufReader<R>>>>,
    revision: String,
    /// The revisions that it descends from, newest first, as far as it tells.
    pub ancestors: Vec<String>,
    /// The entry before.
    last: Option<RelPath>,
    /// The directories above the entry being read.
    above: Vec<RelPath>,
    ended: bool,
}

/// Begins to read the manifest of `revision`.
pub fn read<R: Read>(input: R, revision: &str) -> Result<Reader<R>> {
    let zstd = zstd::Decoder::new(input).map_err(|e| corrupt(revision, &e.to_string()))?;
    let lines = BufReader::with_capacity(64 * 1024, zstd).split(b'\n');
    let mut reader = Reader { lines, revision: revision.to_owned(), ancestors: Vec::new(), last: None, above: Vec::new(), ended: false };
    let header = reader.line()?.ok_or_else(|| corrupt(revision, "empty"))?;
    let header: Header = serde_json::from_slice(&header).map_err(|e| corrupt(revision, &e.to_string()))?;
    check_format(header.format)?;
    if header.revision != revision {
        return Err(corrupt(revision, &format!("it is that of {}", header.revision)));
    }
    reader.ancestors = header.ancestors;
    Ok(reader)
}

fn corrupt(revision: &str, what: &str) -> Failure {
    Failure::new(Reason::RemoteInconsistent, format!("the manifest of {revision} is damaged: {what}"))
}

impl<R: Read> Reader<R> {
    fn line(&mut self) -> Result<Option<Vec<u8>>> {
        self.lines.next().transpose().map_err(|e| corrupt(&self.revision, &e.to_string()))
    }

    fn entry(&mut self) -> Result<Option<Entry>> {
        let Some(bytes) = self.line()? else { return Ok(None) };
        let corrupt = |what: String| corrupt(&self.revision, &what);
        let line: Line = serde_json::from_slice(&bytes).map_err(|e| corrupt(e.to_string()))?;
        let entry = decode(line).map_err(corrupt)?;
        if self.last.as_ref().is_some_and(|last| *last >= entry.path) {
            return Err(corrupt(format!("{} is out of order", entry.path)));
        }
        while self.above.last().is_some_and(|dir| !entry.path.is_below(dir)) {
            self.above.pop();
        }
        let in_place = match entry.path.parent() {
            None => entry.kind == Kind::Dir,
            Some(parent) => self.above.last().is_some_and(|dir| dir.as_bytes() == parent),
        };
        if !in_place {
            return Err(corrupt(format!("the directory of {} is missing", entry.path)));
        }
        if entry.kind == Kind::Dir {
            self.above.push(entry.path.clone());
        }
        self.last = Some(entry.path.clone());
        Ok(Some(entry))
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let entry = self.entry().transpose();
        self.ended = !matches!(entry, Some(Ok(_)));
        entry
    }
}

/// Refuses a remote written by a newer program, rather than guess.
pub fn check_format(format: u32) -> Result<()> {
    if format == FORMAT {
        return Ok(());
    }
    Err(Failure::new(
        Reason::MoverFailed,
        format!("the remote path is in format {format}, this program knows format {FORMAT}: use the version that wrote it, or a newer one"),
    ))
}

fn text(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(hex(bytes))),
    }
}

fn bytes(text: Option<String>, hex: Option<&str>) -> Option<Vec<u8>> {
    text.map(String::into_bytes).or_else(|| unhex(hex?))
}

fn encode(entry: &Entry) -> Line {
    let (p, px) = text(entry.path.as_bytes());
    let meta = &entry.meta;
    let mut line = Line { p, px, m: meta.mode, o: (meta.uid, meta.gid), mt: (meta.mtime.secs, meta.mtime.nanos), ..Line::default() };
    for attribute in meta.attributes.iter() {
        let value = hex(&attribute.value);
        match std::str::from_utf8(&attribute.name) {
            Ok(name) => line.x.insert(name.to_owned(), value),
            Err(_) => line.xx.insert(hex(&attribute.name), value),
        };
    }
    line.t = match &entry.kind {
        Kind::Dir => "d",
        Kind::Fifo => "p",
        Kind::Symlink(target) => {
            (line.to, line.tox) = text(target);
            "l"
        }
        Kind::File(file) => {
            line.s = Some(file.size);
            line.h = Some(file.sha256.hex());
            line.g = Some(file.changed);
            line.at = match file.at {
                At::Own => None,
                At::Staged => Some("staged".into()),
                At::Object => Some("object".into()),
            };
            if let Some(link) = &file.link {
                (line.l, line.lx) = text(link.as_bytes());
            }
            line.z = file.holes.iter().map(|hole| (hole.start, hole.length)).collect();
            line.c = file.hints.map(|h| (h.ctime.secs, h.ctime.nanos, h.inode));
            "f"
        }
    }
    .into();
    line
}

fn decode(line: Line) -> std::result::Result<Entry, String> {
    let path = bytes(line.p, line.px.as_deref()).and_then(|p| RelPath::new(&p)).ok_or("an impossible path")?;
    let time = |secs, nanos| {
        if nanos < 1_000_000_000 { Ok(Time { secs, nanos }) } else { Err(format!("{path}: an impossible time")) }
    };
    let attributes = attributes(line.x, line.xx).ok_or_else(|| format!("{path}: impossible attributes"))?;
    let meta = Meta { mode: line.m & 0o7777, uid: line.o.0, gid: line.o.1, mtime: time(line.mt.0, line.mt.1)?, attributes };
    let kind = match line.t.as_str() {
        "d" => Kind::Dir,
        "p" => Kind::Fifo,
        "l" => Kind::Symlink(bytes(line.to, line.tox.as_deref()).ok_or_else(|| format!("{path}: no link target"))?.into()),
        "f" => {
            let link_to = match (line.l, line.lx) {
                (None, None) => None,
                (l, lx) => {
                    let first = bytes(l, lx.as_deref()).and_then(|p| RelPath::new(&p));
                    // The first name comes first: a pull has it in place by then.
                    Some(first.filter(|first| *first < path).ok_or_else(|| format!("{path}: an impossible hard link"))?)
                }
            };
            let size = line.s.ok_or_else(|| format!("{path}: no size"))?;
            let holes: Box<[Hole]> = line.z.into_iter().map(|(start, length)| Hole { start, length }).collect();
            if !possible(&holes, size) {
                return Err(format!("{path}: impossible holes"));
            }
            Kind::File(FileEntry {
                size,
                holes,
                sha256: line.h.and_then(|h| Digest::parse(&h)).ok_or_else(|| format!("{path}: no sha256"))?,
                at: match line.at.as_deref() {
                    None => At::Own,
                    Some("staged") => At::Staged,
                    Some("object") => At::Object,
                    Some(other) => {
                        return Err(format!("{path}: content at an unknown place {other:?}"));
                    }
                },
                changed: line.g.ok_or_else(|| format!("{path}: no generation"))?,
                link: link_to,
                hints: match line.c {
                    Some((secs, nanos, inode)) => Some(Hints { ctime: time(secs, nanos)?, inode }),
                    None => None,
                },
            })
        }
        other => return Err(format!("{path}: an unknown type {other:?}")),
    };
    Ok(Entry { path, meta, kind })
}

/// The attributes this program knows how to restore: a newer one may have written others.
fn attributes(text: BTreeMap<String, String>, odd: BTreeMap<String, String>) -> Option<Attributes> {
    let text = text.into_iter().map(|(name, value)| Some((name.into_bytes(), unhex(&value)?)));
    let odd = odd.into_iter().map(|(name, value)| Some((unhex(&name)?, unhex(&value)?)));
    let mut attributes = Vec::new();
    for attribute in text.chain(odd) {
        let (name, value) = attribute?;
        if AttributeKind::of(&name).is_some() && !name.contains(&0) {
            attributes.push(Attribute { name: name.into(), value: value.into() });
        }
    }
    Some(Attributes::new(attributes))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            at: At::Staged,
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
}
