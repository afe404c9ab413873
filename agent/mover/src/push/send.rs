//! Sends content until the volume holds still: uploads, looks again, and sends what changed meanwhile.
//!
//! Imports [`crate::remote`], [`super::observe`] and [`super::plan`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, symlink};

use rustix::io::Errno;

use super::PushOptions;
use super::observe::{Known, Tree, differing, observe};
use super::plan::{Plan, State, Strays, Upload, emptied, object, object_name, plan};
use crate::committed::Committed;
use crate::entry::Digest;
use crate::failure::{Failure, Result};
use crate::hash::Hasher;
use crate::names::objects_dir;
use crate::path::RelPath;
use crate::rclone::{Class, Trouble};
use crate::remote::{Listing, Remote};
use crate::report::Reason;
use crate::stats::Stats;

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
pub(super) type Sent = BTreeMap<Box<[u8]>, Option<Digest>>;

impl Work<'_> {
    /// What is to be done for this state of the volume.
    pub(super) fn plan(&self, tree: &Tree) -> Plan {
        let committed = self.committed.map(|committed| &*committed.entries);
        plan(State { committed, listing: self.listing, strays: self.strays }, tree.entries.clone(), self.generation)
    }

    /// Sends what the plan says and was not sent yet.
    fn send(&self, plan: &Plan, staged: &str, sent: &mut Sent) -> Result<std::result::Result<(), Trouble>> {
        let volume = &self.options.volume;
        for (uploads, dir) in [(&plan.own, ""), (&plan.staged, staged)] {
            let due: Vec<&Upload> = uploads.iter().filter(|u| sent.get(&name_in(dir, u)) != Some(&Some(u.sha256))).collect();
            // Noted first: what is half sent has to go, too.
            sent.extend(due.iter().map(|upload| (name_in(dir, upload), None)));
            if let Err(trouble) = self.remote.upload(volume, dir, due.iter().map(|upload| upload.path.as_bytes()))? {
                return Ok(Err(trouble));
            }
            sent.extend(due.iter().map(|upload| (name_in(dir, upload), Some(upload.sha256))));
        }
        let due: Vec<&Upload> = plan.objects.iter().filter(|u| sent.get(&object(&u.sha256)) != Some(&Some(u.sha256))).collect();
        for batch in due.chunks(OBJECT_BATCH) {
            sent.extend(batch.iter().map(|upload| (object(&upload.sha256), None)));
            if let Err(trouble) = self.send_objects(batch)? {
                return Ok(Err(trouble));
            }
            sent.extend(batch.iter().map(|upload| (object(&upload.sha256), Some(upload.sha256))));
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
            let file: File = match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
                Ok(file) => file,
                Err(error) if is_gone(&error) => {
                    let message = format!("{} is gone", upload.path);
                    return Ok(Err(Trouble { class: Class::NotFound, message, stats: Stats::default() }));
                }
                Err(error) => return Err(Failure::volume("read", &path, &error)),
            };
            let name = upload.sha256.hex();
            let target = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
            symlink(target, dir.join(&name)).map_err(|e| Failure::scratch(&e))?;
            open.push(file);
            names.push(name.into_bytes());
        }
        self.remote.upload_links(&dir, &objects_dir(), names.iter().map(Vec::as_slice))
    }

    /// Deletes what an earlier round sent and neither tree needs: where objects are files of a file system, it may be in the way.
    fn drop_abandoned(&self, plan: &Plan, staged: &str, sent: &mut Sent) -> Result<()> {
        let mut kept: BTreeSet<Box<[u8]>> = plan.objects.iter().map(|upload| object(&upload.sha256)).collect();
        kept.extend(plan.own.iter().map(|upload| name_in("", upload)));
        kept.extend(plan.staged.iter().map(|upload| name_in(staged, upload)));
        if sent.keys().all(|name| kept.contains(name)) {
            return Ok(());
        }
        let committed = self.committed.iter().flat_map(|committed| &committed.entries);
        kept.extend(committed.filter_map(|entry| Some(object_name(&entry.path, entry.file()?))));
        let abandoned: BTreeSet<Box<[u8]>> = sent.keys().filter(|name| !kept.contains(*name)).cloned().collect();
        self.remote.delete(abandoned.iter().map(|name| &**name))?;
        self.remote.remove_empty(emptied(&abandoned, &kept).into_iter())?;
        sent.retain(|name, _| !abandoned.contains(name));
        Ok(())
    }

    /// Sends, looks again, and sends what changed meanwhile, until nothing does.
    pub(super) fn send_until_still(&self, mut tree: Tree, mut plan: Plan, staged: &str, sent: &mut Sent) -> Result<(Tree, Plan)> {
        let total = |plan: &Plan| [&plan.own, &plan.staged, &plan.objects].into_iter().flatten().map(|upload| upload.size).sum();
        let mut moving = Vec::new();
        for _ in 0..ROUNDS {
            self.remote.rclone.progress.phase("uploading", total(&plan));
            let trouble = match self.send(&plan, staged, sent)? {
                Ok(()) => None,
                // A file that changed or vanished under the upload: the next look shows it. One that became shorter is trouble
                // without a name, because the server waits for what was announced.
                Err(trouble) if matches!(trouble.class, Class::SourceChanging | Class::NotFound | Class::Other) => Some(trouble),
                Err(trouble) => return Err(trouble.into()),
            };
            let again = observe(&self.options.volume, &Known::of(&tree.entries), self.hasher, &self.remote.rclone.stop)?;
            if again.found == tree.found {
                return match trouble {
                    Some(trouble) if trouble.class == Class::Other => Err(trouble.into()),
                    Some(trouble) => Err(Failure::new(
                        Reason::MoverFailed,
                        format!("rclone could not send every file, and none of them changed: {}", trouble.message),
                    )),
                    None if again.entries.len() == again.found.len() => Ok((tree, plan)),
                    None => Err(Failure::new(Reason::VolumeUnreadable, "a file is listed by the volume but cannot be opened")),
                };
            }
            moving = differing(&tree.found, &again.found);
            forget(sent, &tree, &moving, staged);
            tracing::info!(count = moving.len(), first = ?moving.first(), "the volume changed while it was read");
            tree = again;
            plan = self.plan(&tree);
            self.drop_abandoned(&plan, staged, sent)?;
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

/// Whether a file went away, or gave its place to a link, since the last look.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}

/// What changed under the upload may have been sent in any state, even if it reads as before by now.
fn forget(sent: &mut Sent, tree: &Tree, moving: &[RelPath], staged: &str) {
    let moving: BTreeSet<&RelPath> = moving.iter().collect();
    for entry in tree.entries.iter().filter(|entry| moving.contains(&entry.path)) {
        let Some(file) = entry.file() else { continue };
        let name = entry.path.as_bytes();
        for name in [name.into(), [staged.as_bytes(), name].concat().into(), object(&file.sha256)] {
            if let Some(content) = sent.get_mut(&name) {
                *content = None;
            }
        }
    }
}

fn name_in(dir: &str, upload: &Upload) -> Box<[u8]> {
    [dir.as_bytes(), upload.path.as_bytes()].concat().into()
}
