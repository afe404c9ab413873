//! Reads what a user wrote into a [`Spec`]: parsed, with defaults; or returns a sentence that names the field.
//!
//! Both kinds become one [`Spec`], so that one state machine serves both.

use crate::api::destination::{DestinationCopyMethod, Layout};
use crate::api::guard::DeletionGuard;
use crate::api::pin::PinSpec;
use crate::api::rclone::{AccessMode, RcloneSpec};
use crate::api::retention::RetentionSpec;
use crate::api::source::{SourceCopyMethod, SourceLayout};
use crate::api::trigger::TriggerSpec;
use crate::api::{ReplicationDestinationSpec, ReplicationSourceSpec};
use crate::core::model::pod;
use crate::core::model::retention::Retention;
use crate::core::model::spec::{
    Capture, ClaimShape, DestinationClaim, Guard, InvalidSpec, PushLayout, Remote, SnapshotClass, Spec, Trigger, Volume,
};
use crate::core::syntax::cron::{self, Schedule};
use crate::core::syntax::{go_duration, quantity};
use jiff::{SignedDuration, Timestamp};
use scribe_mover::format::revision::Revision;
use scribe_mover::volume::exclude::Exclude;
use sha2::{Digest, Sha256};

/// Reads the spec of the source with this UID.
///
/// # Errors
/// A sentence that names the field and says what to write instead.
pub fn source(spec: &ReplicationSourceSpec, uid: &str) -> Result<Spec, InvalidSpec> {
    let rclone = &spec.rclone;
    let capture = match rclone.copy_method.unwrap_or(SourceCopyMethod::Snapshot) {
        SourceCopyMethod::Snapshot => Capture::Snapshot(SnapshotClass(rclone.shared.volume_snapshot_class_name.clone())),
        SourceCopyMethod::Clone => Capture::Clone,
        SourceCopyMethod::Direct | SourceCopyMethod::None => Capture::Direct,
    };
    let temporary = shape(rclone.capacity.as_deref(), rclone.access_modes.as_deref(), rclone.storage_class_name.as_deref())?;
    let volume = Volume::Source { claim: spec.source_pvc.clone(), capture, temporary };
    let retain = retain(rclone.retain, rclone.retention.as_ref(), spec.trigger.as_ref())?;
    let layout = match rclone.layout.unwrap_or(SourceLayout::Files) {
        SourceLayout::Packs => PushLayout::Packs { retain: retain.map(Box::new) },
        SourceLayout::Files if retain.is_none() => PushLayout::Files,
        SourceLayout::Files => {
            let field = if rclone.retention.is_some() { "retention" } else { "retain" };
            return Err(InvalidSpec(format!(
                "spec.rclone.{field} says which revisions to keep at the path, and layout Files keeps one: remove it or write layout: Packs"
            )));
        }
    };
    let exclude = rclone.exclude.clone().unwrap_or_default();
    Exclude::check(&exclude).map_err(|problem| InvalidSpec(format!("spec.rclone.exclude: {problem}")))?;
    Ok(Spec { layout, exclude, ..complete(spec.paused, spec.trigger.as_ref(), &rclone.shared, uid, volume)? })
}

/// Reads the spec of the destination with this UID.
///
/// # Errors
/// A sentence that names the field and says what to write instead.
pub fn destination(spec: &ReplicationDestinationSpec, uid: &str) -> Result<Spec, InvalidSpec> {
    let rclone = &spec.rclone;
    let claim = match &rclone.destination_pvc {
        Some(name) => DestinationClaim::Existing(name.clone()),
        None => {
            let shape = shape(rclone.capacity.as_deref(), rclone.access_modes.as_deref(), rclone.storage_class_name.as_deref())?;
            if shape.size.is_none() {
                return Err(InvalidSpec("spec.rclone needs capacity (such as 10Gi) or destinationPVC (an existing claim)".to_owned()));
            }
            DestinationClaim::Private(shape)
        }
    };
    let image = match rclone.copy_method.unwrap_or(DestinationCopyMethod::Snapshot) {
        DestinationCopyMethod::Snapshot => Some(SnapshotClass(rclone.shared.volume_snapshot_class_name.clone())),
        DestinationCopyMethod::Direct | DestinationCopyMethod::None => None,
    };
    let cleanup = rclone.cleanup_temp_pvc == Some(true);
    if cleanup && image.is_none() {
        return Err(InvalidSpec(
            "spec.rclone: cleanupTempPVC would delete the only copy with copyMethod Direct: remove it or use Snapshot".to_owned(),
        ));
    }
    let retain = retain(rclone.retain, rclone.retention.as_ref(), spec.trigger.as_ref())?.unwrap_or_else(|| Retention::last(1));
    let pin = rclone.pin.as_ref().map(|pin| check_pin(pin, rclone.layout)).transpose()?;
    let volume = Volume::Destination { claim, image, retain, cleanup, plain: rclone.layout == Some(Layout::Plain) };
    let set = [
        ("capacity", rclone.capacity.is_some()),
        ("accessModes", rclone.access_modes.is_some()),
        ("storageClassName", rclone.storage_class_name.is_some()),
    ];
    let unused = set.into_iter().filter(|(_, set)| *set && rclone.destination_pvc.is_some()).map(|(field, _)| field).collect();
    Ok(Spec { pin, unused, ..complete(spec.paused, spec.trigger.as_ref(), &rclone.shared, uid, volume)? })
}

/// The pin, which names one revision.
fn check_pin(pin: &PinSpec, layout: Option<Layout>) -> Result<PinSpec, InvalidSpec> {
    let invalid = |what: &str| Err(InvalidSpec(format!("spec.rclone.pin: {what}")));
    match (&pin.revision, &pin.as_of) {
        _ if layout == Some(Layout::Plain) => invalid("it names a revision, and a path of layout Plain has none: remove one of the two"),
        (Some(revision), None) if Revision::parse(revision).is_none() => invalid(&format!(
            "{revision:?} is no revision: write one as status.revision shows it, such as 20261123T042858Z-1c9a77e0-17-5f2e"
        )),
        (None, Some(time)) if time.parse::<Timestamp>().is_err() => {
            invalid(&format!("asOf {time:?} is not a time: write for example 2026-11-23T06:00:00Z"))
        }
        (Some(_), None) | (None, Some(_)) => Ok(pin.clone()),
        (Some(_), Some(_)) | (None, None) => invalid("write revision or asOf, one of the two"),
    }
}

/// Which images a destination keeps, or a source's revisions; none where neither of the two fields is there.
fn retain(number: Option<u32>, rules: Option<&RetentionSpec>, trigger: Option<&TriggerSpec>) -> Result<Option<Retention>, InvalidSpec> {
    let count = |number: Option<u32>| number.and_then(|number| usize::try_from(number).ok()).unwrap_or(0);
    let Some(rules) = rules else { return Ok(number.map(|_| Retention::last(count(number).max(1)))) };
    let invalid = |what: &str| InvalidSpec(format!("spec.rclone.retention: {what}"));
    let [last, hourly, daily, weekly, monthly] = [rules.last, rules.hourly, rules.daily, rules.weekly, rules.monthly].map(count);
    if [last, hourly, daily, weekly, monthly].iter().all(|count| *count == 0) {
        return Err(invalid("write at least one of last, hourly, daily, weekly and monthly, such as {last: 3, daily: 7}"));
    }
    let max_age = rules.max_age.as_deref().map(go_duration::parse).transpose().map_err(|what| invalid(&format!("maxAge {what}")))?;
    let (schedule, time_zone) = trigger.map_or((None, None), |trigger| (trigger.schedule.as_deref(), trigger.time_zone.as_deref()));
    let zone = cron::zone(schedule, time_zone).map_err(|what| InvalidSpec(format!("spec.trigger: {what}")))?;
    Ok(Some(Retention { last, hourly, daily, weekly, monthly, max_age, zone }))
}

/// What both kinds have.
fn complete(paused: bool, when: Option<&TriggerSpec>, shared: &RcloneSpec, uid: &str, volume: Volume) -> Result<Spec, InvalidSpec> {
    let remote = Remote {
        secret: shared.rclone_config.clone(),
        section: shared.rclone_config_section.clone(),
        path: shared.rclone_dest_path.clone(),
    };
    let (trigger, guard, pod) = (trigger(when, uid)?, guard(shared.deletion_guard.as_ref()), shared.pod.clone());
    pod::check(&pod, |field| format!("spec.rclone.{field}")).and_then(|()| pod::check_confined(&pod)).map_err(InvalidSpec)?;
    Ok(Spec { paused, trigger, guard, pod, ..Spec::new(remote, volume) })
}

fn trigger(trigger: Option<&TriggerSpec>, uid: &str) -> Result<Trigger, InvalidSpec> {
    let Some(trigger) = trigger else { return Ok(Trigger::default()) };
    let schedule = match &trigger.schedule {
        None => None,
        Some(text) => Some(Schedule::parse(text, trigger.time_zone.as_deref()).map_err(|e| InvalidSpec(format!("spec.trigger: {e}")))?),
    };
    Ok(Trigger {
        schedule,
        manual: trigger.manual.clone(),
        wait_for_schedule: trigger.run_on_create == Some(false),
        offset: offset(uid, trigger.jitter_seconds.unwrap_or(0)),
    })
}

/// An amount in [0, `seconds`) that is the object's own: names repeat from site to site, UIDs do not.
fn offset(uid: &str, seconds: u32) -> SignedDuration {
    let mut first = [0; 8];
    first.copy_from_slice(&Sha256::digest(uid.as_bytes())[..8]);
    let offset = u64::from_be_bytes(first).checked_rem(u64::from(seconds)).unwrap_or(0);
    SignedDuration::from_secs(i64::try_from(offset).unwrap_or(0))
}

fn guard(guard: Option<&DeletionGuard>) -> Guard {
    let default = Guard::default();
    guard.map_or(default, |g| Guard { percent: g.percent.unwrap_or(default.percent), floor: g.floor.unwrap_or(default.floor) })
}

fn shape(capacity: Option<&str>, modes: Option<&[AccessMode]>, class: Option<&str>) -> Result<ClaimShape, InvalidSpec> {
    let size = match capacity {
        None => None,
        Some(text) => Some(
            quantity::bytes(text)
                .filter(|size| *size > 0)
                .ok_or_else(|| InvalidSpec(format!("spec.rclone.capacity {text:?} is not a size: write for example 10Gi")))?,
        ),
    };
    Ok(ClaimShape {
        size,
        access_modes: modes.map(|modes| modes.iter().map(|m| m.as_str().to_owned()).collect()),
        storage_class: class.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    proptest::proptest! {
        /// The offset is in range, the same at every reading, and differs from object to object.
        #[test]
        fn offsets_are_stable_and_in_range(uid in "[0-9a-f-]{36}", seconds in 1u32..=86_400) {
            let moved = offset(&uid, seconds);
            proptest::prop_assert!(moved >= SignedDuration::ZERO && moved < SignedDuration::from_secs(seconds.into()));
            proptest::prop_assert_eq!(moved, offset(&uid, seconds));
            proptest::prop_assert_eq!(offset(&uid, 0), SignedDuration::ZERO);
        }
    }

    #[test]
    fn offsets_spread() {
        let all: std::collections::BTreeSet<_> = (0..200).map(|n| offset(&format!("uid-{n}"), 120)).collect();
        assert!(all.len() > 80, "{} different offsets of 120", all.len());
    }

    /// The spec that is written so, beside what is required.
    fn read_source(rclone: Value, trigger: &Value) -> Result<Spec, String> {
        source(&serde_json::from_value(whole(rclone, trigger)).unwrap(), "uid").map_err(|InvalidSpec(problem)| problem)
    }

    fn read_destination(rclone: Value, trigger: &Value) -> Result<Spec, String> {
        destination(&serde_json::from_value(whole(rclone, trigger)).unwrap(), "uid").map_err(|InvalidSpec(problem)| problem)
    }

    fn whole(mut rclone: Value, trigger: &Value) -> Value {
        let required = json!({ "rcloneConfig": "secret", "rcloneConfigSection": "s3", "rcloneDestPath": "bucket/path" });
        rclone.as_object_mut().unwrap().extend(required.as_object().unwrap().clone());
        json!({ "sourcePVC": "data", "trigger": trigger, "rclone": rclone })
    }

    #[test]
    fn a_source_says_how_it_is_captured() {
        let class = |name: Option<&str>| Capture::Snapshot(SnapshotClass(name.map(str::to_owned)));
        for (rclone, expected) in [
            (json!({}), class(None)),
            (json!({ "copyMethod": "Snapshot", "volumeSnapshotClassName": "fast" }), class(Some("fast"))),
            (json!({ "copyMethod": "Clone" }), Capture::Clone),
            (json!({ "copyMethod": "Direct" }), Capture::Direct),
            (json!({ "copyMethod": "None" }), Capture::Direct),
        ] {
            let spec = read_source(rclone, &Value::Null).unwrap();
            assert_eq!(spec.volume, Volume::Source { claim: "data".into(), capture: expected, temporary: ClaimShape::default() });
            assert_eq!(spec.remote, Remote { secret: "secret".into(), section: "s3".into(), path: "bucket/path".into() });
            assert_eq!(spec.guard, Guard { percent: 90, floor: 10 });
        }
        let guard = json!({ "deletionGuard": { "percent": 50, "floor": 3 } });
        assert_eq!(read_source(guard, &Value::Null).unwrap().guard, Guard { percent: 50, floor: 3 });
    }

    #[test]
    fn a_source_says_how_its_path_is_laid_out() {
        for (rclone, expected) in [
            (json!({}), PushLayout::Files),
            (json!({ "layout": "Files" }), PushLayout::Files),
            (json!({ "layout": "Packs" }), PushLayout::Packs { retain: None }),
            (json!({ "layout": "Packs", "retain": 3 }), PushLayout::Packs { retain: Some(Box::new(Retention::last(3))) }),
            (
                json!({ "layout": "Packs", "retain": 30, "retention": { "last": 2 } }),
                PushLayout::Packs { retain: Some(Box::new(Retention::last(2))) },
            ),
        ] {
            assert_eq!(read_source(rclone, &Value::Null).unwrap().layout, expected);
        }
        let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
        let expected = PushLayout::Packs { retain: Some(Box::new(Retention { daily: 7, zone, ..Retention::last(0) })) };
        let daily = json!({ "layout": "Packs", "retention": { "daily": 7 } });
        assert_eq!(read_source(daily, &json!({ "timeZone": "Europe/Berlin" })).unwrap().layout, expected);
        for (field, value) in [("retain", json!(3)), ("retention", json!({ "daily": 7 }))] {
            let error = read_source(json!({ field: value }), &Value::Null).unwrap_err();
            assert!(error.starts_with(&format!("spec.rclone.{field} ")) && error.ends_with("write layout: Packs"), "{error}");
        }
    }

    #[test]
    fn a_source_says_what_it_leaves_out() {
        assert!(read_source(json!({}), &Value::Null).unwrap().exclude.is_empty());
        assert_eq!(read_source(json!({ "exclude": ["*.tmp", "!keep.tmp"] }), &Value::Null).unwrap().exclude, ["*.tmp", "!keep.tmp"]);
        for (pattern, advice) in [("[a", "\\["), ("a**/b", "**"), ("# note", "\\#")] {
            let error = read_source(json!({ "exclude": ["fine", pattern] }), &Value::Null).unwrap_err();
            let begins = error.starts_with(&format!("spec.rclone.exclude: pattern {pattern:?} "));
            assert!(begins && error.contains(advice), "{error}");
        }
    }

    #[test]
    fn a_claim_is_described() {
        let rclone = json!({ "capacity": "1Gi", "accessModes": ["ReadWriteMany"], "storageClassName": "fast" });
        let shape =
            ClaimShape { size: Some(1 << 30), access_modes: Some(vec!["ReadWriteMany".into()]), storage_class: Some("fast".into()) };
        match (read_source(rclone.clone(), &Value::Null).unwrap().volume, read_destination(rclone, &Value::Null).unwrap().volume) {
            (Volume::Source { temporary, .. }, Volume::Destination { claim, .. }) => {
                assert_eq!((temporary, claim), (shape.clone(), DestinationClaim::Private(shape)));
            }
            volumes => panic!("{volumes:?}"),
        }
        for capacity in ["0", "many", "-1Gi"] {
            for error in [read_source, read_destination].map(|read| read(json!({ "capacity": capacity }), &Value::Null).unwrap_err()) {
                assert!(error.contains("spec.rclone.capacity") && error.contains("10Gi"), "{error}");
            }
        }
    }

    #[test]
    fn a_destination_says_what_becomes_of_the_data() {
        let private = DestinationClaim::Private(ClaimShape { size: Some(1), ..ClaimShape::default() });
        let image = |name: Option<&str>| Some(SnapshotClass(name.map(str::to_owned)));
        let last = Retention::last;
        let volume = |claim, image, retain, cleanup, plain| Volume::Destination { claim, image, retain, cleanup, plain };
        for (rclone, expected) in [
            (json!({ "capacity": "1" }), volume(private.clone(), image(None), last(1), false, false)),
            (json!({ "capacity": "1", "retain": 3, "layout": "Files" }), volume(private.clone(), image(None), last(3), false, false)),
            (json!({ "capacity": "1", "layout": "Packs" }), volume(private.clone(), image(None), last(1), false, false)),
            (json!({ "capacity": "1", "volumeSnapshotClassName": "c" }), volume(private.clone(), image(Some("c")), last(1), false, false)),
            (json!({ "capacity": "1", "cleanupTempPVC": true }), volume(private.clone(), image(None), last(1), true, false)),
            (json!({ "capacity": "1", "copyMethod": "Direct", "layout": "Plain" }), volume(private.clone(), None, last(1), false, true)),
            (json!({ "capacity": "1", "copyMethod": "None", "cleanupTempPVC": false }), volume(private, None, last(1), false, false)),
            (json!({ "destinationPVC": "mine" }), volume(DestinationClaim::Existing("mine".into()), image(None), last(1), false, false)),
        ] {
            assert_eq!(read_destination(rclone, &Value::Null).unwrap().volume, expected);
        }
    }

    #[test]
    fn a_destination_says_which_images_are_kept() {
        let retain = |rclone: Value, trigger: &Value| match read_destination(rclone, trigger)?.volume {
            Volume::Destination { retain, .. } => Ok::<_, String>(retain),
            volume @ Volume::Source { .. } => panic!("{volume:?}"),
        };
        let all =
            json!({ "capacity": "1", "retention": { "last": 3, "hourly": 24, "daily": 7, "weekly": 4, "monthly": 6, "maxAge": "90d" } });
        let berlin = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
        let expected = |zone| {
            let max_age = Some(SignedDuration::from_hours(90 * 24));
            Retention { last: 3, hourly: 24, daily: 7, weekly: 4, monthly: 6, max_age, zone }
        };
        assert_eq!(retain(all.clone(), &Value::Null), Ok(expected(jiff::tz::TimeZone::UTC)));
        for trigger in [json!({ "timeZone": "Europe/Berlin" }), json!({ "schedule": "TZ=Europe/Berlin @daily" })] {
            assert_eq!(retain(all.clone(), &trigger), Ok(expected(berlin.clone())));
        }
        let retention = |rules: Value| json!({ "capacity": "1", "retention": rules });
        let with_a_floor = json!({ "capacity": "1", "retain": 30, "retention": { "last": 2 } });
        assert_eq!(retain(with_a_floor, &Value::Null), Ok(Retention::last(2)), "what an agent that knows no retention keeps");
        for (rclone, advice) in [
            (retention(json!({})), "at least one of last"),
            (retention(json!({ "maxAge": "1d" })), "at least one of last"),
            (retention(json!({ "last": 1, "maxAge": "soon" })), "maxAge \"soon\""),
        ] {
            let error = retain(rclone, &Value::Null).unwrap_err();
            assert!(error.starts_with("spec.rclone.retention: ") && error.contains(advice), "{error}");
        }
        let error = retain(all, &json!({ "timeZone": "Berlin" })).unwrap_err();
        assert!(error.starts_with("spec.trigger: there is no time zone"), "{error}");
    }

    #[test]
    fn a_destination_says_which_revision_it_is_kept_at() {
        let pinned = |pin: Value| read_destination(json!({ "capacity": "1", "pin": pin }), &Value::Null);
        let revision = "20261123T042858Z-1c9a77e0-17-5f2e";
        for pin in [json!({ "revision": revision }), json!({ "asOf": "2026-11-23T06:00:00+01:00" })] {
            assert_eq!(json!(pinned(pin.clone()).unwrap().pin), pin);
        }
        assert_eq!(read_destination(json!({ "capacity": "1" }), &Value::Null).unwrap().pin, None);
        for (pin, advice) in [
            (json!({}), "one of the two"),
            (json!({ "revision": revision, "asOf": "2026-11-23T06:00:00Z" }), "one of the two"),
            (json!({ "revision": "latest" }), "such as 20261123T042858Z-1c9a77e0-17-5f2e"),
            (json!({ "asOf": "yesterday" }), "for example 2026-11-23T06:00:00Z"),
        ] {
            let error = pinned(pin).unwrap_err();
            assert!(error.starts_with("spec.rclone.pin: ") && error.contains(advice), "{error}");
        }
        let plain = json!({ "capacity": "1", "layout": "Plain", "pin": { "revision": revision } });
        assert!(read_destination(plain, &Value::Null).unwrap_err().contains("layout Plain has none"));
    }

    /// An older CRD lets more through than the newest.
    #[test]
    fn what_the_crd_refuses_is_refused_here_too() {
        let error = read_destination(json!({}), &Value::Null).unwrap_err();
        assert!(error.contains("capacity") && error.contains("destinationPVC"), "{error}");
        let error = read_destination(json!({ "capacity": "1", "copyMethod": "Direct", "cleanupTempPVC": true }), &Value::Null).unwrap_err();
        assert!(error.contains("cleanupTempPVC"), "{error}");
        let error = read_source(json!({}), &json!({ "schedule": "every day" })).unwrap_err();
        assert!(error.starts_with("spec.trigger: "), "{error}");
    }

    #[test]
    fn a_trigger_is_read() {
        let trigger = |trigger: Value| read_source(json!({}), &trigger).unwrap().trigger;
        let none = trigger(Value::Null);
        assert!(none.continuous() && !none.wait_for_schedule && none.offset == SignedDuration::ZERO);
        assert!(!trigger(json!({ "runOnCreate": true })).wait_for_schedule);
        let all = trigger(json!({ "schedule": "0 3 * * *", "timeZone": "Europe/Berlin", "manual": "tag", "runOnCreate": false }));
        assert_eq!((all.manual.as_deref(), all.wait_for_schedule), (Some("tag"), true));
        let winter: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(all.next_time(winter).unwrap().to_string(), "2026-01-01T02:00:00Z");
        assert_eq!(trigger(json!({ "schedule": "@hourly", "jitterSeconds": 60 })).offset, offset("uid", 60));
    }
}
