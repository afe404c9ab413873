//! Frames: what several small contents share, because each by itself compresses badly.

use crate::packs::limits::FRAME;
use crate::packs::reference::Part;

/// The plain bytes of a frame that is being filled.
#[derive(Debug, Default)]
pub struct Frame {
    plain: Vec<u8>,
}

impl Frame {
    /// Adds a content, and says where it begins; `None`, and nothing is added, if it does not fit in any more.
    pub fn add(&mut self, content: &[u8]) -> Option<u32> {
        let offset = u32::try_from(self.plain.len()).ok()?;
        u32::try_from(self.plain.len().checked_add(content.len())?).ok().filter(|end| *end <= FRAME)?;
        self.plain.extend_from_slice(content);
        Some(offset)
    }

    /// All of it.
    pub fn plain(&self) -> &[u8] {
        &self.plain
    }

    /// The part that begins at `offset`, now that nothing is added any more.
    pub fn part(&self, offset: u32) -> Part {
        Part { offset, frame: u32::try_from(self.plain.len()).unwrap_or(FRAME) }
    }

    /// Makes it an empty one again.
    pub fn clear(&mut self) {
        self.plain.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packs::block::{Packer, Unpacker};
    use crate::packs::id::ObjectId;
    use crate::packs::reference::{BlockRef, Form, Place};
    use crate::packs::salt::Salt;
    use crate::report::Reason;

    #[test]
    fn contents_that_share_a_frame_come_back_each_by_itself() {
        let salt = Salt([1; 16]);
        let contents: Vec<Vec<u8>> = (1..200_u8).map(|n| vec![n; usize::from(n) * 3]).collect();
        let mut frame = Frame::default();
        let offsets: Vec<u32> = contents.iter().map(|content| frame.add(content).unwrap()).collect();
        let mut packer = Packer::new().unwrap();
        let (form, stored) = packer.pack(frame.plain()).unwrap();
        let (mut unpacker, mut weights) = (Unpacker::new().unwrap(), 0);
        for (content, offset) in contents.iter().zip(offsets) {
            let plain = content.len().try_into().unwrap();
            let place = Place { offset: 0, stored: stored.len().try_into().unwrap(), form, plain, part: Some(frame.part(offset)), born: 1 };
            let of = BlockRef { hash: salt.hash(content), pack: ObjectId { push: 1, number: 2 }, place };
            assert_eq!(unpacker.unpack(stored, &of, &salt).unwrap(), content);
            weights += of.place.weight() as usize - 1;
            let beyond = Part { offset: frame.plain().len().try_into().unwrap(), ..frame.part(offset) };
            let wrong = BlockRef { place: Place { part: Some(beyond), ..of.place }, ..of };
            assert_eq!(unpacker.unpack(stored, &wrong, &salt).unwrap_err().reason, Reason::RemoteInconsistent);
        }
        assert_eq!(weights, stored.len(), "together they weigh what is stored");
    }

    /// A pack of which nothing weighs anything would be deleted.
    #[test]
    fn whatever_is_needed_weighs_something() {
        let mut frame = Frame::default();
        let parts: Vec<Part> = (0..1000).map(|_| frame.add(b"x").unwrap()).map(|offset| Part { offset, frame: 1000 }).collect();
        let mut packer = Packer::new().unwrap();
        let stored = packer.pack(frame.plain()).unwrap().1.len().try_into().unwrap();
        let weight = |part| Place { offset: 0, stored, form: Form::Zstd, plain: 1, part: Some(part), born: 1 }.weight();
        let weights: Vec<u32> = parts.into_iter().map(weight).collect();
        assert!(stored < 100 && weights.iter().all(|weight| *weight > 0), "{stored}");
        assert_eq!(weights.iter().sum::<u32>(), stored + 1000);
    }

    #[test]
    fn a_frame_has_128_kib() {
        let mut frame = Frame::default();
        assert_eq!(frame.add(&vec![1; 128 << 10]), Some(0));
        assert_eq!(frame.add(&[1]), None);
        assert_eq!(frame.plain().len(), 128 << 10);
        frame.clear();
        assert_eq!((frame.add(&[1; 1000]), frame.add(&vec![1; 128 << 10]), frame.add(&[2])), (Some(0), None, Some(1000)));
    }
}
