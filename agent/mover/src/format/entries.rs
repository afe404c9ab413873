//! A tree too large for memory: its entries in a file of the scratch directory, in the form of a manifest.

use std::collections::HashSet;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::format::manifest::{self, Reader, Writer, corrupt};
use crate::guard::Count;
use crate::name_set::key;
use crate::report::Reason;
use crate::scratch::{self, Scratch};
use crate::volume::entry::{Entry, FileEntry, Location};
use crate::volume::path::RelPath;

/// Entries in path order; their file goes with them.
#[derive(Debug)]
pub struct Entries {
    path: PathBuf,
    revision: String,
    ancestors: Vec<String>,
    totals: Totals,
}

/// Ancestors that a manifest names: more than three days of pushes every five minutes, in about 10 kB. A volume that holds an older revision
/// than all of them is compared by hash.
const ANCESTORS: usize = 1024;

/// What is known of all entries together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Regular files.
    pub files: u64,
    /// Entries of every type but the root.
    pub entries: u64,
    /// Their size.
    pub bytes: u64,
    /// Content that lies under its hash on the remote.
    pub objects: HashSet<Digest>,
    /// Files whose content was not read yet, see [`Digest::UNREAD`].
    pub unread: u64,
}

impl Totals {
    fn add(&mut self, entry: &Entry) {
        self.entries += u64::from(!entry.path.is_root());
        let Some(file) = entry.file() else { return };
        self.files += 1;
        self.bytes = self.bytes.saturating_add(file.size);
        self.unread += u64::from(file.sha256 == Digest::UNREAD);
        if file.at == Location::Object {
            self.objects.insert(file.sha256);
        }
    }

    /// For the deletion guard.
    pub fn count(&self) -> Count {
        Count { files: self.files, all: self.entries }
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        // The whole directory is removed in the end; this only keeps it small.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Entries {
    /// Takes over the manifest at `path`, after reading it from end to end: what it says is possible, or it is refused.
    pub fn open(path: PathBuf, revision: &str) -> Result<Self> {
        let mut entries = Self { path, revision: revision.to_owned(), ancestors: Vec::new(), totals: Totals::default() };
        let mut totals = Totals::default();
        let mut reader = entries.read()?;
        let mut firsts = Firsts::default();
        let mut root = false;
        for entry in reader.by_ref() {
            let entry = entry?;
            root |= entry.path.is_root();
            if entry.path.as_bytes().contains(&b'\n') && entry.file().is_some_and(|file| file.at != Location::Object) {
                return Err(corrupt(revision, "it has content under a name with a line break, which no push gives to an object"));
            }
            totals.add(&entry);
            firsts.want(&entry);
        }
        if totals.unread > 0 {
            return Err(corrupt(revision, "it was written before all content was read"));
        }
        if !root {
            return Err(corrupt(revision, "it has no root"));
        }
        // Sums over parts of a tree are made in many places: none of them can overflow where all of it does not.
        if i64::try_from(totals.bytes).is_err() {
            return Err(Failure::new(Reason::RemoteInconsistent, format!("the manifest of {revision} has files of an impossible size")));
        }
        reader.ancestors.truncate(ANCESTORS);
        (entries.totals, entries.ancestors) = (totals, reader.ancestors);
        firsts.find_all(&entries)?;
        Ok(entries)
    }

    /// Reads them from the beginning.
    pub fn read(&self) -> Result<Reader<File>> {
        manifest::read(scratch::open(&self.path)?, &self.revision)
    }

    /// The revisions that this one descends from, newest first, as far as its manifest lists them.
    pub fn ancestors(&self) -> &[String] {
        &self.ancestors
    }

    /// What is known of all of them together.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The manifest.
    pub fn file(&self) -> &Path {
        &self.path
    }
}

/// What further names of inodes name as the first: it has to be a file of the same content. Anything else, a symbolic link say, would make a
/// pull give a name to what the manifest does not hold.
#[derive(Default)]
struct Firsts(HashSet<u128>);

impl Firsts {
    fn want(&mut self, entry: &Entry) {
        if let Some((file, first)) = entry.file().and_then(|file| Some((file, file.link.as_ref()?))) {
            self.0.insert(Self::key(first, file));
        }
    }

    /// Reads all entries once more, if there are any such names. That a first name comes before the others is checked with each of them.
    fn find_all(mut self, entries: &Entries) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        for entry in entries.read()? {
            let entry = entry?;
            if let Some(file) = entry.file().filter(|file| file.link.is_none()) {
                self.0.remove(&Self::key(&entry.path, file));
            }
        }
        if self.0.is_empty() {
            return Ok(());
        }
        let what = format!("the manifest of {} has hard links to what is no file of the same content", entries.revision);
        Err(Failure::new(Reason::RemoteInconsistent, what))
    }

    fn key(path: &RelPath, file: &FileEntry) -> u128 {
        key(&[path.as_bytes(), b"\0", &file.sha256.0, &file.size.to_le_bytes()].concat())
    }
}

/// A tree being written.
pub struct EntriesWriter {
    out: Writer<File>,
    entries: Entries,
}

impl EntriesWriter {
    /// An empty tree.
    pub fn new(scratch: &Scratch, revision: &str) -> Result<Self> {
        Self::following(scratch, revision, None)
    }

    /// An empty tree, of the revision that follows `parent`.
    pub fn following(scratch: &Scratch, revision: &str, parent: Option<&Entries>) -> Result<Self> {
        let path = scratch.fresh("tree");
        let file = File::create_new(&path).map_err(|e| Failure::scratch(&e))?;
        let ancestors = parent.into_iter().flat_map(|parent| [&parent.revision].into_iter().chain(&parent.ancestors));
        let ancestors: Vec<String> = ancestors.take(ANCESTORS).cloned().collect();
        let out = Writer::following(file, revision, ancestors.clone()).map_err(|e| Failure::scratch(&e))?;
        Ok(Self { out, entries: Entries { path, revision: revision.to_owned(), ancestors, totals: Totals::default() } })
    }

    /// Adds an entry, which comes after all before it.
    pub fn push(&mut self, entry: &Entry) -> Result<()> {
        self.entries.totals.add(entry);
        self.out.push(entry).map_err(|e| match e.kind() {
            ErrorKind::FileTooLarge => Failure::new(
                Reason::VolumeUnreadable,
                format!("{} has more extended attributes than can be replicated, a megabyte: remove some of them", entry.path),
            ),
            _ => Failure::scratch(&e),
        })
    }

    /// The tree, to be read.
    pub fn finish(self) -> Result<Entries> {
        self.out.finish().map_err(|e| Failure::scratch(&e))?;
        Ok(self.entries)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::volume::entry::{Kind, Meta};

    /// A tree of these entries.
    pub(crate) fn tree(scratch: &Scratch, entries: &[Entry]) -> Entries {
        let mut writer = EntriesWriter::new(scratch, "test").unwrap();
        for entry in entries {
            writer.push(entry).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn sizes_that_add_up_to_more_than_is_possible_are_refused() {
        let scratch = Scratch::new().unwrap();
        let file = |name: &[u8]| {
            let file = crate::volume::entry::FileEntry {
                size: u64::MAX - 1,
                sha256: Digest([1; 32]),
                at: Location::Own,
                changed: 1,
                link: None,
                hints: None,
                holes: Box::default(),
            };
            Entry { path: RelPath::new(name).unwrap(), meta: Meta::default(), kind: Kind::File(file) }
        };
        let root = Entry { path: RelPath::root(), meta: Meta::default(), kind: Kind::Dir };
        let entries = tree(&scratch, &[root, file(b"a"), file(b"b")]);
        assert_eq!(entries.totals().bytes, u64::MAX);
        let copy = scratch.fresh("copy");
        std::fs::copy(entries.file(), &copy).unwrap();
        assert_eq!(Entries::open(copy, "test").unwrap_err().reason, Reason::RemoteInconsistent);
    }

    #[test]
    fn a_tree_that_was_not_read_is_none_that_was_committed() {
        let scratch = Scratch::new().unwrap();
        let opened = |sha256| {
            let file = FileEntry { size: 1, sha256, at: Location::Own, changed: 1, link: None, hints: None, holes: Box::default() };
            let file = Entry { path: RelPath::own("a"), meta: Meta::default(), kind: Kind::File(file) };
            let root = Entry { path: RelPath::root(), meta: Meta::default(), kind: Kind::Dir };
            let copy = scratch.fresh("copy");
            std::fs::copy(tree(&scratch, &[root, file]).file(), &copy).unwrap();
            Entries::open(copy, "test")
        };
        assert_eq!(opened(Digest([1; 32])).unwrap().totals().unread, 0);
        let failure = opened(Digest::UNREAD).unwrap_err();
        assert!(failure.reason == Reason::RemoteInconsistent && failure.message.contains("before all content was read"), "{failure:?}");
    }

    #[test]
    fn a_hard_link_names_a_file_of_the_same_content() {
        let scratch = Scratch::new().unwrap();
        let entry = |name: &[u8], kind| Entry { path: RelPath::new(name).unwrap(), meta: Meta::default(), kind };
        let file = |link: Option<&[u8]>, content| {
            Kind::File(FileEntry {
                size: 1,
                sha256: Digest([content; 32]),
                at: Location::Own,
                changed: 1,
                link: link.map(|link| RelPath::new(link).unwrap()),
                hints: None,
                holes: Box::default(),
            })
        };
        let opens = |first: Kind, to: &[u8], content| {
            let root = entry(b"", Kind::Dir);
            let further = [entry(b"b", file(Some(to), content)), entry(b"c", file(Some(to), content))];
            let all: Vec<Entry> = [root, entry(b"a", first)].into_iter().chain(further).collect();
            let copy = scratch.fresh("copy");
            std::fs::copy(tree(&scratch, &all).file(), &copy).unwrap();
            Entries::open(copy, "test")
        };
        opens(file(None, 7), b"a", 7).unwrap();
        let wrong = [
            (file(None, 7), &b"a"[..], 8),
            (file(None, 7), b"a/f", 7),
            (Kind::Symlink((*b"../outside").into()), b"a/f", 7),
            (Kind::Symlink((*b"../outside").into()), b"a", 7),
            (Kind::Dir, b"a", 7),
            (file(None, 7), b"b", 7),
        ];
        for (first, to, content) in wrong {
            assert_eq!(opens(first, to, content).unwrap_err().reason, Reason::RemoteInconsistent, "{to:?} {content}");
        }
    }

    #[test]
    fn a_revision_names_those_it_descends_from_and_not_without_end() {
        let scratch = Scratch::new().unwrap();
        let mut last = tree(&scratch, &[]);
        for number in 0..ANCESTORS + 10 {
            let mut writer = EntriesWriter::following(&scratch, &number.to_string(), Some(&last)).unwrap();
            writer.push(&Entry { path: RelPath::root(), meta: Meta::default(), kind: Kind::Dir }).unwrap();
            last = writer.finish().unwrap();
        }
        let names: Vec<String> = (9..ANCESTORS + 9).rev().map(|number| number.to_string()).collect();
        assert_eq!(last.ancestors(), names);
        let copy = scratch.fresh("copy");
        std::fs::copy(last.file(), &copy).unwrap();
        assert_eq!(Entries::open(copy, &(ANCESTORS + 9).to_string()).unwrap().ancestors(), names, "and tells them to who reads it");
    }

    /// The entries of a tree.
    pub(crate) fn all(entries: &Entries) -> Vec<Entry> {
        entries.read().unwrap().collect::<Result<_>>().unwrap()
    }
}
