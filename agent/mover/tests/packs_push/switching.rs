//! A path that changes its layout: with one push, whole at every moment, for destinations that are up to date, behind, or new.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use assert_fs::TempDir;
use proptest::prelude::*;
use scribe_mover::error::Result;
use scribe_mover::format::documents::Control;
use scribe_mover::guard::Guard;
use scribe_mover::packs::commit::AnyCommit;
use scribe_mover::pull::{PullOptions, PullOutcome, pull};
use scribe_mover::push::{PushOptions, Synced, push as push_files, push_packs};
use scribe_mover::remote::committed::read_any_commit;
use scribe_mover::report::Reason;
use scribe_mover::volume::exclude::Exclude;

use crate::edits::{Edit, edit};
use crate::leftovers::{named, names};
use crate::memory::Objects;
use crate::read::{Tree, volume};
use crate::support::{committed, fresh, options, push, remote};

const CLAIM: &str = ".scribe/claim.json";
const COMMIT: &str = ".scribe/commit.json";

pub type Shared = Arc<Mutex<Objects>>;

pub fn files(objects: &Shared, volume: &Path, seconds: i64) -> Result<Synced> {
    push_files(&remote(objects), &options(volume, seconds))
}

/// A volume that is pulled into, and what it holds.
struct Destination {
    dir: TempDir,
    private: bool,
    applied: Option<String>,
}

impl Destination {
    fn new(private: bool) -> Self {
        Self { dir: TempDir::new_in("/dev/shm").unwrap(), private, applied: None }
    }

    fn pull(&mut self, objects: &Shared) -> Tree {
        let guard = Guard { percent: 100, floor: 1_000_000, allowed: None };
        let options = PullOptions { volume: self.dir.path().into(), applied: self.applied.clone(), private: self.private, guard };
        let PullOutcome::Done(pulled) = pull(&remote(objects), &options).unwrap() else { panic!("nothing to pull") };
        self.applied = Some(pulled.revision);
        tree(self.dir.path())
    }
}

pub fn tree(path: &Path) -> Tree {
    volume(path, &Exclude::default())
}

/// What anybody gets who begins now.
pub fn revision(objects: &Shared) -> Tree {
    Destination::new(true).pull(objects)
}

/// The commit is of layout Packs.
pub fn is_packs(objects: &Shared) -> bool {
    matches!(read_any_commit(&remote(objects)).unwrap(), Control::Present(AnyCommit::Packs(_)))
}

/// Nothing but what the commit of layout Packs needs is there.
pub fn assert_only_packs(objects: &Shared, what: &str) {
    assert_eq!(names(objects), named(objects), "{what}");
    assert_eq!(committed(objects).unwrap().unwrap().commit.statement.former, None, "{what}");
}

fn apply(edits: &[Edit], volume: &Path) {
    for edit in edits {
        edit.apply(volume);
    }
}

type Push = fn(&Shared, &Path, i64) -> Result<Synced>;

/// A path that was pushed to in one layout, and a volume that has changed since.
struct Played {
    objects: Shared,
    dir: TempDir,
    /// Some pull each revision, and some only the first.
    destinations: Vec<Destination>,
    /// What was pushed last.
    before: Tree,
    /// What the volume has by now.
    after: Tree,
    start: Objects,
}

impl Played {
    fn by(push: Push, parts: &[Vec<Edit>]) -> Self {
        let (objects, dir) = fresh();
        let mut destinations: Vec<Destination> = [true, false, true, false].map(Destination::new).into();
        let (switch, earlier) = parts.split_last().unwrap();
        for (number, edits) in earlier.iter().enumerate() {
            apply(edits, dir.path());
            push(&objects, dir.path(), 1000 * i64::try_from(number).unwrap()).unwrap();
            let all = destinations.iter_mut().take(if number == 0 { 4 } else { 2 });
            all.for_each(|destination| assert_eq!(destination.pull(&objects), tree(dir.path())));
        }
        let before = tree(dir.path());
        apply(switch, dir.path());
        let (after, start) = (tree(dir.path()), objects.lock().unwrap().clone());
        Self { objects, dir, destinations, before, after, start }
    }

    /// Whether this push of the other layout is killed after so many writes.
    fn is_killed(&self, left: usize, push: Push) -> bool {
        *self.objects.lock().unwrap() = Objects { left: Some(left), ..self.start.clone() };
        let killed = push(&self.objects, self.dir.path(), 10_000).is_err();
        self.objects.lock().unwrap().left = None;
        killed
    }

    /// After the switch, and one push more.
    fn all_follow(&mut self, push: Push) {
        let Self { objects, dir, destinations, after, .. } = self;
        for destination in destinations.iter_mut() {
            assert_eq!(destination.pull(objects), *after);
        }
        fs::write(dir.path().join("later"), "later").unwrap();
        push(objects, dir.path(), 20_000).unwrap();
        for destination in destinations {
            assert_eq!(destination.pull(objects), tree(dir.path()));
        }
    }
}

/// Pushes of layout Files, and then one of layout Packs, which is killed after any number of writes.
fn play(parts: &[Vec<Edit>]) {
    let mut played = Played::by(files, parts);
    let Played { objects, dir, before, after, start, .. } = &played;
    for left in 0.. {
        if !played.is_killed(left, push) {
            break;
        }
        let switched = is_packs(objects);
        assert_eq!(revision(objects), *if switched { after } else { before }, "after {left} writes");
        let dead = objects.lock().unwrap().clone();
        let strangers: BTreeSet<String> = if switched { BTreeSet::new() } else { &names(objects) - &start.all.keys().cloned().collect() };
        // The next push goes on.
        push(objects, dir.path(), 10_001).unwrap();
        let now = names(objects);
        // What is named may have been sent by the dead push.
        assert_eq!(&now - &(&strangers - &named(objects)), named(objects), "after {left} writes");
        assert_eq!(revision(objects), *after);
        if !switched {
            // Or the user takes it back.
            *objects.lock().unwrap() = dead;
            files(objects, dir.path(), 10_001).unwrap();
            assert_eq!(revision(objects), *after);
            let packs = [".scribe/packs/", ".scribe/runs/", CLAIM];
            assert!(names(objects).iter().all(|name| packs.iter().all(|of| !name.starts_with(of))), "after {left} writes");
            assert_eq!(names(objects).iter().filter(|name| name.contains("/manifests/")).count(), 1, "after {left} writes");
        }
    }
    assert_only_packs(objects, "after the switch");
    played.all_follow(push);
}

/// The names of a path that layout Files alone has pushed this volume to, but for the manifest's own.
fn names_of_files(dir: &Path) -> BTreeSet<String> {
    let objects = Shared::default();
    files(&objects, dir, 0).unwrap();
    names(&objects).into_iter().filter(|name| !name.contains("/manifests/")).collect()
}

/// Nothing but what the commit of layout Files needs is there.
pub fn assert_only_files(objects: &Shared, dir: &Path, what: &str) {
    let (manifests, rest): (Vec<String>, Vec<String>) = names(objects).into_iter().partition(|name| name.contains("/manifests/"));
    assert_eq!(manifests.len(), 1, "{what}: {manifests:?}");
    assert_eq!(rest.into_iter().collect::<BTreeSet<_>>(), names_of_files(dir), "{what}");
}

/// The other way round.
fn play_back(parts: &[Vec<Edit>]) {
    let mut played = Played::by(push, parts);
    let Played { objects, dir, before, after, start, .. } = &played;
    for left in 0.. {
        if !played.is_killed(left, files) {
            break;
        }
        let switched = !is_packs(objects);
        assert_eq!(revision(objects), *if switched { after } else { before }, "after {left} writes");
        let dead = objects.lock().unwrap().clone();
        files(objects, dir.path(), 10_001).unwrap();
        assert_only_files(objects, dir.path(), &format!("after {left} writes"));
        assert_eq!(revision(objects), *after);
        // Or the user takes it back, before or after the commit.
        *objects.lock().unwrap() = dead;
        push(objects, dir.path(), 10_001).unwrap();
        let mut now = names(objects);
        if switched {
            // What was of layout Packs before is strange to the new lineage, and goes as such.
            now.retain(|name| !start.all.contains_key(name) || name == COMMIT);
        }
        assert_eq!(now, named(objects), "after {left} writes, and back");
        assert_eq!(revision(objects), *after);
    }
    assert_only_files(objects, dir.path(), "after the switch");
    played.all_follow(files);
}

/// A pull of either layout is under way as the other one takes its place.
#[test]
fn a_pull_that_is_overtaken_by_a_switch_goes_on_with_the_new_layout() {
    type Push = fn(&Shared, &Path, i64) -> Result<Synced>;
    for (first, then) in [(files as Push, push as Push), (push, files)] {
        for private in [true, false] {
            let (objects, dir) = fresh();
            fs::write(dir.path().join("file"), "content").unwrap();
            first(&objects, dir.path(), 0).unwrap();
            fs::write(dir.path().join("file"), "of the other layout").unwrap();
            arm(&objects, dir.path().to_owned(), then);
            assert_eq!(Destination::new(private).pull(&objects), tree(dir.path()));
            assert!(objects.lock().unwrap().before_get.is_none(), "it was overtaken");
        }
    }
}

/// The other layout is pushed right before the first content is read.
fn arm(objects: &Shared, volume: std::path::PathBuf, then: fn(&Shared, &Path, i64) -> Result<Synced>) {
    objects.lock().unwrap().before_get = Some(Arc::new(move |name: &str, objects: &mut Objects| {
        let apart = Arc::new(Mutex::new(objects.clone()));
        if name.starts_with(".scribe/packs/") || !name.starts_with(".scribe/") {
            then(&apart, &volume, 10).unwrap();
            *objects = apart.lock().unwrap().clone();
        } else {
            arm(&apart, volume.clone(), then);
            objects.before_get = apart.lock().unwrap().before_get.take();
        }
    }));
}

/// The packs that a push of layout Files finds beside files of others.
#[test]
fn files_of_others_beside_packs_are_refused_or_adopted() {
    let (objects, dir) = fresh();
    push(&objects, dir.path(), 0).unwrap();
    objects.lock().unwrap().all.insert("another's".into(), Arc::from(&b"x"[..]));
    let before = objects.lock().unwrap().all.clone();
    let refused = files(&objects, dir.path(), 10).unwrap_err();
    assert!(refused.reason == Reason::PathNotOurs && refused.message.contains("another's"), "{refused}");
    assert_eq!(objects.lock().unwrap().all, before);
    let mut adopting = options(dir.path(), 10);
    adopting.pusher.adopt = true;
    push_files(&remote(&objects), &adopting).unwrap();
    assert_only_files(&objects, dir.path(), "adopted");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn packs_take_the_place_of_files_wherever_the_push_is_killed(
        parts in prop::collection::vec(prop::collection::vec(edit(), 1..8), 2..4),
    ) {
        play(&parts);
    }

    #[test]
    fn files_take_the_place_of_packs_wherever_the_push_is_killed(
        parts in prop::collection::vec(prop::collection::vec(edit(), 1..8), 2..4),
    ) {
        play_back(&parts);
    }
}

/// Objects of others, and what a dead push of layout Files has sent.
#[test]
fn what_layout_files_has_left_goes_and_nothing_else() {
    let (objects, dir) = fresh();
    files(&objects, dir.path(), 0).unwrap();
    for number in 0..5 {
        fs::write(dir.path().join(format!("dead{number}")), "sent by a push that died").unwrap();
    }
    fs::write(dir.path().join("stays"), "staged").unwrap();
    objects.lock().unwrap().left = Some(5);
    files(&objects, dir.path(), 10).unwrap_err();
    objects.lock().unwrap().left = None;
    (0..5).for_each(|number| fs::remove_file(dir.path().join(format!("dead{number}"))).unwrap());
    assert!(names(&objects).iter().any(|name| name.starts_with("dead")), "{:?}", names(&objects));
    let foreign = ["another's file", "folder/file", ".scribe/notes"];
    for name in foreign {
        objects.lock().unwrap().all.insert(name.into(), Arc::from(&b"x"[..]));
    }
    push(&objects, dir.path(), 20).unwrap();
    assert_eq!(revision(&objects), tree(dir.path()));
    let left = &names(&objects) - &named(&objects);
    assert_eq!(left, foreign.map(str::to_owned).into());
}

/// What a listing leaves out stays named by the commit until it has gone.
#[test]
fn what_one_listing_does_not_show_goes_all_the_same() {
    let (objects, dir) = fresh();
    fs::write(dir.path().join("file"), "content").unwrap();
    files(&objects, dir.path(), 0).unwrap();
    let hide = Arc::new(|name: &str, objects: &mut Objects| {
        if name == COMMIT {
            objects.before = None;
            objects.before_list = Some(Arc::new(|_: &str, objects: &mut Objects| {
                objects.before_list = Some(Arc::new(|below: &str, objects: &mut Objects| {
                    assert_eq!(below, "");
                    objects.unlisted = Some(("file".into(), 1));
                }));
            }));
        }
    });
    objects.lock().unwrap().before = Some(hide);
    push(&objects, dir.path(), 10).unwrap();
    assert_only_packs(&objects, "one listing did not show a file");
}

#[test]
fn the_deletion_guard_and_the_owner_hold_in_a_switch() {
    for to_packs in [true, false] {
        let (objects, dir) = fresh();
        for number in 0..20 {
            fs::write(dir.path().join(format!("z{number}")), format!("{number}")).unwrap();
        }
        if to_packs {
            files(&objects, dir.path(), 0).unwrap()
        } else {
            push(&objects, dir.path(), 0).unwrap()
        };
        (0..19).for_each(|number| fs::remove_file(dir.path().join(format!("z{number}"))).unwrap());
        objects.lock().unwrap().writes = 0;
        let switch = if to_packs { push_packs } else { push_files };
        let options = |allowed| PushOptions { guard: Guard { percent: 50, floor: 10, allowed }, ..options(dir.path(), 10) };
        let failure = switch(&remote(&objects), &options(None)).unwrap_err();
        assert_eq!((failure.reason, objects.lock().unwrap().writes), (Reason::DeletionGuard, 0), "{failure}");
        let mut other = options(None);
        other.pusher.owner.name = "other".into();
        let refused = switch(&remote(&objects), &other).unwrap_err();
        assert_eq!((refused.reason, objects.lock().unwrap().writes), (Reason::PathNotOurs, 0), "{refused}");
        let token = failure.message.rsplit(' ').next().unwrap().to_owned();
        switch(&remote(&objects), &options(Some(token))).unwrap();
        if to_packs { assert_only_packs(&objects, "allowed") } else { assert_only_files(&objects, dir.path(), "allowed") }
    }
}

#[test]
fn a_switch_that_fails_takes_back_what_it_has_sent() {
    let (objects, dir) = fresh();
    fs::write(dir.path().join("file"), "content").unwrap();
    files(&objects, dir.path(), 0).unwrap();
    let (before, start) = (names(&objects), objects.lock().unwrap().clone());
    for fails in 0.. {
        *objects.lock().unwrap() = Objects { fails: Some(fails), ..start.clone() };
        let failed = push(&objects, dir.path(), 10).is_err();
        let Some(which) = objects.lock().unwrap().failed.take() else { break };
        assert!(failed, "{which}");
        if !is_packs(&objects) && which != COMMIT {
            assert_eq!(&names(&objects) - &[CLAIM.to_owned()].into(), before, "after {which} failed");
        }
        push(&objects, dir.path(), 11).unwrap();
        assert_eq!(revision(&objects), tree(dir.path()));
    }
}
