//! What of a revision of layout Packs is not there as it was written: by a listing, which has to show it twice before anything counts as lost.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::hex;
use crate::error::Result;
use crate::format::names::Folder;
use crate::packs::id::ObjectId;
use crate::packs::manifest::Document;
use crate::packs::reference::PackRow;
use crate::remote::Remote;

/// What is lost.
pub(super) struct Lost {
    /// Packs that are not there, or not of the size and sum that the map says.
    pub(super) packs: BTreeSet<ObjectId>,
    /// Those of which the listing shows no sum that was made of what is there now.
    pub(super) unknown: BTreeSet<ObjectId>,
    /// The first run that is not there, or not of its size.
    pub(super) run: Option<ObjectId>,
}

impl Lost {
    /// Looks for all that this manifest names; `packs` are those of its map.
    pub(super) fn look(remote: &Remote, document: &Document, packs: &BTreeMap<ObjectId, PackRow>) -> Result<Self> {
        let lost = look(remote, document, packs)?;
        if lost.is_nothing() {
            return Ok(lost);
        }
        let again = look(remote, document, packs)?;
        Ok(Self {
            packs: lost.packs.intersection(&again.packs).copied().collect(),
            unknown: lost.unknown,
            run: lost.run.filter(|run| again.run == Some(*run)),
        })
    }

    /// All of the revision is there.
    pub(super) fn is_nothing(&self) -> bool {
        self.packs.is_empty() && self.run.is_none()
    }
}

fn look(remote: &Remote, document: &Document, all: &BTreeMap<ObjectId, PackRow>) -> Result<Lost> {
    let runs = || document.runs.iter().filter(|of| !of.inline);
    if let Some((_, listed)) = remote.waiting()? {
        let there = |folder, id: &ObjectId, size| listed.has(folder, id.to_string().as_bytes(), size);
        let whole = |id: &ObjectId, size, md5: &[u8; 16]| listed.has_sum(Folder::Packs, id.to_string().as_bytes(), size, &hex(md5));
        let packs = all.iter().filter(|(id, row)| !whole(id, row.size, &row.md5)).map(|(id, _)| *id).collect();
        let noted = remote.features()?.noted_sums;
        let is_unknown = |id: &&ObjectId| noted || !listed.tells_sum(Folder::Packs, id.to_string().as_bytes());
        let unknown = all.keys().filter(is_unknown).copied().collect();
        return Ok(Lost { packs, unknown, run: runs().find(|of| !there(Folder::Runs, &of.id, of.size)).map(|of| of.id) });
    }
    let [packs, listed_runs] = [remote.list(&Folder::Packs.below())?, remote.list(&Folder::Runs.below())?];
    let there = |size: Option<&u64>, of: u64| size.is_some_and(|size| [of, u64::MAX].contains(size));
    let is_lost = |id: &ObjectId, size| !there(packs.get(id.to_string().as_bytes()), size);
    let lost = all.iter().filter(|(id, row)| is_lost(id, row.size)).map(|(id, _)| *id).collect();
    let run = runs().find(|of| !there(listed_runs.get(of.id.to_string().as_bytes()), of.size)).map(|of| of.id);
    Ok(Lost { packs: lost, unknown: all.keys().copied().collect(), run })
}
