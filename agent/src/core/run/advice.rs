//! What helps against a failure that a mover reported, where that takes more than the mover knows: which object owns the volume.

use crate::core::model::facts::Object;
use crate::core::model::spec::{DestinationClaim, Spec, Volume};

/// Failures of the mover's own temporary files say so: no larger volume helps against those.
const TEMPORARY: &str = "temporary directory";

/// The agent cannot read Secrets, let alone what the remote allows: it notices a correction at its next attempt only.
pub(super) const MENDED: &str =
    "Once that is corrected, a new value of the annotation scribe.backube/sync-now starts the next attempt at once";

/// How a destination's volume gets more room; none where another place is full.
pub(super) fn no_space(object: &Object, spec: &Spec, message: &str) -> Option<String> {
    let Volume::Destination { claim, image, .. } = &spec.volume else { return None };
    if message.contains(TEMPORARY) {
        return None;
    }
    let DestinationClaim::Private(_) = claim else {
        return Some(format!("Free space on PVC {}, or expand it", spec.pulls_into().unwrap_or_default()));
    };
    let lost = match image {
        Some(_) => "existing images stay",
        None => "until then nothing is published",
    };
    Some(format!(
        "Raise spec.rclone.capacity. If the storage class cannot expand volumes (event ResizeRefused), then also delete PVC {}: it is created again with that capacity, and everything is pulled again; {lost}",
        object.claim_name()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::facts::Kind;
    use crate::core::model::retention::Retention;
    use crate::core::model::spec::{Capture, ClaimShape, Remote, SnapshotClass};

    fn advice(kind: Kind, volume: Volume, message: &str) -> Option<String> {
        let remote = Remote { secret: "s".into(), section: "r".into(), path: "p".into() };
        no_space(&Object::new(kind, "ns", "db", "uid"), &Spec::new(remote, volume), message)
    }

    fn destination(claim: DestinationClaim, image: bool) -> Volume {
        Volume::Destination { claim, image: image.then(SnapshotClass::default), retain: Retention::last(1), cleanup: false, plain: false }
    }

    #[test]
    fn a_full_volume_names_what_makes_it_larger() {
        let full = "the volume has 1 bytes free, and 2 were needed";
        let private = || DestinationClaim::Private(ClaimShape::default());
        let own = advice(Kind::Destination, destination(private(), true), full).unwrap();
        assert!(own.contains("spec.rclone.capacity") && own.contains("delete PVC scribe-dest-db") && own.contains("images stay"), "{own}");
        let direct = advice(Kind::Destination, destination(private(), false), full).unwrap();
        assert!(direct.contains("nothing is published"), "{direct}");
        let users = advice(Kind::Destination, destination(DestinationClaim::Existing("mine".into()), true), full).unwrap();
        assert!(users.contains("PVC mine") && !users.contains("capacity"), "{users}");
        assert_eq!(advice(Kind::Destination, destination(private(), true), "the mover's temporary directory: full"), None);
        let source = Volume::Source { claim: "data".into(), capture: Capture::Direct, temporary: ClaimShape::default() };
        assert_eq!(advice(Kind::Source, source, "the remote is full"), None);
    }
}
