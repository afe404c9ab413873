//! Retained revisions: after any series of pushes, with clocks that jump and pushes that are killed, those that the rules keep can be pulled and
//! are what was pushed, and what none of them needs is gone after its grace.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::{FileExt, symlink};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assert_fs::TempDir;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use scribe_mover::format::documents::ManifestRef;
use scribe_mover::format::revision::Revision;
use scribe_mover::guard::Guard;
use scribe_mover::packs::manifest::{DeadObject, Document, Reading};
use scribe_mover::packs::policy::clock;
use scribe_mover::packs::policy::retained::{Retained, kept};
use scribe_mover::pull::{PullOptions, PullOutcome, Wanted, pull_wanted};
use scribe_mover::push::{PushOptions, push_packs};
use scribe_mover::report::Reason;
use scribe_mover::retention::Retention;
use scribe_mover::volume::exclude::Exclude;

use crate::edits::{Edit, edit};
use crate::memory::Objects;
use crate::read::{Tree, revision_at, volume};
use crate::support::{committed, fresh, options, remote};

const FULL: u64 = 24 * 3_600_000;
const BRIEF: u64 = 3_600_000;

/// A revision that is to be there.
#[derive(Clone, Debug)]
struct Known {
    revision: String,
    data_time: Timestamp,
    committed: Reading,
    manifest: ManifestRef,
}

/// A path, its volume, and what is to be restorable.
struct World {
    objects: Arc<Mutex<Objects>>,
    source: TempDir,
    rules: Retention,
    /// By the rules, the newest first.
    known: Vec<Known>,
    trees: BTreeMap<String, Tree>,
    /// Objects that no revision needs, and what the meters showed when that was so for the first time.
    unneeded: BTreeMap<String, Reading>,
    needed: BTreeSet<String>,
    /// Pulled into again and again, back and forth.
    dest: TempDir,
    applied: Option<String>,
    /// Deletions of a push that was killed may not have been made.
    killed: bool,
    rng: fastrand::Rng,
}

fn reading(document: &Document) -> Reading {
    let of = &document.clock;
    Reading { full: of.full.counted, brief: of.brief.counted, age: of.age.counted }
}

fn by_policy(known: &Known) -> Retained {
    let [full, brief, age] = [known.committed.full, known.committed.brief, known.committed.age].map(Duration::from_millis);
    let generation = Revision::parse(&known.revision).unwrap().generation();
    Retained { generation, data_time: known.data_time, committed: clock::Reading { full, brief, age } }
}

impl World {
    fn new(rules: Retention) -> Self {
        let (objects, source) = fresh();
        Self {
            objects,
            source,
            rules,
            known: Vec::new(),
            trees: BTreeMap::new(),
            unneeded: BTreeMap::new(),
            needed: BTreeSet::new(),
            dest: TempDir::new_in("/dev/shm").unwrap(),
            applied: None,
            killed: false,
            rng: fastrand::Rng::with_seed(5),
        }
    }

    /// Pushes at this time; killed after `left` writes, if it has more to do.
    fn push(&mut self, seconds: i64, left: Option<usize>) {
        let tree = volume(self.source.path(), &Exclude::default());
        self.objects.lock().unwrap().left = left;
        let options = PushOptions { retention: self.rules.clone(), ..options(self.source.path(), seconds) };
        let pushed = push_packs(&remote(&self.objects), &options);
        self.objects.lock().unwrap().left = None;
        self.killed |= pushed.is_err();
        assert!(pushed.is_ok() || left.is_some(), "{pushed:?}");
        let Some(read) = committed(&self.objects).unwrap() else { return };
        let says = &read.commit.statement;
        if self.known.first().is_some_and(|newest| newest.revision == says.revision) {
            return;
        }
        let (revision, data_time) = (says.revision.clone(), says.data_time);
        let new = Known { revision, data_time, committed: reading(&read.document), manifest: read.commit.manifest.clone() };
        self.trees.insert(says.revision.clone(), tree);
        self.known.insert(0, new);
        let all: Vec<Retained> = self.known.iter().map(by_policy).collect();
        let mut stay = kept(&all, &self.rules, read.document.clock.at, all[0].committed).into_iter();
        self.known.retain(|_| stay.next().unwrap());
    }

    /// The manifest lists what the rules keep, each is whole and is what was pushed, and what none of them needs goes in time.
    fn check(&mut self) {
        let Some(read) = committed(&self.objects).unwrap() else { return };
        let now = reading(&read.document);
        let listed: Vec<&str> = read.document.retained.iter().map(|kept| kept.revision.as_str()).collect();
        let expected: Vec<&str> = self.known.iter().skip(1).map(|known| known.revision.as_str()).collect();
        assert_eq!(listed, expected);
        let get = |name: &str| self.objects.lock().unwrap().all.get(name).cloned();
        let mut needs = BTreeSet::new();
        for known in &self.known {
            let of = revision_at(&remote(&self.objects), (&known.revision, &known.manifest), &get).unwrap();
            assert_eq!(of.tree, self.trees[&known.revision], "{}", known.revision);
            needs.extend(of.needs);
        }
        for gone in self.needed.difference(&needs) {
            self.unneeded.entry(gone.clone()).or_insert(now);
        }
        let objects = &self.objects.lock().unwrap().all;
        self.unneeded.retain(|name, since| {
            assert!(!needs.contains(name), "{name} is needed again");
            let is_there = objects.contains_key(name);
            let (full, brief) = (now.full - since.full, now.brief - since.brief);
            assert!(is_there || full >= FULL || brief >= BRIEF && name.contains("/packs/"), "{name} has gone after {full} and {brief} ms");
            assert!(!is_there || self.killed || full < FULL, "{name} is still there after {full} ms");
            is_there
        });
        self.needed = needs;
    }

    /// Pulls any of them, into a volume that holds any other one.
    fn pull(&mut self) {
        if self.known.is_empty() {
            return;
        }
        let at = self.rng.usize(..self.known.len());
        let Known { revision, data_time, .. } = self.known[at].clone();
        let time = data_time + SignedDuration::from_millis(self.rng.i64(-1..2));
        let as_of = self.known.iter().find(|known| known.data_time <= time).map(|known| known.revision.clone());
        let (wanted, expected) = match self.rng.u8(..3) {
            0 => (Wanted::Newest, Some(self.known[0].revision.clone())),
            1 => (Wanted::AsOf(time), as_of),
            _ => (Wanted::Revision(Revision::parse(&revision).unwrap()), Some(revision)),
        };
        let options = PullOptions {
            volume: self.dest.path().into(),
            applied: self.applied.clone(),
            private: true,
            guard: Guard { percent: 100, floor: 1_000_000, allowed: None },
        };
        match (pull_wanted(&remote(&self.objects), &options, None, &wanted), expected) {
            (Ok(PullOutcome::Done(pulled)), Some(expected)) => {
                assert_eq!(pulled.revision, expected);
                assert_eq!(volume(self.dest.path(), &Exclude::default()), self.trees[&expected]);
                self.applied = Some(expected);
            }
            (Err(failure), None) => assert_eq!(failure.reason, Reason::RevisionMissing, "{failure}"),
            (outcome, expected) => panic!("{wanted:?} {expected:?} {outcome:?}"),
        }
    }
}

/// One push of a series.
#[derive(Clone, Debug)]
struct Step {
    edits: Vec<Edit>,
    /// Seconds by the clock of the push since the one before.
    later: i64,
    /// After how many writes it is killed.
    left: Option<usize>,
}

fn step(kills: bool) -> impl Strategy<Value = Step> {
    let (hour, day) = (3_600_i64, 86_400_i64);
    let later = prop_oneof![6 => 60..hour, 6 => hour..day, 4 => day..10 * day, 2 => -2 * day..0, 1 => 300 * day..1_000 * day];
    let left = if kills { prop::option::of(0..14_usize).boxed() } else { Just(None).boxed() };
    (prop::collection::vec(edit(), 1..6), later, left).prop_map(|(edits, later, left)| Step { edits, later, left })
}

fn rules() -> impl Strategy<Value = Retention> {
    let zone = prop::sample::select(vec!["UTC", "Europe/Berlin", "America/Los_Angeles", "Asia/Kathmandu", "Pacific/Apia"]);
    let max_age = prop::option::of((1..600_i64).prop_map(SignedDuration::from_hours));
    (1..4_usize, 0..4_usize, 0..4_usize, 0..3_usize, 0..3_usize, max_age, zone).prop_map(
        |(last, hourly, daily, weekly, monthly, max_age, zone)| {
            let zone = TimeZone::get(zone).unwrap();
            Retention { last, hourly, daily, weekly, monthly, max_age, zone }
        },
    )
}

fn play(rules: &[Retention], steps: &[Step]) {
    let mut world = World::new(rules[0].clone());
    let mut now = 0;
    for (number, Step { edits, later, left }) in steps.iter().enumerate() {
        // The rules change, too.
        world.rules = rules[number * rules.len() / steps.len()].clone();
        for edit in edits {
            edit.apply(world.source.path());
        }
        now += later;
        world.push(now, *left);
        world.check();
        world.pull();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_the_rules_keep_can_be_pulled_and_all_else_goes(
        rules in prop::collection::vec(rules(), 1..3),
        steps in prop::collection::vec(step(false), 1..24),
    ) {
        play(&rules, &steps);
    }

    #[test]
    fn no_kill_of_a_push_loses_a_retained_revision(
        rules in prop::collection::vec(rules(), 1..3),
        steps in prop::collection::vec(step(true), 1..24),
    ) {
        play(&rules, &steps);
    }
}

/// Dead packs, and dead runs, that retained revisions need.
fn dead_and_needed(objects: &Arc<Mutex<Objects>>) -> (usize, usize) {
    let document = committed(objects).unwrap().unwrap().document;
    let count = |dead: &[DeadObject]| dead.iter().filter(|dead| dead.since.is_none()).count();
    (count(&document.dead_packs), count(&document.dead_runs))
}

/// A database that is pushed every quarter of an hour for a day: packs are rewritten and merged, and what was replaced is deleted, but for what
/// retained revisions need.
#[test]
fn retained_revisions_outlive_compaction() {
    const BLOCKS: usize = 12;
    const BLOCK: usize = 16384;
    let mut world = World::new(Retention { hourly: 5, daily: 2, ..Retention::last(2) });
    let mut rng = fastrand::Rng::with_seed(11);
    let path = world.source.path().join("database");
    let file = File::options().create(true).truncate(true).read(true).write(true).open(&path).unwrap();
    let mut write = |block: usize| {
        let noise: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(BLOCK).collect();
        file.write_all_at(&noise, (block * BLOCK) as u64).unwrap();
    };
    (0..BLOCKS).for_each(&mut write);
    let (mut needed, mut deleted) = (0, 0);
    for number in 0..100_usize {
        (0..2).for_each(|at| write((number * 7 + at * 5) % BLOCKS));
        world.push(900 * i64::try_from(number).unwrap(), None);
        let before = world.unneeded.len();
        world.check();
        deleted += before.saturating_sub(world.unneeded.len());
        needed = needed.max(dead_and_needed(&world.objects).0);
        if number % 5 == 0 {
            world.pull();
        }
    }
    assert!(needed > 5 && world.known.len() > 5, "{needed} {:?}", world.known);
    // What a daily revision needs goes with the next one, at an hour that depends on when the test runs; now all does.
    world.rules = Retention::last(1);
    for number in 1..4_usize {
        (0..2).for_each(|at| write((number + at * 5) % BLOCKS));
        world.push(900 * 100 + 90_000 * i64::try_from(number).unwrap(), None);
        let before = world.unneeded.len();
        world.check();
        deleted += before.saturating_sub(world.unneeded.len());
    }
    world.pull();
    assert!(deleted > 5, "{deleted} {:?}", world.known);
}

/// Names that do not fit into a manifest, all of whose entries change with each push: runs are objects, and eight become one.
#[test]
fn retained_revisions_outlive_merges_of_runs() {
    let mut world = World::new(Retention::last(12));
    let mut rng = fastrand::Rng::with_seed(3);
    let names: Vec<String> = (0..1_200).map(|_| std::iter::repeat_with(|| rng.alphanumeric()).take(240).collect()).collect();
    for name in &names {
        symlink("to", world.source.path().join(name)).unwrap();
    }
    let push = |world: &mut World, number: i64| {
        for name in &names {
            let path = world.source.path().join(name);
            std::fs::remove_file(&path).unwrap();
            symlink(format!("to-{number}"), path).unwrap();
        }
        world.push(number * 90_000, None);
    };
    for number in 0..11 {
        push(&mut world, number);
    }
    world.check();
    world.pull();
    assert!(dead_and_needed(&world.objects).1 > 4, "runs that became one");
    world.rules = Retention::last(2);
    for number in 11..17 {
        push(&mut world, number);
        world.check();
    }
    world.pull();
    assert_eq!(dead_and_needed(&world.objects).1, 0);
}
