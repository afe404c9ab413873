//! Finishes what an earlier push left undone after its commit: promotes what is still staged. Run on a listing, and under the claim of
//! this push, before anything new is written.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::hold::Hold;
use super::object_names::{Name, above, object, object_name};
use super::remote_state::Strays;
use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::format::documents::seal;
use crate::format::names::{COMMIT, Folder, StagedDir, is_ours};
use crate::remote::committed::Committed;
use crate::remote::{BATCH, Listing, Remote};
use crate::report::Reason;
use crate::spill::batches;
use crate::store::slices;
use crate::volume::entry::{Entry, Location, Meta};

/// Brings the path into the state a finished push leaves, and the listing with it; returns how many strays were in the way and are gone.
///
/// What is staged stays there, and the commit keeps saying so, as long as anything that it says is staged was not promoted: a
/// listing that leaves something out is no reason to give up the only copy.
pub(super) fn recover(hold: &Hold, committed: &mut Committed, listing: &mut Listing, strays: Strays) -> Result<u64> {
    let remote = hold.remote;
    if !committed.commit.staged {
        return Ok(0);
    }
    tracing::info!(revision = %committed.revision, "finishing a committed push");
    let dir = StagedDir::of(&committed.revision);
    // A second listing, of that folder alone: what either shows is there.
    let mut staged = remote.list(&Folder::Staged(&dir).below())?;
    let mut objects = remote.list(&Folder::StagedObjects(&dir).below())?;
    let size_of = |listing: &Listing, name: &[u8], second: Option<&u64>| second.or_else(|| listing.get(name)).copied();
    let fits = |found: Option<u64>, size: u64| found.is_some_and(|found| found == size || found == u64::MAX);
    let gone = clear_the_way(remote, committed, listing, strays)?;

    let mut missing = 0_u64;
    let waits = |entry: &Result<Entry>| match entry {
        Ok(entry) => entry.file().is_some_and(|file| matches!(file.at, Location::Staged | Location::Object)),
        Err(_) => true,
    };
    // Of the metadata nothing is needed, and it may be large.
    let bare = |entry: Result<Entry>| entry.map(|entry| Entry { meta: Meta::default(), ..entry });
    for batch in batches(committed.entries.read()?.filter(waits).map(bare), BATCH) {
        let batch = batch?;
        // What was promoted from there may be damaged, and is not to be replaced by what the volume has by now: a third witness, before it is sent again.
        let unseen =
            batch.iter().filter(|entry| entry.file().is_some_and(|file| file.at == Location::Staged)).map(|entry| entry.path.as_bytes());
        let unseen: Vec<&[u8]> = unseen.filter(|name| !staged.contains_key(*name) && !listing.contains_key(&*dir.name(name))).collect();
        staged.extend(remote.look(Folder::Staged(&dir), &unseen)?);
        let hashes: BTreeSet<Digest> =
            batch.iter().filter_map(Entry::file).filter(|file| file.at == Location::Object).map(|file| file.sha256).collect();
        let unseen: Vec<String> = hashes
            .iter()
            .filter(|digest| !listing.contains_key(&*dir.object(digest)))
            .map(Digest::hex)
            .filter(|hash| !objects.contains_key(hash.as_bytes()))
            .collect();
        objects.extend(remote.look(Folder::StagedObjects(&dir), &slices(&unseen))?);
        let (mut files, mut lost) = (Vec::new(), HashSet::<Digest>::new());
        for entry in &batch {
            let (name, Some(file)) = (entry.path.as_bytes(), entry.file()) else { continue };
            if file.at == Location::Object {
                let object = object_name(&entry.path, file);
                let there = size_of(listing, &dir.object(&file.sha256), objects.get(file.sha256.hex().as_bytes()));
                // What lies under its hash may have been altered, in its size: that was the reason to send it again.
                if fits(there, file.size) {
                    lost.insert(file.sha256);
                    listing.insert(object, file.size);
                } else if !fits(listing.get(&object).copied(), file.size) {
                    // Listed nowhere: it may wait in the staged folder all the same.
                    missing += 1;
                }
                continue;
            }
            // What lies under its own name may be the older content: not to be believed, whatever its size.
            listing.remove(name);
            if fits(size_of(listing, &dir.name(name), staged.get(name)), file.size) {
                files.push((name, file.size));
            } else {
                missing += 1;
            }
        }
        hold.check_if_held_up(&committed.commit)?;
        if !remote.promote_whole(
            Folder::Staged(&dir),
            Folder::Live,
            &files.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            committed.commit.files,
        )? {
            // rclone names the damaged one only in its message.
            missing += files.len() as u64;
            files.clear();
        }
        let hashes: Vec<String> = lost.iter().map(Digest::hex).collect();
        if !remote.promote_whole(Folder::StagedObjects(&dir), Folder::Objects, &slices(&hashes), committed.commit.files)? {
            missing += lost.len() as u64;
            for digest in &lost {
                listing.remove(&object(digest));
            }
        }
        listing.extend(files.into_iter().map(|(name, size)| (name.into(), size)));
    }
    if missing > 0 {
        tracing::warn!(missing, "files of the committed revision are not in its staged folder, or damaged there; they are sent again");
        return Ok(gone);
    }
    hold.check_committed(&committed.commit)?;
    committed.commit.staged = false;
    remote.write_object(COMMIT, &seal(&committed.commit)?)?;
    hold.check_committed(&committed.commit)?;
    Ok(gone)
}

/// Where objects are files of a file system, as they are behind some S3 servers, too, a file of the old tree may stand where a folder of
/// the committed one goes, or a folder where a file goes. That push had its deletions allowed; they are finished here as far as they are
/// in the way.
fn clear_the_way(remote: &Remote, committed: &Committed, listing: &mut Listing, strays: Strays) -> Result<u64> {
    let mut candidates: HashSet<&[u8]> = listing.keys().map(|name| &**name).filter(|name| !is_ours(name)).collect();
    let (mut files, mut folders) = (HashSet::new(), HashMap::new());
    for entry in committed.entries.read()? {
        let entry = entry?;
        let Some(file) = entry.file() else { continue };
        candidates.remove(&*object_name(&entry.path, file));
        if file.at == Location::Staged {
            let name = entry.path.as_bytes().to_vec();
            folders.extend(above(&name).map(|folder| (folder.as_bytes().to_vec(), name.clone())));
            files.insert(name);
        }
    }
    let place_of = |name: &[u8]| {
        let folder = above(name).map(|folder| folder.as_bytes().to_vec()).find(|folder| files.contains(folder));
        folder.or_else(|| folders.get(name).cloned())
    };
    let mut in_the_way: Vec<Name> = Vec::new();
    for name in candidates {
        let Some(file) = place_of(name) else { continue };
        if !strays.contains(name) {
            return Err(obstacle(remote, name, &file));
        }
        in_the_way.push(name.into());
    }
    for batch in in_the_way.chunks(BATCH) {
        remote.delete(&slices(batch))?;
    }
    for name in &in_the_way {
        listing.remove(name);
    }
    remote.remove_all_empty()?;
    Ok(in_the_way.len() as u64)
}

/// What others have put where a file of the committed revision goes: it cannot be finished before that is gone.
fn obstacle(remote: &Remote, name: &[u8], file: &[u8]) -> Failure {
    let [name, file] = [name, file].map(String::from_utf8_lossy);
    Failure::new(
        Reason::RemoteInconsistent,
        format!(
            "{}/{name} is in the way of {file}, which is committed and waits to be put in place, and it was not written by this source. Delete it, or move it elsewhere",
            remote.name()
        ),
    )
}
