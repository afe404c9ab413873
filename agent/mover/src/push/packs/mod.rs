//! A push of layout Packs: what has changed of the volume is read once, cut into blocks, and sent in packs that nothing refers to until the
//! commit. `docs/remote-format.md` has the bytes.
//!
//! `begin` claims the path, `round` looks at the volume, `content` reads a file, `packing` fills packs, `ledger` knows what is needed of each,
//! `changes` collects the rows of the map, `looks` ends when the volume is still, `moving` rewrites packs, and `write` commits. `base` is the
//! revision before, `verify` finds what of it is lost, `ages` what of it dies.

mod ages;
mod base;
mod begin;
mod changes;
mod content;
mod former;
mod ids;
mod ledger;
mod looks;
mod moving;
mod packing;
mod renames;
mod renew;
mod round;
mod verify;
mod volume;
mod write;

use std::collections::HashSet;

use jiff::Timestamp;

use super::owner::Terms;
use super::rehash::Rehash;
use super::state::{At, find_commit};
use super::{PushOptions, Synced};
use crate::error::{Failure, Result};
use crate::format::documents::Control;
use crate::format::revision::Revision;
use crate::guard::{Count, Deletions, NamesSum};
use crate::packs::commit::{AnyCommit, Statement};
use crate::packs::map::Map;
use crate::packs::policy::compaction::pack_size;
use crate::packs::salt::Salt;
use crate::packs::size::BlockSize;
use crate::remote::Remote;
use crate::remote::committed::{inconsistent, read_any_commit};
use crate::remote::packed::{Extent, Source, open_map, read_packs_manifest};
use crate::report::Reason;
use crate::volume::beneath::Root;
use crate::volume::hash::Hasher;
use base::Base;
use begin::Session;
use changes::Changes;
use content::Reader;
use ledger::Ledger;
use looks::Looks;
use packing::Packing;
use round::{Look, Trust, look};
use verify::{is_verification, lost};
use write::{Lineage, Revised, write};

/// Pushes the volume in layout Packs.
pub fn push_packs(remote: &Remote, options: &PushOptions) -> Result<Synced> {
    let root = Root::open(&options.volume)?;
    let hasher = Hasher::default();
    remote.context.progress.phase("reading", 0);
    let at = find_commit(remote, options, read_any_commit)?;
    let (base, map) = committed(remote, &at)?;
    let base = base.as_ref();
    let own = base.filter(|_| at.terms == Terms::Own);
    let rehash = own.map_or_else(|| Rehash::of_all(options.captured()), |base| rehash_of(options, base));
    let trust = own.map_or(Trust::None, |base| Trust::Committed {
        hints_time: base.commit.statement.hints_time,
        captured: options.captured(),
        rehash: &rehash,
    });
    let revision = Revision::next(base.map(|base| &base.revision), options.started)?;
    let session = Session::new(remote, options, base, &at, &revision);
    let (scratch, stop) = (&remote.context.scratch, &remote.context.stop);
    let (lineage, live) = match base {
        Some(base) => (lineage_of(base)?, base.document.totals.live),
        None => {
            let room = volume::room(&root, &options.exclude, stop)?;
            (Lineage { salt: Salt::new()?, block: BlockSize::of_volume(room.may_hold) }, room.holds)
        }
    };
    let mut ledger = Ledger::new(
        Changes::new(scratch, lineage.block),
        Packing::new(scratch, revision.generation(), pack_size(live))?,
        base.map(|base| base.packs.clone()).unwrap_or_default(),
        base.map_or(0, |base| base.document.totals.blocks),
        revision.generation(),
        Box::new(|full| session.send(full)),
    )?;
    let reader = Reader { block: lineage.block, salt: lineage.salt, hasher: &hasher, stop };
    let looks = Look { root: &root, exclude: &options.exclude, reader };
    let lost = match base.filter(|base| is_verification(options, base)) {
        Some(base) => Some(lost(remote, base)?),
        None => None,
    };
    let verified = lost.is_some();
    let lost = lost.unwrap_or_default();
    let committed = base.map_or(0, |base| base.document.runs.len());
    let mut volume =
        Looks { how: looks, live: options.is_live(), map, committed, next_file: base.map_or(0, |base| base.document.next_file) };
    let began = Timestamp::now();
    let first = look(looks, &volume.map, trust, &mut ledger, &mut volume.next_file)?;
    if let Some(base) = own
        && !first.differs
        && first.unsettled.is_empty()
        && lost.is_empty()
    {
        return renew::unchanged(&session, base, first, (&rehash, verified), &hasher);
    }
    guard(remote, options, base, (first.gone, first.gone_names), first.count)?;
    let seen = volume.still(first, (began, &HashSet::new()), &mut ledger)?;
    let seen = volume.rewrite(seen, &lost, &mut ledger)?;
    let (gone, names) = if seen.gone.all > 0 { volume.gone()? } else { (seen.gone, seen.gone_names) };
    guard(remote, options, base, (gone, names), seen.count)?;
    let deleted = gone.all;
    let (skipped, plain) = (seen.skipped.clone(), ledger.packing.plain);
    let Looks { map, committed, next_file, .. } = volume;
    let (count, bytes, rehashed) = (seen.count, seen.bytes, rehash.done());
    let revised = Revised { lineage, map, committed, next_file, count, bytes, rehashed, verified };
    let commit = write(&session, revised, &mut ledger)?;
    let took_over = session.begin()?.terms == Terms::Takeover;
    Ok(Synced { changed: true, took_over, transferred: plain, hashed: hasher.bytes_read(), deleted, skipped, ..Synced::from(&commit) })
}

/// What is committed, and its map.
fn committed<'a>(remote: &'a Remote, at: &At<AnyCommit>) -> Result<(Option<Base>, Map<Source<'a>>)> {
    let commit = match &at.commit {
        None => return Ok((None, Map::open([])?)),
        Some(AnyCommit::Files(_)) => {
            let what = "is of layout Files, and a push of layout Packs does not take its place: use an empty path";
            return Err(Failure::new(Reason::PathNotOurs, format!("{} {what}", remote.name())));
        }
        Some(AnyCommit::Packs(commit)) => commit,
    };
    let Statement { revision, .. } = &commit.statement;
    let read = || read_packs_manifest(remote, revision, &commit.manifest);
    let manifest = match read()? {
        Control::Present(manifest) => manifest,
        _ => match read()? {
            Control::Present(manifest) => manifest,
            Control::Absent => return Err(inconsistent(remote, &format!("the manifest of {revision} is missing. {RESTORE}"))),
            Control::Corrupt(what) => return Err(inconsistent(remote, &format!("{what}. {RESTORE}"))),
        },
    };
    let map = open_map(remote, &manifest, Extent::Parts)?;
    Ok((Some(Base::new((**commit).clone(), manifest, &map)?), map))
}

/// What to do about a revision that cannot be read.
const RESTORE: &str = "Restore that object, or delete everything at this path, or use another one; then everything is pushed again";

fn rehash_of(options: &PushOptions, base: &Base) -> Rehash {
    Rehash::new(base.commit.statement.rehashed_time, options.rehash_interval, options.captured(), is_verification(options, base))
}

fn lineage_of(base: &Base) -> Result<Lineage> {
    let block = base.document.block().map_err(|what| Failure::new(Reason::RemoteInconsistent, what))?;
    Ok(Lineage { salt: base.document.salt, block })
}

fn guard(remote: &Remote, options: &PushOptions, base: Option<&Base>, (gone, names): (Count, NamesSum), after: Count) -> Result<()> {
    let before = base.map(|base| &base.commit.statement);
    options.guard.check(&Deletions {
        place: "the remote path",
        base: before.map_or(remote.name(), |before| before.revision.as_str()),
        before: before.map_or_else(Count::default, |before| Count { files: before.files, all: before.entries }),
        gone,
        names,
        after,
    })
}
