//! The committed revision that a push begins with: what its manifest says, and the map.

use std::collections::BTreeMap;

use crate::error::{Failure, Result};
use crate::format::revision::Revision;
use crate::packs::commit::Commit;
use crate::packs::id::ObjectId;
use crate::packs::manifest::{Document, Manifest};
use crate::packs::map::Map;
use crate::packs::object::Object;
use crate::packs::reference::PackRow;
use crate::packs::run::Packs;
use crate::packs::salt::Salt;
use crate::packs::size::BlockSize;
use crate::remote::packed::Source;
use crate::report::Reason;

/// What stays the same in a lineage.
#[derive(Clone, Copy)]
pub(super) struct Lineage {
    pub(super) salt: Salt,
    pub(super) block: BlockSize,
}

/// The committed revision.
pub(super) struct Base {
    /// As it was read.
    pub(super) commit: Commit,
    /// Its revision, parsed.
    pub(super) revision: Revision,
    /// What its manifest says.
    pub(super) document: Document,
    /// The bytes of the runs that stand in the manifest, by their names.
    pub(super) inline: BTreeMap<ObjectId, Vec<u8>>,
    /// What the map says of packs.
    pub(super) packs: BTreeMap<ObjectId, PackRow>,
}

impl Base {
    /// That of this map, which `manifest` names.
    pub(super) fn new(commit: Commit, manifest: Manifest, map: &Map<Source>) -> Result<Self> {
        let revision = Revision::parse(&commit.statement.revision)
            .ok_or_else(|| Failure::new(Reason::RemoteInconsistent, "the commit names an impossible revision"))?;
        let packs = map.rows::<Packs>().collect::<Result<_>>()?;
        let inline = manifest.runs().filter_map(|(run, bytes)| Some((run.id, bytes?.clone()))).collect();
        Ok(Self { commit, revision, document: manifest.document, inline, packs })
    }

    /// Its manifest.
    pub(super) fn manifest(&self) -> Manifest {
        let inline = self.document.inline().filter_map(|run| self.inline.get(&run.id)).cloned().collect();
        Manifest { document: self.document.clone(), inline }
    }

    /// What the push that committed this deletes afterwards, by the names in our own folder.
    pub(super) fn due(&self) -> impl Iterator<Item = String> {
        let is_needed = |name: &String| matches!(Object::parse(name), Some(Object::Pack(id)) if self.packs.contains_key(&id));
        self.document.due.iter().filter(move |name| !is_needed(name)).cloned()
    }
}
