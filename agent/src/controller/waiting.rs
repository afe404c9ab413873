//! Which objects of the cluster a run may be waiting for: the ones whose warnings tell why.

use crate::core::model::facts::{Facts, Meta, Role};
use crate::core::model::spec::Spec;

/// UIDs of what the open run waits for, the deepest cause first: volumes and snapshots, then the mover's Job and pod. Nothing of other
/// objects, of the namespace or of earlier attempts is among them.
pub(super) fn groups(facts: &Facts) -> [Vec<String>; 2] {
    let Some(run) = &facts.status.run else { return [Vec::new(), Vec::new()] };
    let named = facts.spec.as_ref().ok().and_then(Spec::users_claim).and_then(|claim| facts.users_claim(claim));
    let claims = facts.claims.iter().filter(|claim| match claim.meta.role {
        Some(Role::Capture) => claim.meta.serves(&run.id),
        Some(Role::Volume) => !claim.meta.deleting,
        _ => false,
    });
    let claims = claims.chain(named).filter(|claim| !claim.bound).map(|claim| &claim.meta);
    let snapshots = facts.snapshots.iter().filter(|snapshot| !snapshot.ready && snapshot.meta.serves(&run.id)).map(|s| &s.meta);
    let pods = facts.pods.iter().filter(|pod| !pod.started).map(|pod| &pod.meta);
    let movers = facts.jobs.iter().map(|job| &job.meta).chain(pods).filter(|meta| meta.is_of_attempt(run));
    [uids(claims.chain(snapshots)), uids(movers)]
}

fn uids<'a>(metas: impl Iterator<Item = &'a Meta>) -> Vec<String> {
    metas.map(|meta| meta.uid.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::claimant::Sharing;
    use crate::core::model::facts::{Claim, Job, Kind, Object, Pod, Slot, Snapshot};
    use crate::core::model::spec::{InvalidSpec, Spec};
    use crate::core::validate;
    use serde_json::{Value, json};
    use std::collections::{BTreeMap, BTreeSet};

    fn facts(kind: Kind, spec: Result<Spec, InvalidSpec>) -> Facts {
        let time = "2026-01-01T00:00:00.000000Z";
        let run = json!({ "id": "now", "phase": "Transferring", "startTime": time, "attempt": 2, "phaseTime": time, "generation": 1 });
        let object = Object::new(kind, "site", "a", "owner");
        let meta = |uid: &str, role, run: Option<&str>, attempt| Meta {
            name: format!("name-of-{uid}"),
            uid: uid.into(),
            role,
            run: run.map(str::to_owned),
            attempt,
            ..Meta::default()
        };
        let claim = |uid: &str, role, run| Claim { meta: meta(uid, role, run, None), ..Claim::default() };
        let snapshot = |uid: &str, role, run| Snapshot { meta: meta(uid, Some(role), Some(run), None), ..Snapshot::default() };
        Facts {
            object,
            spec,
            status: serde_json::from_value(json!({ "run": run })).unwrap(),
            claims: vec![
                // The namespace's others: the user's, and other objects' own, which have no role here.
                claim("users", None, None),
                claim("another-objects", None, None),
                claim("volume", Some(Role::Volume), None),
                claim("capture", Some(Role::Capture), Some("now")),
                claim("old-capture", Some(Role::Capture), Some("before")),
                Claim { bound: true, ..claim("bound", Some(Role::Volume), None) },
            ],
            snapshots: vec![
                snapshot("snapshot", Role::Capture, "now"),
                snapshot("old-snapshot", Role::Capture, "before"),
                Snapshot { ready: true, ..snapshot("ready", Role::Image, "now") },
            ],
            snapshots_known: true,
            jobs: vec![
                Job { meta: meta("job", None, Some("now"), Some(2)), ..Job::default() },
                Job { meta: meta("old-job", None, Some("now"), Some(1)), ..Job::default() },
            ],
            pods: vec![
                Pod { meta: meta("pod", None, Some("now"), Some(2)), ..Pod::default() },
                Pod { meta: meta("old-pod", None, Some("now"), Some(1)), ..Pod::default() },
                Pod { meta: meta("started", None, Some("now"), Some(2)), started: true, ..Pod::default() },
            ],
            images_in_use: BTreeSet::new(),
            fresh: BTreeSet::new(),
            warnings: None,
            undeclared: BTreeSet::new(),
            slot: Slot::default(),
            slot_holders: Vec::new(),
            resize_refused: None,
            refusal: None,
            blocked: None,
            undeleted: BTreeMap::new(),
            troubles: Vec::new(),
            sharing: Sharing::default(),
            foreign_jobs: Vec::new(),
            consumers: Vec::new(),
            progress: None,
            unreadable: None,
        }
    }

    fn rclone(extra: &Value) -> Value {
        let mut rclone = json!({ "rcloneConfig": "s", "rcloneConfigSection": "r", "rcloneDestPath": "p" });
        if let (Some(all), Some(extra)) = (rclone.as_object_mut(), extra.as_object()) {
            all.extend(extra.clone());
        }
        rclone
    }

    fn destination(extra: &Value) -> Result<Spec, InvalidSpec> {
        validate::destination(&serde_json::from_value(json!({ "rclone": rclone(extra) })).unwrap(), "owner")
    }

    /// Every claim of the namespace is among the facts; three objects with three mistakes once quoted the third one's.
    #[test]
    fn only_what_this_run_waits_for_is_asked_about() {
        let children = || vec!["volume".to_owned(), "capture".to_owned(), "snapshot".to_owned()];
        let movers = ["job", "pod"].map(str::to_owned).to_vec();
        let private = facts(Kind::Destination, destination(&json!({ "capacity": "1Gi" })));
        assert_eq!(groups(&private), [children(), movers.clone()]);

        // The claim that the spec names belongs to the run as well.
        let with_the_users = vec!["volume".to_owned(), "capture".to_owned(), "users".to_owned(), "snapshot".to_owned()];
        let existing = facts(Kind::Destination, destination(&json!({ "destinationPVC": "name-of-users" })));
        assert_eq!(groups(&existing), [with_the_users.clone(), movers.clone()]);
        let source = json!({ "sourcePVC": "name-of-users", "rclone": rclone(&json!({})) });
        let source = facts(Kind::Source, validate::source(&serde_json::from_value(source).unwrap(), "owner"));
        assert_eq!(groups(&source), [with_the_users, movers.clone()]);

        let invalid = facts(Kind::Source, Err(InvalidSpec("bad".into())));
        assert_eq!(groups(&invalid), [children(), movers]);
    }
}
