//! Files that are read while they are sent: what the plan is made of knows their content only then.
//!
//! A manifest that is written before says so of them ([`Digest::UNREAD`]). It names what this push is going to send, which is all that anybody
//! reads it for; the one that is committed is written once all content is known.

use std::collections::BTreeMap;

use super::observe::{Known, Tree, differing};
use super::plan::PushPlan;
use super::upload::{Purpose, PushContext};
use super::uploaded::Uploaded;
use super::uploads::Read;
use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::format::entries::{Entries, EntriesWriter};
use crate::report::Reason;
use crate::scratch::Scratch;
use crate::store;
use crate::volume::entry::Kind;
use crate::volume::path::RelPath;

impl PushContext<'_> {
    /// What is to be done for this state of the volume. Content that goes under its hash is read for that, if it was not: `tree` is a later look
    /// at the volume then.
    pub(super) fn plan(&self, tree: &mut Tree, uploaded: &mut Uploaded) -> Result<PushPlan> {
        let plan = self.plan_of(tree, uploaded)?;
        if !plan.lacks_hashes {
            return Ok(plan);
        }
        let again = self.observe(&Known::of(&tree.entries))?;
        uploaded.forget(&differing(&tree.entries, &again.entries, &self.options.exclude)?, self.scratch())?;
        // What hints vouch for was read by the earlier look.
        *tree = Tree { began: tree.began, ..again };
        self.plan_of(tree, uploaded)
    }

    /// Sends what the plan says and was not sent yet; tree and plan know what was read on the way.
    pub(super) fn send_and_read(
        &self,
        tree: &mut Tree,
        plan: &mut PushPlan,
        purpose: Purpose,
        uploaded: &mut Uploaded,
    ) -> Result<store::Result<()>> {
        let sent = self.send(plan, purpose, uploaded);
        let Read { known: read, others } = std::mem::take(&mut uploaded.read);
        uploaded.others.extend(others);
        if read.is_empty() {
            return Ok(sent);
        }
        tree.entries = with_hashes(&tree.entries, &read, self.scratch())?;
        *plan = self.plan(tree, uploaded)?;
        // Sends nothing but the manifest, as it is going to be committed.
        Ok(if sent.is_ok() { self.send(plan, purpose, uploaded) } else { sent })
    }
}

/// That all of it was read: the last check before a commit.
pub(super) fn refuse_unread(plan: &PushPlan) -> Result<()> {
    match plan.entries.totals().unread {
        0 => Ok(()),
        count => Err(Failure::new(Reason::MoverFailed, format!("{count} files were sent and not read; nothing was committed"))),
    }
}

fn with_hashes(entries: &Entries, read: &BTreeMap<RelPath, Digest>, scratch: &Scratch) -> Result<Entries> {
    let mut out = EntriesWriter::new(scratch, "look")?;
    for entry in entries.read()? {
        let mut entry = entry?;
        if let (Kind::File(file), Some(digest)) = (&mut entry.kind, read.get(&entry.path))
            && file.sha256 == Digest::UNREAD
        {
            file.sha256 = *digest;
        }
        out.push(&entry)?;
    }
    out.finish()
}
