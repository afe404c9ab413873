//! What a check has found wrong: as much of it as a person reads, and the number of the rest.

use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::remote::Remote;
use crate::report::Reason;
use crate::volume::path::RelPath;

/// Faults that are kept with their names.
pub(super) const SHOWN: usize = 200;

/// What is wrong with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is not there.
    Missing,
    /// It has another size, in bytes.
    OtherSize(u64),
    /// It has the size, and other content.
    Altered,
    /// It is there, and cannot be read, or not be decrypted.
    Unreadable,
}

/// An object that is not as the manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its name below the path.
    pub name: Box<[u8]>,
    /// The file that needs it; none of a pack, which several may need.
    pub path: Option<RelPath>,
    /// The size that it should have, in bytes.
    pub size: u64,
    /// What is wrong.
    pub kind: Kind,
    /// Of what it should be; none of a pack.
    pub(super) sha256: Option<Digest>,
}

/// Whether an object that has this sum is what it should be.
pub(super) fn is_right(fault: &Fault, sum: Option<&str>) -> bool {
    sum.zip(fault.sha256).is_some_and(|(sum, sha256)| *sum == *sha256.hex())
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    pub(super) shown: Vec<Fault>,
    pub(super) more: u64,
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        if self.shown.len() < SHOWN { self.shown.push(fault) } else { self.more += 1 }
    }

    /// Absence needs a second witness, and so does what gave no content, or is listed with another size, which may be of before it was put in place: what a read finds after all was no fault, and then the remote answers
    /// in two ways.
    pub(super) fn confirm(&self, remote: &Remote) -> Result<()> {
        let doubtful: Vec<&Fault> = self.shown.iter().filter(|fault| !matches!(fault.kind, Kind::Altered)).collect();
        if doubtful.is_empty() {
            return Ok(());
        }
        let sums = remote.read_sums(&doubtful.iter().map(|fault| &*fault.name).collect::<Vec<_>>())?;
        match doubtful.iter().find(|fault| is_right(fault, sums.get(&fault.name).map(|sum| &**sum))) {
            None => Ok(()),
            Some(fault) => Err(Failure::new(
                Reason::RemoteInconsistent,
                format!(
                    "{} does not show {:?}, or not always, and it can be read: check again",
                    remote.name(),
                    String::from_utf8_lossy(&fault.name)
                ),
            )),
        }
    }
}
