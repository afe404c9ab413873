//! Rows of blocks: which blocks of which files the window has, and of each that is not gone its hash, its pack and its weight. The places of
//! the same blocks stand in a window of their own, which a push does not need.

use std::ops::Range;

use super::index::Index;
use super::places::{PlaceWindow, Places};
use super::read::{ReadAt, Row, Run, Section};
use crate::error::Result;
use crate::packs::coding::{Decoded, Part, put, put_step};
use crate::packs::id::ObjectId;
use crate::packs::limits::LAST;
use crate::packs::reference::{BlockRef, Hashed, RefKey};
use crate::packs::salt::Hash;

/// Bytes that a row takes, its hash included, in any of its columns and at most.
const ROOM: usize = 96;

/// Blocks of one file that follow each other, all of them there or all of them gone.
#[derive(Clone, Copy, Debug)]
struct Span {
    first: RefKey,
    count: u64,
    gone: bool,
}

/// A window of blocks being filled, hashes and places.
#[derive(Debug, Default)]
pub(super) struct ReferenceWindow {
    spans: Vec<u8>,
    /// The names of the packs that the rows refer to, by their order in it.
    names: Vec<ObjectId>,
    packs: Vec<u8>,
    weights: Vec<u8>,
    hashes: Vec<u8>,
    places: PlaceWindow,
    pub(super) count: u64,
    pub(super) first: Option<RefKey>,
    span: Option<Span>,
    /// Where the span before ended.
    end: RefKey,
}

impl ReferenceWindow {
    /// Plain bytes of the larger of both windows with a further row, at most.
    pub(super) fn with_one(&self) -> usize {
        let hashes = self.spans.len() + self.names.len() * 20 + self.packs.len() + self.weights.len() + self.hashes.len();
        hashes.max(self.places.len()) + 2 * ROOM
    }

    /// Adds a row.
    pub(super) fn add(&mut self, key: RefKey, of: Option<&BlockRef>, block: u32) {
        self.count += 1;
        self.first.get_or_insert(key);
        match &mut self.span {
            Some(Span { first, count, gone }) if *gone == of.is_none() && first.file == key.file && first.block + *count == key.block => {
                *count += 1;
            }
            span => {
                let last = span.replace(Span { first: key, count: 1, gone: of.is_none() });
                self.put_span(last);
            }
        }
        let Some(of) = of else { return };
        // Most blocks are in the pack of the one before.
        let known = self.names.iter().rposition(|name| *name == of.pack);
        let number = known.unwrap_or_else(|| {
            self.names.push(of.pack);
            self.names.len() - 1
        });
        put(&mut self.packs, number as u64);
        put(&mut self.weights, of.place.weight().into());
        self.hashes.extend_from_slice(&of.hash.0);
        self.places.add(number, &of.place, block);
    }

    fn put_span(&mut self, span: Option<Span>) {
        let Some(Span { first, count, gone }) = span else { return };
        let same = first.file == self.end.file;
        put(&mut self.spans, first.file - self.end.file);
        put(&mut self.spans, if same { first.block - self.end.block } else { first.block });
        put(&mut self.spans, count << 1 | u64::from(gone));
        self.end = RefKey { block: first.block + count, ..first };
    }

    /// The plain bytes of both windows.
    pub(super) fn plain(&mut self) -> (Vec<u8>, Vec<u8>) {
        let span = self.span.take();
        self.put_span(span);
        let mut names = Vec::new();
        let mut last = None;
        for name in &self.names {
            let new = last.is_none_or(|last: ObjectId| last.push != name.push);
            names.push(u8::from(new));
            if new {
                names.extend_from_slice(&name.push.to_be_bytes());
            }
            put_step(&mut names, last.filter(|_| !new).map_or(0, |last| last.number.into()), name.number.into());
            last = Some(*name);
        }
        let mut hashes = Vec::new();
        let columns = [&self.spans, &names, &self.packs, &self.weights];
        for column in columns {
            put(&mut hashes, column.len() as u64);
        }
        for column in columns {
            hashes.extend_from_slice(column);
        }
        hashes.extend_from_slice(&self.hashes);
        (hashes, self.places.plain())
    }
}

/// The section of blocks, by file and number, without their places.
#[derive(Debug)]
pub struct Hashes {
    plain: Vec<u8>,
    spans: Part,
    names: Vec<ObjectId>,
    packs: Part,
    weights: Part,
    sums: Part,
    left: u64,
    /// What is left of the span being read.
    span: Option<Span>,
    end: RefKey,
    /// The number among `names` of the last row's pack.
    number: usize,
}

impl Section for Hashes {
    type Key = RefKey;
    type Value = Hashed;

    fn count(index: &Index) -> usize {
        index.hashes.len()
    }

    fn first(index: &Index, at: usize) -> Option<&RefKey> {
        index.hashes.get(at).map(|window| &window.first)
    }

    fn ranges(index: &Index, at: usize) -> Vec<Range<u64>> {
        index.hashes.get(at).map(|of| of.window.offset..of.window.end()).into_iter().collect()
    }

    fn open<R: ReadAt>(run: &Run<R>, at: usize) -> Result<Option<Self>> {
        let Some(of) = run.index.hashes.get(at) else { return Ok(None) };
        let plain = run.window(&of.window)?;
        Self::of(plain, of.rows).map(Some).map_err(|what| run.damaged(what))
    }

    fn next(&mut self) -> Decoded<Option<Row<Self>>> {
        let Some(left) = self.left.checked_sub(1) else {
            for part in [self.spans, self.packs, self.weights, self.sums] {
                part.end()?;
            }
            return if self.span.is_none() { Ok(None) } else { Err("more blocks than rows".into()) };
        };
        self.left = left;
        let span = match self.span.take() {
            Some(span) => span,
            None => self.next_span()?,
        };
        let key = span.first;
        let next = RefKey { block: key.block + 1, ..key };
        self.span = (span.count > 1).then_some(Span { first: next, count: span.count - 1, ..span });
        Ok(Some((key, if span.gone { None } else { Some(self.hashed()?) })))
    }
}

impl Hashes {
    fn of(plain: Vec<u8>, rows: u64) -> Decoded<Self> {
        let mut all = Part::all(&plain);
        let mut lengths = [0; 4];
        for length in &mut lengths {
            *length = all.number(&plain)?;
        }
        let [spans, mut names, packs, weights] = {
            let [spans, names, packs, weights] = lengths;
            [all.split(spans)?, all.split(names)?, all.split(packs)?, all.split(weights)?]
        };
        let names = self::names(&mut names, &plain, all.left() / 16)?;
        let (end, number) = (RefKey::default(), 0);
        Ok(Self { spans, names, packs, weights, sums: all, left: rows, span: None, end, number, plain })
    }

    fn next_span(&mut self) -> Decoded<Span> {
        let bytes = &self.plain;
        let (file, block, count) = (self.spans.number(bytes)?, self.spans.number(bytes)?, self.spans.number(bytes)?);
        let (gone, count) = (count & 1 == 1, count >> 1);
        let first = RefKey {
            file: self.end.file.saturating_add(file),
            block: if file == 0 { self.end.block.saturating_add(block) } else { block },
        };
        let end = first.block.saturating_add(count);
        if first.file > LAST || end > LAST || count == 0 {
            return Err("an impossible block".into());
        }
        self.end = RefKey { block: end, ..first };
        Ok(Span { first, count, gone })
    }

    fn hashed(&mut self) -> Decoded<Hashed> {
        let bytes = &self.plain;
        self.number = self.packs.small(bytes)?;
        let pack = *self.names.get(self.number).ok_or("a block in a pack without a name")?;
        Ok(Hashed { hash: Hash(self.sums.array(bytes)?), pack, weight: self.weights.small(bytes)? })
    }
}

/// Names of packs, no more than there are blocks.
fn names(part: &mut Part, bytes: &[u8], most: usize) -> Decoded<Vec<ObjectId>> {
    let mut names: Vec<ObjectId> = Vec::new();
    while part.left() > 0 {
        let (push, before) = match (part.byte(bytes)?, names.last()) {
            (0, Some(last)) => (last.push, last.number),
            (1, _) => (u64::from_be_bytes(part.array(bytes)?), 0),
            _ => return Err("an impossible name of a pack".into()),
        };
        let number = u32::try_from(part.step(bytes, before.into())?).map_err(|_| "an impossible name of a pack")?;
        if names.len() == most {
            return Err("more packs than blocks".into());
        }
        names.push(ObjectId { push, number });
    }
    Ok(names)
}

/// The section of blocks, by file and number, with all that is said of them.
#[derive(Debug)]
pub struct References {
    hashes: Hashes,
    places: Places,
}

impl Section for References {
    type Key = RefKey;
    type Value = BlockRef;

    fn count(index: &Index) -> usize {
        index.hashes.len()
    }

    fn first(index: &Index, at: usize) -> Option<&RefKey> {
        index.hashes.get(at).map(|window| &window.first)
    }

    fn ranges(index: &Index, at: usize) -> Vec<Range<u64>> {
        let places = index.places.get(at).map(|window| window.offset..window.end());
        Hashes::ranges(index, at).into_iter().chain(places).collect()
    }

    fn open<R: ReadAt>(run: &Run<R>, at: usize) -> Result<Option<Self>> {
        let (Some(hashes), Some(window)) = (Hashes::open(run, at)?, run.index.places.get(at)) else { return Ok(None) };
        let places = Places::of(run.window(window)?, run.index.block).map_err(|what| run.damaged(what))?;
        Ok(Some(Self { hashes, places }))
    }

    fn next(&mut self) -> Decoded<Option<Row<Self>>> {
        let Some((key, hashed)) = self.hashes.next()? else {
            self.places.end()?;
            return Ok(None);
        };
        let Some(Hashed { hash, pack, weight }) = hashed else { return Ok(Some((key, None))) };
        let place = self.places.next(self.hashes.number, weight)?;
        Ok(Some((key, Some(BlockRef { hash, pack, place }))))
    }
}
