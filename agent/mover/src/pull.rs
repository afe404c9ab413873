//! Remote to volume: fetched aside, verified byte by byte, and only then put in place.
//!
//! Imports `apply`, `args`, `control`, `failure`, `manifest`, `names`, `push` (hashing), `report`, `walk`.

use crate::apply::{self, apply};
use crate::args::PullArgs;
use crate::control::{Contents, Remote};
use crate::failure::Failure;
use crate::manifest::{Commit, Kind, Name, Place, Tree};
use crate::names::STAGING;
use crate::push::hash;
use crate::report::{Outcome, Reason, Report};
use crate::walk::{FoundKind, Walked, walk};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How often a newer commit is followed before the pull gives up.
const ROUNDS: usize = 6;

pub(crate) fn pull(args: &PullArgs, remote: &Remote<'_>, report: &mut Report) -> Result<(), Failure> {
    let Some(mut commit) = remote.commit()? else { return nothing(remote, report) };
    let staging = args.common.volume.join(STAGING);
    if args.applied_revision.as_deref() == Some(&commit.revision) && args.private_volume && !staging.exists() {
        return done(report, &commit, false);
    }
    for _ in 0..ROUNDS {
        let attempt = one(args, remote, &commit, &staging, report);
        let newer = match &attempt {
            // The writer may have moved on while we read: then what is missing belonged to the older revision.
            Err(failure) if failure.reason == Reason::RemoteInconsistent => {
                remote.commit()?.filter(|new| new.revision != commit.revision || new.staged != commit.staged)
            }
            _ => None,
        };
        match newer {
            Some(new) => commit = new,
            None => return attempt,
        }
    }
    Err(Failure::new(Reason::RemoteInconsistent, format!("the source pushed {ROUNDS} times during this pull; the volume is as it was")))
}

/// Nothing was pushed here yet, or not by scribe-agent.
fn nothing(remote: &Remote<'_>, report: &mut Report) -> Result<(), Failure> {
    match remote.contents()? {
        // A first push that is under way has a claim and may have some files already.
        Contents::Foreign(name) if remote.claim()?.is_none() => Err(Failure::new(
            Reason::PathNotOurs,
            format!(
                "the path holds files that scribe-agent did not write ({name:?}): a ReplicationSource has to push to it; correct spec.rclone.rcloneDestPath"
            ),
        )),
        _ => {
            report.result = Outcome::WaitingForFirstPush;
            "nothing has been pushed to this path yet".clone_into(&mut report.message);
            Ok(())
        }
    }
}

fn done(report: &mut Report, commit: &Commit, changed: bool) -> Result<(), Failure> {
    report.result = Outcome::Successful;
    report.changed = changed;
    report.revision = Some(commit.revision.clone());
    report.data_time = Some(commit.data_time);
    report.files = commit.files;
    report.bytes = commit.bytes;
    Ok(())
}

fn one(args: &PullArgs, remote: &Remote<'_>, commit: &Commit, staging: &Path, report: &mut Report) -> Result<(), Failure> {
    let root = &args.common.volume;
    let tree = remote.manifest(commit)?;
    let there = walk(root)?;
    let leftovers = staging.exists();
    if !leftovers && apply::matches(&there, &tree) {
        return done(report, commit, false);
    }
    let wanted = wanted(&tree, &there);
    space(root, &wanted)?;
    fetch(remote, commit, staging, &wanted, report)?;
    apply(root, staging, &tree, &there, report)?;
    done(report, commit, true)
}

/// A file to fetch.
struct Wanted<'a> {
    name: &'a Name,
    size: u64,
    sha256: &'a str,
    place: Place,
}

/// Files that the volume does not have, told by size and modification time.
fn wanted<'a>(tree: &'a Tree, there: &Walked) -> Vec<Wanted<'a>> {
    let mut wanted = Vec::new();
    for (name, entry) in tree {
        let Kind::File { size, sha256, place } = &entry.kind else { continue };
        let have = there
            .entries
            .get(name)
            .is_some_and(|f| matches!(f.kind, FoundKind::File { size: s, .. } if s == *size) && f.mtime == entry.mtime);
        if !have {
            wanted.push(Wanted { name, size: *size, sha256, place: *place });
        }
    }
    wanted
}

fn space(root: &Path, wanted: &[Wanted<'_>]) -> Result<(), Failure> {
    let needed: u64 = wanted.iter().map(|w| w.size).sum();
    let stat = rustix::fs::statvfs(root).map_err(|e| Failure::volume("reading the free space of", root, &e.into()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if needed > free {
        let message = format!(
            "{needed} bytes have to be fetched beside the old data, and the volume has {free} bytes free: give it a larger capacity"
        );
        return Err(Failure::new(Reason::NoSpace, message));
    }
    Ok(())
}

/// Where a file's content is collected.
pub(crate) fn collected(staging: &Path, sha256: &str) -> PathBuf {
    staging.join("verified").join(sha256)
}

/// Fetches what is not collected yet, and verifies every byte of it.
fn fetch(remote: &Remote<'_>, commit: &Commit, staging: &Path, wanted: &[Wanted<'_>], report: &mut Report) -> Result<(), Failure> {
    let folder = |name: &str| -> Result<PathBuf, Failure> {
        let path = staging.join(name);
        std::fs::create_dir_all(&path).map_err(|e| Failure::volume("making the folder", &path, &e))?;
        Ok(path)
    };
    folder("verified")?;
    let missing: Vec<_> = wanted.iter().filter(|w| !collected(staging, w.sha256).exists()).collect();
    let mut groups: BTreeMap<String, BTreeMap<&str, &Wanted<'_>>> = BTreeMap::new();
    for file in missing {
        let (from, name) = match file.place {
            Place::Object => (".scribe/objects/".to_owned(), file.sha256),
            Place::Staged if commit.staged => (format!(".scribe/staged/{}/", commit.revision), text(file.name)?),
            Place::Staged | Place::Name => (String::new(), text(file.name)?),
        };
        groups.entry(from).or_default().insert(name, file);
    }
    for (number, (from, files)) in groups.iter().enumerate() {
        let incoming = folder(&format!("incoming-{number}"))?;
        remote.download("fetching files", from, &incoming, files.keys().copied())?;
        for (name, file) in files {
            verify(&incoming.join(name), file, staging)?;
            report.transferred += file.size;
        }
    }
    Ok(())
}

fn text(name: &Name) -> Result<&str, Failure> {
    std::str::from_utf8(&name.0)
        .map_err(|_| Failure::new(Reason::RemoteInconsistent, "the manifest has a name that is no text among the plain ones"))
}

/// Moves a file among the verified ones if it is what the manifest says.
fn verify(path: &Path, wanted: &Wanted<'_>, staging: &Path) -> Result<(), Failure> {
    let inconsistent =
        |what: &str| Failure::new(Reason::RemoteInconsistent, format!("{:?} {what} on the remote", crate::names::os(&wanted.name.0)));
    if !path.exists() {
        return Err(inconsistent("is missing"));
    }
    if hash(path)? != wanted.sha256 {
        std::fs::remove_file(path).map_err(|e| Failure::volume("removing", path, &e))?;
        return Err(inconsistent("is not what was committed"));
    }
    let to = collected(staging, wanted.sha256);
    std::fs::rename(path, &to).map_err(|e| Failure::volume("moving", path, &e))
}
