//! A path that is of layout Packs: the revision that a push of layout Files takes the place of. It sends all of its files under their own names, beside
//! the packs, and after its commit nothing of layout Packs is needed any more, so that all of that goes by its folders, as what dead pushes leave.

use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::format::documents::Control;
use crate::format::entries::{Entries, EntriesWriter};
use crate::format::names::is_ours;
use crate::format::revision::Revision;
use crate::name_set::NameSet;
use crate::packs::commit::Commit;
use crate::packs::manifest::{Document, Manifest};
use crate::packs::node::Kind;
use crate::packs::run;
use crate::push::object_names::{Name, manifest_object, partial_of};
use crate::remote::committed::inconsistent;
use crate::remote::packed::{Extent, open_map, read_packs_manifest};
use crate::remote::{Listing, Remote};
use crate::report::Reason;
use crate::volume::entry::{self, Entry, FileEntry, Location};

/// What to do about a revision that cannot be read.
pub(super) const RESTORE: &str =
    "Restore that object, or delete everything at this path, or use another one; then everything is pushed again";

/// The committed revision of layout Packs.
#[derive(Debug)]
pub(super) struct FromPacks {
    /// Its commit.
    pub(super) commit: Commit,
    /// Its revision, parsed.
    pub(super) revision: Revision,
    /// Its entries by name, type and size: for the deletion guard.
    pub(super) entries: Entries,
    /// The names of the manifests that it knows.
    manifests: Vec<Name>,
}

impl FromPacks {
    /// Reads it.
    pub(super) fn read(remote: &Remote, commit: Commit) -> Result<Self> {
        let name = &commit.statement.revision;
        let revision = Revision::parse(name).ok_or_else(|| inconsistent(remote, "the commit names an impossible revision"))?;
        let whole = committed_manifest(remote, &commit)?;
        let map = open_map(remote, &whole, Extent::Parts)?;
        let mut entries = EntriesWriter::new(&remote.context.scratch, name)?;
        for row in map.rows::<run::Entries>() {
            let (path, node) = row?;
            let kind = match node.kind {
                Kind::Dir => entry::Kind::Dir,
                Kind::Fifo => entry::Kind::Fifo,
                Kind::Symlink(to) => entry::Kind::Symlink(to),
                Kind::File(file) => entry::Kind::File(FileEntry {
                    size: file.size,
                    sha256: Digest::UNREAD,
                    at: Location::Own,
                    changed: 0,
                    link: None,
                    holes: Box::default(),
                    hints: None,
                }),
            };
            entries.push(&Entry { path, meta: node.meta, kind })?;
        }
        let manifests = known(&whole.document);
        Ok(Self { revision, entries: entries.finish()?, manifests, commit })
    }

    /// Takes its manifests out of a listing of the path: they name no files, and are not needed once this push has committed.
    pub(super) fn take_manifests(&self, listing: &mut Listing) -> Vec<Name> {
        self.manifests.iter().filter(|name| listing.remove(&***name).is_some()).cloned().collect()
    }
}

fn known(document: &Document) -> Vec<Name> {
    let older = document.retained.iter().map(|kept| &kept.revision).chain(document.dead_manifests.iter().map(|dead| &dead.revision));
    let revisions = older.chain([&document.revision]).filter_map(|revision| Revision::parse(revision));
    revisions.map(|revision| manifest_object(&revision)).collect()
}

/// Files there that are of no push: under their names, this one is going to send its own.
pub(super) fn refuse_foreign(remote: &Remote, listing: &Listing, ours: &NameSet) -> Result<()> {
    let is_foreign = |name: &&Name| !is_ours(name) && !ours.contains(name) && !partial_of(name).is_some_and(|name| ours.contains(name));
    let Some(first) = listing.keys().filter(is_foreign).min() else { return Ok(()) };
    let what = "which scribe-agent did not write, lies beside the packs; remove it, or annotate this object with scribe.backube/adopt-path: <path> to replace everything there";
    Err(Failure::new(Reason::PathNotOurs, format!("{}/{}, {what}", remote.name(), String::from_utf8_lossy(first))))
}

/// The manifest of this commit. One that is missing or damaged has to be so twice.
pub(super) fn committed_manifest(remote: &Remote, commit: &Commit) -> Result<Manifest> {
    let revision = &commit.statement.revision;
    let read = || read_packs_manifest(remote, revision, &commit.manifest);
    let unknown = |what: &str| Err(inconsistent(remote, &format!("{what}. {RESTORE}")));
    match read()? {
        Control::Present(manifest) => Ok(manifest),
        _ => match read()? {
            Control::Present(manifest) => Ok(manifest),
            Control::Absent => unknown(&format!("the manifest of {revision} is missing")),
            Control::Corrupt(what) => unknown(&what),
        },
    }
}
