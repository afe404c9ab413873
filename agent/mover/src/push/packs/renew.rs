//! The end of a push that has found nothing new: at most the commit is written again, under the revision that it has.

use super::base::Base;
use super::begin::Session;
use super::round::Seen;
use crate::clock::is_due;
use crate::error::Result;
use crate::format::documents::seal;
use crate::format::names::COMMIT;
use crate::packs::commit::{Commit, Statement};
use crate::push::Synced;
use crate::push::hold::{Manifests, check_unchanged, check_unclaimed, claim_name};
use crate::push::rehash::Rehash;
use crate::remote::committed::read_any_claim;
use crate::volume::hash::Hasher;

/// Nothing differs from the committed revision, all of which was seen to be in place if `read` says so.
pub(super) fn unchanged(session: &Session, base: &Base, seen: Seen, read: (&Rehash, bool), hasher: &Hasher) -> Result<Synced> {
    tracing::info!(revision = %base.revision, "nothing changed");
    drop_claim(session, base)?;
    let renewed = renew(session, base, &seen, read)?;
    let commit = renewed.as_ref().unwrap_or(&base.commit);
    Ok(Synced { hashed: hasher.bytes_read(), skipped: seen.skipped, ..Synced::from(commit) })
}

/// A push of this object that was killed after its commit has left its claim, and so has one that was killed before and whose change is
/// taken back. Asked only where the agent has no report of this commit.
fn drop_claim(session: &Session, base: &Base) -> Result<()> {
    let Session { options, .. } = session;
    let Statement { revision, owner, .. } = &base.commit.statement;
    if options.pusher.pushed.is_some() && !options.is_unreported(owner, revision) {
        return Ok(());
    }
    drop_own_claim(session, base)
}

fn drop_own_claim(session: &Session, base: &Base) -> Result<()> {
    let Session { remote, options, .. } = session;
    let claim = read_any_claim(remote)?;
    if claim.present().is_some_and(|claim| claim.owner == options.pusher.owner) {
        check_unchanged(remote, options, &base.commit)?;
        remote.delete(&[&*claim_name()])?;
    }
    Ok(())
}

/// Says in the commit that the source still has this content, once it is time for that, and what need not be read again by the next
/// pushes, as layout Files does.
fn renew(session: &Session, base: &Base, seen: &Seen, (rehash, verified): (&Rehash, bool)) -> Result<Option<Commit>> {
    let Session { remote, options, .. } = session;
    let before = &base.commit.statement;
    let (exclude, captured) = (options.exclude.digest().map(str::to_owned), options.captured());
    let checked = options.checked(before.checked_time);
    let beat = checked != before.checked_time && is_due(before.checked_time, options.heartbeat_interval, captured);
    if exclude == before.exclude && !verified && !beat && rehash.done() == before.rehashed_time && !seen.came_of_age {
        return Ok(None);
    }
    // Another push may have claimed, or committed, since this one read. One that began before is seen by its commit or its claim, one that begins
    // now by its manifest: the older ones stay for a while, so that theirs alone shows nothing.
    let manifests = Manifests::list(remote)?;
    if !manifests.has(&base.revision) {
        return Ok(None);
    }
    drop_own_claim(session, base)?;
    check_unclaimed(remote, options, &base.commit)?;
    let verified_time = if verified { options.started } else { before.verified_time };
    let times =
        Statement { checked_time: checked, hints_time: captured, rehashed_time: rehash.done(), verified_time, exclude, ..before.clone() };
    let commit = Commit { statement: times, ..base.commit.clone() };
    remote.write_object(COMMIT, &seal(&commit)?)?;
    manifests.check(remote, options, &commit)?;
    Ok(Some(commit))
}
