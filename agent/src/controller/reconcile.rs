//! Reconciles one object: observe, decide, and execute what was decided on fresh facts.

use super::memory::{forget_the_deleted, recall, remember};
use super::{Context, Memory, events, observe, progress, wake};
use crate::api::Status;
use crate::api::reason::Reason;
use crate::api::status::Phase;
use crate::cluster::pace::causes;
use crate::cluster::refusal::{Answer, missing_permission};
use crate::cluster::view::{Replicated, Replication};
use crate::core::conditions;
use crate::core::decide::decide;
use crate::core::model::facts::{Facts, Refresh, Refusal, ResizeRefusal};
use crate::core::model::plan::{Child, Plan, Step};
use crate::core::schedule::{backoff, queue};
use crate::manifests::job::Mover;
use jiff::{SignedDuration, Timestamp};
use kube::runtime::controller::Action;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Instrument;

/// Every object is reconciled this often even if nothing happens: a lost tick, a suspend or a clock step then does no harm.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// So long nothing is started for want of a list. One that never comes, of a kind that the cluster does not serve, must not stop the other.
const COUNTING: Duration = Duration::from_secs(60);
/// A name that is still taken after so many reconciles belongs to another object.
const TAKEN_FOR_GOOD: i64 = 6;
/// So many conflicts in a row may come of a cache that is behind, and of other writers.
const CONFLICTS_THAT_PASS: i64 = 10;
/// After a conflict the cache is behind; by then it has caught up.
const AFTER_CONFLICT: Duration = Duration::from_millis(500);

/// Why a reconcile failed. The next one follows with a growing delay.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The API server could not be read.
    #[error("reading from the API server: {0}")]
    Read(#[source] kube::Error),
    /// The API server did not take a write.
    #[error("writing to the API server: {0}")]
    Write(#[source] kube::Error),
    /// Writes meet with conflicts again and again.
    #[error("the API server reported a conflict {0} times in a row")]
    Conflict(i64),
    /// A child's name is taken.
    #[error("a child cannot be created yet because its name is taken: {0}")]
    Taken(String),
    /// The API server will not take a status or deletion as it is.
    #[error("the API server rejected the request: {0}")]
    Refused(String),
}

/// Reconciles one object. Everything logged meanwhile names it, and its run.
pub(super) async fn reconcile<K: Replicated>(object: Arc<K>, context: Arc<Context>) -> Result<Action, Failure> {
    let replication = object.replication();
    let uid = replication.object.uid.clone();
    let run = replication.status.run.as_ref().map(|run| run.id.as_str());
    let span = tracing::info_span!("reconcile", kind = replication.object.kind.as_str(), object = replication.object.name, run);
    let done = observe_decide_execute(replication, &context).instrument(span).await;
    context.slots().settled(&uid);
    forget_the_deleted(&context);
    let action = done?;
    remember(&context, &uid, |memory| memory.failures = 0);
    Ok(action)
}

async fn observe_decide_execute(seen: Replication, context: &Context) -> Result<Action, Failure> {
    let limits = context.settings.borrow().settings.limits;
    let (uid, kind, name) = (seen.object.uid.clone(), seen.object.kind, seen.object.name.clone());
    if !context.objects.complete() && context.started.elapsed() < COUNTING {
        // Running syncs cannot be counted yet.
        return Ok(Action::requeue(AFTER_CONFLICT));
    }
    let mut facts = observe::recalled(context, observe::cached(context, seen), Timestamp::now());
    let mut plan = decide(&facts, &limits, Timestamp::now());
    if plan.asks_why && observe::ask_why(context, &mut facts).await {
        plan = decide(&facts, &limits, Timestamp::now());
    }
    if plan.needs.contains(&Refresh::Slot) {
        facts.slot = observe::slot(context, &facts, false);
        facts.fresh.insert(Refresh::Slot);
        plan = decide(&facts, &limits, Timestamp::now());
    }
    events::publish_kept(context, &facts).await;
    if plan.steps.is_empty() {
        remember(context, &uid, Memory::all_was_done);
        return Ok(while_the_mover_runs(context, &facts, wait(&plan)).await);
    }
    let Some(fresh) = context.reader.replication(kind, &name).await.map_err(Failure::Read)? else {
        // Gone; or its kind is not served for a moment, and it will be reconciled again.
        return Ok(Action::requeue(LONGEST_WAIT));
    };
    if fresh.object.uid != uid {
        return Ok(Action::requeue(AFTER_CONFLICT));
    }
    let mut facts = observe::recalled(context, observe::cached(context, fresh), Timestamp::now());
    let plan = loop {
        let plan = decide(&facts, &limits, Timestamp::now());
        let stale = &plan.needs - &facts.fresh;
        if stale.is_empty() {
            break plan;
        }
        if let Err(error) = observe::refresh(context, &mut facts, &stale).await {
            report_unreadable(context, &facts, &error).await;
            return Err(Failure::Read(error));
        }
        remember(context, &uid, |memory| memory.denied.remove("reading"));
    };
    // The decision has taken note of it.
    remember(context, &uid, |memory| memory.refusal = None);
    execute(context, &facts, &plan).await
}

/// Without its facts nothing can be decided, and so nothing else would be written about a permission that is missing.
async fn report_unreadable(context: &Context, facts: &Facts, error: &kube::Error) {
    let Some(message) = missing_permission(error) else { return };
    remember(context, &facts.object.uid, |memory| memory.denied.insert("reading", message.clone()));
    let mut status = facts.status.clone();
    conditions::report_trouble(&mut status, &message, facts.object.generation, Timestamp::now());
    if status != facts.status
        && let Err(error) = context.writer.status(&facts.object, &status).await
    {
        tracing::warn!(name = facts.object.name, %error, "cannot report that a permission is missing");
    }
}

/// Nothing is to be done but to show how far a long transfer is.
async fn while_the_mover_runs(context: &Context, facts: &Facts, otherwise: Duration) -> Action {
    let live = facts.status.run.as_ref().is_some_and(|run| run.phase == Phase::Transferring) && facts.mover_lives();
    if !live {
        return Action::requeue(otherwise);
    }
    if let Some((run, pod)) = progress::to_show(context, facts, Timestamp::now()) {
        progress::show(context, facts, run, pod).await;
    }
    Action::requeue(otherwise.min(progress::INTERVAL))
}

async fn execute(context: &Context, facts: &Facts, plan: &Plan) -> Result<Action, Failure> {
    let settings = context.settings.borrow().settings.mover.clone();
    let mover = Mover {
        image: context.inherited.image.clone(),
        image_pull_policy: context.inherited.image_pull_policy.clone(),
        image_pull_secrets: context.inherited.image_pull_secrets.clone(),
        service_account: settings.service_account_name,
        resources: settings.resources,
        verify_interval: settings.verify_interval,
        rehash_interval: settings.rehash_interval,
    };
    let uid = &facts.object.uid;
    let mut unrecorded = false;
    for step in &plan.steps {
        if let Step::Publish(event) = step {
            events::publish(context, facts, event).await;
            continue;
        }
        if unrecorded {
            // Decided again by what the status holds now; only the events belong to what was written.
            continue;
        }
        match context.writer.step(&facts.object, step, &mover, Timestamp::now()).await {
            Ok(()) => note(context, facts, step),
            Err(Answer::Undeclared(fields)) => {
                note(context, facts, step);
                tracing::error!(
                    name = facts.object.name,
                    ?fields,
                    "the cluster's CRD is older than this agent and lacks status fields: apply kustomize/crds"
                );
                remember(context, uid, |memory| unrecorded = memory.note_undeclared(fields, Instant::now()));
            }
            Err(Answer::Conflict) => {
                let conflicts = remember(context, uid, |memory| memory.conflicts += 1).conflicts;
                return if conflicts < CONFLICTS_THAT_PASS {
                    Ok(Action::requeue(AFTER_CONFLICT))
                } else {
                    Err(Failure::Conflict(conflicts))
                };
            }
            Err(Answer::Taken) => {
                let failures = recall(context, uid).failures;
                if failures < TAKEN_FOR_GOOD || is_ours(context, facts, step).await? {
                    blocked(context, facts, step, &format!("the name {} is taken", taken_name(step)));
                    return Err(Failure::Taken(taken_name(step)));
                }
                let message = format!("{} exists and does not belong to this object: rename or delete it", taken_name(step));
                let refusal = Refusal { reason: Reason::InvalidSpec, message };
                remember(context, uid, |memory| memory.refusal = Some(refusal));
                return Ok(Action::requeue(Duration::ZERO));
            }
            Err(Answer::Ending) => {
                tracing::debug!(object = facts.object.name, "nothing can be created: the namespace is being deleted");
                return Ok(Action::requeue(LONGEST_WAIT));
            }
            Err(Answer::Transient(error)) => {
                blocked(context, facts, step, &causes(&error));
                return Err(Failure::Write(error));
            }
            Err(Answer::Refused(refusal)) => {
                refused(context, facts, step, refusal)?;
                return Ok(Action::requeue(Duration::ZERO));
            }
        }
    }
    remember(context, uid, Memory::all_was_done);
    Ok(Action::requeue(if unrecorded { Duration::ZERO } else { wait(plan) }))
}

/// Keeps why a child could not be created this time: past the deadline of the phase, the attempt ends with it.
fn blocked(context: &Context, facts: &Facts, step: &Step, why: &str) {
    if let Step::Create(child) = step {
        let why = format!("{} cannot be created: {}", child.name(), why.trim());
        remember(context, &facts.object.uid, |memory| memory.blocked = Some(why));
    }
}

/// Keeps a refusal for the next decision, where decisions know what to do about it.
fn refused(context: &Context, facts: &Facts, step: &Step, refusal: Refusal) -> Result<(), Failure> {
    let uid = &facts.object.uid;
    match step {
        Step::Create(_) => {
            tracing::warn!(object = facts.object.name, reason = refusal.reason.as_str(), message = refusal.message, "refused");
            remember(context, uid, |memory| memory.refusal = Some(refusal));
        }
        Step::Resize(_, size) => {
            let refusal = ResizeRefusal { size: *size, message: refusal.message };
            remember(context, uid, |memory| memory.resize = Some((refusal, Instant::now())));
        }
        Step::Delete(target) | Step::Release(target) => {
            let message = format!("{} {} is left over and cannot be deleted: {}", target.kind.as_str(), target.name, refusal.message);
            let mut before = None;
            remember(context, uid, |memory| before = memory.denied.insert("removal", message.clone()));
            if before.as_ref() == Some(&message) {
                return Err(Failure::Refused(message));
            }
        }
        Step::WriteStatus(_) | Step::Publish(_) => return Err(Failure::Refused(refusal.message)),
    }
    Ok(())
}

/// Whether a child of this object has the name, and it is the cache that is behind.
async fn is_ours(context: &Context, facts: &Facts, step: &Step) -> Result<bool, Failure> {
    let mut facts = facts.clone();
    let children = [Refresh::Claims, Refresh::Snapshots, Refresh::Jobs].into();
    observe::refresh(context, &mut facts, &children).await.map_err(Failure::Read)?;
    if !facts.snapshots_known && matches!(step, Step::Create(Child::Snapshot(_))) {
        return Ok(true); // for all that is known
    }
    let name = taken_name(step);
    let claims = facts.claims.iter().map(|c| &c.meta).filter(|meta| meta.role.is_some());
    let others = facts.snapshots.iter().map(|s| &s.meta).chain(facts.jobs.iter().map(|j| &j.meta));
    Ok(claims.chain(others).any(|meta| meta.name == name))
}

fn taken_name(step: &Step) -> String {
    match step {
        Step::Create(child) => child.name().to_owned(),
        other => format!("{other:?}"),
    }
}

/// Logs and counts what a written status means.
fn note(context: &Context, facts: &Facts, step: &Step) {
    let (kind, name) = (facts.object.kind, facts.object.name.as_str());
    match step {
        Step::WriteStatus(status) => {
            count(context, facts, status);
            context.slots().wrote(&facts.object.uid, status, Instant::now());
            if queue::under_way(&facts.status) && !queue::under_way(status) {
                let slots = context.settings.borrow().settings.limits.max_concurrent_syncs;
                wake::queue(&context.objects, &context.wakes, slots, Timestamp::now());
            }
        }
        Step::Create(child) => {
            if matches!(child, Child::Snapshot(_)) {
                context.cache.snapshots_are_served();
            }
            tracing::debug!(kind = kind.as_str(), name, ?step, "done");
            remember(context, &facts.object.uid, |memory| memory.blocked = None);
        }
        other => tracing::debug!(kind = kind.as_str(), name, step = ?other, "done"),
    }
}

fn count(context: &Context, facts: &Facts, status: &Status) {
    let (object, before) = (&facts.object, &facts.status);
    if status.last_sync_time != before.last_sync_time {
        context.metrics.synced(object.kind, &object.name);
    }
    if let Some(error) = status.last_error.as_ref().filter(|error| before.last_error.as_ref() != Some(error)) {
        let reason = Reason::parse(&error.reason).unwrap_or(Reason::MoverFailed);
        context.metrics.failed(object.kind, &object.name, reason);
    }
}

fn wait(plan: &Plan) -> Duration {
    let until = plan.wake.map(|wake| wake.duration_since(Timestamp::now()).max(SignedDuration::ZERO));
    let until = until.and_then(|d| Duration::try_from(d).ok()).unwrap_or(LONGEST_WAIT);
    until.min(LONGEST_WAIT)
}

/// Waits longer after each failure in a row.
#[allow(clippy::needless_pass_by_value, reason = "the signature is the controller's")]
pub(super) fn again_after_failure<K: Replicated>(object: Arc<K>, failure: &Failure, context: Arc<Context>) -> Action {
    let object = object.replication().object;
    let failures = remember(&context, &object.uid, |memory| memory.failures += 1).failures;
    let delay = backoff::delay(SignedDuration::from_secs(1), SignedDuration::from_secs(60), failures, &object.uid);
    tracing::warn!(kind = object.kind.as_str(), name = object.name, error = %failure, failures, "reconciling failed; retrying");
    Action::requeue(Duration::try_from(delay).unwrap_or(LONGEST_WAIT))
}
