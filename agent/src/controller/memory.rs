//! What the agent remembers of an object between two reconciles. Losing it costs nothing but a repeated request, and deadlines that count
//! from the agent's start.

use super::Context;
use super::kept::Kept;
use super::removals::Removals;
use super::unconfirmed::Unconfirmed;
use crate::core::model::facts::{Refusal, ResizeRefusal};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long until a write that the cluster refused is retried: the cause may have been fixed meanwhile.
pub(super) const TRY_AGAIN: Duration = Duration::from_secs(3600);

/// What is remembered, by the UID of the object.
pub type Memories = Arc<Mutex<HashMap<String, Memory>>>;

/// UIDs of the objects whose reconciles fail.
pub fn failing(memories: &Memories) -> BTreeSet<String> {
    let all = memories.lock().unwrap_or_else(PoisonError::into_inner);
    all.iter().filter(|(_, memory)| memory.failures > 0).map(|(uid, _)| uid.clone()).collect()
}

/// A mover that has started, as its log shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// UID of its pod.
    pub(super) pod: String,
    /// When its log was last read.
    pub(super) looked: Option<Instant>,
    /// The last line of progress. A mover prints none that says nothing new.
    pub(super) line: String,
    /// When that line changed, or the mover was seen first.
    pub(super) moved: Instant,
    /// Since when its log cannot be read, and why.
    pub(super) unreadable: Option<(Instant, String)>,
}

/// What is remembered of one object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// A write that the API server refused, for the next decision.
    pub refusal: Option<Refusal>,
    /// A growth of the volume that the API server refused, and when.
    pub resize: Option<(ResizeRefusal, Instant)>,
    /// Consecutive reconciles that failed.
    pub failures: i64,
    /// Consecutive reconciles that ended in a conflict.
    pub conflicts: i64,
    /// The last create that did not work for a reason that may pass; until one works.
    pub blocked: Option<String>,
    /// How far the mover of the run is.
    pub progress: Option<Followed>,
    /// What the cluster reported of children that keep the run waiting.
    pub warning: Option<Warning>,
    /// Events that could not be published.
    pub unpublished: Kept,
    /// A status write whose answer was lost.
    pub unconfirmed: Option<Arc<Unconfirmed>>,
    /// Writes other than creates that the API server refuses: by what they do, its answer.
    pub denied: BTreeMap<&'static str, String>,
    /// Reads that failed: what was to be read, and the report of it.
    pub unread: BTreeMap<&'static str, String>,
    /// How often in a row the state of a copy could not be written to its PVC.
    pub unnoted: i64,
    /// Deletions that failed.
    pub removals: Option<Removals>,
}

/// A warning of the cluster, or that there was none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Run and attempt that were waiting.
    pub of: (String, i64),
    /// The cluster's message.
    pub text: Option<String>,
    /// When it is worth asking again.
    pub again: Instant,
}

impl Memory {
    /// Nothing that was planned is left to do: deletions that did not work before are not wanted any more, or done. Returns whether the status
    /// may still report one. A read that failed is not over because a plan without steps needs none: the report may be all that was planned.
    pub fn all_was_done(&mut self) -> bool {
        self.conflicts = 0;
        self.removals.take().is_some_and(|removals| removals.trouble().is_some())
    }

    /// What does not work although syncs go on, each as a sentence.
    pub fn troubles(&self) -> Vec<String> {
        let mut troubles: Vec<_> = self.denied.values().chain(self.unread.values()).cloned().collect();
        troubles.extend(self.removals.as_ref().and_then(Removals::trouble));
        troubles
    }
}

/// What is remembered of the object with this UID.
pub(super) fn recall(context: &Context, uid: &str) -> Memory {
    remember(context, uid, |_| ())
}

/// Changes what is remembered, and returns it.
pub(super) fn remember<R>(context: &Context, uid: &str, change: impl FnOnce(&mut Memory) -> R) -> Memory {
    let mut all = context.memory();
    let memory = all.entry(uid.to_owned()).or_default();
    change(memory);
    let now = memory.clone();
    if now == Memory::default() {
        all.remove(uid);
    }
    now
}

/// Keeps why a child could not be created this time: past the deadline of the phase, the attempt ends with it.
pub(super) fn block(context: &Context, uid: &str, child: &str, why: &str) {
    let why = format!("{child} cannot be created: {}", why.trim());
    remember(context, uid, |memory| memory.blocked = Some(why));
}

/// Forgets the objects that are no more.
pub(super) fn forget_the_deleted(context: &Context) {
    context.memory().retain(|uid, _| context.objects.has(uid));
}
