//! Blocks that are to lie in another pack: of packs that are rewritten because little of them is needed, and of packs that are lost. They are
//! read from the volume, never from the remote, and keep the generation of their content.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;

use super::content::Reader;
use super::ledger::{Ledger, Stored};
use crate::error::{Failure, Result};
use crate::packs::id::ObjectId;
use crate::packs::limits::BLOCKS_OF_A_PACK;
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
    let blocks = |id: &ObjectId| ledger.packs.get(id).map_or(0, |row| row.blocks);
    let is_full = |pack: &Pack<ObjectId>| is_full(pack, blocks(&pack.id));
    let sparse = Compaction::default().choose_but(&packs, ledger.generation, data, is_full);
    parts(lost.iter().copied().chain(sparse).map(|id| (id, blocks(&id))))
}

/// The same of packs that are to be moved once more.
pub(super) fn again(ledger: &Ledger, left: &BTreeSet<ObjectId>) -> Vec<BTreeSet<ObjectId>> {
    parts(left.iter().map(|id| (*id, ledger.packs.get(id).map_or(0, |row| row.blocks))))
}

/// Whether more than half as many blocks as a pack may have are needed of this one, as far as bytes tell.
fn is_full(pack: &Pack<ObjectId>, blocks: u64) -> bool {
    u128::from(blocks) * u128::from(pack.live) > u128::from(BLOCKS_OF_A_PACK / 2) * u128::from(pack.size)
}

/// Packs with their blocks, in parts that are moved with one reading of the map each.
fn parts(packs: impl Iterator<Item = (ObjectId, u64)>) -> Vec<BTreeSet<ObjectId>> {
    let (mut parts, mut blocks): (Vec<BTreeSet<ObjectId>>, u64) = (Vec::new(), AT_A_TIME);
    for (id, more) in packs {
        // One that another version has written may hold more by itself.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(number: u32) -> ObjectId {
        ObjectId { push: 1, number }
    }

    #[test]
    fn packs_are_moved_together_as_long_as_their_blocks_fit_into_memory() {
        let sizes = |blocks: &[u64]| -> Vec<usize> {
            parts(blocks.iter().enumerate().map(|(at, blocks)| (pack(u32::try_from(at).unwrap()), *blocks)))
                .iter()
                .map(BTreeSet::len)
                .collect()
        };
        assert_eq!(sizes(&[1_000; 200]), [200]);
        assert_eq!(sizes(&[BLOCKS_OF_A_PACK; 5]), [2, 2, 1]);
        assert_eq!(sizes(&[1, AT_A_TIME + 1, 1]), [1, 1, 1]);
        assert_eq!(sizes(&[]), [0; 0]);
    }

    /// Made one, 96 of them would be as many again, with each push.
    #[test]
    fn packs_that_are_full_of_tiny_blocks_are_not_merged_again_and_again() {
        let of = |number: u32, live: u64| Pack { id: pack(number), size: 300_000, live, written: 1 };
        let packs: Vec<_> = (0..300).map(|number| of(number, 300_000)).collect();
        let chosen = |packs: &[Pack<ObjectId>]| Compaction::default().choose_but(packs, 2, 0, |pack| is_full(pack, BLOCKS_OF_A_PACK)).len();
        assert_eq!((chosen(&packs), Compaction::default().choose(&packs, 2, 0).len()), (0, 96));
        // Of which little is needed: packs that large ones beside them keep from being rewritten for that.
        let large = (1_000..1_010).map(|number| Pack { size: 64 << 20, live: 64 << 20, ..of(number, 0) });
        let sparse: Vec<_> = (0..300).map(|number| of(number, 30_000)).chain(large).collect();
        assert_eq!(chosen(&sparse), 96);
    }
}
