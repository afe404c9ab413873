//! Finds the warning of the namespace that explains why something waits.

use super::slim::ClusterEvent;
use jiff::Timestamp;

/// The warning about any of these objects that was seen last, as the cluster reports it. Objects are identified by UID, because names are reused.
pub fn latest(events: &[ClusterEvent], uids: &[String]) -> Option<String> {
    let about = |event: &&ClusterEvent| event.involved_object.uid.as_ref().is_some_and(|uid| uids.contains(uid));
    let event = events.iter().filter(about).max_by_key(|event| seen(event))?;
    let (reason, message) = (event.reason.as_deref().unwrap_or_default(), event.message.as_deref().unwrap_or_default());
    Some(format!("{reason}: {}", message.trim()))
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
}
