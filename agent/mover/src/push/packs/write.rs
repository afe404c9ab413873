//! Writes the new revision: one run of what has changed, or of that and the runs that it is to be one with, the manifest, and the commit. Then
//! what nobody reads any more goes.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::ages::{deaths, pushed};
use super::base::{Base, Lineage};
use super::begin::Session;
use super::broken::told;
use super::changes::{unbuffered, writer};
use super::conditional::write_commit;
use super::ledger::Ledger;
use super::left::delete;
use super::retained::Older;
use super::strange::{Strangers, known};
use super::switched::{Dropped, dropped, former};
use super::tally::tally;
use crate::clock::since_boot;
use crate::digest::{Digest, hex};
use crate::error::{Failure, Result};
use crate::format::documents::ManifestRef;
use crate::format::names::{CLAIM, Folder, manifest as manifest_name};
use crate::guard::Count;
use crate::packs::commit::{Commit, Statement};
use crate::packs::id::ObjectId;
use crate::packs::levels::merge_from;
use crate::packs::limits::{DEAD, DUE, FORMAT, INLINE};
use crate::packs::manifest::{Document, Manifest, Totals};
use crate::packs::map::{Map, merge};
use crate::packs::policy::clock::Graces;
use crate::packs::policy::dead::Dead;
use crate::packs::policy::garbage::may_commit;
use crate::packs::reference::PackRow;
use crate::packs::run::{Run, RunRef, too_large};
use crate::packs::size::BlockSize;
use crate::push::hold::{Hold, claim_name};
use crate::push::object_names::{Name, of_ours};
use crate::remote::Waiting;
use crate::remote::packed::Source;
use crate::report::{PacksReport, Reason};
use crate::store::Upload;
use crate::volume::hash::md5_hex;

/// Checks of the commit, each of which took half a grace, before a push gives up.
const CHECKS: usize = 3;

/// What a push is going to commit.
pub(super) struct Revised<'a> {
    pub(super) lineage: Lineage,
    /// The committed runs, and those of this push.
    pub(super) map: Map<Source<'a>>,
    /// How many of them are committed.
    pub(super) committed: usize,
    /// What these, or those of an earlier push that this one goes on with, say of packs.
    pub(super) packs: Option<&'a BTreeMap<ObjectId, PackRow>>,
    pub(super) next_file: u64,
    /// What there is.
    pub(super) count: Count,
    /// Bytes of all files.
    pub(super) bytes: u64,
    /// See [`Statement::rehashed_time`].
    pub(super) rehashed: Timestamp,
    /// Every pack was seen to be in place, or is replaced.
    pub(super) verified: bool,
    /// Revisions that are broken, if they are retained.
    pub(super) broken: Vec<String>,
}

/// What a push has committed.
pub(super) struct Written {
    pub(super) commit: Commit,
    pub(super) packs: PacksReport,
    /// Retained revisions that are broken.
    pub(super) broken: Vec<String>,
}

/// A run that is written, and the ones that it takes the place of.
struct NewRun {
    of: RunRef,
    /// Of the committed runs, how many stay.
    stay: usize,
    file: File,
}

/// An object of this push, as it was sent.
struct Sent {
    folder: Folder<'static>,
    name: String,
    size: u64,
    md5: Option<String>,
}

/// Commits.
pub(super) fn write<'a>(session: &Session, mut revised: Revised<'a>, ledger: &mut Ledger<'a>) -> Result<Written> {
    let Session { remote, base, revision, .. } = session;
    let begun = session.begin()?;
    let graces = Graces::default();
    remote.context.progress.phase("committing", 0);
    let rows: BTreeMap<ObjectId, PackRow> = ledger.rows().collect();
    let changed = changed_packs(revised.packs, &rows);
    revised.map.add(ledger.changes.of_packs(&changed)?);
    refuse_too_many(ledger.blocks, session.options.sizes.blocks, revised.lineage.block)?;
    let run = run(session, &revised, ledger)?;
    let clock = pushed(base.map(|base| &base.document), session.now(), &graces);
    let generation = ledger.generation;
    let live = ledger.table.bytes().live;
    let mut dead_packs = ledger.table.take_dead(generation);
    // What was written and replaced by this very push is of no revision.
    let unused: Vec<String> = dead_packs.iter().filter(|dead| dead.written >= generation).map(|dead| dead.id.pack()).collect();
    dead_packs.retain(|dead| dead.written < generation);
    for dead in &mut dead_packs {
        // The table counts weights, and this is one of bytes.
        dead.size = ledger.packs.get(&dead.id).map_or(dead.size, |row| row.size);
    }
    let before = base.map(|base| &base.document);
    let dead_runs = before.into_iter().flat_map(|document| document.runs.get(run.stay..).unwrap_or_default());
    let dead_run = |of: &RunRef| Dead { id: of.id, size: of.size, written: of.last, died: generation, since: None };
    let dead_runs = dead_runs.filter(|of| !of.inline).map(dead_run).collect();
    let strangers = match base.filter(|_| revised.verified) {
        Some(base) => Strangers::list(remote, CLAIM, base.commit.statement.latest_listed)?,
        None => Strangers::default(),
    };
    let mut statement = statement(session, &revised);
    if revised.verified {
        statement.latest_listed = strangers.since;
    }
    let older = Older::of(*base, (generation, statement.data_time), &session.options.retention, &clock);
    let deaths = deaths(before, (dead_packs, dead_runs), older, generation, &clock, live, &graces);

    let broken = told(std::mem::take(&mut revised.broken), &deaths.retained);

    // Deletions of the push before that may not have happened, because it was killed.
    let left = base.filter(|_| begun.interrupted).into_iter().flat_map(Base::due);
    let due: Vec<String> = unused.into_iter().chain(deaths.go).chain(left).chain(session.checkpoints.objects()).collect();

    let mut runs: Vec<RunRef> = before.map(|document| document.runs.clone()).unwrap_or_default();
    runs.truncate(run.stay);
    let mut inline: Vec<Vec<u8>> = Vec::new();
    for of in runs.iter().filter(|of| of.inline) {
        let bytes = base.and_then(|base| base.inline.get(&of.id));
        inline.push(bytes.cloned().ok_or_else(|| Failure::new(Reason::MoverFailed, "a fault of the mover: an inline run is missing"))?);
    }
    // Those of an earlier push, too, that this one goes on with.
    let ours = rows.iter().filter(|(_, row)| row.born == generation);
    let mut objects: Vec<Sent> = ours.map(|(id, row)| of_pack(*id, row)).collect();
    let new = ledger.packs.iter().filter(|(id, _)| revised.packs.is_none_or(|packs| !packs.contains_key(id)));
    let sent: u64 = new.map(|(_, row)| row.size).sum();
    if run.of.inline {
        inline.push(read_all(&run.file, run.of.size)?);
    } else {
        let name = run.of.id.to_string();
        session.written.note(Folder::Runs, &name);
        remote.send(vec![Upload { name: name.as_bytes(), file: run.file }], Folder::Runs)?;
        objects.push(Sent { folder: Folder::Runs, name, size: run.of.size, md5: None });
    }
    runs.push(run.of);
    // What is dead and is not listed for want of room is known to nobody, and has its grace all the same: no look counts as one that has seen it.
    if [deaths.packs.len(), deaths.runs.len(), deaths.manifests.len()].iter().any(|count| *count >= DEAD) {
        statement.latest_listed = None;
    }
    let document = Document {
        format: FORMAT,
        revision: revision.to_string(),
        needs: Vec::new(),
        statement: statement.clone(),
        signature: None,
        salt: revised.lineage.salt,
        block_size: revised.lineage.block.bytes(),
        next_file: revised.next_file,
        ancestors: base.map(|base| base.document.ancestors_of_next()).unwrap_or_default(),
        runs,
        totals: Totals { blocks: ledger.blocks, packs: rows.len() as u64, pack_bytes: rows.values().map(|row| row.size).sum(), live },
        clock,
        retained: deaths.retained,
        dead_packs: deaths.packs,
        dead_runs: deaths.runs,
        dead_manifests: deaths.manifests,
        due: due.iter().take(DUE).cloned().collect(),
    };
    let mut packs = tally(&document, 0);
    let all_listed = document.statement.latest_listed.is_some();
    let clears = document.statement.former.is_some() || begun.claim.files_left;
    let known = if revised.verified || clears { known(&document, rows.keys()) } else { HashSet::new() };
    let bytes = Manifest { document, inline }.write()?;
    let manifest = ManifestRef { size: bytes.len() as u64, sha256: Digest(Sha256::digest(&bytes).into()).hex() };
    session.written.note(Folder::Manifests, &format!("{revision}.zst"));
    remote.write_object(&manifest_name(revision), &bytes)?;
    objects.push(Sent { folder: Folder::Manifests, name: format!("{revision}.zst"), size: manifest.size, md5: Some(md5_hex(&bytes)) });
    packs.sent = sent + objects.iter().filter(|sent| sent.folder != Folder::Packs).map(|sent| sent.size).sum::<u64>();
    let commit = Commit::new(statement, manifest);
    let hold = Hold::new(remote, session.options, &begun.claim);
    commit_checked(session, &hold, &commit, &objects, &graces)?;
    let Dropped { commit, is_told } = dropped(&hold, commit, &known)?;
    let mut names: Vec<Name> = due.iter().map(|name| of_ours(name)).collect();
    if all_listed {
        names.extend(strangers.strange(&known));
    }
    tidy(&hold, &commit, &names, is_told)?;
    Ok(Written { commit, packs, broken })
}

/// The blocks of a path stay as large as they were when it got its first content, however much the volume comes to hold.
fn refuse_too_many(blocks: u64, most: u64, size: BlockSize) -> Result<()> {
    if blocks <= most {
        return Ok(());
    }
    let (size, room) = (size.bytes() >> 10, (most * u64::from(size.bytes())) >> 40);
    let what =
        "because the volume held little when it was first pushed there, and that stays so: use another path, where they will be larger";
    Err(Failure::new(
        Reason::MoverFailed,
        format!("the volume has {blocks} blocks of {size} KiB, and a path takes {most} ({room} TiB). They are so small {what}"),
    ))
}

/// What the map is to say of packs, where that is new.
fn changed_packs(before: Option<&BTreeMap<ObjectId, PackRow>>, rows: &BTreeMap<ObjectId, PackRow>) -> BTreeMap<ObjectId, Option<PackRow>> {
    let gone = before.into_iter().flatten().filter(|(id, _)| !rows.contains_key(id)).map(|(id, _)| (*id, None));
    let new = rows.iter().filter(|(id, row)| before.and_then(|before| before.get(id)) != Some(row)).map(|(id, row)| (*id, Some(*row)));
    gone.chain(new).collect()
}

/// The rows of this push as one run, with those of the committed runs that it is to be one with.
fn run(session: &Session, revised: &Revised, ledger: &mut Ledger) -> Result<NewRun> {
    let Revised { map, committed, lineage, .. } = revised;
    let (scratch, stop) = (&session.remote.context.scratch, &session.remote.context.stop);
    let merged = |from: usize| -> Result<_> {
        let runs = map.runs().get(from..).unwrap_or_default();
        let (out, written) = merge(runs, from == 0, writer(scratch, lineage.block)?, stop)?;
        Ok((unbuffered(out)?, written))
    };
    let old: &[RunRef] = session.base.map(|base| base.document.runs.as_slice()).unwrap_or_default();
    let (mut stay, (mut file, mut written)) = (*committed, merged(*committed)?);
    let sizes: Vec<u64> = old.iter().map(|of| of.size).chain([written.size]).collect();
    // Runs are of blocks of one size.
    let is_other = session.base.is_some_and(|base| base.document.block_size != lineage.block.bytes());
    if let Some(from) = if is_other { Some(0) } else { merge_from(&sizes) }.filter(|from| *from < stay) {
        (stay, (file, written)) = (from, merged(from)?);
    }
    // A reader opens all runs together. Where they have more windows than it takes, they become one, whose windows are full.
    let most = session.options.sizes.windows;
    let windows = |stay: usize, new: usize| map.runs().iter().take(stay).map(Run::windows).fold(new, usize::saturating_add);
    if stay > 0 && windows(stay, written.windows) > most {
        (stay, (file, written)) = (0, merged(0)?);
    }
    if written.windows > most {
        return Err(too_large("windows", written.windows as u64, most as u64));
    }
    let first = old.get(stay).map_or(ledger.generation, |of| of.first);
    let mut of = written.named(ledger.packing.name()?, first, ledger.generation);
    let inline: u64 = old.iter().take(stay).filter(|of| of.inline).map(|of| of.size).sum();
    of.inline = inline.saturating_add(of.size) <= INLINE;
    Ok(NewRun { of, stay, file })
}

fn statement(session: &Session, revised: &Revised) -> Statement {
    let Session { options, base, revision, .. } = session;
    let before = base.map(|base| &base.commit.statement);
    Statement {
        revision: revision.to_string(),
        parent: before.map(|before| before.revision.clone()),
        epoch: before.map_or(0, |before| before.epoch),
        data_time: options.captured(),
        checked_time: options.captured(),
        hints_time: options.captured(),
        rehashed_time: revised.rehashed,
        verified_time: before.filter(|_| !revised.verified).map_or(options.started, |before| before.verified_time),
        latest_listed: before.and_then(|before| before.latest_listed),
        owner: options.pusher.owner.clone(),
        exclude: options.exclude.digest().map(str::to_owned),
        files: revised.count.files,
        entries: revised.count.all,
        bytes: revised.bytes,
        former: session.files.map(former).or_else(|| before.and_then(|before| before.former.clone())),
    }
}

fn of_pack(id: ObjectId, row: &PackRow) -> Sent {
    Sent { folder: Folder::Packs, name: id.to_string(), size: row.size, md5: Some(hex(&row.md5)) }
}

/// Writes the commit, right after a check that no other push has claimed or committed, and that all that was sent is there.
fn commit_checked(session: &Session, hold: &Hold, commit: &Commit, sent: &[Sent], graces: &Graces) -> Result<()> {
    let Session { remote, at, .. } = session;
    for _ in 0..CHECKS {
        let seen = since_boot();
        // One listing, however many were sent: their sums are in memory, too.
        let waiting = hold.check_before(at.commit.as_ref(), None, true)?;
        let one_look = waiting.is_some();
        check_sent(session, sent, waiting)?;
        if !one_look || hold.is_held_up() {
            // Listings of their own have come in between, or that one was long.
            hold.check_before(at.commit.as_ref(), None, false)?;
        }
        if may_commit(seen, since_boot(), graces) {
            session.written.committing();
            write_commit(session, commit, at.commit.as_ref(), || hold.check_before(at.commit.as_ref(), None, false).map(drop))?;
            // The write was acknowledged; whether pulls find this commit shows only when it is read.
            return hold.check_committed(commit);
        }
    }
    Err(Failure::new(Reason::Unreachable, format!("{}: every look at the commit takes longer than half an hour", remote.name())))
}

/// That all that was sent is there: rclone's report is one witness, a listing the other one.
fn check_sent(session: &Session, sent: &[Sent], waiting: Option<Waiting>) -> Result<()> {
    let remote = session.remote;
    let missing = |sent: &Sent| {
        let what = "was sent, and is not listed as it was sent; nothing was committed, and the next attempt sends it again";
        Failure::new(Reason::RemoteInconsistent, format!("{}: {}{} {what}", remote.name(), sent.folder.below(), sent.name))
    };
    let shown = match waiting {
        None => remote.waiting(true)?.map(|(_, waiting)| waiting),
        shown => shown,
    };
    if let Some(waiting) = shown {
        let is_there = |sent: &&Sent| match &sent.md5 {
            Some(md5) => waiting.has_sum(sent.folder, sent.name.as_bytes(), sent.size, md5),
            None => waiting.has(sent.folder, sent.name.as_bytes(), sent.size),
        };
        return sent.iter().find(|sent| !is_there(sent)).map_or(Ok(()), |sent| Err(missing(sent)));
    }
    for folder in [Folder::Packs, Folder::Runs, Folder::Manifests] {
        let of = || sent.iter().filter(|sent| sent.folder == folder);
        if of().next().is_none() {
            continue;
        }
        let listing = remote.list(&folder.below())?;
        let is_there = |sent: &&Sent| listing.get(sent.name.as_bytes()).is_some_and(|size| [sent.size, u64::MAX].contains(size));
        if let Some(sent) = of().find(|sent| !is_there(sent)) {
            return Err(missing(sent));
        }
    }
    Ok(())
}

/// Deletes what nothing needs, and the claim after it, unless that alone tells of something that is left.
fn tidy(hold: &Hold, commit: &Commit, names: &[Name], is_told: bool) -> Result<()> {
    if !names.is_empty() {
        hold.check_if_held_up(commit)?;
        delete(hold.remote, names)?;
    }
    if is_told { Ok(hold.remote.delete(&[&*claim_name()])?) } else { Ok(()) }
}

fn read_all(file: &File, size: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0).map_err(|e| Failure::scratch(&e))?;
    Ok(bytes)
}
