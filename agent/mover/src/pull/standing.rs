//! What is known of a private volume while its staging folder is there: which revision it holds. Without such a note a pull that finds the folder
//! takes nothing for granted, and compares all of the volume.
//!
//! The note is written before anything else is in the folder, goes before the volume is changed, and is there again once a change is complete.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::durable;
use super::staging::Staging;
use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::format::revision::Revision;
use crate::report::Synced;
use crate::stop::Stop;
use crate::volume::STAGING_DIR;
use crate::volume::beneath::Root;
use crate::volume::path::RelPath;

/// The file in the staging folder.
const HOLDS: &str = "holds";
/// The same: the hash of the path that is pulled from, which may have been edited since.
const PLACE: &str = "place";
/// It has less than 1 kB, what could not be restored included.
const MOST: u64 = 64 << 10;

/// What a private volume holds, all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holds {
    /// The revision; absent where that is not known, but what is there is what was there before the pull.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) revision: Option<String>,
    /// What a pull did that brought this revision, and has not reported it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) brought: Option<Brought>,
}

/// See [`Holds::brought`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Brought {
    /// Whether the volume was another one before.
    pub(super) changed: bool,
    /// Entries that were removed.
    pub(super) deleted: u64,
    /// What could not be restored, by kind.
    pub(super) skipped: BTreeMap<String, u64>,
}

impl Brought {
    /// What a pull did after it, and this.
    pub(super) fn with(self, pulled: Synced) -> Synced {
        let mut skipped = self.skipped;
        skipped.extend(pulled.skipped);
        Synced { changed: pulled.changed || self.changed, deleted: pulled.deleted + self.deleted, skipped, ..pulled }
    }
}

impl Holds {
    /// Notes it in this staging folder.
    pub(super) fn note(&self, staging: &Root) -> Result<()> {
        let bytes = serde_json::to_vec(self).map_err(|e| Failure::scratch(&e.into()))?;
        durable::write_bytes(staging, HOLDS, &bytes)
    }

    /// What is noted in the staging folder of the volume at `root`, which has to be private.
    pub(super) fn of(root: &Root) -> Result<Option<Self>> {
        let Some(folder) = Staging::folder_left(root)? else { return Ok(None) };
        let bytes = durable::read(&folder, HOLDS, MOST)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Removes the staging folder of a volume that holds this, all of it.
    pub(super) fn settle(root: &Root, stop: &Stop) -> Result<()> {
        let top = RelPath::root();
        let failed = |e| Failure::volume("set the time of", &root.shown(&top), &e);
        let held = root.hold(&top).map_err(failed)?;
        let before = held.look().map_err(failed)?.mtime;
        Staging::remove(root, stop)?;
        held.set_mtime(before).map_err(failed)?;
        root.sync()
    }

    /// The revision, if it is known.
    pub(super) fn revision(&self) -> Option<Revision> {
        self.revision.as_deref().and_then(Revision::parse)
    }
}

/// Notes that the volume is going to be changed.
pub(super) fn forget(staging: &Root) -> Result<()> {
    durable::remove(staging, HOLDS)
}

/// Notes in this staging folder which path its content is pulled from.
pub(super) fn note_place(staging: &Root, place: &str) -> Result<()> {
    let hash = hash(place);
    if durable::read(staging, PLACE, MOST)?.as_deref() == Some(hash.as_bytes()) {
        return Ok(());
    }
    durable::write_bytes(staging, PLACE, hash.as_bytes())
}

fn hash(place: &str) -> String {
    Digest(Sha256::digest(place.as_bytes()).into()).hex()
}

/// What shows that the path at this `place`, from which this volume is pulled, has had a commit, if anything does: the revision that was `applied`, or what an
/// interrupted pull from there has left, which makes its staging folder only once it has read one. Only where others cannot write is that folder ours.
pub(super) fn pulled_before(root: &Root, applied: Option<&str>, place: &str) -> Result<Option<String>> {
    let pulled = |revision: &str| format!("revision {revision} was pulled from it before");
    if let Some(applied) = applied {
        return Ok(Some(pulled(applied)));
    }
    let Some(folder) = Staging::folder_left(root)? else { return Ok(None) };
    // One that was pulled from before the path was edited says nothing of this one.
    if durable::read(&folder, PLACE, MOST)?.as_deref() != Some(hash(place).as_bytes()) {
        return Ok(None);
    }
    // What the volume held before may be another path's.
    let brought = Holds::of(root)?.filter(|holds| holds.brought.is_some()).and_then(|holds| holds.revision());
    let interrupted = || format!("a pull from it was interrupted before: its {STAGING_DIR} is in the volume");
    Ok(Some(brought.map_or_else(interrupted, |revision| pulled(revision.as_str()))))
}

/// Says of a failed pull into a private volume what that holds now, where that is not what the agent last heard of it.
pub(super) fn explain(root: &Root, failure: Failure) -> Failure {
    let what = match Staging::has_journal(root) {
        Ok(true) => {
            "The volume is a mix of two revisions until a pull finishes what this one has begun: all that takes lies in its .scribe-staging"
                .into()
        }
        Ok(false) => match Holds::of(root) {
            Ok(Some(Holds { revision: Some(revision), brought: Some(_) })) => {
                format!("The volume holds all of revision {revision}: what an interrupted pull had begun was finished without the remote")
            }
            Ok(Some(Holds { revision: Some(revision), brought: None })) => format!("The volume still holds all of revision {revision}"),
            Ok(Some(Holds { revision: None, .. })) => "Nothing of the volume was changed".into(),
            Ok(None) if Staging::is_left_empty(root).is_ok_and(|is_empty| is_empty) => "No change of the volume was on its way".into(),
            // What is not known is not said.
            Ok(None) | Err(_) => return failure,
        },
        Err(_) => return failure,
    };
    failure.with_more(&what)
}
