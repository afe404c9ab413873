//! Rows of packs: their names, sizes, sums, and how much of each is needed.

use std::ops::Range;

use super::index::Index;
use super::read::{ReadAt, Row, Run, Section};
use crate::error::Result;
use crate::packs::coding::{Decoded, Part, put, put_bytes};
use crate::packs::id::ObjectId;
use crate::packs::reference::PackRow;

/// The pack is there; otherwise it is gone.
const THERE: u8 = 1;
/// Of another push than the row before: its name follows, and a number from 0.
const PUSH: u8 = 2;
/// Bytes that a row takes, its sum included, at most.
const ROOM: usize = 80;

/// A window of packs being filled.
#[derive(Debug, Default)]
pub(super) struct PackWindow {
    rows: Vec<u8>,
    sums: Vec<u8>,
    pub(super) count: u64,
    pub(super) first: Option<ObjectId>,
    last: Option<ObjectId>,
}

impl PackWindow {
    /// Plain bytes of it with a further row, at most.
    pub(super) fn with_one(&self) -> usize {
        self.rows.len() + self.sums.len() + ROOM
    }

    /// Adds a row.
    pub(super) fn add(&mut self, id: ObjectId, row: Option<&PackRow>) {
        self.count += 1;
        self.first.get_or_insert(id);
        let last = self.last.replace(id).filter(|last| last.push == id.push);
        let out = &mut self.rows;
        out.push(if row.is_some() { THERE } else { 0 } | if last.is_none() { PUSH } else { 0 });
        if last.is_none() {
            out.extend_from_slice(&id.push.to_be_bytes());
        }
        put(out, u64::from(id.number) - last.map_or(0, |last| last.number.into()));
        let Some(row) = row else { return };
        for number in [row.size, row.live, row.blocks, row.born] {
            put(out, number);
        }
        self.sums.extend_from_slice(&row.md5);
    }

    /// Its plain bytes.
    pub(super) fn plain(&self) -> Vec<u8> {
        let mut plain = Vec::new();
        put_bytes(&mut plain, &self.rows);
        plain.extend_from_slice(&self.sums);
        plain
    }
}

/// The section of packs, by name.
#[derive(Debug)]
pub struct Packs {
    plain: Vec<u8>,
    rows: Part,
    sums: Part,
    left: u64,
    last: Option<ObjectId>,
}

impl Section for Packs {
    type Key = ObjectId;
    type Value = PackRow;

    fn count(index: &Index) -> usize {
        index.packs.len()
    }

    fn first(index: &Index, at: usize) -> Option<&ObjectId> {
        index.packs.get(at).map(|window| &window.first)
    }

    fn ranges(index: &Index, at: usize) -> Vec<Range<u64>> {
        index.packs.get(at).map(|of| of.window.offset..of.window.end()).into_iter().collect()
    }

    fn open<R: ReadAt>(run: &Run<R>, at: usize) -> Result<Option<Self>> {
        let Some(of) = run.index.packs.get(at) else { return Ok(None) };
        let plain = run.window(&of.window)?;
        let columns = |mut all: Part| {
            let length = all.number(&plain)?;
            Ok((all.split(length)?, all))
        };
        let (rows, sums) = columns(Part::all(&plain)).map_err(|what: String| run.damaged(what))?;
        Ok(Some(Self { rows, sums, left: of.rows, last: None, plain }))
    }

    fn next(&mut self) -> Decoded<Option<Row<Self>>> {
        let Some(left) = self.left.checked_sub(1) else {
            self.rows.end()?;
            self.sums.end()?;
            return Ok(None);
        };
        self.left = left;
        let (bytes, rows) = (&self.plain, &mut self.rows);
        let says = rows.byte(bytes)?;
        let (push, before) = match (says & PUSH, self.last) {
            (0, Some(last)) => (last.push, last.number),
            (PUSH, _) => (u64::from_be_bytes(rows.array(bytes)?), 0),
            _ => return Err("an impossible name of a pack".into()),
        };
        let number = u64::from(before).saturating_add(rows.number(bytes)?);
        let id = ObjectId { push, number: u32::try_from(number).map_err(|_| "an impossible name of a pack")? };
        self.last = Some(id);
        match says & !PUSH {
            0 => Ok(Some((id, None))),
            THERE => {
                let [size, live, blocks, born] = [rows.number(bytes)?, rows.number(bytes)?, rows.number(bytes)?, rows.number(bytes)?];
                let row = PackRow { size, md5: self.sums.array(bytes)?, live, blocks, born };
                row.check()?;
                Ok(Some((id, Some(row))))
            }
            _ => Err("a pack that this version does not know".into()),
        }
    }
}
