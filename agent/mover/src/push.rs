//! Volume to remote. The committed revision stays whole at every moment: nothing that it needs is overwritten or deleted before the
//! next one is committed.
//!
//! Imports `args`, `control`, `failure`, `manifest`, `names`, `report`, `scratch`, `walk`.

use crate::args::PushArgs;
use crate::control::{Contents, Remote};
use crate::failure::Failure;
use crate::manifest::{Claim, Commit, Entry, FORMAT, Kind, ManifestRef, Name, Owner, Place, Tree, encode, hex, sha256, totals};
use crate::names::{os, trusted};
use crate::report::{Outcome, Reason, Report};
use crate::scratch::Scratch;
use crate::walk::{Found, FoundKind, Walked, look, walk};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use std::path::Path;

/// Rounds of reading again what changed meanwhile.
const ROUNDS: usize = 3;
/// A file that changed so shortly before the capture may change once more without its ctime showing it.
const SETTLED: SignedDuration = SignedDuration::from_secs(2);
/// The path is listed and held against the manifest at least this often.
const VERIFY_INTERVAL: SignedDuration = SignedDuration::from_hours(24);

pub(crate) fn push(args: &PushArgs, remote: &Remote<'_>, scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let now = Timestamp::now();
    let captured = args.data_time.unwrap_or(now);
    let owner = owner(args)?;
    let old = remote.commit()?;
    let claim = check_owner(args, remote, &owner, old.as_ref())?;
    let old_tree = old.as_ref().map(|commit| remote.manifest(commit)).transpose()?;

    let walked = walk(&args.common.volume)?;
    report.skipped.clone_from(&walked.skipped);
    let mut tree = describe(&args.common.volume, &walked, old_tree.as_ref(), captured)?;
    guard(&tree, old_tree.as_ref())?;

    if let (Some(commit), Some(old_tree)) = (&old, &old_tree)
        && same(&tree, old_tree)
    {
        let mut commit = commit.clone();
        if commit.staged || claim.is_some() || now.duration_since(commit.verified) > VERIFY_INTERVAL {
            finish(remote, &mut commit, old_tree, None, report)?;
        }
        return done(report, &commit, false);
    }

    let revision = new_revision(now)?;
    remote.write_json("claim.json", &Claim { owner: owner.clone(), revision: revision.clone() })?;
    if let (Some(commit), Some(old_tree)) = (&old, &old_tree)
        && commit.staged
    {
        finish_promotion(remote, commit, old_tree)?;
    }
    let settled_old = old_tree.as_ref().map(|tree| promoted(tree));
    place(&mut tree, settled_old.as_ref());
    upload(args, remote, scratch, &mut tree, settled_old.as_ref(), &revision, report)?;

    let stored = encode(&revision, &tree)?;
    remote.write(&format!("manifests/{revision}.zst"), &stored)?;
    let (files, bytes) = totals(&tree);
    let mut commit = Commit {
        format: FORMAT,
        revision,
        parent: old.as_ref().map(|c| c.revision.clone()),
        manifest: ManifestRef { sha256: sha256(&stored), size: stored.len() as u64 },
        data_time: captured,
        owner,
        files,
        bytes,
        staged: true,
        verified: old.as_ref().map_or(now, |c| c.verified),
    };
    remote.write_json("commit.json", &commit)?;
    report.changed = true;
    let interrupted = claim.is_some();
    let parent = old.as_ref().zip(settled_old.as_ref()).map(|(commit, tree)| (commit.revision.as_str(), tree));
    if interrupted || now.duration_since(commit.verified) > VERIFY_INTERVAL {
        finish(remote, &mut commit, &tree, parent, report)?;
    } else {
        settle(remote, &mut commit, &tree, parent, report)?;
    }
    done(report, &commit, true)
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

fn owner(args: &PushArgs) -> Result<Owner, Failure> {
    let (namespace, name) = args
        .owner
        .split_once('/')
        .ok_or_else(|| Failure::new(Reason::MoverFailed, format!("--owner {:?} is not NAMESPACE/NAME", args.owner)))?;
    Ok(Owner { namespace: namespace.to_owned(), name: name.to_owned(), object_uid: args.owner_uid.clone() })
}

/// Makes sure that the path is ours, or free. Gives the claim that an interrupted push left.
fn check_owner(args: &PushArgs, remote: &Remote<'_>, owner: &Owner, commit: Option<&Commit>) -> Result<Option<Claim>, Failure> {
    if let Some(commit) = commit {
        check(args, owner, &commit.owner, "holds a volume of")?;
    }
    let Some(claim) = remote.claim()? else {
        if commit.is_none() {
            match remote.contents()? {
                Contents::NoBucket => remote.make()?,
                Contents::Nothing => {}
                Contents::Foreign(name) if !args.adopt => return Err(foreign(&name)),
                Contents::Foreign(_) => {}
            }
        }
        return Ok(None);
    };
    check(args, owner, &claim.owner, "is being pushed to by")?;
    Ok(Some(claim))
}

fn check(args: &PushArgs, owner: &Owner, other: &Owner, does: &str) -> Result<(), Failure> {
    let same_name = owner.namespace == other.namespace && owner.name == other.name;
    // An object that was made again under its old name goes on; one that has pushed before must not find another's work.
    let re_created = same_name && args.pushed_revision.is_none();
    if owner == other || re_created || args.adopt {
        return Ok(());
    }
    let Owner { namespace, name, object_uid } = other;
    Err(Failure::new(
        Reason::PathNotOurs,
        format!(
            "the path {does} ReplicationSource {namespace}/{name} (UID {object_uid}): choose another rcloneDestPath, or annotate this object scribe.backube/adopt-path: <the path>"
        ),
    ))
}

fn foreign(name: &str) -> Failure {
    Failure::new(
        Reason::PathNotOurs,
        format!(
            "the path holds files that scribe-agent did not write ({name:?}): choose another rcloneDestPath, or annotate this object scribe.backube/adopt-path: <the path>; those files are then deleted"
        ),
    )
}

/// An empty volume never replaces one with files: more likely it is the wrong one.
fn guard(tree: &Tree, old: Option<&Tree>) -> Result<(), Failure> {
    let (files, _) = totals(tree);
    let (before, _) = old.map(totals).unwrap_or_default();
    if files == 0 && before > 0 {
        let message = format!("the volume is empty, and the remote holds {before} files: nothing was deleted. Is this the right volume?");
        return Err(Failure::new(Reason::DeletionGuard, message));
    }
    Ok(())
}

/// The tree of what was found; content is read only where the old manifest's hints do not vouch for it.
fn describe(root: &Path, walked: &Walked, old: Option<&Tree>, captured: Timestamp) -> Result<Tree, Failure> {
    let mut tree = Tree::new();
    let mut first_names: HashMap<u64, Name> = HashMap::new();
    let mut unknown = Vec::new();
    for (name, found) in &walked.entries {
        let kind = match &found.kind {
            FoundKind::Folder => Kind::Folder,
            FoundKind::Symlink { target } => Kind::Symlink { target: target.clone() },
            FoundKind::Fifo => Kind::Fifo,
            FoundKind::File { links: 2.., .. } if first_names.contains_key(&found.inode) => {
                Kind::HardLink { first: first_names[&found.inode].clone() }
            }
            FoundKind::File { size, .. } => {
                first_names.insert(found.inode, name.clone());
                match old.and_then(|old| vouched(old, name, found, *size, captured)) {
                    Some((sha256, place)) => Kind::File { size: *size, sha256, place },
                    None => {
                        unknown.push(name.clone());
                        Kind::File { size: *size, sha256: String::new(), place: Place::Name }
                    }
                }
            }
        };
        tree.insert(name.clone(), entry(kind, found));
    }
    for (name, hash) in hashes(root, &unknown)? {
        if let Some(Entry { kind: Kind::File { sha256, .. }, .. }) = tree.get_mut(&name) {
            *sha256 = hash;
        }
    }
    Ok(tree)
}

fn entry(kind: Kind, found: &Found) -> Entry {
    let Found { mode, uid, gid, mtime, ctime, inode, .. } = *found;
    Entry { kind, mode, uid, gid, mtime, ctime, inode }
}

fn vouched(old: &Tree, name: &Name, found: &Found, size: u64, captured: Timestamp) -> Option<(String, Place)> {
    let entry = old.get(name)?;
    let Kind::File { size: old_size, sha256, place } = &entry.kind else { return None };
    let changed = Timestamp::new(found.ctime.0, i32::try_from(found.ctime.1).ok()?).ok()?;
    let settled = captured.duration_since(changed) > SETTLED;
    let same = *old_size == size && entry.mtime == found.mtime && entry.ctime == found.ctime && entry.inode == found.inode;
    (same && settled).then(|| (sha256.clone(), *place))
}

/// SHA-256 of files, by several threads.
fn hashes(root: &Path, names: &[Name]) -> Result<Vec<(Name, String)>, Failure> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(4);
    let chunk = names.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let work =
            |part: &[Name]| part.iter().map(|name| Ok((name.clone(), hash(&root.join(os(&name.0)))?))).collect::<Result<Vec<_>, Failure>>();
        let running: Vec<_> = names.chunks(chunk).map(|part| scope.spawn(move || work(part))).collect();
        let mut all = Vec::with_capacity(names.len());
        for thread in running {
            all.extend(thread.join().map_err(|_| Failure::internal("hashing", "a thread ended early"))??);
        }
        Ok(all)
    })
}

/// SHA-256 of one file.
pub(crate) fn hash(path: &Path) -> Result<String, Failure> {
    let read = || -> std::io::Result<String> {
        let mut file = std::fs::File::open(path)?;
        let (mut hash, mut buffer) = (Sha256::new(), vec![0; 256 * 1024]);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(hex(&hash.finalize())),
                count => hash.update(&buffer[..count]),
            }
        }
    };
    read().map_err(|e| Failure::volume("reading", path, &e))
}

/// Whether two trees restore to the same volume.
fn same(new: &Tree, old: &Tree) -> bool {
    let strip = |entry: &Entry| {
        let kind = match &entry.kind {
            Kind::File { size, sha256, .. } => Kind::File { size: *size, sha256: sha256.clone(), place: Place::Name },
            other => other.clone(),
        };
        Entry { kind, ctime: (0, 0), inode: 0, ..entry.clone() }
    };
    new.len() == old.len() && new.iter().zip(old).all(|((a, x), (b, y))| a == b && strip(x) == strip(y))
}

/// The tree once its staged files are promoted.
fn promoted(tree: &Tree) -> Tree {
    let mut tree = tree.clone();
    for entry in tree.values_mut() {
        if let Kind::File { place: place @ Place::Staged, .. } = &mut entry.kind {
            *place = Place::Name;
        }
    }
    tree
}

/// Says for every file where its content is to be, so that nothing the old revision needs is touched before the commit.
fn place(tree: &mut Tree, old: Option<&Tree>) {
    let plain = |tree: &Tree| -> BTreeSet<Vec<u8>> {
        tree.iter().filter(|(_, e)| matches!(e.kind, Kind::File { place: Place::Name, .. })).map(|(name, _)| name.0.clone()).collect()
    };
    let old_names = old.map(plain).unwrap_or_default();
    let old_folders: BTreeSet<&[u8]> = old_names.iter().flat_map(|name| parents(name)).collect();
    for (name, entry) in tree.iter_mut() {
        let Kind::File { sha256, place, .. } = &mut entry.kind else { continue };
        let before = old.and_then(|old| match &old.get(name)?.kind {
            Kind::File { sha256, place, .. } => Some((sha256, *place)),
            _ => None,
        });
        *place = match before {
            Some((old_sha, old_place)) if old_sha == sha256 => old_place,
            _ if !std::str::from_utf8(&name.0).is_ok_and(trusted) => Place::Object,
            // A file and a folder of one name cannot stand side by side everywhere.
            _ if old_folders.contains(name.0.as_slice()) || parents(&name.0).any(|p| old_names.contains(p)) => Place::Object,
            _ if old_names.contains(&name.0) => Place::Staged,
            _ => Place::Name,
        };
    }
}

/// The folders that a path lies in.
fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| &path[..at])
}

/// Uploads what the old revision does not have, and again what changed while it was read.
fn upload(
    args: &PushArgs,
    remote: &Remote<'_>,
    scratch: &Scratch,
    tree: &mut Tree,
    old: Option<&Tree>,
    revision: &str,
    report: &mut Report,
) -> Result<(), Failure> {
    let root = &args.common.volume;
    let have: BTreeSet<(Vec<u8>, String)> = old.map(stored).unwrap_or_default();
    let mut wanted: Vec<Name> =
        files(tree).filter(|(name, sha256, place)| !have.contains(&address(name, sha256, *place))).map(|(name, ..)| name.clone()).collect();
    for round in 0..ROUNDS {
        let part: BTreeSet<&Name> = wanted.iter().collect();
        transfer(root, remote, scratch, tree, &part, revision)?;
        report.transferred += wanted.iter().map(|name| size(&tree[name])).sum::<u64>();
        let changed = changed(root, tree, &wanted)?;
        if changed.is_empty() {
            return Ok(());
        }
        if round + 1 == ROUNDS {
            let message = format!(
                "{} files kept changing while they were read, {:?} among them: use copyMethod Snapshot or Clone",
                changed.len(),
                os(&changed[0].0)
            );
            return Err(Failure::new(Reason::SourceChanging, message));
        }
        for name in &changed {
            describe_again(root, tree, name)?;
        }
        wanted = changed;
    }
    Ok(())
}

fn files(tree: &Tree) -> impl Iterator<Item = (&Name, &String, Place)> {
    tree.iter().filter_map(|(name, entry)| match &entry.kind {
        Kind::File { sha256, place, .. } => Some((name, sha256, *place)),
        _ => None,
    })
}

fn size(entry: &Entry) -> u64 {
    if let Kind::File { size, .. } = entry.kind { size } else { 0 }
}

/// Which content is where: by name, or anywhere among the objects.
fn address(name: &Name, sha256: &str, place: Place) -> (Vec<u8>, String) {
    (if place == Place::Object { Vec::new() } else { name.0.clone() }, sha256.to_owned())
}

fn stored(tree: &Tree) -> BTreeSet<(Vec<u8>, String)> {
    files(tree).map(|(name, sha256, place)| address(name, sha256, place)).collect()
}

fn transfer(
    root: &Path,
    remote: &Remote<'_>,
    scratch: &Scratch,
    tree: &Tree,
    part: &BTreeSet<&Name>,
    revision: &str,
) -> Result<(), Failure> {
    let names = |wanted: Place| {
        files(tree)
            .filter(move |(name, _, place)| *place == wanted && part.contains(name))
            .filter_map(|(name, ..)| std::str::from_utf8(&name.0).ok())
    };
    if names(Place::Name).next().is_some() {
        remote.upload("uploading new files", root, "", names(Place::Name))?;
    }
    if names(Place::Staged).next().is_some() {
        remote.upload("uploading replaced files", root, &format!(".scribe/staged/{revision}/"), names(Place::Staged))?;
    }
    let objects: BTreeMap<&str, &Name> = files(tree)
        .filter(|(name, _, place)| *place == Place::Object && part.contains(name))
        .map(|(name, sha256, _)| (sha256.as_str(), name))
        .collect();
    if objects.is_empty() {
        return Ok(());
    }
    let links = scratch.folder()?;
    for (sha256, name) in &objects {
        let target = std::path::absolute(root.join(os(&name.0))).map_err(|e| Failure::volume("reading", os(&name.0), &e))?;
        std::os::unix::fs::symlink(target, links.join(sha256)).map_err(|e| Failure::internal("linking a file", e))?;
    }
    remote.upload("uploading files with unusual names", &links, ".scribe/objects/", objects.keys().copied())
}

/// Those of `names` that are not what the tree says they are.
fn changed(root: &Path, tree: &Tree, names: &[Name]) -> Result<Vec<Name>, Failure> {
    let mut changed = Vec::new();
    for name in names {
        let now = look(&root.join(os(&name.0)))?;
        let entry = &tree[name];
        let same = now.is_some_and(|now| {
            matches!(now.kind, FoundKind::File { size: s, .. } if s == size(entry))
                && now.mtime == entry.mtime
                && now.ctime == entry.ctime
                && now.inode == entry.inode
        });
        if !same {
            changed.push(name.clone());
        }
    }
    Ok(changed)
}

fn describe_again(root: &Path, tree: &mut Tree, name: &Name) -> Result<(), Failure> {
    let path = root.join(os(&name.0));
    let gone = || Failure::new(Reason::SourceChanging, format!("{path:?} went away while it was read: use copyMethod Snapshot or Clone"));
    let found = look(&path)?.ok_or_else(gone)?;
    let FoundKind::File { size, .. } = found.kind else { return Err(gone()) };
    let sha256 = hash(&path)?;
    let Some(Entry { kind: Kind::File { place, .. }, .. }) = tree.get(name) else { return Err(gone()) };
    let kind = Kind::File { size, sha256, place: *place };
    tree.insert(name.clone(), entry(kind, &found));
    Ok(())
}

/// Finishes what a mover left that died between commit and promotion.
fn finish_promotion(remote: &Remote<'_>, commit: &Commit, tree: &Tree) -> Result<(), Failure> {
    let names: Vec<_> = staged(tree).collect();
    if names.is_empty() { Ok(()) } else { remote.promote(&commit.revision, names.into_iter()) }
}

fn staged(tree: &Tree) -> impl Iterator<Item = &str> {
    files(tree).filter(|(.., place)| *place == Place::Staged).filter_map(|(name, ..)| std::str::from_utf8(&name.0).ok())
}

/// After the commit: replaced files go to their names, and what the parent alone needed goes.
fn settle(
    remote: &Remote<'_>,
    commit: &mut Commit,
    tree: &Tree,
    parent: Option<(&str, &Tree)>,
    report: &mut Report,
) -> Result<(), Failure> {
    finish_promotion(remote, commit, tree)?;
    if let Some((_, old)) = parent {
        let keep = kept(tree);
        let gone = |objects: bool| {
            kept(old)
                .into_iter()
                .filter(|(o, name)| *o == objects && !keep.contains(&(*o, name.clone())))
                .map(|(_, name)| name)
                .collect::<Vec<_>>()
        };
        let (names, objects) = (gone(false), gone(true));
        report.deleted += names.len() as u64;
        if !names.is_empty() {
            remote.delete("", names.iter().map(String::as_str))?;
        }
        if !objects.is_empty() {
            remote.delete(".scribe/objects/", objects.iter().map(String::as_str))?;
        }
    }
    commit.staged = false;
    remote.write_json("commit.json", commit)?;
    if staged(tree).next().is_some() {
        remote.purge_staged()?;
    }
    if let Some((revision, _)) = parent {
        remote.remove(&format!("manifests/{revision}.zst"))?;
    }
    remote.remove("claim.json")
}

/// Names and objects (`true`) that a tree's content is under.
fn kept(tree: &Tree) -> BTreeSet<(bool, String)> {
    files(tree)
        .filter_map(|(name, sha256, place)| match place {
            Place::Object => Some((true, sha256.clone())),
            Place::Name | Place::Staged => std::str::from_utf8(&name.0).ok().map(|name| (false, name.to_owned())),
        })
        .collect()
}

/// As [`settle`], but by a listing of the path: for when a push died, or other hands may have changed something.
fn finish(
    remote: &Remote<'_>,
    commit: &mut Commit,
    tree: &Tree,
    parent: Option<(&str, &Tree)>,
    report: &mut Report,
) -> Result<(), Failure> {
    if commit.staged {
        finish_promotion(remote, commit, tree)?;
    }
    let there: BTreeSet<String> = remote.all_names()?.into_iter().collect();
    let needed: BTreeSet<String> = kept(tree).into_iter().filter(|(object, _)| !object).map(|(_, name)| name).collect();
    if let Some(lost) = needed.difference(&there).next() {
        let message =
            format!("{} files of the remote are gone, {lost:?} among them; somebody else deleted them", needed.difference(&there).count());
        return Err(Failure::new(Reason::RemoteInconsistent, message));
    }
    let stray: Vec<_> = there.difference(&needed).collect();
    report.deleted += stray.len() as u64;
    if !stray.is_empty() {
        remote.delete("", stray.iter().map(|name| name.as_str()))?;
    }
    commit.verified = Timestamp::now();
    commit.staged = false;
    remote.write_json("commit.json", commit)?;
    remote.purge_staged()?;
    if let Some((revision, _)) = parent {
        remote.remove(&format!("manifests/{revision}.zst"))?;
    }
    remote.remove("claim.json")
}

fn new_revision(now: Timestamp) -> Result<String, Failure> {
    let mut random = [0u8; 4];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
        .map_err(|e| Failure::internal("reading random numbers", e))?;
    Ok(format!("{}-{}", now.strftime("%Y%m%dT%H%M%SZ"), hex(&random)))
}
