//! Finishes what an earlier push left undone: promotes a commit whose files are still staged, and drops what no
//! commit needs. Run on a listing, before anything new is written.
//!
//! Imports [`crate::remote`], [`crate::committed`], [`crate::control`] and [`super::plan`].

use std::collections::{BTreeSet, HashSet};

use crate::committed::Committed;
use crate::control::seal;
use crate::entry::{At, Entry};
use crate::failure::{Failure, Result};
use crate::names::{CLAIM, COMMIT, CONTROL_DIR, manifest, staged_dir};
use crate::remote::{BATCH, Listing, Remote};
use crate::report::Reason;
use crate::spill::batches;

use super::plan::object_name;

/// Refuses a path with another replication's path inside: its files look like strays, and deleting them would be fatal.
pub(super) fn refuse_nested(remote: &Remote, committed: Option<&Committed>, listing: &Listing) -> Result<()> {
    let marks = [COMMIT, CLAIM].map(|name| format!("/{CONTROL_DIR}/{name}"));
    let marked = |name: &&[u8]| marks.iter().any(|mark| name.ends_with(mark.as_bytes()));
    let mut nested: BTreeSet<&[u8]> = listing.keys().map(|name| &**name).filter(marked).collect();
    if let Some(committed) = committed.filter(|_| !nested.is_empty()) {
        for entry in committed.entries.read()? {
            nested.remove(entry?.path.as_bytes());
        }
    }
    let nested = nested.first();
    match nested {
        None => Ok(()),
        Some(name) => Err(Failure::new(
            Reason::PathNotOurs,
            format!(
                "another replication's path lies inside {}: {} is there. Give each a path of its own, none inside another",
                remote.name(),
                String::from_utf8_lossy(name)
            ),
        )),
    }
}

/// Brings the path into the state a finished push leaves, and the listing with it.
pub(super) fn settle(remote: &Remote, committed: &mut Committed, listing: &mut Listing, drop_strays: bool) -> Result<()> {
    if committed.commit.staged {
        promote(remote, committed, listing, drop_strays)?;
    }
    let kept = format!("{CONTROL_DIR}/{}", manifest(&committed.revision));
    let ours = ["staged", "manifests"].map(|dir| format!("{CONTROL_DIR}/{dir}/"));
    let stale = |name: &[u8]| ours.iter().any(|dir| name.starts_with(dir.as_bytes())) && name != kept.as_bytes();
    let stale: Vec<Box<[u8]>> = listing.keys().filter(|name| stale(name)).cloned().collect();
    drop_names(remote, listing, &stale)?;
    if drop_strays { remote.remove_all_empty() } else { Ok(()) }
}

/// Goes on where a push died after its commit.
fn promote(remote: &Remote, committed: &mut Committed, listing: &mut Listing, drop_strays: bool) -> Result<()> {
    tracing::info!(revision = %committed.revision, "finishing a committed push");
    if drop_strays {
        // First, because a file of the old tree may stand where a folder of the new one goes.
        let control = format!("{CONTROL_DIR}/");
        let mut strays: HashSet<&[u8]> = listing.keys().map(|name| &**name).filter(|name| !name.starts_with(control.as_bytes())).collect();
        for entry in committed.entries.read()? {
            let entry = entry?;
            if let Some(file) = entry.file() {
                strays.remove(&*object_name(&entry.path, file));
            }
        }
        let strays: Vec<Box<[u8]>> = strays.into_iter().map(Into::into).collect();
        drop_names(remote, listing, &strays)?;
        // And a folder where a file goes.
        remote.remove_all_empty()?;
    }
    let dir = staged_dir(&committed.revision);
    let staged = |entry: &Result<Entry>| match entry {
        Ok(entry) => entry.file().is_some_and(|file| file.at == At::Staged),
        Err(_) => true,
    };
    for batch in batches(committed.entries.read()?.filter(staged), BATCH) {
        let batch = batch?;
        let mut there = Vec::new();
        for entry in &batch {
            let (name, size) = (entry.path.as_bytes(), entry.file().map_or(0, |file| file.size));
            let found = listing.get(&*[dir.as_bytes(), name].concat()).copied();
            // What lies under its own name may be the older content: not to be believed, whatever its size.
            listing.remove(name);
            if found.is_some_and(|found| found == size || found == u64::MAX) {
                there.push((name, size));
            }
        }
        remote.promote(&dir, "", there.iter().map(|(name, _)| *name))?;
        listing.extend(there.into_iter().map(|(name, size)| (name.into(), size)));
    }
    committed.commit.staged = false;
    remote.write_object(COMMIT, &seal(&committed.commit)?)??;
    Ok(())
}

fn drop_names(remote: &Remote, listing: &mut Listing, names: &[Box<[u8]>]) -> Result<()> {
    for batch in names.chunks(BATCH) {
        remote.delete(batch.iter().map(|name| &**name))?;
    }
    for name in names {
        listing.remove(name);
    }
    Ok(())
}
