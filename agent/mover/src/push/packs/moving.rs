//! Blocks that are to lie in another pack: of packs that are rewritten because little of them is needed, and of packs that are lost. They are
//! read from the volume, never from the remote, and keep the generation of their content.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;

use super::content::Reader;
use super::ledger::{Ledger, Stored};
use crate::error::{Failure, Result};
use crate::packs::id::ObjectId;
use crate::packs::map::Map;
use crate::packs::node::FileNode;
use crate::packs::policy::compaction::{Compaction, moved_order};
use crate::packs::policy::table::Pack;
use crate::packs::reference::{BlockRef, Hashed, RefKey};
use crate::packs::run::{Entries, References};
use crate::remote::packed::Source;
use crate::volume::beneath::Root;
use crate::volume::path::RelPath;

/// Blocks that are moved with one reading of the map: each takes about a hundred bytes.
const AT_A_TIME: u64 = 1 << 18;

/// Packs that a push rewrites, in parts that fit into memory.
pub(super) fn chosen(ledger: &Ledger, lost: &BTreeSet<ObjectId>) -> Vec<BTreeSet<ObjectId>> {
    let packs: Vec<Pack<ObjectId>> = ledger.table.packs().copied().filter(|pack| !lost.contains(&pack.id)).collect();
    let data = packs.iter().filter(|pack| pack.written == ledger.generation).map(|pack| pack.size).sum();
    let sparse = Compaction::default().choose(&packs, ledger.generation, data);
    let (mut parts, mut blocks): (Vec<BTreeSet<ObjectId>>, u64) = (Vec::new(), AT_A_TIME);
    for id in lost.iter().copied().chain(sparse) {
        // A pack may hold more by itself, if it is full of tiny ones.
        let more = ledger.packs.get(&id).map_or(0, |row| row.blocks);
        if blocks.saturating_add(more) > AT_A_TIME {
            parts.push(BTreeSet::new());
            blocks = 0;
        }
        blocks = blocks.saturating_add(more);
        if let Some(part) = parts.last_mut() {
            part.insert(id);
        }
    }
    parts
}

/// Moves the blocks that `map` has in these packs. Gives the files of which a block is not on the volume as the map has it: these have to be
/// read again.
pub(super) fn moved(
    root: &Root,
    reader: Reader,
    map: &Map<Source>,
    packs: &BTreeSet<ObjectId>,
    ledger: &mut Ledger,
) -> Result<HashSet<RelPath>> {
    let mut blocks: Vec<(RefKey, BlockRef)> = Vec::new();
    let mut files = HashSet::new();
    for row in map.rows::<References>() {
        let (key, of) = row?;
        if packs.contains(&of.pack) {
            files.insert(key.file);
            blocks.push((key, of));
        }
    }
    reader.stop.check()?;
    let names = names(map, &files)?;
    blocks.sort_unstable_by_key(|(key, of)| moved_order(of.place.born, *key));
    let (mut doubtful, mut open, mut plain) = (HashSet::new(), None, Vec::new());
    for (key, of) in blocks {
        reader.stop.check()?;
        let Some((path, file)) = names.get(&key.file) else { continue };
        if doubtful.contains(path) {
            continue;
        }
        if open.as_ref().is_none_or(|(id, _)| *id != key.file) {
            open = root.file(path)?.map(|file| (key.file, file));
        }
        let length = reader.block.length(file.size, key.block);
        let at = key.block.saturating_mul(u64::from(reader.block.bytes()));
        plain.clear();
        plain.resize(usize::try_from(length).unwrap_or(0), 0);
        let there = match &open {
            Some((_, file)) => read(file, &mut plain, at).map_err(|e| Failure::volume("read", &root.shown(path), &e))?,
            None => false,
        };
        reader.hasher.note(plain.len() as u64);
        if !there || reader.salt.hash(&plain) != of.hash {
            doubtful.insert(path.clone());
            continue;
        }
        let stored = Stored { plain: &plain, hash: of.hash, small: of.place.part.is_some(), born: of.place.born };
        ledger.store(key, Some(Hashed::from(&of)), stored)?;
    }
    ledger.flush()?;
    Ok(doubtful)
}

/// A name of each of these files.
fn names(map: &Map<Source>, files: &HashSet<u64>) -> Result<HashMap<u64, (RelPath, FileNode)>> {
    let mut names = HashMap::new();
    if files.is_empty() {
        return Ok(names);
    }
    for row in map.rows::<Entries>() {
        let (path, node) = row?;
        if let Some(file) = node.file().filter(|file| files.contains(&file.id)) {
            names.entry(file.id).or_insert((path, *file));
        }
    }
    Ok(names)
}

/// Fills the buffer; false where there are not so many bytes any more.
fn read(file: &File, buffer: &mut [u8], at: u64) -> std::io::Result<bool> {
    match file.read_exact_at(buffer, at) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
