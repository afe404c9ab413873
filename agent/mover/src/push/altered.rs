//! Names that a remote stores under another one, of which nobody has thought: that shows where what was sent is listed. Their content goes to
//! `objects/`, as that of names which are known for it does.

use super::upload::PushContext;
use super::uploaded::Uploaded;
use crate::error::{Failure, Result};
use crate::format::names::is_unusual;
use crate::report::Reason;
use crate::store::slices;

impl PushContext<'_> {
    /// Whether names that were sent to are listed under themselves: the unusual ones of a first push, and of one that lists the path anyway. All
    /// others would cost a listing. Notes those that are not, with what else may have been replaced by them.
    pub(super) fn are_altered(&self, uploaded: &mut Uploaded) -> Result<bool> {
        let first = self.committed.is_none();
        if !first && self.listing.is_none() {
            return Ok(false);
        }
        let mut doubtful: Vec<Box<[u8]>> = Vec::new();
        for sent in uploaded.own.files()? {
            let name: Box<[u8]> = sent?.upload.path.as_bytes().into();
            if is_unusual(&name) && !uploaded.listed.contains(&name) && !uploaded.altered.contains(&name) {
                doubtful.push(name);
            }
        }
        // What one listing does not show, another one may.
        let mut altered = Vec::new();
        for _ in 0..2 {
            if doubtful.is_empty() {
                break;
            }
            let listing = self.remote.list("")?;
            let (listed, missing): (Vec<_>, Vec<_>) = doubtful.into_iter().partition(|name| listing.contains_key(name));
            for name in &listed {
                uploaded.listed.insert(name);
            }
            altered.clone_from(&missing);
            doubtful = missing;
        }
        let Some(one) = altered.first() else { return Ok(false) };
        let (name, count) = (String::from_utf8_lossy(one), altered.len());
        if !first {
            // What it took the place of may be committed: the next attempt finds the claim, and so compares what was written since.
            let what = "stored under another name, maybe that of another file; nothing was committed, and the next attempt puts that right";
            return Err(Failure::new(Reason::RemoteInconsistent, format!("{}: {name} is {what}", self.remote.name())));
        }
        tracing::warn!(count, %name, "the remote lists names under other ones; their content goes under its hash, and all is sent again");
        for name in &altered {
            uploaded.altered.insert(name);
        }
        // Also what lies there under the name of another file, which is sent again.
        self.remote.delete(&slices(&altered))?;
        // The other name may have been that of another file.
        uploaded.doubt_own(self.scratch())?;
        Ok(true)
    }
}
