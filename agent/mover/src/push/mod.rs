//! A push: observe the volume, decide, write, commit, tidy up. The order of the writes is what keeps the promise that the
//! committed revision is whole at every moment; `docs/remote-format.md` walks through it.
//!
//! Imports everything below it; nothing but [`crate::run`] imports it.

mod alike;
mod altered;
mod neighbours;
mod observe;
mod owner;
mod plan;
mod resume;
mod send;
mod sent;
mod settle;
mod state;
mod write;

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

pub use owner::Asker;

use crate::committed::{Committed, read_commit};
use crate::control::{Commit, seal};
use crate::failure::Result;
use crate::guard::{Deletions, Guard};
use crate::hash::Hasher;
use crate::name_set::NameSet;
use crate::names::COMMIT;
use crate::remote::Remote;
use crate::revision::Revision;
use observe::{Known, Look, Tree, hints_came_of_age, observe};
use owner::Terms;
use plan::{Plan, Strays, unchanged};
use resume::sent_before;
use settle::recover;
use state::{Found, Listed, before_writing, read_committed};

/// Everything a push is told.
#[derive(Clone, Debug)]
pub struct PushOptions {
    /// The volume's root.
    pub volume: PathBuf,
    /// Who pushes.
    pub asker: Asker,
    /// When the volume was captured.
    pub data_time: Timestamp,
    /// When this push began.
    pub started: Timestamp,
    /// How often the remote is listed and repaired.
    pub verify_interval: SignedDuration,
    /// The user asks for that in this push.
    pub verify_now: bool,
    /// What it may delete.
    pub guard: Guard,
}

impl PushOptions {
    /// A time that is not later than the capture, whatever the clock that `data_time` comes from.
    fn captured(&self) -> Timestamp {
        self.data_time.min(self.started)
    }
}

/// What a push came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// What is committed now.
    pub revision: String,
    /// When that was captured.
    pub data_time: Timestamp,
    /// Whether anything was written.
    pub changed: bool,
    /// Whether the path was another object's before.
    pub took_over: bool,
    /// Regular files.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
    /// Bytes sent.
    pub transferred: u64,
    /// File content read from the volume to hash it.
    pub hashed: u64,
    /// Entries removed, of every type.
    pub deleted: u64,
    /// What could not be replicated, by kind.
    pub skipped: BTreeMap<String, u64>,
}

impl Pushed {
    fn of(commit: &Commit) -> Self {
        Self { revision: commit.revision.clone(), data_time: commit.data_time, files: commit.files, bytes: commit.bytes, ..Self::default() }
    }
}

/// Pushes the volume.
pub fn push(remote: &Remote, options: &PushOptions) -> Result<Pushed> {
    let hasher = Hasher::default();
    remote.rclone.progress.phase("reading", 0);
    let mut found = read_committed(remote, options)?;
    let known = match &found.committed {
        // Another volume's times and inodes mean nothing here.
        Some(committed) if found.terms == Terms::Own => Known::of_committed(&committed.entries, committed.commit.hints_time),
        _ => Known::default(),
    };
    let look = Look { root: &options.volume, hasher: &hasher, scratch: &remote.rclone.scratch, stop: &remote.rclone.stop };
    let tree = observe(look, &known)?;
    if let (Some(committed), Terms::Own) = (&found.committed, found.terms)
        && !options.verification_due(&committed.commit)
        && unchanged(&committed.entries, &tree.entries)?
    {
        tracing::info!(revision = %committed.revision, "nothing changed");
        renew_hints(remote, options, committed, &tree)?;
        return Ok(Pushed { hashed: hasher.bytes_read(), skipped: tree.skipped, ..Pushed::of(&committed.commit) });
    }

    // From here on something is going to be written.
    let Listed { mut listing, claimed, ours, adopts_all } = before_writing(remote, options, &mut found)?;
    let strays = if adopts_all { Strays::All } else { Strays::Named(&ours) };
    if let (Some(listing), Some(committed)) = (&mut listing, &mut found.committed) {
        recover(remote, committed, listing, strays)?;
    }
    let Found { committed, terms, unreadable, .. } = found;
    let revision = Revision::next(committed.as_ref().map(|committed| &committed.revision), options.started)?;
    let mut work = send::Work {
        remote,
        options,
        hasher: &hasher,
        committed: committed.as_ref(),
        unreadable: unreadable.map(|commit| commit.revision),
        listing: listing.as_ref(),
        strays,
        there: NameSet::default(),
        claimed,
        revision: &revision,
    };
    work.there = sent_before(&work, &tree.entries)?;
    let plan = work.plan(&tree)?;
    guard(options, committed.as_ref(), &plan)?;
    let mut pushed =
        if plan.differs || terms == Terms::Takeover { write::write(&work, tree, plan)? } else { write::repair(&work, tree, plan)? };
    pushed.took_over = terms == Terms::Takeover;
    pushed.hashed = hasher.bytes_read();
    Ok(pushed)
}

/// What was written right before the last push had to be read again by this one. Says in the commit that this need not be repeated:
/// the revision stays what it was.
fn renew_hints(remote: &Remote, options: &PushOptions, committed: &Committed, tree: &Tree) -> Result<()> {
    if !hints_came_of_age(&committed.entries, &tree.entries, committed.commit.hints_time, options.captured())? {
        return Ok(());
    }
    // Another push may have committed since this one read.
    if read_commit(remote)?.present() != Some(&committed.commit) {
        return Ok(());
    }
    let commit = Commit { hints_time: options.captured(), ..committed.commit.clone() };
    remote.write_object(COMMIT, &seal(&commit)?)??;
    Ok(())
}

fn guard(options: &PushOptions, committed: Option<&Committed>, plan: &Plan) -> Result<()> {
    options.guard.check(&Deletions {
        place: "the remote path",
        base: committed.map_or("", |committed| committed.commit.revision.as_str()),
        before: plan.before,
        gone: plan.lost,
        after: plan.entries.facts().count(),
    })
}
