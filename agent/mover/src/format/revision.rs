//! The name of one committed state of a path, and how two such names compare.
//!
//! `20261123T042858Z-1c9a77e0-17-5f2e`: time, lineage, generation, salt. Clocks can step back, so order is by
//! generation within a lineage, never by time; a push without a readable parent starts a new random lineage.

use std::fmt;

use jiff::Timestamp;

use crate::error::Result;
use crate::random::random;

/// The largest generation.
const LAST: u64 = u64::MAX / 2;

/// One committed state of a remote path.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Revision {
    text: String,
    lineage: u32,
    generation: u64,
}

impl Revision {
    /// The revision that follows `parent`, or the first one of a new lineage.
    pub fn next(parent: Option<&Self>, now: Timestamp) -> Result<Self> {
        let random = random()?;
        let [fresh, salt] = [random >> 32, random & 0xffff].map(|part| u32::try_from(part).unwrap_or(0));
        let (lineage, generation) = match parent {
            // One that no number of pushes reaches has no follower of its own.
            Some(parent) if parent.generation < LAST => (parent.lineage, parent.generation + 1),
            _ => (fresh, 1),
        };
        let time = now.strftime("%Y%m%dT%H%M%SZ");
        Ok(Self { text: format!("{time}-{lineage:08x}-{generation}-{salt:04x}"), lineage, generation })
    }

    /// Reads a revision; `None` when it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (time, lineage, generation, salt) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        // The text becomes part of object names, so nothing but what `next` writes may pass.
        let plain = |s: &str, len: usize| s.len() == len && s.bytes().all(|b| b.is_ascii_alphanumeric());
        if parts.next().is_some() || !plain(time, 16) || !plain(lineage, 8) || !plain(salt, 4) {
            return None;
        }
        // As `next` writes it, of which there is one for each number.
        if generation.starts_with('0') || !generation.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let generation = generation.parse().ok().filter(|generation| *generation <= LAST)?;
        Some(Self { text: text.to_owned(), lineage: u32::from_str_radix(lineage, 16).ok()?, generation })
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it shares with all that descend from the same first push.
    pub fn lineage(&self) -> u32 {
        self.lineage
    }

    /// Whether the time in its name, by the clock of its push, is before this one.
    pub fn is_before(&self, time: Timestamp) -> bool {
        let stamp = self.text.split('-').next().unwrap_or_default();
        stamp < time.strftime("%Y%m%dT%H%M%SZ").to_string().as_str()
    }

    /// How many commits the lineage had when this one was made.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_follows_its_parent_even_when_the_clock_steps_back() {
        let now: Timestamp = "2026-11-23T04:28:58Z".parse().unwrap();
        let first = Revision::next(None, now).unwrap();
        let second = Revision::next(Some(&first), "2001-01-01T00:00:00Z".parse().unwrap()).unwrap();
        assert_eq!((first.generation(), second.generation()), (1, 2));
        assert_eq!(Revision::parse(second.as_str()).as_ref(), Some(&second));
    }

    #[test]
    fn what_is_no_revision_is_refused() {
        let number = u64::MAX / 2;
        let at = |number| format!("20261123T042858Z-1c9a77e0-{number}-5f2e");
        assert!(Revision::parse(&at(number)).is_some());
        assert_eq!([number + 1, u64::MAX].map(|number| Revision::parse(&at(number))), [None, None]);
        for text in ["", "a-b-c-d", "20261123T042858Z-1c9a77e0-17", "../../../x-1c9a77e0-17-5f2e", "20261123T042858Z-1c9a77e0-+7-5f2e"] {
            assert_eq!(Revision::parse(text), None, "{text}");
        }
    }

    /// A number has one form, so that no revision is longer than the mover's report can take; and one that nothing follows has a follower.
    #[test]
    fn a_generation_is_a_number_that_pushes_reach() {
        let of = |generation: &str| Revision::parse(&format!("20261123T042858Z-1c9a77e0-{generation}-5f2e"));
        assert!(["1", "17", "9223372036854775807"].iter().all(|generation| of(generation).is_some()));
        for bad in ["0", "01", "", "+1", "9223372036854775808", &format!("{}1", "0".repeat(4000))] {
            assert_eq!(of(bad), None, "{bad}");
        }
        let next = Revision::next(of("9223372036854775807").as_ref(), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!((next.generation(), Revision::parse(next.as_str()).as_ref()), (1, Some(&next)));
    }
}
