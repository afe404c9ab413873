//! The new blocks of a file that is changed in place, while they wait in the staging folder for all others: one file of records, in the order in
//! which they came. A block is in it as the remote has it, compressed: a pull writes what it fetches once more, and what changes once.
//!
//! Each record bears the hash of its block, so what a crash of the node has left of the file tells by itself how far it is right. It has the name of
//! the content that the blocks are of, which says what each of them holds: a record too many is none that is wrong.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};

use super::bits::Bits;
use crate::error::Result;
use crate::packs::block::Unpacker;
use crate::packs::id::ObjectId;
use crate::packs::reference::{BlockRef, Form, Place};
use crate::packs::salt::{Hash, Salt};
use crate::packs::size::BlockSize;
use crate::stop::Stop;

/// Bytes of a record before those of its block: number, bytes that follow, form, hash.
pub(super) const HEADER: usize = 32;
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
pub(super) fn append(file: &File, end: u64, number: u64, hash: &Hash, (form, stored): (Form, &[u8])) -> io::Result<u64> {
    use std::os::unix::fs::FileExt;
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
        let Some(number) = self.number::<8>()?.map(u64::from_le_bytes) else { return Ok(None) };
        let Some(length) = self.number::<4>()?.map(u32::from_le_bytes) else { return Ok(None) };
        let Some(form) = self.number::<4>()?.map(u32::from_le_bytes) else { return Ok(None) };
        let Some(hash) = self.number::<16>()?.map(Hash) else { return Ok(None) };
        let Of { size, block, salt } = self.of;
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
        match self.file.read_exact(&mut self.stored) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let place = Place { offset: 0, stored: length, form, plain, part: None, born: 0 };
        let block = BlockRef { hash, pack: ObjectId { push: 0, number: 0 }, place };
        let plain = self.unpacker.unpack(&self.stored, &block, &salt).ok();
        Ok(plain.map(|plain| (number, plain, HEADER as u64 + u64::from(length))))
    }

    fn number<const N: usize>(&mut self) -> io::Result<Option<[u8; N]>> {
        let mut bytes = [0; N];
        match self.file.read_exact(&mut bytes) {
            Ok(()) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packs::block::Packer;
    use std::fs;
    use std::io::Seek;
    use std::os::unix::fs::FileExt;

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
            ends.push(append(&file, *ends.last().unwrap(), *number, &SALT.hash(&plain), stored).unwrap());
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
            append(&file, ends[whole], 3, &SALT.hash(&plain), (Form::Raw, &plain)).unwrap();
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
                    let same = [4, 1, 2].iter().any(|whole| plain == content(*whole));
                    assert!(same, "byte {at}: other content of block {number}");
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
            record.extend([0; 32]);
            file.write_all_at(&record, 0).unwrap();
            assert_eq!(numbers(&file), (vec![], 0), "{number} {length} {form}");
        }
    }
}
