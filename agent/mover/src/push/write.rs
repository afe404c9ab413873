//! Executes a push's plan: claim, upload, look again, manifest, commit, tidy up — in this order.
//!
//! Imports [`crate::remote`], [`crate::control`], [`crate::join`], [`crate::spill`], [`super::send`], [`super::sent`], [`super::resume`] and [`super::plan`].

use std::fs;
use std::path::Path;

use super::Pushed;
use super::observe::Tree;
use super::plan::{Name, Plan, emptied, names, object};
use super::resume::sent_before;
use super::send::Work;
use super::sent::Sent;
use crate::committed::read_commit;
use crate::control::{Claim, Commit, Control, ManifestRef, seal};
use crate::entry::{At, Entry};
use crate::failure::{Failure, Result};
use crate::hash::Hasher;
use crate::join::join;
use crate::manifest::FORMAT;
use crate::names::{CLAIM, COMMIT, CONTROL_DIR, manifest, staged_dir};
use crate::rclone::Class;
use crate::remote::{BATCH, Remote};
use crate::report::Reason;
use crate::spill::batches;

/// Pushes a new revision.
pub(super) fn write(work: &Work, tree: Tree, plan: Plan) -> Result<Pushed> {
    let Work { remote, options, revision, .. } = work;
    let claim = Claim::new(revision.as_str(), options.asker.owner.clone(), options.started);
    write_claim(remote, &claim)?;
    let staged = staged_dir(revision);
    let mut sent = if work.claimed { sent_before(work, &plan)? } else { Sent::new(work.scratch())? };
    let (tree, plan) = work.send_until_still(tree, plan, &staged, &mut sent)?;
    super::guard(options, work.committed, &plan)?;

    remote.rclone.progress.phase("committing", 0);
    remote.write_file(&manifest(revision), plan.entries.file())??;
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
        staged: !plan.staged.is_empty(),
    };
    check_unrivalled(work, Some(&claim))?;
    remote.write_object(COMMIT, &seal(&commit)?)??;
    tracing::info!(%revision, files = commit.files, "committed");

    remote.rclone.progress.phase("tidying", 0);
    let gone = || Ok::<_, Failure>(plan.gone.read()?.chain(unneeded(&sent, &plan)?));
    delete(remote, gone()?)?;
    remote.remove_empty(emptied(gone()?, names(&plan.entries)?)?.iter().map(String::as_str))?;
    if commit.staged {
        for batch in batches(plan.staged.read()?, BATCH) {
            remote.promote(&staged, "", batch?.iter().map(|upload| upload.path.as_bytes()))?;
        }
        commit.staged = false;
        remote.write_object(COMMIT, &seal(&commit)?)??;
    }
    let staged_names = sent.staged.files()?.map(|sent| Ok([staged.as_bytes(), sent?.upload.path.as_bytes()].concat().into()));
    let parent = work.committed.map(|parent| manifest(&parent.revision));
    // The claim goes last.
    let control = parent.into_iter().chain([CLAIM.to_owned()]).map(|name| Ok(format!("{CONTROL_DIR}/{name}").into_bytes().into()));
    delete(remote, staged_names.chain(control))?;
    if !plan.staged.is_empty() {
        remote.remove_empty([staged.trim_end_matches('/')].into_iter())?;
    }
    Ok(Pushed {
        changed: true,
        transferred: plan.bytes_to_send.saturating_sub(sent.before),
        deleted: plan.files_gone,
        skipped: tree.skipped,
        ..Pushed::of(&commit)
    })
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

/// Brings lost objects back and drops strays, under the revision that is committed already.
pub(super) fn repair(work: &Work, tree: Tree, plan: Plan) -> Result<Pushed> {
    let Work { remote, options, committed: Some(committed), .. } = work else {
        return Err(Failure::new(Reason::MoverFailed, "nothing is committed that could be repaired"));
    };
    let lost = plan.own.len() + plan.objects.len();
    if lost > 0 {
        tracing::warn!(lost, "objects of the committed revision were missing or damaged on the remote; sending them again");
    }
    let (tree, plan) = work.send_until_still(tree, plan, "", &mut Sent::new(work.scratch())?)?;
    if plan.differs {
        return Err(Failure::new(Reason::SourceChanging, "the volume changed while the remote was repaired"));
    }
    check_unrivalled(work, None)?;
    delete(remote, plan.gone.read()?)?;
    remote.remove_empty(emptied(plan.gone.read()?, names(&plan.entries)?)?.iter().map(String::as_str))?;
    let mut commit = committed.commit.clone();
    if work.listing.is_some() {
        commit.verified_time = options.started;
        // Every entry was found to have this content by this capture, too.
        (commit.hints_time, commit.rehashed_time) = (options.captured(), Some(work.rehashed));
        remote.write_object(COMMIT, &seal(&commit)?)??;
    }
    if work.claimed {
        let claim = format!("{CONTROL_DIR}/{CLAIM}");
        remote.delete([claim.as_bytes()].into_iter())?;
    }
    Ok(Pushed { changed: lost > 0, transferred: plan.bytes_to_send, skipped: tree.skipped, ..Pushed::of(&commit) })
}

/// The first write of a push: makes the bucket if there is none.
fn write_claim(remote: &Remote, claim: &Claim) -> Result<()> {
    let content = seal(claim)?;
    match remote.write_object(CLAIM, &content)? {
        Ok(()) => Ok(()),
        Err(trouble) if trouble.class == Class::BucketMissing => {
            tracing::info!(path = remote.name(), "making the bucket");
            remote.make()?;
            Ok(remote.write_object(CLAIM, &content)??)
        }
        Err(trouble) => Err(trouble.into()),
    }
}

/// The last look before a commit: nobody else may have claimed or committed meanwhile.
fn check_unrivalled(work: &Work, claim: Option<&Claim>) -> Result<()> {
    let remote = work.remote;
    let rival = |who: &str| {
        Err(Failure::new(
            Reason::PathNotOurs,
            format!("{who} pushes to {} at the same time; nothing was committed. Give each source a path of its own", remote.name()),
        ))
    };
    let (claimed, found) = match (claim, work.committed) {
        (Some(_), Some(_)) => remote.read_controls::<Claim, Commit>([CLAIM, COMMIT])?,
        (Some(_), None) => (remote.read_control(CLAIM)?, read_commit(remote)?),
        (None, _) => (Control::Absent, read_commit(remote)?),
    };
    if let Some(ours) = claim {
        match claimed {
            Control::Present(found) if found == *ours => {}
            Control::Present(found) => {
                return rival(&format!("{}/{} (UID {})", found.owner.namespace, found.owner.name, found.owner.uid));
            }
            Control::Absent | Control::Corrupt(_) => return rival("somebody"),
        }
    }
    match (found.present(), work.committed) {
        (Some(found), Some(before)) if found.revision == before.commit.revision => Ok(()),
        (Some(found), _) if work.unreadable.as_deref() == Some(found.revision.as_str()) => Ok(()),
        (Some(found), _) => rival(&format!("{}/{} (UID {})", found.owner.namespace, found.owner.name, found.owner.uid)),
        // If ours vanished or was damaged behind our back, the new one puts that right.
        (None, _) => Ok(()),
    }
}
