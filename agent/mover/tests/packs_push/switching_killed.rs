//! A switch of layout that is killed anywhere, then a push of either layout that fails or is killed anywhere, then one that succeeds: whatever came
//! before, the committed revision is whole, and nothing of ours is left that no manifest names, but what pushes of layout Packs have sent that died.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use rstest::rstest;
use scribe_mover::error::{Failure, Result};
use scribe_mover::format::documents::Control;
use scribe_mover::guard::Guard;
use scribe_mover::packs::commit::Committing;
use scribe_mover::push::{PushOptions, Synced, push as push_files, push_packs};
use scribe_mover::remote::Remote;
use scribe_mover::remote::committed::{read_any_claim, read_any_commit};
use scribe_mover::report::Reason;

use crate::keeping::noise;
use crate::leftovers::{named, names};
use crate::memory::Objects;
use crate::read::Tree;
use crate::support::{fresh, options, remote};
use crate::switching::{Shared, assert_only_files, assert_only_packs, is_packs, revision, tree};

type Push = fn(&Remote, &PushOptions) -> Result<Synced>;

const LAYOUTS: [(&str, Push); 2] = [("files", push_files), ("packs", push_packs)];
/// Long enough for all that is dead to go.
const LATER: i64 = 25 * 3600;

/// What tells one state of the path from another one, names that are drawn aside.
type Shape = BTreeSet<String>;

fn shape(objects: &Shared, start: &Objects) -> Shape {
    let kind = |name: &String| {
        let age = if start.all.contains_key(name) { "old" } else { "new" };
        let folder = ["packs", "runs", "manifests", "staged", "objects"].into_iter().find(|of| name.starts_with(&format!(".scribe/{of}/")));
        folder.map_or_else(|| format!("{age} {name}"), |folder| format!("{age} {folder}"))
    };
    let mut shape: Shape = names(objects).iter().map(kind).collect();
    let remote = remote(objects);
    if let Control::Present(claim) = read_any_claim(&remote).unwrap() {
        shape.insert(format!("claim {} {}", claim.format, claim.files_left));
    }
    let commit = serde_json::to_value(read_any_commit(&remote).unwrap().present().unwrap()).unwrap();
    let commit = ["format", "staged"].map(|of| commit[of].to_string());
    shape.insert(format!("commit {commit:?}, former: {}", is_packs(objects) && has_former(objects)));
    shape
}

fn has_former(objects: &Shared) -> bool {
    serde_json::to_value(read_any_commit(&remote(objects)).unwrap().present().unwrap()).unwrap().get("former").is_some()
}

/// How a push ends before its time.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Killed after so many writes.
    Killed(usize),
    /// So many writes come through, and then one fails.
    Fails(usize),
    /// The volume changes whenever it is read.
    Changing,
    /// More is gone than may be.
    Guarded,
}

struct Play {
    dir: assert_fs::TempDir,
    start: Objects,
    /// Since the first push.
    seconds: i64,
    /// What the agent has a report of.
    reported: Option<String>,
}

impl Play {
    /// Pushes in one layout; then the volume changes.
    fn begin(push: Push) -> Self {
        let (objects, dir) = fresh();
        let path = dir.path();
        fs::create_dir(path.join("folder")).unwrap();
        let write = |name: &str, seed, length| fs::write(path.join(name), noise(seed, length)).unwrap();
        for name in ["large", "folder/goes", "folder/b\\c"] {
            write(name, 1, 40_000);
        }
        let (mut seconds, mut reported) = (0, None);
        for number in 0..3 {
            write("large", 2 + number, 40_000);
            reported = Some(push(&remote(&objects), &options(path, seconds)).unwrap().revision);
            seconds += LATER;
        }
        write("large", 9, 50_000);
        write("new", 10, 20_000);
        fs::remove_file(path.join("folder/goes")).unwrap();
        let start = objects.lock().unwrap().clone();
        Self { dir, start, seconds, reported }
    }

    fn options(&mut self) -> PushOptions {
        self.seconds += 1;
        let mut options = PushOptions { heartbeat_interval: SignedDuration::ZERO, ..options(self.dir.path(), self.seconds) };
        options.pusher.pushed.clone_from(&self.reported);
        options
    }

    /// A push that ends so; its failure, if it came to that.
    fn ended(&mut self, objects: &Shared, push: Push, end: End) -> Option<Failure> {
        let (mut options, path) = (self.options(), self.dir.path().to_owned());
        let away = assert_fs::TempDir::new_in("/dev/shm").unwrap();
        let moved = |from: &Path, to: &Path| fs::rename(from.join("large"), to.join("large")).unwrap();
        {
            let mut objects = objects.lock().unwrap();
            match end {
                End::Killed(left) => objects.left = Some(left),
                End::Fails(left) => objects.fails = Some(left),
                End::Changing => {
                    let (path, count) = (path.clone(), Mutex::new(0));
                    objects.before = Some(Arc::new(move |name, _| {
                        if !name.ends_with("claim.json") {
                            let mut count = count.lock().unwrap();
                            *count += 100;
                            fs::write(path.join("moving"), vec![1; *count]).unwrap();
                        }
                    }));
                }
                End::Guarded => {
                    options.guard = Guard { percent: 0, floor: 0, allowed: None };
                    moved(&path, away.path());
                }
            }
        }
        if matches!(end, End::Changing) {
            fs::write(path.join("moving"), "").unwrap();
        }
        let failure = push(&remote(objects), &options).err();
        let mut objects = objects.lock().unwrap();
        (objects.left, objects.fails, objects.failed, objects.before) = (None, None, None, None);
        match end {
            End::Changing => fs::remove_file(path.join("moving")).unwrap(),
            End::Guarded => moved(away.path(), &path),
            End::Killed(_) | End::Fails(_) => {}
        }
        failure
    }

    /// The states that a push of this layout leaves behind, wherever it ends.
    fn states(&mut self, from: &Objects, push: Push, ends: &[fn(usize) -> End]) -> Vec<(String, Objects)> {
        let mut states = BTreeMap::new();
        for end in ends {
            for at in 0.. {
                let objects = Arc::new(Mutex::new(from.clone()));
                let end = end(at);
                let Some(failure) = self.ended(&objects, push, end) else { break };
                match end {
                    End::Changing => assert_eq!(failure.reason, Reason::SourceChanging, "{failure}"),
                    End::Guarded => assert_eq!(failure.reason, Reason::DeletionGuard, "{failure}"),
                    End::Killed(_) | End::Fails(_) => {}
                }
                let shape = shape(&objects, &self.start);
                let state = objects.lock().unwrap().clone();
                states.entry(shape).or_insert_with(|| (format!("{end:?}"), state));
                if matches!(end, End::Changing | End::Guarded) {
                    break;
                }
            }
        }
        states.into_values().collect()
    }

    /// A push that succeeds: nothing is left.
    fn finished(&mut self, state: &Objects, (name, push): (&str, Push), what: &str) {
        let objects = Arc::new(Mutex::new(state.clone()));
        let pushed = |options: PushOptions| push(&remote(&objects), &options).unwrap_or_else(|failure| panic!("{what}: {failure}"));
        let first = pushed(self.options());
        let now: Tree = tree(self.dir.path());
        assert!(revision(&objects) == now, "{what}: the revision is another one than the volume");
        if name == "files" {
            assert_only_files(&objects, self.dir.path(), what);
            return;
        }
        let left = &names(&objects) - &named(&objects);
        let dead: BTreeSet<&String> = state.all.keys().filter(|name| !self.start.all.contains_key(*name)).collect();
        let of_packs = |name: &&String| ["packs", "runs", "manifests"].iter().any(|of| name.starts_with(&format!(".scribe/{of}/")));
        let stays: Vec<&String> = left.iter().filter(|name| !dead.contains(name) || !of_packs(name)).collect();
        assert_eq!(stays, Vec::<&String>::new(), "{what}");
        // And what pushes have sent that died goes when it is old.
        for day in [0, 8, 16] {
            let day = Timestamp::from_second(1_700_000_000 + day * 86_400).unwrap();
            {
                let mut objects = objects.lock().unwrap();
                objects.now = Some(day);
                let undated: Vec<String> = objects.all.keys().filter(|name| !objects.times.contains_key(*name)).cloned().collect();
                objects.times.extend(undated.into_iter().map(|name| (name, day)));
            }
            let mut options = PushOptions { verify_now: true, ..self.options() };
            options.pusher.pushed = Some(first.revision.clone());
            pushed(options);
        }
        assert_only_packs(&objects, what);
    }
}

fn play((first, push): (&str, Push), (then, switch): (&str, Push), is_reported: bool) {
    let mut play = Play::begin(push);
    play.reported = play.reported.filter(|_| is_reported);
    let start = play.start.clone();
    let switched = play.states(&start, switch, &[End::Killed]);
    assert!(switched.len() > 6, "{} states", switched.len());
    let mut seen = BTreeSet::new();
    for (how, state) in switched {
        let held = revision(&Arc::new(Mutex::new(state.clone())));
        let what = format!("{first} to {then}, {how}");
        for last in LAYOUTS {
            play.finished(&state, last, &format!("{what}; then {}", last.0));
        }
        // What an agent knows changes nothing of what a push leaves that ends.
        for (name, second) in LAYOUTS.into_iter().filter(|_| is_reported) {
            let ends: [fn(usize) -> End; 4] = [End::Killed, End::Fails, |_| End::Changing, |_| End::Guarded];
            for (end, state) in play.states(&state, second, &ends) {
                let objects = Arc::new(Mutex::new(state.clone()));
                let what = format!("{what}; then {name}, {end}");
                let holds = revision(&objects);
                assert!(holds == held || holds.keys().eq(tree(play.dir.path()).keys()), "{what}: the revision is neither");
                if !seen.insert(shape(&objects, &start)) {
                    continue;
                }
                for last in LAYOUTS {
                    play.finished(&state, last, &format!("{what}; then {}", last.0));
                }
            }
        }
    }
}

#[rstest]
fn nothing_is_left_of_a_switch_to_packs_whatever_follows(#[values(false, true)] is_reported: bool) {
    play(LAYOUTS[0], LAYOUTS[1], is_reported);
}

#[rstest]
fn nothing_is_left_of_a_switch_to_files_whatever_follows(#[values(false, true)] is_reported: bool) {
    play(LAYOUTS[1], LAYOUTS[0], is_reported);
}

/// A path of layout Packs, with a file that a push of layout Files has sent to it before it was killed.
fn with_files_left() -> (Shared, assert_fs::TempDir) {
    let (objects, dir) = fresh();
    push_packs(&remote(&objects), &options(dir.path(), 0)).unwrap();
    objects.lock().unwrap().left = Some(3);
    push_files(&remote(&objects), &options(dir.path(), 10)).unwrap_err();
    objects.lock().unwrap().left = None;
    assert!(names(&objects).contains("stays"), "{:?}", names(&objects));
    (objects, dir)
}

/// The volume has not changed since, and the agent has a report of what is committed.
#[test]
fn a_heartbeat_deletes_what_a_killed_push_of_files_has_left() {
    let (objects, dir) = with_files_left();
    let Control::Present(committed) = read_any_commit(&remote(&objects)).unwrap() else { panic!() };
    let mut options = PushOptions { heartbeat_interval: SignedDuration::ZERO, ..options(dir.path(), 20) };
    options.pusher.pushed = Some(committed.revision().to_owned());
    let pushed = push_packs(&remote(&objects), &options).unwrap();
    assert_eq!((pushed.changed, pushed.checked_time), (false, Some(options.started)));
    assert_only_packs(&objects, "after a heartbeat");
}

/// The claim alone tells of files that are listed after they were deleted: it stays until they are not, and holds up nothing.
#[test]
fn the_claim_stays_as_long_as_files_are_left_that_it_tells_of() {
    for changes in [true, false] {
        let (objects, dir) = with_files_left();
        let file = objects.lock().unwrap().all["stays"].clone();
        let pushed = |seconds, whole: bool| {
            if changes {
                fs::write(dir.path().join("more"), format!("{seconds}")).unwrap();
            }
            objects.lock().unwrap().before_list = (!whole).then(|| comes_back(Arc::clone(&file)));
            let options = PushOptions { heartbeat_interval: SignedDuration::ZERO, ..options(dir.path(), seconds) };
            let pushed = push_packs(&remote(&objects), &options).unwrap();
            objects.lock().unwrap().before_list = None;
            assert_eq!(pushed.checked_time, Some(options.started), "its heartbeat is not held up");
        };
        pushed(20, false);
        let Control::Present(claim) = read_any_claim(&remote(&objects)).unwrap() else { panic!("nothing tells of the file") };
        assert!(claim.files_left);
        pushed(30, true);
        assert_only_packs(&objects, "once no listing shows it");
    }
}

/// A file that is there again whenever the path is listed.
fn comes_back(file: Arc<[u8]>) -> crate::memory::Before {
    Arc::new(move |_: &str, objects: &mut Objects| {
        objects.all.insert("stays".into(), Arc::clone(&file));
        objects.before_list = Some(comes_back(Arc::clone(&file)));
    })
}

/// Which files there are of layout Files is not known once its manifest is lost: nothing else waits for that, and the user can end it.
#[test]
fn a_manifest_of_layout_files_that_is_damaged_holds_up_nothing() {
    let (objects, dir) = fresh();
    push_files(&remote(&objects), &options(dir.path(), 0)).unwrap();
    let manifest = names(&objects).into_iter().find(|name| name.contains("/manifests/")).unwrap();
    let start = objects.lock().unwrap().clone();
    for left in 0.. {
        *objects.lock().unwrap() = Objects { left: Some(left), ..start.clone() };
        push_packs(&remote(&objects), &options(dir.path(), 10)).unwrap_err();
        objects.lock().unwrap().left = None;
        if is_packs(&objects) {
            break;
        }
    }
    objects.lock().unwrap().all.insert(manifest.clone(), Arc::from(&b"cut"[..]));
    for (seconds, verify_now) in [(20, false), (30, true)] {
        let options = options(dir.path(), seconds);
        let options = PushOptions { heartbeat_interval: SignedDuration::ZERO, verify_now, ..options };
        let pushed = push_packs(&remote(&objects), &options).unwrap();
        assert_eq!(pushed.checked_time, Some(options.started));
        assert!(has_former(&objects) && names(&objects).contains("stays"));
        let commit = serde_json::to_value(read_any_commit(&remote(&objects)).unwrap().present().unwrap()).unwrap();
        let verified: Timestamp = commit["verifiedTime"].as_str().unwrap().parse().unwrap();
        assert_eq!(verified == options.started, verify_now);
    }
    // As the warning says.
    objects.lock().unwrap().all.retain(|name, _| name != "stays" && *name != manifest);
    push_packs(&remote(&objects), &options(dir.path(), 40)).unwrap();
    assert_only_packs(&objects, "deleted by hand");
}
