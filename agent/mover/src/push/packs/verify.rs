//! Whether the packs and runs of the committed revision are there as they were written, by listings. Where these have no sums, a verification that
//! the user asks for reads the packs back.

use std::collections::BTreeSet;

use super::base::Base;
use super::broken::broken;
use crate::clock::is_due;
use crate::error::Result;
use crate::packs::id::ObjectId;
use crate::packs::map::Map;
use crate::push::PushOptions;
use crate::push::from_packs::RESTORE;
use crate::push::lost::Lost;
use crate::remote::committed::inconsistent;
use crate::remote::packed::{Source, State, read_packs, state_of};
use crate::remote::{Remote, unlisted};

/// What a verification has found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The packs that are not there, or are others than the map says.
    pub(super) lost: BTreeSet<ObjectId>,
    /// See [`broken`].
    pub(super) broken: Vec<String>,
}

/// Whether a push looks for what is lost.
pub(super) fn is_verification(options: &PushOptions, base: &Base) -> bool {
    let says = &base.commit.statement;
    let unreported = options.is_unreported(&says.owner, &says.revision);
    options.verify_now || unreported || is_due(says.verified_time, options.verify_interval, options.started)
}

/// Looks for what is lost of the committed revision, whose map this is.
pub(super) fn verify(remote: &Remote, base: &Base, _: &Map<Source>, options: &PushOptions) -> Result<Found> {
    let mut lost = Lost::look(remote, &base.document, &base.packs)?;
    if let Some(run) = lost.run {
        let what = "is not listed as it was written, cannot be read either, and what it says is nowhere else";
        return Err(inconsistent(remote, &format!("runs/{run} {what}. {RESTORE}")));
    }
    if let Some(run) = lost.unlisted {
        return Err(unlisted(remote, &run.run()));
    }
    if options.verify_now {
        lost.packs.extend(altered(remote, base, &lost)?);
    }
    if !lost.packs.is_empty() {
        tracing::warn!(packs = lost.packs.len(), "packs of the committed revision are lost or damaged; their blocks are sent again");
    }
    Ok(Found { broken: broken(base, &lost), lost: lost.packs })
}

/// Of the packs whose content no listing shows: those that hold something else than the map says.
fn altered(remote: &Remote, base: &Base, looked: &Lost) -> Result<BTreeSet<ObjectId>> {
    let mut altered = BTreeSet::new();
    let due = base.packs.iter().filter(|(id, _)| looked.unknown.contains(id) && !looked.packs.contains(id));
    read_packs(remote, due, |id, row, read| {
        if state_of(id, row, read)? != State::Whole {
            altered.insert(id);
        }
        Ok(())
    })?;
    Ok(altered)
}
