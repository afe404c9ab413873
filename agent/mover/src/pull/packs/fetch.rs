//! Brings the blocks that are missing into the staging folder, each of them verified, and each written to its place in the file that it is for:
//! or to those that wait, where that file is changed in place.
//!
//! Blocks are fetched pack by pack, in the order of the packs' names: of more blocks than there is memory for, the map is read again for the
//! next ones.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use super::patch::to_write;
use super::rows::FileRows;
use super::target::Target;
use super::waiting;
use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::packs::block::Unpacker;
use crate::packs::check::lowest::Lowest;
use crate::packs::id::ObjectId;
use crate::packs::limits::{LARGEST_PACK_OBJECT, TRAILER};
use crate::packs::manifest::Document;
use crate::packs::map::Map;
use crate::packs::policy::merge_gaps::{self, Fetch, Range};
use crate::packs::reference::{BlockRef, Form, Part, Place};
use crate::packs::run::{Packs, ReadAt, References};
use crate::packs::salt::{Hash, Salt};
use crate::packs::{damaged, size::BlockSize};
use crate::pull::REPAIR;
use crate::pull::plan::Step;
use crate::pull::space::{self, Room};
use crate::pull::staging::Staging;
use crate::remote::Remote;
use crate::remote::committed::inconsistent;
use crate::remote::packed::fetch_packs;
use crate::stop::Stop;
use crate::store::Class;
use crate::volume::beneath::Root;
use crate::volume::path::RelPath;

/// Blocks that are kept in memory at a time, of some 80 bytes each.
const AT_A_TIME: usize = 1 << 17;
/// Bytes of whole packs that are fetched at a time, and lie on the volume until their blocks were taken.
const WHOLE: u64 = 2 * LARGEST_PACK_OBJECT;
/// How many these are at most.
const MOST: usize = 64;
/// Staged files that are open at a time.
const OPEN: usize = 64;
/// The part of the staging folder that packs arrive in.
const ARRIVED: &str = "packs";

/// A block that has to be fetched, in the order of packs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Need {
    pack: ObjectId,
    offset: u32,
    /// Where it begins in the plain frame.
    from: u32,
    stored: u32,
    plain: u32,
    /// Plain bytes of the frame; 0 for a block by itself.
    frame: u32,
    zstd: bool,
    /// The place of the file that it is for.
    target: usize,
    number: u64,
    hash: Hash,
}

impl Need {
    fn of(target: usize, number: u64, BlockRef { hash, pack, place }: &BlockRef) -> Self {
        let (from, frame) = place.part.map_or((0, 0), |part| (part.offset, part.frame));
        let Place { offset, stored, plain, form, .. } = *place;
        Self { pack: *pack, offset, from, stored, plain, frame, zstd: form == Form::Zstd, target, number, hash: *hash }
    }

    fn block(&self) -> BlockRef {
        let part = (self.frame > 0).then_some(Part { offset: self.from, frame: self.frame });
        let form = if self.zstd { Form::Zstd } else { Form::Raw };
        let place = Place { offset: self.offset, stored: self.stored, form, plain: self.plain, part, born: 0 };
        BlockRef { hash: self.hash, pack: self.pack, place }
    }

    fn range(&self) -> Range {
        Range { offset: self.offset.into(), length: self.stored.into() }
    }
}

/// What a fetch is of, and where it goes.
pub(super) struct Fetching<'a, R> {
    pub(super) remote: &'a Remote,
    pub(super) root: &'a Root,
    pub(super) map: &'a Map<R>,
    pub(super) document: &'a Document,
    pub(super) staging: &'a Staging,
}

impl<R: ReadAt> Fetching<'_, R> {
    /// Fetches all that `targets` miss. What is `placed` in files in place later needs its room, too.
    pub(super) fn all(&self, targets: &[Target], placed: Room, transferred: &mut u64) -> Result<()> {
        let block = self.document.block().map_err(|what| damaged("the map", &what))?;
        let needed = Self::room(targets, block).plus(placed);
        space::check(self.root, needed)?;
        self.remote.context.progress.phase("fetching", targets.iter().map(|target| target.bytes).sum());
        let (salt, staging) = (self.document.salt, self.staging);
        let (root, open) = (self.root, HashMap::new());
        let mut placing = Placing { root, targets, block, staging, salt, needed, open, unpacker: Unpacker::new()? };
        let explain = |failure| space::explain(failure, root, needed);
        let mut after = None;
        loop {
            let (batch, more) = self.next(targets, after)?;
            let Some(last) = batch.last() else { break };
            after = Some(*last);
            self.batch(&batch, &mut placing, transferred).map_err(explain)?;
            if !more {
                break;
            }
        }
        placing.close().map_err(explain)
    }

    /// What all of it takes in the staging folder.
    fn room(targets: &[Target], block: BlockSize) -> Room {
        let header = waiting::HEADER as u64;
        let records = |target: &Target| if target.in_place { target.bytes.div_ceil(block.bytes().into()) * header } else { 0 };
        let room = |target: &Target| Room { inodes: 0, ..Room::of_content(target.bytes + records(target)) };
        let rooms = targets.iter().filter(|target| target.misses()).map(room);
        rooms.fold(Room::default(), Room::plus)
    }

    /// The next blocks in the order of packs, and whether there are more. No pack is in two batches, unless it is one by itself.
    fn next(&self, targets: &[Target], after: Option<Need>) -> Result<(Vec<Need>, bool)> {
        let mut lowest = Lowest::new(AT_A_TIME, after);
        let mut rows = FileRows::<R, References>::new(self.map);
        for (at, target) in targets.iter().enumerate().filter(|(_, target)| target.misses()) {
            self.remote.context.stop.check()?;
            let mut row = 0;
            rows.of(target.id(), |number, of| {
                self.remote.context.stop.check()?;
                if target.misses_block(row) {
                    lowest.add(Need::of(at, number, &of));
                }
                row += 1;
                Ok(())
            })?;
        }
        let (mut batch, more) = lowest.sorted();
        if let Some(last) = batch.last().filter(|_| more).map(|need| need.pack) {
            let whole = batch.partition_point(|need| need.pack < last);
            batch.truncate(if whole > 0 { whole } else { batch.len() });
        }
        Ok((batch, more))
    }

    fn batch(&self, batch: &[Need], placing: &mut Placing, transferred: &mut u64) -> Result<()> {
        // The time of a round trip is not known, nor what the line carries: those of a server that is not near.
        let gap = merge_gaps::gap(Duration::from_millis(30), 10_000_000);
        let Some(first) = batch.first() else { return Ok(()) };
        let mut packs = self.map.rows_from::<Packs>(&first.pack).peekable();
        let mut whole: Vec<(ObjectId, u64, &[Need])> = Vec::new();
        for needs in batch.chunk_by(|a, b| a.pack == b.pack) {
            let Some(id) = needs.first().map(|need| need.pack) else { continue };
            while packs.next_if(|row| row.as_ref().is_ok_and(|(other, _)| *other < id)).is_some() {}
            let row = packs.next_if(|row| row.as_ref().map_or(true, |(other, _)| *other == id)).transpose()?;
            let size =
                row.map(|(_, row)| row.size).ok_or_else(|| damaged("the map", &format!("pack {id} is not in it, but blocks are")))?;
            let mut ranges: Vec<Range> = needs.iter().map(Need::range).collect();
            ranges.dedup();
            let fetch = merge_gaps::fetch(size.saturating_sub(TRAILER as u64), ranges, gap);
            match fetch.ok_or_else(|| damaged("the map", &format!("blocks of pack {id} share their places, or lie behind its end")))? {
                Fetch::Ranges(ranges) => match needs.get(self.ranges((id, needs), &ranges, placing, transferred)?..) {
                    None | Some([]) => {}
                    Some(left) => whole.push((id, size, left)),
                },
                Fetch::Whole => whole.push((id, size, needs)),
            }
            if whole.len() == MOST || whole.iter().map(|(_, size, _)| size).sum::<u64>() > WHOLE - LARGEST_PACK_OBJECT {
                self.whole(&whole, placing, transferred)?;
                whole.clear();
            }
        }
        self.whole(&whole, placing, transferred)
    }

    /// Fetches these ranges of a pack, and returns how many blocks came with them. A range that does not come proves nothing, and none is asked for
    /// after it.
    fn ranges(&self, (id, needs): (ObjectId, &[Need]), ranges: &[Range], placing: &mut Placing, transferred: &mut u64) -> Result<usize> {
        let mut came = 0;
        for range in ranges {
            self.remote.context.stop.check()?;
            let Ok(bytes) = self.remote.read_range(&id.pack(), range.offset..range.end()) else {
                tracing::info!(pack = %id, "no part of this pack can be read, so all of it is");
                break;
            };
            *transferred += bytes.len() as u64;
            let within = |need: &&Need| range.offset <= need.range().offset && need.range().end() <= range.end();
            for need in needs.iter().skip(came).take_while(within) {
                self.remote.context.stop.check()?;
                let stored =
                    usize::try_from(need.range().offset - range.offset).ok().and_then(|from| bytes.get(from..)?.get(..need.length()));
                placing.place(need, stored.unwrap_or_default()).map_err(|failure| self.explain(failure))?;
                came += 1;
            }
        }
        Ok(came)
    }

    /// Fetches these packs whole, as many at a time as there is room for beside all that is still to come.
    fn whole(&self, mut packs: &[(ObjectId, u64, &[Need])], placing: &mut Placing, transferred: &mut u64) -> Result<()> {
        while let Some((_, size, _)) = packs.first() {
            let (mut room, mut many) = (placing.needed.plus(Self::arriving(*size)), 1);
            space::check(self.root, room)?;
            while let Some((_, size, _)) = packs.get(many) {
                room = room.plus(Self::arriving(*size));
                if !space::fits(self.root, room)? {
                    break;
                }
                many += 1;
            }
            let (now, later) = packs.split_at(many);
            self.at_once(now, placing, transferred)?;
            packs = later;
        }
        Ok(())
    }

    /// The room of a pack that arrives, with the folder that it arrives in.
    fn arriving(size: u64) -> Room {
        Room { inodes: 2, ..Room::of_content(size) }
    }

    fn at_once(&self, packs: &[(ObjectId, u64, &[Need])], placing: &mut Placing, transferred: &mut u64) -> Result<()> {
        let incoming = self.staging.incoming(ARRIVED);
        let ids: Vec<ObjectId> = packs.iter().map(|(id, ..)| *id).collect();
        let error = fetch_packs(self.remote, &ids, &incoming.for_rclone()).err();
        if let Some(error) = error.as_ref().filter(|error| error.class == Class::Mover) {
            return Err(error.clone().into());
        }
        let mut stored = Vec::new();
        for (id, size, needs) in packs {
            self.remote.context.stop.check()?;
            let path = incoming.file(&RelPath::root().child(id.to_string()));
            let failed = |e: &io::Error| Failure::volume("read", &self.staging.arrived().shown(&path), e);
            let there = self.staging.arrived().file(&path)?;
            let length = there.as_ref().map_or(Ok(0), |file| file.metadata().map(|meta| meta.len())).map_err(|e| failed(&e))?;
            let Some(file) = there.filter(|_| length == *size) else {
                return Err(match error {
                    Some(error) if error.class != Class::NotFound && !self.remote.deciphers(&error)? => error.into(),
                    _ if length == 0 => inconsistent(self.remote, &format!(".scribe/{} is missing; {REPAIR}", id.pack())),
                    _ => inconsistent(self.remote, &format!(".scribe/{} has {length} bytes, and the map says {size}; {REPAIR}", id.pack())),
                });
            };
            *transferred += size;
            for need in *needs {
                self.remote.context.stop.check()?;
                stored.resize(need.length(), 0);
                file.read_exact_at(&mut stored, need.offset.into()).map_err(|e| failed(&e))?;
                placing.place(need, &stored).map_err(|failure| self.explain(failure))?;
            }
        }
        self.staging.clear_incoming(&self.remote.context.stop)
    }

    /// What is wrong with a block is said of the remote, too.
    fn explain(&self, failure: Failure) -> Failure {
        if failure.reason == crate::report::Reason::RemoteInconsistent {
            return inconsistent(self.remote, &format!("{}; {REPAIR}", failure.message));
        }
        failure
    }
}

impl Need {
    fn length(&self) -> usize {
        usize::try_from(self.stored).unwrap_or(0)
    }
}

/// Puts blocks into the files that they are for.
struct Placing<'a> {
    root: &'a Root,
    targets: &'a [Target],
    block: BlockSize,
    staging: &'a Staging,
    salt: Salt,
    /// The room that is needed from here on.
    needed: Room,
    /// By content and whether its blocks wait: several names may have one.
    open: HashMap<(Digest, bool), Open>,
    unpacker: Unpacker,
}

/// A file that blocks are put into.
enum Open {
    /// Each to its place.
    Whole(File),
    /// Each behind the others, of which there are so many bytes.
    Waiting(File, u64),
}

impl Placing<'_> {
    /// Closes all files.
    fn close(&mut self) -> Result<()> {
        for ((digest, in_place), open) in self.open.drain() {
            let (Open::Whole(file) | Open::Waiting(file, _)) = open;
            let failed = |e| Failure::volume("write out", &self.staging.verified().shown(&Open::name(&digest, in_place)), &e);
            self.root.flush(&file).map_err(failed)?;
        }
        Ok(())
    }

    fn place(&mut self, need: &Need, stored: &[u8]) -> Result<()> {
        let Some(target) = self.targets.get(need.target) else { return Ok(()) };
        if need.plain != self.block.length(target.size, need.number) {
            return Err(damaged(
                "the map",
                &format!("block {} of file {} has another length than its file gives it", need.number, target.id()),
            ));
        }
        let key = (target.digest, target.in_place);
        if !self.open.contains_key(&key) {
            if self.open.len() == OPEN {
                self.close()?;
            }
            self.open.insert(key, Open::of(target, self.staging)?);
        }
        let plain = self.unpacker.unpack(stored, &need.block(), &self.salt)?;
        let failed = |e: &io::Error| Failure::volume("write to", &Open::shown(target, self.staging), e);
        let header = match self.open.get_mut(&key) {
            Some(Open::Whole(file)) => {
                file.write_all_at(plain, need.number * u64::from(self.block.bytes())).map_err(|e| failed(&e))?;
                0
            }
            Some(Open::Waiting(file, end)) => {
                // A frame has blocks of other files, too.
                let record = if need.zstd && need.frame == 0 { (Form::Zstd, stored) } else { (Form::Raw, plain) };
                *end = waiting::append(file, *end, &self.salt, (need.number, &need.hash), record).map_err(|e| failed(&e))?;
                waiting::HEADER
            }
            None => 0,
        };
        self.needed = self.needed.minus(Room { bytes: (header + plain.len()) as u64, inodes: 0 });
        Ok(())
    }
}

impl Open {
    fn of(target: &Target, staging: &Staging) -> Result<Self> {
        let (folder, name) = (staging.verified(), Self::name(&target.digest, target.in_place));
        let failed = |e: io::Error| Failure::volume("write to", &folder.shown(&name), &e);
        let file = to_write(folder, &name).map_err(failed)?;
        if !target.in_place {
            return Ok(Self::Whole(file));
        }
        let end = file.metadata().map_err(failed)?.len();
        Ok(Self::Waiting(file, end))
    }

    fn name(digest: &Digest, in_place: bool) -> RelPath {
        if in_place { Staging::blocks(digest) } else { Staging::content(digest) }
    }

    fn shown(target: &Target, staging: &Staging) -> PathBuf {
        staging.verified().shown(&Self::name(&target.digest, target.in_place))
    }
}

/// What all of these steps add to the volume, for messages.
pub(super) fn room_of_steps(steps: impl Iterator<Item = Result<Step>>, stop: &Stop) -> Result<Room> {
    let mut room = Room::default();
    for step in steps {
        stop.check()?;
        room = room.plus(Room::of(&step?));
    }
    Ok(room)
}
