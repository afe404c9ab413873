//! What of a revision of layout Packs is not there as it was written: by a listing, which has to show it twice before anything counts as lost. A run
//! has to be one that no read gives, either: what it says is nowhere else. Where the backend tells sums, both looks are by them, or fail.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::digest::hex;
use crate::error::Result;
use crate::format::names::{Folder, manifest as manifest_name};
use crate::format::revision::Revision;
use crate::packs::id::ObjectId;
use crate::packs::manifest::{DeadObject, Document};
use crate::packs::reference::PackRow;
use crate::packs::run::{Run, RunRef};
use crate::remote::committed::inconsistent;
use crate::remote::packed::{Extent, Source};
use crate::remote::{Listing, Remote, Waiting};
use crate::report::Reason;

/// What is lost.
pub(super) struct Lost {
    /// Packs that are not there, or not of the size and sum that the map says.
    pub(super) packs: BTreeSet<ObjectId>,
    /// Those of which the listing shows no sum that was made of what is there now.
    pub(super) unknown: BTreeSet<ObjectId>,
    /// The first run that is not there, or not of its size.
    pub(super) run: Option<ObjectId>,
    /// The first one that can be read although it is not listed so.
    pub(super) unlisted: Option<ObjectId>,
    /// What is not there of all that retained revisions need and this one does not: by its name in our own folder, the generations that need it.
    pub(super) older: BTreeMap<String, Range<u64>>,
}

impl Lost {
    /// Looks for all that this manifest names; `packs` are those of its map.
    pub(super) fn look(remote: &Remote, document: &Document, packs: &BTreeMap<ObjectId, PackRow>) -> Result<Self> {
        let first = Missing::look(remote, document, packs)?;
        let Missing { packs: mut lost, unknown, mut runs, mut older } = first;
        if !(lost.is_empty() && runs.is_empty() && older.is_empty()) {
            let again = Missing::look(remote, document, packs)?;
            lost.retain(|id| again.packs.contains(id));
            runs.retain(|of| again.runs.contains(of));
            older.retain(|name, _| again.older.contains_key(name));
        }
        let (mut run, mut unlisted) = (None, None);
        for of in runs {
            let to = if comes(remote, document, of)? { &mut unlisted } else { &mut run };
            to.get_or_insert(of.id);
        }
        Ok(Self { packs: lost, unknown, run, unlisted, older })
    }

    /// All of the revision is there.
    pub(super) fn is_nothing(&self) -> bool {
        self.packs.is_empty() && self.run.is_none()
    }
}

/// Whether a read gives this run: its end, which is sealed, and all of it where it is small.
fn comes(remote: &Remote, document: &Document, of: &RunRef) -> Result<bool> {
    let block = document.block().map_err(|what| inconsistent(remote, &what))?;
    match Source::open(remote, of, Extent::Parts).and_then(|source| Run::open(source, of, block)) {
        Ok(_) => Ok(true),
        Err(failure) if failure.reason == Reason::RemoteInconsistent => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// What one listing does not show as it was written.
struct Missing<'d> {
    packs: BTreeSet<ObjectId>,
    unknown: BTreeSet<ObjectId>,
    runs: Vec<&'d RunRef>,
    older: BTreeMap<String, Range<u64>>,
}

impl<'d> Missing<'d> {
    fn look(remote: &Remote, document: &'d Document, all: &BTreeMap<ObjectId, PackRow>) -> Result<Self> {
        let shown = Shown::take(remote, document)?;
        Ok(Self {
            packs: all.iter().filter(|(id, row)| !shown.has_pack(**id, row)).map(|(id, _)| *id).collect(),
            unknown: all.keys().filter(|id| shown.is_unknown(**id)).copied().collect(),
            runs: document.runs.iter().filter(|of| !of.inline && !shown.has(Folder::Runs, of.id, of.size)).collect(),
            older: older(document, &shown),
        })
    }
}

/// Dead objects of a kind: their folder, and how they are named.
type Kind<'d> = (Folder<'d>, &'d Vec<DeadObject>, fn(ObjectId) -> String);

/// What retained revisions need, and the revision itself does not.
fn older(document: &Document, shown: &Shown) -> BTreeMap<String, Range<u64>> {
    let mut older = BTreeMap::new();
    let mut generations = Vec::new();
    for kept in &document.retained {
        let Some(revision) = Revision::parse(&kept.revision) else { continue };
        let generation = revision.generation();
        generations.push(generation);
        if !shown.has_manifest(&revision, kept.manifest.size) {
            older.insert(manifest_name(&revision), generation..generation.saturating_add(1));
        }
    }
    generations.sort_unstable();
    let is_needed = |dead: &&DeadObject| {
        let next = generations.partition_point(|generation| *generation < dead.born);
        generations.get(next).is_some_and(|generation| dead.is_needed_by(*generation))
    };
    let kinds: [Kind; 2] = [(Folder::Packs, &document.dead_packs, ObjectId::pack), (Folder::Runs, &document.dead_runs, ObjectId::run)];
    for (folder, dead, name) in kinds {
        let missing = dead.iter().filter(is_needed).filter(|dead| !shown.has(folder, dead.id, dead.size));
        older.extend(missing.map(|dead| (name(dead.id), dead.born..dead.died)));
    }
    older
}

/// What a listing shows.
enum Shown {
    /// The whole folder at once, with sums; and whether these are noted down when something is written, and say nothing of what is there now.
    Sums(Waiting, bool),
    /// Packs, runs, and manifests where these matter.
    Sizes(Listing, Listing, Listing),
}

impl Shown {
    fn take(remote: &Remote, document: &Document) -> Result<Self> {
        if let Some((_, listed)) = remote.waiting(true)? {
            return Ok(Self::Sums(listed, remote.features()?.noted_sums));
        }
        let [packs, runs] = [remote.list(&Folder::Packs.below())?, remote.list(&Folder::Runs.below())?];
        let manifests = if document.retained.is_empty() { Listing::new() } else { remote.list(&Folder::Manifests.below())? };
        Ok(Self::Sizes(packs, runs, manifests))
    }

    fn has(&self, folder: Folder, id: ObjectId, size: u64) -> bool {
        self.has_named(folder, id.to_string().as_bytes(), size)
    }

    fn has_manifest(&self, revision: &Revision, size: u64) -> bool {
        self.has_named(Folder::Manifests, format!("{revision}.zst").as_bytes(), size)
    }

    fn has_pack(&self, id: ObjectId, row: &PackRow) -> bool {
        match self {
            Self::Sums(listed, _) => listed.has_sum(Folder::Packs, id.to_string().as_bytes(), row.size, &hex(&row.md5)),
            Self::Sizes(..) => self.has(Folder::Packs, id, row.size),
        }
    }

    fn is_unknown(&self, id: ObjectId) -> bool {
        match self {
            Self::Sums(listed, noted) => *noted || !listed.tells_sum(Folder::Packs, id.to_string().as_bytes()),
            Self::Sizes(..) => true,
        }
    }

    fn has_named(&self, folder: Folder, name: &[u8], size: u64) -> bool {
        let listing = match (self, folder) {
            (Self::Sums(listed, _), _) => return listed.has(folder, name, size),
            (Self::Sizes(packs, ..), Folder::Packs) => packs,
            (Self::Sizes(_, runs, _), Folder::Runs) => runs,
            (Self::Sizes(.., manifests), _) => manifests,
        };
        listing.get(name).is_some_and(|listed| [size, u64::MAX].contains(listed))
    }
}
