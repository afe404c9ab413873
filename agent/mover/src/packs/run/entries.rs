//! Rows of entries: path after path, each as what differs from the row before.

use super::index::Index;
use super::read::{ReadAt, Row, Run, Section};
use crate::error::{Failure, Result};
use crate::format::names::recorded;
use crate::packs::coding::{Decoded, Part, put, put_bytes, put_step};
use crate::packs::limits::{ATTRIBUTES, LAST, MOST_ATTRIBUTES};
use crate::packs::node::{FileNode, Kind, Node};
use crate::packs::salt::Hash;
use crate::packs::size::BlockSize;
use crate::report::Reason;
use crate::volume::LONGEST_PATH;
use crate::volume::entry::{Hints, Meta, Time};
use crate::volume::path::RelPath;
use crate::volume::xattrs::{Attribute, AttributeKind, Attributes};

/// Kinds of rows: the lowest bits of the byte that says what follows.
const GONE: u8 = 0;
const DIR: u8 = 1;
const FILE: u8 = 2;
const SYMLINK: u8 = 3;
const FIFO: u8 = 4;
/// The bits of the kind.
const KIND: u8 = 7;
/// Mode and owner follow; otherwise they are those of the last entry of this kind.
const OWNER: u8 = 8;
/// Extended attributes follow.
const ATTRIBUTED: u8 = 16;
/// Hints follow, of a file.
const HINTED: u8 = 32;
/// A time of status change follows; otherwise it is the time of modification.
const CTIME: u8 = 64;
/// Reserved: the blocks of this file end where its content says, not after so many bytes.
const CONTENT_CUT: u8 = 128;

/// What the row before says, as far as the next one may leave it out.
#[derive(Debug, Default)]
struct Before {
    path: Vec<u8>,
    /// Mode, user and group, by kind.
    owners: [Option<(u32, u32, u32)>; 5],
    secs: u64,
    id: u64,
    changed: u64,
    inode: u64,
}

impl Before {
    fn owner(&mut self, kind: u8) -> &mut Option<(u32, u32, u32)> {
        let [_, dir, file, symlink, fifo] = &mut self.owners;
        match kind {
            DIR => dir,
            FILE => file,
            SYMLINK => symlink,
            _ => fifo,
        }
    }
}

/// A window of entries being filled.
#[derive(Debug, Default)]
pub(super) struct EntryWindow {
    rows: Vec<u8>,
    contents: Vec<u8>,
    pub(super) count: u64,
    pub(super) first: Option<RelPath>,
    before: Before,
}

impl EntryWindow {
    /// Plain bytes of it with this row, at most.
    pub(super) fn with(&self, path: &RelPath, node: Option<&Node>) -> usize {
        let more = node.map_or(0, |node| {
            let target = if let Kind::Symlink(target) = &node.kind { target.len() } else { 0 };
            node.attributes() + target
        });
        self.rows.len() + self.contents.len() + path.as_bytes().len() + more + 160
    }

    /// Adds a row.
    pub(super) fn add(&mut self, path: &RelPath, node: Option<&Node>, block: BlockSize) -> Result<()> {
        if let Some(Err(what)) = node.map(|node| node.check(block)) {
            let large = node.is_some_and(|node| node.attributes() > ATTRIBUTES);
            let endless = node.and_then(Node::file).is_some_and(|file| block.count(file.size) > LAST);
            let what = match (large, endless) {
                (true, _) => "more extended attributes than can be replicated, a megabyte: remove some of them",
                (_, true) => "more blocks than can be replicated in layout Packs: make it smaller, or leave it out by spec.rclone.exclude",
                _ => &what,
            };
            return Err(Failure::new(Reason::VolumeUnreadable, format!("{path} has {what}")));
        }
        let name = path.as_bytes();
        let shared = name.iter().zip(&self.before.path).take_while(|(a, b)| a == b).count();
        put(&mut self.rows, shared as u64);
        put_bytes(&mut self.rows, name.get(shared..).unwrap_or_default());
        self.before.path.clear();
        self.before.path.extend_from_slice(name);
        match node {
            None => self.rows.push(GONE),
            Some(node) => self.node(node),
        }
        self.count += 1;
        self.first.get_or_insert_with(|| path.clone());
        Ok(())
    }

    fn node(&mut self, node: &Node) {
        let (out, before, meta) = (&mut self.rows, &mut self.before, &node.meta);
        let kind = match &node.kind {
            Kind::Dir => DIR,
            Kind::File(_) => FILE,
            Kind::Symlink(_) => SYMLINK,
            Kind::Fifo => FIFO,
        };
        let owner = Some((meta.mode, meta.uid, meta.gid));
        let hints = node.file().and_then(|file| file.hints);
        let mut says = kind;
        for (is, flag) in [
            (*before.owner(kind) != owner, OWNER),
            (!meta.attributes.is_empty(), ATTRIBUTED),
            (hints.is_some(), HINTED),
            (hints.is_some_and(|hints| hints.ctime != meta.mtime), CTIME),
        ] {
            says |= if is { flag } else { 0 };
        }
        out.push(says);
        if says & OWNER != 0 {
            *before.owner(kind) = owner;
            for number in [meta.mode, meta.uid, meta.gid] {
                put(out, number.into());
            }
        }
        let secs = meta.mtime.secs.cast_unsigned();
        put_step(out, before.secs, secs);
        put(out, meta.mtime.nanos.into());
        before.secs = secs;
        if says & ATTRIBUTED != 0 {
            put(out, meta.attributes.iter().count() as u64);
            for attribute in meta.attributes.iter() {
                put_bytes(out, &attribute.name);
                put_bytes(out, &attribute.value);
            }
        }
        if let Kind::Symlink(target) = &node.kind {
            put_bytes(out, target);
        }
        let Some(file) = node.file() else { return };
        put_step(out, before.id, file.id);
        put(out, file.size);
        put_step(out, before.changed, file.changed);
        if let Some(hints) = hints {
            if says & CTIME != 0 {
                put_step(out, secs, hints.ctime.secs.cast_unsigned());
                put(out, hints.ctime.nanos.into());
            }
            put_step(out, before.inode, hints.inode);
            before.inode = hints.inode;
        }
        (before.id, before.changed) = (file.id, file.changed);
        self.contents.extend_from_slice(&file.content.0);
    }

    /// Its plain bytes.
    pub(super) fn plain(&self) -> Vec<u8> {
        let mut plain = Vec::with_capacity(self.rows.len() + self.contents.len() + 5);
        put_bytes(&mut plain, &self.rows);
        plain.extend_from_slice(&self.contents);
        plain
    }
}

/// The section of entries, by path.
#[derive(Debug)]
pub struct Entries {
    plain: Vec<u8>,
    rows: Part,
    contents: Part,
    left: u64,
    block: BlockSize,
    before: Before,
}

impl Section for Entries {
    type Key = RelPath;
    type Value = Node;

    fn count(index: &Index) -> usize {
        index.entries.len()
    }

    fn first(index: &Index, at: usize) -> Option<&RelPath> {
        index.entries.get(at).map(|window| &window.first)
    }

    fn ranges(index: &Index, at: usize) -> Vec<std::ops::Range<u64>> {
        index.entries.get(at).map(|window| window.window.offset..window.window.end()).into_iter().collect()
    }

    fn open<R: ReadAt>(run: &Run<R>, at: usize) -> Result<Option<Self>> {
        let Some(of) = run.index.entries.get(at) else { return Ok(None) };
        let plain = run.window(&of.window)?;
        let columns = |mut all: Part| {
            let length = all.number(&plain)?;
            Ok((all.split(length)?, all))
        };
        let (rows, contents) = columns(Part::all(&plain)).map_err(|what: String| run.damaged(what))?;
        Ok(Some(Self { rows, contents, left: of.rows, block: run.index.block, before: Before::default(), plain }))
    }

    fn next(&mut self) -> Decoded<Option<Row<Self>>> {
        let Some(left) = self.left.checked_sub(1) else {
            self.rows.end()?;
            self.contents.end()?;
            return Ok(None);
        };
        self.left = left;
        let bytes = &self.plain;
        let shared: usize = self.rows.small(bytes)?;
        if shared > self.before.path.len() {
            return Err("an impossible path".into());
        }
        self.before.path.truncate(shared);
        self.before.path.extend_from_slice(self.rows.bytes(bytes, LONGEST_PATH)?);
        let path = recorded(&self.before.path)?;
        let node = self.node().map_err(|what| format!("{path}: {what}"))?;
        Ok(Some((path, node)))
    }
}

impl Entries {
    fn node(&mut self) -> Decoded<Option<Node>> {
        let (bytes, rows, before) = (&self.plain, &mut self.rows, &mut self.before);
        let says = rows.byte(bytes)?;
        let kind = says & KIND;
        let possible = match kind {
            GONE => KIND,
            FILE if says & HINTED != 0 => KIND | OWNER | ATTRIBUTED | HINTED | CTIME,
            _ => KIND | OWNER | ATTRIBUTED,
        };
        if says & CONTENT_CUT != 0 {
            return Err("blocks that this version does not know".into());
        }
        if says & !possible != 0 || kind > FIFO {
            return Err("an unknown type".into());
        }
        if kind == GONE {
            return Ok(None);
        }
        if says & OWNER != 0 {
            *before.owner(kind) = Some((rows.small(bytes)?, rows.small(bytes)?, rows.small(bytes)?));
        }
        let (mode, uid, gid) = before.owner(kind).ok_or("no owner")?;
        before.secs = rows.step(bytes, before.secs)?;
        let mtime = Time { secs: before.secs.cast_signed(), nanos: rows.small(bytes)? };
        let attributes = if says & ATTRIBUTED == 0 { Attributes::default() } else { attributes(rows, bytes)? };
        let kind = match kind {
            DIR => Kind::Dir,
            FIFO => Kind::Fifo,
            SYMLINK => Kind::Symlink(rows.bytes(bytes, LONGEST_PATH)?.into()),
            _ => {
                before.id = rows.step(bytes, before.id)?;
                let size = rows.number(bytes)?;
                before.changed = rows.step(bytes, before.changed)?;
                let mut hints = None;
                if says & HINTED != 0 {
                    let ctime = if says & CTIME == 0 {
                        mtime
                    } else {
                        Time { secs: rows.step(bytes, before.secs)?.cast_signed(), nanos: rows.small(bytes)? }
                    };
                    before.inode = rows.step(bytes, before.inode)?;
                    hints = Some(Hints { ctime, inode: before.inode });
                }
                let content = Hash(self.contents.array(bytes)?);
                Kind::File(FileNode { id: before.id, size, content, changed: before.changed, hints })
            }
        };
        let node = Node { meta: Meta { mode, uid, gid, mtime, attributes }, kind };
        node.check(self.block)?;
        Ok(Some(node))
    }
}

/// The attributes this program knows how to restore: a newer one may have written others.
fn attributes(rows: &mut Part, bytes: &[u8]) -> Decoded<Attributes> {
    let mut attributes = Vec::new();
    let count = rows.number(bytes)?;
    if count > MOST_ATTRIBUTES as u64 {
        return Err("too many extended attributes".into());
    }
    for _ in 0..count {
        let (name, value) = (rows.bytes(bytes, ATTRIBUTES)?, rows.bytes(bytes, ATTRIBUTES)?);
        if name.is_empty() || name.contains(&0) {
            return Err("impossible attributes".into());
        }
        if AttributeKind::of(name).is_some() {
            attributes.push(Attribute { name: name.into(), value: value.into() });
        }
    }
    Ok(Attributes::new(attributes))
}
