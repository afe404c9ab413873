//! A step of a journal, as one line of JSON.

use std::collections::BTreeMap;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::{Digest, hex, unhex};
use crate::format::manifest::Line;
use crate::format::names::recorded;
use crate::packs::salt::Salt;
use crate::pull::prepare::Lies;
use crate::volume::path::RelPath;

/// The version that is written, and the only one that is read. What one of version 1 names lies elsewhere in the staging folder, so a file that it has
/// not put in place yet would be taken for one that is.
pub(super) const FORMAT: u32 = 2;

/// What is known of all of it: the first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::pull::packs) struct Head {
    pub(super) format: u32,
    /// What the volume holds once all is done.
    pub(super) revision: String,
    /// Bytes of a block.
    pub(super) block: u32,
    /// What the hashes of blocks are made with.
    pub(super) salt: Salt,
    /// Whether the volume takes some names for one: then nothing of it can be done again, and who has done all has to look at all names of the
    /// revision.
    pub(super) merges: bool,
    /// Whether more than metadata changes.
    pub(super) changed: bool,
    /// Entries that go and have no successor.
    pub(super) lost: u64,
    /// What could not be restored of what is ready, by kind.
    pub(super) skipped: BTreeMap<String, u64>,
}

/// A path of the volume that a revision may have, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(pub(super) RelPath);

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(self.0.as_bytes()))
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = unhex(&String::deserialize(deserializer)?).ok_or_else(|| D::Error::custom("a path that is not hexadecimal"))?;
        let path = recorded(&bytes).map_err(D::Error::custom)?;
        if path.is_root() { Err(D::Error::custom("the root in the place of a path")) } else { Ok(Self(path)) }
    }
}

/// What comes into a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Comes {
    Folder,
    /// A file of so many bytes.
    File(u64),
    /// One more name of a file.
    Link,
    /// A symbolic link or a pipe.
    Other,
}

/// See the module.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Row {
    Head(Box<Head>),
    /// What has to go before anything comes; whether it is a folder.
    Clear(Name, bool),
    /// The file in place that the next rows are about: the size that it gets, and the content that it gets, which names its new blocks.
    File(Name, u64, Digest),
    /// These blocks of it become zero.
    Zero(u64, u64),
    /// It gets its size.
    Resize,
    /// These blocks of it come from those that wait in the staging folder. In which order they come is theirs.
    Copy(u64, u64),
    /// What is ready is put in place.
    Put(Name, Lies, Comes),
    /// What goes last.
    Remove(Name),
    /// What is in place gets its metadata: an entry, as a manifest has it.
    Meta(Box<Line>),
}
