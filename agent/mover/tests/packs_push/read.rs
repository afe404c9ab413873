//! The tree that a path has committed, by the commit, the manifest, the map and the packs; and the tree that a volume is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use scribe_mover::error::Failure;
use scribe_mover::format::documents::{Control, ManifestRef};
use scribe_mover::packs::block::Unpacker;
use scribe_mover::packs::check::check;
use scribe_mover::packs::commit::{AnyCommit, Commit};
use scribe_mover::packs::manifest::Document;
use scribe_mover::packs::node::Kind;
use scribe_mover::packs::pack::verify;
use scribe_mover::packs::reference::{BlockRef, RefKey};
use scribe_mover::packs::run::{Entries, Packs, References};
use scribe_mover::remote::Remote;
use scribe_mover::remote::committed::read_any_commit;
use scribe_mover::remote::packed::{Extent, open_map, read_packs_manifest};
use scribe_mover::stop::Stop;
use scribe_mover::volume::beneath::Root;
use scribe_mover::volume::entry::Meta;
use scribe_mover::volume::exclude::Exclude;
use scribe_mover::volume::walk::{FoundKind, walk};

/// What a name is: its metadata, and its type with content or target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thing {
    pub meta: Meta,
    pub what: What,
}

#[derive(Clone, PartialEq, Eq)]
pub enum What {
    Dir,
    Fifo,
    Link(Vec<u8>),
    /// With the first name of its inode.
    File(Vec<u8>, String),
}

impl std::fmt::Debug for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dir => write!(f, "dir"),
            Self::Fifo => write!(f, "fifo"),
            Self::Link(to) => write!(f, "link {}", String::from_utf8_lossy(to)),
            Self::File(content, first) => {
                let sum: u64 = content.iter().enumerate().map(|(at, byte)| (at as u64 + 1) * u64::from(*byte)).sum();
                write!(f, "file {} bytes, sum {sum}, of {first}", content.len())
            }
        }
    }
}

pub type Tree = BTreeMap<String, Thing>;

/// What a path has committed.
pub struct Committed {
    pub commit: Commit,
    pub document: Document,
    pub tree: Tree,
    /// The generations of the blocks of each file.
    pub born: BTreeMap<String, Vec<u64>>,
}

/// Reads and checks all that is committed; `None` if nothing is.
pub fn committed_at(remote: &Remote, object: &dyn Fn(&str) -> Option<Arc<[u8]>>) -> Result<Option<Committed>, Failure> {
    let commit = match read_any_commit(remote)? {
        Control::Absent => return Ok(None),
        Control::Present(AnyCommit::Packs(commit)) => *commit,
        other => panic!("{other:?}"),
    };
    let Revision { document, tree, born, .. } = revision_at(remote, (&commit.statement.revision, &commit.manifest), object)?;
    Ok(Some(Committed { commit, document, tree, born }))
}

/// A revision, whether it is the committed one or not.
pub struct Revision {
    pub document: Document,
    pub tree: Tree,
    /// The generations of the blocks of each file.
    pub born: BTreeMap<String, Vec<u64>>,
    /// Objects that it needs, its manifest included.
    pub needs: BTreeSet<String>,
}

/// Reads and checks all of the revision of this name and manifest.
pub fn revision_at(
    remote: &Remote,
    (revision, pinned): (&str, &ManifestRef),
    object: &dyn Fn(&str) -> Option<Arc<[u8]>>,
) -> Result<Revision, Failure> {
    let Control::Present(manifest) = read_packs_manifest(remote, revision, pinned)? else {
        panic!("the manifest of {revision} is missing or damaged");
    };
    let mut needs = BTreeSet::from([format!(".scribe/manifests/{revision}.zst")]);
    needs.extend(manifest.document.runs.iter().filter(|run| !run.inline).map(|run| format!(".scribe/{}", run.id.run())));
    let map = open_map(remote, &manifest, Extent::All)?;
    check(&map, &manifest.document, &Stop::default())?;
    let mut all = BTreeMap::new();
    for row in map.rows::<Packs>() {
        let (id, row) = row?;
        let name = format!(".scribe/{}", id.pack());
        let pack = object(&name).unwrap_or_else(|| panic!("pack {id} is missing"));
        needs.insert(name);
        let packed = verify(id, &*pack)?;
        assert_eq!((packed.size, packed.md5), (row.size, row.md5));
        all.insert(id, pack);
    }
    let document = manifest.document.clone();
    let (mut unpacker, block) = (Unpacker::new()?, document.block().unwrap());
    let blocks: BTreeMap<RefKey, BlockRef> = map.rows::<References>().collect::<Result<_, _>>()?;
    let (mut tree, mut firsts, mut born) = (Tree::new(), BTreeMap::new(), BTreeMap::<String, Vec<u64>>::new());
    for row in map.rows::<Entries>() {
        let (path, node) = row?;
        let path = path.to_string();
        let what = match &node.kind {
            Kind::Dir => What::Dir,
            Kind::Fifo => What::Fifo,
            Kind::Symlink(to) => What::Link(to.to_vec()),
            Kind::File(file) => {
                let mut content = vec![0; usize::try_from(file.size).unwrap()];
                let key = |block| RefKey { file: file.id, block };
                for (key, of) in blocks.range(key(0)..=key(u64::MAX)) {
                    born.entry(path.clone()).or_default().push(of.place.born);
                    let pack = &all[&of.pack];
                    let from = of.place.offset as usize;
                    let plain = unpacker.unpack(&pack[from..from + of.place.stored as usize], of, &document.salt)?;
                    let at = usize::try_from(key.block * u64::from(block.bytes())).unwrap();
                    content[at..at + plain.len()].copy_from_slice(plain);
                }
                What::File(content, firsts.entry(file.id).or_insert_with(|| path.clone()).clone())
            }
        };
        tree.insert(path, Thing { meta: node.meta, what });
    }
    Ok(Revision { document, tree, born, needs })
}

/// What a volume is.
pub fn volume(root: &std::path::Path, exclude: &Exclude) -> Tree {
    let (opened, stop) = (Root::open(root).unwrap(), Stop::default());
    let (mut tree, mut firsts) = (Tree::new(), BTreeMap::new());
    for found in walk(&opened, &stop).unwrap().without(exclude) {
        let found = found.unwrap();
        let path = found.path.to_string();
        let what = match &found.kind {
            FoundKind::Dir => What::Dir,
            FoundKind::Fifo => What::Fifo,
            FoundKind::Symlink(to) => What::Link(to.to_vec()),
            FoundKind::File(_) => {
                let first = firsts.entry(found.inode()).or_insert_with(|| path.clone()).clone();
                What::File(std::fs::read(found.path.under(root)).unwrap(), first)
            }
        };
        tree.insert(path, Thing { meta: found.meta, what });
    }
    tree
}
