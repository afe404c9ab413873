//! The map: all its runs as one, a newer row before an older one, and runs that become one run.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::io::{Read, Seek, Write};

use crate::error::{Result, next_or_end};
use crate::packs::damaged;
use crate::packs::limits::{RUNS, WINDOWS};
use crate::packs::run::{Entries, Packs, ReadAt, References, Row, Rows, Run, RunWriter, Section, Written};
use crate::stop::Stop;

/// Rows between two looks at the stop request.
const ROWS_AT_A_TIME: usize = 1024;

/// The runs of a manifest.
#[derive(Clone, Debug)]
pub struct Map<R> {
    /// The oldest first.
    runs: Vec<Run<R>>,
}

impl<R: ReadAt> Map<R> {
    /// The map of these runs, the oldest first, as a manifest lists them. They are opened one by one, and no further than there is room for
    /// their indexes.
    pub fn open(opened: impl IntoIterator<Item = Result<Run<R>>>) -> Result<Self> {
        let (mut runs, mut windows) = (Vec::new(), 0_usize);
        for run in opened {
            let run = run?;
            windows = windows.saturating_add(run.index.windows());
            if runs.len() == RUNS || windows > WINDOWS {
                return Err(damaged("the map", "it has more runs than any push leaves"));
            }
            runs.push(run);
        }
        Ok(Self { runs })
    }

    /// Its runs, the oldest first.
    pub fn runs(&self) -> &[Run<R>] {
        &self.runs
    }

    /// Adds a run that is newer than all others: one that a push under way has written.
    pub fn add(&mut self, run: Run<R>) {
        self.runs.push(run);
    }

    /// Puts these in place of all but the oldest `runs`: those of a push under way, as they are by now.
    pub fn follow(&mut self, runs: usize, newer: &[Run<R>])
    where
        R: Clone,
    {
        self.runs.truncate(runs);
        self.runs.extend_from_slice(newer);
    }

    /// The rows of a section that are not gone, as the oldest `runs` have them.
    pub fn rows_of_oldest<S: Section>(&self, runs: usize) -> impl Iterator<Item = Result<(S::Key, S::Value)>> {
        there(merged::<S, R>(self.runs.get(..runs).unwrap_or(&self.runs), Run::rows))
    }

    /// The rows of a section that are not gone.
    pub fn rows<S: Section>(&self) -> impl Iterator<Item = Result<(S::Key, S::Value)>> {
        there(merged::<S, R>(&self.runs, Run::rows))
    }

    /// What runs from this number on say, the oldest of all being 0: also that something is gone.
    pub fn changes<S: Section>(&self, run: usize) -> impl Iterator<Item = Result<Row<S>>> {
        merged::<S, R>(self.runs.get(run..).unwrap_or_default(), Run::rows)
    }

    /// The rows of a section that are not gone, from this key on.
    pub fn rows_from<'a, S: Section>(&'a self, key: &S::Key) -> impl Iterator<Item = Result<(S::Key, S::Value)>> + use<'a, S, R> {
        there(merged::<S, R>(&self.runs, |run| run.rows_from(key)))
    }
}

/// Writes the rows of these runs, which follow each other and of which the oldest is first, as one run. That something is gone is left out
/// only where no older run can have it: `oldest` says that the first of these runs is the first of the map.
pub fn merge<R: ReadAt, W: Write, P: Read + Write + Seek>(
    runs: &[Run<R>],
    oldest: bool,
    mut to: RunWriter<W, P>,
    stop: &Stop,
) -> Result<(W, Written)> {
    each::<Entries, R>(runs, oldest, stop, |path, node| to.entry(&path, node.as_ref()))?;
    each::<References, R>(runs, oldest, stop, |key, of| to.block(key, of.as_ref()))?;
    each::<Packs, R>(runs, oldest, stop, |id, row| to.pack(id, row.as_ref()))?;
    to.finish()
}

fn each<S: Section, R: ReadAt>(
    runs: &[Run<R>],
    oldest: bool,
    stop: &Stop,
    mut write: impl FnMut(S::Key, Option<S::Value>) -> Result<()>,
) -> Result<()> {
    for (number, row) in merged::<S, R>(runs, Run::rows).enumerate() {
        if number % ROWS_AT_A_TIME == 0 {
            stop.check()?;
        }
        let (key, value) = row?;
        if value.is_some() || !oldest {
            write(key, value)?;
        }
    }
    Ok(())
}

/// The rows of a section of these runs, the oldest first: of one key, that of the newest run.
fn merged<'a, S: Section, R>(runs: &'a [Run<R>], rows: impl Fn(&'a Run<R>) -> Rows<'a, R, S>) -> Merged<'a, R, S> {
    Merged { inputs: runs.iter().rev().map(rows).collect(), heads: BinaryHeap::new(), begun: false, ended: false }
}

fn there<K, V>(rows: impl Iterator<Item = Result<(K, Option<V>)>>) -> impl Iterator<Item = Result<(K, V)>> {
    rows.filter_map(|row| row.map(|(key, value)| Some((key, value?))).transpose())
}

/// Several sorted inputs as one, each with one row in memory.
struct Merged<'a, R, S: Section> {
    /// The newest first.
    inputs: Vec<Rows<'a, R, S>>,
    heads: BinaryHeap<Head<S>>,
    begun: bool,
    ended: bool,
}

/// The next row of an input.
struct Head<S: Section> {
    row: Row<S>,
    /// Its number: of the newest run, 0.
    input: usize,
}

impl<R: ReadAt, S: Section> Merged<'_, R, S> {
    fn row(&mut self) -> Result<Option<Row<S>>> {
        if !self.begun {
            self.begun = true;
            (0..self.inputs.len()).try_for_each(|input| self.fill(input))?;
        }
        let Some(Head { row, input }) = self.heads.pop() else { return Ok(None) };
        self.fill(input)?;
        // Older rows of the same key.
        while let Some(older) = self.heads.peek().filter(|head| head.row.0 == row.0).map(|head| head.input) {
            self.heads.pop();
            self.fill(older)?;
        }
        Ok(Some(row))
    }

    fn fill(&mut self, input: usize) -> Result<()> {
        if let Some(row) = self.inputs.get_mut(input).and_then(Iterator::next) {
            self.heads.push(Head { row: row?, input });
        }
        Ok(())
    }
}

impl<R: ReadAt, S: Section> Iterator for Merged<'_, R, S> {
    type Item = Result<Row<S>>;

    fn next(&mut self) -> Option<Self::Item> {
        next_or_end(self, |merged| &mut merged.ended, Self::row)
    }
}

/// The heap gives the greatest first: that is the lowest key, and of one key the newest run's.
impl<S: Section> Ord for Head<S> {
    fn cmp(&self, other: &Self) -> Ordering {
        (&other.row.0, other.input).cmp(&(&self.row.0, self.input))
    }
}

impl<S: Section> PartialOrd for Head<S> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<S: Section> PartialEq for Head<S> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<S: Section> Eq for Head<S> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packs::reference::RefKey;
    use crate::packs::run::Hashes;
    use crate::packs::run::tests::{Model, block, model, read, write, writer};
    use proptest::prelude::*;

    type Runs = Vec<Run<Vec<u8>>>;

    fn runs(models: &[Model]) -> Runs {
        let open = |model| {
            let (bytes, of) = write(model);
            Run::open(bytes, &of, block()).unwrap()
        };
        models.iter().map(open).collect()
    }

    /// What the runs say together, the oldest first.
    fn together(models: &[Model], gone: bool) -> Model {
        let mut all = Model::default();
        for Model { entries, blocks, packs } in models.iter().cloned() {
            all.entries.extend(entries);
            all.blocks.extend(blocks);
            all.packs.extend(packs);
        }
        if !gone {
            all.entries.retain(|_, value| value.is_some());
            all.blocks.retain(|_, value| value.is_some());
            all.packs.retain(|_, value| value.is_some());
        }
        all
    }

    fn shown(map: &Map<Vec<u8>>) -> Model {
        let mut model = Model::default();
        model.entries.extend(map.rows::<Entries>().map(|row| row.map(|(key, value)| (key, Some(value))).unwrap()));
        model.blocks.extend(map.rows::<References>().map(|row| row.map(|(key, value)| (key, Some(value))).unwrap()));
        model.packs.extend(map.rows::<Packs>().map(|row| row.map(|(key, value)| (key, Some(value))).unwrap()));
        model
    }

    fn merged(runs: &[Run<Vec<u8>>], oldest: bool) -> (Vec<u8>, crate::packs::run::RunRef) {
        let (bytes, written) = merge(runs, oldest, writer(), &Stop::default()).unwrap();
        (bytes, written.named(crate::packs::run::tests::ID, 1, 1))
    }

    proptest! {
        /// Whichever neighbours become one run, and in whatever order: the map stays the same, and is what the newest rows say.
        #[test]
        fn a_map_is_its_newest_rows_however_its_runs_were_merged(
            models in prop::collection::vec(model(), 1..6), steps in prop::collection::vec((any::<prop::sample::Index>(), 1..4_usize), 0..5),
            from in (0..4_u64, 0..30_u64),
        ) {
            let expected = together(&models, false);
            let mut map = Map { runs: runs(&models) };
            let mut parts: Vec<Model> = models.clone();
            prop_assert_eq!(shown(&map), expected.clone());
            for (at, many) in steps {
                let at = at.index(parts.len());
                let end = parts.len().min(at + many);
                let (bytes, of) = merged(&map.runs[at..end], at == 0);
                let one = together(&parts[at..end], at > 0);
                prop_assert_eq!(read(&bytes, &of).unwrap(), one.clone());
                parts.splice(at..end, [one]);
                map.runs.splice(at..end, [Run::open(bytes, &of, block()).unwrap()]);
                prop_assert_eq!(shown(&map), expected.clone());
            }
            let from = RefKey { file: from.0, block: from.1 };
            let rest: Vec<_> = map.rows_from::<Hashes>(&from).map(|row| row.unwrap().0).collect();
            prop_assert_eq!(rest, expected.blocks.range(from..).map(|(key, _)| *key).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_damaged_run_ends_all_of_it() {
        let (bytes, of) = write(&crate::packs::run::tests::large());
        let mut damaged = bytes.clone();
        damaged[100_000] ^= 1;
        let map = Map::open([bytes, damaged].map(|bytes| Run::open(bytes, &of, block()))).unwrap();
        let rows: Vec<_> = map.rows::<Entries>().collect();
        assert!(rows.len() < 9000 && rows.last().unwrap().is_err() && rows.iter().rev().skip(1).all(Result::is_ok));
        assert!(merge(map.runs(), true, writer(), &Stop::default()).is_err());
    }

    #[test]
    fn a_map_has_no_more_runs_than_a_reader_has_room_for() {
        let empty = vec![Model::default(); RUNS + 1];
        assert!(Map::open(runs(&empty[..RUNS]).into_iter().map(Ok)).is_ok());
        assert!(Map::open(runs(&empty).into_iter().map(Ok)).is_err());
        let mut opened = 0;
        let mut endless = || {
            opened += 1;
            let (bytes, of) = write(&Model::default());
            Some(Run::open(bytes, &of, block()))
        };
        assert!(Map::open(std::iter::from_fn(&mut endless)).is_err());
        assert_eq!(opened, RUNS + 1, "no more than that are opened");
        let (stop, large) = (Stop::default(), runs(&[crate::packs::run::tests::large()]));
        stop.request();
        assert!(merge(&large, true, writer(), &stop).is_err(), "a stop is heeded");
    }
}
