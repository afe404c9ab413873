//! Every way in which one sync can go: all orders of what the agent, the cluster and the mover do, with crashes, a stale cache, a
//! failed mover and a step of the clock, breadth first over the real decisions. The invariants stand in `world` and are held against
//! every write; that things go on and come to an end is checked over the whole graph.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::script;
use crate::world::{Flavour, World};
use jiff::SignedDuration;
use rstest::rstest;
use scribe_agent::api::status::Phase;
use scribe_agent::core::decide::decide;
use scribe_agent::core::model::facts::{Facts, Refresh};
use scribe_agent::core::model::plan::Plan;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write;
use std::hash::{DefaultHasher, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// How much may go wrong on one path.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    /// The agent dies between two writes of a plan.
    crashes: u8,
    /// A look at a cache that is one or two changes behind, or two agents at once.
    stale: u8,
    /// A mover that fails, with a report or without.
    failures: u8,
    /// The clock steps an hour ahead or back.
    steps: u8,
    /// All of these together.
    total: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Look,
    /// Before the write of this number.
    Crash(usize),
    Stale(usize),
    Doubled,
    /// The snapshot of this number becomes ready.
    Ready(usize),
    Starts,
    Ends(Ending),
    /// The Job takes note of its pod's end.
    Noted,
    /// The pod of a Job that is being deleted stops; then both go.
    Stops,
    /// What is being deleted and held by nothing goes.
    Collected,
    Push,
    /// The user asks for the copy that is waited for.
    Asks,
    /// Nothing happens until something is due.
    Waits,
    Step(i64),
}

/// One state of the world, and what may still go wrong.
struct Node {
    world: World,
    left: Trouble,
    /// What a cache that lags may still show, and a digest of it.
    history: Vec<(u64, Arc<Facts>)>,
}

struct Words(DefaultHasher);

impl Write for Words {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

fn digest(world: &World) -> u64 {
    let mut words = Words(DefaultHasher::new());
    world.canonical(&mut words);
    words.0.finish()
}

/// What would be done on facts that are all fresh.
fn plan(world: &World) -> Plan {
    let fresh = Refresh::ALL.into_iter().chain([Refresh::Slot, Refresh::Sharing]).collect();
    let facts = agent::curious(world, Facts { slot: world.slot, fresh, ..world.facts() });
    decide(&facts, &World::limits(), world.now)
}

impl Node {
    fn key(&self, digest: u64) -> u64 {
        let mut words = Words(DefaultHasher::new());
        let past: Vec<u64> = self.history.iter().map(|(digest, _)| *digest).collect();
        write!(words, "{digest}{:?}{past:?}", self.left).unwrap();
        words.0.finish()
    }

    /// What happens by itself: one of these must happen, in whatever order. The first one is what a calm world would do.
    /// With it, how many writes a look would do.
    fn course(&self) -> (Vec<Action>, usize) {
        let (world, mut all) = (&self.world, Vec::new());
        let plan = plan(world);
        if !plan.steps.is_empty() {
            all.push(Action::Look);
        }
        all.extend(world.snapshots.iter().enumerate().filter(|(_, s)| !s.ready && !s.meta.deleting).map(|(n, _)| Action::Ready(n)));
        let pod_of = |run: &Option<String>, attempt| world.pods.iter().find(|p| p.meta.run == *run && p.meta.attempt == attempt);
        for job in &world.jobs {
            let pod = pod_of(&job.meta.run, job.meta.attempt);
            match (job.meta.deleting, pod) {
                (true, _) => all.push(Action::Stops),
                (false, None) if job.succeeded.is_none() => all.push(Action::Starts),
                (false, Some(pod)) if pod.ended && job.succeeded.is_none() => all.push(Action::Noted),
                (false, Some(pod)) if !pod.ended => {
                    all.push(Action::Ends(Ending::Good));
                    if pod.finished.is_none() && world.remote.is_some() {
                        all.push(Action::Ends(Ending::Terminated));
                    }
                }
                _ => {}
            }
        }
        let live = world.pods.iter().any(|p| !p.ended);
        if world.snapshots.iter().any(|s| s.meta.deleting) || !live && world.claims.iter().any(|c| c.meta.deleting) {
            all.push(Action::Collected);
        }
        if world.waits_for_a_request() {
            all.push(Action::Asks);
        }
        let waits_for_push = world.remote.is_none() && world.status.last_sync_start_time.is_some();
        if all.is_empty() && waits_for_push {
            all.push(Action::Push);
        }
        if all.is_empty() && plan.wake.is_some_and(|wake| wake > world.now) {
            all.push(Action::Waits);
        }
        (all, plan.steps.len())
    }

    /// What goes wrong, as far as it still may.
    fn troubles(&self, writes: usize) -> Vec<Action> {
        let mut all = Vec::new();
        if self.left.total == 0 {
            return all;
        }
        if self.left.crashes > 0 {
            all.extend((1..writes).map(Action::Crash));
        }
        if self.left.stale > 0 {
            all.extend((1..=self.history.len()).map(Action::Stale));
            if writes > 0 {
                all.push(Action::Doubled);
            }
        }
        if self.left.failures > 0 && self.world.pods.iter().any(|p| !p.ended) {
            all.extend([Action::Ends(Ending::Failed), Action::Ends(Ending::WithoutReport)]);
        }
        if self.left.steps > 0 {
            all.extend([Action::Step(3600), Action::Step(-3600)]);
        }
        all
    }

    fn after(&self, action: Action, digest_before: u64) -> Node {
        let (mut world, mut left) = (self.world.clone(), self.left);
        let look = |world: &mut World, how: Look| {
            world.past = self.history.iter().map(|(_, facts)| Arc::clone(facts)).collect();
            agent::look(world, &how);
            world.past.clear();
        };
        let mut pay = |of: fn(&mut Trouble) -> &mut u8| {
            *of(&mut left) -= 1;
            left.total -= 1;
        };
        match action {
            Action::Look => look(&mut world, Look::default()),
            Action::Crash(at) => {
                pay(|t| &mut t.crashes);
                look(&mut world, Look { crash_at: Some(at), ..Look::default() });
            }
            Action::Stale(behind) => {
                pay(|t| &mut t.stale);
                look(&mut world, Look { behind, ..Look::default() });
            }
            Action::Doubled => {
                pay(|t| &mut t.stale);
                look(&mut world, Look { doubled: true, ..Look::default() });
            }
            Action::Ready(number) => {
                world.snapshots[number].ready = true;
                world.snapshots[number].captured = Some(world.now);
            }
            Action::Starts => {
                controllers::start_pods(&mut world);
                world.claims.iter_mut().for_each(|c| c.bound = true);
            }
            Action::Ends(Ending::Good) if world.remote.is_none() => controllers::end_movers(&mut world, Ending::NothingPushedYet),
            Action::Ends(ending) => {
                if !matches!(ending, Ending::Good | Ending::Terminated) {
                    pay(|t| &mut t.failures);
                }
                controllers::end_movers(&mut world, ending);
            }
            Action::Noted => controllers::note_ended(&mut world),
            Action::Stops => controllers::stop_deleted(&mut world),
            Action::Collected => controllers::collect(&mut world),
            Action::Push => world.remote = Some(1),
            Action::Asks => {
                world.answer();
            }
            Action::Waits => {
                world.now = plan(&world).wake.unwrap();
            }
            Action::Step(seconds) => {
                pay(|t| &mut t.steps);
                world.now += SignedDuration::from_secs(seconds);
            }
        }
        world.events.clear();
        let mut history = Vec::new();
        if left.stale > 0 && left.total > 0 {
            history.clone_from(&self.history);
            if digest(&world) != digest_before {
                history.push((digest_before, self.world.facts().into()));
            }
            let old = history.len().saturating_sub(2);
            history.drain(..old);
        }
        Node { world, left, history }
    }
}

/// Where a state came from.
struct Origin {
    from: u64,
    by: Action,
}

struct Search {
    seen: HashMap<u64, Origin>,
    /// What a calm world would do next; none where nothing is left to do.
    next: HashMap<u64, Option<u64>>,
    /// From which phase of a run looks led to which.
    turns: Turns,
}

/// Pairs of phases; none is the time before and after a run.
pub type Turns = BTreeSet<(Option<Phase>, Option<Phase>)>;

impl Search {
    fn path(&self, mut key: u64) -> Vec<Action> {
        let mut path = Vec::new();
        while let Some(origin) = self.seen.get(&key).filter(|origin| origin.from != key) {
            path.push(origin.by);
            key = origin.from;
        }
        path.reverse();
        path
    }

    /// Runs a step of which an invariant may disapprove, and says how it came to that.
    fn told<T>(&self, key: u64, action: Action, step: impl FnOnce() -> T) -> T {
        catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|panic| {
            eprintln!("after {:#?}\nand then {action:?}:", self.path(key));
            resume_unwind(panic)
        })
    }

    /// A calm world comes to an end from everywhere.
    fn assert_progress(&self) {
        let mut good = HashSet::new();
        for start in self.next.keys() {
            let (mut key, mut way) = (*start, HashSet::new());
            while !good.contains(&key)
                && let Some(next) = self.next[&key]
            {
                assert!(way.insert(key), "no end after {:#?}", self.path(*start));
                key = next;
            }
            good.extend(way);
            good.insert(key);
        }
    }
}

/// Searches from here. Gives the number of states, and how looks led from phase to phase.
fn search(start: World, trouble: Trouble) -> (usize, Turns) {
    let first = Node { world: start, left: trouble, history: Vec::new() };
    let key = first.key(digest(&first.world));
    let mut search =
        Search { seen: HashMap::from([(key, Origin { from: key, by: Action::Look })]), next: HashMap::new(), turns: Turns::new() };
    let mut frontier = vec![(key, first)];
    while !frontier.is_empty() {
        let mut further = Vec::new();
        for (key, node) in frontier {
            let before = digest(&node.world);
            let (course, writes) = node.course();
            search.told(key, Action::Look, || {
                node.world.assert_images_are_there();
                assert!(node.world.pods.iter().filter(|p| !p.ended).count() <= 1, "two movers live");
                if course.is_empty() {
                    node.world.assert_settled();
                }
            });
            search.next.insert(key, None);
            for (number, action) in course.iter().copied().chain(node.troubles(writes)).enumerate() {
                let after = search.told(key, action, || node.after(action, before));
                let digest_after = digest(&after.world);
                let phase = |world: &World| world.status.run.as_ref().map(|run| run.phase);
                if phase(&node.world) != phase(&after.world) {
                    search.turns.insert((phase(&node.world), phase(&after.world)));
                }
                if action == Action::Look {
                    search.told(key, action, || assert_ne!(digest_after, before, "a plan that changes nothing"));
                }
                let reached = after.key(digest_after);
                if number == 0 && !course.is_empty() {
                    search.next.insert(key, Some(reached));
                }
                if let std::collections::hash_map::Entry::Vacant(entry) = search.seen.entry(reached) {
                    entry.insert(Origin { from: key, by: action });
                    further.push((reached, after));
                }
            }
        }
        frontier = further;
    }
    search.assert_progress();
    (search.seen.len(), search.turns)
}

/// Where searches begin: a new object; one that is to sync again, with something new to fetch; one whose path was edited while idle; and
/// a destination before the first push.
fn starts(flavour: Flavour) -> Vec<World> {
    let mut new = World::new(flavour);
    new.now = "2026-01-01T00:00:00Z".parse().unwrap();
    let (mut again, mut early) = (new.clone(), new.clone());
    script::recover(&mut again);
    again.events.clear();
    let mut moved = again.clone();
    script::edit(&mut moved, |w| w.spec.remote.path = script::PATHS[1].into());
    again.remote = Some(2);
    script::edit(&mut again, |w| w.spec.trigger.manual = Some("again".into()));
    early.remote = None;
    let destination = new.object.kind == scribe_agent::core::model::facts::Kind::Destination;
    if destination { vec![new, again, moved, early] } else { vec![new, again, moved] }
}

/// Searches everything with up to so many troubles on a path.
pub fn search_all(flavour: Flavour, total: u8) -> (Vec<usize>, Turns) {
    search_from(starts(flavour), total)
}

/// The same of a source whose copies are made on request: the user asks for each that is waited for.
pub fn search_on_request(flavour: Flavour, total: u8) -> (Vec<usize>, Turns) {
    let mut starts = starts(flavour);
    starts.truncate(2);
    for world in &mut starts {
        world.use_copy_trigger(true);
    }
    search_from(starts, total)
}

fn search_from(starts: Vec<World>, total: u8) -> (Vec<usize>, Turns) {
    let trouble = Trouble { crashes: 2, stale: 1, failures: 1, steps: 1, total };
    let found: Vec<_> = starts.into_iter().map(|start| search(start, trouble)).collect();
    (found.iter().map(|(states, _)| *states).collect(), found.into_iter().flat_map(|(_, turns)| turns).collect())
}

/// How many troubles a path may have altogether.
///
/// A path may have up to two crashes, one stale or doubled look, one failed mover and one step of the clock: five in all. `make soak`
/// searches all of those. The two of `make test` leave out paths on which more than two of them meet. Both leave out: more of a
/// kind than that, writes that fail without a crash, a cache that is more than two changes behind, edits and deletions by hand
/// (those are played by the random scripts), and time that passes while anything else could happen, but for the step of an hour.
fn total() -> u8 {
    std::env::var("SEARCH_TROUBLES").ok().and_then(|n| n.parse().ok()).unwrap_or(2)
}

#[rstest]
fn every_way_that_a_sync_can_go(
    #[values(
        Flavour::SourceSnapshot,
        Flavour::SourceClone,
        Flavour::SourceDirect,
        Flavour::DestinationImage,
        Flavour::DestinationImages,
        Flavour::DestinationCleanup,
        Flavour::DestinationDirect,
        Flavour::DestinationExisting
    )]
    flavour: Flavour,
) {
    let (states, turns) = search_all(flavour, total());
    crate::diagram::assert_drawn(&turns);
    println!("{flavour:?}: {} states ({states:?}), up to {} troubles on a path", states.iter().sum::<usize>(), total());
}

#[rstest]
fn every_way_that_a_sync_on_request_can_go(#[values(Flavour::SourceSnapshot, Flavour::SourceClone)] flavour: Flavour) {
    let (states, turns) = search_on_request(flavour, total());
    crate::diagram::assert_drawn(&turns);
    println!("{flavour:?} on request: {} states ({states:?}), up to {} troubles on a path", states.iter().sum::<usize>(), total());
}
