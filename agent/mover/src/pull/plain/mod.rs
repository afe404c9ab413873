//! Pulls a path that plain rclone, Scribe or VolSync wrote: there is no commit, so a listing before and one after have to be the same.
//!
//! What differs is fetched into the staging folder, checked by size and by the backend's hash, and applied as a pull of our own layout is.
//! Imports [`super::plan`], [`super::apply`], [`super::staging`], [`super::space`] and [`crate::remote`].

mod facl;
mod listing;

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::Timestamp;

use super::plan::{Facts, Plan, plan};
use super::staging::Staging;
use super::{ATTEMPTS, PullOptions, PullOutcome, Pulled, apply, space};
use crate::attributes::{ACL_ACCESS, ACL_DEFAULT, Attributes};
use crate::entry::{At, Digest, Entry, FileEntry, Kind, Meta, Time};
use crate::failure::{Failure, Result};
use crate::guard::{Count, Deletions};
use crate::hash::{Hasher, both};
use crate::join::join;
use crate::names::{CLAIM, COMMIT, CONTROL_DIR, STAGING_DIR};
use crate::path::RelPath;
use crate::remote::{Detail, Remote};
use crate::report::Reason;
use crate::stop::Stop;
use crate::tree::EntriesWriter;
use crate::walk::{Found, FoundKind, OTHER_ATTRIBUTES, walk};
use facl::Access;
use listing::{FACL, Listing};

/// Pulls what the path holds into the volume.
pub fn pull_plain(remote: &Remote, options: &PullOptions) -> Result<PullOutcome> {
    let hashes = !remote.feature("SlowHash")?;
    let mut reasons = String::new();
    for _ in 0..ATTEMPTS {
        remote.rclone.progress.phase("reading", 0);
        let listing = Listing::read(remote, hashes)?;
        let ours = [COMMIT, CLAIM].map(|name| RelPath::new(format!("{CONTROL_DIR}/{name}").as_bytes()));
        if ours.iter().flatten().any(|name| listing.files.contains_key(name)) {
            return Err(Failure::new(
                Reason::PathNotOurs,
                format!("{} was pushed by scribe-agent: leave layout: Plain out, and it is pulled as it was committed", remote.name()),
            ));
        }
        // A mistyped path and an empty one look alike, and neither is a reason to delete anything.
        if listing.files.is_empty() {
            remote.confirm_root()?;
            return match &options.applied {
                Some(applied) => Err(super::gone(remote, applied)),
                None => Ok(PullOutcome::WaitingForFirstPush),
            };
        }
        let staging_left = options.volume.join(STAGING_DIR).symlink_metadata().is_ok();
        if options.private && options.applied.as_deref() == Some(&listing.revision()) && !staging_left {
            return Ok(PullOutcome::Done(pulled(&listing)));
        }
        match (Attempt { remote, options, listing, hashes }).run()? {
            Ok(pulled) => return Ok(PullOutcome::Done(pulled)),
            Err(reason) => {
                tracing::info!(reason, "the remote changed under the pull; listing it again");
                reasons = reason;
            }
        }
    }
    Err(Failure::new(Reason::RemoteInconsistent, format!("{} does not hold still: {reasons}", remote.name())))
}

fn pulled(listing: &Listing) -> Pulled {
    Pulled {
        revision: listing.revision(),
        data_time: listing.newest(),
        files: listing.files.len() as u64,
        bytes: listing.files.values().map(|detail| detail.size).sum(),
        ..Pulled::default()
    }
}

struct Attempt<'a> {
    remote: &'a Remote,
    options: &'a PullOptions,
    listing: Listing,
    hashes: bool,
}

impl Attempt<'_> {
    /// The inner error says how the remote moved.
    fn run(self) -> Result<std::result::Result<Pulled, String>> {
        let Self { remote, options, listing, hashes } = &self;
        let (stop, root) = (&remote.rclone.stop, &options.volume);
        let mut walked = walk(root, stop)?;
        let found: Vec<Found> = walked.by_ref().collect::<Result<_>>()?;
        let mut skipped = walked.skipped;
        skipped.remove(OTHER_ATTRIBUTES);
        let (there, hashed) = self.there(&found)?;
        let before = found.iter().filter(|found| matches!(found.kind, FoundKind::File(_)));
        options.guard.check(&Deletions {
            place: "the volume",
            base: &listing.revision(),
            before: Count::of_files(before.clone().count() as u64),
            gone: Count::of_files(before.filter(|found| !listing.files.contains_key(&found.path)).count() as u64),
            after: Count::of_files(listing.files.len() as u64),
        })?;

        let due: BTreeMap<&RelPath, &Detail> = listing.files.iter().filter(|(path, _)| !there.contains_key(path)).collect();
        let needed = due.values().map(|detail| detail.size).sum();
        let staging = Staging::open(root)?;
        // Nothing says by which hash a dead pull's content would be known.
        staging.keep(&Plan::default(), &Hasher::default(), stop)?;
        space::check(root, needed)?;
        remote.rclone.progress.phase("fetching", needed);
        let incoming = staging.incoming();
        let names = due.keys().map(|path| path.as_bytes()).chain(listing.facl.then_some(FACL.as_bytes()));
        let trouble = remote.fetch_checked(&incoming, &names.collect::<Vec<_>>())?.err();
        // Only what lay there before and after is one state of it.
        let after = Listing::read(remote, *hashes)?;
        if after.revision() != listing.revision() {
            return Ok(Err("its listing is another one after the transfer than before".into()));
        }
        if let Some(trouble) = trouble {
            return Err(space::explain(trouble.into(), root, needed));
        }
        let access = self.access(&incoming.join(FACL))?;
        let mut fetched = HashMap::new();
        for (path, detail) in due {
            let file = path.under(&incoming);
            let Some((digest, meta)) = verified(&file, detail, stop)? else {
                return Ok(Err(format!("{path} is not what the listing says")));
            };
            if detail.size > 0 {
                std::fs::rename(&file, staging.content(&digest)).map_err(|e| Failure::volume("rename", &file, &e))?;
            }
            fetched.insert(path.clone(), (digest, meta));
        }

        let mut tree = EntriesWriter::new(&remote.rclone.scratch, "plain")?;
        for entry in entries(&found, listing, &there, &fetched, &access, &mut skipped) {
            tree.push(&entry)?;
        }
        let tree = tree.finish()?;
        let mut facts = Facts::default();
        for pair in join(tree.read()?, found.into_iter().map(Ok)) {
            let (entry, found) = pair?;
            facts.add(entry.as_ref(), found.as_ref(), entry.as_ref().is_none_or(|entry| !fetched.contains_key(&entry.path)));
        }
        let plan = plan(tree.read()?, facts)?;
        remote.rclone.progress.phase("applying", 0);
        apply::sync(root)?;
        let mut work = apply::begin(root, &plan, &staging, stop);
        work.clear(&plan.early)?;
        for step in plan.steps(tree.read()?) {
            work.step(&step?)?;
        }
        work.remove(&plan.late)?;
        let mut applied = work.finish(&tree)?;
        apply::sync(root)?;
        Staging::remove(root)?;
        apply::finish_root(root, &tree, &mut applied)?;
        apply::sync(root)?;
        let deleted = applied.removed(&plan);
        skipped.extend(applied.skipped);
        Ok(Ok(Pulled { changed: applied.changed, transferred: needed, hashed, deleted, skipped, ..pulled(listing) }))
    }

    /// Files of the volume that are what the listing says, by their digest, and what was read to know it.
    fn there(&self, found: &[Found]) -> Result<(HashMap<RelPath, Digest>, u64)> {
        let mut there = HashMap::new();
        let mut read = 0;
        for found in found {
            let (FoundKind::File(size), Some(detail)) = (&found.kind, self.listing.files.get(&found.path)) else { continue };
            // Names of one inode are told apart by fetching them: the remote knows no hard links.
            if *size != detail.size || found.links > 1 {
                continue;
            }
            // Without a hash rclone's own measure: size and time, as finely as the backend keeps it.
            let same_time = || detail.mod_time.parse().is_ok_and(|told| found.meta.mtime.is_told_as(told));
            if detail.md5().is_none() && !same_time() {
                continue;
            }
            if let Some((sha256, md5)) = both(&found.path.under(&self.options.volume), &self.remote.rclone.stop)? {
                read += size;
                if detail.md5().is_none_or(|expected| expected == md5) {
                    there.insert(found.path.clone(), sha256);
                }
            }
        }
        Ok((there, read))
    }

    fn access(&self, file: &Path) -> Result<HashMap<RelPath, Access>> {
        if !self.listing.facl {
            return Ok(HashMap::new());
        }
        let text = std::fs::read(file).map_err(|e| Failure::volume("read", file, &e))?;
        // An image may have neither; numbers need none.
        let known = |path| facl::numbers(&std::fs::read_to_string(path).unwrap_or_default());
        facl::parse(&text, &known("/etc/passwd"), &known("/etc/group")).map_err(|line| {
            Failure::new(Reason::RemoteInconsistent, format!("{}/{FACL} is not what getfacl writes, at {line:?}", self.remote.name()))
        })
    }
}

/// The tree that the volume is to hold: the listed files, the directories they need, and what the volume has that no remote of this kind
/// can say anything about (links, pipes).
fn entries(
    found: &[Found],
    listing: &Listing,
    there: &HashMap<RelPath, Digest>,
    fetched: &HashMap<RelPath, (Digest, Meta)>,
    access: &HashMap<RelPath, Access>,
    skipped: &mut BTreeMap<String, u64>,
) -> Vec<Entry> {
    let before: HashMap<&RelPath, &Found> = found.iter().map(|found| (&found.path, found)).collect();
    let mut kinds: BTreeMap<RelPath, (Kind, Meta)> = BTreeMap::new();
    for (path, detail) in &listing.files {
        let old = before.get(path).map(|found| found.meta.clone());
        let (sha256, meta) = match (there.get(path), fetched.get(path)) {
            (_, Some((digest, meta))) => (*digest, meta.clone()),
            (Some(digest), None) => (*digest, old.unwrap_or_default()),
            (None, None) => continue,
        };
        let file = FileEntry { size: detail.size, sha256, at: At::Own, changed: 0, link: None, holes: Box::default(), hints: None };
        kinds.insert(path.clone(), (Kind::File(file), meta));
    }
    for found in found {
        let kind = match &found.kind {
            FoundKind::Symlink(target) => Kind::Symlink(target.clone()),
            FoundKind::Fifo => Kind::Fifo,
            FoundKind::Dir | FoundKind::File(_) => continue,
        };
        let under_a_file = ancestors(&found.path).any(|dir| listing.files.contains_key(&dir));
        if !under_a_file && !kinds.contains_key(&found.path) && !listing.files.keys().any(|file| file.is_below(&found.path)) {
            kinds.insert(found.path.clone(), (kind, found.meta.clone()));
        }
    }
    let dirs: Vec<RelPath> = kinds.keys().flat_map(ancestors).chain([RelPath::root()]).collect();
    for dir in dirs {
        let old = before.get(&dir).filter(|found| found.kind == FoundKind::Dir).map(|found| found.meta.clone());
        kinds.entry(dir).or_insert_with(|| (Kind::Dir, old.unwrap_or_else(new_dir)));
    }
    let entries = kinds.into_iter().map(|(path, (kind, mut meta))| {
        // A link has nothing of it but its owner, and getfacl follows links.
        if let Some(access) = access.get(&path).filter(|_| !matches!(kind, Kind::Symlink(_))) {
            *skipped.entry("owners".into()).or_default() +=
                u64::from(access.uid.is_none()) + u64::from(access.gid.is_none()) + access.unknown;
            let acl = |name: &[u8]| name == ACL_ACCESS || name == ACL_DEFAULT;
            let others = meta.attributes.iter().filter(|attribute| !acl(&attribute.name)).cloned();
            meta.attributes = Attributes::new(others.chain(access.acls.iter().cloned()).collect());
            (meta.mode, meta.uid, meta.gid) = (access.mode, access.uid.unwrap_or(meta.uid), access.gid.unwrap_or(meta.gid));
        }
        Entry { path, meta, kind }
    });
    let entries = entries.collect();
    skipped.retain(|_, count| *count > 0);
    entries
}

/// The directories that hold it, the root included.
fn ancestors(path: &RelPath) -> impl Iterator<Item = RelPath> {
    std::iter::successors(path.parent().and_then(RelPath::new), |dir| dir.parent().and_then(RelPath::new))
}

fn new_dir() -> Meta {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let now = Timestamp::now();
    Meta { mode: 0o755, uid, gid, mtime: Time { secs: now.as_second(), nanos: 0 }, ..Meta::default() }
}

/// Digest and metadata of a fetched file; `None` when it is not there or not what the listing says.
fn verified(file: &Path, detail: &Detail, stop: &Stop) -> Result<Option<(Digest, Meta)>> {
    let Some((sha256, md5)) = both(file, stop)? else { return Ok(None) };
    let there = std::fs::symlink_metadata(file).map_err(|e| Failure::volume("read", file, &e))?;
    if there.len() != detail.size || detail.md5().is_some_and(|expected| expected != md5) {
        return Ok(None);
    }
    let mtime = Time { secs: there.mtime(), nanos: u32::try_from(there.mtime_nsec()).unwrap_or_default() };
    Ok(Some((sha256, Meta { mode: there.mode() & 0o7777, uid: there.uid(), gid: there.gid(), mtime, ..Meta::default() })))
}
