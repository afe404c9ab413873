//! What lies on a path that scribe-agent did not write, and whether it moved between two looks.
//!
//! Imports [`crate::remote`], [`crate::path`] and [`crate::names`].

use std::collections::BTreeMap;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::entry::Digest;
use crate::failure::{Failure, Result};
use crate::names::trusted;
use crate::path::RelPath;
use crate::remote::{Detail, Remote};
use crate::report::Reason;

/// A listing of files.
#[derive(Debug)]
pub(super) struct Listing {
    /// By path.
    pub(super) files: BTreeMap<RelPath, Detail>,
    /// Owners, modes and ACLs, written beside the files by VolSync and Scribe.
    pub(super) facl: bool,
    /// Differs when anything else lies there.
    digest: String,
}

/// Where `getfacl -R` was written to.
pub(super) const FACL: &str = "permissions.facl";

impl Listing {
    /// Lists the path; `hashes` says whether the backend knows them without reading.
    pub(super) fn read(remote: &Remote, hashes: bool) -> Result<Self> {
        let mut files = BTreeMap::new();
        let mut sum = Sha256::new();
        let mut details = remote.details(hashes)?;
        details.sort_by(|a, b| a.path.cmp(&b.path));
        for detail in details {
            sum.update(format!("{:?}\n{} {} {:?}\n", detail.path, detail.size, detail.mod_time, detail.md5()));
            let path = RelPath::new(detail.path.as_bytes()).filter(trusted);
            let Some(path) = path.or_else(|| detail.path.starts_with(".scribe/").then(|| RelPath::new(detail.path.as_bytes())).flatten())
            else {
                return Err(Failure::new(
                    Reason::RemoteInconsistent,
                    format!(
                        "{} holds {:?}, a name that rclone cannot be trusted with: rename it at its source",
                        remote.name(),
                        detail.path
                    ),
                ));
            };
            files.insert(path, detail);
        }
        let facl = RelPath::new(FACL.as_bytes()).is_some_and(|path| files.remove(&path).is_some());
        Ok(Self { files, facl, digest: Digest(sum.finalize().into()).hex() })
    }

    /// Stands for the state of the path, as a revision of our own layout does.
    pub(super) fn revision(&self) -> String {
        format!("plain-{}", self.digest.get(..24).unwrap_or_default())
    }

    /// When the newest of its files was written.
    pub(super) fn newest(&self) -> Timestamp {
        self.files.values().filter_map(|detail| detail.mod_time.parse().ok()).max().unwrap_or_default()
    }
}
