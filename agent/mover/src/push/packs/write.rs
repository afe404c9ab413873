//! Writes the new revision: one run of what has changed, or of that and the runs that it is to be one with, the manifest, and the commit. Then
//! what nobody reads any more goes.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::ages::{deaths, pushed};
use super::begin::Session;
use super::changes::{unbuffered, writer};
use super::ledger::Ledger;
use crate::clock::since_boot;
use crate::digest::{Digest, hex};
use crate::error::{Failure, Result};
use crate::format::documents::{ManifestRef, seal};
use crate::format::names::{COMMIT, CONTROL_DIR, Folder, manifest as manifest_name};
use crate::guard::Count;
use crate::packs::commit::{Commit, Statement};
use crate::packs::id::ObjectId;
use crate::packs::levels::merge_from;
use crate::packs::limits::{FORMAT, INLINE};
use crate::packs::manifest::{Document, Manifest, Totals};
use crate::packs::map::{Map, merge};
use crate::packs::policy::clock::Graces;
use crate::packs::policy::dead::Dead;
use crate::packs::policy::garbage::may_commit;
use crate::packs::reference::PackRow;
use crate::packs::run::RunRef;
use crate::packs::salt::Salt;
use crate::packs::size::BlockSize;
use crate::push::hold::{Hold, claim_name};
use crate::push::object_names::Name;
use crate::remote::Waiting;
use crate::remote::packed::Source;
use crate::report::Reason;
use crate::store::{Upload, slices};
use crate::volume::hash::md5_hex;

/// Checks of the commit, each of which took half a grace, before a push gives up.
const CHECKS: usize = 3;

/// What stays the same in a lineage.
#[derive(Clone, Copy)]
pub(super) struct Lineage {
    pub(super) salt: Salt,
    pub(super) block: BlockSize,
}

/// What a push is going to commit.
pub(super) struct Revised<'a> {
    pub(super) lineage: Lineage,
    /// The committed runs, and those of this push.
    pub(super) map: Map<Source<'a>>,
    /// How many of them are committed.
    pub(super) committed: usize,
    pub(super) next_file: u64,
    /// What there is.
    pub(super) count: Count,
    /// Bytes of all files.
    pub(super) bytes: u64,
    /// See [`Statement::rehashed_time`].
    pub(super) rehashed: Timestamp,
    /// Every pack was seen to be in place, or is replaced.
    pub(super) verified: bool,
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

/// Commits, and gives what was committed.
pub(super) fn write<'a>(session: &Session, mut revised: Revised<'a>, ledger: &mut Ledger<'a>) -> Result<Commit> {
    let Session { remote, base, revision, .. } = session;
    let begun = session.begin()?;
    let graces = Graces::default();
    remote.context.progress.phase("committing", 0);
    let rows: BTreeMap<ObjectId, PackRow> = ledger.rows().collect();
    let changed = changed_packs(base.map(|base| &base.packs), &rows);
    revised.map.add(ledger.changes.of_packs(&changed)?);
    let run = run(session, &revised, ledger)?;
    let clock = pushed(base.map(|base| &base.document), session.now(), &graces);
    let generation = ledger.generation;
    let live = ledger.table.bytes().live;
    let mut dead_packs = ledger.table.take_dead(generation);
    // What was written and replaced by this very push is of no revision.
    let unused: Vec<String> = dead_packs.iter().filter(|dead| dead.written >= generation).map(|dead| dead.id.pack()).collect();
    dead_packs.retain(|dead| dead.written < generation);
    let before = base.map(|base| (&base.document, base.commit.manifest.size));
    let dead_runs = before.into_iter().flat_map(|(document, _)| document.runs.get(run.stay..).unwrap_or_default());
    let dead_run = |of: &RunRef| Dead { id: of.id, size: of.size, written: of.last, died: generation, since: None };
    let dead_runs = dead_runs.filter(|of| !of.inline).map(dead_run).collect();
    let deaths = deaths(before, (dead_packs, dead_runs), generation, &clock, live, &graces);

    let statement = statement(session, &revised);
    let mut runs: Vec<RunRef> = before.map(|(document, _)| document.runs.clone()).unwrap_or_default();
    runs.truncate(run.stay);
    let mut inline: Vec<Vec<u8>> = Vec::new();
    for of in runs.iter().filter(|of| of.inline) {
        let bytes = base.and_then(|base| base.inline.get(&of.id));
        inline.push(bytes.cloned().ok_or_else(|| Failure::new(Reason::MoverFailed, "a fault of the mover: an inline run is missing"))?);
    }
    let ours = ledger.packs.iter().filter(|(_, row)| row.born == generation);
    let mut objects: Vec<Sent> = ours.map(|(id, row)| of_pack(*id, row)).collect();
    if run.of.inline {
        inline.push(read_all(&run.file, run.of.size)?);
    } else {
        let name = run.of.id.to_string();
        remote.send(vec![Upload { name: name.as_bytes(), file: run.file }], Folder::Runs)?;
        objects.push(Sent { folder: Folder::Runs, name, size: run.of.size, md5: None });
    }
    runs.push(run.of);
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
        // None is added yet. What another version keeps stays.
        retained: base.map(|base| base.document.retained.clone()).unwrap_or_default(),
        dead_packs: deaths.packs,
        dead_runs: deaths.runs,
        dead_manifests: deaths.manifests,
    };
    let bytes = Manifest { document, inline }.write()?;
    let manifest = ManifestRef { size: bytes.len() as u64, sha256: Digest(Sha256::digest(&bytes).into()).hex() };
    remote.write_object(&manifest_name(revision), &bytes)?;
    objects.push(Sent { folder: Folder::Manifests, name: format!("{revision}.zst"), size: manifest.size, md5: Some(md5_hex(&bytes)) });
    let commit = Commit::new(statement, manifest);
    let hold = Hold::new(remote, session.options, &begun.claim);
    commit_checked(session, &hold, &commit, &objects, &graces)?;
    tidy(&hold, &commit, unused.into_iter().chain(deaths.go).collect())?;
    Ok(commit)
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
    if let Some(from) = merge_from(&sizes).filter(|from| *from < stay) {
        (stay, (file, written)) = (from, merged(from)?);
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
        former: before.and_then(|before| before.former.clone()),
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
        let waiting = hold.check_before(at.commit.as_ref(), None, sent.len())?;
        check_sent(session, sent, waiting)?;
        if may_commit(seen, since_boot(), graces) {
            remote.write_object(COMMIT, &seal(commit)?)?;
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
    if let Some(waiting) = waiting {
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

/// Deletes what nothing needs, and the claim after it.
fn tidy(hold: &Hold, commit: &Commit, go: Vec<String>) -> Result<()> {
    let remote = hold.remote;
    if !go.is_empty() {
        hold.check_if_held_up(commit)?;
        let names: Vec<Name> = go.into_iter().map(|name| format!("{CONTROL_DIR}/{name}").into_bytes().into()).collect();
        for names in names.chunks(crate::remote::BATCH) {
            remote.delete(&slices(names))?;
        }
    }
    Ok(remote.delete(&[&*claim_name()])?)
}

fn read_all(file: &File, size: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0).map_err(|e| Failure::scratch(&e))?;
    Ok(bytes)
}
