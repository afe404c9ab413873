//! Finds the warnings of the namespace that explain why something waits.
//!
//! A namespace may have thousands of warnings, of any workload, and many objects that wait: one list a minute serves all of them. Of each page
//! only the last warning about each object that something may wait for is kept.

use super::pace::causes;
use super::read::Reader;
use super::refusal::missing_permission;
use super::slim::ClusterEvent;
use jiff::Timestamp;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// The warnings are read no more often than this for what was already asked about.
pub const AGAIN: Duration = Duration::from_secs(60);
/// What has come into being since the last list is asked about no sooner than this.
pub const SOON: Duration = Duration::from_secs(15);
/// A list that takes longer is given up: a message without a reason is better than none.
const LONGEST: Duration = Duration::from_secs(30);
/// Longer messages are cut.
const LONGEST_TEXT: usize = 1024;

/// The warnings of one namespace, shared by all objects.
#[derive(Clone)]
pub struct Warnings {
    reader: Reader,
    last: Arc<Mutex<Option<List>>>,
    /// What to report where the Role does not allow the list.
    denied: Arc<std::sync::Mutex<Option<String>>>,
}

/// What a list of warnings says about some objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The last warning.
    pub text: Option<String>,
    /// When it is worth asking again.
    pub again: Instant,
}

/// How urgently a reason is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// To report what something waits for.
    Waiting,
    /// To give it up.
    GivingUp,
}

/// What is known of the last list.
#[derive(Debug)]
struct List {
    read: Instant,
    /// Nothing where it could not be read.
    digest: Option<Digest>,
}

/// By the UID of an object, the last warning about it.
#[derive(Debug, Default)]
struct Digest(HashMap<String, Option<Latest>>);

#[derive(Debug)]
struct Latest {
    seen: Option<Timestamp>,
    text: String,
}

impl Warnings {
    /// The warnings that `reader` reads.
    pub fn new(reader: Reader) -> Self {
        Warnings { reader, last: Arc::default(), denied: Arc::default() }
    }

    /// Why something waits for these objects, in groups, of which the first with a warning counts. `all` are the UIDs that anything may wait
    /// for. Nothing where the warnings cannot be read, which is logged when it begins.
    pub async fn about(&self, groups: &[Vec<String>], all: impl FnOnce() -> HashSet<String>, urgency: Urgency) -> Option<Reason> {
        // Held while the list is read: all that ask meanwhile get the same one.
        let mut last = self.last.lock().await;
        if !last.as_ref().is_some_and(|list| list.serves(groups, urgency, Instant::now())) {
            let failed_before = last.as_ref().is_some_and(|list| list.digest.is_none());
            let asked = groups.iter().flatten().cloned();
            let digest = self.read(Digest::of(all().into_iter().chain(asked)), failed_before).await;
            // Its age counts from its end: a slow list must not make the next one due before those who waited for it are served.
            *last = Some(List { read: Instant::now(), digest });
        }
        last.as_ref().and_then(|list| list.reason(groups))
    }

    /// What to report, if the last list was forbidden.
    pub fn denied(&self) -> Option<String> {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn read(&self, mut digest: Digest, failed_before: bool) -> Option<Digest> {
        let read = tokio::time::timeout(LONGEST, self.reader.warnings(|event| digest.fold(event))).await;
        let denied = if let Ok(Err(error)) = &read { missing_permission(error) } else { None };
        *self.denied.lock().unwrap_or_else(PoisonError::into_inner) = denied;
        let error = match read {
            Ok(Ok(())) => return Some(digest),
            Ok(Err(error)) => causes(&error),
            Err(_) => format!("no complete list within {} seconds", LONGEST.as_secs()),
        };
        if !failed_before {
            tracing::warn!(error, "cannot list events; failure messages will not include the cluster's reasons");
        }
        None
    }
}

impl List {
    /// Whether this list answers the question, or another one is too early.
    fn serves(&self, groups: &[Vec<String>], urgency: Urgency, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.read);
        let knows = self.digest.as_ref().is_none_or(|digest| digest.knows(groups));
        match urgency {
            Urgency::Waiting => age < if knows { AGAIN } else { SOON },
            Urgency::GivingUp => knows && age < SOON,
        }
    }

    fn reason(&self, groups: &[Vec<String>]) -> Option<Reason> {
        let digest = self.digest.as_ref()?;
        let after = if digest.knows(groups) { AGAIN } else { SOON };
        Some(Reason { text: groups.iter().find_map(|uids| digest.latest(uids)), again: self.read + after })
    }
}

impl Digest {
    /// An empty digest about these objects. They are identified by UID, because names are reused.
    fn of(uids: impl Iterator<Item = String>) -> Self {
        Digest(uids.map(|uid| (uid, None)).collect())
    }

    /// Whether it is about all of these.
    fn knows(&self, groups: &[Vec<String>]) -> bool {
        groups.iter().flatten().all(|uid| self.0.contains_key(uid))
    }

    /// Takes note of an event.
    fn fold(&mut self, event: &ClusterEvent) {
        let Some(latest) = event.involved_object.uid.as_ref().and_then(|uid| self.0.get_mut(uid)) else { return };
        let seen = seen(event);
        if latest.as_ref().is_some_and(|latest| latest.seen > seen) {
            return;
        }
        let (reason, message) = (event.reason.as_deref().unwrap_or_default(), event.message.as_deref().unwrap_or_default());
        let text = format!("{reason}: {}", message.trim()).chars().take(LONGEST_TEXT).collect();
        *latest = Some(Latest { seen, text });
    }

    /// The warning about any of these objects that was seen last, as the cluster reports it.
    fn latest(&self, uids: &[String]) -> Option<String> {
        let known = uids.iter().filter_map(|uid| self.0.get(uid)?.as_ref());
        known.max_by_key(|latest| latest.seen).map(|latest| latest.text.clone())
    }
}

/// When an event was seen last. A repeated one keeps its name and creation time, and reporters fill different fields in.
fn seen(event: &ClusterEvent) -> Option<Timestamp> {
    let repeated = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    let first = event.event_time.as_ref().map(|time| time.0);
    let created = event.metadata.creation_timestamp.as_ref().map(|time| time.0);
    [repeated, last, first, created].into_iter().flatten().max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const OLD: &str = "2026-01-01T00:00:00Z";
    const NEW: &str = "2026-01-01T00:09:00Z";

    fn event(uid: &str, message: &str, created: &str, times: Value) -> ClusterEvent {
        let mut event = json!({ "metadata": { "creationTimestamp": created }, "type": "Warning", "reason": "ProvisioningFailed",
            "message": message, "involvedObject": { "uid": uid } });
        if let (Some(event), Value::Object(times)) = (event.as_object_mut(), times) {
            event.extend(times);
        }
        serde_json::from_value(event).unwrap()
    }

    fn latest(events: &[ClusterEvent], uids: &[String]) -> Option<String> {
        let mut digest = Digest::of(uids.iter().cloned());
        for event in events {
            digest.fold(event);
        }
        digest.latest(uids)
    }

    #[test]
    fn another_objects_warning_is_never_quoted() {
        let events = [event("theirs", "gamma not found", NEW, json!({})), event("ours", "alpha not found\n", OLD, json!({}))];
        assert_eq!(latest(&events, &["ours".to_owned()]).unwrap(), "ProvisioningFailed: alpha not found");
        assert_eq!(latest(&events, &["other".to_owned()]), None);
        assert_eq!(latest(&events, &[]), None);
    }

    /// Events are repeated in place: what counts is when they were seen, not when they were made.
    #[test]
    fn the_one_that_was_seen_last_is_quoted() {
        let at = |time: &str| time.replace('Z', ".000000Z");
        for times in [
            json!({ "lastTimestamp": NEW }),
            json!({ "eventTime": at(NEW), "lastTimestamp": null }),
            json!({ "eventTime": at(OLD), "series": { "count": 3, "lastObservedTime": at(NEW) } }),
        ] {
            let between = event("ours", "earlier", "2026-01-01T00:05:00Z", json!({}));
            let events = [event("ours", "still", OLD, times.clone()), between];
            assert_eq!(latest(&events, &["ours".to_owned()]).unwrap(), "ProvisioningFailed: still", "{times}");
        }
    }

    /// Of a namespace with any number of warnings, no more is kept than one for each object that something may wait for.
    #[test]
    fn nothing_else_is_kept() {
        let mut digest = Digest::of(["ours".to_owned()].into_iter());
        for number in 0..1000 {
            digest.fold(&event(&format!("theirs-{number}"), "words", NEW, json!({})));
            digest.fold(&event("ours", &"x".repeat(5000), NEW, json!({})));
        }
        assert_eq!(digest.0.len(), 1);
        assert_eq!(digest.latest(&["ours".to_owned()]).unwrap().chars().count(), LONGEST_TEXT);
    }

    #[test]
    fn a_list_serves_all_who_ask_for_a_minute() {
        let groups = |uid: &str| [vec![uid.to_owned()], Vec::new()];
        let read = Instant::now();
        let list = List { read, digest: Some(Digest::of(["known".to_owned()].into_iter())) };
        let failed = List { read, digest: None };
        let serves = |list: &List, uid: &str, urgency, after: Duration| list.serves(&groups(uid), urgency, read + after);
        let just_before = |time: Duration| time.saturating_sub(Duration::from_millis(1));
        for (list, uid, waiting, giving_up) in
            [(&list, "known", AGAIN, SOON), (&list, "new", SOON, Duration::ZERO), (&failed, "any", AGAIN, SOON)]
        {
            assert!(serves(list, uid, Urgency::Waiting, just_before(waiting)) && !serves(list, uid, Urgency::Waiting, waiting), "{uid}");
            assert!(!serves(list, uid, Urgency::GivingUp, giving_up), "{uid}");
            assert_eq!(serves(list, uid, Urgency::GivingUp, just_before(giving_up)), !giving_up.is_zero(), "{uid}");
        }
        assert_eq!(list.reason(&groups("known")).unwrap().again, read + AGAIN);
        assert_eq!(list.reason(&groups("new")).unwrap().again, read + SOON);
        assert_eq!(failed.reason(&groups("any")), None);
    }
}
