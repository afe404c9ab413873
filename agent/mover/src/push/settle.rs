//! Finishes what an earlier push left undone: promotes a commit whose files are still staged, and drops what no
//! commit needs. Run on a listing, before anything new is written.
//!
//! Imports [`crate::remote`], [`crate::committed`], [`crate::control`] and [`super::plan`].

use std::collections::HashSet;

use crate::committed::Committed;
use crate::control::seal;
use crate::entry::{At, Entry};
use crate::failure::Result;
use crate::names::{COMMIT, CONTROL_DIR, Folder, StagedDir, manifest};
use crate::remote::{BATCH, Listing, Remote};
use crate::spill::batches;

use super::plan::{Name, Strays, object_name};

/// Brings the path into the state a finished push leaves, and the listing with it. Of what no tree accounts for, only `strays` go.
pub(super) fn recover(remote: &Remote, committed: &mut Committed, listing: &mut Listing, strays: Strays) -> Result<()> {
    if committed.commit.staged {
        promote(remote, committed, listing, strays)?;
    }
    let staged = format!("{CONTROL_DIR}/staged/");
    let stale: Vec<Box<[u8]>> = listing.keys().filter(|name| name.starts_with(staged.as_bytes())).cloned().collect();
    drop_names(remote, listing, &stale)?;
    if strays.is_none() { Ok(()) } else { remote.remove_all_empty() }
}

/// What earlier pushes have left in our own folder: staged files, and the manifests of other revisions than the committed one. The
/// manifests say which names dead pushes have written to, so they stay until those are gone.
pub(super) fn leftovers(committed: Option<&Committed>, listing: Option<&Listing>) -> Vec<Name> {
    let kept = committed.map(|committed| format!("{CONTROL_DIR}/{}", manifest(&committed.revision)));
    let dirs = ["manifests", "staged"].map(|dir| format!("{CONTROL_DIR}/{dir}/"));
    let ours = |name: &&Name| dirs.iter().any(|dir| name.starts_with(dir.as_bytes()));
    let old = |name: &&Name| kept.as_ref().is_none_or(|kept| kept.as_bytes() != &***name);
    listing.into_iter().flat_map(Listing::keys).filter(ours).filter(old).cloned().collect()
}

/// Goes on where a push died after its commit.
fn promote(remote: &Remote, committed: &mut Committed, listing: &mut Listing, strays: Strays) -> Result<()> {
    tracing::info!(revision = %committed.revision, "finishing a committed push");
    if !strays.is_none() {
        // First, because a file of the old tree may stand where a folder of the new one goes.
        let control = format!("{CONTROL_DIR}/");
        let stray = |name: &&[u8]| !name.starts_with(control.as_bytes()) && strays.contains(name);
        let mut strays: HashSet<&[u8]> = listing.keys().map(|name| &**name).filter(stray).collect();
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
    let dir = StagedDir::of(&committed.revision);
    let staged = |entry: &Result<Entry>| match entry {
        Ok(entry) => entry.file().is_some_and(|file| file.at == At::Staged),
        Err(_) => true,
    };
    for batch in batches(committed.entries.read()?.filter(staged), BATCH) {
        let batch = batch?;
        let mut there = Vec::new();
        for entry in &batch {
            let (name, size) = (entry.path.as_bytes(), entry.file().map_or(0, |file| file.size));
            let found = listing.get(&dir.name(name)).copied();
            // What lies under its own name may be the older content: not to be believed, whatever its size.
            listing.remove(name);
            if found.is_some_and(|found| found == size || found == u64::MAX) {
                there.push((name, size));
            }
        }
        remote.promote(Folder::Staged(&dir), Folder::Live, there.iter().map(|(name, _)| *name))?;
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
