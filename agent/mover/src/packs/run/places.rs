//! The second half of a row of a block: where it lies within its pack, and how.

use crate::packs::coding::{Decoded, Part, put, put_bytes, put_step};
use crate::packs::reference::{Form, Part as Share, Place};
use crate::packs::size::BlockSize;

/// Compressed by itself; otherwise as it is.
const ZSTD: u8 = 1;
/// Part of a frame.
const SHARED: u8 = 2;
/// Its plain length follows; otherwise it is a whole block.
const SHORT: u8 = 4;
/// Right behind the row before, in the same pack; otherwise the offset follows.
const BEHIND: u8 = 8;
/// Another part of the frame of the row before.
const SAME: u8 = 16;
/// Of another generation than the row before.
const BORN: u8 = 32;
/// Reserved, and refused: 64 for a block that is stored as the difference to what it was, 128 for a length that follows its content.
const KNOWN: u8 = ZSTD | SHARED | SHORT | BEHIND | SAME | BORN;

/// What the row before says, as far as the next one may leave it out.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    /// The row, with the number of its pack in the window.
    place: Option<(usize, Place)>,
    born: u64,
}

impl Before {
    /// The offset behind the row before, if that is in the same pack.
    fn behind(&self, pack: usize) -> Option<u64> {
        self.place.filter(|(number, _)| *number == pack).map(|(_, place)| place.end())
    }

    /// The frame of the row before, if that is part of one in the same pack, and where in it the next part is to be expected.
    fn frame(&self, pack: usize) -> Option<(Place, Share, u64)> {
        let (_, place) = self.place.filter(|(number, _)| *number == pack)?;
        let share = place.part?;
        Some((place, share, u64::from(share.offset) + u64::from(place.plain)))
    }

    fn offset(&self) -> u64 {
        self.place.map_or(0, |(_, place)| place.offset.into())
    }
}

/// A window of places being filled.
#[derive(Debug, Default)]
pub(super) struct PlaceWindow {
    says: Vec<u8>,
    numbers: Vec<u8>,
    before: Before,
}

impl PlaceWindow {
    /// Plain bytes so far.
    pub(super) fn len(&self) -> usize {
        self.says.len() + self.numbers.len()
    }

    /// Adds the place of a block in the pack of this number; `block` is the size of a whole one.
    pub(super) fn add(&mut self, pack: usize, place: &Place, block: u32) {
        let out = &mut self.numbers;
        let same = self.before.frame(pack).filter(|(last, share, _)| {
            (last.offset, last.stored, last.form) == (place.offset, place.stored, place.form)
                && place.part.is_some_and(|part| part.frame == share.frame)
        });
        let behind = same.is_none() && self.before.behind(pack) == Some(place.offset.into());
        let mut says = 0;
        for (is, flag) in [
            (place.form == Form::Zstd, ZSTD),
            (place.part.is_some(), SHARED),
            (place.plain != block, SHORT),
            (behind, BEHIND),
            (same.is_some(), SAME),
            (place.born != self.before.born, BORN),
        ] {
            says |= if is { flag } else { 0 };
        }
        if says & BORN != 0 {
            put_step(out, self.before.born, place.born);
        }
        if says & SHORT != 0 {
            put(out, place.plain.into());
        }
        match (place.part, same) {
            (Some(part), Some((_, _, end))) => put_step(out, end, part.offset.into()),
            (Some(part), None) => [place.stored, part.frame, part.offset].into_iter().for_each(|number| put(out, number.into())),
            (None, _) => {}
        }
        if !behind && same.is_none() {
            put_step(out, self.before.offset(), place.offset.into());
        }
        self.says.push(says);
        self.before = Before { place: Some((pack, *place)), born: place.born };
    }

    /// Its plain bytes.
    pub(super) fn plain(&self) -> Vec<u8> {
        let mut plain = Vec::with_capacity(self.len() + 5);
        put_bytes(&mut plain, &self.says);
        plain.extend_from_slice(&self.numbers);
        plain
    }
}

/// A window of places being read.
#[derive(Debug)]
pub(super) struct Places {
    plain: Vec<u8>,
    says: Part,
    numbers: Part,
    block: BlockSize,
    before: Before,
}

impl Places {
    /// From its plain bytes.
    pub(super) fn of(plain: Vec<u8>, block: BlockSize) -> Decoded<Self> {
        let mut all = Part::all(&plain);
        let length = all.number(&plain)?;
        Ok(Self { says: all.split(length)?, numbers: all, plain, block, before: Before::default() })
    }

    /// Fails unless all of it was read.
    pub(super) fn end(&self) -> Decoded<()> {
        self.says.end()?;
        self.numbers.end()
    }

    /// The next place, of a block in the pack of this number that has this weight.
    pub(super) fn next(&mut self, pack: usize, weight: u32) -> Decoded<Place> {
        let (bytes, numbers, before) = (&self.plain, &mut self.numbers, &self.before);
        let says = self.says.byte(bytes)?;
        if says & !KNOWN != 0 {
            return Err("a block that this version does not know".into());
        }
        let is = |flag| says & flag != 0;
        let born = if is(BORN) { numbers.step(bytes, before.born)? } else { before.born };
        let plain = if is(SHORT) { numbers.small(bytes)? } else { self.block.bytes() };
        let form = if is(ZSTD) { Form::Zstd } else { Form::Raw };
        let (mut stored, mut offset, mut part) = (weight.saturating_sub(1), None, None);
        if is(SAME) {
            let (last, share, end) = before.frame(pack).filter(|_| is(SHARED) && !is(BEHIND)).ok_or("a frame of no other block")?;
            (stored, offset) = (last.stored, Some(last.offset.into()));
            part = Some(Share { offset: small(numbers.step(bytes, end)?)?, ..share });
        } else if is(SHARED) {
            stored = numbers.small(bytes)?;
            let frame = numbers.small(bytes)?;
            part = Some(Share { frame, offset: numbers.small(bytes)? });
        }
        let offset = match offset {
            Some(offset) => offset,
            None if is(BEHIND) => before.behind(pack).ok_or("a block behind no other one")?,
            None => numbers.step(bytes, before.offset())?,
        };
        let place = Place { offset: small(offset)?, stored, form, plain, part, born };
        place.check(self.block)?;
        if place.weight() != weight {
            return Err("a block of another weight than it has".into());
        }
        self.before = Before { place: Some((pack, place)), born };
        Ok(place)
    }
}

fn small(number: u64) -> Decoded<u32> {
    u32::try_from(number).map_err(|_| "an impossible number".into())
}
