//! A pack: the stored bytes of blocks and frames one after another, and a trailer.
//!
//! The map alone says what lies where; a pack is never read without it. The trailer is there for who has the object and no map, or no trust in
//! the listing: it says which pack this is, so that no two packs are the same bytes and the MD5 sum of a listing stands for one name; where the
//! content ends, so that an object which was cut is known as such; and a sum over all before it.

use std::io::{Read, Write};

use md5::{Digest as _, Md5};

use crate::error::{Failure, Result};
use crate::packs::coding::{Decoded, Part};
use crate::packs::id::ObjectId;
use crate::packs::limits::{FORMAT, TRAILER};
use crate::packs::{damaged, misused};

/// What a trailer begins with.
const MAGIC: [u8; 8] = *b"scribpak";
/// Bytes read at a time.
const BUFFER: usize = 64 << 10;

/// Writes a pack.
pub struct PackWriter<W: Write> {
    out: W,
    id: ObjectId,
    md5: Md5,
    at: u64,
    most: u64,
    pieces: u32,
}

/// A pack that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Its name.
    pub id: ObjectId,
    /// Bytes of the object, with its trailer.
    pub size: u64,
    /// Of the whole object.
    pub md5: [u8; 16],
}

impl<W: Write> PackWriter<W> {
    /// A pack of this name, of `most` bytes before its trailer.
    pub fn new(id: ObjectId, out: W, most: u64) -> Self {
        Self { out, id, md5: Md5::new(), at: 0, most, pieces: 0 }
    }

    /// Whether so many bytes more fit in.
    pub fn fits(&self, stored: usize) -> bool {
        self.at.saturating_add(stored as u64) <= self.most
    }

    /// Whether nothing lies in it.
    pub fn is_empty(&self) -> bool {
        self.at == 0
    }

    /// Adds the stored bytes of a block or frame, and says where they begin.
    pub fn add(&mut self, stored: &[u8]) -> Result<u32> {
        let offset = u32::try_from(self.at).ok().filter(|_| self.fits(stored.len()) && !stored.is_empty());
        let offset = offset.ok_or_else(|| misused("a block that does not fit into its pack"))?;
        self.write(stored)?;
        self.pieces += 1;
        Ok(offset)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.md5.update(bytes);
        self.at += bytes.len() as u64;
        self.out.write_all(bytes).map_err(|e| Failure::scratch(&e))
    }

    /// Ends it.
    pub fn finish(mut self) -> Result<(W, Packed)> {
        let mut trailer = Vec::with_capacity(TRAILER);
        trailer.extend_from_slice(&MAGIC);
        trailer.extend_from_slice(&FORMAT.to_le_bytes());
        trailer.extend_from_slice(&self.id.push.to_be_bytes());
        trailer.extend_from_slice(&self.id.number.to_be_bytes());
        trailer.extend_from_slice(&self.pieces.to_le_bytes());
        trailer.extend_from_slice(&self.at.to_le_bytes());
        self.write(&trailer)?;
        let sum: [u8; 16] = self.md5.clone().finalize().into();
        self.write(&sum)?;
        let packed = Packed { id: self.id, size: self.at, md5: self.md5.finalize().into() };
        self.out.flush().map_err(|e| Failure::scratch(&e))?;
        Ok((self.out, packed))
    }
}

/// Reads a pack from end to end, and says what it is: whole, and the one that its trailer names. What lies in it is for the map to say.
pub fn verify(id: ObjectId, mut input: impl Read) -> Result<Packed> {
    let mut md5 = Md5::new();
    // The last bytes read: the trailer, when all are.
    let (mut last, mut buffer, mut size) = (Vec::with_capacity(BUFFER + TRAILER), vec![0; BUFFER], 0_u64);
    // Sums of all bytes but the trailer's sum, which is not known to be that before the end.
    let mut before = Md5::new();
    loop {
        let got = input.read(&mut buffer).map_err(|e| Failure::scratch(&e))?;
        let part = buffer.get(..got).unwrap_or_default();
        md5.update(part);
        size = size.saturating_add(got as u64);
        last.extend_from_slice(part);
        let over = last.len().saturating_sub(TRAILER);
        before.update(last.drain(..over).as_slice());
        if got == 0 {
            break;
        }
    }
    let packed = Packed { id, size, md5: md5.finalize().into() };
    trailer(&packed, &last, before).map_err(|what| damaged(&format!("pack {id}"), &what))?;
    Ok(packed)
}

/// Holds a trailer against the pack that it ends, of whose other bytes `before` is the sum.
fn trailer(packed: &Packed, bytes: &[u8], mut before: Md5) -> Decoded<()> {
    let mut part = Part::all(bytes);
    let says = part.split(TRAILER as u64 - 16).map_err(|_| "it was cut".to_owned());
    let (mut says, sum) = (says?, part.array::<16>(bytes)?);
    before.update(bytes.get(..TRAILER - 16).unwrap_or_default());
    if says.array(bytes)? != MAGIC {
        return Err("it does not end as a pack does".into());
    }
    let format = u32::from_le_bytes(says.array(bytes)?);
    if format != FORMAT {
        return Err(format!("it is of format {format}"));
    }
    let id = ObjectId { push: u64::from_be_bytes(says.array(bytes)?), number: u32::from_be_bytes(says.array(bytes)?) };
    if id != packed.id {
        return Err(format!("it is pack {id}"));
    }
    let (pieces, length) = (u32::from_le_bytes(says.array(bytes)?), u64::from_le_bytes(says.array(bytes)?));
    if length.checked_add(TRAILER as u64) != Some(packed.size) || u64::from(pieces) > length {
        return Err("it has another length than it says".into());
    }
    if sum == <[u8; 16]>::from(before.finalize()) { Ok(()) } else { Err("its sum is another one".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ObjectId = ObjectId { push: 0x0102, number: 3 };

    fn pack(id: ObjectId, blocks: &[&[u8]]) -> (Vec<u8>, Packed) {
        let mut writer = PackWriter::new(id, Vec::new(), 1 << 20);
        let mut at = 0;
        assert!(writer.is_empty());
        for block in blocks {
            assert_eq!(writer.add(block).unwrap() as usize, at);
            at += block.len();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn a_pack_is_its_blocks_and_says_which_it_is() {
        let (bytes, packed) = pack(ID, &[b"abc", b"d"]);
        assert!(bytes.starts_with(b"abcdscribpak\x02\0\0\0") && bytes.len() == 4 + TRAILER);
        assert_eq!((packed.size, packed.md5), (bytes.len() as u64, Md5::digest(&bytes).into()));
        assert_eq!(verify(ID, &*bytes).unwrap(), packed);
        let other = ID.next().unwrap();
        assert_ne!(pack(other, &[b"abc", b"d"]).1.md5, packed.md5, "one sum, one name");
        assert!(verify(other, &*bytes).unwrap_err().message.contains(&format!("it is pack {ID}")));
    }

    #[test]
    fn what_was_cut_altered_or_added_to_is_no_pack() {
        let large = vec![9; 3 * BUFFER + 17];
        for blocks in [&[&b"abc"[..]][..], &[&large[..], b"abc"]] {
            let (bytes, packed) = pack(ID, blocks);
            assert_eq!(verify(ID, &*bytes).unwrap(), packed);
            let last = bytes.len() - TRAILER - 40.min(bytes.len() - TRAILER);
            for at in (0..bytes.len()).step_by(997).chain(last..bytes.len()) {
                assert!(verify(ID, &bytes[..at]).is_err(), "cut at {at}");
                let mut altered = bytes.clone();
                altered[at] ^= 4;
                assert!(verify(ID, &*altered).is_err(), "altered at {at}");
            }
            assert!(verify(ID, &*[&bytes[..], b"x"].concat()).is_err() && verify(ID, &*[b"x", &bytes[..]].concat()).is_err());
        }
        assert!(verify(ID, &b""[..]).unwrap_err().message.contains("cut"));
    }

    #[test]
    fn a_pack_takes_no_more_than_it_is_to_have() {
        let mut writer = PackWriter::new(ID, Vec::new(), 5);
        writer.add(b"abc").unwrap();
        assert!(writer.fits(2) && !writer.fits(3));
        assert!(writer.add(b"abc").is_err() && writer.add(b"").is_err());
        assert_eq!(writer.add(b"de").unwrap(), 3);
        let (bytes, packed) = writer.finish().unwrap();
        assert_eq!(verify(ID, &*bytes).unwrap(), packed);
    }
}
