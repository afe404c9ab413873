//! The staging folder on the volume: where fetched content waits until all of it is verified.
//!
//! `.scribe-staging/in/` is what rclone writes, believed by its hash alone; `ok/<sha256>` is what was verified; `tmp/` is made ready
//! there for its rename. Its presence says that the volume is not a whole revision.

#![allow(clippy::redundant_closure_for_method_calls, reason = "a method of `Place` by its path is one of a single lifetime")]

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::PathBuf;

use super::plan::PullPlan;
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
/// How often a folder that is not ours is removed.
const ATTEMPTS: usize = 10;

/// The folder. Its parts are open, so that they stay these whatever takes their names.
#[derive(Debug)]
pub(super) struct Staging {
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
    /// On the volume at `root`, made if it is not there.
    pub(super) fn open(root: &Root) -> Result<Self> {
        let dir = folder(root, &RelPath::own(STAGING_DIR))?;
        // A killed pull's; it is quickly made again.
        remove(&dir, &RelPath::own(TEMPORARY))?;
        let part = |name| folder(&dir, &RelPath::own(name));
        Ok(Self { incoming: part(INCOMING)?, verified: part(VERIFIED)?, temporary: part(TEMPORARY)? })
    }

    /// Whether there is one on the volume: a pull is unfinished.
    pub(super) fn is_left(root: &Root) -> Result<bool> {
        Ok(root.find(&RelPath::own(STAGING_DIR))?.is_some())
    }

    /// Removes it with all it holds: the volume is whole.
    pub(super) fn remove(root: &Root) -> Result<()> {
        remove(root, &RelPath::own(STAGING_DIR))
    }

    /// Verified content.
    pub(super) fn verified(&self) -> &Root {
        &self.verified
    }

    /// The name of this content there.
    pub(super) fn content(digest: &Digest) -> RelPath {
        RelPath::root().child(digest.hex())
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
        self.clear_incoming()?;
        Ok(kept)
    }

    /// Keeps what an earlier pull left of the content that this one needs, and drops the rest. Nothing of it is verified.
    pub(super) fn keep_unverified(&self, wants: impl Fn(&Digest) -> bool, stop: &Stop) -> Result<()> {
        for file in self.verified.files() {
            stop.check()?;
            let file = file?;
            let name = std::str::from_utf8(file.as_bytes()).ok().and_then(Digest::parse);
            if !name.is_some_and(|digest| Self::content(&digest) == file && wants(&digest)) {
                remove(&self.verified, &file)?;
            }
        }
        self.clear_incoming()
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
            written.map_err(failed)?;
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
        let accept = || folder.at(file)?.rename_to(&self.verified.at(&to)?);
        accept().map_err(|e| Failure::volume("rename", &folder.shown(file), &e))
    }

    /// Empties what rclone writes to.
    pub(super) fn clear_incoming(&self) -> Result<()> {
        clear(&self.incoming)
    }

    /// Drops all that was made ready.
    pub(super) fn clear_temporary(&self) -> Result<()> {
        clear(&self.temporary)
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

fn clear(folder: &Root) -> Result<()> {
    let all = RelPath::root();
    let names = folder.names(&all).map_err(|e| Failure::volume("read", &folder.shown(&all), &e))?;
    names.iter().try_for_each(|name| remove(folder, &all.child(name)))
}

/// Makes a folder, and opens it. What a link of that name leads to is none of ours: everything in these folders is going to be deleted. One
/// that is there and that others may write to is not ours, either: they could make rclone write elsewhere, or exchange what was verified.
fn folder(root: &Root, path: &RelPath) -> Result<Root> {
    let open = || {
        for _ in 0..ATTEMPTS {
            match root.at(path)?.make_folder(0o700) {
                Ok(()) => return root.below(path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            if let Ok(folder) = root.below(path) {
                // Of the folder that was opened, not of the name.
                let seen = folder.hold(&RelPath::root())?.look()?;
                if (seen.mode & 0o777) | 0o700 == 0o700 && seen.uid == rustix::process::geteuid().as_raw() {
                    return Ok(folder);
                }
            }
            root.remove_tree(path)?;
        }
        Err(io::Error::other("something else makes it again and again"))
    };
    open().map_err(|e| Failure::volume("make the folder", &root.shown(path), &e))
}

fn remove(root: &Root, path: &RelPath) -> Result<()> {
    root.remove_tree(path).map_err(|e| Failure::volume("remove", &root.shown(path), &e))
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
