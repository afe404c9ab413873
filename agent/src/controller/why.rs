//! Asks the cluster why a run has to wait. It makes a message better, and nothing else depends on it: where events cannot be read, what is
//! known already stays, and an attempt is given up all the same.

use super::memory::{recall, remember};
use super::{Context, Memory, Warning, waiting};
use crate::cluster::slim;
use crate::cluster::warnings::{AGAIN, Reason, Urgency};
use crate::core::model::facts::Facts;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// The list of the cluster's events in [`Memory::denied`](super::Memory::denied).
const EVENTS: &str = "list of events";

/// A run that does not wait needs no events.
pub(super) fn is_over(memory: &mut Memory) {
    memory.warning = None;
    memory.denied.remove(EVENTS);
}

/// Asks why the run has to wait, unless that was done for this attempt not long ago. Returns whether it did.
pub(super) async fn ask(context: &Context, facts: &mut Facts) -> bool {
    let Some(of) = facts.status.run.as_ref().map(|run| (run.id.clone(), run.attempt)) else { return false };
    let known = recall(context, &facts.object.uid).warning;
    if known.is_some_and(|warning| warning.of == of && Instant::now() < warning.again) {
        return false;
    }
    let reason = read(context, facts, Urgency::Waiting).await;
    let again = reason.as_ref().map_or_else(|| Instant::now() + AGAIN, |reason| reason.again);
    let text = reason.map_or_else(|| facts.warnings.clone(), |reason| reason.text);
    facts.warnings.clone_from(&text);
    let memory = remember(context, &facts.object.uid, |memory| memory.warning = Some(Warning { of, text, again }));
    facts.troubles = context.troubles(facts.object.kind, &memory);
    true
}

/// How long until it is worth asking again.
pub(super) fn again(context: &Context, uid: &str) -> Option<Duration> {
    recall(context, uid).warning.map(|warning| warning.again.saturating_duration_since(Instant::now()))
}

/// The reason that an attempt is given up for.
pub(super) async fn for_giving_up(context: &Context, facts: &Facts) -> Option<String> {
    read(context, facts, Urgency::GivingUp).await.map_or_else(|| facts.warnings.clone(), |reason| reason.text)
}

async fn read(context: &Context, facts: &Facts, urgency: Urgency) -> Option<Reason> {
    // The deepest cause first: a pod waits for its volume, a volume for its snapshot.
    let groups = waiting::groups(facts);
    if groups.iter().all(Vec::is_empty) {
        return Some(Reason { text: None, again: Instant::now() + AGAIN });
    }
    let reason = context.warnings.about(&groups, || all(context), urgency).await;
    let denied = if reason.is_none() { context.warnings.denied() } else { None };
    remember(context, &facts.object.uid, |memory| match denied {
        Some(message) => memory.denied.insert(EVENTS, message),
        None => memory.denied.remove(EVENTS),
    });
    reason
}

/// UIDs of everything that any object may be waiting for.
fn all(context: &Context) -> HashSet<String> {
    let cache = &context.cache;
    let bound = |phase: Option<&str>| phase == Some("Bound");
    let claims = cache.claims.state().into_iter().filter(|claim| !bound(claim.status.phase.as_deref())).map(|c| c.metadata.uid.clone());
    let ready = |status: Option<&slim::SnapshotStatus>| status.and_then(|status| status.ready_to_use) == Some(true);
    let snapshots = cache.snapshots.state().into_iter().filter(|s| !ready(s.status.as_ref())).map(|s| s.metadata.uid.clone());
    let jobs = cache.jobs.state().into_iter().map(|job| job.metadata.uid.clone());
    let pods = cache.pods.state().into_iter().map(|pod| pod.metadata.uid.clone());
    claims.chain(snapshots).chain(jobs).chain(pods).flatten().collect()
}
