//! What a first push that died has sent, by its latest checkpoint. A pack of it is believed where a listing shows its size and the MD5 sum of what
//! is there now; what is in any other one is sent again. Nothing here fails a push that a path without checkpoints would not fail.

use std::collections::{BTreeMap, BTreeSet};

use super::base::Lineage;
use super::begin::Session;
use super::ids::Ids;
use crate::digest::hex;
use crate::error::{Failure, Result};
use crate::format::documents::Control;
use crate::format::names::Folder;
use crate::format::revision::Revision;
use crate::packs::checkpoint::{self, Checkpoint};
use crate::packs::id::ObjectId;
use crate::packs::limits::FORMAT;
use crate::packs::map::Map;
use crate::packs::reference::PackRow;
use crate::packs::run::{Entries, Packs, References, Run};
use crate::remote::Remote;
use crate::remote::committed::read_any_claim;
use crate::remote::packed::{Extent, Source};
use crate::report::Reason;

/// Checkpoints that are read; a push leaves two at most.
const READ: usize = 8;

/// What the next push goes on with.
pub(super) struct Resumed<'a> {
    pub(super) lineage: Lineage,
    pub(super) map: Map<Source<'a>>,
    pub(super) packs: BTreeMap<ObjectId, PackRow>,
    /// Blocks of the map.
    pub(super) blocks: u64,
    /// Packs of the map that are not there, or not known to be what they were.
    pub(super) lost: BTreeSet<ObjectId>,
    pub(super) next_file: u64,
}

/// Looks for what a push of this object has sent that was to commit a revision of this generation.
pub(super) fn resumed<'a>(session: &Session<'a>) -> Result<Option<Resumed<'a>>> {
    let Session { remote, at, base, revision, options, .. } = session;
    if base.is_some() {
        return Ok(None);
    }
    let folder = Folder::Checkpoints.below();
    let listed = match &at.listing {
        Some(listing) => listing.keys().filter_map(|name| name.strip_prefix(folder.as_bytes()).map(<[u8]>::to_vec)).collect(),
        None => remote.list(&folder)?.into_keys().map(<[u8]>::into_vec).collect::<Vec<_>>(),
    };
    let ids = listed.iter().filter_map(|name| ObjectId::parse(std::str::from_utf8(name).ok()?));
    let (mut latest, mut objects): (Option<Checkpoint>, Vec<String>) = (None, Vec::new());
    for id in ids.take(READ) {
        match remote.read_document(&id.checkpoint(), checkpoint::read)? {
            Control::Present(found) if found.owner == options.pusher.owner => {
                objects.extend([id.checkpoint(), found.run.id.run()]);
                let of_ours = Revision::parse(&found.revision).is_some_and(|of| of.generation() == revision.generation());
                if of_ours && latest.as_ref().is_none_or(|latest| latest.number < found.number) {
                    latest = Some(found);
                }
            }
            Control::Present(_) | Control::Absent => {}
            Control::Corrupt(what) => {
                tracing::warn!(%id, what, "a checkpoint is damaged, and of no use");
                objects.push(id.checkpoint());
            }
        }
    }
    objects.extend(latest.iter().flat_map(|latest| &latest.unused).map(|id| id.pack()));
    session.checkpoints.found(latest.as_ref().map_or(0, |latest| latest.number), objects);
    let Some(latest) = latest else { return Ok(None) };
    // A push of layout Files was killed since, and what it was over goes before this one sends anything.
    if session.files.is_some() && read_any_claim(remote)?.present().is_some_and(|claim| claim.format != FORMAT) {
        return Ok(None);
    }
    match opened(remote, &latest) {
        Ok(Some(resumed)) if resumed.lost.len() < resumed.packs.len() => {
            let (packs, lost) = (resumed.packs.len(), resumed.lost.len());
            tracing::info!(revision = latest.revision, packs, lost, "going on with what an earlier push has sent");
            Ok(Some(resumed))
        }
        Ok(_) => {
            tracing::info!("what an earlier push has sent is sent again: no listing shows that it is there as it was sent");
            Ok(None)
        }
        Err(Failure { reason: Reason::RemoteInconsistent, message, .. }) => {
            tracing::warn!(message, "what an earlier push has sent is sent again");
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

/// Whether listings tell what is there now, without which no checkpoint is of any use.
pub(super) fn can_resume(remote: &Remote) -> Result<bool> {
    let features = remote.features()?;
    Ok(features.tells_sums && !features.slow_sums && !features.noted_sums)
}

/// Reads all of it; `None` where the backend does not tell what is there now.
fn opened<'a>(remote: &'a Remote, of: &Checkpoint) -> Result<Option<Resumed<'a>>> {
    if !can_resume(remote)? {
        return Ok(None);
    }
    let Some((_, listed)) = remote.waiting(true)? else { return Ok(None) };
    let damaged = |what: String| Failure::new(Reason::RemoteInconsistent, format!("{}: {what}", of.run.id.run()));
    let block = of.block().map_err(damaged)?;
    let run = Run::open(Source::open(remote, &of.run, Extent::All)?, &of.run, block)?;
    let map = Map::open([Ok(run)])?;
    let packs: BTreeMap<ObjectId, PackRow> = map.rows::<Packs>().collect::<Result<_>>()?;
    check(remote, &map, &packs, of.next_file)?;
    let is_there = |(id, row): (&ObjectId, &PackRow)| {
        let name = id.to_string();
        listed.tells_sum(Folder::Packs, name.as_bytes()) && listed.has_sum(Folder::Packs, name.as_bytes(), row.size, &hex(&row.md5))
    };
    let lost = packs.iter().filter(|row| !is_there(*row)).map(|(id, _)| *id).collect();
    let lineage = Lineage { salt: of.salt, block };
    Ok(Some(Resumed { lineage, map, packs, blocks: of.run.counts.blocks, lost, next_file: of.next_file }))
}

/// Reads every row, before anything is built on one: what is needed of each pack must add up, and each block must be of a file that has an entry.
fn check(remote: &Remote, map: &Map<Source>, packs: &BTreeMap<ObjectId, PackRow>, next_file: u64) -> Result<()> {
    let damaged = |what: &str| Failure::new(Reason::RemoteInconsistent, format!("a checkpoint is damaged: {what}"));
    let mut files = Ids::default();
    for row in map.rows::<Entries>() {
        remote.context.stop.check()?;
        let (_, node) = row?;
        let Some(file) = node.file() else { continue };
        if file.id >= next_file {
            return Err(damaged("a file has an id that is to be another one's"));
        }
        files.insert(file.id);
    }
    let mut live: BTreeMap<ObjectId, u64> = BTreeMap::new();
    for row in map.rows::<References>() {
        remote.context.stop.check()?;
        let (key, of) = row?;
        if !files.contains(key.file) {
            return Err(damaged("a block is of no file"));
        }
        *live.entry(of.pack).or_default() += u64::from(of.place.weight());
    }
    let needed = packs.iter().map(|(id, row)| (*id, row.live));
    if needed.eq(live) { Ok(()) } else { Err(damaged("its packs and its blocks do not belong together")) }
}
