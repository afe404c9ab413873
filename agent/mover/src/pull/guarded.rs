//! Files that must still be what was compared when they get their metadata. In little memory: to a mover without root, every file of another
//! owner may be one, at each pull.

use sha2::{Digest as _, Sha256};

use crate::name_set::key;
use crate::volume::entry::{Hints, Time};
use crate::volume::path::RelPath;

/// As what a file was compared: its inode, and when that was last touched. 64 bits of a hash: whoever writes to a file cannot choose either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Compared(u64);

impl Compared {
    /// That of a file with these hints.
    pub(super) fn of(Hints { ctime: Time { secs, nanos }, inode }: Hints) -> Self {
        let mut hash = Sha256::new();
        hash.update(secs.to_be_bytes());
        hash.update(nanos.to_be_bytes());
        hash.update(inode.to_be_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hash.finalize()[..8]);
        Self(u64::from_be_bytes(first))
    }
}

/// See the module. Paths stand there as 64 bits of their hash. Of two with the same, one is held against what the other was compared as, and
/// so is read again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Guarded(Vec<(u64, Compared)>);

impl Guarded {
    /// Adds a file.
    pub(super) fn add(&mut self, path: &RelPath, hints: Hints) {
        self.0.push((place(path), Compared::of(hints)));
    }

    /// All of them, to be looked up.
    pub(super) fn sorted(mut self) -> Self {
        self.0.sort_unstable();
        self
    }

    /// As what this file was compared, if it is one of them.
    pub(super) fn get(&self, path: &RelPath) -> Option<Compared> {
        if self.0.is_empty() {
            return None;
        }
        let place = place(path);
        self.0.get(self.0.partition_point(|(other, _)| *other < place)).filter(|(other, _)| *other == place).map(|(_, compared)| *compared)
    }
}

fn place(path: &RelPath) -> u64 {
    u64::try_from(key(path.as_bytes()) >> 64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> RelPath {
        RelPath::new(name.as_bytes()).unwrap()
    }

    #[test]
    fn each_file_is_known_by_what_it_was_compared_as() {
        let hints = |inode| Hints { ctime: Time { secs: 7, nanos: 9 }, inode };
        let mut guarded = Guarded::default();
        for inode in 0..100_u64 {
            guarded.add(&path(&format!("f{inode}")), hints(inode));
        }
        let guarded = guarded.sorted();
        for inode in 0..100_u64 {
            assert_eq!(guarded.get(&path(&format!("f{inode}"))), Some(Compared::of(hints(inode))));
        }
        assert_eq!(guarded.get(&path("f100")), None);
        let later = Hints { ctime: Time { secs: 7, nanos: 10 }, inode: 1 };
        assert!(Compared::of(later) != Compared::of(hints(1)) && Compared::of(hints(2)) != Compared::of(hints(1)));
    }

    /// A million files of another owner take 16 MB, and twice that while they are added.
    #[test]
    fn a_file_takes_few_bytes() {
        let mut guarded = Guarded::default();
        for inode in 0..1000 {
            guarded.add(&path(&format!("f{inode}")), Hints { ctime: Time::default(), inode });
        }
        assert!(guarded.0.capacity() * size_of::<(u64, Compared)>() <= 32 * 1024);
    }
}
