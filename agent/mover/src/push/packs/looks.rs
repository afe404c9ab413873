//! Looks at the volume until it is still, and the map as one push sees it from one look to the next.

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;

use super::ledger::Ledger;
use super::moving::{again, chosen, moved};
use super::round::{Look, Seen, Trust, look};
use crate::error::Result;
use crate::guard::{Count, NamesSum};
use crate::packs::id::ObjectId;
use crate::packs::map::Map;
use crate::packs::run::Entries;
use crate::push::ahead::{Losses, gone};
use crate::push::upload::changing;
use crate::remote::packed::Source;
use crate::volume::path::RelPath;
use crate::volume::vanished::failure as unreadable;

/// Looks at the volume until two in a row are the same, after the first one.
const ROUNDS: usize = 3;

/// The map as one push sees it, from one look to the next.
pub(super) struct Looks<'a> {
    pub(super) how: Look<'a>,
    /// Whether the volume may be written to meanwhile.
    pub(super) live: bool,
    pub(super) map: Map<Source<'a>>,
    /// Runs of it that are committed.
    pub(super) committed: usize,
    /// Runs of it that this push has begun with.
    pub(super) base: usize,
    /// The id of the next new file.
    pub(super) next_file: u64,
}

impl<'a> Looks<'a> {
    /// What the committed revision has and the volume has not.
    pub(super) fn gone(&self) -> Result<(Count, NamesSum)> {
        let Losses { gone, names, .. } = gone(self.map.rows_of_oldest::<Entries>(self.committed), self.map.rows::<Entries>())?;
        Ok((gone, names))
    }

    /// Looks again until nothing has changed since the look before, which began at `at`. Files of these names are read whatever their hints say.
    pub(super) fn still(&mut self, first: Seen, (at, but): (Timestamp, &HashSet<RelPath>), ledger: &mut Ledger<'a>) -> Result<Seen> {
        let (mut seen, mut at, nothing) = (first, at, HashSet::new());
        let mut but = but;
        for _ in 0..ROUNDS {
            self.take(ledger)?;
            let began = Timestamp::now();
            let trust = Trust::Looked { at, generation: ledger.generation, live: self.live, but };
            let again = look(self.how, &self.map, trust, ledger, &mut self.next_file)?;
            let gone = seen.gone + again.gone;
            let moved = again.moved;
            (seen, at, but) = (Seen { gone, ..again }, began, &nothing);
            if moved > 0 {
                tracing::info!(count = moved, first = ?seen.named.first(), "the volume changed while it was read");
            } else if seen.unsettled.is_empty() {
                // Rows of it may be new all the same: inode numbers, where they are others each time.
                self.take(ledger)?;
                return Ok(seen);
            } else {
                return Err(unreadable(&seen.unsettled));
            }
        }
        Err(changing(seen.moved, &seen.named))
    }

    /// Moves blocks out of packs that are lost, or of which little is needed, and reads files again whose blocks are others by now.
    pub(super) fn rewrite(&mut self, mut seen: Seen, lost: &BTreeSet<ObjectId>, ledger: &mut Ledger<'a>) -> Result<Seen> {
        let mut parts = chosen(ledger, lost);
        for _ in 0..ROUNDS {
            let mut doubtful = HashSet::new();
            for packs in parts {
                doubtful.extend(moved(self.how.root, self.how.reader, &self.map, &packs, ledger)?);
                self.take(ledger)?;
            }
            if !doubtful.is_empty() {
                tracing::info!(files = doubtful.len(), "files are other than their times say; they are read again");
                seen = self.still(seen, (Timestamp::now(), &doubtful), ledger)?;
            }
            let needed = |id: &&ObjectId| ledger.table.get(**id).is_some_and(|pack| pack.live > 0);
            let left: BTreeSet<ObjectId> = lost.iter().filter(needed).copied().collect();
            if left.is_empty() {
                return Ok(seen);
            }
            parts = again(ledger, &left);
        }
        Err(changing(lost.len() as u64, &["blocks of lost packs".to_owned()]))
    }

    fn take(&mut self, ledger: &mut Ledger<'a>) -> Result<()> {
        self.map.follow(self.base, ledger.changes.runs()?);
        Ok(())
    }
}
