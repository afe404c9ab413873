//! Names of the objects that the agent makes. All are fixed or derived, never random, so that a second reconcile finds the work of the first.

use jiff::Timestamp;
use scribe_mover::digest::hex;
use sha2::{Digest, Sha256};

/// Kubernetes' limit for names of PVCs and snapshots.
const SUBDOMAIN: usize = 253;
/// Limit for a Job's name, which becomes a label of its pods.
const LABEL: usize = 63;

/// Temporary snapshot and PVC of a source.
pub fn capture(source: &str) -> String {
    fit("scribe-src-", source, "", SUBDOMAIN)
}

/// PVC of a destination.
pub fn volume(destination: &str) -> String {
    fit("scribe-dest-", destination, "", SUBDOMAIN)
}

/// Image of a destination, named after the second in which its mover finished (UTC).
pub fn image(destination: &str, finished: Timestamp) -> String {
    let suffix = finished.strftime("-%Y%m%d%H%M%S").to_string();
    fit("scribe-dest-", destination, &suffix, SUBDOMAIN)
}

/// Whether an image of this destination can have this name.
pub fn is_image(destination: &str, name: &str) -> bool {
    // The time stands at the end and is as long as any other.
    let digits = name.rsplit_once('-').map(|(_, digits)| digits).filter(|digits| digits.len() == 14);
    let Some(digits) = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_digit())) else { return false };
    name == fit("scribe-dest-", destination, &format!("-{digits}"), SUBDOMAIN)
}

/// Mover Job of a source.
pub fn source_job(source: &str) -> String {
    fit("scribe-rclone-src-", source, "", LABEL)
}

/// Mover Job of a destination.
pub fn destination_job(destination: &str) -> String {
    fit("scribe-rclone-dest-", destination, "", LABEL)
}

/// Whether a Job of this name is a destination's.
pub fn is_destination_job(name: &str) -> bool {
    name.starts_with("scribe-rclone-dest-")
}

/// Joins the parts; where that is too long, the name is cut and followed by a hash of it.
fn fit(prefix: &str, name: &str, suffix: &str, limit: usize) -> String {
    if prefix.len() + name.len() + suffix.len() <= limit {
        return format!("{prefix}{name}{suffix}");
    }
    let hash = &hex(&Sha256::digest(name.as_bytes()))[..10];
    let room = limit - prefix.len() - suffix.len() - hash.len() - 1;
    let cut = name.get(..room).unwrap_or(name).trim_end_matches(['-', '.']);
    format!("{prefix}{cut}-{hash}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::facts::{Kind, Role};

    #[test]
    fn short_names_stand_as_they_are() {
        assert_eq!(capture("database-source"), "scribe-src-database-source");
        assert_eq!(volume("database-destination"), "scribe-dest-database-destination");
        let time = "2021-01-19T22:16:01Z".parse().unwrap();
        assert_eq!(image("database-destination", time), "scribe-dest-database-destination-20210119221601");
        assert_eq!(source_job("a"), "scribe-rclone-src-a");
        assert!(is_destination_job(&destination_job("a")) && !is_destination_job(&source_job("a")));
        let long = "x".repeat(300);
        for destination in ["a", "a-20210119221601", &long] {
            assert!(is_image(destination, &image(destination, time)));
            assert!(!is_image("other", &image(destination, time)) && !is_image(destination, &format!("{}-copy", image(destination, time))));
        }
    }

    proptest::proptest! {
        /// Names fit Kubernetes' limits and stay distinct however long they are.
        #[test]
        fn long_names_are_cut_but_distinct(a in "[a-z]([a-z0-9.-]{0,251}[a-z0-9])?", b in "[a-z]([a-z0-9.-]{0,251}[a-z0-9])?") {
            let time = Timestamp::UNIX_EPOCH;
            for (x, y, limit) in [
                (capture(&a), capture(&b), SUBDOMAIN),
                (image(&a, time), image(&b, time), SUBDOMAIN),
                (source_job(&a), source_job(&b), LABEL),
                (destination_job(&a), destination_job(&b), LABEL),
            ] {
                proptest::prop_assert!(x.len() <= limit);
                proptest::prop_assert!(!x.ends_with(['-', '.']));
                proptest::prop_assert_eq!(x == y, a == b);
            }
        }
    }

    #[test]
    fn kinds_and_roles_have_their_names() {
        assert_eq!([Kind::Source, Kind::Destination].map(Kind::as_str), ["ReplicationSource", "ReplicationDestination"]);
        for role in [Role::Capture, Role::Volume, Role::Image, Role::Mover] {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!(Role::parse("other"), None);
    }
}
