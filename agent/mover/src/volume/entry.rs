//! One entry of a tree: what the manifest records of it.

use jiff::Timestamp;

use crate::digest::Digest;
use crate::volume::holes::Hole;
use crate::volume::path::RelPath;
use crate::volume::xattrs::Attributes;

/// A point in time as the file system keeps it: seconds since 1970 (perhaps negative) and nanoseconds upwards from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time {
    /// Whole seconds, rounded down.
    pub secs: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

impl Time {
    /// Whether a backend that reports this time means ours: some keep whole seconds only.
    pub fn is_listed_as(self, listed: Timestamp) -> bool {
        const SECOND: i128 = 1_000_000_000;
        let listed = listed.as_nanosecond();
        let nanos = listed.rem_euclid(SECOND);
        listed.div_euclid(SECOND) == i128::from(self.secs) && (nanos == 0 || nanos == i128::from(self.nanos))
    }

    /// As [`Self::is_listed_as`], by a backend that keeps no smaller parts of a second than this, cut or rounded.
    pub fn is_listed_within(self, listed: Timestamp, nanos: u64) -> bool {
        let own = i128::from(self.secs) * 1_000_000_000 + i128::from(self.nanos);
        self.is_listed_as(listed) || (listed.as_nanosecond() - own).unsigned_abs() < u128::from(nanos)
    }
}

/// Metadata that a pull restores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits with setuid, setgid and sticky. Zero for a symlink, which has none of its own.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last modification.
    pub mtime: Time,
    /// Extended attributes, POSIX ACLs and capabilities among them.
    pub attributes: Attributes,
}

/// Where a file's content is on the remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// Under the file's own name.
    Own,
    /// Under `.scribe/staged/<revision>/` until the commit says it is promoted, then under its own name.
    Staged,
    /// Under `.scribe/objects/<sha256>`.
    Object,
}

/// How the source recognises an unchanged file without reading it. Means nothing on any other volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hints {
    /// Time of last status change.
    pub ctime: Time,
    /// Inode number.
    pub inode: u64,
}

/// What is recorded of a regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Length in bytes.
    pub size: u64,
    /// Of the content.
    pub sha256: Digest,
    /// Where the content is.
    pub at: Location,
    /// The generation in which the content last changed: what a pull may take as read.
    pub changed: u64,
    /// The first name of the same inode, if this is a further one.
    pub link: Option<RelPath>,
    /// Ranges that took no room on the source's disk. Not part of what the file is: a file without them is no other one.
    pub holes: Box<[Hole]>,
    /// Absent where the file changed too close to the capture to be recognised by them.
    pub hints: Option<Hints>,
}

/// The type of an entry, with what only that type has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Dir,
    /// A regular file.
    File(FileEntry),
    /// A symbolic link and its target.
    Symlink(Box<[u8]>),
    /// A named pipe.
    Fifo,
}

/// One entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub path: RelPath,
    /// What a pull restores.
    pub meta: Meta,
    /// What it is.
    pub kind: Kind,
}

impl Entry {
    /// The file, if it is one.
    pub fn file(&self) -> Option<&FileEntry> {
        match &self.kind {
            Kind::File(file) => Some(file),
            _ => None,
        }
    }

    /// About the memory that it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let more = match &self.kind {
            Kind::Symlink(target) => target.len(),
            Kind::File(file) => file.link.as_ref().map_or(0, |first| first.as_bytes().len()) + size_of_val(&*file.holes),
            Kind::Dir | Kind::Fifo => 0,
        };
        size_of::<Self>() + self.path.as_bytes().len() + self.meta.attributes.bytes() + more
    }

    /// Whether both are of one type.
    pub fn same_type(&self, other: &Self) -> bool {
        std::mem::discriminant(&self.kind) == std::mem::discriminant(&other.kind)
    }

    /// Whether a pull of either gives the same result: all but where the content lies, how the source recognises it, and what
    /// room it takes.
    pub fn same_result(&self, other: &Self) -> bool {
        self.path == other.path
            && self.meta == other.meta
            && match (&self.kind, &other.kind) {
                (Kind::File(a), Kind::File(b)) => a.size == b.size && a.sha256 == b.sha256 && a.link == b.link,
                (a, b) => a == b,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_listed_whole_or_in_seconds() {
        for (secs, nanos) in [(1_700_000_000, 250_000_000), (-2, 250_000_000)] {
            let ours = Time { secs, nanos };
            let listed = |secs, nanos| Timestamp::new(secs, nanos).unwrap();
            assert!(ours.is_listed_as(listed(secs, 250_000_000)));
            assert!(ours.is_listed_as(listed(secs, 0)));
            assert!(!ours.is_listed_as(listed(secs, 250_000_001)));
            assert!(!ours.is_listed_as(listed(secs + 1, 0)));
        }
    }
}
