//! The end of a push that has found nothing new: at most the commit is written again, under the revision that it has.

use super::base::Base;
use super::begin::Session;
use super::conditional::write_commit;
use super::left::delete;
use super::round::Seen;
use super::strange::{Strangers, known};
use super::switched;
use super::tally::tally;
use crate::clock::is_due;
use crate::error::Result;
use crate::format::documents::Control;
use crate::format::names::COMMIT;
use crate::packs::commit::{Commit, Statement};
use crate::packs::limits::FORMAT;
use crate::push::Synced;
use crate::push::hold::{Manifests, check_unchanged, check_unclaimed, claim_name};
use crate::push::object_names::{Name, of_ours};
use crate::push::rehash::Rehash;
use crate::remote::committed::read_any_claim;
use crate::volume::hash::Hasher;

/// Nothing differs from the committed revision, all of which was seen to be in place if `read` says so.
pub(super) fn unchanged(session: &Session, base: &Base, seen: Seen, read: (&Rehash, bool), hasher: &Hasher) -> Result<Synced> {
    tracing::info!(revision = %base.revision, "nothing changed");
    let mut before = base.commit.clone();
    if before.statement.former.is_some() {
        before = switched::finish(session, base)?.commit;
    } else {
        drop_claim(session, base)?;
    }
    let renewed = renew(session, (base, &before), &seen, read)?;
    let commit = renewed.as_ref().unwrap_or(&before);
    let packs = Some(tally(&base.document, 0));
    Ok(Synced { packs, hashed: hasher.bytes_read(), skipped: seen.skipped, ..Synced::from(commit) })
}

/// Whose claim is there after that of this object was dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Claimed {
    Nobody,
    /// It tells of objects of layout Files that are listed still.
    Us,
    Another,
}

/// A push of this object that was killed after its commit has left its claim, and so has one that was killed before and whose change is
/// taken back. Asked only where the agent has no report of this commit.
fn drop_claim(session: &Session, base: &Base) -> Result<()> {
    let Session { options, .. } = session;
    let Statement { revision, owner, .. } = &base.commit.statement;
    if options.pusher.pushed.is_some() && !options.is_unreported(owner, revision) {
        return Ok(());
    }
    drop_own_claim(session, base).map(drop)
}

/// Deletes what a dead push of this object has left, and its claim.
fn drop_own_claim(session: &Session, base: &Base) -> Result<Claimed> {
    let Session { remote, options, .. } = session;
    let Control::Present(claim) = read_any_claim(remote)? else { return Ok(Claimed::Nobody) };
    if claim.owner != options.pusher.owner {
        return Ok(Claimed::Another);
    }
    // A push of layout Files has begun to take the place of this revision, and was killed.
    if claim.format != FORMAT || claim.files_left {
        return Ok(if switched::finish(session, base)?.is_told { Claimed::Nobody } else { Claimed::Us });
    }
    check_unchanged(remote, options, &base.commit)?;
    let due: Vec<Name> = base.due().map(|name| of_ours(&name)).collect();
    delete(remote, &due)?;
    remote.delete(&[&*claim_name()])?;
    Ok(Claimed::Nobody)
}

/// As [`drop_own_claim`], and takes the place of another object's claim, as any push of the path's owner does: its push may have died, and that claim
/// would be there for ever.
fn take_claim(session: &Session, base: &Base) -> Result<Claimed> {
    match drop_own_claim(session, base)? {
        Claimed::Another if session.begin()?.claim.files_left => {
            Ok(if switched::finish(session, base)?.is_told { Claimed::Nobody } else { Claimed::Us })
        }
        claimed => Ok(claimed),
    }
}

/// Says in the commit that the source still has this content, once it is time for that, and what need not be read again by the next
/// pushes, as layout Files does.
fn renew(session: &Session, (base, before): (&Base, &Commit), seen: &Seen, (rehash, verified): (&Rehash, bool)) -> Result<Option<Commit>> {
    let Session { remote, options, .. } = session;
    let says = &before.statement;
    let (exclude, captured) = (options.exclude.digest().map(str::to_owned), options.captured());
    let checked = options.checked(says.checked_time);
    let beat = checked != says.checked_time && is_due(says.checked_time, options.heartbeat_interval, captured);
    if exclude == says.exclude && !verified && !beat && rehash.done() == says.rehashed_time && !seen.came_of_age {
        return Ok(None);
    }
    let claimed = take_claim(session, base)?;
    // Another push may have claimed, or committed, since this one read. One that began before is seen by its commit or its claim, one that begins
    // now by its manifest: the older ones stay for a while, so that theirs alone shows nothing.
    let manifests = Manifests::list(remote)?;
    if !manifests.has(&base.revision) {
        return Ok(None);
    }
    let check =
        || if claimed == Claimed::Nobody { check_unclaimed(remote, options, before) } else { check_unchanged(remote, options, before) };
    let verified_time = if verified { options.started } else { says.verified_time };
    let strangers = if verified { Strangers::list(remote, COMMIT, says.latest_listed)? } else { Strangers::default() };
    let latest_listed = if verified { strangers.since } else { says.latest_listed };
    let times = Statement {
        checked_time: checked,
        hints_time: captured,
        rehashed_time: rehash.done(),
        verified_time,
        latest_listed,
        exclude,
        ..says.clone()
    };
    let commit = Commit { statement: times, ..before.clone() };
    // Not before those listings, which take any time.
    check()?;
    write_commit(session, &commit, Some(before), check)?;
    manifests.check(remote, options, &commit)?;
    if claimed == Claimed::Another {
        remote.delete(&[&*claim_name()])?;
    }
    if verified {
        delete(remote, &strangers.strange(&known(&base.document, base.packs.keys())))?;
    }
    Ok(Some(commit))
}
