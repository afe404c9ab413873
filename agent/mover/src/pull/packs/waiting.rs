//! The new blocks of a file that is changed in place, while they wait in the staging folder for all others: one file of records, in the order in
//! which they came. A block is in it as the remote has it, compressed: a pull writes what it fetches once more, and what changes once.
//!
//! Each record bears the hash of its block and one of what it says of it, so what a crash of the node has left of the file tells by itself how far
//! it is right. It has the name of the content that the blocks are of, which says what each of them holds: a record too many is none that is wrong.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::FileExt;

use super::bits::Bits;
use crate::error::Result;
use crate::packs::block::Unpacker;
use crate::packs::id::ObjectId;
use crate::packs::reference::{BlockRef, Form, Place};
use crate::packs::salt::{Hash, Salt};
use crate::packs::size::BlockSize;
use crate::stop::Stop;

/// Bytes of a record before those of its block: number, bytes that follow, form, the block's hash, and the hash of all these.
pub(super) const HEADER: usize = 48;
const RAW: u32 = 0;
const ZSTD: u32 = 1;

/// What a file of records is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Of {
    /// Bytes of the file that its blocks are of.
    pub(super) size: u64,
    pub(super) block: BlockSize,
    pub(super) salt: Salt,
}

/// Appends a block, `stored` in this form, to a file of so many bytes of whole records; returns how many these are then.
pub(super) fn append(file: &File, end: u64, salt: &Salt, (number, hash): (u64, &Hash), (form, stored): (Form, &[u8])) -> io::Result<u64> {
    let length = u32::try_from(stored.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let form = match form {
        Form::Raw => RAW,
        Form::Zstd => ZSTD,
    };
    let mut record = Vec::with_capacity(HEADER + stored.len());
    record.write_all(&number.to_le_bytes())?;
    record.write_all(&length.to_le_bytes())?;
    record.write_all(&form.to_le_bytes())?;
    record.write_all(&hash.0)?;
    // Of a crash, the number may be what did not get to the disk: the same block under another one would be believed.
    let seal = salt.hash(&record);
    record.write_all(&seal.0)?;
    record.write_all(stored)?;
    file.write_all_at(&record, end)?;
    Ok(end + record.len() as u64)
}

/// Shows the blocks of all records up to the first that is not right, and returns how many bytes these have. What `each` says of a block ends that.
pub(super) fn read(file: &File, of: Of, stop: &Stop, mut each: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<io::Result<u64>> {
    let mut reading = Reading { file: BufReader::with_capacity(128 << 10, file), stored: Vec::new(), unpacker: Unpacker::new()?, of };
    let mut right = 0;
    loop {
        stop.check()?;
        match reading.next() {
            Ok(Some((number, plain, length))) => {
                each(number, plain)?;
                right += length;
            }
            Ok(None) => return Ok(Ok(right)),
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// Which blocks a file of records has, whole. What follows the first record that is not right is cut off.
pub(super) fn left(file: &File, of: Of, stop: &Stop) -> Result<io::Result<Bits>> {
    let mut bits = Bits::default();
    let right = read(file, of, stop, |number, _| {
        bits.set(number);
        Ok(())
    })?;
    Ok(right.and_then(|right| if file.metadata()?.len() > right { file.set_len(right) } else { Ok(()) }).map(|()| bits))
}

struct Reading<'a> {
    file: BufReader<&'a File>,
    stored: Vec<u8>,
    unpacker: Unpacker,
    of: Of,
}

impl Reading<'_> {
    /// The next block: its number, its content, and the bytes of its record. `None` at the end, or where there is none that is right.
    fn next(&mut self) -> io::Result<Option<(u64, &[u8], u64)>> {
        let mut header = [0; HEADER];
        if !filled(&mut self.file, &mut header)? {
            return Ok(None);
        }
        let Of { size, block, salt } = self.of;
        let Some((number, length, form, hash)) = decode(&header, &salt) else { return Ok(None) };
        let plain = block.length(size, number);
        let form = match form {
            RAW => Form::Raw,
            ZSTD => Form::Zstd,
            _ => return Ok(None),
        };
        // No block is stored in more bytes than it has.
        if length == 0 || length > plain {
            return Ok(None);
        }
        self.stored.resize(usize::try_from(length).unwrap_or(0), 0);
        if !filled(&mut self.file, &mut self.stored)? {
            return Ok(None);
        }
        let place = Place { offset: 0, stored: length, form, plain, part: None, born: 0 };
        let block = BlockRef { hash, pack: ObjectId { push: 0, number: 0 }, place };
        let plain = self.unpacker.unpack(&self.stored, &block, &salt).ok();
        Ok(plain.map(|plain| (number, plain, HEADER as u64 + u64::from(length))))
    }
}

/// Whether there are as many bytes as `buffer` has.
fn filled(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

/// Number, length, form and hash of a block; `None` of a header that is not right.
fn decode(header: &[u8; HEADER], salt: &Salt) -> Option<(u64, u32, u32, Hash)> {
    let (said, seal) = header.split_at(HEADER - 16);
    let (number, rest) = said.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (form, hash) = rest.split_first_chunk()?;
    let hash = Hash(hash.try_into().ok()?);
    (salt.hash(said).0 == seal).then(|| (u64::from_le_bytes(*number), u32::from_le_bytes(*length), u32::from_le_bytes(*form), hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packs::block::Packer;
    use std::fs;
    use std::io::Seek;

    const SALT: Salt = Salt([7; 16]);
    const BLOCK: u64 = 16 << 10;

    fn of() -> Of {
        Of { size: 4 * BLOCK + 10, block: BlockSize::new(16 << 10).unwrap(), salt: SALT }
    }

    fn content(number: u64) -> Vec<u8> {
        let length = usize::try_from(of().block.length(of().size, number)).unwrap();
        let noise = fastrand::Rng::with_seed(number);
        let mut noise = noise;
        // Every other one cannot be compressed.
        if number.is_multiple_of(2) { vec![7; length] } else { std::iter::repeat_with(|| noise.u8(..)).take(length).collect() }
    }

    fn written(numbers: &[u64]) -> (File, Vec<u64>) {
        let (file, mut packer) = (tempfile(), Packer::new().unwrap());
        let mut ends = vec![0];
        for number in numbers {
            let plain = content(*number);
            let stored = packer.pack(&plain).unwrap();
            ends.push(append(&file, *ends.last().unwrap(), &SALT, (*number, &SALT.hash(&plain)), stored).unwrap());
        }
        (file, ends)
    }

    fn tempfile() -> File {
        let dir = assert_fs::TempDir::new().unwrap();
        fs::OpenOptions::new().read(true).write(true).create_new(true).open(dir.path().join("log")).unwrap()
    }

    fn numbers(mut file: &File) -> (Vec<u64>, u64) {
        file.rewind().unwrap();
        let mut numbers = Vec::new();
        let right = read(file, of(), &Stop::default(), |number, plain| {
            assert!(plain == content(number), "{number}");
            numbers.push(number);
            Ok(())
        });
        (numbers, right.unwrap().unwrap())
    }

    #[test]
    fn blocks_come_back_in_the_order_they_came_in() {
        let (file, ends) = written(&[4, 1, 2, 1]);
        assert_eq!(numbers(&file), (vec![4, 1, 2, 1], *ends.last().unwrap()));
        assert!(ends[3] - ends[2] < 100, "compressed");
        assert_eq!(numbers(&tempfile()), (vec![], 0));
    }

    #[test]
    fn wherever_it_is_cut_the_records_before_are_right() {
        let (_, ends) = written(&[4, 1, 2]);
        let is_near = |cut: u64| ends.iter().any(|end| cut.abs_diff(*end) <= HEADER as u64 + 1);
        for cut in (0..=ends[3]).filter(|cut| cut.is_multiple_of(509) || is_near(*cut)) {
            let (file, ends) = written(&[4, 1, 2]);
            file.set_len(cut).unwrap();
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            let mut seen = &file;
            seen.rewind().unwrap();
            let bits = left(&file, of(), &Stop::default()).unwrap().unwrap();
            let there: Vec<bool> = (0..6).map(|number| bits.get(number)).collect();
            let expected: Vec<bool> = (0..6).map(|number| [4, 1, 2][..whole].contains(&number)).collect();
            assert_eq!((there, file.metadata().unwrap().len()), (expected, ends[whole]), "{cut}");
            // What comes next follows it.
            let plain = content(3);
            append(&file, ends[whole], &SALT, (3, &SALT.hash(&plain)), (Form::Raw, &plain)).unwrap();
            assert_eq!(numbers(&file).0.last(), Some(&3));
        }
    }

    #[test]
    fn whatever_is_altered_no_other_block_comes_of_it() {
        let (file, ends) = written(&[4, 1, 2]);
        let mut bytes = vec![0; usize::try_from(ends[3]).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        for at in (0..bytes.len()).filter(|at| *at < 200 || at.is_multiple_of(97)) {
            for other in [bytes[at] ^ 1, bytes[at] ^ 0x80, !bytes[at]] {
                file.write_all_at(&[other], at as u64).unwrap();
                let mut read_back = &file;
                read_back.rewind().unwrap();
                let right = read(&file, of(), &Stop::default(), |number, plain| {
                    assert!([4, 1, 2].contains(&number) && plain == content(number), "byte {at}: other content of block {number}");
                    Ok(())
                });
                assert!(right.unwrap().unwrap() <= ends[3]);
            }
            file.write_all_at(&bytes[at..=at], at as u64).unwrap();
        }
    }

    #[test]
    fn absurd_records_take_no_memory() {
        for (number, length, form) in [(0, u32::MAX, RAW), (u64::MAX, 16, RAW), (0, 0, RAW), (1, 16, 9)] {
            let file = tempfile();
            let mut record = Vec::new();
            record.extend(u64::to_le_bytes(number));
            record.extend(u32::to_le_bytes(length));
            record.extend(u32::to_le_bytes(form));
            record.extend([0; 16]);
            record.extend(SALT.hash(&record).0);
            record.extend([0; 16]);
            file.write_all_at(&record, 0).unwrap();
            assert_eq!(numbers(&file), (vec![], 0), "{number} {length} {form}");
        }
    }
}
