//! What a push that has not committed has sent so far, for the next one: that takes it over, if this one dies. Sealed like commit and claim, but
//! written once, as everything else of this layout.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::format::documents::{Control, Owner, sealed};
use crate::format::revision::Revision;
use crate::packs::id::ObjectId;
use crate::packs::limits::{BLOCKS_OF_A_MAP, DUE, ENTRIES, FORMAT, INDEX, LAST, PACKS};
use crate::packs::run::RunRef;
use crate::packs::salt::Salt;
use crate::packs::size::BlockSize;

/// Packs that a push names as unused, at most: what it writes is to be no larger than a document may be. Others are strangers.
pub const UNUSED: usize = 1 << 10;

/// The state of a push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// Layout version.
    pub format: u32,
    /// The revision that the push was going to commit.
    pub revision: String,
    /// Who pushed.
    pub owner: Owner,
    /// Goes up with each that takes the place of an older one, also from push to push.
    pub number: u64,
    /// Of the lineage.
    pub salt: Salt,
    /// In bytes.
    pub block_size: u32,
    /// The id of the next new file.
    pub next_file: u64,
    /// Entries, blocks and packs as far as they have been sent. An entry of which blocks are missing, or whose identity is no content's, was
    /// being read.
    pub run: RunRef,
    /// Packs that were sent, and of which it says nothing: [`UNUSED`] at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unused: Vec<ObjectId>,
}

impl Checkpoint {
    /// The size of blocks.
    pub fn block(&self) -> std::result::Result<BlockSize, String> {
        BlockSize::new(self.block_size).ok_or_else(|| format!("impossible blocks of {} bytes", self.block_size))
    }

    fn check(&self) -> std::result::Result<(), String> {
        let generation = Revision::parse(&self.revision).ok_or("an impossible revision")?.generation();
        self.block()?;
        let RunRef { size, tail, first, last, counts, inline, .. } = &self.run;
        if tail > size || *tail > INDEX + 1024 || i64::try_from(*size).is_err() || *inline {
            return Err("a run of an impossible size".into());
        }
        if *first > *last || *last != generation {
            return Err("a run of impossible generations".into());
        }
        if counts.entries > ENTRIES
            || counts.blocks > BLOCKS_OF_A_MAP
            || counts.packs > PACKS
            || self.next_file > LAST
            || self.unused.len() > DUE
        {
            return Err("more rows than this program handles".into());
        }
        Ok(())
    }
}

/// Checks and reads one. One of a newer format is damaged to this program: it does without.
pub fn read(bytes: &[u8]) -> Result<Control<Checkpoint>> {
    let (format, text) = match sealed(bytes) {
        Ok(sealed) => sealed,
        Err(what) => return Ok(Control::Corrupt(what)),
    };
    if format != FORMAT {
        return Ok(Control::Corrupt(format!("of format {format}")));
    }
    let read = serde_json::from_str::<Checkpoint>(text).map_err(|error| error.to_string());
    Ok(match read.and_then(|checkpoint| checkpoint.check().map(|()| checkpoint)) {
        Ok(checkpoint) => Control::Present(checkpoint),
        Err(what) => Control::Corrupt(what),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::format::documents::seal;
    use crate::packs::run::Counts;

    fn checkpoint() -> Checkpoint {
        let id = ObjectId { push: 1, number: 2 };
        let run = RunRef { id, size: 900, tail: 80, sha256: Digest([7; 32]), first: 1, last: 1, counts: Counts::default(), inline: false };
        Checkpoint {
            format: FORMAT,
            revision: "20261123T042858Z-1c9a77e0-1-5f2e".into(),
            owner: Owner { namespace: "n".into(), name: "a".into(), uid: "u".into() },
            number: 3,
            salt: Salt([1; 16]),
            block_size: 16384,
            next_file: 9,
            run,
            unused: vec![id],
        }
    }

    fn corrupt(of: &Checkpoint) -> bool {
        matches!(read(&seal(of).unwrap()).unwrap(), Control::Corrupt(_))
    }

    #[test]
    fn only_a_whole_and_possible_one_is_read() {
        let good = checkpoint();
        let bytes = seal(&good).unwrap();
        assert_eq!(read(&bytes).unwrap(), Control::Present(good.clone()));
        for cut in 0..bytes.len() - 1 {
            assert!(matches!(read(&bytes[..cut]).unwrap(), Control::Corrupt(_)), "cut at {cut}");
        }
        assert!(corrupt(&Checkpoint { format: 3, ..good.clone() }));
        let run = |run: RunRef| Checkpoint { run, ..checkpoint() };
        for bad in [
            Checkpoint { block_size: 17, ..good.clone() },
            Checkpoint { revision: "x".into(), ..good.clone() },
            Checkpoint { next_file: LAST + 1, ..good.clone() },
            run(RunRef { tail: 901, ..good.run.clone() }),
            run(RunRef { inline: true, ..good.run.clone() }),
            run(RunRef { last: 2, ..good.run.clone() }),
            run(RunRef { counts: Counts { packs: PACKS + 1, ..Counts::default() }, ..good.run.clone() }),
        ] {
            assert!(corrupt(&bad), "{bad:?}");
        }
    }
}
