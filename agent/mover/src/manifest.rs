//! The manifest and the commit: what a revision consists of. The schema is in `docs/remote-format.md`.
//!
//! Imports `failure`, `report`.

use crate::failure::Failure;
use crate::report::Reason;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The version of the format that this mover writes; it reads no later one.
pub(crate) const FORMAT: u32 = 1;

/// `commit.json`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Commit {
    pub(crate) format: u32,
    pub(crate) revision: String,
    pub(crate) parent: Option<String>,
    pub(crate) manifest: ManifestRef,
    pub(crate) data_time: Timestamp,
    pub(crate) owner: Owner,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Whether replaced files are still under `staged/<revision>` and names that are gone still there.
    pub(crate) staged: bool,
    /// When the path was last listed and held against the manifest.
    pub(crate) verified: Timestamp,
}

/// Which manifest a commit means.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ManifestRef {
    pub(crate) sha256: String,
    pub(crate) size: u64,
}

/// Who pushes to a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(crate) namespace: String,
    pub(crate) name: String,
    #[serde(rename = "objectUID")]
    pub(crate) object_uid: String,
}

/// `claim.json`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) owner: Owner,
    pub(crate) revision: String,
}

/// One entry of the volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// What it is.
    #[serde(rename = "t")]
    pub(crate) kind: Kind,
    #[serde(rename = "m")]
    pub(crate) mode: u32,
    #[serde(rename = "u")]
    pub(crate) uid: u32,
    #[serde(rename = "g")]
    pub(crate) gid: u32,
    /// Modification time, in seconds and nanoseconds.
    #[serde(rename = "mt")]
    pub(crate) mtime: (i64, u32),
    /// Change time and inode: hints for the next push alone.
    #[serde(rename = "ct", default)]
    pub(crate) ctime: (i64, u32),
    #[serde(rename = "i", default)]
    pub(crate) inode: u64,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    #[serde(rename = "d")]
    Folder,
    #[serde(rename = "f")]
    File {
        #[serde(rename = "s")]
        size: u64,
        #[serde(rename = "h")]
        sha256: String,
        #[serde(rename = "at")]
        place: Place,
    },
    /// Another name of a file that stands earlier in the manifest.
    #[serde(rename = "h")]
    HardLink {
        #[serde(rename = "to")]
        first: Name,
    },
    #[serde(rename = "l")]
    Symlink {
        #[serde(rename = "to")]
        target: Name,
    },
    #[serde(rename = "p")]
    Fifo,
}

/// Where a file's content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Place {
    /// Under its own name.
    #[serde(rename = "n")]
    Name,
    /// Under `staged/<revision>` until the commit says that it is promoted, then under its own name.
    #[serde(rename = "s")]
    Staged,
    /// Under `objects/<sha256>`.
    #[serde(rename = "o")]
    Object,
}

/// A path or link target: any bytes. Written as text where it is UTF-8, else as numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name(pub(crate) Vec<u8>);

impl Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Text(String),
            Bytes(Vec<u8>),
        }
        Ok(Name(match Either::deserialize(deserializer)? {
            Either::Text(text) => text.into_bytes(),
            Either::Bytes(bytes) => bytes,
        }))
    }
}

/// All entries of a revision by path; the volume's root is the empty path.
pub(crate) type Tree = BTreeMap<Name, Entry>;

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    revision: String,
    entries: usize,
}

/// The manifest as it is stored.
pub(crate) fn encode(revision: &str, tree: &Tree) -> Result<Vec<u8>, Failure> {
    let write = || -> std::io::Result<Vec<u8>> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 3)?;
        let header = Header { format: FORMAT, revision: revision.to_owned(), entries: tree.len() };
        line(&mut encoder, &header)?;
        for item in tree {
            line(&mut encoder, &item)?;
        }
        encoder.finish()
    };
    write().map_err(|e| Failure::internal("writing the manifest", e))
}

fn line<T: Serialize>(out: &mut impl std::io::Write, value: &T) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// The manifest of this commit; fails where it is not the very one that the commit means.
pub(crate) fn decode(stored: &[u8], commit: &Commit) -> Result<Tree, Failure> {
    let wrong = |why: String| Failure::new(Reason::RemoteInconsistent, format!("the manifest of revision {} {why}", commit.revision));
    if stored.len() as u64 != commit.manifest.size || sha256(stored) != commit.manifest.sha256 {
        return Err(wrong("is not the one that was committed: it is damaged, or somebody else changed it".to_owned()));
    }
    let text = zstd::decode_all(stored).map_err(|e| wrong(format!("cannot be unpacked: {e}")))?;
    let mut lines = text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let header: Header = serde_json::from_slice(lines.next().unwrap_or_default()).map_err(|e| wrong(format!("has no header: {e}")))?;
    if header.format > FORMAT {
        return Err(wrong(format!("has format {}, and this scribe-agent reads up to {FORMAT}: update it", header.format)));
    }
    let mut tree = Tree::new();
    for line in lines {
        let (name, entry): (Name, Entry) = serde_json::from_slice(line).map_err(|e| wrong(format!("has an unreadable entry: {e}")))?;
        tree.insert(name, entry);
    }
    if tree.len() != header.entries {
        return Err(wrong(format!("has {} entries instead of {}", tree.len(), header.entries)));
    }
    if tree.keys().any(|name| !is_plain(&name.0)) {
        return Err(wrong("names a path outside the volume".to_owned()));
    }
    Ok(tree)
}

/// A relative path without `.` and `..`: a manifest must not lead out of the volume.
fn is_plain(path: &[u8]) -> bool {
    path.is_empty() || path.split(|b| *b == b'/').all(|part| !part.is_empty() && part != b"." && part != b".." && !part.contains(&0))
}

/// Lower-case hexadecimal SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}

/// Regular files of a tree and their total size; hard links count once.
pub(crate) fn totals(tree: &Tree) -> (u64, u64) {
    let sizes = tree.values().filter_map(|entry| if let Kind::File { size, .. } = entry.kind { Some(size) } else { None });
    sizes.fold((0, 0), |(files, bytes), size| (files + 1, bytes + size))
}
