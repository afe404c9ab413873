//! What earlier pushes have left on the path: manifests of other trees than the committed one, staged files, half-written objects.
//!
//! The manifests say which names dead pushes have written to, and which ones the revision before had. Nothing else that the committed
//! manifest does not account for is ours to delete, but for half-written objects of its names.

use std::collections::HashSet;
use std::fs::File;

use super::object_names::{Name, above, of_ours, partial_of};
use crate::error::{Failure, Result};
use crate::format::entries::Entries;
use crate::format::manifest;
use crate::format::names::{CONTROL_DIR, Folder, is_ours, manifest as manifest_name, revision_of_manifest};
use crate::format::revision::Revision;
use crate::name_set::{ContentSet, NameSet};
use crate::packs;
use crate::remote::committed::Committed;
use crate::remote::{Listing, Remote};
use crate::scratch;
use crate::volume::entry::Location;

/// What is known of them.
#[derive(Debug, Default)]
pub(super) struct OldTrees {
    /// The names that they have, and those of the committed one that something half-written is left of.
    pub(super) names: NameSet,
    /// Control objects that nothing needs any more once those of `names` that are strays have gone.
    pub(super) leftovers: Vec<Name>,
    /// Names that are neither listed nor of the committed or the new tree: never sent, or left out of the listing.
    pub(super) unlisted: Vec<Name>,
    /// Names of the committed tree that a push which does not know it may have sent other content to.
    pub(super) doubted: NameSet,
    /// Manifests of layout Packs.
    pub(super) of_packs: Vec<Name>,
    /// Manifests that name nothing beyond the committed and the new tree: not needed once the new one is announced.
    pub(super) superseded: Vec<Name>,
}

impl OldTrees {
    /// Reads them; with `packs_go`, also what is of layout Packs, because a revision of this one is committed, or going to be. A manifest that cannot be read to its end stays, for it may name more.
    pub(super) fn read(
        remote: &Remote,
        (committed, packs_go): (Option<&Committed>, bool),
        tree: &Entries,
        listing: &Listing,
    ) -> Result<Self> {
        let mut old = Self { leftovers: leftovers(listing, packs_go), ..Self::default() };
        let half_written: HashSet<&[u8]> = listing.keys().filter_map(|name| partial_of(name)).collect();
        for entry in
            committed.filter(|_| !half_written.is_empty()).map(|committed| committed.entries.read()).transpose()?.into_iter().flatten()
        {
            let entry = entry?;
            // Of a push whose manifest another one has deleted since.
            if entry.file().is_some() && half_written.contains(entry.path.as_bytes()) {
                old.names.insert(entry.path.as_bytes());
            }
        }
        let revisions = revisions(committed, listing);
        if revisions.is_empty() {
            return Ok(old);
        }
        // Files of either tree, files of the committed one, and the folders that these lie in.
        let (mut accounted, mut standing, mut folders) = (NameSet::default(), NameSet::default(), NameSet::default());
        // Where objects bear times of their own, those show what another push has sent.
        let keeps_times = remote.features()?.keeps_times.is_some();
        let mut contents = ContentSet::default();
        for entry in committed.map(|committed| committed.entries.read()).transpose()?.into_iter().flatten() {
            let entry = entry?;
            // An object of the name of a folder, or of a link, has to go.
            if let Some(file) = entry.file() {
                if keeps_times && file.at != Location::Object {
                    contents.insert(entry.path.as_bytes(), file.sha256);
                }
                accounted.insert(entry.path.as_bytes());
                standing.insert(entry.path.as_bytes());
                above(entry.path.as_bytes()).for_each(|folder| folders.insert(folder.as_bytes()));
            }
        }
        for entry in tree.read()? {
            let entry = entry?;
            if entry.file().is_some() {
                accounted.insert(entry.path.as_bytes());
            }
        }
        let objects: Vec<String> = revisions.iter().map(manifest_name).collect();
        let fetched = remote.read_objects(&objects)?;
        for (revision, object) in revisions.iter().zip(&objects) {
            let file = fetched.join(object);
            if !file.exists() {
                tracing::warn!(object, "a listing shows this manifest, and it cannot be read; it is left for the next push");
                continue;
            }
            let open = || scratch::open(&file);
            let name: Name = of_ours(object);
            // It names no file.
            if packs::manifest::Manifest::read(open()?, revision.as_str()).is_ok() {
                old.leftovers.extend(packs_go.then(|| name.clone()));
                old.of_packs.push(name);
                continue;
            }
            let file = open()?;
            let (mut whole, mut needed) = (true, false);
            let is_older = committed.is_some_and(|committed| committed.descends_from(revision));
            for entry in manifest::read(file, revision.as_str())
                .map_or_else(|failure| Entry::Failed(Some(failure)), |reader| Entry::Read(Box::new(reader)))
            {
                let Ok(entry) = entry else {
                    whole = false;
                    break;
                };
                if let Some(file) = entry.file() {
                    let name = entry.path.as_bytes();
                    old.names.insert(name);
                    needed |= half_written.contains(name) || listing.contains_key(name) && !accounted.contains(name);
                    if file.at == Location::Own && !is_older && contents.contains(name) && !contents.holds(name, &file.sha256) {
                        old.doubted.insert(name);
                        // Until it is repaired.
                        needed = true;
                    }
                    // Content under its hash is found by that, whatever names it. And where objects are files of a file system, none can
                    // be where something of the committed tree lies, in whose way it would be, or which would be in its way. The new tree
                    // does not lie there yet.
                    let clear = || !folders.contains(name) && !above(name).any(|folder| standing.contains(folder.as_bytes()));
                    if file.at != Location::Object && !listing.contains_key(name) && !accounted.contains(name) && clear() {
                        old.unlisted.push(name.into());
                    }
                }
            }
            match (whole, needed) {
                (false, _) => tracing::warn!(object, "this manifest of an earlier push is damaged; it is left where it is"),
                (true, true) => old.leftovers.push(name),
                (true, false) => old.superseded.push(name),
            }
        }
        Ok(old)
    }
}

/// The entries of a manifest, or why there are none.
enum Entry {
    Read(Box<manifest::Reader<File>>),
    Failed(Option<Failure>),
}

impl Iterator for Entry {
    type Item = Result<crate::volume::entry::Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Read(entries) => entries.next(),
            Self::Failed(failure) => failure.take().map(Err),
        }
    }
}

/// The revisions other than the committed one of which a manifest is listed.
fn revisions(committed: Option<&Committed>, listing: &Listing) -> Vec<Revision> {
    let other = |revision: &Revision| committed.is_none_or(|committed| committed.revision != *revision);
    listing.keys().filter_map(|name| revision_of_manifest(name)).filter(other).collect()
}

/// Staged files, what dead pushes of layout Packs have left beside a revision of this layout, and what rclone left half-written in our own folder. Those that the committed revision still waits for are not needed any
/// more, either, once this push has promoted them or committed the next revision.
fn leftovers(listing: &Listing, packs_go: bool) -> Vec<Name> {
    let staged = format!("{CONTROL_DIR}/staged/");
    let packs = [Folder::Packs, Folder::Runs, Folder::Checkpoints].map(Folder::below);
    let of_packs = |name: &Name| packs_go && packs.iter().any(|folder| name.starts_with(folder.as_bytes()));
    let old = |name: &&Name| name.starts_with(staged.as_bytes()) || of_packs(name) || is_ours(name) && partial_of(name).is_some();
    listing.keys().filter(old).cloned().collect()
}
