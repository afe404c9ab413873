//! Reconciles one object: observe, decide, and execute what was decided on fresh facts.

use super::copies::Noted;
use super::failure::Failure;
use super::memory::{block, forget_the_deleted, recall, remember};
use super::observe::Unread;
use super::removals::{Removals, Round};
use super::{Context, claims, copies, events, observe, progress, taken, turn, undeclared, unread, why, written};
use crate::cluster::pace::causes;
use crate::cluster::priority::{self, Priority};
use crate::cluster::refusal::Answer;
use crate::cluster::view::{Replicated, Replication};
use crate::core::decide::decide;
use crate::core::model::facts::{Facts, Refresh, Refusal, ResizeRefusal};
use crate::core::model::limits::Limits;
use crate::core::model::plan::{Child, Event, Plan, Step};
use crate::core::schedule::backoff;
use jiff::{SignedDuration, Timestamp};
use kube::runtime::controller::Action;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Instrument;

/// Every object is reconciled this often even if nothing happens: a lost tick, a suspend or a clock step then does no harm.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// So long nothing is started for want of a list. One that never comes, of a kind that the cluster does not serve, must not stop the other.
const COUNTING: Duration = Duration::from_secs(60);
/// So many conflicts in a row may come of a cache that is behind, and of other writers.
const CONFLICTS_THAT_PASS: i64 = 10;
/// After a conflict the cache is behind; by then it has caught up.
const AFTER_CONFLICT: Duration = Duration::from_millis(500);
/// An object that waits for its turn is looked at so often.
const TURN: Duration = Duration::from_secs(10);

/// Reconciles one object. Everything logged meanwhile names it, and its run.
pub(super) async fn reconcile<K: Replicated>(object: Arc<K>, context: Arc<Context>) -> Result<Action, Failure> {
    let seen = object.replication();
    let (uid, kind, name) = (seen.object.uid.clone(), seen.object.kind, seen.object.name.clone());
    let run = seen.status.run.as_ref().map(|run| run.id.as_str());
    let span = tracing::info_span!("reconcile", kind = kind.as_str(), object = name, run);
    let first = if turn::is_under_way(&seen.status) { Priority::UnderWay } else { Priority::Due };
    let done = priority::with(first, in_turn(seen, &context)).instrument(span).await;
    context.slots().settled(&uid);
    context.claims().settled(&uid);
    forget_the_deleted(&context);
    let action = done?;
    if action != Action::requeue(Duration::ZERO) {
        // What follows at once may fail as it did before.
        remember(&context, &uid, |memory| memory.failures = 0);
    }
    Ok(action)
}

/// Looks at the cache, and makes requests only where something is to be written, once it is the object's turn. What either of the two needs is
/// kept no longer than it takes: any number of objects may be waiting for theirs.
async fn in_turn(seen: Replication, context: &Context) -> Result<Action, Failure> {
    let (kind, namespace, name) = (seen.object.kind, seen.object.namespace.clone(), seen.object.name.clone());
    // The facts make these too large for the stack of every caller.
    if let Some(action) = Box::pin(look(seen, context)).await {
        return Ok(action);
    }
    let now = || context.objects.named(kind, &namespace, &name);
    let mut place = Box::pin(context.places.take());
    let _place = loop {
        tokio::select! {
            place = &mut place => break place,
            () = tokio::time::sleep(TURN) => {}
        }
        // What it waits to report may have been put right meanwhile.
        if let Some(urgency) = now().map(|seen| urgency(context, seen)).filter(|urgency| *urgency < priority::present()) {
            priority::set(urgency);
            place = Box::pin(context.places.take());
        }
    };
    match now() {
        Some(seen) => Box::pin(execute_on_fresh_facts(seen, context)).await,
        // Gone, and no event of it will come.
        None => Ok(Action::await_change()),
    }
}

/// How urgent an object is, by what the cache shows of it.
fn urgency(context: &Context, seen: Replication) -> Priority {
    let limits = context.settings.borrow().settings.limits;
    let mut facts = observe::recalled(context, observe::cached(context, seen), Timestamp::now());
    let plan = decide_with_slot(context, &mut facts, &limits);
    turn::of(&facts.status, &plan)
}

/// Decides by the cache, the slot included if that is needed.
fn decide_with_slot(context: &Context, facts: &mut Facts, limits: &Limits) -> Plan {
    let plan = decide(facts, limits, Timestamp::now());
    if !plan.needs.contains(&Refresh::Slot) {
        return plan;
    }
    observe::slot(context, facts, false);
    decide(facts, limits, Timestamp::now())
}

/// Observes and decides by the cache. Returns when to reconcile again, where nothing is to be written.
async fn look(seen: Replication, context: &Context) -> Option<Action> {
    let limits = context.settings.borrow().settings.limits;
    let uid = seen.object.uid.clone();
    if !context.objects.complete() && context.started.elapsed() < COUNTING {
        // Running syncs cannot be counted yet.
        return Some(Action::requeue(AFTER_CONFLICT));
    }
    written::settle(context, &seen, false).await;
    undeclared::ask(context, &seen.object).await;
    // Before the decision, which reports what the API server rejects.
    events::publish_kept(context, &seen.object).await;
    let mut facts = observe::recalled(context, observe::cached(context, seen), Timestamp::now());
    let asks_why = decide(&facts, &limits, Timestamp::now()).asks_why;
    if asks_why {
        why::ask(context, &mut facts).await;
    }
    let plan = decide_with_slot(context, &mut facts, &limits);
    // What could not be read is read again, also where the report of it was all that there was to do.
    let memory = recall(context, &uid);
    // So is the object while it is not known whether a status was written: others wait for what that one says.
    let unread = !memory.unread.is_empty() || memory.unconfirmed.is_some();
    if plan.steps.is_empty() && !unread {
        if all_was_done(context, &uid) {
            return Some(Action::requeue(Duration::ZERO));
        }
        let asks = plan.asks_why.then(|| why::again(context, &uid)).flatten();
        return Some(progress::while_the_mover_runs(context, &facts, wait(&plan).min(asks.unwrap_or(LONGEST_WAIT))).await);
    }
    if let Some(delay) = removal_delay(context, &uid)
        && !unread
        && plan.steps.iter().all(|step| step.removes().is_some())
    {
        return Some(progress::while_the_mover_runs(context, &facts, wait(&plan).min(delay)).await);
    }
    progress::before_the_plan(context, &facts, &plan).await;
    priority::set(turn::of(&facts.status, &plan));
    None
}

/// Decides again, on fresh reads of what the plan needs, and executes it. The object itself is read, too, unless the plan begins with its status:
/// that is written onto the very version that was decided on, or not at all, and nothing is done before it.
async fn execute_on_fresh_facts(seen: Replication, context: &Context) -> Result<Action, Failure> {
    let limits = context.settings.borrow().settings.limits;
    let (uid, kind, name) = (seen.object.uid.clone(), seen.object.kind, seen.object.name.clone());
    let mut facts = observe::recalled(context, observe::cached(context, seen), Timestamp::now());
    let memory = recall(context, &uid);
    // A conflict shows that the cache is behind.
    let believed = memory.unread.is_empty() && memory.unconfirmed.is_none() && memory.conflicts == 0;
    if believed && turn::begins_with_its_status(&decide(&facts, &limits, Timestamp::now())) {
        let plan = decide_on_fresh_lists(context, &mut facts, &limits).await?;
        if turn::begins_with_its_status(&plan) {
            return execute(context, &facts, &plan).await;
        }
    }
    let fresh = match context.reader.replication(kind, &name).await {
        Ok(Some(fresh)) => fresh,
        // Gone; or its kind is not served for a moment, and it will be reconciled again.
        Ok(None) => return Ok(Action::requeue(LONGEST_WAIT)),
        Err(error) => return Err(unread::report(context, &facts, Unread { what: observe::OBJECT, error }).await),
    };
    if fresh.object.uid != uid {
        return Ok(Action::requeue(AFTER_CONFLICT));
    }
    written::settle(context, &fresh, true).await;
    let mut facts = observe::recalled(context, observe::cached(context, fresh), Timestamp::now());
    let plan = decide_on_fresh_lists(context, &mut facts, &limits).await?;
    execute(context, &facts, &plan).await
}

/// Decides until all lists that the plan needs have been read.
async fn decide_on_fresh_lists(context: &Context, facts: &mut Facts, limits: &Limits) -> Result<Plan, Failure> {
    loop {
        let plan = decide(facts, limits, Timestamp::now());
        let stale = &plan.needs - &facts.fresh;
        if !stale.is_empty() {
            if let Err(unread) = observe::refresh(context, facts, &stale).await {
                return Err(unread::report(context, facts, unread).await);
            }
            continue;
        }
        // All that the plan needs has been read.
        if !unread::all_works(context, facts) {
            return Ok(plan);
        }
    }
}

/// Nothing that was planned is left to do. Returns whether the status may still report something that did not work before.
fn all_was_done(context: &Context, uid: &str) -> bool {
    let mut outdated = false;
    remember(context, uid, |memory| outdated = memory.all_was_done());
    outdated
}

/// How long no deletion is tried, where one has failed.
fn removal_delay(context: &Context, uid: &str) -> Option<Duration> {
    recall(context, uid).removals.and_then(|removals| removals.delay(Instant::now()))
}

async fn execute(context: &Context, facts: &Facts, plan: &Plan) -> Result<Action, Failure> {
    if undeclared::forbids(context, facts, plan).await.map_err(Failure::Write)? {
        return Ok(Action::requeue(Duration::ZERO));
    }
    // The decision has taken note of it.
    remember(context, &facts.object.uid, |memory| memory.refusal = None);
    let mut round = Round::default();
    let ended = steps(context, facts, plan, &mut round).await;
    let left = round.leaves_something().then(|| after_removals(context, facts, round, wait(plan)));
    Ok(Action::requeue(match (ended?, left) {
        (Some(delay), _) | (None, Some(delay)) => delay,
        (None, None) if all_was_done(context, &facts.object.uid) => Duration::ZERO,
        (None, None) => progress::next_look(facts, wait(plan)),
    }))
}

/// Does the steps, in order. Returns when to reconcile again where that ended before the last step.
async fn steps(context: &Context, facts: &Facts, plan: &Plan, round: &mut Round) -> Result<Option<Duration>, Failure> {
    let mover = context.mover();
    let uid = &facts.object.uid;
    let mut unrecorded = false;
    let kept_back = removal_delay(context, uid).is_some();
    let mut noted = None;
    for step in &plan.steps {
        if let Step::Publish(event) = step {
            events::publish(context, &facts.object, event).await;
            continue;
        }
        if unrecorded {
            // Decided again by what the status holds now; only the events belong to what was written.
            continue;
        }
        if let Step::NoteCopy(note) = step
            && !note.announces()
        {
            match copies::noted(context, facts, note, plan, &mover).await {
                Noted::Written => {}
                Noted::Again(delay) => noted = Some(delay),
                Noted::First(delay) => return Ok(Some(delay)),
            }
            continue;
        }
        if let Some(target) = step.removes() {
            if kept_back {
                round.keep_back();
            } else if let Err(answer) = context.writer.step(&facts.object, step, &mover, Timestamp::now()).await {
                let (answer, for_good) = why_not_removed(answer);
                round.failed(target, &answer, for_good);
            } else {
                note(context, facts, step);
            }
            continue;
        }
        if round.leaves_something() && matches!(step, Step::Create(_)) {
            // It may need the name, or the room, of what is left over.
            continue;
        }
        match context.writer.step(&facts.object, step, &mover, Timestamp::now()).await {
            Ok(()) => {
                note(context, facts, step);
                if let Step::WriteStatus(status) = step {
                    context.undeclared.sent(facts.object.kind, status, &BTreeSet::new(), Instant::now());
                }
            }
            Err(Answer::Undeclared(fields)) => {
                note(context, facts, step);
                if let Step::WriteStatus(status) = step {
                    unrecorded = context.undeclared.sent(facts.object.kind, status, &fields, Instant::now());
                    if unrecorded {
                        tracing::error!(
                            kind = facts.object.kind.as_str(),
                            ?fields,
                            "the cluster's CRD is older than this agent and lacks status fields: apply kustomize/crds"
                        );
                    }
                    // Another object may have shown it since the decision.
                    unrecorded |= observe::hide_what_cannot_be_recorded(context, &mut facts.clone());
                }
            }
            Err(Answer::Conflict) => {
                // The retry of a write whose answer was lost meets with itself.
                written::unconfirmed(context, facts, plan, step);
                let conflicts = remember(context, uid, |memory| memory.conflicts += 1).conflicts;
                return match conflicts {
                    // The object is read for the next try.
                    1 => Ok(Some(Duration::ZERO)),
                    ..CONFLICTS_THAT_PASS => Ok(Some(AFTER_CONFLICT)),
                    _ => Err(Failure::Conflict(conflicts)),
                };
            }
            Err(Answer::Taken) => {
                if let Step::Create(child) = step {
                    taken::explain(context, facts, child).await?;
                }
                return Ok(Some(Duration::ZERO));
            }
            Err(Answer::Ending) => {
                tracing::debug!(object = facts.object.name, "nothing can be created: the namespace is being deleted");
                return Ok(Some(LONGEST_WAIT));
            }
            Err(Answer::Transient(error)) => {
                written::unconfirmed(context, facts, plan, step);
                if let Step::Create(child) = step {
                    block(context, uid, child.name(), &causes(&error));
                }
                return Err(Failure::Write(error));
            }
            Err(Answer::Refused(refusal)) => {
                if matches!(step, Step::WriteStatus(_)) && recall(context, uid).failures == 0 {
                    // No status can say so.
                    let event = Event { warning: true, reason: refusal.reason, note: refusal.message.clone(), key: "status".to_owned() };
                    events::publish(context, &facts.object, &event).await;
                }
                refused(context, facts, step, refusal)?;
                return Ok(Some(Duration::ZERO));
            }
        }
    }
    remember(context, uid, |memory| memory.conflicts = 0);
    Ok(unrecorded.then_some(Duration::ZERO).or(noted))
}

/// Keeps which deletions failed. Returns when to reconcile again.
fn after_removals(context: &Context, facts: &Facts, round: Round, otherwise: Duration) -> Duration {
    let (object, now) = (&facts.object, Instant::now());
    let tried = !round.kept_back();
    let memory = remember(context, &object.uid, |memory| {
        memory.removals = round.settle(memory.removals.take(), &object.uid, now);
    });
    if let Some(error) = memory.removals.as_ref().and_then(Removals::text).filter(|_| tried) {
        tracing::warn!(kind = object.kind.as_str(), name = object.name, error, "a child cannot be deleted; retrying");
    }
    let delay = memory.removals.and_then(|removals| removals.delay(now)).unwrap_or(otherwise);
    // A deletion that fails must not keep the mover's progress from being seen.
    progress::next_look(facts, otherwise.min(delay))
}

/// The API server's answer to a deletion, and whether the same request can never work.
fn why_not_removed(answer: Answer) -> (String, bool) {
    match answer {
        Answer::Transient(error) => (causes(&error), false),
        Answer::Refused(refusal) => (refusal.message, true),
        Answer::Ending => ("the namespace is being deleted".to_owned(), false),
        Answer::Conflict | Answer::Taken | Answer::Undeclared(_) => ("it has changed meanwhile".to_owned(), false),
    }
}

/// Keeps a refusal for the next decision, where decisions know what to do about it.
fn refused(context: &Context, facts: &Facts, step: &Step, refusal: Refusal) -> Result<(), Failure> {
    let uid = &facts.object.uid;
    match step {
        Step::Create(_) | Step::NoteCopy(_) => {
            tracing::warn!(object = facts.object.name, reason = refusal.reason.as_str(), message = refusal.message, "refused");
            remember(context, uid, |memory| memory.refusal = Some(refusal));
        }
        Step::Resize(_, size) => {
            let refusal = ResizeRefusal { size: *size, message: refusal.message };
            remember(context, uid, |memory| memory.resize = Some((refusal, Instant::now())));
        }
        // Removals are settled by themselves.
        Step::Delete(_) | Step::Release(_) => {}
        Step::WriteStatus(_) | Step::Publish(_) => return Err(Failure::Refused(refusal.message)),
    }
    Ok(())
}

/// Logs and counts what a written status means.
fn note(context: &Context, facts: &Facts, step: &Step) {
    let (kind, name) = (facts.object.kind, facts.object.name.as_str());
    match step {
        Step::WriteStatus(status) => {
            written::note(context, &facts.object, &facts.status, status);
            claims::wrote(context, facts, status);
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
