//! Checkpoints of a first push: what it has sent so far is written down now and then, so that the next one goes on where this one died. They name
//! nothing that is committed, and a commit makes them useless.

use std::collections::BTreeMap;

use super::base::Lineage;
use super::begin::Session;
use super::changes::{finished, writer};
use super::ids::Ids;
use super::left::delete;
use crate::error::Result;
use crate::format::documents::seal;
use crate::format::names::Folder;
use crate::packs::checkpoint::{Checkpoint, UNUSED};
use crate::packs::id::ObjectId;
use crate::packs::limits::FORMAT;
use crate::packs::map::Map;
use crate::packs::reference::PackRow;
use crate::packs::run::{Entries, References, Run};
use crate::push::hold::Hold;
use crate::push::object_names::of_ours;
use crate::remote::packed::Source;
use crate::store::Upload;

/// A checkpoint has all rows, so that they come the rarer the more was sent: all of them together take no more than about so many times the
/// last one.
const PARTS: u64 = 16;
/// Rows between two looks at the stop request.
const ROWS_AT_A_TIME: usize = 1024;

/// Says when the next one is due, and writes it.
pub(super) struct Keeping<'s, 'a> {
    session: &'s Session<'a>,
    lineage: Lineage,
    /// Those that an earlier push has sent.
    before: Vec<Run<Source<'a>>>,
    /// Bytes that were sent, and those at the latest checkpoint.
    sent: u64,
    noted: u64,
}

impl<'s, 'a> Keeping<'s, 'a> {
    /// That of a push which has begun with these runs and packs of so many bytes, sent by an earlier one.
    pub(super) fn new(session: &'s Session<'a>, lineage: Lineage, before: Vec<Run<Source<'a>>>, sent: u64) -> Self {
        Self { session, lineage, before, sent, noted: sent }
    }

    /// Notes that packs of so many bytes were sent; whether a checkpoint is due.
    pub(super) fn sent(&mut self, bytes: u64) -> bool {
        self.sent = self.sent.saturating_add(bytes);
        self.sent - self.noted >= self.session.options.sizes.checkpoint.max(self.noted / PARTS)
    }

    /// Writes one, named `document` and `of`, of all these runs of the push, the oldest first, and of these packs, which have been sent. Blocks
    /// that lie in others are not in it, nor those of files that have no entry at the moment: it is to add up by itself, wherever the look is that it comes from.
    pub(super) fn write(
        &mut self,
        runs: &[Run<Source<'_>>],
        packs: &BTreeMap<ObjectId, PackRow>,
        (document, of): (ObjectId, ObjectId),
    ) -> Result<()> {
        let Session { remote, options, revision, checkpoints, .. } = self.session;
        let stop = &remote.context.stop;
        // Whoever was suspended here, and has been followed by another, sends no more.
        Hold::new(remote, options, &self.session.begin()?.claim).check_before(self.session.at.commit.as_ref(), None, false)?;
        let mut map = Map::open([])?;
        map.follow(0, &self.before);
        map.follow(self.before.len(), runs);
        let mut writer = writer(&remote.context.scratch, self.lineage.block)?;
        let (mut next_file, mut files, mut live) = (0, Ids::default(), BTreeMap::<ObjectId, u64>::new());
        for (number, row) in map.rows::<Entries>().enumerate() {
            if number % ROWS_AT_A_TIME == 0 {
                stop.check()?;
            }
            let (path, node) = row?;
            if let Some(file) = node.file() {
                next_file = next_file.max(file.id + 1);
                files.insert(file.id);
            }
            writer.entry(&path, Some(&node))?;
        }
        for (number, row) in map.rows::<References>().enumerate() {
            if number % ROWS_AT_A_TIME == 0 {
                stop.check()?;
            }
            let (key, of) = row?;
            if packs.contains_key(&of.pack) && files.contains(key.file) {
                *live.entry(of.pack).or_default() += u64::from(of.place.weight());
                writer.block(key, Some(&of))?;
            }
        }
        for (id, row) in packs {
            if let Some(live) = live.get(id) {
                writer.pack(*id, Some(&PackRow { live: *live, ..*row }))?;
            }
        }
        let unused: Vec<ObjectId> = packs.keys().filter(|id| !live.contains_key(id)).take(UNUSED).copied().collect();
        let (file, written) = finished(writer)?;
        let run = written.named(of, revision.generation(), revision.generation());
        let checkpoint = Checkpoint {
            format: FORMAT,
            revision: revision.to_string(),
            owner: options.pusher.owner.clone(),
            number: checkpoints.number().saturating_add(1),
            salt: self.lineage.salt,
            block_size: self.lineage.block.bytes(),
            next_file,
            run,
            unused,
        };
        let name = of.to_string();
        self.session.written.note(Folder::Runs, &name);
        remote.send(vec![Upload { name: name.as_bytes(), file }], Folder::Runs)?;
        self.session.written.note(Folder::Checkpoints, &document.to_string());
        remote.write_object(&document.checkpoint(), &seal(&checkpoint)?)?;
        // From now on these are the next push's, should this one fail.
        self.session.written.keep();
        let older = checkpoints.found(checkpoint.number, vec![document.checkpoint(), of.run()]);
        delete(remote, &older.iter().map(|name| of_ours(name)).collect::<Vec<_>>())?;
        self.noted = self.sent;
        tracing::info!(bytes = self.sent, "noted what has been sent so far");
        Ok(())
    }
}
