//! Writes the journal of a plan whose content is verified and whose entries are ready.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::super::changes::{Change, Changes};
use super::super::target::Target;
use super::read::{LARGEST, SEAL};
use super::row::{Comes, FORMAT, Head, Name, Row};
use crate::error::{Failure, Result};
use crate::format::entries::Entries;
use crate::format::lines::LinesWriter;
use crate::format::manifest::encode;
use crate::packs::salt::Salt;
use crate::packs::size::BlockSize;
use crate::pull::apply::{Applied, for_directories};
use crate::pull::durable;
use crate::pull::plan::{Action, PullPlan, Step};
use crate::pull::prepare::{Lies, Prepared};
use crate::pull::staging::{JOURNAL, Staging};
use crate::report::Reason;
use crate::spill::Records;
use crate::stop::Stop;
use crate::volume::beneath::Root;
use crate::volume::entry::{Entry, Kind};
use crate::volume::path::RelPath;
use crate::volume::walk::meta;

/// What a journal is made of.
pub(in crate::pull::packs) struct Writing<'a> {
    pub(in crate::pull::packs) root: &'a Root,
    pub(in crate::pull::packs) staging: &'a Staging,
    pub(in crate::pull::packs) plan: &'a PullPlan,
    pub(in crate::pull::packs) entries: &'a Entries,
    pub(in crate::pull::packs) targets: &'a [Target],
    pub(in crate::pull::packs) changes: &'a Changes,
    pub(in crate::pull::packs) revision: &'a str,
    pub(in crate::pull::packs) block: BlockSize,
    pub(in crate::pull::packs) salt: Salt,
    pub(in crate::pull::packs) merges: bool,
    pub(in crate::pull::packs) stop: &'a Stop,
}

/// Writes it. Everything that it names has to be on disk by then; once this has returned, it is, too. `applied` is what was done to make ready
/// what is `prepared`.
pub(in crate::pull::packs) fn write(writing: &Writing, prepared: Prepared, applied: &Applied) -> Result<()> {
    let folder = writing.staging.folder();
    durable::write(folder, JOURNAL, |out| {
        let shown = folder.shown(&RelPath::own(JOURNAL));
        let failed = |e: io::Error| Failure::volume("write", &shown, &e);
        let sealing = Sealing { out, hash: Sha256::new(), length: 0 };
        let mut rows = Rows { lines: LinesWriter::new(sealing).map_err(failed)?, failed: &failed };
        writing.all(prepared, applied, &mut rows)?;
        let Sealing { out, hash, length } = rows.lines.finish().map_err(failed)?;
        if length > LARGEST - SEAL {
            let what = "more is to be changed at once than a pull can note beforehand";
            return Err(Failure::new(Reason::MoverFailed, format!("{what}: {length} bytes; pull into an empty volume")));
        }
        out.write_all(&hash.finalize()).map_err(failed)
    })
}

struct Rows<'a, 'f> {
    lines: LinesWriter<Sealing<'a>>,
    failed: &'f dyn Fn(io::Error) -> Failure,
}

impl Rows<'_, '_> {
    fn push(&mut self, row: &impl Serialize) -> Result<()> {
        self.lines.push(row).map_err(self.failed)
    }
}

impl Writing<'_> {
    fn all(&self, prepared: Prepared, applied: &Applied, rows: &mut Rows) -> Result<()> {
        let head = Head {
            format: FORMAT,
            revision: self.revision.to_owned(),
            block: self.block.bytes(),
            salt: self.salt,
            merges: self.merges,
            changed: applied.changed,
            lost: self.plan.lost.all,
            skipped: applied.skipped.clone(),
        };
        rows.push(&Row::Head(Box::new(head)))?;
        for path in &self.plan.early {
            self.stop.check()?;
            // One that has gone is none that a folder was.
            let failed = |e| Failure::volume("read", &self.root.shown(path), &e);
            let is_folder = self.root.find(path)?.map_or(Ok(false), |held| held.look().map(|seen| seen.is_dir())).map_err(failed)?;
            rows.push(&Row::Clear(Name(path.clone()), is_folder))?;
        }
        // Where names are taken for one, what goes may have the name of what comes.
        if self.merges {
            self.late(rows)?;
        }
        self.files(rows)?;
        let mut touched = Touched::default();
        self.plan.gone().for_each(|path| touched.add(path));
        for step in prepared.ready(self.plan.steps(self.entries.read()?)) {
            self.stop.check()?;
            step_of(step?, &mut touched, rows)?;
        }
        if !self.merges {
            self.late(rows)?;
        }
        for_directories(self.entries, |dir| {
            self.stop.check()?;
            if touched.0.contains(&dir.path) || self.differs(dir)? { rows.push(&Row::Meta(Box::new(encode(dir)))) } else { Ok(()) }
        })?;
        match self.entries.read()?.next().transpose()? {
            Some(top) if top.path.is_root() => rows.push(&Row::Meta(Box::new(encode(&top)))),
            _ => Ok(()),
        }
    }

    fn late(&self, rows: &mut Rows) -> Result<()> {
        self.plan.late.iter().try_for_each(|path| self.stop.check().and_then(|()| rows.push(&Row::Remove(Name(path.clone())))))
    }

    /// The files that are changed in place: all zeros, then all sizes, then all new blocks.
    fn files(&self, rows: &mut Rows) -> Result<()> {
        self.blocks(self.changes.zero()?, Row::Zero, rows)?;
        for target in self.targets.iter().filter(|target| target.in_place) {
            self.stop.check()?;
            rows.push(&file(target))?;
            rows.push(&Row::Resize)?;
        }
        self.blocks(self.changes.copied()?, Row::Copy, rows)
    }

    fn blocks(&self, changes: Records<Change>, row: impl Fn(u64, u64) -> Row, rows: &mut Rows) -> Result<()> {
        let mut open = None;
        for change in changes {
            self.stop.check()?;
            let Change { target: at, from, to } = change?;
            let Some(target) = self.targets.get(at) else { continue };
            if open.replace(at) != Some(at) {
                rows.push(&file(target))?;
            }
            rows.push(&row(from, to))?;
        }
        Ok(())
    }

    /// Whether a folder is not there yet, or has other metadata than it is to have.
    fn differs(&self, dir: &Entry) -> Result<bool> {
        let Some(held) = self.root.find(&dir.path)? else { return Ok(true) };
        let look = || Ok(meta(&held, &held.look()?)?.0);
        let there = look().map_err(|e| Failure::volume("read the metadata of", &self.root.shown(&dir.path), &e))?;
        Ok(there != dir.meta)
    }
}

fn step_of(((action, entry), lies): (Step, Option<Lies>), touched: &mut Touched, rows: &mut Rows) -> Result<()> {
    if let Some(lies) = lies {
        let comes = match (action, &entry.kind) {
            (Action::Link, _) => Comes::Link,
            (_, Kind::Dir) => Comes::Folder,
            (_, Kind::File(file)) => Comes::File(file.size),
            _ => Comes::Other,
        };
        touched.add(&entry.path);
        return rows.push(&Row::Put(Name(entry.path), lies, comes));
    }
    match action {
        Action::Patch | Action::Meta => rows.push(&Row::Meta(Box::new(encode(&entry)))),
        _ => Ok(()),
    }
}

fn file(target: &Target) -> Row {
    Row::File(Name(target.path.clone()), target.size, target.digest)
}

/// Folders in which names change, and so their times.
#[derive(Default)]
struct Touched(HashSet<RelPath>);

impl Touched {
    fn add(&mut self, path: &RelPath) {
        if let Some(dir) = path.parent().and_then(RelPath::new) {
            self.0.insert(dir);
        }
    }
}

/// Hashes what is written.
struct Sealing<'a> {
    out: &'a mut BufWriter<File>,
    hash: Sha256,
    length: u64,
}

impl Write for Sealing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
