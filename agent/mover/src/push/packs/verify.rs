//! Whether the packs and runs of the committed revision are there as they were written: by a listing, which has to show it twice before
//! anything counts as lost.

use std::collections::BTreeSet;

use super::base::Base;
use crate::clock::is_due;
use crate::digest::hex;
use crate::error::Result;
use crate::format::names::Folder;
use crate::packs::id::ObjectId;
use crate::push::PushOptions;
use crate::remote::Remote;
use crate::remote::committed::inconsistent;

/// Whether a push looks for what is lost.
pub(super) fn is_verification(options: &PushOptions, base: &Base) -> bool {
    let says = &base.commit.statement;
    let unreported = options.is_unreported(&says.owner, &says.revision);
    options.verify_now || unreported || is_due(says.verified_time, options.verify_interval, options.started)
}

/// The packs that are not there, or are others than the map says.
pub(super) fn lost(remote: &Remote, base: &Base) -> Result<BTreeSet<ObjectId>> {
    let mut lost = look(remote, base)?;
    if !lost.packs.is_empty() || lost.run.is_some() {
        let again = look(remote, base)?;
        lost =
            Lost { packs: lost.packs.intersection(&again.packs).copied().collect(), run: lost.run.filter(|run| again.run == Some(*run)) };
    }
    if let Some(run) = lost.run {
        let what = "is not listed as it was written, and what it says is nowhere else. Restore that object, or delete everything at this path, or use another one; then everything is pushed again";
        return Err(inconsistent(remote, &format!("runs/{run} {what}")));
    }
    if !lost.packs.is_empty() {
        tracing::warn!(packs = lost.packs.len(), "packs of the committed revision are lost or damaged; their blocks are sent again");
    }
    Ok(lost.packs)
}

struct Lost {
    packs: BTreeSet<ObjectId>,
    run: Option<ObjectId>,
}

fn look(remote: &Remote, base: &Base) -> Result<Lost> {
    let runs = || base.document.runs.iter().filter(|of| !of.inline);
    if let Some((_, listed)) = remote.waiting()? {
        let there = |folder, id: &ObjectId, size| listed.has(folder, id.to_string().as_bytes(), size);
        let whole = |id: &ObjectId, size, md5: &[u8; 16]| listed.has_sum(Folder::Packs, id.to_string().as_bytes(), size, &hex(md5));
        let packs = base.packs.iter().filter(|(id, row)| !whole(id, row.size, &row.md5)).map(|(id, _)| *id).collect();
        return Ok(Lost { packs, run: runs().find(|of| !there(Folder::Runs, &of.id, of.size)).map(|of| of.id) });
    }
    let [packs, listed_runs] = [remote.list(&Folder::Packs.below())?, remote.list(&Folder::Runs.below())?];
    let there = |size: Option<&u64>, of: u64| size.is_some_and(|size| [of, u64::MAX].contains(size));
    let is_lost = |id: &ObjectId, size| !there(packs.get(id.to_string().as_bytes()), size);
    let lost = base.packs.iter().filter(|(id, row)| is_lost(id, row.size)).map(|(id, _)| *id).collect();
    let run = runs().find(|of| !there(listed_runs.get(of.id.to_string().as_bytes()), of.size)).map(|of| of.id);
    Ok(Lost { packs: lost, run })
}
