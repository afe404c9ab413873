//! A block of a file on its way into a pack, and out of it.

use std::io;

use crate::error::{Failure, Result};
use crate::packs::id::ObjectId;
use crate::packs::reference::{BlockRef, Form, Place};
use crate::packs::salt::Salt;
use crate::packs::{damaged, misused};
use crate::report::Reason;

/// Level 3 is slower, and of database pages no smaller.
const LEVEL: i32 = 1;

/// Whether a block is one that is not stored.
pub fn is_zero(plain: &[u8]) -> bool {
    plain.iter().all(|byte| *byte == 0)
}

/// Compresses blocks and frames, one by one.
pub struct Packer {
    zstd: zstd::bulk::Compressor<'static>,
    packed: Vec<u8>,
}

impl Packer {
    /// One for any number of blocks.
    pub fn new() -> Result<Self> {
        Ok(Self { zstd: zstd::bulk::Compressor::new(LEVEL).map_err(|e| unusable(&e))?, packed: Vec::new() })
    }

    /// What is stored of these plain bytes: compressed, or as they are where that is no smaller.
    pub fn pack<'a>(&'a mut self, plain: &'a [u8]) -> Result<(Form, &'a [u8])> {
        self.packed.clear();
        self.packed.reserve(zstd::zstd_safe::compress_bound(plain.len()));
        self.zstd.compress_to_buffer(plain, &mut self.packed).map_err(|e| unusable(&e))?;
        Ok(if self.packed.len() < plain.len() { (Form::Zstd, &self.packed) } else { (Form::Raw, plain) })
    }
}

fn unusable(error: &io::Error) -> Failure {
    Failure::new(Reason::MoverFailed, format!("zstd: {error}"))
}

/// Unpacks blocks and frames, and believes none but by its hash.
pub struct Unpacker {
    zstd: zstd::bulk::Decompressor<'static>,
    plain: Vec<u8>,
    /// The frame that `plain` is, by pack and place: its parts mostly come one after another.
    frame: Option<(ObjectId, u32, u32, u32)>,
}

impl Unpacker {
    /// One for any number of blocks.
    pub fn new() -> Result<Self> {
        Ok(Self { zstd: zstd::bulk::Decompressor::new().map_err(|e| unusable(&e))?, plain: Vec::new(), frame: None })
    }

    /// The plain content of the block `of` from `stored`, the bytes of its place.
    pub fn unpack<'a>(&'a mut self, stored: &'a [u8], of: &BlockRef, salt: &Salt) -> Result<&'a [u8]> {
        let what = |what: &str| damaged(&format!("the block at {} of pack {}", of.place.offset, of.pack), what);
        if stored.len() as u64 != u64::from(of.place.stored) {
            return Err(misused("a block was not cut as it is stored"));
        }
        let frame = match of.place.form {
            Form::Raw => stored,
            Form::Zstd if of.place.part.is_some() && self.frame == frame_of(of) => &self.plain,
            Form::Zstd => {
                self.frame = None;
                let length = usize::try_from(of.place.frame()).unwrap_or(0);
                self.plain.clear();
                self.plain.reserve_exact(length);
                self.zstd.decompress_to_buffer(stored, &mut self.plain).map_err(|e| what(&e.to_string()))?;
                self.frame = frame_of(of);
                &self.plain
            }
        };
        let plain = of.place.cut(frame).ok_or_else(|| what("it has another length"))?;
        if salt.hash(plain) == of.hash { Ok(plain) } else { Err(what("its hash is another one")) }
    }
}

/// Which frame a block is a part of; `None` for a block by itself.
fn frame_of(of: &BlockRef) -> Option<(ObjectId, u32, u32, u32)> {
    let Place { offset, stored, part, .. } = of.place;
    Some((of.pack, offset, stored, part?.frame))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SALT: Salt = Salt([7; 16]);

    fn reference(plain: &[u8], form: Form, stored: usize) -> BlockRef {
        let place =
            Place { offset: 9, stored: stored.try_into().unwrap(), form, plain: plain.len().try_into().unwrap(), part: None, born: 1 };
        BlockRef { hash: SALT.hash(plain), pack: ObjectId { push: 1, number: 2 }, place }
    }

    proptest! {
        #[test]
        fn blocks_come_back_and_altered_ones_do_not(
            seed in prop::collection::vec(any::<u8>(), 1..500), times in 1..40_usize, at: prop::sample::Index, bit in 0..8_u8,
        ) {
            let plain = seed.repeat(times);
            let mut packer = Packer::new().unwrap();
            let (form, stored) = packer.pack(&plain).unwrap();
            prop_assert!(stored.len() <= plain.len());
            let of = reference(&plain, form, stored.len());
            let mut unpacker = Unpacker::new().unwrap();
            prop_assert_eq!(unpacker.unpack(stored, &of, &SALT).unwrap(), &plain);
            prop_assert!(unpacker.unpack(stored, &of, &Salt([8; 16])).is_err());
            let mut altered = stored.to_vec();
            altered[at.index(stored.len())] ^= 1_u8 << bit;
            // A bit of a compressed block may be one that means nothing.
            if let Ok(same) = unpacker.unpack(&altered, &of, &SALT) {
                prop_assert_eq!(same, &plain);
            }
        }
    }

    #[test]
    fn what_does_not_get_smaller_is_stored_as_it_is() {
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(16384).collect();
        let mut packer = Packer::new().unwrap();
        assert_eq!(packer.pack(&noise).unwrap(), (Form::Raw, &*noise));
        assert_eq!(packer.pack(b"x").unwrap(), (Form::Raw, &b"x"[..]));
        assert_eq!(packer.pack(&[1; 16384]).unwrap().0, Form::Zstd);
        assert!(is_zero(&[0; 9]) && is_zero(&[]) && !is_zero(&[0, 1]));
    }

    /// A block that unpacks to more than it says fills no memory.
    #[test]
    fn a_block_is_unpacked_to_its_length_and_no_further() {
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
        let of = reference(&[0; 16384], Form::Zstd, bomb.len());
        let mut unpacker = Unpacker::new().unwrap();
        let failure = unpacker.unpack(&bomb, &of, &SALT).unwrap_err();
        assert_eq!(failure.reason, Reason::RemoteInconsistent);
        assert!(unpacker.plain.capacity() < 32 << 10);
        let short = zstd::bulk::compress(&[0; 100], 1).unwrap();
        let failure = unpacker.unpack(&short, &reference(&[0; 101], Form::Zstd, short.len()), &SALT).unwrap_err();
        assert!(failure.message.contains("length"), "{failure}");
    }
}
