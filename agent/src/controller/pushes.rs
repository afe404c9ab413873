//! Sources and destinations of one PVC and path: neither begins while the other is at work. Kept under the lock of `claims`, because a cache
//! does not show yet what this agent has just let begin.

use super::Context;
use crate::api::status::{Phase, Run, UnfinishedPull};
use crate::api::{ReplicationDestination, ReplicationSource, Status, labels};
use crate::cluster::{slim, view};
use crate::core::model::claimant;
use crate::core::model::facts::{Facts, Kind, Object};
use crate::core::model::names;
use crate::core::model::place::{Place, one_remote};
use crate::core::model::spec::{InvalidSpec, Spec};
use crate::core::model::subject::{self, Named};
use std::collections::HashMap;

/// Where a run is.
pub(super) type At = (String, i64, Phase);

/// Where this run is.
pub(super) fn at(run: Option<&Run>) -> Option<At> {
    run.map(|run| (run.id.clone(), run.attempt, run.phase))
}

/// Where a run is, and what is pulled in part. An older CRD drops the latter: what was written is then never seen in the cache, and counts on.
type Since = (Option<At>, Vec<UnfinishedPull>);

fn since(status: Option<&Status>) -> Since {
    (at(status.and_then(|status| status.run.as_ref())), status.map(|status| status.unfinished_pulls.clone()).unwrap_or_default())
}

/// What this agent knows better than the cache, by UID. Nothing in it expires: a watch may be behind for any time.
#[derive(Debug, Default)]
pub struct Pushes {
    /// What a reconcile that is not over may begin.
    given: HashMap<String, Place>,
    /// Where a run is by what was written, and what it is at work on since. One that has ended is forgotten: that the cache still shows it at work
    /// makes others wait for a moment longer.
    wrote: HashMap<String, (Since, Vec<Place>)>,
}

impl Pushes {
    /// A reconcile of this object may begin.
    pub(super) fn give(&mut self, uid: &str, place: Place) {
        self.given.insert(uid.to_owned(), place);
    }

    /// The reconcile is over.
    pub(super) fn settled(&mut self, uid: &str) {
        self.given.remove(uid);
    }

    /// How many objects it knows of.
    pub(super) fn len(&self) -> usize {
        self.wrote.len()
    }

    /// Forgets objects that are gone.
    pub(super) fn keep(&mut self, there: impl Fn(&str) -> bool) {
        self.wrote.retain(|uid, _| there(uid));
    }

    /// Whether the object is at work there; `at` tells where its run is, as the cache shows it, and `shown` what it is at work on by that.
    fn works(&mut self, uid: &str, at: impl FnOnce() -> Since, shown: impl FnOnce() -> Vec<Place>, place: &Place) -> bool {
        let is_one = |works: &[Place]| works.iter().any(|works| works.is(place));
        if self.given.get(uid).is_some_and(|given| given.is(place)) {
            return true;
        }
        match self.wrote.get(uid).filter(|(wrote, _)| *wrote != at()) {
            Some((_, works)) => is_one(works),
            None => {
                self.wrote.remove(uid);
                is_one(&shown())
            }
        }
    }
}

/// What an object of this kind and status is at work on; `place` is what its spec names.
fn at_work(kind: Kind, status: &Status, place: Option<Place>, generation: i64, own: &str) -> Vec<Place> {
    // While an image of a volume is created, all that is pulled is there.
    let works = |run: &&Run| if kind == Kind::Source { claimant::pushes(run) } else { run.phase == Phase::Transferring };
    let of_run = status.run.as_ref().filter(works).and_then(|run| {
        let edited = place.is_none() || run.generation != generation;
        let of_its_own = run.subject.as_ref().filter(|_| edited).map(|subject| Place::of_subject(subject, own));
        of_its_own.or(place)
    });
    of_run.into_iter().chain(status.unfinished_pulls.iter().map(Place::of_pull)).collect()
}

/// This status of the object was written, or sent, or is stored.
pub(super) fn wrote(pushes: &mut Pushes, object: &Object, spec: &Result<Spec, InvalidSpec>, status: &Status) {
    let place = spec.as_ref().ok().map(|spec| Place::of(object, spec));
    let works = at_work(object.kind, status, place, object.generation, &object.claim_name());
    if works.is_empty() {
        pushes.wrote.remove(&object.uid);
    } else {
        pushes.wrote.insert(object.uid.clone(), (since(Some(status)), works));
    }
}

/// What the object of these facts pushes or pulls into.
pub(super) fn place(facts: &Facts) -> Option<Place> {
    facts.spec.as_ref().ok().map(|spec| Place::of(&facts.object, spec))
}

/// The destination that has begun to pull what this source pushes into its PVC; with `take`, the source begins.
pub(super) fn pulled_by(context: &Context, facts: &Facts, take: bool) -> Option<String> {
    let place = place(facts)?;
    // The cache is read under the lock: what was written is forgotten as soon as anyone has seen it there.
    let pushes = &mut context.claims().pushes;
    let all = context.objects.destinations.state();
    let names = all.iter().filter(|destination| pulls(pushes, destination, &place)).filter_map(|d| d.metadata.name.clone());
    // The order of the store is none.
    let first = names.min();
    if take && first.is_none() {
        pushes.give(&facts.object.uid, place);
    }
    first
}

/// The same by what is stored, as long as the cache has never had a list of destinations: that it shows none proves nothing.
pub(super) async fn pulled_by_now(context: &Context, facts: &Facts) -> kube::Result<Option<String>> {
    let unlisted = facts.object.kind == Kind::Source && !context.objects.has_listed_destinations();
    let Some(place) = place(facts).filter(|_| unlisted) else { return Ok(None) };
    context.reader.first(|destination| pulls(&mut context.claims().pushes, destination, &place)).await
}

fn pulls(pushes: &mut Pushes, destination: &ReplicationDestination, place: &Place) -> bool {
    static NONE: std::sync::LazyLock<Status> = std::sync::LazyLock::new(Status::default);
    let (meta, spec) = (&destination.metadata, &destination.spec);
    let (Some(uid), Some(name)) = (meta.uid.as_deref(), meta.name.as_deref()) else { return false };
    if meta.deletion_timestamp.is_some() {
        return false; // its mover is found by its Job
    }
    let (status, own) = (destination.status.as_ref().unwrap_or(&NONE), names::volume(name));
    let claim = spec.rclone.destination_pvc.as_deref().unwrap_or(&own);
    let shown = || {
        // Most are of other claims, and cost nothing.
        let of_run = status.run.as_ref().and_then(|run| run.subject.as_ref()).map(|subject| subject.claim.as_deref().unwrap_or(&own));
        let unfinished = status.unfinished_pulls.iter().map(|pull| pull.claim.as_str());
        if !unfinished.chain(of_run).chain([claim]).any(|may_be| may_be == place.claim) {
            return Vec::new();
        }
        let here = Place::new(claim, &Named::by_destination(spec), &spec.rclone.shared.rclone_config);
        at_work(Kind::Destination, status, Some(here), meta.generation.unwrap_or_default(), &own)
    };
    pushes.works(uid, || since(Some(status)), shown, place)
}

/// Whether this source has begun to push there, where the cache does not show it yet.
pub(super) fn has_begun(pushes: &mut Pushes, source: &ReplicationSource, place: &Place) -> bool {
    source.metadata.uid.as_deref().is_some_and(|uid| pushes.works(uid, || since(source.status.as_ref()), Vec::new, place))
}

/// The source whose mover reads the PVC in place and pushes it there: on a node that is lost it may outlive its sync. By these pods it may be
/// known to have ended before its Job shows it.
pub(super) fn reads<'a>(job: &slim::Job, pods: impl Iterator<Item = &'a slim::Pod>, place: &Place) -> Option<String> {
    let (meta, spec) = (&job.metadata, &job.spec.template.spec);
    if view::has_ended(job) || meta.name.as_deref().is_none_or(names::is_destination_job) {
        return None;
    }
    // Another one mounts a copy.
    let mounted =
        spec.volumes.iter().filter_map(|volume| volume.persistent_volume_claim.as_ref()).any(|used| used.claim_name == place.claim);
    let subject = meta.annotations.as_ref()?.get(labels::SUBJECT).and_then(|text| subject::parse(text))?;
    let pushes = mounted && one_remote(&subject.remote, &place.remote) && subject.claim.as_ref() == Some(&place.claim);
    let owner = meta.owner_references.as_ref()?.first()?;
    (pushes && !view::has_worked(job, pods)).then(|| owner.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::validate;
    use serde_json::json;
    use std::iter;

    fn status(phase: &str, unfinished: Option<(&str, &str)>) -> Status {
        let time = "1970-01-01T00:00:00.000000Z";
        let subject = json!({ "remote": "r:bucket/p", "claim": "data", "layout": "Files" });
        let run =
            json!({ "id": "r", "phase": phase, "startTime": time, "attempt": 1, "phaseTime": time, "generation": 1, "subject": subject });
        let pull = |(claim, path): (&str, &str)| json!({ "claim": claim, "remote": path, "run": "r", "attempt": 1 });
        serde_json::from_value(json!({ "run": run, "unfinishedPulls": unfinished.map(pull).into_iter().collect::<Vec<_>>() })).unwrap()
    }

    /// As the pull begins that `destination` asks for.
    const BEGUN: Option<(&str, &str)> = Some(("data", "r:bucket/p"));

    fn destination(claim: Option<&str>, (secret, path): (&str, &str), status: &Status) -> ReplicationDestination {
        let rclone = json!({ "rcloneConfig": secret, "rcloneConfigSection": "r", "rcloneDestPath": path, "destinationPVC": claim });
        let meta = json!({ "name": "back", "uid": "back", "generation": 1 });
        serde_json::from_value(json!({ "metadata": meta, "spec": { "rclone": rclone }, "status": status })).unwrap()
    }

    fn source(status: &Status) -> ReplicationSource {
        let rclone = json!({ "rcloneConfig": "s", "rcloneConfigSection": "r", "rcloneDestPath": "bucket/p" });
        let meta = json!({ "name": "app", "uid": "app", "generation": 1 });
        serde_json::from_value(json!({ "metadata": meta, "spec": { "sourcePVC": "data", "rclone": rclone }, "status": status })).unwrap()
    }

    fn place() -> Place {
        Place { claim: "data".into(), remote: "r:bucket/p".into(), secret: Some("s".into()) }
    }

    /// While its mover works, and between attempts; not where it is another place, or where all of it is there.
    #[test]
    fn a_destination_pulls_until_its_sync_has_succeeded() {
        let here = ("s", "bucket/p/");
        for (claim, path, phase, begun, expected) in [
            (Some("data"), here, "Transferring", None, true),
            (Some("data"), here, "Backoff", BEGUN, true),
            (Some("data"), here, "WaitingForFirstPush", BEGUN, true),
            (Some("data"), here, "Backoff", None, false),
            (Some("data"), here, "Publishing", None, false),
            (Some("other"), here, "Transferring", None, false),
            (None, here, "Transferring", None, false),
            (Some("data"), ("s", "/bucket//p"), "Transferring", None, true),
            (Some("data"), ("s", "bucket/chain"), "Transferring", None, false),
            (Some("data"), ("another", "bucket/p"), "Transferring", None, false),
            // Edited since: what is pulled in part stays so, and what the spec names now is not.
            (Some("other"), ("s", "bucket/other"), "Backoff", BEGUN, true),
            // Its keys are in another Secret now.
            (Some("data"), ("another", "bucket/p"), "Backoff", BEGUN, true),
            (Some("data"), here, "Backoff", Some(("other", "r:bucket/p")), false),
            (Some("data"), here, "Backoff", Some(("data", "r:bucket/other")), false),
        ] {
            let object = destination(claim, path, &status(phase, begun));
            assert_eq!(pulls(&mut Pushes::default(), &object, &place()), expected, "{claim:?} {path:?} {phase} {begun:?}");
        }
        let own = destination(None, here, &status("Transferring", None));
        let of_its_own = Place { claim: "scribe-dest-back".into(), ..place() };
        assert!(pulls(&mut Pushes::default(), &own, &of_its_own), "a volume of its own that a source pushes");
        let mut edited = destination(Some("elsewhere"), ("another", "bucket/elsewhere"), &status("Transferring", None));
        edited.metadata.generation = Some(2);
        assert!(pulls(&mut Pushes::default(), &edited, &place()), "its run is of the spec before");
        edited.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH));
        assert!(!pulls(&mut Pushes::default(), &edited, &place()), "its Job tells");
    }

    fn object(kind: Kind, name: &str, spec: &serde_json::Value) -> (Object, Result<Spec, InvalidSpec>) {
        let spec = match kind {
            Kind::Source => validate::source(&serde_json::from_value(spec.clone()).unwrap(), name),
            Kind::Destination => validate::destination(&serde_json::from_value(spec.clone()).unwrap(), name),
        };
        (Object::new(kind, "ns", name, name), spec)
    }

    /// What was let begin, and what was written, counts before the cache shows it, and not after it shows what came then.
    #[test]
    fn what_has_begun_is_known_before_the_cache_shows_it() {
        let rclone = json!({ "rcloneConfig": "s", "rcloneConfigSection": "r", "rcloneDestPath": "bucket/p", "destinationPVC": "data" });
        let (back, spec) = object(Kind::Destination, "back", &json!({ "rclone": rclone }));
        let (idle, works, failed) = (Status::default(), status("Transferring", BEGUN), status("Backoff", BEGUN));
        let shows = |status: &Status| destination(Some("data"), ("s", "bucket/p"), status);
        let mut pushes = Pushes::default();
        pushes.give("back", place());
        assert!(pulls(&mut pushes, &shows(&idle), &place()), "given");
        wrote(&mut pushes, &back, &spec, &works);
        pushes.settled("back");
        assert!(pulls(&mut pushes, &shows(&idle), &place()), "written");
        wrote(&mut pushes, &back, &spec, &failed);
        assert!(pulls(&mut pushes, &shows(&idle), &place()), "and failed");
        assert!(pulls(&mut pushes, &shows(&status("Backoff", None)), &place()), "and an older CRD has dropped since when");
        wrote(&mut pushes, &back, &spec, &idle);
        assert!(!pulls(&mut pushes, &shows(&idle), &place()) && pushes.wrote.is_empty(), "done");
        wrote(&mut pushes, &back, &spec, &works);
        assert!(pulls(&mut pushes, &shows(&works), &place()) && !pulls(&mut pushes, &shows(&idle), &place()), "the cache has caught up");
        let broken = Err(InvalidSpec("bad".into()));
        wrote(&mut pushes, &back, &broken, &failed);
        assert!(pulls(&mut pushes, &shows(&idle), &place()), "its spec is invalid by now, and its run is not");

        let rclone = json!({ "rcloneConfig": "s", "rcloneConfigSection": "r", "rcloneDestPath": "bucket/p" });
        let (app, spec) = object(Kind::Source, "app", &json!({ "sourcePVC": "data", "rclone": rclone }));
        let captures = status("Capturing", None);
        assert!(!has_begun(&mut pushes, &source(&idle), &place()));
        pushes.give("app", place());
        assert!(has_begun(&mut pushes, &source(&idle), &place()));
        wrote(&mut pushes, &app, &spec, &captures);
        pushes.settled("app");
        assert!(has_begun(&mut pushes, &source(&idle), &place()));
        assert!(!has_begun(&mut pushes, &source(&captures), &place()), "seen, and from here on the cache tells");
        pushes.keep(|_| false);
        assert!(pushes.wrote.is_empty());
    }

    /// Of a copy it reads nothing that a pull changes.
    #[test]
    fn a_mover_that_reads_in_place_is_known_without_its_sync() {
        let job = |name: &str, claim: &str, path: &str, conditions: serde_json::Value| -> slim::Job {
            let subject = json!({ "remote": path, "claim": "data", "layout": "Files" }).to_string();
            let owner = json!({ "apiVersion": "scribe.backube/v1alpha1", "kind": "ReplicationSource", "name": "app", "uid": "app" });
            let meta = json!({ "name": name, "annotations": { labels::SUBJECT: subject }, "ownerReferences": [owner] });
            let volumes = json!([{ "name": "volume", "persistentVolumeClaim": { "claimName": claim, "readOnly": true } }]);
            let spec = json!({ "template": { "spec": { "volumes": volumes } } });
            serde_json::from_value(json!({ "metadata": meta, "spec": spec, "status": { "conditions": conditions } })).unwrap()
        };
        let (name, ended) = ("scribe-rclone-src-app", json!([{ "type": "Failed", "status": "True" }]));
        for path in ["r:bucket/p", "r:/bucket//p/"] {
            assert_eq!(reads(&job(name, "data", path, json!([])), iter::empty(), &place()).as_deref(), Some("app"));
        }
        for other in [
            job(name, "scribe-src-app", "r:bucket/p", json!([])),
            job(name, "data", "r:bucket/chain", json!([])),
            job(name, "data", "another:bucket/p", json!([])),
            job(name, "data", "r:bucket/p", ended),
            job("scribe-rclone-dest-app", "data", "r:bucket/p", json!([])),
        ] {
            assert_eq!(reads(&other, iter::empty(), &place()), None, "{other:?}");
        }
    }

    /// Right after a sync, its Job is still there, and does not say that it is complete.
    #[test]
    fn a_mover_whose_container_has_terminated_reads_no_more() {
        let subject = json!({ "remote": "r:bucket/p", "claim": "data", "layout": "Files" }).to_string();
        let owner = json!({ "apiVersion": "scribe.backube/v1alpha1", "kind": "ReplicationSource", "name": "app", "uid": "app" });
        let meta = json!({ "name": "scribe-rclone-src-app", "uid": "job", "annotations": { labels::SUBJECT: subject }, "ownerReferences": [owner] });
        let volumes = json!([{ "name": "volume", "persistentVolumeClaim": { "claimName": "data", "readOnly": true } }]);
        let job: slim::Job =
            serde_json::from_value(json!({ "metadata": meta, "spec": { "template": { "spec": { "volumes": volumes } } } })).unwrap();
        let pod = |job: &str, state: serde_json::Value, deleted: Option<&str>| -> slim::Pod {
            let owner = json!({ "apiVersion": "batch/v1", "kind": "Job", "name": "scribe-rclone-src-app", "uid": job });
            let status = json!({ "phase": "Running", "containerStatuses": [{ "name": "mover", "state": state }] });
            serde_json::from_value(json!({ "metadata": { "ownerReferences": [owner], "deletionTimestamp": deleted }, "status": status }))
                .unwrap()
        };
        let time = "2026-01-01T00:00:00Z";
        let (ended, works) = (json!({ "terminated": { "exitCode": 0, "finishedAt": time } }), json!({ "running": {} }));
        for (pods, expected) in [
            (vec![], Some("app")),
            (vec![pod("job", works.clone(), None)], Some("app")),
            (vec![pod("job", works.clone(), Some(time))], Some("app")),
            (vec![pod("job", json!({}), None)], Some("app")),
            (vec![pod("job", ended.clone(), None), pod("job", works.clone(), None)], Some("app")),
            (vec![pod("an earlier one", ended.clone(), None)], Some("app")),
            (vec![pod("job", ended.clone(), None), pod("another", works, None)], None),
            (vec![pod("job", ended, Some(time))], None),
        ] {
            assert_eq!(reads(&job, pods.iter(), &place()).as_deref(), expected, "{pods:?}");
            let mut suspended = job.clone();
            suspended.status.conditions = serde_json::from_value(json!([{ "type": "Suspended", "status": "False" }])).unwrap();
            assert_eq!(reads(&suspended, pods.iter(), &place()).as_deref(), Some("app"), "it may get another pod");
        }
    }
}
