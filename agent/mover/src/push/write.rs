//! Executes a push's plan: claim, upload, look again, manifest, commit, tidy up — in this order.
//!
//! Imports [`crate::remote`], [`crate::control`], [`crate::manifest`], [`super::observe`] and [`super::plan`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, symlink};

use sha2::{Digest as _, Sha256};

use super::observe::{Known, Tree, differing, drop_racy_hints, observe};
use super::plan::{Plan, State, Strays, Upload, object, plan};
use super::{PushOptions, Pushed};
use crate::committed::{Committed, read_commit};
use crate::control::{Claim, Commit, Control, ManifestRef, seal};
use crate::entry::Digest;
use crate::failure::{Failure, Result};
use crate::hash::Hasher;
use crate::manifest::FORMAT;
use crate::names::{CLAIM, COMMIT, CONTROL_DIR, manifest, objects_dir, staged_dir};
use crate::path::RelPath;
use crate::rclone::{Class, Trouble};
use crate::remote::{Listing, Remote};
use crate::report::Reason;
use crate::revision::Revision;

/// Looks at the volume until two in a row are the same.
const ROUNDS: usize = 3;
/// Open files handed to rclone at a time.
const OBJECT_BATCH: usize = 200;

/// What the steps share.
pub(super) struct Work<'a> {
    pub(super) remote: &'a Remote,
    pub(super) options: &'a PushOptions,
    pub(super) hasher: &'a Hasher,
    pub(super) committed: Option<&'a Committed>,
    /// The revision of a commit that nobody can restore.
    pub(super) unreadable: Option<String>,
    pub(super) listing: Option<&'a Listing>,
    pub(super) strays: Strays,
    pub(super) generation: u64,
}

/// Every object sent by this push, and what it contains; `None` for one that has to be sent again.
type Sent = BTreeMap<Box<[u8]>, Option<Digest>>;

impl Work<'_> {
    /// What is to be done for this state of the volume.
    pub(super) fn plan(&self, tree: &Tree) -> Plan {
        let committed = self.committed.map(|committed| &*committed.entries);
        plan(
            State {
                committed,
                listing: self.listing,
                strays: self.strays,
            },
            tree.entries.clone(),
            self.generation,
        )
    }

    /// Sends what the plan says and was not sent yet.
    fn send(
        &self,
        plan: &Plan,
        staged: &str,
        sent: &mut Sent,
    ) -> Result<std::result::Result<(), Trouble>> {
        let volume = &self.options.volume;
        for (uploads, dir) in [(&plan.own, ""), (&plan.staged, staged)] {
            let due: Vec<&Upload> = uploads
                .iter()
                .filter(|u| sent.get(&name_in(dir, u)) != Some(&Some(u.sha256)))
                .collect();
            // Noted first: what is half sent has to go, too.
            sent.extend(due.iter().map(|upload| (name_in(dir, upload), None)));
            if let Err(trouble) =
                self.remote
                    .upload(volume, dir, due.iter().map(|upload| upload.path.as_bytes()))?
            {
                return Ok(Err(trouble));
            }
            sent.extend(
                due.iter()
                    .map(|upload| (name_in(dir, upload), Some(upload.sha256))),
            );
        }
        let due: Vec<&Upload> = plan
            .objects
            .iter()
            .filter(|u| sent.get(&object(&u.sha256)) != Some(&Some(u.sha256)))
            .collect();
        for batch in due.chunks(OBJECT_BATCH) {
            sent.extend(batch.iter().map(|upload| (object(&upload.sha256), None)));
            if let Err(trouble) = self.send_objects(batch)? {
                return Ok(Err(trouble));
            }
            sent.extend(
                batch
                    .iter()
                    .map(|upload| (object(&upload.sha256), Some(upload.sha256))),
            );
        }
        Ok(Ok(()))
    }

    /// Content whose name rclone would mangle is shown to it as links to files that are open here.
    fn send_objects(&self, batch: &[&Upload]) -> Result<std::result::Result<(), Trouble>> {
        let dir = self.remote.rclone.scratch.fresh_dir("objects")?;
        let mut open = Vec::new();
        let mut names = Vec::new();
        for upload in batch {
            let path = upload.path.under(&self.options.volume);
            // Never through a link put in the file's place: it could lead to our own secrets.
            let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
            let file: File = OpenOptions::new()
                .read(true)
                .custom_flags(flags)
                .open(&path)
                .map_err(|e| Failure::volume("read", &path, &e))?;
            let name = upload.sha256.hex();
            let target = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
            symlink(target, dir.join(&name)).map_err(|e| Failure::scratch(&e))?;
            open.push(file);
            names.push(name.into_bytes());
        }
        self.remote
            .upload_links(&dir, &objects_dir(), names.iter().map(Vec::as_slice))
    }

    /// Sends, looks again, and sends what changed meanwhile, until nothing does.
    fn send_until_still(
        &self,
        mut tree: Tree,
        mut plan: Plan,
        staged: &str,
        sent: &mut Sent,
    ) -> Result<(Tree, Plan)> {
        let total = |plan: &Plan| {
            [&plan.own, &plan.staged, &plan.objects]
                .into_iter()
                .flatten()
                .map(|upload| upload.size)
                .sum()
        };
        let mut moving = Vec::new();
        for _ in 0..ROUNDS {
            self.remote.rclone.progress.phase("uploading", total(&plan));
            let trouble = match self.send(&plan, staged, sent)? {
                Ok(()) => None,
                // A file that changed or vanished under the upload: the next look shows it.
                Err(trouble)
                    if matches!(trouble.class, Class::SourceChanging | Class::NotFound) =>
                {
                    Some(trouble)
                }
                Err(trouble) => return Err(trouble.into()),
            };
            let again = observe(
                &self.options.volume,
                &Known::of(&tree.entries),
                self.hasher,
                &self.remote.rclone.stop,
            )?;
            if again.found == tree.found {
                return match trouble {
                    Some(trouble) => Err(Failure::new(
                        Reason::MoverFailed,
                        format!(
                            "rclone could not send every file, and none of them changed: {}",
                            trouble.message
                        ),
                    )),
                    None if again.entries.len() == again.found.len() => Ok((tree, plan)),
                    None => Err(Failure::new(
                        Reason::VolumeUnreadable,
                        "a file is listed by the volume but cannot be opened",
                    )),
                };
            }
            moving = differing(&tree.found, &again.found);
            forget(sent, &tree, &moving, staged);
            tracing::info!(count = moving.len(), first = ?moving.first(), "the volume changed while it was read");
            tree = again;
            plan = self.plan(&tree);
        }
        let names: Vec<String> = moving.iter().take(3).map(ToString::to_string).collect();
        Err(Failure::new(
            Reason::SourceChanging,
            format!(
                "{} entries kept changing while they were read, {} among them; use copyMethod Snapshot or Clone, or stop the writer during syncs",
                moving.len(),
                names.join(", ")
            ),
        ))
    }
}

/// What changed under the upload may have been sent in any state, even if it reads as before by now.
fn forget(sent: &mut Sent, tree: &Tree, moving: &[RelPath], staged: &str) {
    let moving: BTreeSet<&RelPath> = moving.iter().collect();
    for entry in tree
        .entries
        .iter()
        .filter(|entry| moving.contains(&entry.path))
    {
        let Some(file) = entry.file() else { continue };
        let name = entry.path.as_bytes();
        for name in [
            name.into(),
            [staged.as_bytes(), name].concat().into(),
            object(&file.sha256),
        ] {
            if let Some(content) = sent.get_mut(&name) {
                *content = None;
            }
        }
    }
}

fn name_in(dir: &str, upload: &Upload) -> Box<[u8]> {
    [dir.as_bytes(), upload.path.as_bytes()].concat().into()
}

/// Pushes a new revision.
pub(super) fn write(work: &Work, tree: Tree, plan: Plan) -> Result<Pushed> {
    let Work {
        remote, options, ..
    } = work;
    let revision = Revision::next(
        work.committed.map(|committed| &committed.revision),
        options.started,
    )?;
    let claim = Claim::new(
        revision.as_str(),
        options.asker.owner.clone(),
        options.started,
    );
    write_claim(remote, &claim)?;
    let staged = staged_dir(&revision);
    let mut sent = Sent::new();
    let (tree, mut plan) = work.send_until_still(tree, plan, &staged, &mut sent)?;
    super::guard(options, work.committed, &plan)?;
    drop_racy_hints(&mut plan.entries, options.data_time.min(options.started));

    remote.rclone.progress.phase("committing", 0);
    let packed = crate::manifest::write(Vec::new(), revision.as_str(), plan.entries.iter())
        .map_err(|e| Failure::scratch(&e))?;
    remote.write_object(&manifest(&revision), &packed)??;
    let files: Vec<u64> = plan
        .entries
        .iter()
        .filter_map(|entry| Some(entry.file()?.size))
        .collect();
    let mut commit = Commit {
        format: FORMAT,
        revision: revision.to_string(),
        parent: work
            .committed
            .map(|committed| committed.commit.revision.clone()),
        data_time: options.data_time,
        verified_time: match work.committed {
            Some(committed) if work.listing.is_none() => committed.commit.verified_time,
            _ => options.started,
        },
        owner: options.asker.owner.clone(),
        manifest: ManifestRef {
            size: packed.len() as u64,
            sha256: Digest(Sha256::digest(&packed).into()).hex(),
        },
        files: files.len() as u64,
        bytes: files.iter().sum(),
        staged: !plan.staged.is_empty(),
    };
    check_unrivalled(work, Some(&claim))?;
    remote.write_object(COMMIT, &seal(&commit)?)??;
    tracing::info!(%revision, files = commit.files, "committed");

    remote.rclone.progress.phase("tidying", 0);
    let kept: BTreeSet<Box<[u8]>> = plan
        .entries
        .iter()
        .filter_map(|e| Some(super::plan::object_name(&e.path, e.file()?)))
        .collect();
    let (staged_names, strays): (Vec<_>, Vec<_>) = sent
        .into_keys()
        .partition(|name| name.starts_with(staged.as_bytes()));
    let mut gone = plan.gone;
    gone.extend(strays.into_iter().filter(|name| !kept.contains(name)));
    remote.delete(gone.iter().map(|name| &**name))?;
    if commit.staged {
        remote.promote(
            &staged,
            "",
            plan.staged.iter().map(|upload| upload.path.as_bytes()),
        )?;
        commit.staged = false;
        remote.write_object(COMMIT, &seal(&commit)?)??;
    }
    let mut left: Vec<Box<[u8]>> = staged_names;
    if let Some(parent) = work.committed {
        left.push(
            format!("{CONTROL_DIR}/{}", manifest(&parent.revision))
                .into_bytes()
                .into(),
        );
    }
    left.push(format!("{CONTROL_DIR}/{CLAIM}").into_bytes().into());
    remote.delete(left.iter().map(|name| &**name))?;
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
    let Work {
        remote,
        options,
        committed: Some(committed),
        ..
    } = work
    else {
        return Err(Failure::new(
            Reason::MoverFailed,
            "nothing is committed that could be repaired",
        ));
    };
    let lost = plan.own.len() + plan.objects.len();
    if lost > 0 {
        tracing::warn!(
            lost,
            "objects of the committed revision were missing or damaged on the remote; sending them again"
        );
    }
    let (tree, plan) = work.send_until_still(tree, plan, "", &mut Sent::new())?;
    if plan.differs {
        return Err(Failure::new(
            Reason::SourceChanging,
            "the volume changed while the remote was repaired",
        ));
    }
    check_unrivalled(work, None)?;
    remote.delete(plan.gone.iter().map(|name| &**name))?;
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

fn sent_bytes(own: &[Upload], staged: &[Upload], objects: &[Upload]) -> u64 {
    [own, staged, objects]
        .into_iter()
        .flatten()
        .map(|upload| upload.size)
        .sum()
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
            format!(
                "{who} pushes to {} at the same time; nothing was committed. Give each source a path of its own",
                remote.name()
            ),
        ))
    };
    if let Some(ours) = claim {
        match remote.read_control::<Claim>(CLAIM)? {
            Control::Present(found) if found == *ours => {}
            Control::Present(found) => {
                return rival(&format!(
                    "{}/{} (UID {})",
                    found.owner.namespace, found.owner.name, found.owner.uid
                ));
            }
            Control::Absent | Control::Corrupt(_) => return rival("somebody"),
        }
    }
    let found = read_commit(remote)?;
    match (found.present(), work.committed) {
        (Some(found), Some(before)) if found.revision == before.commit.revision => Ok(()),
        (Some(found), _) if work.unreadable.as_deref() == Some(found.revision.as_str()) => Ok(()),
        (Some(found), _) => rival(&format!(
            "{}/{} (UID {})",
            found.owner.namespace, found.owner.name, found.owner.uid
        )),
        (None, None) => Ok(()),
        // Ours vanished or was damaged behind our back: the new one puts that right.
        (None, Some(_)) => Ok(()),
    }
}
