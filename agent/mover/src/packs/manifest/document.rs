//! What a manifest says, and what no push says in one.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use jiff::Timestamp;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::error::{Failure, Result};
use crate::format::documents::ManifestRef;
use crate::format::revision::Revision;
use crate::packs::commit::Statement;
use crate::packs::id::ObjectId;
use crate::packs::limits::{
    ANCESTORS, BLOCKS_OF_A_MAP, DEAD, DUE, ENTRIES, FORMAT, INDEX, INLINE, LARGEST_PACK_OBJECT, LAST, MANIFEST, NEAR_ANCESTORS, PACKS,
    RETAINED, RUNS,
};
use crate::packs::object::Object;
use crate::packs::run::RunRef;
use crate::packs::salt::Salt;
use crate::packs::size::BlockSize;
use crate::report::Reason;

/// All that a manifest says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// Layout version.
    pub format: u32,
    /// The same as in the statement, where a reader of format 1 looks for it.
    pub revision: String,
    /// Features that a reader has to know. None so far: reserved for what may come within this format.
    #[serde(default, deserialize_with = "few::<_, _, 64>", skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// What the commit says, too.
    pub statement: Statement,
    /// Reserved: a signature over the statement and the runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// Of the lineage.
    pub salt: Salt,
    /// Bytes of a block, see [`BlockSize`].
    pub block_size: u32,
    /// The id that the next new file gets.
    pub next_file: u64,
    /// The revisions that this one descends from, newest first, see [`Document::ancestors_of_next`].
    #[serde(default, deserialize_with = "few::<_, _, ANCESTORS>")]
    pub ancestors: Vec<String>,
    /// The map, the oldest run first.
    #[serde(default, deserialize_with = "few::<_, _, RUNS>")]
    pub runs: Vec<RunRef>,
    /// What the map refers to, together.
    pub totals: Totals,
    /// How old things are.
    pub clock: PushClock,
    /// Older revisions that are kept, the newest first.
    #[serde(default, deserialize_with = "few::<_, _, RETAINED>", skip_serializing_if = "Vec::is_empty")]
    pub retained: Vec<Retained>,
    /// Packs that the map does not refer to any more.
    #[serde(default, deserialize_with = "few::<_, _, DEAD>", skip_serializing_if = "Vec::is_empty")]
    pub dead_packs: Vec<DeadObject>,
    /// Runs that are not in the list any more.
    #[serde(default, deserialize_with = "few::<_, _, DEAD>", skip_serializing_if = "Vec::is_empty")]
    pub dead_runs: Vec<DeadObject>,
    /// Manifests of revisions that are not kept.
    #[serde(default, deserialize_with = "few::<_, _, DEAD>", skip_serializing_if = "Vec::is_empty")]
    pub dead_manifests: Vec<DeadManifest>,
    /// What the push that wrote this deletes once it is committed, by the names in our own folder. As long as its claim is there, or another one,
    /// some of it may be left.
    #[serde(default, deserialize_with = "few::<_, _, DUE>", skip_serializing_if = "Vec::is_empty")]
    pub due: Vec<String>,
}

/// What a map refers to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Blocks: each of them once, under whatever names.
    pub blocks: u64,
    /// Packs.
    pub packs: u64,
    /// Bytes of these, trailers included.
    pub pack_bytes: u64,
    /// The weights of all blocks, see [`crate::packs::reference::Place::weight`].
    pub live: u64,
}

/// An older revision that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retained {
    /// Its name.
    pub revision: String,
    /// When its data was captured.
    pub data_time: Timestamp,
    /// What the meters showed when it was committed.
    pub committed: Reading,
    /// Its manifest.
    pub manifest: ManifestRef,
    /// Entries of every type but the root, as its statement says; absent in a list of an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// The total size of its files; absent as that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Time as the pushes of a path count it: the clock of none of them is trusted for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushClock {
    /// When the manifest was written, by the clock of its push.
    pub at: Timestamp,
    /// Counts for the grace of what is dead.
    pub full: Meter,
    /// Counts for the shorter grace of what is dead and much.
    pub brief: Meter,
    /// Counts for the age of revisions.
    pub age: Meter,
}

/// One count of time, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    /// What has passed.
    pub counted: u64,
    /// What has to pass before it counts again, because a clock was behind the one before.
    pub owed: u64,
}

/// What the meters of [`PushClock`] showed at one push, in milliseconds. Only the difference of two has a meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Of the meter of that name.
    pub full: u64,
    /// Of the meter of that name.
    pub brief: u64,
    /// Of the meter of that name.
    pub age: u64,
}

/// A pack or run that is of no use to this revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadObject {
    /// Its name.
    pub id: ObjectId,
    /// Bytes of it.
    pub size: u64,
    /// The first generation whose manifest referred to it.
    pub born: u64,
    /// The first one whose manifest did not any more.
    pub died: u64,
    /// What the meters showed at the push since which no retained revision has referred to it either; absent as long as one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Reading>,
}

impl DeadObject {
    /// Whether a retained revision of this generation refers to it.
    pub fn is_needed_by(&self, generation: u64) -> bool {
        (self.born..self.died).contains(&generation)
    }
}

/// The manifest of a revision that is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadManifest {
    /// Of which revision.
    pub revision: String,
    /// Bytes of it.
    pub size: u64,
    /// What the meters showed at the push since which its revision is neither committed nor retained.
    pub since: Reading,
}

/// The features that a manifest needs.
#[derive(Deserialize)]
pub struct Feature {
    #[serde(default, deserialize_with = "few::<_, _, 64>")]
    needs: Vec<String>,
}

impl Feature {
    /// Refuses what this program does not know.
    pub fn check(&self) -> Result<()> {
        let Some(feature) = self.needs.first() else { return Ok(()) };
        let what = format!(
            "the remote path needs the feature {feature:?}, which this program does not know: use the version that wrote it, or a newer one"
        );
        Err(Failure::new(Reason::MoverFailed, what))
    }
}

impl Document {
    /// The size of its blocks.
    pub fn block(&self) -> std::result::Result<BlockSize, String> {
        BlockSize::new(self.block_size).ok_or_else(|| format!("blocks of an impossible size, {}", self.block_size))
    }

    /// The generation of its revision; `None` if that is impossible.
    pub fn generation(&self) -> Option<u64> {
        Some(Revision::parse(&self.revision)?.generation())
    }

    /// The runs that stand in the manifest.
    pub fn inline(&self) -> impl Iterator<Item = &RunRef> {
        self.runs.iter().filter(|run| run.inline)
    }

    /// The ancestors of the revision that follows this one: the latest 64, and of those before, every one whose generation 64 divides. So a
    /// site that is a few days behind is known to be, in some kilobytes.
    pub fn ancestors_of_next(&self) -> Vec<String> {
        let is_far = |name: &&String| Revision::parse(name).is_some_and(|name| name.generation().is_multiple_of(NEAR_ANCESTORS as u64));
        let all = || [&self.statement.revision].into_iter().chain(&self.ancestors);
        all().take(NEAR_ANCESTORS).chain(all().skip(NEAR_ANCESTORS).filter(is_far)).take(ANCESTORS).cloned().collect()
    }

    /// Refuses what no push writes: what is impossible, and what would take a reader without bounds further.
    pub(super) fn check(&self) -> std::result::Result<(), String> {
        let revision = Revision::parse(&self.revision).ok_or("an impossible revision")?;
        if self.format != FORMAT || self.statement.revision != self.revision {
            return Err("two revisions or formats".into());
        }
        self.block()?;
        if !self.needs.is_empty() {
            return Err("features that this program does not have".into());
        }
        if self.next_file > LAST {
            return Err("impossible ids of files".into());
        }
        self.check_totals()?;
        self.check_runs(revision.generation())?;
        let ancestors = self.ancestors.iter();
        check_older(&revision, ancestors, "ancestors")?;
        check_older(&revision, self.retained.iter().map(|kept| &kept.revision), "retained revisions")?;
        if self.retained.iter().any(|kept| kept.manifest.size > MANIFEST) {
            return Err("a retained revision with a manifest of an impossible size".into());
        }
        self.check_readings()?;
        self.check_dead(revision.generation())
    }

    /// No reading is later than what the meters show.
    fn check_readings(&self) -> std::result::Result<(), String> {
        let PushClock { full, brief, age, .. } = self.clock;
        let dead = self.dead_packs.iter().chain(&self.dead_runs).filter_map(|dead| dead.since);
        let mut all = self.retained.iter().map(|kept| kept.committed).chain(dead).chain(self.dead_manifests.iter().map(|dead| dead.since));
        if all.any(|read| read.full > full.counted || read.brief > brief.counted || read.age > age.counted) {
            return Err("readings of a time that has not come".into());
        }
        Ok(())
    }

    fn check_totals(&self) -> std::result::Result<(), String> {
        let (says, totals) = (&self.statement, &self.totals);
        for (number, most, of) in
            [(totals.blocks, BLOCKS_OF_A_MAP, "blocks"), (totals.packs, PACKS, "packs"), (says.entries, ENTRIES, "entries")]
        {
            if number > most {
                return Err(format!("{number} {of}, more than the {most} that this program handles"));
            }
        }
        let fits = says.files <= says.entries
            && i64::try_from(says.bytes).is_ok()
            && (totals.blocks..=totals.blocks + totals.pack_bytes).contains(&totals.live);
        if fits && totals.pack_bytes <= totals.packs * LARGEST_PACK_OBJECT { Ok(()) } else { Err("impossible totals".into()) }
    }

    fn check_runs(&self, generation: u64) -> std::result::Result<(), String> {
        let (mut ids, mut before, mut inline, mut rows) = (HashSet::new(), 0, 0_u64, 0_u64);
        for run in &self.runs {
            let RunRef { id, size, tail, first, last, counts, .. } = run;
            if tail > size || *tail > INDEX + 1024 || i64::try_from(*size).is_err() {
                return Err(format!("run {id} of an impossible size"));
            }
            if *first <= before || first > last || *last > generation {
                return Err(format!("run {id} of impossible generations"));
            }
            before = *last;
            if !ids.insert(id) {
                return Err(format!("run {id} twice"));
            }
            inline = inline.saturating_add(if run.inline { *size } else { 0 });
            for of in [counts.entries, counts.blocks, counts.packs] {
                rows = rows.saturating_add(of);
            }
        }
        if inline > INLINE {
            return Err(format!("inline runs of {inline} bytes, more than {INLINE}"));
        }
        // What is written over, or gone, takes rows, too.
        if rows > 4 * BLOCKS_OF_A_MAP { Err(format!("runs of {rows} rows, more than this program handles")) } else { Ok(()) }
    }

    fn check_dead(&self, generation: u64) -> std::result::Result<(), String> {
        for (objects, what) in [(&self.dead_packs, "packs"), (&self.dead_runs, "runs")] {
            let mut ids = HashSet::new();
            for object in objects {
                if object.born >= object.died || object.died > generation || !ids.insert(object.id) {
                    return Err(format!("impossible dead {what}"));
                }
            }
        }
        if self.dead_runs.iter().any(|dead| self.runs.iter().any(|run| run.id == dead.id)) {
            return Err("a run that is dead".into());
        }
        let mut names = HashSet::new();
        let living: HashSet<&String> = self.retained.iter().map(|kept| &kept.revision).chain([&self.revision]).collect();
        for DeadManifest { revision, .. } in &self.dead_manifests {
            if Revision::parse(revision).is_none() || !names.insert(revision) || living.contains(revision) {
                return Err("impossible dead manifests".into());
            }
        }
        let is_dead = |name: &String| match Object::parse(name) {
            Some(Object::Pack(_) | Object::Checkpoint(_)) => true,
            Some(Object::Run(id)) => self.runs.iter().all(|run| run.id != id),
            Some(Object::Manifest(revision)) => living.iter().all(|living| *living != revision.as_str()),
            None => false,
        };
        if self.due.iter().all(is_dead) { Ok(()) } else { Err("impossible objects that are due".into()) }
    }
}

/// These descend, in generations of the same lineage, from before this revision.
fn check_older<'a>(revision: &Revision, names: impl Iterator<Item = &'a String>, what: &str) -> std::result::Result<(), String> {
    let mut before = revision.generation();
    for name in names {
        let of = Revision::parse(name).filter(|of| of.lineage() == revision.lineage() && of.generation() < before);
        before = of.ok_or_else(|| format!("impossible {what}"))?.generation();
    }
    Ok(())
}

/// A list of no more than so many: longer ones are refused before they fill the memory.
fn few<'de, D: Deserializer<'de>, T: Deserialize<'de>, const MOST: usize>(deserializer: D) -> std::result::Result<Vec<T>, D::Error> {
    struct Few<T, const MOST: usize>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Few<T, MOST> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            write!(f, "a list of at most {MOST}")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Vec<T>, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = seq.next_element()? {
                if items.len() == MOST {
                    return Err(A::Error::custom(format_args!("a list of more than {MOST}")));
                }
                items.push(item);
            }
            Ok(items)
        }
    }
    deserializer.deserialize_seq(Few::<T, MOST>(PhantomData))
}
