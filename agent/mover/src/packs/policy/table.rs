//! The table of packs: how many bytes of each the current revision refers to. What it refers to no longer dies here, and nowhere else.

use std::collections::BTreeMap;
use std::fmt;

use super::dead::Dead;

/// A pack that the current revision refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pack<Id> {
    /// Its name.
    pub id: Id,
    /// Bytes stored in it.
    pub size: u64,
    /// Bytes of them that the current revision refers to.
    pub live: u64,
    /// The generation that wrote it.
    pub written: u64,
}

/// Bytes of many packs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// Stored.
    pub size: u64,
    /// Referred to.
    pub live: u64,
}

/// A count that cannot be right: what is written down of the packs does not belong to the map. Nothing may be deleted by such a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miscount<Id> {
    /// The table has no such pack.
    Unknown(Id),
    /// The table has a pack of this name already. A name is used once.
    Twice(Id),
    /// More bytes of the pack are said to be in use, or to be no longer so, than it has.
    TooMany(Id),
}

impl Bytes {
    /// Of these packs.
    pub fn of<'a, Id: 'a>(packs: impl IntoIterator<Item = &'a Pack<Id>>) -> Self {
        let add = |sum: Self, pack: &Pack<Id>| Self { size: sum.size.saturating_add(pack.size), live: sum.live.saturating_add(pack.live) };
        packs.into_iter().fold(Self::default(), add)
    }
}

impl<Id: fmt::Debug> fmt::Display for Miscount<Id> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(id) => write!(f, "the pack table has no pack {id:?}, which the map refers to"),
            Self::Twice(id) => write!(f, "the pack table has pack {id:?} already"),
            Self::TooMany(id) => write!(f, "the pack table counts fewer bytes of pack {id:?} than the map refers to"),
        }
    }
}

impl<Id: fmt::Debug> std::error::Error for Miscount<Id> {}

/// All packs of the current revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table<Id>(BTreeMap<Id, Pack<Id>>);

impl<Id> Default for Table<Id> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<Id: Copy + Ord> Table<Id> {
    /// Adds a pack that was just written, or read from a manifest.
    ///
    /// # Errors
    /// If there is one of its name, or it has more live bytes than bytes.
    pub fn add(&mut self, pack: Pack<Id>) -> Result<(), Miscount<Id>> {
        if pack.live > pack.size {
            return Err(Miscount::TooMany(pack.id));
        }
        match self.0.insert(pack.id, pack) {
            None => Ok(()),
            Some(_) => Err(Miscount::Twice(pack.id)),
        }
    }

    /// The revision refers to so many bytes of a pack no longer: their block was changed, moved or removed. To be said once of each block.
    ///
    /// # Errors
    /// If there is no such pack, or it has fewer live bytes.
    pub fn release(&mut self, id: Id, bytes: u64) -> Result<(), Miscount<Id>> {
        let pack = self.0.get_mut(&id).ok_or(Miscount::Unknown(id))?;
        pack.live = pack.live.checked_sub(bytes).ok_or(Miscount::TooMany(id))?;
        Ok(())
    }

    /// Takes out the packs without a live byte. `generation` is the first one that does not refer to them; none after it ever will, because
    /// blocks are only put into new packs.
    pub fn take_dead(&mut self, generation: u64) -> Vec<Dead<Id>> {
        let dead = |pack: &Pack<Id>| Dead { id: pack.id, size: pack.size, written: pack.written, died: generation, since: None };
        let dead: Vec<Dead<Id>> = self.0.values().filter(|pack| pack.live == 0).map(dead).collect();
        self.0.retain(|_, pack| pack.live > 0);
        dead
    }

    /// A pack by its name.
    pub fn get(&self, id: Id) -> Option<&Pack<Id>> {
        self.0.get(&id)
    }

    /// Every pack, in the order of their names.
    pub fn packs(&self) -> impl Iterator<Item = &Pack<Id>> {
        self.0.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> Bytes {
        Bytes::of(self.packs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_dies_with_its_last_live_byte() {
        let mut table = Table::default();
        table.add(Pack { id: 1, size: 100, live: 100, written: 4 }).unwrap();
        table.add(Pack { id: 2, size: 50, live: 20, written: 3 }).unwrap();
        table.release(1, 60).unwrap();
        assert_eq!(table.bytes(), Bytes { size: 150, live: 60 });
        assert_eq!(table.take_dead(5), []);
        table.release(1, 40).unwrap();
        assert_eq!(table.take_dead(6), [Dead { id: 1, size: 100, written: 4, died: 6, since: None }]);
        assert_eq!((table.len(), table.get(1), table.bytes()), (1, None, Bytes { size: 50, live: 20 }));
    }

    #[test]
    fn a_wrong_count_is_an_error() {
        let mut table = Table::default();
        table.add(Pack { id: 1, size: 100, live: 100, written: 4 }).unwrap();
        assert_eq!(table.release(2, 1), Err(Miscount::Unknown(2)));
        assert_eq!(table.release(1, 101), Err(Miscount::TooMany(1)));
        assert_eq!(table.add(Pack { id: 1, size: 1, live: 1, written: 5 }), Err(Miscount::Twice(1)));
        assert_eq!(table.add(Pack { id: 3, size: 1, live: 2, written: 5 }), Err(Miscount::TooMany(3)));
        assert_eq!(Miscount::TooMany(1).to_string(), "the pack table counts fewer bytes of pack 1 than the map refers to");
    }
}
