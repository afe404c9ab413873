//! The staging folder on the volume: where fetched content waits until all of it is verified.
//!
//! `.scribe-staging/in/` is what rclone writes, believed by its hash alone; `ok/` is what was verified, see `shards` for its names; `tmp/` is made
//! ready there for its rename. Its presence says that the volume may not be a whole revision. What is known of that stands in files of the folder
//! itself: `holds`, `place`, `path` and `journal`, see `standing`, `only` and `packs::journal`.

#![allow(clippy::redundant_closure_for_method_calls, reason = "a method of `Place` by its path is one of a single lifetime")]

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::PathBuf;

use super::durable;
use super::own::{folder, ours, remove};
use super::plan::PullPlan;
use super::shards;
use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::remote::BATCH;
use crate::spill::batches;
use crate::stop::Stop;
use crate::volume::STAGING_DIR;
use crate::volume::beneath::Root;
use crate::volume::hash::{Hasher, read_through};
use crate::volume::path::RelPath;

const INCOMING: &str = "in";
const VERIFIED: &str = "ok";
const TEMPORARY: &str = "tmp";
/// What is to be done to a private volume, see `packs::journal`.
pub(super) const JOURNAL: &str = "journal";
/// The one path that is pulled, see `only`.
pub(super) const PATH: &str = "path";

/// The folder. Its parts are open, so that they stay these whatever takes their names.
#[derive(Debug)]
pub(super) struct Staging {
    folder: Root,
    incoming: Root,
    verified: Root,
    temporary: Root,
}

/// A part of it that rclone writes to.
#[derive(Debug)]
pub(super) struct Incoming<'a> {
    staging: &'a Staging,
    part: RelPath,
}

impl Incoming<'_> {
    /// Where it is for rclone: no name of the volume leads there, so that none can be given to another folder meanwhile.
    pub(super) fn for_rclone(&self) -> PathBuf {
        self.part.under(&self.staging.incoming.for_children())
    }

    /// A file in it.
    pub(super) fn file(&self, path: &RelPath) -> RelPath {
        self.part.join(path)
    }
}

impl Staging {
    /// On the volume at `root`, made if it is not there, for a pull of all of a revision.
    pub(super) fn open(root: &Root) -> Result<Self> {
        let staging = Self::begin(root, |_| Ok(()))?;
        durable::remove(&staging.folder, PATH)?;
        Ok(staging)
    }

    /// The same; `first` writes what is to be known of the volume into a folder in which nothing else is yet.
    pub(super) fn begin(root: &Root, first: impl FnOnce(&Root) -> Result<()>) -> Result<Self> {
        let dir = folder(root, &RelPath::own(STAGING_DIR))?;
        if is_empty(&dir)? {
            first(&dir)?;
        }
        // Who comes here does not finish what a journal says, which would be wrong as soon as what it names is gone.
        durable::remove(&dir, JOURNAL)?;
        // A killed pull's; it is quickly made again.
        remove(&dir, &RelPath::own(TEMPORARY))?;
        let part = |name| folder(&dir, &RelPath::own(name));
        let (incoming, verified, temporary) = (part(INCOMING)?, part(VERIFIED)?, part(TEMPORARY)?);
        Ok(Self { folder: dir, incoming, verified, temporary })
    }

    /// The folder with all that a killed pull left in it; `None` where it is not there, or not ours.
    pub(super) fn left(root: &Root) -> Result<Option<Self>> {
        let Some(folder) = Self::folder_left(root)? else { return Ok(None) };
        let part = |name| ours(&folder, &RelPath::own(name));
        Ok(match (part(INCOMING)?, part(VERIFIED)?, part(TEMPORARY)?) {
            (Some(incoming), Some(verified), Some(temporary)) => Some(Self { folder, incoming, verified, temporary }),
            _ => None,
        })
    }

    /// The folder alone, as it was left; `None` where it is not there, or not ours.
    pub(super) fn folder_left(root: &Root) -> Result<Option<Root>> {
        ours(root, &RelPath::own(STAGING_DIR))
    }

    /// Whether a folder was left in which nothing had begun.
    pub(super) fn is_left_empty(root: &Root) -> Result<bool> {
        Self::folder_left(root)?.map_or(Ok(false), |folder| is_empty(&folder))
    }

    /// Whether a killed pull left word of what it was changing.
    pub(super) fn has_journal(root: &Root) -> Result<bool> {
        let Some(folder) = Self::folder_left(root)? else { return Ok(false) };
        Ok(folder.find(&RelPath::own(JOURNAL))?.is_some())
    }

    /// The folder itself, for what is known of the volume.
    pub(super) fn folder(&self) -> &Root {
        &self.folder
    }

    /// Empties it of content, once all of that is in place.
    pub(super) fn clear(&self, stop: &Stop) -> Result<()> {
        [&self.incoming, &self.verified, &self.temporary].into_iter().try_for_each(|part| clear(part, stop))
    }

    /// Whether there is one on the volume: a pull is unfinished.
    pub(super) fn is_left(root: &Root) -> Result<bool> {
        Ok(root.find(&RelPath::own(STAGING_DIR))?.is_some())
    }

    /// Removes it with all it holds: the volume is whole. A request to stop is not heeded: with nothing left to do but that, the pull has ended.
    pub(super) fn remove(root: &Root, stop: &Stop) -> Result<()> {
        if let Some(left) = Self::left(root)? {
            // One that is cut short must not leave a journal without what it names, and what is known of the volume stays to the end.
            durable::remove(&left.folder, JOURNAL)?;
            left.clear(&stop.unheeded())?;
            for part in [INCOMING, VERIFIED, TEMPORARY] {
                remove(&left.folder, &RelPath::own(part))?;
            }
        }
        remove(root, &RelPath::own(STAGING_DIR))
    }

    /// Verified content.
    pub(super) fn verified(&self) -> &Root {
        &self.verified
    }

    /// The name of this content there.
    pub(super) fn content(digest: &Digest) -> RelPath {
        shards::content(digest)
    }

    /// Makes the folder that this name of a content is in.
    pub(super) fn make_shard(&self, content: &RelPath) -> io::Result<()> {
        shards::make(&self.verified, content)
    }

    /// The name of the new blocks of this content there, see `packs::waiting`.
    pub(super) fn blocks(digest: &Digest) -> RelPath {
        shards::blocks(digest)
    }

    /// Makes the file that these wait in, if it is not there.
    pub(super) fn make_blocks(&self, digest: &Digest) -> Result<()> {
        let name = Self::blocks(digest);
        let make = || {
            self.make_shard(&name)?;
            match self.verified.at(&name)?.make_file() {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                made => made.map(drop),
            }
        };
        make().map_err(|e| Failure::volume("make", &self.verified.shown(&name), &e))
    }

    /// Drops them.
    pub(super) fn drop_blocks(&self, digest: &Digest) -> Result<()> {
        remove(&self.verified, &Self::blocks(digest))
    }

    /// Where entries are made ready.
    pub(super) fn temporary(&self) -> &Root {
        &self.temporary
    }

    /// Where rclone writes this part.
    pub(super) fn incoming(&self, part: &'static str) -> Incoming<'_> {
        Incoming { staging: self, part: if part.is_empty() { RelPath::root() } else { RelPath::own(part) } }
    }

    /// What rclone wrote.
    pub(super) fn arrived(&self) -> &Root {
        &self.incoming
    }

    /// Where rclone writes, on the volume at `root`: files there have longer paths than they are going to have.
    pub(super) fn incoming_on(root: &Root) -> PathBuf {
        root.shown(&RelPath::own(STAGING_DIR).child(INCOMING))
    }

    /// Keeps what an earlier pull fetched and this one needs, drops the rest, and says what was kept.
    ///
    /// Kept content is hashed, even what was verified: a crash of the node may have lost what was written.
    pub(super) fn keep(&self, plan: &PullPlan, hasher: &Hasher, stop: &Stop) -> Result<HashSet<Digest>> {
        let mut kept = HashSet::new();
        for (folder, is_verified) in [(&self.verified, true), (&self.incoming, false)] {
            for batch in batches(folder.files(), BATCH) {
                let files = batch?;
                for (file, hashed) in files.iter().zip(hasher.all(folder, &files, stop)?) {
                    let wanted = hashed.filter(|digest| plan.wants(digest));
                    match wanted {
                        Some(digest) if is_verified && *file == Self::content(&digest) => {
                            kept.insert(digest);
                        }
                        Some(digest) if kept.insert(digest) => self.accept(folder, file, &digest)?,
                        _ => folder
                            .at(file)
                            .and_then(|place| place.remove_unless_folder())
                            .map(drop)
                            .map_err(|e| Failure::volume("remove", &folder.shown(file), &e))?,
                    }
                }
            }
        }
        self.clear_incoming(stop)?;
        Ok(kept)
    }

    /// Keeps what an earlier pull left of the content that this one needs, as what that says, and drops the rest; returns how many files are kept.
    /// Nothing of it is verified. What is said of a content beside it is whether that is about its new blocks alone.
    pub(super) fn keep_unverified(&self, kept_as: impl Fn(&Digest, bool) -> Option<Digest>, stop: &Stop) -> Result<u64> {
        let kept = shards::keep(&self.verified, kept_as, stop)?;
        self.clear_incoming(stop)?;
        Ok(kept)
    }

    /// Verifies what rclone wrote as `files` and keeps what is right; returns the digests that are not there yet.
    pub(super) fn verify(&self, files: &[(Digest, RelPath)], hasher: &Hasher, stop: &Stop) -> Result<Vec<Digest>> {
        let paths: Vec<RelPath> = files.iter().map(|(_, path)| path.clone()).collect();
        let mut wrong = Vec::new();
        for ((digest, path), hashed) in files.iter().zip(hasher.all(&self.incoming, &paths, stop)?) {
            if hashed == Some(*digest) {
                self.accept(&self.incoming, path, digest)?;
            } else {
                wrong.push(*digest);
            }
        }
        Ok(wrong)
    }

    /// Copies content that lies on the volume and gets a new inode, but for what was `kept`: what of it is there, verified. A file that was
    /// written to since it was compared has none.
    pub(super) fn copy(&self, root: &Root, plan: &PullPlan, kept: &HashSet<Digest>, stop: &Stop) -> Result<HashSet<Digest>> {
        let mut copied = HashSet::new();
        let to = RelPath::own("copy");
        for (digest, path, _) in plan.copies.iter().filter(|(digest, ..)| !kept.contains(digest)) {
            if copied.contains(digest) {
                continue;
            }
            let failed = |e: io::Error| Failure::volume("copy", &root.shown(path), &e);
            let mut out = self.incoming.at(&to).and_then(|place| place.make_file()).map_err(failed)?;
            let mut written = Ok(());
            let whole = read_through(root, path, stop, |part| {
                if written.is_ok() {
                    written = out.write_all(part);
                }
            })?;
            written.and_then(|()| self.incoming.flush(&out)).map_err(failed)?;
            if whole && self.verify(&[(*digest, to.clone())], &Hasher::default(), stop)?.is_empty() {
                copied.insert(*digest);
            } else {
                remove(&self.incoming, &to)?;
            }
        }
        Ok(copied)
    }

    /// Puts a file whose content this is among what is verified.
    pub(super) fn accept(&self, folder: &Root, file: &RelPath, digest: &Digest) -> Result<()> {
        let to = Self::content(digest);
        let accept = || {
            self.make_shard(&to)?;
            folder.at(file)?.rename_to(&self.verified.at(&to)?)
        };
        accept().map_err(|e| Failure::volume("rename", &folder.shown(file), &e))
    }

    /// Empties what rclone writes to.
    pub(super) fn clear_incoming(&self, stop: &Stop) -> Result<()> {
        clear(&self.incoming, stop)
    }

    /// Drops all that was made ready.
    pub(super) fn clear_temporary(&self, stop: &Stop) -> Result<()> {
        clear(&self.temporary, stop)
    }

    /// Drops one of what was made ready, if it is there.
    pub(super) fn remove_temporary(&self, name: &'static str) -> Result<()> {
        remove(&self.temporary, &RelPath::own(name))
    }

    /// Drops content that was verified.
    pub(super) fn drop_content(&self, digest: &Digest) -> Result<()> {
        remove(&self.verified, &Self::content(digest))
    }

    /// Whether this content has arrived and was verified.
    pub(super) fn has(&self, digest: &Digest) -> Result<bool> {
        Ok(self.verified.find(&Self::content(digest))?.is_some())
    }
}

/// Whether there is nothing in a folder but what was not completed.
fn is_empty(folder: &Root) -> Result<bool> {
    let all = RelPath::root();
    let names = folder.names(&all).map_err(|e| Failure::volume("read", &folder.shown(&all), &e))?;
    Ok(names.iter().all(|name| durable::is_incomplete(name.as_encoded_bytes())))
}

fn clear(folder: &Root, stop: &Stop) -> Result<()> {
    let all = RelPath::root();
    let names = folder.names(&all).map_err(|e| Failure::volume("read", &folder.shown(&all), &e))?;
    names.iter().try_for_each(|name| stop.check().and_then(|()| remove(folder, &all.child(name))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use assert_fs::TempDir;
    use sha2::{Digest as _, Sha256};

    #[test]
    fn of_the_volume_only_what_is_wanted_is_copied() {
        let dir = TempDir::new().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let staging = Staging::open(&root).unwrap();
        let digest = |text: &str| Digest(Sha256::digest(text).into());
        let mut plan = PullPlan::default();
        for (name, written) in [("same", "same"), ("other", "written since"), ("again", "same")] {
            std::fs::write(dir.path().join(name), written).unwrap();
            let wanted = if name == "again" { "same" } else { name };
            plan.copies.push((digest(wanted), RelPath::root().child(name), 4));
        }
        plan.copies.push((digest("gone"), RelPath::own("gone"), 4));
        let copied = staging.copy(&root, &plan, &HashSet::new(), &Stop::default()).unwrap();
        assert_eq!(copied, HashSet::from([digest("same")]));
        assert!(staging.has(&digest("same")).unwrap() && !staging.has(&digest("other")).unwrap());
        assert_eq!(staging.arrived().names(&RelPath::root()).unwrap().len(), 0);
        assert!(staging.copy(&root, &plan, &copied, &Stop::default()).unwrap().is_empty());
    }
}
