//! Whether all that a revision of layout Packs refers to is on the remote: runs and packs by one listing, and on request each block by reading
//! its pack. What is retained is looked at, too.
//!
//! Memory: the listing, the rows of packs, and the blocks of as many packs as are read together.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::checked::{Checked, Looked, Retained};
use super::faults::{Fault, Faults, Kind, SHOWN};
use super::objects::{Objects, UNKNOWN};
use super::state::{missing_manifest, read_claim};
use crate::digest::hex;
use crate::error::{Failure, Result};
use crate::format::documents::Control;
use crate::format::names::CONTROL_DIR;
use crate::packs::block::Unpacker;
use crate::packs::check::check;
use crate::packs::commit::Commit;
use crate::packs::id::ObjectId;
use crate::packs::manifest::{Document, Manifest};
use crate::packs::map::Map;
use crate::packs::reference::{BlockRef, PackRow};
use crate::packs::run::{Entries, Packs, References};
use crate::remote::packed::{Extent, Source, State, open_map, read_packs, read_packs_manifest, state_of};
use crate::remote::{Remote, contradiction};
use crate::report::Reason;
use crate::scratch;
use crate::store::Features;
use crate::volume::path::RelPath;

/// Blocks whose places are in memory at a time: each takes about a hundred bytes.
const AT_A_TIME: u64 = 1 << 18;
/// Files that are named, or counted, in a damaged pack: more are too many to tell apart from all.
const FILES: usize = 1 << 16;

/// Checks the revision of this commit; with `read`, every block.
pub(super) fn checked(remote: &Remote, commit: &Commit, read: bool) -> Result<Checked> {
    let revision = &commit.statement.revision;
    let manifest = match read_packs_manifest(remote, revision, &commit.manifest)? {
        Control::Present(manifest) => manifest,
        Control::Absent => return missing_manifest(remote, revision).map(Checked::Damaged),
        Control::Corrupt(what) => return Ok(Checked::Damaged(what)),
    };
    let (map, rows) = match mapped(remote, &manifest)? {
        Ok(mapped) => mapped,
        Err(what) => return Ok(Checked::Damaged(what)),
    };
    let Features { tells_sums, slow_sums, noted_sums, .. } = remote.features()?;
    let listed = Objects::list(remote, tells_sums && !slow_sums && !noted_sums)?;
    let mut look = Look { remote, listed: &listed, states: BTreeMap::new(), read: 0, unsized_objects: 0 };
    let mut doubtful = look.doubtful(&rows);
    if read {
        look.read_all(&map, &manifest.document, &rows, &doubtful)?;
    }
    look.confirm(&rows, &mut doubtful)?;
    let lost: BTreeSet<ObjectId> = rows.keys().filter(|id| look.states.get(id).is_some_and(Option::is_some)).copied().collect();
    let mut faults = Faults::default();
    for id in &lost {
        if let (Some(Some(kind)), Some(row)) = (look.states.get(id), rows.get(id)) {
            faults.add(Fault { name: name(*id), path: None, size: row.size, kind: *kind, sha256: None });
        }
    }
    let runs = manifest.document.runs.iter().filter(|of| !of.inline).count();
    let (files, more_files) = files_of(remote, &map, &lost)?;
    let retained = manifest.document.retained.iter().map(|kept| look.retained(kept, read)).collect::<Result<_>>()?;
    Ok(Checked::Looked(Box::new(Looked {
        revision: revision.clone(),
        objects: (rows.len() + runs) as u64,
        read: look.read,
        unsized_objects: look.unsized_objects,
        faults: faults.shown,
        more: faults.more,
        files,
        more_files,
        retained,
        claim: read_claim(remote)?,
    })))
}

type Mapped<'a> = (Map<Source<'a>>, BTreeMap<ObjectId, PackRow>);

/// The map, once all of it was read and holds against the manifest. A run that is missing or damaged has to be so twice; the inner error says
/// what is wrong.
fn mapped<'a>(remote: &'a Remote, manifest: &Manifest) -> Result<std::result::Result<Mapped<'a>, String>> {
    let once = || -> Result<Mapped<'a>> {
        let map = open_map(remote, manifest, Extent::All)?;
        check(&map, &manifest.document, &remote.context.stop)?;
        let rows = map.rows::<Packs>().collect::<Result<_>>()?;
        Ok((map, rows))
    };
    match once().or_else(|failure| if is_damage(&failure) { once() } else { Err(failure) }) {
        Ok(mapped) => Ok(Ok(mapped)),
        Err(failure) if is_damage(&failure) => Ok(Err(failure.message)),
        Err(failure) => Err(failure),
    }
}

fn is_damage(failure: &Failure) -> bool {
    failure.reason == Reason::RemoteInconsistent
}

fn name(id: ObjectId) -> Box<[u8]> {
    format!("{CONTROL_DIR}/{}", id.pack()).into_bytes().into()
}

/// What is known of packs.
struct Look<'a> {
    remote: &'a Remote,
    listed: &'a Objects,
    /// Those that were read, or are not as they should be: with what is wrong.
    states: BTreeMap<ObjectId, Option<Kind>>,
    read: u64,
    unsized_objects: u64,
}

impl Look<'_> {
    /// What a listing shows is wrong with a pack.
    fn fault(&self, id: ObjectId, row: &PackRow) -> Option<Kind> {
        let name = name(id);
        match self.listed.size(&name) {
            None => Some(Kind::Missing),
            Some(size) if size != UNKNOWN && size != row.size => Some(Kind::OtherSize(size)),
            Some(_) => self.listed.md5(&name).filter(|md5| *md5 != hex(&row.md5)).map(|_| Kind::Altered),
        }
    }

    /// Those of which the listing shows that something is wrong.
    fn doubtful(&mut self, rows: &BTreeMap<ObjectId, PackRow>) -> BTreeMap<ObjectId, Kind> {
        let unknown = rows.keys().filter(|id| self.listed.size(&name(**id)) == Some(UNKNOWN));
        self.unsized_objects += unknown.count() as u64;
        rows.iter().filter_map(|(id, row)| Some((*id, self.fault(*id, row)?))).collect()
    }

    /// A listing is one witness, and reading the pack the other one.
    fn confirm(&mut self, rows: &BTreeMap<ObjectId, PackRow>, doubtful: &mut BTreeMap<ObjectId, Kind>) -> Result<()> {
        let (mut found, mut contradicted) = (Vec::new(), None);
        let due = rows.iter().filter(|(id, _)| doubtful.contains_key(id));
        read_packs(self.remote, due, |id, row, read| {
            match wrong(state_of(id, row, read)?) {
                None => contradicted = Some(id),
                Some(kind) => found.push((id, kind)),
            }
            Ok(())
        })?;
        if let Some(id) = contradicted {
            return Err(contradiction(self.remote, &id.pack()));
        }
        self.read += found.iter().filter(|(_, kind)| *kind == Kind::Altered).count() as u64;
        for (id, kind) in found {
            // What the listing says tells more, where it is of one mind with the read.
            self.states.insert(id, Some(doubtful.get(&id).copied().unwrap_or(kind)));
        }
        Ok(())
    }

    /// Reads every pack but those, and verifies each block.
    fn read_all(
        &mut self,
        map: &Map<Source>,
        document: &Document,
        rows: &BTreeMap<ObjectId, PackRow>,
        but: &BTreeMap<ObjectId, Kind>,
    ) -> Result<()> {
        let (mut part, mut blocks): (BTreeMap<ObjectId, PackRow>, u64) = (BTreeMap::new(), 0);
        for (id, row) in rows.iter().filter(|(id, _)| !but.contains_key(id)) {
            // A pack may hold more by itself, if it is full of tiny ones.
            if !part.is_empty() && blocks.saturating_add(row.blocks) > AT_A_TIME {
                self.read_part(map, document, &std::mem::take(&mut part))?;
                blocks = 0;
            }
            part.insert(*id, *row);
            blocks = blocks.saturating_add(row.blocks);
        }
        self.read_part(map, document, &part)
    }

    fn read_part(&mut self, map: &Map<Source>, document: &Document, part: &BTreeMap<ObjectId, PackRow>) -> Result<()> {
        let stop = &self.remote.context.stop;
        let mut places: BTreeMap<ObjectId, Vec<BlockRef>> = part.keys().map(|id| (*id, Vec::new())).collect();
        for row in map.rows::<References>() {
            let (_, of) = row?;
            if let Some(places) = places.get_mut(&of.pack) {
                places.push(of);
            }
        }
        stop.check()?;
        let mut unpacker = Unpacker::new()?;
        read_packs(self.remote, part, |id, row, read| {
            self.read += 1;
            let blocks = places.remove(&id).unwrap_or_default();
            let kind = match (wrong(state_of(id, row, read)?), read) {
                (None, Some(path)) if !are_whole(path, blocks, document, &mut unpacker)? => Some(Kind::Altered),
                (kind, _) => kind,
            };
            self.states.insert(id, kind);
            stop.check()
        })
    }

    /// What is retained is whole if its manifest, its runs and its packs are.
    fn retained(&mut self, kept: &crate::packs::manifest::Retained, read: bool) -> Result<Retained> {
        let named = |wrong: Option<String>| Retained { revision: kept.revision.clone(), data_time: kept.data_time, wrong };
        let manifest = match read_packs_manifest(self.remote, &kept.revision, &kept.manifest)? {
            Control::Present(manifest) => manifest,
            Control::Absent => return Ok(named(Some(missing_manifest(self.remote, &kept.revision)?))),
            Control::Corrupt(what) => return Ok(named(Some(what))),
        };
        let (_, rows) = match mapped(self.remote, &manifest)? {
            Ok(mapped) => mapped,
            Err(what) => return Ok(named(Some(what))),
        };
        let new: BTreeMap<ObjectId, PackRow> =
            rows.iter().filter(|(id, _)| !self.states.contains_key(id)).map(|(id, row)| (*id, *row)).collect();
        let mut doubtful = self.doubtful(&new);
        if read {
            // What the map says of a pack holds for all that lies in it.
            let (mut states, mut count) = (Vec::new(), 0);
            let due = new.iter().filter(|(id, _)| !doubtful.contains_key(id));
            read_packs(self.remote, due, |id, row, read| {
                count += 1;
                states.push((id, wrong(state_of(id, row, read)?)));
                Ok(())
            })?;
            self.read += count;
            self.states.extend(states);
        }
        self.confirm(&new, &mut doubtful)?;
        let lost: Vec<&ObjectId> = rows.keys().filter(|id| self.states.get(id).is_some_and(Option::is_some)).collect();
        Ok(named(lost.first().map(|first| {
            format!(
                "{} of its {} packs are missing or not what was committed, the first {CONTROL_DIR}/{}",
                lost.len(),
                rows.len(),
                first.pack()
            )
        })))
    }
}

/// What is wrong with a pack that was read, if anything is.
fn wrong(state: State) -> Option<Kind> {
    match state {
        State::Whole => None,
        State::Altered => Some(Kind::Altered),
        State::Unreadable => Some(Kind::Unreadable),
    }
}

/// Whether each of these blocks can be unpacked, and is what the map says.
fn are_whole(pack: &Path, mut blocks: Vec<BlockRef>, document: &Document, unpacker: &mut Unpacker) -> Result<bool> {
    // Parts of one frame follow each other.
    blocks.sort_unstable_by_key(|of| of.place.offset);
    let file = scratch::open(pack)?;
    let mut stored = Vec::new();
    for of in &blocks {
        stored.resize(usize::try_from(of.place.stored).unwrap_or(0), 0);
        file.read_exact_at(&mut stored, of.place.offset.into()).map_err(|e| Failure::scratch(&e))?;
        match unpacker.unpack(&stored, of, &document.salt) {
            Ok(_) => {}
            Err(failure) if is_damage(&failure) => return Ok(false),
            Err(failure) => return Err(failure),
        }
    }
    Ok(true)
}

/// The files that need one of these packs, the first few hundred by their names, and how many more there are.
fn files_of(remote: &Remote, map: &Map<Source>, lost: &BTreeSet<ObjectId>) -> Result<(Vec<RelPath>, u64)> {
    let (mut ids, mut named, mut more) = (BTreeSet::new(), Vec::new(), 0);
    if lost.is_empty() {
        return Ok((named, more));
    }
    let mut last = None;
    for row in map.rows::<References>() {
        let (key, of) = row?;
        if lost.contains(&of.pack) && last.replace(key.file) != Some(key.file) {
            if ids.len() < FILES {
                ids.insert(key.file);
            } else {
                more += 1;
            }
        }
    }
    remote.context.stop.check()?;
    for row in map.rows::<Entries>() {
        let (path, node) = row?;
        if node.file().is_some_and(|file| ids.contains(&file.id)) {
            if named.len() < SHOWN { named.push(path) } else { more += 1 }
        }
    }
    Ok((named, more))
}
