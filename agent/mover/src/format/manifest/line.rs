//! One line of a manifest: an entry as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, hex, unhex};
use crate::format::names::recorded;
use crate::volume::LONGEST_PATH;
use crate::volume::entry::{Entry, FileEntry, Hints, Kind, Location, Meta, Time};
use crate::volume::holes::{Hole, MOST, possible};
use crate::volume::path::RelPath;
use crate::volume::xattrs::{Attribute, AttributeKind, Attributes};

/// One line. Short names, because a manifest has one for each file.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Line {
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

fn text(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(hex(bytes))),
    }
}

fn bytes(text: Option<String>, hex: Option<&str>) -> Option<Vec<u8>> {
    text.map(String::into_bytes).or_else(|| unhex(hex?))
}

/// An entry as a line.
pub(crate) fn encode(entry: &Entry) -> Line {
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
                Location::Own => None,
                Location::Staged => Some("staged".into()),
                Location::Object => Some("object".into()),
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

/// The entry of a line, or what is wrong with it.
pub(crate) fn decode(line: Line) -> std::result::Result<Entry, String> {
    let possible_path = |bytes: &Vec<u8>| bytes.len() <= LONGEST_PATH;
    let path = recorded(&bytes(line.p, line.px.as_deref()).ok_or("an impossible path")?)?;
    let time = |secs, nanos| {
        if nanos < 1_000_000_000 { Ok(Time { secs, nanos }) } else { Err(format!("{path}: an impossible time")) }
    };
    let attributes = attributes(line.x, line.xx).ok_or_else(|| format!("{path}: impossible attributes"))?;
    if [line.o.0, line.o.1].contains(&u32::MAX) {
        return Err(format!("{path}: an impossible owner"));
    }
    let meta = Meta { mode: line.m & 0o7777, uid: line.o.0, gid: line.o.1, mtime: time(line.mt.0, line.mt.1)?, attributes };
    let kind = match line.t.as_str() {
        "d" => Kind::Dir,
        "p" => Kind::Fifo,
        "l" => Kind::Symlink(
            bytes(line.to, line.tox.as_deref()).filter(possible_path).ok_or_else(|| format!("{path}: no link target"))?.into(),
        ),
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
            if holes.len() > MOST || !possible(&holes, size) {
                return Err(format!("{path}: impossible holes"));
            }
            Kind::File(FileEntry {
                size,
                holes,
                sha256: line.h.and_then(|h| Digest::parse(&h)).ok_or_else(|| format!("{path}: no sha256"))?,
                at: match line.at.as_deref() {
                    None => Location::Own,
                    Some("staged") => Location::Staged,
                    Some("object") => Location::Object,
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
