//! Plays a history: the real pushes and pulls, on real folders, over the objects in memory.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use assert_fs::TempDir;
use jiff::{SignedDuration, Timestamp};
use scribe_mover::format::documents::Owner;
use scribe_mover::format::names::{Folder, is_content};
use scribe_mover::guard::Guard;
use scribe_mover::pull::{PullOptions, PullOutcome, pull};
use scribe_mover::push::{PushOptions, Pusher, push, push_packs};
use scribe_mover::remote::Remote;
use scribe_mover::report::{Reason, Synced};
use scribe_mover::scratch::Scratch;
use scribe_mover::stop::Stop;
use scribe_mover::store::Context;
use scribe_mover::store::progress::Progress;
use scribe_mover::volume::exclude::Exclude;

use crate::baton::{Baton, batons};
use crate::fate::Fate;
use crate::history::{DESTINATIONS, Epoch, Hands, History, Layout, SOURCES, Sync, Who};
use crate::memory::Memory;
use crate::objects::{Name, Object, Objects};
use crate::rules::Writer;
use crate::volume::{Tree, tree};
use crate::world::World;

/// How often a quiet world may be synced before it has to have come to rest.
const PATIENCE: usize = 6;

/// What an agent knows of an object.
struct Source {
    volume: PathBuf,
    owner: Owner,
    pushed: Option<String>,
    /// The user lets it take the path over.
    adopts: bool,
}

struct Destination {
    volume: PathBuf,
    private: bool,
    applied: Option<String>,
}

struct Play<'a> {
    history: &'a History,
    dir: TempDir,
    world: Arc<Mutex<World>>,
    time: Timestamp,
    sources: Vec<Source>,
    destinations: Vec<Destination>,
    /// As each epoch began.
    past: Vec<Objects>,
    scratches: u64,
}

/// What a sync has done; nothing, if there is nothing yet that could be pulled.
type Outcome = Result<Option<Synced>, (Reason, String)>;

/// How a sync ended.
struct Ended {
    who: Who,
    result: Outcome,
    steps: u32,
    writes: u32,
    /// Something was committed as it began.
    committed: bool,
    /// Of a pull: what the volume held before.
    before: Tree,
}

/// What is wrong, if anything is, with what happened, if that is to be shown. Also how many syncs there were.
pub fn play(history: &History, shown: bool) -> (Option<String>, Vec<String>, u64) {
    let dir = TempDir::new_in("/dev/shm").unwrap();
    let time = Timestamp::now() + SignedDuration::from_hours(2);
    let volume = |name: String| {
        let path = dir.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    };
    let sources = (0..SOURCES).map(|at| Source {
        volume: volume(format!("source-{at}")),
        owner: Owner { namespace: "ns".into(), name: format!("s{at}"), uid: format!("uid-{at}") },
        pushed: None,
        adopts: false,
    });
    let sources = sources.collect();
    let destinations =
        (0..DESTINATIONS).map(|at| Destination { volume: volume(format!("destination-{at}")), private: at == 0, applied: None });
    let destinations = destinations.collect();
    let world = Arc::new(Mutex::new(World::new(history, time, shown)));
    let mut play = Play { history, dir, world, time, sources, destinations, past: Vec::new(), scratches: 0 };
    for source in &play.sources {
        // Something to push, always.
        fs::write(source.volume.join("kept"), "kept").unwrap();
    }
    let mut syncs = 0;
    for epoch in &history.epochs {
        syncs += epoch.syncs.len() as u64;
        play.epoch(epoch);
        if play.is_wrong() {
            break;
        }
    }
    if !play.is_wrong() {
        play.comes_to_rest();
    }
    let mut world = play.world.lock().unwrap();
    (world.wrong.take(), world.log.take().unwrap_or_default(), syncs)
}

impl Play<'_> {
    fn is_wrong(&self) -> bool {
        self.world.lock().unwrap().wrong.is_some()
    }

    fn fail(&self, what: String) {
        self.world.lock().unwrap().fail(what);
    }

    fn epoch(&mut self, epoch: &Epoch) {
        self.time += SignedDuration::from_secs(epoch.passes);
        for (source, edit) in &epoch.edits {
            edit.apply(&self.sources[*source].volume);
        }
        {
            let mut world = self.world.lock().unwrap();
            world.time = self.time;
            world.note(|| format!("--- {} seconds later, {:?}, {:?}", epoch.passes, epoch.edits, epoch.hands));
            self.past.push(world.now.clone());
            world.remember();
            world.settle();
        }
        if let Some(hands) = epoch.hands {
            self.meddle(hands);
        }
        // No write can be made conditional on what was read before it: one of two pushes at the same time is refused sooner or later, and
        // may have damaged what the other committed.
        if epoch.syncs.iter().filter(|sync| matches!(sync.who, Who::Push(_))).count() > 1 {
            let mut world = self.world.lock().unwrap();
            (world.meddled, world.lax) = (true, true);
        }
        for ended in self.sync(&epoch.syncs, epoch.order) {
            self.note(ended);
        }
    }

    fn meddle(&mut self, hands: Hands) {
        let mut world = self.world.lock().unwrap();
        let is_theirs = |name: &Name| world.foreign.iter().any(|(theirs, _)| theirs == name);
        let packs = Folder::Packs.below();
        let is_content = |name: &[u8]| match self.history.layout {
            Layout::Files => is_content(name),
            Layout::Packs => name.starts_with(packs.as_bytes()),
        };
        let contents: Vec<Name> = world.now.all.keys().filter(|name| is_content(name) && !is_theirs(name)).cloned().collect();
        let pick = |at: u8| contents.get(usize::from(at) % contents.len().max(1)).cloned();
        match hands {
            Hands::Rollback(ago) => {
                if let Some(old) = self.past.len().checked_sub(ago + 1).and_then(|at| self.past.get(at)) {
                    world.now = old.clone();
                    world.committed = world.commit().is_some();
                    let World { foreign, now, .. } = &mut *world;
                    foreign.retain(|(name, _)| now.get(name).is_some());
                }
            }
            Hands::Delete(at) => {
                if let Some(name) = pick(at) {
                    world.now.remove(&name);
                    world.meddled = true;
                }
            }
            Hands::Change(at) => {
                if let Some(name) = pick(at) {
                    let object = world.now.get(&name).unwrap();
                    let time = world.time;
                    let content: Vec<u8> = object.content.iter().map(|byte| byte ^ 1).collect();
                    world.now.all.insert(name, Object::new(&content, time));
                    world.meddled = true;
                }
            }
            Hands::Add(at) if world.committed => {
                let (name, object) = (format!("theirs/{at}").into_bytes(), Object::new(&[at], world.time));
                if world.now.get(&name).is_none() && world.now.put(self.history.kind, &name, object.clone()).is_ok() {
                    world.foreign.push((name, object));
                }
            }
            Hands::Add(_) => {}
            Hands::Recreate => {
                let source = &mut self.sources[0];
                source.owner.uid.push('+');
                source.pushed = None;
            }
        }
        world.settle();
    }

    /// Runs syncs at the same time.
    fn sync(&mut self, syncs: &[Sync], order: u64) -> Vec<Ended> {
        if let [sync] = syncs {
            let run = self.prepare(sync, None);
            return vec![run()];
        }
        let (leader, batons) = batons(syncs.len());
        let runs: Vec<_> = syncs.iter().zip(batons).map(|(sync, baton)| self.prepare(sync, Some(baton))).collect();
        std::thread::scope(|scope| {
            let threads: Vec<_> = runs.into_iter().map(|run| scope.spawn(run)).collect();
            leader.lead(order);
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    fn prepare(&mut self, sync: &Sync, baton: Option<Baton>) -> impl FnOnce() -> Ended + Send + use<> {
        self.scratches += 1;
        let scratch = Arc::new(Scratch::within(self.dir.path()).unwrap());
        let context = Context { stop: Stop::default(), scratch: Arc::clone(&scratch), progress: Progress::default() };
        let fate = Arc::new(Mutex::new(Fate::new(sync.faults.clone(), sync.seed)));
        let (who, started) = (sync.who, self.time + SignedDuration::from_secs(sync.skew));
        let (name, volume) = match who {
            Who::Push(at) => (format!("push {at}"), self.sources[at].volume.clone()),
            Who::Pull(at) => (format!("pull {at}"), self.destinations[at].volume.clone()),
        };
        let committed = self.world.lock().unwrap().commit().is_some();
        let before = tree(&volume);
        let held = Mutex::new(vec![Arc::new(before.clone())]);
        let (edits, pushed) = (Mutex::new(sync.edits.clone()), matches!(who, Who::Push(_)).then(|| volume.clone()));
        let (kind, layout, world) = (self.history.kind, self.history.layout, Arc::clone(&self.world));
        let writer = self.writer(who);
        let (stop, shared) = (context.stop.clone(), Arc::clone(&fate));
        let memory = Memory { name, kind, layout, world, scratch, baton, volume: pushed, edits, held, stop, writer, fate: shared };
        let remote = Remote::new(context, Box::new(memory), "s:bucket/path");
        let guard = Guard { percent: 100, floor: 1000, allowed: None };
        let run: Box<dyn FnOnce() -> Outcome + Send> = match who {
            Who::Push(at) => {
                let Source { owner, pushed, adopts, .. } = &self.sources[at];
                let (owner, pushed) = (owner.clone(), pushed.clone());
                let options = PushOptions {
                    volume,
                    exclude: Exclude::default(),
                    pusher: Pusher { owner, pushed, adopt: *adopts, adopt_state: None, adopted_state: OnceLock::new() },
                    data_time: started - SignedDuration::from_secs(i64::from(sync.edits.is_empty())),
                    started,
                    verify_interval: SignedDuration::from_hours(24),
                    verify_now: sync.verify,
                    rehash_interval: SignedDuration::from_hours(168),
                    heartbeat_interval: SignedDuration::from_hours(1),
                    guard,
                    retention: scribe_mover::retention::Retention::last(1),
                    // Many packs, and a checkpoint after each send of a first push.
                    sizes: scribe_mover::push::Sizes { pack: Some(64 << 10), checkpoint: 1, blocks: u64::MAX, windows: 1 << 18 },
                };
                let push = if layout == Layout::Files { push } else { push_packs };
                Box::new(move || push(&remote, &options).map(Some).map_err(|failure| (failure.reason, failure.message)))
            }
            Who::Pull(at) => {
                let Destination { private, applied, .. } = &self.destinations[at];
                let options = PullOptions { volume, applied: applied.clone(), private: *private, guard };
                Box::new(move || match pull(&remote, &options) {
                    Ok(PullOutcome::Done(synced)) => Ok(Some(synced)),
                    Ok(PullOutcome::WaitingForFirstPush) => Ok(None),
                    Err(failure) => Err((failure.reason, failure.message)),
                })
            }
        };
        move || {
            let result = run();
            let fate = fate.lock().unwrap();
            Ended { who, result, steps: fate.steps, writes: fate.writes, committed, before }
        }
    }

    fn writer(&self, who: Who) -> Writer {
        let sync = usize::try_from(self.scratches).unwrap();
        let Who::Push(at) = who else { return Writer { sync, owner: None, adopts: false, follows: false } };
        let Source { owner, pushed, adopts, .. } = &self.sources[at];
        Writer { sync, owner: Some(owner.clone()), adopts: *adopts, follows: pushed.is_none() }
    }

    /// What the agent learns, and what must hold of a sync that has ended.
    fn note(&mut self, ended: Ended) {
        self.world.lock().unwrap().note(|| format!("{:?} ended: {:?}", ended.who, ended.result));
        match (ended.who, ended.result) {
            (Who::Push(at), Ok(Some(synced))) => {
                self.world.lock().unwrap().leaves_what_was_hidden();
                self.sources[at].pushed = Some(synced.revision);
            }
            (Who::Push(_), _) => self.world.lock().unwrap().leaves(),
            (Who::Pull(at), Ok(Some(synced))) => {
                let destination = &mut self.destinations[at];
                let (held, world) = (tree(&destination.volume), self.world.lock().unwrap());
                let expected = world.trees.get(&synced.revision).cloned();
                drop(world);
                destination.applied = Some(synced.revision.clone());
                if !expected.iter().flatten().any(|expected| **expected == held) {
                    self.fail(format!("a pull of {} left {held:?} instead of {expected:?}", synced.revision));
                }
            }
            (Who::Pull(at), Ok(None)) => {
                if !self.world.lock().unwrap().trees.is_empty() && self.destinations[at].applied.is_some() {
                    self.fail("a pull that had applied a revision waits for the first push".into());
                }
                let world = self.world.lock().unwrap();
                let (is_there, lax) = (world.commit().is_some(), world.lax);
                drop(world);
                if ended.committed && is_there && !lax {
                    self.fail("a pull waits for the first push, and there is a commit".into());
                }
                self.must_be(at, &ended.before);
            }
            (Who::Pull(at), Err(_)) => self.must_be(at, &ended.before),
        }
    }

    fn must_be(&self, destination: usize, before: &Tree) {
        let held = tree(&self.destinations[destination].volume);
        let patched = self.history.layout == Layout::Packs
            && self.destinations[destination].private
            && self.destinations[destination].volume.join(scribe_mover::volume::STAGING_DIR).exists();
        // The next pull finds in the staging folder what it takes to bring it in order.
        if held != *before && !patched {
            self.fail(format!("a pull that failed left {held:?} instead of {before:?}"));
        }
    }

    /// Without faults, a few syncs bring everything in order; then nothing is written any more.
    fn comes_to_rest(&mut self) {
        let owner = self.world.lock().unwrap().owner();
        let of = |owner: Owner| self.sources.iter().position(|source| source.owner == owner);
        let pusher = owner.and_then(of).unwrap_or(0);
        let meddled = self.world.lock().unwrap().meddled;
        // Where listings show no sums, nothing but that finds a pack of its size.
        let unseen = self.history.layout == Layout::Packs && self.history.kind.no_sums;
        let quiet = |who, verify| Sync { who, skew: 0, verify, edits: Vec::new(), faults: Vec::new(), seed: 1 };
        let is_refused = |ended: &Ended| matches!(&ended.result, Err((Reason::PathNotOurs, _)));
        let mut last = None;
        for _ in 0..PATIENCE {
            self.time += SignedDuration::from_hours(30);
            self.world.lock().unwrap().time = self.time;
            let ended = self.sync(&[quiet(Who::Push(pusher), meddled && (self.history.verified || unseen))], 0).remove(0);
            let done = ended.result.is_ok();
            // A rival was killed, or the path put back to another object's: a person decides whose it is.
            self.sources[pusher].adopts |= self.history.helped && is_refused(&ended);
            last = Some(format!("{:?}", ended.result));
            self.note(ended);
            if done || self.is_wrong() {
                break;
            }
            last = last.filter(|_| !done);
        }
        let mut world = self.world.lock().unwrap();
        if let Err(what) = world.whole() {
            world.fail(format!("at rest, after {last:?}, the committed revision is not whole: {what}"));
        }
        let is_clean = self.history.layout == Layout::Packs || self.history.epochs.iter().all(Epoch::is_undisturbed);
        if is_clean && let Some(left) = world.leftover() {
            world.fail(format!("at rest, after {last:?}, {left} is left over"));
        }
        drop(world);
        if self.is_wrong() {
            return;
        }
        let again = self.sync(&[quiet(Who::Push(pusher), false)], 0).remove(0);
        match &again.result {
            Ok(Some(synced)) if !synced.changed && again.writes == 0 => {}
            other => self.fail(format!("at rest, after {last:?}, a push is not idle: {other:?}, {} writes", again.writes)),
        }
        // Commit and manifest, and what of the map does not stand in it.
        let runs = self.world.lock().unwrap().now.all.keys().filter(|name| name.starts_with(Folder::Runs.below().as_bytes())).count();
        let idle = 2 + u32::try_from(runs).unwrap();
        for destination in 0..DESTINATIONS {
            for round in 0..2 {
                if self.is_wrong() {
                    return;
                }
                let ended = self.sync(&[quiet(Who::Pull(destination), false)], 0).remove(0);
                match &ended.result {
                    Ok(Some(synced)) if round == 0 || !synced.changed && ended.steps <= idle => {}
                    other => self.fail(format!("at rest, pull {round} is not idle: {other:?}, {} steps", ended.steps)),
                }
                self.note(ended);
            }
        }
    }
}
