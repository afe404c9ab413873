//! Whether the packs and runs of the committed revision are there as they were written, by listings. Where these have no sums, a verification that
//! the user asks for reads the packs back; and it reads all of the map, of which listings show no more than the sizes of its runs.

use std::collections::BTreeSet;

use super::base::Base;
use super::broken::broken;
use crate::clock::is_due;
use crate::error::{Failure, Result};
use crate::packs::id::ObjectId;
use crate::packs::map::Map;
use crate::packs::run::{Entries, Packs, References, Section};
use crate::push::PushOptions;
use crate::push::from_packs::RESTORE;
use crate::push::lost::Lost;
use crate::remote::committed::inconsistent;
use crate::remote::packed::{Extent, Source, State, open_map, read_packs, state_of};
use crate::remote::{Remote, unlisted};
use crate::report::Reason;
use crate::stop::Stop;

/// Rows between two looks at the stop request.
const ROWS_AT_A_TIME: usize = 1024;

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
pub(super) fn verify(remote: &Remote, base: &Base, map: &Map<Source>, options: &PushOptions) -> Result<Found> {
    let mut lost = Lost::look(remote, &base.document, &base.packs)?;
    if let Some(run) = lost.run {
        let what = "is not listed as it was written, cannot be read either, and what it says is nowhere else";
        return Err(inconsistent(remote, &format!("runs/{run} {what}. {RESTORE}")));
    }
    if let Some(run) = lost.unlisted {
        return Err(unlisted(remote, &run.run()));
    }
    if options.verify_now {
        read_map(remote, base, map)?;
        lost.packs.extend(altered(remote, base, &lost)?);
    }
    if !lost.packs.is_empty() {
        tracing::warn!(packs = lost.packs.len(), "packs of the committed revision are lost or damaged; their blocks are sent again");
    }
    Ok(Found { broken: broken(base, &lost), lost: lost.packs })
}

/// Reads all of the map: each window of a run has its hash. What is damaged has to be so in a second read of all runs, too.
fn read_map(remote: &Remote, base: &Base, map: &Map<Source>) -> Result<()> {
    let stop = &remote.context.stop;
    let rows = |map: &Map<Source>| -> Result<()> {
        read_rows::<Entries>(map, stop)?;
        read_rows::<References>(map, stop)?;
        read_rows::<Packs>(map, stop)
    };
    let is_damage = |failure: &Failure| failure.reason == Reason::RemoteInconsistent;
    let Err(first) = rows(map) else { return Ok(()) };
    if !is_damage(&first) {
        return Err(first);
    }
    match open_map(remote, &base.manifest(), Extent::All).and_then(|map| rows(&map)) {
        Ok(()) => {
            let what = "and another read of it was whole; nothing was changed, and the next attempt checks again";
            Err(inconsistent(remote, &format!("{}, {what}", first.message)))
        }
        Err(again) if is_damage(&again) => {
            Err(inconsistent(remote, &format!("{}. What a run says is nowhere else. {RESTORE}", again.message)))
        }
        Err(failure) => Err(failure),
    }
}

fn read_rows<S: Section>(map: &Map<Source>, stop: &Stop) -> Result<()> {
    for (number, row) in map.rows::<S>().enumerate() {
        if number % ROWS_AT_A_TIME == 0 {
            stop.check()?;
        }
        row?;
    }
    Ok(())
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
