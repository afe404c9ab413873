//! A push: observe the volume, decide, write, commit, tidy up. The order of the writes is what keeps the promise that the
//! committed revision is whole at every moment; `docs/remote-format.md` walks through it.

mod ahead;
mod altered;
mod case_collisions;
mod commit;
mod doubt;
mod from_packs;
mod hints;
mod hold;
mod later;
mod lost;
mod mended;
mod neighbours;
mod object_names;
mod observe;
mod old_trees;
mod owner;
mod packs;
mod plan;
mod recover;
mod rehash;
mod remote_state;
mod resume;
mod send;
mod state;
mod tampered;
mod unread;
mod upload;
mod uploaded;
mod uploads;

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

pub use crate::report::Synced;
pub use owner::Pusher;
pub use packs::push_packs;

use crate::clock::{is_due, past};
use crate::error::Result;
use crate::format::documents::{Claim, Commit, Owner, seal};
use crate::format::names::COMMIT;
use crate::format::revision::Revision;
use crate::guard::{Deletions, Guard};
use crate::packs::limits::{BLOCKS_OF_A_MAP, WINDOWS};
use crate::remote::Remote;
use crate::remote::committed::Committed;
use crate::retention::Retention;
use crate::volume::beneath::Root;
use crate::volume::exclude::Exclude;
use crate::volume::hash::Hasher;
use ahead::{Losses, gone};
use hold::{Hold, Manifests, check_unchanged};
use observe::{Known, ObserveContext, Tree, observe};
use owner::Terms;
use plan::{PushPlan, unchanged};
use recover::recover;
use rehash::Rehash;
use remote_state::Strays;
use resume::uploaded_before;
use state::{Found, Prepared, before_writing, died_first, read_committed};
use upload::PushContext;
use uploaded::Uploaded;

/// The options of a push.
#[derive(Clone, Debug)]
pub struct PushOptions {
    /// The volume's root.
    pub volume: PathBuf,
    /// What of it is left out.
    pub exclude: Exclude,
    /// Who pushes.
    pub pusher: Pusher,
    /// When the volume was captured.
    pub data_time: Timestamp,
    /// When this push began.
    pub started: Timestamp,
    /// How often the remote is listed and repaired.
    pub verify_interval: SignedDuration,
    /// The user requests that for this push.
    pub verify_now: bool,
    /// Within which every file is read again, whatever its times say.
    pub rehash_interval: SignedDuration,
    /// How old `checkedTime` of the commit becomes before a push that finds nothing new renews it.
    pub heartbeat_interval: SignedDuration,
    /// What it may delete.
    pub guard: Guard,
    /// Which older revisions stay restorable, of layout Packs.
    pub retention: Retention,
    /// How much it sends at a time, and commits at most, of layout Packs.
    pub sizes: Sizes,
}

/// Sizes of layout Packs. Others than by default in tests alone.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Bytes of a pack; if there is nothing, by what the volume holds.
    pub pack: Option<u64>,
    /// Bytes that a first push sends, at least, before it writes down what it has sent so far.
    pub checkpoint: u64,
    /// Blocks of a volume, at most.
    pub blocks: u64,
    /// Windows of all runs of its map, at most.
    pub windows: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { pack: None, checkpoint: 1 << 30, blocks: BLOCKS_OF_A_MAP, windows: WINDOWS }
    }
}

impl PushOptions {
    /// A time that is not later than the capture, whatever the clock that `data_time` comes from.
    fn captured(&self) -> Timestamp {
        self.data_time.min(self.started)
    }

    /// The latest capture that is known to have had the content of a commit that says so of `last`, where this one has it: a copy may be older
    /// than one that was pushed before. A time in the future is none.
    fn checked(&self, last: Timestamp) -> Timestamp {
        past(last, self.started).map_or(self.captured(), |last| last.max(self.captured()))
    }

    /// Whether the volume may be written to while it is pushed: what was captured before is a copy that does not change.
    fn is_live(&self) -> bool {
        self.captured() >= self.started
    }

    /// Whether this push lists the path, and repairs it.
    pub(super) fn verification_due(&self, commit: &Commit) -> bool {
        self.verify_now || self.died_tidying(commit) || is_due(commit.verified_time, self.verify_interval, self.started)
    }

    /// Whether this object's own commit is one that its agent has no report of.
    pub(super) fn is_unreported(&self, owner: &Owner, revision: &str) -> bool {
        self.pusher.owner == *owner && self.pusher.pushed.as_ref().is_some_and(|known| known != revision)
    }

    /// Whether the push that made this commit was killed before it had cleaned up, so that its agent has no report of it.
    pub(super) fn died_tidying(&self, commit: &Commit) -> bool {
        commit.staged || self.is_unreported(&commit.owner, &commit.revision)
    }

    /// What this push has to read again although its hints vouch for it.
    fn rehash(&self, committed: &Committed) -> Rehash {
        let Commit { rehashed_time, verified_time, .. } = committed.commit;
        let writes = self.verification_due(&committed.commit);
        // Without a time, an older program wrote the commit: a recent one, so that not all is due at once.
        Rehash::new(rehashed_time.unwrap_or(verified_time), self.rehash_interval, self.captured(), writes)
    }
}

/// Pushes the volume.
pub fn push(remote: &Remote, options: &PushOptions) -> Result<Synced> {
    let root = Root::open(&options.volume)?;
    let hasher = Hasher::default();
    remote.context.progress.phase("reading", 0);
    let mut found = read_committed(remote, options)?;
    // Another volume's times and inodes mean nothing here.
    let own = found.committed.as_ref().filter(|_| found.terms == Terms::Own);
    let rehash = own.map_or_else(|| Rehash::of_all(options.captured()), |committed| options.rehash(committed));
    // Hints that were held against a capture in the future have no known age.
    let hints = own.and_then(|committed| Some((committed, past(committed.commit.hints_time, options.captured())?)));
    let sizes = found.committed.as_ref().map_or_else(Known::default, |committed| Known::of_sizes(&committed.entries));
    let known = hints.map_or(sizes, |(committed, time)| Known::of_committed(&committed.entries, time, &rehash));
    let known = known.reading_later(remote.features()?.reads_once);
    let (exclude, context) = (&options.exclude, &remote.context);
    let look = ObserveContext { root: &root, exclude, hasher: &hasher, scratch: &context.scratch, stop: &context.stop };
    let mut tree = observe(look, &known)?;
    if let (Some(committed), Terms::Own) = (&found.committed, found.terms)
        && !options.verification_due(&committed.commit)
        && tree.unsettled.is_empty()
        && unchanged(&committed.entries, &tree.entries, exclude)?
        && !died_first(remote, options)?
    {
        tracing::info!(revision = %committed.revision, "nothing changed");
        let renewed = renew(remote, options, committed, &tree, &rehash)?;
        let commit = renewed.as_ref().unwrap_or(&committed.commit);
        return Ok(Synced { hashed: hasher.bytes_read(), skipped: tree.skipped, ..Synced::from(commit) });
    }

    // From here on something is going to be written.
    let Prepared { mut listing, latest_listed, claimed, old, adopts_all } =
        before_writing(remote, &root, options, &tree.entries, &mut found)?;
    let Found { mut committed, from_packs, terms, unreadable, .. } = found;
    let parent = committed.as_ref().map(|committed| &committed.revision).or(from_packs.as_ref().map(|from| &from.revision));
    let revision = Revision::next(parent, options.started)?;
    let mut claim = Claim::new(revision.as_str(), options.pusher.owner.clone(), options.started);
    claim.adopts = adopts_all && options.pusher.adopt;
    let strays = if adopts_all { Strays::All } else { Strays::Named(&old.names) };
    let hold = Hold::new(remote, options, &claim);
    let (mut claim_written, mut cleared) = (false, 0);
    if let (Some(listing), Some(committed)) = (&mut listing, &mut committed) {
        if committed.commit.staged {
            commit::claim(remote, &claim)?;
            claim_written = true;
            check_unchanged(remote, options, &committed.commit)?;
            cleared = recover(&hold, committed, listing, strays)?;
        }
        tree = doubt::settle(look, tree, committed, listing)?;
    }
    if claimed && tree.entries.totals().unread > 0 {
        // What a killed push has sent already shows by its sum.
        tree = Tree { began: tree.began, ..observe(look, &Known::of(&tree.entries))? };
    }
    let work = PushContext {
        remote,
        options,
        root: &root,
        hasher: &hasher,
        committed: committed.as_ref(),
        from_packs: from_packs.as_ref(),
        unreadable: unreadable.as_ref(),
        listing: listing.as_ref(),
        latest_listed,
        strays,
        folders: listing.is_some() && remote.has_folders()?,
        claimed,
        hold: &hold,
        claim_written,
        superseded: &old.superseded,
        leftovers: &old.leftovers,
        revision: &revision,
        rehashed: rehash.done(),
    };
    let there = uploaded_before(&work, &tree.entries)?;
    let mut uploaded = Uploaded::new(&remote.context.scratch, there)?;
    let plan = work.plan(&mut tree, &mut uploaded)?;
    guard(&work, &plan)?;
    let write = if plan.differs || terms == Terms::Takeover { commit::write } else { commit::repair };
    let mut pushed = write(&work, tree, plan, uploaded)?;
    pushed.took_over = terms == Terms::Takeover;
    pushed.hashed = hasher.bytes_read();
    pushed.deleted += cleared;
    Ok(pushed)
}

/// Says in the commit that the source still has this content, once it is time for that, and what need not be read again by the next
/// pushes: hints that have come of age, and what was due to be read again; and under which patterns it was found. The revision stays what it
/// was. Gives what was written.
fn renew(remote: &Remote, options: &PushOptions, committed: &Committed, tree: &Tree, rehash: &Rehash) -> Result<Option<Commit>> {
    let Commit { rehashed_time, hints_time, .. } = committed.commit;
    let exclude = options.exclude.digest().map(str::to_owned);
    let captured = options.captured();
    let reread = rehash.done() != rehashed_time.unwrap_or(committed.commit.verified_time);
    let checked = options.checked(committed.commit.last_checked());
    let beat = checked != committed.commit.last_checked() && is_due(committed.commit.last_checked(), options.heartbeat_interval, captured);
    let same_exclude = exclude == committed.commit.exclude;
    if same_exclude && !beat && !reread && !hints::came_of_age(&committed.entries, &tree.entries, hints_time, captured)? {
        return Ok(None);
    }
    // Another push may have committed since this one read.
    let manifests = Manifests::list(remote)?;
    if !manifests.has(&committed.revision) {
        return Ok(None);
    }
    let (checked_time, rehashed_time) = (Some(checked), Some(rehash.done()));
    let commit = Commit { checked_time, hints_time: captured, rehashed_time, exclude, ..committed.commit.clone() };
    remote.write_object(COMMIT, &seal(&commit)?)?;
    manifests.check(remote, options, &commit)?;
    Ok(Some(commit))
}

fn guard(work: &PushContext, plan: &PushPlan) -> Result<()> {
    if let Some(from) = work.from_packs {
        let Losses { gone, names, after } = gone(from.entries.read()?, plan.entries.read()?)?;
        let (base, before) = (from.revision.as_str(), from.entries.totals().count());
        return work.options.guard.check(&Deletions { place: "the remote path", base, before, gone, names, after });
    }
    let commit = work.committed.map(|committed| &committed.commit).or(work.unreadable);
    work.options.guard.check(&Deletions {
        place: "the remote path",
        // A path without a commit that can be read has no state but its name.
        base: commit.map_or(work.remote.name(), |commit| commit.revision.as_str()),
        before: plan.before,
        gone: plan.lost,
        names: plan.lost_names,
        after: plan.entries.totals().count(),
    })
}
