//! Executes a push's plan: claim, upload, look again, manifest, commit, tidy up — in this order.
//!
//! Imports [`crate::remote`], [`crate::control`], [`crate::manifest`], [`super::send`] and [`super::plan`].

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use super::Pushed;
use super::observe::Tree;
use super::plan::{Plan, Upload};
use super::send::{Sent, Work};
use crate::committed::read_commit;
use crate::control::{Claim, Commit, Control, ManifestRef, seal};
use crate::entry::Digest;
use crate::failure::{Failure, Result};
use crate::manifest::FORMAT;
use crate::names::{CLAIM, COMMIT, CONTROL_DIR, manifest, staged_dir};
use crate::rclone::Class;
use crate::remote::Remote;
use crate::report::Reason;
use crate::revision::Revision;

/// Pushes a new revision.
pub(super) fn write(work: &Work, tree: Tree, plan: Plan) -> Result<Pushed> {
    let Work { remote, options, .. } = work;
    let revision = Revision::next(work.committed.map(|committed| &committed.revision), options.started)?;
    let claim = Claim::new(revision.as_str(), options.asker.owner.clone(), options.started);
    write_claim(remote, &claim)?;
    let staged = staged_dir(&revision);
    let mut sent = Sent::new();
    let (tree, plan) = work.send_until_still(tree, plan, &staged, &mut sent)?;
    super::guard(options, work.committed, &plan)?;

    remote.rclone.progress.phase("committing", 0);
    let packed = crate::manifest::write(Vec::new(), revision.as_str(), plan.entries.iter()).map_err(|e| Failure::scratch(&e))?;
    remote.write_object(&manifest(&revision), &packed)??;
    let files: Vec<u64> = plan.entries.iter().filter_map(|entry| Some(entry.file()?.size)).collect();
    let mut commit = Commit {
        format: FORMAT,
        revision: revision.to_string(),
        parent: work.committed.map(|committed| committed.commit.revision.clone()),
        data_time: options.data_time,
        hints_time: options.captured(),
        verified_time: match work.committed {
            Some(committed) if work.listing.is_none() => committed.commit.verified_time,
            _ => options.started,
        },
        owner: options.asker.owner.clone(),
        manifest: ManifestRef { size: packed.len() as u64, sha256: Digest(Sha256::digest(&packed).into()).hex() },
        files: files.len() as u64,
        bytes: files.iter().sum(),
        staged: !plan.staged.is_empty(),
    };
    check_unrivalled(work, Some(&claim))?;
    remote.write_object(COMMIT, &seal(&commit)?)??;
    tracing::info!(%revision, files = commit.files, "committed");

    remote.rclone.progress.phase("tidying", 0);
    let kept = kept_names(&plan);
    let (staged_names, strays): (Vec<_>, Vec<_>) = sent.into_keys().partition(|name| name.starts_with(staged.as_bytes()));
    let mut gone = plan.gone;
    gone.extend(strays.into_iter().filter(|name| !kept.contains(name)));
    remote.delete(gone.iter().map(|name| &**name))?;
    remote.remove_empty(super::plan::emptied(&gone, &kept).into_iter())?;
    if commit.staged {
        remote.promote(&staged, "", plan.staged.iter().map(|upload| upload.path.as_bytes()))?;
        commit.staged = false;
        remote.write_object(COMMIT, &seal(&commit)?)??;
    }
    let mut left: Vec<Box<[u8]>> = staged_names;
    if let Some(parent) = work.committed {
        left.push(format!("{CONTROL_DIR}/{}", manifest(&parent.revision)).into_bytes().into());
    }
    left.push(format!("{CONTROL_DIR}/{CLAIM}").into_bytes().into());
    remote.delete(left.iter().map(|name| &**name))?;
    if !plan.staged.is_empty() {
        remote.remove_empty([staged.trim_end_matches('/')].into_iter())?;
    }
    Ok(Pushed {
        changed: true,
        transferred: sent_bytes(&plan.own, &plan.staged, &plan.objects),
        deleted: plan.files_gone,
        skipped: tree.skipped,
        ..Pushed::of(&commit)
    })
}

/// Brings lost objects back and drops strays, under the revision that is committed already.
pub(super) fn repair(work: &Work, tree: Tree, plan: Plan, claimed: bool) -> Result<Pushed> {
    let Work { remote, options, committed: Some(committed), .. } = work else {
        return Err(Failure::new(Reason::MoverFailed, "nothing is committed that could be repaired"));
    };
    let lost = plan.own.len() + plan.objects.len();
    if lost > 0 {
        tracing::warn!(lost, "objects of the committed revision were missing or damaged on the remote; sending them again");
    }
    let (tree, plan) = work.send_until_still(tree, plan, "", &mut Sent::new())?;
    if plan.differs {
        return Err(Failure::new(Reason::SourceChanging, "the volume changed while the remote was repaired"));
    }
    check_unrivalled(work, None)?;
    remote.delete(plan.gone.iter().map(|name| &**name))?;
    remote.remove_empty(super::plan::emptied(&plan.gone, &kept_names(&plan)).into_iter())?;
    let mut commit = committed.commit.clone();
    if work.listing.is_some() {
        commit.verified_time = options.started;
        remote.write_object(COMMIT, &seal(&commit)?)??;
    }
    if claimed {
        let claim = format!("{CONTROL_DIR}/{CLAIM}");
        remote.delete([claim.as_bytes()].into_iter())?;
    }
    Ok(Pushed {
        changed: lost > 0,
        transferred: sent_bytes(&plan.own, &plan.staged, &plan.objects),
        skipped: tree.skipped,
        ..Pushed::of(&commit)
    })
}

/// Every object of the new revision, promoted.
fn kept_names(plan: &Plan) -> BTreeSet<Box<[u8]>> {
    plan.entries.iter().filter_map(|entry| Some(super::plan::object_name(&entry.path, entry.file()?))).collect()
}

fn sent_bytes(own: &[Upload], staged: &[Upload], objects: &[Upload]) -> u64 {
    [own, staged, objects].into_iter().flatten().map(|upload| upload.size).sum()
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
