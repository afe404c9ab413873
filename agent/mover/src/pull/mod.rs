//! A pull: read the commit, compare the volume, fetch and verify what differs, and only then touch the live tree.
//!
//! Imports everything below it; nothing but [`crate::run`] imports it.

mod apply;
mod fetch;
mod plan;
mod restore;
mod space;
mod staging;

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::committed::{Committed, read_commit, read_manifest};
use crate::control::{Commit, Control};
use crate::failure::{Failure, Result};
use crate::guard::{Deletions, Guard};
use crate::hash::Hasher;
use crate::names::{CLAIM, CONTROL_DIR, STAGING_DIR};
use crate::path::RelPath;
use crate::remote::Remote;
use crate::report::Reason;
use crate::revision::Revision;
use crate::walk::{Found, OTHER_ATTRIBUTES, walk};
use fetch::Fetched;
use plan::{Content, Plan, compare, plan};
use staging::Staging;

/// A pusher that commits faster than a pull reads is met this often before the pull gives up for now.
const ATTEMPTS: usize = 8;

/// Everything a pull is told.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// The volume's root.
    pub volume: PathBuf,
    /// The revision that this volume is known to hold, if nothing but pulls ever writes to it.
    pub applied: Option<String>,
    /// Whether nothing but pulls ever writes to the volume.
    pub private: bool,
    /// What it may delete.
    pub guard: Guard,
}

/// What a pull came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pulled {
    /// What the volume holds now.
    pub revision: String,
    /// When that was captured.
    pub data_time: Timestamp,
    /// Whether the volume is another one than before.
    pub changed: bool,
    /// Regular files.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
    /// Bytes fetched.
    pub transferred: u64,
    /// File content read from the volume to compare it.
    pub hashed: u64,
    /// Names removed from the volume.
    pub deleted: u64,
    /// What could not be replicated, by kind.
    pub skipped: BTreeMap<String, u64>,
}

/// How a pull ended, if it did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullOutcome {
    /// The volume holds the committed revision.
    Done(Pulled),
    /// Nothing is committed yet.
    WaitingForFirstPush,
}

/// Pulls the committed revision into the volume.
pub fn pull(remote: &Remote, options: &PullOptions) -> Result<PullOutcome> {
    let hasher = Hasher::default();
    let mut transferred = 0;
    let mut last: Option<(Commit, Failure)> = None;
    for _ in 0..ATTEMPTS {
        remote.rclone.progress.phase("reading", 0);
        let commit = match read_commit(remote)? {
            Control::Present(commit) => commit,
            Control::Absent => return nothing_committed(remote),
            Control::Corrupt(what) => {
                return Err(Failure::new(
                    Reason::RemoteInconsistent,
                    format!("{}/{CONTROL_DIR}/commit.json is damaged ({what}); the next push of its source repairs it", remote.name()),
                ));
            }
        };
        let staging_left = options.volume.join(STAGING_DIR).symlink_metadata().is_ok();
        if options.private && options.applied.as_ref() == Some(&commit.revision) && !staging_left {
            tracing::info!(revision = commit.revision, "nothing changed");
            return Ok(PullOutcome::Done(Pulled::of(&commit)));
        }
        // Trouble with the very commit met before is no race with a push, so it is tried just once more.
        if let Some((before, failure)) = &last
            && *before == commit
        {
            let again = attempt(remote, options, commit, &hasher, &mut transferred)?;
            return again.map(PullOutcome::Done).map_err(|_| failure.clone());
        }
        match attempt(remote, options, commit.clone(), &hasher, &mut transferred)? {
            Ok(pulled) => return Ok(PullOutcome::Done(pulled)),
            Err(failure) => {
                tracing::info!(revision = commit.revision, reason = failure.message, "the remote changed under the pull; reading it again");
                last = Some((commit, failure));
            }
        }
    }
    Err(last.map_or_else(Failure::killed, |(_, failure)| failure))
}

/// One attempt at one commit. The inner error means that the remote does not hold what the commit says.
fn attempt(
    remote: &Remote,
    options: &PullOptions,
    commit: Commit,
    hasher: &Hasher,
    transferred: &mut u64,
) -> Result<std::result::Result<Pulled, Failure>> {
    let committed = match read_manifest(remote, commit) {
        Ok(committed) => committed,
        Err(failure) if failure.reason == Reason::RemoteInconsistent => return Ok(Err(failure)),
        Err(failure) => return Err(failure),
    };
    let (stop, root) = (&remote.rclone.stop, &options.volume);
    let walked = walk(root, stop)?;
    let plan = decide(options, &committed, &walked.found, hasher, remote)?;
    let files = committed.commit.files;
    options.guard.check(&Deletions {
        place: "the volume",
        base: committed.revision.as_str(),
        before: plan.files_before,
        gone: plan.files_gone,
        after: files,
    })?;
    let mut applied;
    if walked.staging || !plan.is_metadata_alone() {
        let staging = Staging::open(root)?;
        let fetching = fetch::Fetching { remote, committed: &committed, staging: &staging, verifier: &Hasher::default() };
        applied = match replace(&fetching, options, &plan, transferred)? {
            Ok(applied) => applied,
            Err(path) => {
                return Ok(Err(Failure::new(
                    Reason::RemoteInconsistent,
                    format!(
                        "{} does not hold {path} as revision {} has it; a listing push of its source repairs it",
                        remote.name(),
                        committed.revision
                    ),
                )));
            }
        };
        apply::sync(root)?;
        Staging::remove(root)?;
    } else {
        // A mover that may not change what differs must leave no trace at every pull: marked from the first change on.
        applied = apply::metadata(root, &committed.entries, &plan, || Staging::open(root).map(drop), stop)?;
        if applied.changed {
            apply::sync(root)?;
            Staging::remove(root)?;
        }
    }
    apply::finish_root(root, &committed.entries, &mut applied)?;
    if applied.changed {
        apply::sync(root)?;
    }
    let mut skipped = walked.skipped;
    // What a source has is its push's to count.
    skipped.remove(OTHER_ATTRIBUTES);
    skipped.extend(applied.skipped);
    Ok(Ok(Pulled {
        changed: applied.changed,
        transferred: *transferred,
        hashed: hasher.bytes_read(),
        deleted: plan.files_gone,
        skipped,
        ..Pulled::of(&committed.commit)
    }))
}

/// Fetches, verifies and applies what the plan says: in one go, or in parts where a private volume is short of space. The inner error is
/// the name whose content is not on the remote.
fn replace(
    fetching: &fetch::Fetching,
    options: &PullOptions,
    plan: &Plan,
    transferred: &mut u64,
) -> Result<std::result::Result<apply::Applied, RelPath>> {
    let fetch::Fetching { remote, committed, staging, verifier } = fetching;
    let (stop, root) = (&remote.rclone.stop, &options.volume);
    let mut missing = staging.still_missing(&plan.fetch, verifier, stop)?;
    let mut work = apply::begin(root, &committed.entries, plan, staging, stop);
    let needed = space::needed(plan, &missing);
    let in_parts = options.private && needed > space::free(root)?;
    if in_parts {
        tracing::info!(needed, "the volume is short of space: replacing its files part by part");
        work.removals(&plan.removals)?;
    } else {
        space::check(root, needed)?;
    }
    let mut left = &*plan.steps;
    loop {
        let room = if in_parts { space::free(root)? } else { u64::MAX };
        let (part, rest) = space::split(left, &committed.entries, &missing, |digest| work.uses(digest), room);
        if part.is_empty() && !rest.is_empty() {
            space::check(root, space::of_next(rest, &committed.entries))?;
            return Err(Failure::new(Reason::NoSpace, format!("no file more fits on the volume at {}", root.display())));
        }
        let due = space::content(part, &committed.entries, &mut missing);
        let size = due.values().map(|fetch| fetch.size).sum();
        remote.rclone.progress.phase("fetching", size);
        if let Fetched::Inconsistent(path) = fetching.fetch(&due).map_err(|failure| space::explain(failure, root, needed))? {
            return Ok(Err(path));
        }
        *transferred += size;
        remote.rclone.progress.phase("applying", 0);
        // A crash of the node must not leave a name in place whose content was still on its way to the disk.
        apply::sync(root)?;
        work.steps(part)?;
        left = rest;
        if left.is_empty() {
            break;
        }
    }
    if !in_parts {
        work.removals(&plan.removals)?;
    }
    work.finish().map(Ok)
}

fn decide(options: &PullOptions, committed: &Committed, found: &[Found], hasher: &Hasher, remote: &Remote) -> Result<Plan> {
    let applied = options.applied.as_deref().filter(|_| options.private).and_then(Revision::parse);
    let mut contents = compare(&committed.entries, found, &committed.revision, applied.as_ref());
    let unsure: Vec<_> = committed.entries.iter().zip(&mut contents).filter(|(_, content)| **content == Content::Unsure).collect();
    let paths: Vec<PathBuf> = unsure.iter().map(|(entry, _)| entry.path.under(&options.volume)).collect();
    for ((entry, content), digest) in unsure.into_iter().zip(hasher.all(&paths, &remote.rclone.stop)?) {
        let right = digest.is_some() && digest == entry.file().map(|file| file.sha256);
        *content = if right { Content::Right } else { Content::Wrong };
    }
    Ok(plan(&committed.entries, found, &contents))
}

/// No commit: a path nobody has pushed to yet, or one that holds somebody else's files.
fn nothing_committed(remote: &Remote) -> Result<PullOutcome> {
    let listing = remote.list("")?;
    let claimed = listing.contains_key(format!("{CONTROL_DIR}/{CLAIM}").as_bytes());
    let Some(first) = listing.keys().min().filter(|_| !claimed) else {
        return Ok(PullOutcome::WaitingForFirstPush);
    };
    if listing.contains_key(format!("{CONTROL_DIR}/{}", crate::names::COMMIT).as_bytes()) {
        // Committed between our two looks.
        return Ok(PullOutcome::WaitingForFirstPush);
    }
    Err(Failure::new(
        Reason::PathNotOurs,
        format!(
            "{} holds {} files but no commit of scribe-agent, {:?} among them. If they were written by rclone, Scribe or VolSync, set layout: Plain; otherwise check rcloneDestPath",
            remote.name(),
            listing.len(),
            String::from_utf8_lossy(first)
        ),
    ))
}

impl Pulled {
    fn of(commit: &Commit) -> Self {
        Self { revision: commit.revision.clone(), data_time: commit.data_time, files: commit.files, bytes: commit.bytes, ..Self::default() }
    }
}
