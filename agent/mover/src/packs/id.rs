//! The name of a pack, run or checkpoint: 8 random bytes of the push that writes it, and a number. No such name is ever used twice.

use std::fmt;

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize, Serializer};

use crate::error::Result;
use crate::random::random;

/// A pack, a run or a checkpoint: which of them, the place says where it stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// Random bytes of the push, as a number of big-endian order.
    pub push: u64,
    /// Counts what the push writes.
    pub number: u32,
}

impl ObjectId {
    /// The first name of a push; [`Self::next`] makes the others.
    pub fn first() -> Result<Self> {
        Ok(Self { push: random()?, number: 0 })
    }

    /// The name after this one; `None` after four billion of them.
    pub fn next(self) -> Option<Self> {
        Some(Self { push: self.push, number: self.number.checked_add(1)? })
    }

    /// Reads what `Display` writes: 24 digits of lower-case hexadecimal.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.len() == 24 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let (push, number) = text.split_at_checked(16).filter(|_| plain)?;
        Some(Self { push: u64::from_str_radix(push, 16).ok()?, number: u32::from_str_radix(number, 16).ok()? })
    }

    /// The object of a pack, below `.scribe`.
    pub fn pack(self) -> String {
        format!("packs/{self}")
    }

    /// The object of a run, below `.scribe`.
    pub fn run(self) -> String {
        format!("runs/{self}")
    }

    /// The object of a checkpoint, below `.scribe`.
    pub fn checkpoint(self) -> String {
        format!("checkpoints/{self}")
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:08x}", self.push, self.number)
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for ObjectId {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ObjectId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("no name of a pack or run"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_form_and_sorts_as_it_counts() {
        let first = ObjectId { push: 0xab, number: 9 };
        let next = first.next().unwrap();
        assert_eq!((next.to_string().as_str(), next.pack().as_str()), ("00000000000000ab0000000a", "packs/00000000000000ab0000000a"));
        assert!(first < next && first.to_string() < next.to_string());
        assert_eq!(ObjectId::parse(&next.to_string()), Some(next));
        assert_eq!(ObjectId { number: u32::MAX, ..first }.next(), None);
        assert_ne!(ObjectId::first().unwrap(), ObjectId::first().unwrap());
        for bad in ["", "00000000000000ab0000000", "00000000000000AB0000000a", "+0000000000000ab0000000a", "../../../../../../../../x"] {
            assert_eq!(ObjectId::parse(bad), None, "{bad}");
        }
    }
}
