//! The write of a commit, only in place of the one that the push began with, where the backend can be asked for that. Elsewhere, the claim and the
//! looks before and after have to do, and they are taken there, too: whether a backend heeds a condition shows only where it does not hold.

use super::begin::Session;
use crate::error::Result;
use crate::format::documents::seal;
use crate::format::names::COMMIT;
use crate::packs::commit::{AnyCommit, Commit, Committing};
use crate::push::hold::rival;
use crate::remote::Remote;
use crate::remote::committed::read_any_commit;
use crate::store::Condition;
use crate::volume::hash::md5_hex;

/// Writes `commit` in place of `before`, the one that the push began with. `check` looks once more whether nobody else has claimed or committed.
pub(super) fn write_commit(
    session: &Session,
    commit: &Commit,
    before: Option<&impl Committing>,
    check: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let Session { remote, options, .. } = session;
    replace(remote, commit, before, check, |found| {
        session.written.refused();
        Err(rival(remote, options, found.owner()))
    })
}

/// Writes `commit` in place of `before`. Where the backend refuses that, `other` judges a commit of another revision that is there, and `check` whether
/// `before` may be replaced all the same.
pub(super) fn replace(
    remote: &Remote,
    commit: &Commit,
    before: Option<&impl Committing>,
    check: impl FnOnce() -> Result<()>,
    other: impl FnOnce(&AnyCommit) -> Result<()>,
) -> Result<()> {
    let (content, condition) = (seal(commit)?, before.map(seal).transpose()?);
    let condition = condition.map_or(Condition::Absent, |before| Condition::Sum(md5_hex(&before)));
    if remote.write_object_if(COMMIT, &content, &condition)? {
        return Ok(());
    }
    match read_any_commit(remote)?.present() {
        // The answer to a first try was lost.
        Some(found) if seal(found)? == content => return Ok(()),
        Some(found) if before.is_none_or(|before| before.revision() != found.revision()) => other(found)?,
        _ => {}
    }
    // The same as before: what the backend compares with is no MD5 sum.
    check()?;
    Ok(remote.write_object(COMMIT, &content)?)
}
