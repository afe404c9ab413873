//! A push of layout Packs: what has changed of the volume is read once, cut into blocks, and sent in packs that nothing refers to until the
//! commit. `docs/remote-format.md` has the bytes.
//!
//! `begin` claims the path, `round` looks at the volume, `content` reads a file, `packing` fills packs, `ledger` knows what is needed of each,
//! `changes` collects the rows of the map, `looks` ends when the volume is still, `moving` rewrites packs, and `write` commits, by `conditional`. `base` is the
//! revision before, `verify` finds what of it is lost, `broken` which older ones need that, `ages` what of it dies, `retained` which older ones stay. `checkpoint` notes what a first
//! push has sent, and `resume` goes on with that; `left` takes back what one that fails has sent, and `strange` finds what others have left. `switched` takes
//! the place of a revision of layout Files, and `untidied` finishes one of that layout that was killed.

mod ages;
mod base;
mod begin;
mod broken;
mod changes;
mod checkpoint;
mod conditional;
mod content;
mod former;
mod ids;
mod ledger;
mod left;
mod looks;
mod moving;
mod packing;
mod renames;
mod renew;
mod resume;
mod retained;
mod round;
mod strange;
mod switched;
mod tally;
mod untidied;
mod verify;
mod volume;
mod write;

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;

use super::ahead::{Losses, gone, gone_of_volume};
use super::from_packs::committed_manifest;
use super::observe::unfinished_pull;
use super::owner::Terms;
use super::rehash::Rehash;
use super::state::{At, find_commit};
use super::{PushOptions, Synced};
use crate::error::{Failure, Result};
use crate::format::revision::Revision;
use crate::guard::{Count, Deletions};
use crate::packs::commit::AnyCommit;
use crate::packs::map::Map;
use crate::packs::policy::compaction::pack_size;
use crate::packs::run::Entries;
use crate::packs::salt::Salt;
use crate::packs::size::BlockSize;
use crate::remote::Remote;
use crate::remote::committed::Committed;
use crate::remote::packed::{Extent, Source, open_map};
use crate::report::Reason;
use crate::volume::STAGING_DIR;
use crate::volume::beneath::Root;
use crate::volume::hash::Hasher;
use crate::volume::path::RelPath;
use base::{Base, Lineage};
use begin::Session;
use broken::told;
use changes::Changes;
use checkpoint::Keeping;
use content::Reader;
use ledger::Ledger;
use looks::Looks;
use packing::Packing;
use resume::{Resumed, can_resume, resumed};
use round::{Look, Trust, look};
use verify::{Found, is_verification, verify};
use write::{Revised, Written, write};

/// Pushes the volume in layout Packs.
pub fn push_packs(remote: &Remote, options: &PushOptions) -> Result<Synced> {
    let root = Root::open(&options.volume)?;
    // The volume may become one during the walk, which looks again.
    if root.find(&RelPath::own(STAGING_DIR))?.is_some() {
        return Err(unfinished_pull(&root));
    }
    remote.context.progress.phase("reading", 0);
    let at = find_commit(remote, options)?;
    let (base, files, map) = committed(remote, &at)?;
    let (base, files) = (base.as_ref(), files.as_ref());
    let parent = base.map(|base| &base.revision).or(files.map(|files| &files.revision));
    let revision = Revision::next(parent, options.started)?;
    let session = Session::new(remote, options, (base, files), &at, &revision);
    push_of(&session, &root, map).map_err(|failure| session.taken_back(failure))
}

/// Pushes what is new of the volume, which is `map` so far.
fn push_of<'a>(session: &Session<'a>, root: &Root, map: Map<Source<'a>>) -> Result<Synced> {
    let Session { remote, options, base, files, at, .. } = *session;
    let hasher = Hasher::default();
    let own = base.filter(|_| at.terms == Terms::Own);
    let rehash = own.map_or_else(|| Rehash::of_all(options.captured()), |base| rehash_of(options, base));
    let resumed = resumed(session)?;
    let (lineage, live) = lineage(session, root, resumed.as_ref())?;
    // Who a file is depends on the size of its blocks, also where it has none but zeros.
    let same_blocks = own.filter(|base| base.document.block_size == lineage.block.bytes());
    let trust = same_blocks.map_or(Trust::None, |base| Trust::Committed {
        hints_time: base.commit.statement.hints_time,
        captured: options.captured(),
        rehash: &rehash,
    });
    let (revision, scratch, stop) = (session.revision, &remote.context.scratch, &remote.context.stop);
    // A look that fills many packs sends them before it knows what is gone.
    let (allowed, before) = (Cell::new(false), map.clone());
    let map = resumed.as_ref().map_or(map, |resumed| resumed.map.clone());
    let (packs, blocks, next_file) = match (base, &resumed) {
        (Some(base), _) => (base.packs.clone(), base.document.totals.blocks, base.document.next_file),
        (None, Some(resumed)) => (resumed.packs.clone(), resumed.blocks, resumed.next_file),
        (None, None) => (BTreeMap::new(), 0, 0),
    };
    let sent = packs.values().map(|row| row.size).sum();
    let send = |full| {
        if !allowed.replace(true) {
            guard(session, gone_of_volume(before.rows::<Entries>(), (root, &options.exclude, stop))?)?;
        }
        session.send(full)
    };
    let mut ledger = Ledger::new(
        Changes::new(scratch, stop, lineage.block),
        Packing::new(scratch, revision.generation(), options.sizes.pack.unwrap_or_else(|| pack_size(live)))?,
        packs,
        blocks,
        revision.generation(),
        Box::new(send),
    )?;
    if base.is_none() && can_resume(remote)? {
        ledger.keep(Keeping::new(session, lineage, map.runs().to_vec(), sent));
    }
    let reader = Reader { block: lineage.block, salt: lineage.salt, hasher: &hasher, stop };
    let looks = Look { root, exclude: &options.exclude, reader };
    let found = match base.filter(|base| is_verification(options, base)) {
        Some(base) => Some(verify(remote, base, &before, options)?),
        None => None,
    };
    let verified = found.is_some();
    let found = found.or_else(|| resumed.as_ref().map(|resumed| Found { lost: resumed.lost.clone(), ..Found::default() }));
    let Found { lost, broken } = found.unwrap_or_default();
    let committed = base.map_or(0, |base| base.document.runs.len());
    let runs = map.runs().len();
    let mut volume = Looks { how: looks, live: options.is_live(), map, committed, base: runs, next_file };
    if let Some(files) = files {
        guard(session, gone_of_volume(files.entries.read()?, (root, &options.exclude, stop))?)?;
        allowed.set(true);
    }
    let began = Timestamp::now();
    let first = look(looks, &volume.map, trust, &mut ledger, &mut volume.next_file)?;
    if let Some(base) = own
        && !first.differs
        && first.unsettled.is_empty()
        && lost.is_empty()
        && !at.mended
    {
        let synced = renew::unchanged(session, base, first, (&rehash, verified), &hasher)?;
        return Ok(Synced { broken: told(broken, &base.document.retained), ..synced });
    }
    if base.is_some() {
        guard(session, Losses { gone: first.gone, names: first.gone_names, after: first.count })?;
    }
    allowed.set(true);
    ledger.allow()?;
    let seen = volume.still(first, (began, &HashSet::new()), &mut ledger)?;
    let seen = volume.rewrite(seen, &lost, &mut ledger)?;
    let (gone, names) = match files {
        Some(files) => gone(files.entries.read()?, volume.map.rows::<Entries>()).map(|losses| (losses.gone, losses.names))?,
        None if seen.gone.all > 0 => volume.gone()?,
        None => (seen.gone, seen.gone_names),
    };
    guard(session, Losses { gone, names, after: seen.count })?;
    let deleted = gone.all;
    let (skipped, plain) = (seen.skipped.clone(), ledger.packing.plain);
    let Looks { map, committed, next_file, .. } = volume;
    let (count, bytes, rehashed) = (seen.count, seen.bytes, rehash.done());
    let before = base.map(|base| &base.packs).or(resumed.as_ref().map(|resumed| &resumed.packs));
    let revised = Revised { lineage, map, committed, packs: before, next_file, count, bytes, rehashed, verified, broken };
    let Written { commit, packs, broken } = write(session, revised, &mut ledger)?;
    let took_over = session.begin()?.terms == Terms::Takeover;
    Ok(Synced {
        changed: true,
        took_over,
        transferred: plain,
        packs: Some(packs),
        hashed: hasher.bytes_read(),
        deleted,
        skipped,
        broken,
        ..Synced::from(&commit)
    })
}

/// What is committed, in this layout or in layout Files, and its map.
fn committed<'a>(remote: &'a Remote, at: &At) -> Result<(Option<Base>, Option<Committed>, Map<Source<'a>>)> {
    let commit = match &at.commit {
        None => return Ok((None, None, Map::open([])?)),
        Some(AnyCommit::Files(commit)) => return Ok((None, Some(switched::read(remote, commit)?), Map::open([])?)),
        Some(AnyCommit::Packs(commit)) => commit,
    };
    let manifest = committed_manifest(remote, commit)?;
    let map = open_map(remote, &manifest, Extent::Parts)?;
    Ok((Some(Base::new((**commit).clone(), manifest, &map)?), None, map))
}

fn rehash_of(options: &PushOptions, base: &Base) -> Rehash {
    Rehash::new(base.commit.statement.rehashed_time, options.rehash_interval, options.captured(), is_verification(options, base))
}

/// What stays the same from now on, and how many bytes are live. A volume that has had no content so far, as one that was pushed when it was made,
/// says only now how large its blocks are to be.
fn lineage(session: &Session, root: &Root, resumed: Option<&Resumed>) -> Result<(Lineage, u64)> {
    let Session { remote, options, base, .. } = session;
    let salt = match base {
        Some(Base { document, .. }) if document.totals.blocks > 0 => {
            let block = document.block().map_err(|what| Failure::new(Reason::RemoteInconsistent, what))?;
            return Ok((Lineage { salt: document.salt, block }, document.totals.live));
        }
        Some(base) => base.document.salt,
        None => Salt::new()?,
    };
    let room = volume::room(root, &options.exclude, &remote.context.stop)?;
    let new = Lineage { salt, block: BlockSize::of_volume(room.may_hold) };
    Ok((resumed.map_or(new, |resumed| resumed.lineage), room.holds))
}

fn guard(session: &Session, losses: Losses) -> Result<()> {
    let Session { remote, options, base, files, .. } = session;
    let says = base.map(|base| &base.commit.statement);
    let packs = says.map(|says| (says.revision.as_str(), Count { files: says.files, all: says.entries }));
    let before = packs.or(files.map(|files| (files.revision.as_str(), files.entries.totals().count())));
    let (base, before) = before.unwrap_or((remote.name(), Count::default()));
    let Losses { gone, names, after } = losses;
    options.guard.check(&Deletions { place: "the remote path", base, before, gone, names, after })
}
