//! Pulls a path that plain rclone, Scribe or VolSync wrote: there is no commit, so a listing before and one after have to be the same.
//!
//! What differs is fetched into the staging folder, checked by size and by the backend's hash, and applied as a pull of our own layout is.

mod applying;
mod facl;
mod listing;
mod shape;

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::plan::{Differences, PullPlan, Writers, plan};
use super::space::Room;
use super::staging::Staging;
use super::{ATTEMPTS, PullOptions, PullOutcome, Synced, names, obstacles, space};
use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::format::entries::{Entries, EntriesWriter};
use crate::format::names::Folder;
use crate::guard::Deletions;
use crate::remote::{Detail, Remote};
use crate::report::Reason;
use crate::stop::Stop;
use crate::store::{Class, Fetch};
use crate::volume::beneath::Root;
use crate::volume::entry::{Entry, FileEntry, Kind, Location, Meta, Time};
use crate::volume::hash::{Hasher, both};
use crate::volume::merge_join::join;
use crate::volume::path::RelPath;
use crate::volume::walk::{Found, FoundKind, LEFT_LOST_AND_FOUND, OTHER_ATTRIBUTES, meta, walk};
use crate::volume::xattrs::{ACL_ACCESS, ACL_DEFAULT, Attributes};
use applying::Applying;
use facl::Access;
use listing::Listing;
use shape::{Shape, There, Tree, alike, counts, named, shape};

/// Pulls what the path holds into the volume.
pub fn pull_plain(remote: &Remote, options: &PullOptions) -> Result<PullOutcome> {
    let root = &Root::open(&options.volume)?;
    let _alone = root.lock()?;
    super::after_what_is_left(root, options, &remote.context, || pull_into(remote, options, root))
}

fn pull_into(remote: &Remote, options: &PullOptions, root: &Root) -> Result<PullOutcome> {
    let hashes = !remote.features()?.slow_sums;
    let mut reasons = String::new();
    let longest = listing::longest(&Staging::incoming_on(root));
    for _ in 0..ATTEMPTS {
        remote.context.progress.phase("reading", 0);
        let listing = Listing::read(remote, hashes, longest)?.make_way(root)?;
        // A mistyped path and an empty one look alike, and neither is a reason to delete anything.
        if listing.files.is_empty() {
            remote.confirm_root()?;
            remote.confirm_password()?;
            return match super::standing::pulled_before(root, options.applied.as_deref(), remote.name())? {
                Some(before) => Err(super::gone(remote, 0, &before)),
                None => Ok(PullOutcome::WaitingForFirstPush),
            };
        }
        let staging_left = Staging::is_left(root)?;
        if options.private && options.applied.as_deref() == Some(&listing.revision()) && !staging_left {
            return Ok(PullOutcome::Done(pulled(&listing)));
        }
        match (Attempt { remote, root, options, listing, hashes, longest }).run()? {
            Ok(pulled) => return Ok(PullOutcome::Done(pulled)),
            Err(reason) => {
                tracing::info!(reason, "the remote changed under the pull; listing it again");
                reasons = reason;
            }
        }
    }
    Err(Failure::new(Reason::RemoteInconsistent, format!("{} does not hold still: {reasons}", remote.name())))
}

fn pulled(listing: &Listing) -> Synced {
    Synced {
        revision: listing.revision(),
        data_time: listing.newest(),
        files: listing.files.len() as u64,
        bytes: listing.files.values().map(|detail| detail.size).sum(),
        ..Synced::default()
    }
}

struct Attempt<'a> {
    remote: &'a Remote,
    root: &'a Root,
    options: &'a PullOptions,
    listing: Listing,
    hashes: bool,
    longest: usize,
}

impl Attempt<'_> {
    /// The inner error says how the remote moved.
    fn run(self) -> Result<std::result::Result<Synced, String>> {
        let Self { remote, root, options, listing, hashes, longest } = &self;
        let stop = &remote.context.stop;
        let mut walked = walk(root, stop)?;
        let found: Vec<Found> = walked.by_ref().collect::<Result<_>>()?;
        let (mut skipped, left) = (walked.skipped, walked.staging);
        skipped.remove(OTHER_ATTRIBUTES);
        if listing.lost_and_found {
            *skipped.entry(LEFT_LOST_AND_FOUND.into()).or_default() += 1;
        }
        // First, because it lists directories, and so determines what is removed.
        let access = match self.access()? {
            Ok(access) => access,
            Err(reason) => return Ok(Err(reason)),
        };
        let wanted = shape(&found, listing, self.named(&found, &access)?);
        let ([before, gone, after], names) = counts(&found, &wanted);
        options.guard.check(&Deletions { place: "the volume", base: &listing.revision(), before, gone, names, after })?;
        let (there, hashed) = self.there(&found)?;

        let due: BTreeMap<&RelPath, &Detail> = listing.files.iter().filter(|(path, _)| !there.contains_key(path)).collect();
        let size = due.values().map(|detail| detail.size).sum();
        let needed = Room::of_all(due.values().map(|detail| detail.size));
        // What is in the way is there whatever the files hold.
        let unknown = due.keys().map(|path| ((*path).clone(), (Digest([0; 32]), Meta::default()))).collect();
        let early =
            if due.is_empty() { None } else { Some(self.planned((&wanted, &found), &there, &unknown, &access, &mut BTreeMap::new())?) };
        let refuse = |merged| early.iter().try_for_each(|(tree, plan)| obstacles::refuse(root, plan, tree, merged, stop));
        refuse(None)?;
        let staging = if left || !due.is_empty() { Some(Staging::open(root)?) } else { None };
        if let Some(staging) = &staging {
            super::standing::note_place(staging.folder(), remote.name())?;
        }
        let alike = alike(&found, &wanted);
        let check = |staging: &Staging| {
            let gone = found.iter().map(|found| &found.path).filter(|path| !wanted.contains_key(path));
            names::check((root, staging, left), &wanted, gone, &alike, stop)
        };
        // Before anything is fetched: it is fetched under its names.
        let merges = staging.as_ref().map(check).transpose()?;
        if merges == Some(true)
            && let Err(failure) = refuse(Some(&alike))
        {
            if !left {
                Staging::remove(root, stop)?;
            }
            return Err(failure);
        }
        drop(early);
        if let Some(staging) = &staging {
            // The content of a pull that was killed has no known hash.
            staging.keep(&PullPlan::default(), &Hasher::default(), stop)?;
        }
        space::check(root, needed)?;
        remote.context.progress.phase("fetching", size);
        let names: Vec<&[u8]> = due.keys().map(|path| path.as_bytes()).collect();
        let fetch = |staging: &Staging| remote.fetch(Folder::Live, &staging.incoming("").for_rclone(), &names, Fetch::Checked);
        let error = staging.as_ref().and_then(|staging| fetch(staging).err());
        // Only what lay there before and after is one state of it.
        let after = Listing::read(remote, *hashes, *longest)?;
        if after.revision() != listing.revision() {
            return Ok(Err("its listing is another one after the transfer than before".into()));
        }
        if let Some(error) = error {
            // One that cannot be deciphered among others that can is damaged.
            let arrived = |path: &RelPath| staging.as_ref().is_some_and(|staging| matches!(staging.arrived().file(path), Ok(Some(_))));
            if error.class == Class::Undecipherable && due.keys().any(|path| arrived(path)) {
                return Err(Failure::new(
                    Reason::RemoteInconsistent,
                    format!("an object of {} is damaged: {}", remote.name(), error.message),
                ));
            }
            return Err(space::explain(error.into(), root, needed));
        }
        let mut fetched = HashMap::new();
        for (path, detail) in due {
            let Some(staging) = &staging else { continue };
            let Some((digest, meta)) = verified(staging.arrived(), path, detail, stop)? else {
                return Ok(Err(format!("{path} is not what the listing says")));
            };
            if detail.size > 0 {
                staging.accept(staging.arrived(), path, &digest)?;
            }
            fetched.insert(path.clone(), (digest, meta));
        }

        let (tree, plan) = self.planned((&wanted, &found), &there, &fetched, &access, &mut skipped)?;
        obstacles::refuse(root, &plan, &tree, None, stop)?;
        remote.context.progress.phase("applying", 0);
        let staging = staging.zip(merges);
        let applied = Applying { root, tree: &tree, plan: &plan, alike: &alike, stop }.apply(staging)?;
        let deleted = applied.removed(plan.lost.all);
        skipped.extend(applied.skipped);
        Ok(Ok(Synced { changed: applied.changed, transferred: size, hashed, deleted, skipped, ..pulled(listing) }))
    }

    /// The tree that the volume is to hold, and what is to be done for it.
    fn planned(
        &self,
        (wanted, found): (&Tree, &[Found]),
        there: &HashMap<RelPath, Digest>,
        fetched: &HashMap<RelPath, (Digest, Meta)>,
        access: &HashMap<RelPath, Access>,
        skipped: &mut BTreeMap<String, u64>,
    ) -> Result<(Entries, PullPlan)> {
        let mut tree = EntriesWriter::new(&self.remote.context.scratch, "plain")?;
        for entry in entries(wanted, found, &self.listing, there, fetched, access, skipped) {
            tree.push(&entry)?;
        }
        let tree = tree.finish()?;
        let mut facts = Differences::of(Writers::of(self.options.private, self.root)?);
        for pair in join(tree.read()?, found.iter().cloned().map(Ok)) {
            let (entry, found) = pair?;
            facts.add(entry.as_ref(), found.as_ref(), entry.as_ref().is_none_or(|entry| !fetched.contains_key(&entry.path)));
        }
        let plan = plan(tree.read()?, facts)?;
        Ok((tree, plan))
    }

    /// Files of the volume that are what the listing says, by their digest, and what was read to know it.
    fn there(&self, found: &[Found]) -> Result<(HashMap<RelPath, Digest>, u64)> {
        let mut there = HashMap::new();
        let mut read = 0;
        for found in found {
            let (FoundKind::File(size), Some(detail)) = (&found.kind, self.listing.files.get(&found.path)) else { continue };
            // Names of one inode are separated by fetching them: the remote has no hard links.
            if *size != detail.size || found.links > 1 {
                continue;
            }
            // Without a hash rclone's own measure: size and time, as finely as the backend keeps it.
            let same_time = || detail.mod_time.parse().is_ok_and(|listed| found.meta.mtime.is_listed_as(listed));
            if detail.md5().is_none() && !same_time() {
                continue;
            }
            if let Some((sha256, md5)) = both(self.root, &found.path, &self.remote.context.stop)? {
                read += size;
                if detail.md5().is_none_or(|expected| expected == md5) {
                    there.insert(found.path.clone(), sha256);
                }
            }
        }
        Ok((there, read))
    }

    /// What the facl says. The inner error says how the remote moved.
    fn access(&self) -> Result<std::result::Result<HashMap<RelPath, Access>, String>> {
        let Some(name) = self.listing.facl else { return Ok(Ok(HashMap::new())) };
        let dir = self.remote.context.scratch.fresh_dir("facl")?;
        let fetched = self.remote.fetch(Folder::Live, &dir, &[name.as_bytes()], Fetch::Checked);
        let text = match std::fs::read(dir.join(name)) {
            Ok(text) if fetched.is_ok() => text,
            _ => match fetched {
                Err(error) if error.class != Class::NotFound => return Err(error.into()),
                _ => return Ok(Err(format!("{name} went away"))),
            },
        };
        // An image may have neither; numbers need none.
        let known = |path| facl::numbers(&std::fs::read_to_string(path).unwrap_or_default());
        facl::parse(&text, &known("/etc/passwd"), &known("/etc/group")).map(Ok).map_err(|line| {
            Failure::new(Reason::RemoteInconsistent, format!("{}/{name} is not what getfacl writes, at {line:?}", self.remote.name()))
        })
    }

    /// Directories that only the facl lists.
    fn named(&self, found: &[Found], access: &HashMap<RelPath, Access>) -> Result<Vec<RelPath>> {
        let folders = self.remote.has_folders()?;
        let kinds: HashMap<&RelPath, &FoundKind> = found.iter().map(|found| (&found.path, &found.kind)).collect();
        Ok(named(access, &self.listing, folders, |path| match kinds.get(path) {
            Some(FoundKind::Dir) => There::Dir,
            Some(_) => There::Other,
            None if self.root.hold(path).is_ok() => There::LeftOut,
            None => There::Nothing,
        }))
    }
}

/// The tree that the volume is to hold, with the metadata that is known of each entry.
fn entries(
    tree: &Tree,
    found: &[Found],
    listing: &Listing,
    there: &HashMap<RelPath, Digest>,
    fetched: &HashMap<RelPath, (Digest, Meta)>,
    access: &HashMap<RelPath, Access>,
    skipped: &mut BTreeMap<String, u64>,
) -> Vec<Entry> {
    let before: HashMap<&RelPath, &Found> = found.iter().map(|found| (&found.path, found)).collect();
    let of_file = |path: &RelPath, old: Option<Meta>| {
        let detail = listing.files.get(path)?;
        let (sha256, meta) = match (there.get(path), fetched.get(path)) {
            (_, Some((digest, meta))) => (*digest, replacing(meta, old)),
            (Some(digest), None) => (*digest, old.unwrap_or_default()),
            (None, None) => return None,
        };
        let file = FileEntry { size: detail.size, sha256, at: Location::Own, changed: 0, link: None, holes: Box::default(), hints: None };
        Some((Kind::File(file), meta))
    };
    let entries = tree.iter().filter_map(|(path, shape)| {
        let old = before.get(path);
        let (kind, mut meta) = match shape {
            Shape::File => of_file(path, old.filter(|old| matches!(old.kind, FoundKind::File(_))).map(|old| old.meta.clone()))?,
            Shape::Dir => (Kind::Dir, old.filter(|old| old.kind == FoundKind::Dir).map_or_else(new_dir, |old| old.meta.clone())),
            Shape::Stays(kind) => (kind.clone(), old.map(|old| old.meta.clone()).unwrap_or_default()),
        };
        // A link has nothing of it but its owner, and getfacl follows links.
        if let Some(access) = access.get(path).filter(|_| !matches!(kind, Kind::Symlink(_))) {
            *skipped.entry("owners".into()).or_default() +=
                u64::from(access.uid.is_none()) + u64::from(access.gid.is_none()) + access.unknown;
            let acl = |name: &[u8]| name == ACL_ACCESS || name == ACL_DEFAULT;
            let others = meta.attributes.iter().filter(|attribute| !acl(&attribute.name)).cloned();
            meta.attributes = Attributes::new(others.chain(access.acls.iter().cloned()).collect());
            let mut mode = access.mode;
            if matches!(kind, Kind::File(_)) {
                // It would lend its power to another owner.
                let lent = [(access.uid, 0o4000_u32), (access.gid, 0o2000)];
                lent.iter().filter(|(owner, _)| owner.is_none()).for_each(|(_, power)| mode &= !power);
            }
            (meta.mode, meta.uid, meta.gid) = (mode, access.uid.unwrap_or(meta.uid), access.gid.unwrap_or(meta.gid));
        }
        Some(Entry { path: path.clone(), meta, kind })
    });
    let entries = entries.collect();
    skipped.retain(|_, count| *count > 0);
    entries
}

/// Of a file that takes another one's place, and of which nothing but its time is known: owner and permissions stay what they were, but for
/// those that lend the owner's power to its content.
fn replacing(fetched: &Meta, old: Option<Meta>) -> Meta {
    let Some(old) = old else { return fetched.clone() };
    let acls = old.attributes.iter().filter(|attribute| *attribute.name == *ACL_ACCESS).cloned().collect();
    Meta { mode: old.mode & !0o6000, attributes: Attributes::new(acls), mtime: fetched.mtime, ..old }
}

fn new_dir() -> Meta {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let now = Timestamp::now();
    Meta { mode: 0o755, uid, gid, mtime: Time { secs: now.as_second(), nanos: 0 }, ..Meta::default() }
}

/// Digest and metadata of a fetched file; `None` when it is not there or not what the listing says.
fn verified(root: &Root, file: &RelPath, detail: &Detail, stop: &Stop) -> Result<Option<(Digest, Meta)>> {
    let Some((sha256, md5)) = both(root, file, stop)? else { return Ok(None) };
    let Some(there) = root.find(file)? else { return Ok(None) };
    let failed = |e| Failure::volume("read", &root.shown(file), &e);
    let seen = there.look().map_err(failed)?;
    if seen.size != detail.size || detail.md5().is_some_and(|expected| expected != md5) {
        return Ok(None);
    }
    let (meta, _) = meta(&there, &seen).map_err(failed)?;
    Ok(Some((sha256, Meta { attributes: Attributes::default(), ..meta })))
}
