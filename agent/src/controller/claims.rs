//! Which destination may write to a PVC: given out under one lock, by what the cache shows and by what this agent has just done and the cache
//! does not show yet.

use super::Context;
use super::pushes::{self, At, Pushes, at};
use super::uncut;
use crate::api::{ReplicationDestination, ReplicationSource, Status};
use crate::cluster::view::Replication;
use crate::core::model::claimant::{self, Claimant, Sharing, writes};
use crate::core::model::facts::{Facts, Kind, Object};
use crate::core::model::names;
use crate::core::model::place::Place;
use crate::core::model::spec::{InvalidSpec, Spec};
use jiff::Timestamp;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What this agent knows better than the cache. Nothing in it expires: a watch may be behind for any time.
#[derive(Debug, Default)]
pub struct Claims {
    /// By PVC, the UID of the destination that it was given to last.
    holders: HashMap<String, String>,
    /// By UID, the PVC that was given to a reconcile that is not over.
    given: HashMap<String, String>,
    /// By UID, what was written and the cache has not shown yet.
    wrote: HashMap<String, Written>,
    /// UIDs of destinations, and their PVC that was given to another one, as long as no status records it.
    touched: HashSet<(String, String)>,
    /// Which source pushes, and which destination pulls, where the other one would meet it.
    pub(super) pushes: Pushes,
}

#[derive(Debug)]
struct Written {
    at: Option<At>,
    claim: Option<String>,
}

/// A destination, as one asks about a PVC.
#[derive(Clone, Debug)]
struct Seen<'a> {
    claimant: Claimant<'a>,
    /// Its spec names the PVC.
    wants: bool,
    /// When it pulled into the PVC, if the last sync did.
    synced_at: Option<Timestamp>,
    at: Option<At>,
}

impl Claims {
    /// What the others do with `claim`, for the destination `own`. `take` gives it out, if no other one goes first, until the reconcile is
    /// [`settled`](Claims::settled), and from then on for as long as its status shows that it writes.
    fn ask(&mut self, claim: &str, own: &Seen<'_>, others: &[Seen<'_>], take: bool, now: Timestamp) -> Sharing {
        let uid = own.claimant.uid;
        let mut others = others.to_vec();
        for other in &mut others {
            other.claimant.writes = self.writes(claim, other);
        }
        let candidates: Vec<_> = others
            .iter()
            .filter(|seen| seen.wants || seen.claimant.writes)
            .map(|seen| seen.claimant.clone())
            .chain([own.claimant.clone()])
            .collect();
        let holder = self.holders.get(claim).map(String::as_str);
        let held = candidates.iter().find(|candidate| candidate.writes && Some(candidate.uid) == holder).cloned();
        let rival = held.or_else(|| claimant::first(&candidates)).filter(|first| first.uid != uid).map(|first| first.name.to_owned());
        let taken_over = own.claimant.writes && holder.is_some_and(|holder| holder != uid);
        let holder_of = |seen: &&Seen<'_>| taken_over && Some(seen.claimant.uid) == holder;
        let mixed = others.iter().find(|seen| seen.claimant.writes).or_else(|| others.iter().find(holder_of));
        // One of the future was recorded under a wrong clock.
        let pulled_since = |seen: &Seen<'_>| seen.synced_at.is_some_and(|time| time <= now && Some(time) > own.synced_at);
        let touched = mixed.is_some() || self.touched.contains(&(uid.to_owned(), claim.to_owned())) || others.iter().any(pulled_since);
        let sharing = Sharing { rival, mixed: mixed.map(|seen| seen.claimant.name.to_owned()), touched, ..Sharing::default() };
        if take && sharing.rival.is_none() {
            let used = |seen: &&Seen<'_>| seen.claimant.synced || Some(seen.claimant.uid) == holder;
            let lose: Vec<_> = others.iter().filter(used).map(|seen| (seen.claimant.uid.to_owned(), claim.to_owned())).collect();
            self.touched.extend(lose);
            self.holders.insert(claim.to_owned(), uid.to_owned());
            self.given.insert(uid.to_owned(), claim.to_owned());
        }
        sharing
    }

    /// Whether this other destination writes to `claim`, or is about to.
    fn writes(&mut self, claim: &str, other: &Seen<'_>) -> bool {
        let uid = other.claimant.uid;
        let wrote = match self.wrote.get(uid) {
            Some(written) if written.at == other.at => None,
            written => written.map(|written| written.claim.as_deref() == Some(claim)),
        };
        if wrote.is_none() {
            self.wrote.remove(uid);
        }
        wrote.unwrap_or(other.claimant.writes) || self.given.get(uid).is_some_and(|given| given == claim)
    }

    /// This status was written.
    fn wrote(&mut self, object: &Object, named: Option<&str>, status: &Status) {
        let claim = written_to(status, named, &object.claim_name()).map(str::to_owned);
        self.wrote.insert(object.uid.clone(), Written { at: at(status.run.as_ref()), claim });
        if status.volume_touched || status.last_sync_time.is_none() {
            self.touched.retain(|(uid, _)| *uid != object.uid);
        }
    }

    /// The reconcile is over: what was given to it counts no more beside what it wrote.
    pub(super) fn settled(&mut self, uid: &str) {
        self.given.remove(uid);
        self.pushes.settled(uid);
    }

    /// Forgets objects that are gone.
    fn keep(&mut self, there: impl Fn(&str) -> bool) {
        self.wrote.retain(|uid, _| there(uid));
        self.touched.retain(|(uid, _)| there(uid));
        let given = &self.given;
        self.holders.retain(|_, uid| there(uid) || given.contains_key(uid));
    }
}

/// What other destinations do with the PVC that this object pulls into; with `take`, it is given out.
pub(super) fn ask(context: &Context, facts: &Facts, take: bool) -> Sharing {
    let object = &facts.object;
    if object.kind == Kind::Source {
        return Sharing { pulled_by: pushes::pulled_by(context, facts, take), ..Sharing::default() };
    }
    let named = object.pulls_into(&facts.spec);
    let claim = named.map_or_else(|| object.claim_name(), str::to_owned);
    // The cache is read under the lock: what was written is forgotten as soon as anyone has seen it there.
    let mut claims = context.claims();
    let all = context.objects.destinations.state();
    let others: Vec<_> = all
        .iter()
        .filter(|other| other.metadata.uid.as_deref() != Some(object.uid.as_str()))
        .filter_map(|other| seen(other, &claim))
        .collect();
    let own = view(&object.uid, &object.name, named, &facts.status, object.created, &claim);
    claims.keep(|uid| uid == object.uid || others.iter().any(|other| other.claimant.uid == uid));
    let pushed_by = pushed_by(context, &mut claims.pushes, facts);
    // What is refused because of its source is given to nobody.
    let take = take && pushed_by.is_none();
    let sharing = claims.ask(&claim, &Seen { wants: true, ..own }, &others, take, Timestamp::now());
    if let Some(place) = pushes::place(facts).filter(|_| take && sharing.rival.is_none()) {
        claims.pushes.give(&object.uid, place);
    }
    Sharing { pushed_by, ..sharing }
}

/// The source that pushes this PVC to the path that the destination pulls.
fn pushed_by(context: &Context, known: &mut Pushes, facts: &Facts) -> Option<String> {
    let place = pushes::place(facts)?;
    let all = context.objects.sources.state();
    let pushing = all
        .iter()
        .filter(|source| pushes(source, &place, |uid| uncut::any(&context.cache, uid)) || pushes::has_begun(known, source, &place));
    let (jobs, pods) = (context.cache.jobs.state(), context.cache.pods.state());
    let reading = jobs.iter().filter_map(|job| pushes::reads(job, pods.iter().map(Arc::as_ref), &place));
    // The order of the store is none.
    pushing.filter_map(|source| source.metadata.name.clone()).chain(reading).min()
}

/// The same by what is stored, where a pull into a PVC of the user's is to begin: of two objects that were created together, the cache may show
/// the destination first.
pub(super) async fn pushed_by_now(context: &Context, facts: &Facts) -> kube::Result<Option<String>> {
    let of_the_users = facts.spec.as_ref().is_ok_and(|spec| spec.pulls_into().is_some());
    let begins = !facts.status.run.as_ref().is_some_and(writes);
    let Some(place) = pushes::place(facts).filter(|_| of_the_users && begins) else { return Ok(None) };
    context.reader.first(|source| pushes(source, &place, |uid| uncut::any(&context.cache, uid))).await
}

/// Whether this source pushes the PVC there, or still has to end a sync, or a copy that it asked for.
fn pushes(source: &ReplicationSource, place: &Place, is_copied: impl Fn(&str) -> bool) -> bool {
    let works = || source.status.as_ref().and_then(|status| status.run.as_ref()).is_some_and(claimant::pushes);
    let copies = || source.metadata.uid.as_deref().is_some_and(&is_copied);
    let deleted = source.metadata.deletion_timestamp.is_some();
    Place::of_source(&source.spec).is(place) && !deleted && (!source.spec.paused || works() || copies())
}

/// This status of the object was written, or sent.
pub(super) fn wrote(context: &Context, facts: &Facts, status: &Status) {
    keep(context, &facts.object, &facts.spec, status);
}

/// This is stored, read afresh; the cache may be behind it.
pub(super) fn stored(context: &Context, read: &Replication) {
    keep(context, &read.object, &read.spec, &read.status);
}

fn keep(context: &Context, object: &Object, spec: &Result<Spec, InvalidSpec>, status: &Status) {
    let (mut claims, objects) = (context.claims(), &context.objects);
    pushes::wrote(&mut claims.pushes, object, spec, status);
    if claims.pushes.len() > objects.count() {
        claims.pushes.keep(|uid| objects.has(uid));
    }
    if object.kind == Kind::Destination {
        claims.wrote(object, object.pulls_into(spec), status);
    }
}

/// The PVC that a destination of this status writes to; `own` is the one that is created for it.
fn written_to<'a>(status: &'a Status, named: Option<&'a str>, own: &'a str) -> Option<&'a str> {
    let run = status.run.as_ref().filter(|run| writes(run))?;
    Some(run.subject.as_ref().map_or(named, |subject| subject.claim.as_deref()).unwrap_or(own))
}

fn seen<'a>(object: &'a ReplicationDestination, claim: &str) -> Option<Seen<'a>> {
    static NONE: std::sync::LazyLock<Status> = std::sync::LazyLock::new(Status::default);
    let meta = &object.metadata;
    let (uid, name) = (meta.uid.as_deref()?, meta.name.as_deref()?);
    let status = object.status.as_ref().unwrap_or(&NONE);
    let created = meta.creation_timestamp.as_ref().map(|time| time.0);
    let mut seen = view(uid, name, object.spec.rclone.destination_pvc.as_deref(), status, created, claim);
    if meta.deletion_timestamp.is_some() {
        // Its mover is found by its Job and pod.
        (seen.wants, seen.claimant.writes) = (false, false);
    }
    Some(seen)
}

fn view<'a>(uid: &'a str, name: &'a str, named: Option<&str>, status: &Status, created: Option<Timestamp>, claim: &str) -> Seen<'a> {
    let own = names::volume(name);
    let is = |named: Option<&str>| named.unwrap_or(&own) == claim;
    let synced = status.synced.as_ref().is_some_and(|synced| is(synced.claim.as_deref()));
    let claimant = Claimant { uid, name, writes: written_to(status, named, &own) == Some(claim), owns: own == claim, synced, created };
    let synced_at = status.last_sync_time.as_ref().map(|time| time.0).filter(|_| synced);
    Seen { claimant, wants: is(named), synced_at, at: at(status.run.as_ref()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const CLAIM: &str = "data";

    fn status(phase: Option<&str>) -> Status {
        let time = "1970-01-01T00:00:00.000000Z";
        let run =
            phase.map(|phase| json!({ "id": "r", "phase": phase, "startTime": time, "attempt": 1, "phaseTime": time, "generation": 1 }));
        serde_json::from_value(json!({ "run": run })).unwrap()
    }

    fn synced(second: i64) -> Status {
        let time = Timestamp::from_second(second).unwrap().to_string();
        let subject = json!({ "remote": "r:p", "claim": CLAIM, "layout": "Files" });
        serde_json::from_value(json!({ "lastSyncTime": time, "synced": subject })).unwrap()
    }

    fn seen<'a>(uid: &'a str, named: &str, status: &Status) -> Seen<'a> {
        view(uid, uid, Some(named), status, None, CLAIM)
    }

    fn object(uid: &str) -> Object {
        Object { destination_pvc: Some(CLAIM.into()), ..Object::new(Kind::Destination, "ns", uid, uid) }
    }

    fn ask(claims: &mut Claims, own: &Seen<'_>, others: &[Seen<'_>], take: bool) -> Sharing {
        claims.ask(CLAIM, own, others, take, Timestamp::from_second(1000).unwrap())
    }

    /// Neither sees the other's edit, nor what was decided on it: the one that asks first has it, whatever the order of the two is.
    #[test]
    fn a_claim_that_was_given_out_is_not_given_out_again() {
        for (first, second) in [("a", "b"), ("b", "a")] {
            let (mut claims, idle) = (Claims::default(), status(None));
            let old = |uid: &'static str| seen(uid, "elsewhere", &idle);
            assert_eq!(ask(&mut claims, &seen(first, CLAIM, &idle), &[old(second)], true).rival, None);
            let refused = |claims: &mut Claims| ask(claims, &seen(second, CLAIM, &idle), &[old(first)], true).rival;
            assert_eq!(refused(&mut claims), Some(first.to_owned()), "not written yet");
            claims.wrote(&object(first), Some(CLAIM), &status(Some("Transferring")));
            claims.settled(first);
            assert_eq!(refused(&mut claims), Some(first.to_owned()), "not shown yet");
            let shown = status(Some("Transferring"));
            assert_eq!(ask(&mut claims, &seen(second, CLAIM, &idle), &[seen(first, CLAIM, &shown)], true).rival, Some(first.to_owned()));
            claims.wrote(&object(first), Some(CLAIM), &status(Some("Backoff")));
            assert_eq!(ask(&mut claims, &seen(second, CLAIM, &idle), &[seen(first, "elsewhere", &shown)], true).rival, None, "given back");
        }
    }

    /// A status whose answer was lost shows that it writes only after another one was given the PVC: that one keeps it.
    #[test]
    fn the_one_that_was_given_the_claim_last_keeps_it() {
        let (mut claims, idle, writing) = (Claims::default(), status(None), status(Some("Transferring")));
        assert_eq!(ask(&mut claims, &seen("a", CLAIM, &idle), &[seen("b", "elsewhere", &idle)], true).rival, None);
        claims.settled("a");
        assert_eq!(ask(&mut claims, &seen("b", CLAIM, &idle), &[seen("a", "elsewhere", &idle)], true).rival, None);
        claims.wrote(&object("b"), Some(CLAIM), &writing);
        claims.settled("b");
        let late = ask(&mut claims, &seen("a", CLAIM, &writing), &[seen("b", CLAIM, &writing)], true);
        assert_eq!((late.rival, late.mixed, late.touched), (Some("b".to_owned()), Some("b".to_owned()), true));
        let kept = ask(&mut claims, &seen("b", CLAIM, &writing), &[seen("a", CLAIM, &writing)], true);
        assert_eq!((kept.rival, kept.mixed), (None, Some("a".to_owned())), "nor is its result good");
    }

    /// A pull would delete what was written since the push. Another path is a chain, and a source that is paused pushes nothing once its sync
    /// has ended.
    #[test]
    fn a_source_pushes_the_claim_by_its_spec_and_its_run() {
        let of = |secret: &str| json!({ "rcloneConfig": secret, "rcloneConfigSection": "r", "rcloneDestPath": "bucket/p" });
        let place = |secret: &str| Place::of_source(&serde_json::from_value(json!({ "sourcePVC": CLAIM, "rclone": of(secret) })).unwrap());
        let source = |claim: &str, path: &str, paused: bool, phase: Option<&str>| -> ReplicationSource {
            let rclone = json!({ "rcloneConfig": "s", "rcloneConfigSection": "r", "rcloneDestPath": path });
            let spec = json!({ "sourcePVC": claim, "paused": paused, "rclone": rclone });
            serde_json::from_value(json!({ "metadata": { "name": "app", "uid": "app" }, "spec": spec, "status": status(phase) })).unwrap()
        };
        for (claim, path, paused, phase, expected) in [
            (CLAIM, "bucket/p", false, None, true),
            (CLAIM, "bucket/p/", false, Some("Backoff"), true),
            (CLAIM, "/bucket//p", false, None, true),
            (CLAIM, "bucket/p", true, Some("Transferring"), true),
            (CLAIM, "bucket/p", true, Some("Backoff"), false),
            (CLAIM, "bucket/p", true, None, false),
            (CLAIM, "bucket/another", false, None, false),
            ("other", "bucket/p", false, None, false),
        ] {
            assert_eq!(pushes(&source(claim, path, paused, phase), &place("s"), |_| false), expected, "{claim} {path} {paused} {phase:?}");
        }
        let mut deleted = source(CLAIM, "bucket/p", false, None);
        deleted.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH));
        assert!(!pushes(&deleted, &place("s"), |_| true));
        assert!(!pushes(&source(CLAIM, "bucket/p", false, None), &place("another"), |_| true));
        let paused = source(CLAIM, "bucket/p", true, Some("Backoff"));
        assert!(pushes(&paused, &place("s"), |_| true) && !pushes(&paused, &place("s"), |_| false), "its snapshot is not taken yet");
    }

    /// What was only looked at is not taken, and what was not used is free again.
    #[test]
    fn a_claim_that_is_not_used_is_given_back() {
        let (mut claims, idle) = (Claims::default(), status(None));
        for take in [false, true] {
            assert_eq!(ask(&mut claims, &seen("b", CLAIM, &idle), &[seen("a", "elsewhere", &idle)], take).rival, None);
            claims.settled("b");
            assert_eq!(ask(&mut claims, &seen("a", CLAIM, &idle), &[seen("b", "elsewhere", &idle)], false).rival, None);
        }
    }

    /// Until a status records it, be the other one deleted meanwhile; and after a restart by what the other's status shows.
    #[test]
    fn a_volume_that_another_was_given_is_touched() {
        let (mut claims, idle, here) = (Claims::default(), status(None), synced(100));
        let own = seen("a", CLAIM, &here);
        assert!(!ask(&mut claims, &own, &[], false).touched);
        assert_eq!(ask(&mut claims, &seen("b", CLAIM, &idle), &[seen("a", "elsewhere", &here)], true).rival, None);
        claims.settled("b");
        assert!(ask(&mut claims, &own, &[], false).touched);
        assert!(!claims.ask("another", &own, &[], false, Timestamp::MAX).touched, "what it has left is no matter to its new PVC");
        claims.wrote(&object("a"), Some(CLAIM), &Status { volume_touched: true, ..here.clone() });
        assert!(!ask(&mut claims, &own, &[], false).touched);
        for (second, touched) in [(99, false), (101, true), (2000, false)] {
            assert_eq!(ask(&mut Claims::default(), &own, &[seen("b", "elsewhere", &synced(second))], false).touched, touched, "{second}");
        }
    }
}
