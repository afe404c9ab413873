//! A child cannot be created because its name exists: it may be the object's own, which the cache does not show, or belong to another object.

use super::failure::Failure;
use super::memory::{block, recall, remember};
use super::observe::{self, Unread};
use super::{Context, unread};
use crate::api::reason::Reason;
use crate::cluster::pace::causes;
use crate::core::model::facts::{Facts, Meta, Refresh, Refusal};
use crate::core::model::plan::Child;

/// The cache is behind for so many reconciles at most, unless its watch fails.
const CACHE_IS_BEHIND: i64 = 2;
/// A name that is still taken after so many reconciles belongs to another object.
const TAKEN_FOR_GOOD: i64 = 6;

/// Whose a child is.
enum Owner {
    This,
    Another,
    Unknown,
}

/// Finds out whose the child of this name is. An error is to be tried again.
pub(super) async fn explain(context: &Context, facts: &Facts, child: &Child) -> Result<(), Failure> {
    let (uid, name) = (&facts.object.uid, child.name());
    let failures = recall(context, uid).failures;
    let waits = |why: &str| {
        block(context, uid, name, why);
        Err(Failure::Taken(name.to_owned()))
    };
    if failures < CACHE_IS_BEHIND {
        return waits("it already exists");
    }
    match owner(context, facts, child).await {
        Err(unread) => {
            block(context, uid, name, &format!("it already exists, and its owner cannot be read: {}", causes(&unread.error)));
            Err(unread::report(context, facts, unread).await)
        }
        Ok(Owner::This) => waits("it already exists, but the agent's watch does not show it"),
        Ok(Owner::Unknown) => waits("it already exists, and its owner is not known"),
        Ok(Owner::Another) if failures < TAKEN_FOR_GOOD => waits(&format!("the name {name} is taken")),
        Ok(Owner::Another) => {
            let message = format!("{name} exists and does not belong to this object: rename or delete it");
            let refusal = Refusal { reason: Reason::InvalidSpec, message };
            remember(context, uid, |memory| memory.refusal = Some(refusal));
            Ok(())
        }
    }
}

async fn owner(context: &Context, facts: &Facts, child: &Child) -> Result<Owner, Unread> {
    let mut facts = facts.clone();
    let kind = match child {
        Child::Claim(_) => Refresh::Claims,
        Child::Snapshot(_) => Refresh::Snapshots,
        Child::Job(_) => Refresh::Jobs,
    };
    observe::refresh(context, &mut facts, &[kind].into()).await?;
    unread::works(context, &mut facts, observe::what(kind));
    let is_it = |meta: &Meta| meta.name == child.name();
    let own = match child {
        Child::Snapshot(_) if !facts.snapshots_known => return Ok(Owner::Unknown),
        Child::Snapshot(_) => facts.snapshots.iter().any(|snapshot| is_it(&snapshot.meta)),
        Child::Claim(_) => facts.claims.iter().any(|claim| claim.meta.role.is_some() && is_it(&claim.meta)),
        Child::Job(_) => facts.jobs.iter().any(|job| is_it(&job.meta)),
    };
    Ok(if own { Owner::This } else { Owner::Another })
}
