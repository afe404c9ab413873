//! A push: observe the volume, decide, write, commit, tidy up. The order of the writes is what keeps the promise that the
//! committed revision is whole at every moment; `docs/remote-format.md` walks through it.
//!
//! Imports everything below it; nothing but [`crate::run`] imports it.

mod alike;
mod altered;
mod doubt;
mod hints;
mod observe;
mod owner;
mod plan;
mod rehash;
mod resume;
mod send;
mod sent;
mod settle;
mod write;

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

pub use owner::Asker;

use crate::clock::{is_due, past};
use crate::committed::{Committed, read_commit, read_manifest};
use crate::control::{Claim, Commit, Control, seal};
use crate::failure::{Failure, Result};
use crate::guard::{Deletions, Guard};
use crate::hash::Hasher;
use crate::names::{CLAIM, COMMIT, CONTROL_DIR};
use crate::remote::{Listing, Remote};
use crate::report::Reason;
use crate::revision::Revision;
use observe::{Known, Look, Tree, observe};
use owner::{Terms, judge};
use plan::{Plan, Strays, unchanged};
use rehash::Rehash;

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
    /// Within which every file is read again, whatever its times say.
    pub rehash_interval: SignedDuration,
    /// What it may delete.
    pub guard: Guard,
}

impl PushOptions {
    /// A time that is not later than the capture, whatever the clock that `data_time` comes from.
    fn captured(&self) -> Timestamp {
        self.data_time.min(self.started)
    }

    /// Whether the volume may be written to while it is pushed: what was captured before is a copy that nobody writes to.
    fn is_live(&self) -> bool {
        self.captured() >= self.started
    }

    /// Whether the path is to be listed and repaired.
    fn is_verification_due(&self, commit: &Commit) -> bool {
        is_due(commit.verified_time, self.verify_interval, self.started)
    }

    /// What this push has to read again although its hints vouch for it.
    fn rehash(&self, committed: &Committed) -> Rehash {
        let Commit { rehashed_time, verified_time, .. } = committed.commit;
        let writes = died_tidying(self, committed) || self.is_verification_due(&committed.commit);
        // Without a time, an older program wrote the commit: a recent one, so that not all is due at once.
        Rehash::new(rehashed_time.unwrap_or(verified_time), self.rehash_interval, self.captured(), writes)
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
    /// Names removed from the remote.
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
    let Found { committed, mut terms, unreadable } = read_committed(remote, options)?;
    // Another volume's times and inodes mean nothing here.
    let own = committed.as_ref().filter(|_| terms == Terms::Own);
    let rehash = own.map_or_else(|| Rehash::of_all(options.captured()), |committed| options.rehash(committed));
    // If hints were held against a capture in the future, nobody knows when.
    let hints = own.and_then(|committed| Some((committed, past(committed.commit.hints_time, options.captured())?)));
    let known = hints.map_or_else(Known::default, |(committed, time)| Known::of_committed(&committed.entries, time, &rehash));
    let look = Look { root: &options.volume, hasher: &hasher, scratch: &remote.rclone.scratch, stop: &remote.rclone.stop };
    let tree = observe(look, &known)?;
    if let (Some(committed), Terms::Own) = (&committed, terms) {
        let overdue = options.is_verification_due(&committed.commit) || died_tidying(options, committed);
        if !overdue && tree.unsettled.is_empty() && unchanged(&committed.entries, &tree.entries)? {
            tracing::info!(revision = %committed.revision, "nothing changed");
            renew(remote, options, committed, &tree, &rehash)?;
            return Ok(Pushed { hashed: hasher.bytes_read(), skipped: tree.skipped, ..Pushed::of(&committed.commit) });
        }
    }

    // From here on something is going to be written.
    let mut committed = committed;
    let mut tree = tree;
    let listed = list_if_due(remote, options, committed.as_ref(), &tree, unreadable.is_some(), &mut terms)?;
    let Listed { mut listing, claimed, strays } = listed;
    if let Some(listing) = &mut listing {
        settle::refuse_nested(remote, committed.as_ref(), listing)?;
        if let Some(committed) = &mut committed {
            settle::settle(remote, committed, listing, strays == Strays::Drop)?;
            tree = doubt::settle(look, tree, committed, listing)?;
        }
    }
    let revision = Revision::next(committed.as_ref().map(|committed| &committed.revision), options.started)?;
    let work = send::Work {
        remote,
        options,
        hasher: &hasher,
        committed: committed.as_ref(),
        unreadable,
        listing: listing.as_ref(),
        strays,
        claimed,
        revision: &revision,
        rehashed: rehash.done(),
    };
    let plan = work.plan(&tree)?;
    guard(options, committed.as_ref(), &plan)?;
    let mut pushed =
        if plan.differs || terms == Terms::Takeover { write::write(&work, tree, plan)? } else { write::repair(&work, tree, plan)? };
    pushed.took_over = terms == Terms::Takeover;
    pushed.hashed = hasher.bytes_read();
    Ok(pushed)
}

/// Whether the push that made this commit died before it had tidied up: nobody was told of its end.
fn died_tidying(options: &PushOptions, committed: &Committed) -> bool {
    let known = options.asker.pushed.as_ref();
    committed.commit.staged
        || options.asker.owner == committed.commit.owner && known.is_some_and(|known| *known != committed.commit.revision)
}

/// Says in the commit what need not be read again by the next pushes: hints that have come of age, and what was due to be read again. The
/// revision stays what it was.
fn renew(remote: &Remote, options: &PushOptions, committed: &Committed, tree: &Tree, rehash: &Rehash) -> Result<()> {
    let Commit { rehashed_time, hints_time, .. } = committed.commit;
    let reread = rehash.done() != rehashed_time.unwrap_or(committed.commit.verified_time);
    if !reread && !hints::came_of_age(&committed.entries, &tree.entries, hints_time, options.captured())? {
        return Ok(());
    }
    // Another push may have committed since this one read.
    if read_commit(remote)?.present() != Some(&committed.commit) {
        return Ok(());
    }
    let commit = Commit { hints_time: options.captured(), rehashed_time: Some(rehash.done()), ..committed.commit.clone() };
    remote.write_object(COMMIT, &seal(&commit)?)??;
    Ok(())
}

/// What a push begins with.
struct Found {
    committed: Option<Committed>,
    terms: Terms,
    /// The revision of a commit that nobody can restore.
    unreadable: Option<String>,
}

/// Reads commit and manifest, and whether we may go on.
fn read_committed(remote: &Remote, options: &PushOptions) -> Result<Found> {
    let none = |terms, unreadable| Ok(Found { committed: None, terms, unreadable });
    let commit: Commit = match read_commit(remote)? {
        Control::Absent => return none(Terms::Own, None),
        Control::Present(commit) => commit,
        Control::Corrupt(_) if options.asker.adopt => return none(Terms::Takeover, None),
        Control::Corrupt(what) => return Err(damaged(remote, COMMIT, &what)),
    };
    let terms = judge(&options.asker, &commit.owner, remote.name())?;
    let revision = commit.revision.clone();
    match read_manifest(remote, commit) {
        Ok(committed) => Ok(Found { committed: Some(committed), terms, unreadable: None }),
        // Nobody can restore such a commit, so there is nothing to keep whole: push everything anew.
        Err(Failure { reason: Reason::RemoteInconsistent, message }) => {
            tracing::warn!(message, "the committed revision cannot be read; everything is pushed anew");
            none(terms, Some(revision))
        }
        Err(failure) => Err(failure),
    }
}

/// What a push that is going to write knows of the path beyond its commit.
struct Listed {
    listing: Option<Listing>,
    /// A claim of ours is there: a push died.
    claimed: bool,
    strays: Strays,
}

fn list_if_due(
    remote: &Remote,
    options: &PushOptions,
    committed: Option<&Committed>,
    tree: &Tree,
    unreadable: bool,
    terms: &mut Terms,
) -> Result<Listed> {
    let due = committed.is_none_or(|committed| died_tidying(options, committed) || options.is_verification_due(&committed.commit));
    let list = || committed.map_or_else(|| remote.list(""), |committed| altered::list(remote, options, committed, &tree.entries));
    let mut listing = if due { Some(list()?) } else { None };
    let claim_key = format!("{CONTROL_DIR}/{CLAIM}");
    let claim: Control<Claim> = if listing.as_ref().is_none_or(|listing| listing.contains_key(claim_key.as_bytes())) {
        remote.read_control(CLAIM)?
    } else {
        Control::Absent
    };
    if let Some(claim) = claim.present()
        && judge(&options.asker, &claim.owner, remote.name())? == Terms::Takeover
    {
        *terms = Terms::Takeover;
    }
    let claimed = claim != Control::Absent;
    if claimed && listing.is_none() {
        // A push of ours died before its commit, or after it while tidying up: only a listing tells what it left.
        listing = Some(list()?);
    }
    if let (None, false, Some(listing)) = (committed, unreadable, &listing) {
        if let (Control::Corrupt(what), false) = (&claim, options.asker.adopt) {
            return Err(damaged(remote, CLAIM, what));
        }
        if !claimed {
            refuse_foreign_files(remote, options, listing)?;
        }
    }
    // The claim goes after the last object of the old tree: without it, what no manifest accounts for is not ours.
    let ours_to_clean = claimed || committed.is_none_or(|committed| committed.commit.staged);
    Ok(Listed { listing, claimed, strays: if ours_to_clean { Strays::Drop } else { Strays::Keep } })
}

fn damaged(remote: &Remote, name: &str, what: &str) -> Failure {
    Failure::new(
        Reason::RemoteInconsistent,
        format!(
            "{}/{CONTROL_DIR}/{name} is damaged ({what}), so it cannot be told whose the path is; if it is this object's, annotate it with scribe.backube/adopt-path: <path> to push everything anew",
            remote.name()
        ),
    )
}

/// A path that holds files but neither commit nor claim is somebody else's.
fn refuse_foreign_files(remote: &Remote, options: &PushOptions, listing: &Listing) -> Result<()> {
    let Some(first) = listing.keys().min() else {
        return Ok(());
    };
    if options.asker.adopt {
        return Ok(());
    }
    Err(Failure::new(
        Reason::PathNotOurs,
        format!(
            "{} holds {} files that scribe-agent did not write, {:?} among them; use an empty path, or annotate this object with scribe.backube/adopt-path: <path> to replace them",
            remote.name(),
            listing.len(),
            String::from_utf8_lossy(first)
        ),
    ))
}

fn guard(options: &PushOptions, committed: Option<&Committed>, plan: &Plan) -> Result<()> {
    options.guard.check(&Deletions {
        place: "the remote path",
        base: committed.map_or("", |committed| committed.commit.revision.as_str()),
        before: plan.files_before,
        gone: plan.files_gone,
        after: plan.entries.facts().files,
    })
}
