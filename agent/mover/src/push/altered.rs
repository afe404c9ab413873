//! Names that a remote stores under another one, of which nobody has thought: that shows where what was sent is listed. Their content goes to
//! `objects/`, as that of names which are known for it does.

use super::object_names::Name;
use super::upload::PushContext;
use super::uploaded::Uploaded;
use crate::error::Result;
use crate::format::names::{Folder, StagedDir, is_unusual};
use crate::store::slices;

impl PushContext<'_> {
    /// Whether any unusual name that was sent to is not listed under itself. Notes those, with what else may have been replaced by them.
    ///
    /// Those of a first push lie in place, all others in the staged folder: what is committed is never replaced by another file.
    pub(super) fn are_altered(&self, staged: &StagedDir, uploaded: &mut Uploaded) -> Result<bool> {
        let own = self.find_altered(Folder::Live, uploaded)?;
        if !own.is_empty() {
            // Also what lies there under the name of another file, which is sent again.
            self.remote.delete(&slices(&own))?;
            uploaded.doubt_own(self.scratch())?;
        }
        let waiting = self.find_altered(Folder::Staged(staged), uploaded)?;
        if !waiting.is_empty() {
            uploaded.doubt_staged(self.scratch())?;
        }
        Ok(!own.is_empty() || !waiting.is_empty())
    }

    /// Those that were sent to one folder.
    fn find_altered(&self, folder: Folder, uploaded: &mut Uploaded) -> Result<Vec<Name>> {
        let sent = if folder == Folder::Live { &uploaded.own } else { &uploaded.staged };
        let mut doubtful: Vec<Name> = Vec::new();
        for sent in sent.files()? {
            let name: Name = sent?.upload.path.as_bytes().into();
            if is_unusual(&name) && !uploaded.listed.contains(&name) && !uploaded.altered.contains(&name) {
                doubtful.push(name);
            }
        }
        // What one listing does not show, another one may.
        for _ in 0..2 {
            if doubtful.is_empty() {
                break;
            }
            let listing = self.remote.list(&folder.below())?;
            let (listed, missing): (Vec<_>, Vec<_>) = doubtful.into_iter().partition(|name| listing.contains_key(name));
            for name in &listed {
                uploaded.listed.insert(name);
            }
            doubtful = missing;
        }
        if let Some(one) = doubtful.first() {
            let (count, name) = (doubtful.len(), String::from_utf8_lossy(one));
            tracing::warn!(count, %name, "the remote lists names under other ones; their content goes under its hash, and all is sent again");
        }
        for name in &doubtful {
            uploaded.altered.insert(name);
        }
        Ok(doubtful)
    }
}
