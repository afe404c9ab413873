//! Executes a push's plan: claim, upload, look again, manifest, commit, tidy up — in this order.
//!
//! Imports [`crate::remote`], [`crate::control`], [`crate::join`], [`crate::spill`], [`super::send`], [`super::sent`], [`super::resume`]
//! and [`super::plan`].

use std::fs;
use std::path::Path;

use super::neighbours::refuse_inside;
use super::observe::Tree;
use super::plan::{Name, Plan, emptied, names, object};
use super::send::{Purpose, Work};
use super::sent::Sent;
use super::{PushOptions, Pushed};
use crate::committed::read_commit;
use crate::control::{Claim, Commit, Control, ManifestRef, Owner, seal};
use crate::entry::{At, Entry};
use crate::failure::{Failure, Result};
use crate::hash::Hasher;
use crate::join::join;
use crate::manifest::FORMAT;
use crate::names::{CLAIM, COMMIT, CONTROL_DIR, Folder, StagedDir, manifest};
use crate::rclone::Class;
use crate::remote::{BATCH, Remote};
use crate::report::Reason;
use crate::spill::batches;

/// Pushes a new revision.
pub(super) fn write(work: &Work, tree: Tree, plan: Plan, mut sent: Sent) -> Result<Pushed> {
    let Work { remote, options, revision, .. } = work;
    refuse_obstacle(remote, &plan)?;
    begin(work)?;
    let staged = StagedDir::of(revision);
    let (tree, plan) = work.send_until_still(tree, plan, Purpose::Revision(&staged), &mut sent)?;
    super::guard(options, work.committed, &plan)?;

    remote.rclone.progress.phase("committing", 0);
    let mut commit = Commit {
        format: FORMAT,
        revision: revision.to_string(),
        parent: work.committed.map(|committed| committed.commit.revision.clone()),
        data_time: options.captured(),
        hints_time: options.captured(),
        rehashed_time: Some(work.rehashed),
        verified_time: match work.committed {
            Some(committed) if work.listing.is_none() => committed.commit.verified_time,
            _ => options.started,
        },
        owner: options.asker.owner.clone(),
        manifest: reference(work, plan.entries.file())?,
        files: plan.entries.facts().files,
        bytes: plan.entries.facts().bytes,
        staged: !plan.staged.is_empty() || !plan.lost_objects.is_empty(),
    };
    refuse_obstacle(remote, &plan)?;
    check_unrivalled(work)?;
    remote.write_object(COMMIT, &seal(&commit)?)??;
    tracing::info!(%revision, files = commit.files, "committed");

    remote.rclone.progress.phase("tidying", 0);
    let gone = || Ok::<_, Failure>(plan.gone.read()?.chain(unneeded(&sent, &plan)?));
    delete(remote, gone()?)?;
    remote.remove_empty(emptied(gone()?, names(&plan.entries)?)?.iter().map(String::as_str))?;
    promote(remote, &plan, &staged)?;
    if commit.staged {
        commit.staged = false;
        remote.write_object(COMMIT, &seal(&commit)?)??;
    }
    let parent: Option<Name> = work.committed.map(|parent| format!("{CONTROL_DIR}/{}", manifest(&parent.revision)).into_bytes().into());
    let old = parent.into_iter().chain(work.leftovers.iter().cloned());
    // The claim goes last.
    delete(remote, sent.staged_names(&staged)?.chain(old.chain([claim_name()]).map(Ok)))?;
    remove_staged_folders(remote, &plan, &staged)?;
    Ok(Pushed { changed: true, transferred: plan.bytes_to_send, deleted: plan.lost.all, skipped: tree.skipped, ..Pushed::of(&commit) })
}

/// Two objects on paths inside one another may have begun at the same moment. The outer one sees the claim of the inner one, or the
/// inner one sees that of the outer one, before any content is sent.
fn stand_back_from_one_above(work: &Work) -> Result<()> {
    let inside = refuse_inside(work.remote);
    if inside.is_err() && !work.claimed {
        delete(work.remote, [Ok(claim_name())].into_iter())?;
    }
    inside
}

fn claim_name() -> Name {
    format!("{CONTROL_DIR}/{CLAIM}").into_bytes().into()
}

/// Copies what was staged to where it belongs, on the server where it can.
fn promote(remote: &Remote, plan: &Plan, staged: &StagedDir) -> Result<()> {
    for batch in batches(plan.staged.read()?, BATCH) {
        remote.promote(Folder::Staged(staged), Folder::Live, batch?.iter().map(|upload| upload.path.as_bytes()))?;
    }
    for batch in plan.lost_objects.chunks(BATCH) {
        let names: Vec<String> = batch.iter().map(|upload| upload.sha256.hex()).collect();
        remote.promote(Folder::StagedObjects(staged), Folder::Objects, names.iter().map(String::as_bytes))?;
    }
    Ok(())
}

fn remove_staged_folders(remote: &Remote, plan: &Plan, staged: &StagedDir) -> Result<()> {
    let folders = [(Folder::Staged(staged), !plan.staged.is_empty()), (Folder::StagedObjects(staged), !plan.lost_objects.is_empty())];
    let used: Vec<String> = folders.into_iter().filter(|(_, used)| *used).map(|(folder, _)| folder.below()).collect();
    remote.remove_empty(used.iter().map(|folder| folder.trim_end_matches('/')))
}

fn reference(work: &Work, file: &Path) -> Result<ManifestRef> {
    // Not counted as reading the volume.
    let digest = Hasher::default().one(file, &work.remote.rclone.stop)?;
    let size = fs::metadata(file).map_err(|e| Failure::scratch(&e))?.len();
    let digest = digest.ok_or_else(|| Failure::new(Reason::MoverFailed, "the new manifest is gone from the temporary directory"))?;
    Ok(ManifestRef { size, sha256: digest.hex() })
}

/// What was sent on the way and is of no use to the tree that was committed in the end.
fn unneeded<'a>(sent: &'a Sent, plan: &'a Plan) -> Result<impl Iterator<Item = Result<Name>> + use<'a>> {
    let files = join(sent.own.files()?, plan.entries.read()?).filter_map(|pair| match pair {
        Ok((Some(sent), entry)) => {
            let needed = entry.as_ref().and_then(Entry::file).is_some_and(|file| file.at != At::Object);
            (!needed).then(|| Ok(sent.upload.path.as_bytes().into()))
        }
        Ok((None, _)) => None,
        Err(failure) => Some(Err(failure)),
    });
    let kept = &plan.entries.facts().objects;
    Ok(files.chain(sent.objects.keys().filter(|digest| !kept.contains(digest)).map(|digest| Ok(object(digest)))))
}

fn delete(remote: &Remote, names: impl Iterator<Item = Result<Name>>) -> Result<()> {
    for batch in batches(names, BATCH) {
        remote.delete(batch?.iter().map(|name| &**name))?;
    }
    Ok(())
}

/// Brings lost objects back and drops strays, under the revision that is committed already. What is brought back goes to the staged
/// folder first: it is put in place only once the volume is known to have stayed as it was committed, and the commit with it.
pub(super) fn repair(work: &Work, tree: Tree, plan: Plan, mut sent: Sent) -> Result<Pushed> {
    let Work { remote, options, committed: Some(committed), .. } = work else {
        return Err(Failure::new(Reason::MoverFailed, "nothing is committed that could be repaired"));
    };
    let lost = plan.staged.len() + plan.lost_objects.len();
    if lost > 0 {
        tracing::warn!(lost, "objects of the committed revision were missing or damaged on the remote; sending them again");
    }
    let changes = lost > 0 || !plan.gone.is_empty() || work.claimed || work.claim_written;
    if changes {
        refuse_obstacle(remote, &plan)?;
        begin(work)?;
    }
    let staged = StagedDir::of(&committed.revision);
    let (tree, plan) = work.send_until_still(tree, plan, Purpose::Repair(&staged), &mut sent)?;
    let rivals = || if changes { check_unrivalled(work) } else { check_unchanged(remote, options, &committed.commit) };
    rivals()?;
    delete(remote, plan.gone.read()?)?;
    remote.remove_empty(emptied(plan.gone.read()?, names(&plan.entries)?)?.iter().map(String::as_str))?;
    promote(remote, &plan, &staged)?;
    let mut commit = committed.commit.clone();
    if work.listing.is_some() {
        if lost > 0 {
            rivals()?;
        }
        (commit.verified_time, commit.staged) = (options.started, false);
        // A source that is synced no more often than it is verified comes by here each time: its hints come of age here, or never.
        (commit.hints_time, commit.rehashed_time) = (options.captured(), Some(work.rehashed));
        remote.write_object(COMMIT, &seal(&commit)?)??;
    }
    let claim = changes.then(claim_name).into_iter();
    let old = work.leftovers.iter().chain(work.superseded).cloned();
    delete(remote, sent.staged_names(&staged)?.chain(old.chain(claim).map(Ok)))?;
    remove_staged_folders(remote, &plan, &staged)?;
    Ok(Pushed { changed: lost > 0, transferred: plan.bytes_to_send, deleted: plan.lost.all, skipped: tree.skipped, ..Pushed::of(&commit) })
}

/// A push that could not put everything in place is not begun: its commit could never be finished.
fn refuse_obstacle(remote: &Remote, plan: &Plan) -> Result<()> {
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

/// Claims the path, and looks once more at what a wrong answer, or somebody who began at the same moment, may have hidden.
fn begin(work: &Work) -> Result<()> {
    if work.claim_written {
        return Ok(());
    }
    claim(work.remote, work.claim)?;
    match work.committed {
        Some(committed) => check_unchanged(work.remote, work.options, &committed.commit),
        None if work.unreadable.is_some() => Ok(()),
        None => {
            stand_back_from_one_above(work)?;
            match read_commit(work.remote)?.present() {
                Some(commit) => Err(rival(work.remote, work.options, &commit.owner)),
                None => Ok(()),
            }
        }
    }
}

/// The first write of a push: makes the bucket if there is none.
pub(super) fn claim(remote: &Remote, claim: &Claim) -> Result<()> {
    let content = seal(claim)?;
    match remote.write_object(CLAIM, &content)? {
        Ok(()) => Ok(()),
        Err(trouble) if trouble.class == Class::BucketMissing => {
            tracing::info!(path = remote.name(), "making the bucket");
            remote.make()?;
            Ok(remote.write_object(CLAIM, &content)??)
        }
        // Any web server's 404 reads so.
        Err(trouble) if matches!(trouble.class, Class::NotFound | Class::Other) => {
            remote.confirm_root()?;
            Err(trouble.into())
        }
        Err(trouble) => Err(trouble.into()),
    }
}

/// That the commit is still the one that this push began with.
pub(super) fn check_unchanged(remote: &Remote, options: &PushOptions, commit: &Commit) -> Result<()> {
    match read_commit(remote)?.present() {
        Some(found) if found.revision != commit.revision => Err(rival(remote, options, &found.owner)),
        // Vanished or damaged behind our back: what this push is going to write puts that right.
        _ => Ok(()),
    }
}

/// The last look before a commit: no other push may have claimed or committed meanwhile.
fn check_unrivalled(work: &Work) -> Result<()> {
    let Work { remote, options, claim, .. } = work;
    let (claimed, found) = if work.committed.is_some() {
        remote.read_controls::<Claim, Commit>([CLAIM, COMMIT])?
    } else {
        (remote.read_control(CLAIM)?, read_commit(remote)?)
    };
    match (found.present(), work.committed) {
        (Some(found), Some(before)) if found.revision == before.commit.revision => {}
        (Some(found), _) if work.unreadable.as_deref() == Some(found.revision.as_str()) => {}
        (Some(found), _) => return Err(rival(remote, options, &found.owner)),
        // If ours vanished or was damaged behind our back, the new one puts that right.
        (None, _) => {}
    }
    // One wrong answer is no rival.
    let claimed = if claimed.present() == Some(*claim) { claimed } else { remote.read_control(CLAIM)? };
    match claimed {
        Control::Present(found) if found == **claim => Ok(()),
        Control::Present(found) => Err(rival(remote, options, &found.owner)),
        Control::Absent | Control::Corrupt(_) => Err(Failure::new(
            Reason::RemoteInconsistent,
            format!(
                "{}/{CONTROL_DIR}/{CLAIM}, which this push wrote when it began, is gone or damaged; nothing was committed, and the next attempt goes on from here",
                remote.name()
            ),
        )),
    }
}

/// Another push has claimed or committed meanwhile, or the remote did not show a commit when this one began.
fn rival(remote: &Remote, options: &PushOptions, owner: &Owner) -> Failure {
    let (name, Owner { namespace, name: object, uid }) = (remote.name(), owner);
    if *owner == options.asker.owner {
        return Failure::new(
            Reason::RemoteInconsistent,
            format!(
                "{name} shows another revision of this object than when this push began; nothing was committed, and the next attempt begins anew"
            ),
        );
    }
    Failure::new(
        Reason::PathNotOurs,
        format!(
            "{namespace}/{object} (UID {uid}) pushes to {name} at the same time; nothing was committed. Give each source a path of its own"
        ),
    )
}
