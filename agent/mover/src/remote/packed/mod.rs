//! The committed revision of layout Packs as read from a remote path: the manifest that the commit pins, and the map, of which no more is
//! fetched than is read.
//!
//! Shared by push and pull. What is missing or damaged is [`Reason::RemoteInconsistent`], with the name of the object.

mod reading;
mod source;

pub use reading::{State, read_packs, state_of};
pub use source::Source;

use std::path::Path;

use super::{Read, Remote};
use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::format::documents::{Control, ManifestRef};
use crate::format::names::{self, CONTROL_DIR};
use crate::format::revision::Revision;
use crate::packs::id::ObjectId;
use crate::packs::manifest::Manifest;
use crate::packs::map::Map;
use crate::packs::run::{Run, RunRef};
use crate::remote::committed::inconsistent;
use crate::report::Reason;
use crate::scratch;
use crate::store::{self, Fetch, slices};
use crate::volume::hash::of_scratch;

/// How much of the runs is fetched, but for those that stand in the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of each, with one request: who is going to read the whole map.
    All,
    /// What is read of them, as it is read.
    Parts,
}

/// Reads the manifest of `revision`, which its commit (or a later manifest, if it is retained) pins. An error is one of the remote as a whole, or
/// of a newer format.
pub fn read_packs_manifest(remote: &Remote, revision: &str, pinned: &ManifestRef) -> Result<Control<Manifest>> {
    let Some(named) = Revision::parse(revision) else {
        return Ok(Control::Corrupt(format!("the commit names an impossible revision {revision:?}")));
    };
    let damaged = |what: &str| Ok(Control::Corrupt(format!("the manifest of {revision} {what}")));
    let file = match remote.read_object(&names::manifest(&named), pinned.size)? {
        Read::Absent => return Ok(Control::Absent),
        Read::Damaged(what) => return damaged(&format!("is damaged ({what})")),
        Read::Content(file) => file,
    };
    let open = || scratch::open(&file);
    if Some(of_scratch(open()?, &remote.context.stop)?) != Digest::parse(&pinned.sha256) {
        return damaged("is not the one committed");
    }
    let read = Manifest::read(open()?, revision);
    std::fs::remove_file(&file).map_err(|e| Failure::scratch(&e))?;
    match read {
        Ok(manifest) => Ok(Control::Present(manifest)),
        Err(Failure { reason: Reason::RemoteInconsistent, message, .. }) => Ok(Control::Corrupt(message)),
        Err(failure) => Err(failure),
    }
}

/// The map of a manifest. Its runs are believed by what the manifest says of them, window by window.
pub fn open_map<'a>(remote: &'a Remote, manifest: &Manifest, extent: Extent) -> Result<Map<Source<'a>>> {
    let block = manifest.document.block().map_err(|what| inconsistent(remote, &what))?;
    Map::open(manifest.runs().map(|(of, inline)| {
        let source = match inline {
            Some(bytes) => Source::inline(bytes.clone()),
            None => Source::open(remote, of, extent)?,
        };
        Run::open(source, of, block)
    }))
}

/// Fetches these packs whole into the local folder `to`. One that does not exist is left out: the caller verifies every block, so nothing is
/// concluded from the error.
pub fn fetch_packs(remote: &Remote, packs: &[ObjectId], to: &Path) -> store::Result<()> {
    let names: Vec<String> = packs.iter().map(ToString::to_string).collect();
    if names.is_empty() { Ok(()) } else { remote.store.fetch(&format!("{CONTROL_DIR}/packs/"), to, &slices(&names), Fetch::Content) }
}

/// Where a run is, for messages.
fn named(of: &RunRef) -> String {
    format!("{CONTROL_DIR}/{}", of.id.run())
}
