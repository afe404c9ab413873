//! Executes a push's plan, in this order: claim, upload, check, manifest, commit, clean up.

use std::path::Path;

use super::hold::{Hold, Manifests, check_unchanged, check_unclaimed, claim_name, having_sent, rival};
use super::later::refuse_unread;
use super::neighbours::refuse_inside;
use super::object_names::{Name, emptied, manifest_object, names, object};
use super::observe::Tree;
use super::plan::PushPlan;
use super::upload::{Purpose, PushContext};
use super::uploaded::Uploaded;
use super::{PushOptions, Synced};
use crate::error::{Failure, Result};
use crate::format::documents::{Claim, Commit, ManifestRef, seal};
use crate::format::manifest::FORMAT;
use crate::format::names::{CLAIM, COMMIT, Folder, StagedDir};
use crate::packs::commit::Committing;
use crate::remote::committed::read_any_commit;
use crate::remote::{BATCH, ControlSums, Remote, Waiting};
use crate::report::Reason;
use crate::scratch;
use crate::spill::batches;
use crate::store::{Class, slices};
use crate::volume::entry::{Entry, Location};
use crate::volume::hash::of_scratch;
use crate::volume::merge_join::join;

/// Objects that are listed with claim and commit, and kept in memory. All of `objects/` is listed with them.
const MOST_WAITING: usize = 10_000;

/// Pushes a new revision.
pub(super) fn write(work: &PushContext, tree: Tree, plan: PushPlan, mut uploaded: Uploaded) -> Result<Synced> {
    let PushContext { remote, options, revision, hold, .. } = work;
    refuse_obstacle(remote, &plan)?;
    uploaded.confirmed = begin(work, &plan)?;
    let staged = StagedDir::of(revision);
    let (tree, plan) = work.send_until_still(tree, plan, Purpose::Revision(&staged), &mut uploaded)?;
    super::guard(work, &plan)?;
    refuse_unread(&plan)?;

    remote.context.progress.phase("committing", 0);
    let (verified_time, latest_listed) = match work.committed {
        Some(committed) if work.listing.is_none() => (committed.commit.verified_time, committed.commit.latest_listed),
        _ => (options.started, work.latest_listed),
    };
    let mut commit = Commit {
        format: FORMAT,
        revision: revision.to_string(),
        parent: work.committed.map(|committed| committed.commit.revision.clone()),
        data_time: options.captured(),
        checked_time: Some(options.captured()),
        hints_time: options.captured(),
        rehashed_time: Some(work.rehashed),
        verified_time,
        latest_listed,
        owner: options.pusher.owner.clone(),
        exclude: options.exclude.digest().map(str::to_owned),
        manifest: reference(work, plan.entries.file())?,
        files: plan.entries.totals().files,
        entries: Some(plan.entries.totals().entries),
        bytes: plan.entries.totals().bytes,
        staged: !plan.staged.is_empty() || !plan.lost_objects.is_empty(),
    };
    refuse_obstacle(remote, &plan)?;
    let unreadable = work.unreadable.map(|commit| commit.revision.as_str());
    let committed = work.committed.map(|committed| &committed.commit);
    let checked = match work.from_packs {
        Some(from) => hold.check_before(Some(&from.commit), None, lists_waiting(&plan)),
        None => hold.check_before(committed, unreadable, lists_waiting(&plan)),
    };
    let waiting = match checked {
        Err(failure) if failure.reason == Reason::PathNotOurs && !uploaded.confirmed => {
            // Nothing of it is in anybody's way, nor of use: it goes, and the claim after it.
            delete(remote, uploaded.staged_names(&staged)?.chain([Ok(manifest_object(revision))]))?;
            hold.withdraw()?;
            return Err(failure);
        }
        Err(failure) if failure.reason == Reason::PathNotOurs => return Err(having_sent(&failure)),
        checked => checked?,
    };
    let waiting = check_sent(remote, &plan, &staged, waiting)?;
    remote.write_object(COMMIT, &seal(&commit)?)?;
    tracing::info!(%revision, files = commit.files, "committed");

    remote.context.progress.phase("tidying", 0);
    // The write was acknowledged; whether pulls find this commit shows only when it is read. Until then they may need all of the older one.
    hold.check_committed(&commit)?;
    let gone = || Ok::<_, Failure>(plan.gone.read()?.chain(unneeded(&uploaded, &plan)?));
    let deleted = delete_held(hold, &commit, gone()?)?;
    remote.remove_empty(emptied(gone()?, names(&plan.entries)?)?.iter().map(String::as_str))?;
    let seen = promote(hold, &commit, &plan, &staged, &waiting)?;
    if commit.staged || deleted {
        hold.check_seen(&commit, seen.as_ref())?;
    }
    if commit.staged {
        commit.staged = false;
        remote.write_object(COMMIT, &seal(&commit)?)?;
        hold.check_committed(&commit)?;
    }
    let parent: Option<Name> = work.committed.map(|parent| manifest_object(&parent.revision));
    let old = parent.into_iter().chain(work.leftovers.iter().cloned());
    // The claim goes last.
    delete(remote, uploaded.staged_names(&staged)?.chain(old.chain([claim_name()]).map(Ok)))?;
    remove_staged_folders(remote, &plan, &staged)?;
    Ok(Synced { changed: true, transferred: plan.bytes_to_send, deleted: plan.deleted, skipped: tree.skipped, ..Synced::from(&commit) })
}

/// Whether objects wait to be put in place after the commit, and not too many for one listing, with those that are listed with them.
fn lists_waiting(plan: &PushPlan) -> bool {
    let staged = plan.staged.len() + plan.lost_objects.len();
    staged > 0 && staged + plan.entries.totals().objects.len() <= MOST_WAITING
}

/// That all that waits to be put in place is there: rclone's report that it was sent is one witness, the listing another one.
fn check_sent(remote: &Remote, plan: &PushPlan, staged: &StagedDir, waiting: Option<Waiting>) -> Result<Waiting> {
    // It was too much, or the backend reports no sums: then it is looked at when it is put in place.
    let Some(waiting) = waiting else { return Ok(Waiting::default()) };
    let missing = |name: &[u8]| {
        let (root, name) = (remote.name(), String::from_utf8_lossy(name));
        let what = "was sent, and is not listed as it was sent; nothing was committed, and the next attempt sends it again";
        Failure::new(Reason::RemoteInconsistent, format!("{root}: {name} {what}"))
    };
    for upload in plan.staged.read()? {
        let upload = upload?;
        let name = upload.path.as_bytes();
        if !waiting.has(Folder::Staged(staged), name, upload.size) {
            return Err(missing(name));
        }
    }
    for upload in &plan.lost_objects {
        let name = upload.sha256.hex();
        if !waiting.has(Folder::StagedObjects(staged), name.as_bytes(), upload.size) {
            return Err(missing(upload.path.as_bytes()));
        }
    }
    Ok(waiting)
}

/// Copies what was staged to where it belongs, on the server where it can. Returns what was seen of claim and commit after the last of it.
fn promote(hold: &Hold, commit: &Commit, plan: &PushPlan, staged: &StagedDir, waiting: &Waiting) -> Result<Option<ControlSums>> {
    let (remote, mut seen) = (hold.remote, None);
    for batch in batches(plan.staged.read()?, BATCH) {
        hold.check_if_held_up(commit)?;
        let batch = batch?;
        let names: Vec<&[u8]> = batch.iter().map(|upload| upload.path.as_bytes()).collect();
        seen = remote.promote(Folder::Staged(staged), Folder::Live, &names, commit.files, waiting)?;
    }
    for batch in plan.lost_objects.chunks(BATCH) {
        hold.check_if_held_up(commit)?;
        let names: Vec<String> = batch.iter().map(|upload| upload.sha256.hex()).collect();
        seen = remote.promote(Folder::StagedObjects(staged), Folder::Objects, &slices(&names), commit.files, waiting)?;
    }
    Ok(seen)
}

fn remove_staged_folders(remote: &Remote, plan: &PushPlan, staged: &StagedDir) -> Result<()> {
    let folders = [(Folder::Staged(staged), !plan.staged.is_empty()), (Folder::StagedObjects(staged), !plan.lost_objects.is_empty())];
    let used: Vec<String> = folders.into_iter().filter(|(_, used)| *used).map(|(folder, _)| folder.below()).collect();
    remote.remove_empty(used.iter().map(|folder| folder.trim_end_matches('/')))
}

fn reference(work: &PushContext, file: &Path) -> Result<ManifestRef> {
    // Not counted as reading the volume.
    let file = scratch::open(file)?;
    let size = file.metadata().map_err(|e| Failure::scratch(&e))?.len();
    let digest = of_scratch(file, &work.remote.context.stop)?;
    Ok(ManifestRef { size, sha256: digest.hex() })
}

/// What was sent on the way and is of no use to the tree that was committed in the end.
fn unneeded<'a>(uploaded: &'a Uploaded, plan: &'a PushPlan) -> Result<impl Iterator<Item = Result<Name>> + use<'a>> {
    let files = join(uploaded.own.files()?, plan.entries.read()?).filter_map(|pair| match pair {
        Ok((Some(uploaded), entry)) => {
            let needed = entry.as_ref().and_then(Entry::file).is_some_and(|file| file.at != Location::Object);
            (!needed).then(|| Ok(uploaded.upload.path.as_bytes().into()))
        }
        Ok((None, _)) => None,
        Err(failure) => Some(Err(failure)),
    });
    let kept = &plan.entries.totals().objects;
    Ok(files.chain(uploaded.objects.keys().filter(|digest| !kept.contains(digest)).map(|digest| Ok(object(digest)))))
}

/// Deletes what the revision of `commit` does not need; whether there was anything.
fn delete_held(hold: &Hold, commit: &Commit, names: impl Iterator<Item = Result<Name>>) -> Result<bool> {
    let mut any = false;
    for batch in batches(names, BATCH) {
        hold.check_if_held_up(commit)?;
        hold.remote.delete(&slices(&batch?))?;
        any = true;
    }
    Ok(any)
}

fn delete(remote: &Remote, names: impl Iterator<Item = Result<Name>>) -> Result<()> {
    for batch in batches(names, BATCH) {
        remote.delete(&slices(&batch?))?;
    }
    Ok(())
}

/// Brings lost objects back and drops strays, under the revision that is committed already. What is brought back goes to the staged
/// folder first: it is put in place only once the volume is known to have stayed as it was committed, and the commit with it.
pub(super) fn repair(work: &PushContext, tree: Tree, plan: PushPlan, mut uploaded: Uploaded) -> Result<Synced> {
    let PushContext { remote, options, hold, committed: Some(committed), .. } = work else {
        return Err(Failure::new(Reason::MoverFailed, "nothing is committed that could be repaired"));
    };
    let lost = plan.staged.len() + plan.lost_objects.len();
    if lost > 0 {
        tracing::warn!(lost, "objects of the committed revision were missing or damaged on the remote; sending them again");
    }
    let changes = lost > 0 || !plan.gone.is_empty() || work.claimed || work.claim_written;
    if changes {
        refuse_obstacle(remote, &plan)?;
        begin(work, &plan)?;
    }
    let staged = StagedDir::of(&committed.revision);
    let (tree, plan) = work.send_until_still(tree, plan, Purpose::Repair(&staged), &mut uploaded)?;
    let mut commit = committed.commit.clone();
    let mut waiting = Waiting::default();
    if changes {
        let seen = hold.check_before(Some(&commit), None, lists_waiting(&plan))?;
        waiting = check_sent(remote, &plan, &staged, seen)?;
    } else {
        check_unclaimed(remote, options, &commit)?;
    }
    let deleted = delete_held(hold, &commit, plan.gone.read()?)?;
    remote.remove_empty(emptied(plan.gone.read()?, names(&plan.entries)?)?.iter().map(String::as_str))?;
    let seen = promote(hold, &commit, &plan, &staged, &waiting)?;
    let old = || work.leftovers.iter().chain(work.superseded);
    if let Some(listing) = work.listing {
        if lost > 0 || deleted {
            hold.check_seen(&commit, seen.as_ref())?;
        }
        (commit.verified_time, commit.latest_listed, commit.staged) = (options.started, work.latest_listed, false);
        // A source that is synced no more often than it is verified comes by here each time: its hints come of age here, or never.
        (commit.hints_time, commit.rehashed_time) = (options.captured(), Some(work.rehashed));
        commit.checked_time = Some(options.checked(commit.last_checked()));
        commit.exclude = options.exclude.digest().map(str::to_owned);
        remote.write_object(COMMIT, &seal(&commit)?)?;
        if changes {
            hold.check_committed(&commit)?;
        } else {
            delete(remote, old().cloned().map(Ok))?;
            Manifests::among(listing, old()).check(remote, options, &commit)?;
        }
    }
    let claim = changes.then(claim_name).into_iter();
    let old = old().filter(|_| changes).cloned();
    delete(remote, uploaded.staged_names(&staged)?.chain(old.chain(claim).map(Ok)))?;
    remove_staged_folders(remote, &plan, &staged)?;
    Ok(Synced { changed: lost > 0, transferred: plan.bytes_to_send, deleted: plan.deleted, skipped: tree.skipped, ..Synced::from(&commit) })
}

/// A push that could not put everything in place is not begun: its commit could never be finished.
fn refuse_obstacle(remote: &Remote, plan: &PushPlan) -> Result<()> {
    let Some(name) = &plan.obstacle else { return Ok(()) };
    Err(Failure::new(
        Reason::RemoteInconsistent,
        format!(
            "{}/{} is in the way: the volume has a folder where that file is, or a file where its folder is, and it was not written by this source. Delete it, or move it elsewhere",
            remote.name(),
            String::from_utf8_lossy(name)
        ),
    ))
}

/// Claims the path, and checks again what a wrong answer, or a push that started at the same moment, may have hidden; false where that can
/// wait until right before the commit, because all that is sent until then waits beside what is there.
fn begin(work: &PushContext, plan: &PushPlan) -> Result<bool> {
    if work.claim_written {
        return Ok(true);
    }
    claim(work.remote, work.hold.claim)?;
    // One whose manifest is missing may have been an outdated answer: what the real one needs must not be taken for leftovers.
    let begun = match work.committed.map(|committed| &committed.commit).or(work.unreadable) {
        None if let Some(from) = work.from_packs => check_unchanged(work.remote, work.options, &from.commit),
        Some(_) if !work.writes_in_place(plan) => return Ok(false),
        Some(commit) => check_unchanged(work.remote, work.options, commit),
        None => check_first(work),
    };
    // Before anything was sent, and unless a push that was killed has sent something, the claim is of no use to anybody else's path.
    if matches!(&begun, Err(failure) if failure.reason == Reason::PathNotOurs) && !work.claimed {
        work.hold.withdraw()?;
    }
    begun.map(|()| true)
}

/// Two objects may have begun at the same moment on one path, or on paths inside one another. The outer one sees the claim of the inner
/// one, or the inner one sees that of the outer one, before any content is sent.
fn check_first(work: &PushContext) -> Result<()> {
    refuse_inside(work.remote)?;
    refuse_committed(work.remote, work.options)
}

/// That nothing is committed.
pub(super) fn refuse_committed(remote: &Remote, options: &PushOptions) -> Result<()> {
    match read_any_commit(remote)?.present() {
        Some(commit) => Err(rival(remote, options, commit.owner())),
        None => Ok(()),
    }
}

/// The first write of a push: makes the bucket if there is none.
pub(super) fn claim(remote: &Remote, claim: &Claim) -> Result<()> {
    let content = seal(claim)?;
    match remote.write_object(CLAIM, &content) {
        Ok(()) => Ok(()),
        Err(error) if error.class == Class::BucketMissing => {
            tracing::info!(path = remote.name(), "making the bucket");
            remote.make()?;
            Ok(remote.write_object(CLAIM, &content)?)
        }
        // Any web server's 404 reads so.
        Err(error) if matches!(error.class, Class::NotFound | Class::Other) => {
            remote.confirm_root()?;
            Err(error.into())
        }
        Err(error) => Err(error.into()),
    }
}
