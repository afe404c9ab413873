//! Children whose deletion was accepted long ago and that are still there: a driver or a finalizer keeps them, and their storage with them.

use crate::core::decision::Decision;
use crate::core::model::facts::{Meta, Role};
use crate::core::model::plan::ChildKind;
use jiff::{SignedDuration, Timestamp};

/// Drivers delete within minutes. Longer than any of their retries takes.
const LONG: SignedDuration = SignedDuration::from_hours(1);

/// Reports those that have been terminating for long; of many only the one that began first is named.
pub(in crate::core) fn report(decision: &mut Decision<'_>) {
    let facts = decision.facts;
    let snapshots =
        [Role::Capture, Role::Image].into_iter().flat_map(|role| facts.snapshots_as(role)).map(|s| (ChildKind::Snapshot, &s.meta));
    let claims = [Role::Capture, Role::Volume].into_iter().flat_map(|role| facts.claims_as(role)).map(|c| (ChildKind::Claim, &c.meta));
    let mut terminating: Vec<(Timestamp, ChildKind, &Meta)> =
        snapshots.chain(claims).filter_map(|(kind, meta)| Some((meta.deleting_since?, kind, meta))).collect();
    terminating.sort_by_key(|(since, _, meta)| (*since, &meta.name));
    // The next reconcile is never further away than a minute.
    terminating.retain(|(since, ..)| decision.now.duration_since(*since) >= LONG);
    let Some(((since, kind, meta), others)) = terminating.split_first() else { return };
    let more = if others.is_empty() { String::new() } else { format!("; the same applies to {} more", others.len()) };
    let (kind, name, held) = (kind.as_str(), &meta.name, meta.held());
    decision.troubles.push(format!("{kind} {name} has been terminating since {since}{held}{more}: check its driver"));
}
