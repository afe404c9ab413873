//! Finishes what an earlier push left undone: promotes a commit whose files are still staged, and drops what no
//! commit needs. Run on a listing, before anything new is written.
//!
//! Imports [`crate::remote`], [`crate::committed`], [`crate::control`] and [`super::plan`].

use std::collections::HashSet;

use crate::committed::Committed;
use crate::control::seal;
use crate::entry::{At, Kind};
use crate::failure::{Failure, Result};
use crate::names::{CLAIM, COMMIT, CONTROL_DIR, manifest, staged_dir};
use crate::remote::{Listing, Remote};
use crate::report::Reason;

use super::plan::object_name;

/// Refuses a path with another replication's path inside: its files look like strays, and deleting them would be fatal.
pub(super) fn refuse_nested(remote: &Remote, committed: Option<&Committed>, listing: &Listing) -> Result<()> {
    let ours: HashSet<&[u8]> = committed.into_iter().flat_map(|committed| &committed.entries).map(|entry| entry.path.as_bytes()).collect();
    let marks = [COMMIT, CLAIM].map(|name| format!("/{CONTROL_DIR}/{name}"));
    let nested = listing.keys().find(|name| marks.iter().any(|mark| name.ends_with(mark.as_bytes())) && !ours.contains(&***name));
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
    for entry in &mut committed.entries {
        if let Kind::File(file) = &mut entry.kind
            && file.at == At::Staged
        {
            file.at = At::Own;
        }
    }
    let kept = format!("{CONTROL_DIR}/{}", manifest(&committed.revision));
    let ours = ["staged", "manifests"].map(|dir| format!("{CONTROL_DIR}/{dir}/"));
    let stale = |name: &[u8]| ours.iter().any(|dir| name.starts_with(dir.as_bytes())) && name != kept.as_bytes();
    drop_names(remote, listing, stale)?;
    if drop_strays { remote.remove_all_empty() } else { Ok(()) }
}

/// Goes on where a push died after its commit.
fn promote(remote: &Remote, committed: &mut Committed, listing: &mut Listing, drop_strays: bool) -> Result<()> {
    tracing::info!(revision = %committed.revision, "finishing a committed push");
    let names: HashSet<Box<[u8]>> = committed.entries.iter().filter_map(|entry| Some(object_name(&entry.path, entry.file()?))).collect();
    if drop_strays {
        // First, because a file of the old tree may stand where a folder of the new one goes.
        let control = format!("{CONTROL_DIR}/");
        drop_names(remote, listing, |name| !name.starts_with(control.as_bytes()) && !names.contains(name))?;
        // And a folder where a file goes.
        remote.remove_all_empty()?;
    }
    let dir = staged_dir(&committed.revision);
    let (mut there, mut lost) = (Vec::new(), Vec::new());
    for entry in &committed.entries {
        let Some(file) = entry.file().filter(|file| file.at == At::Staged) else {
            continue;
        };
        let staged = [dir.as_bytes(), entry.path.as_bytes()].concat();
        if listing.get(&*staged).is_some_and(|&size| size == file.size || size == u64::MAX) {
            there.push((entry.path.as_bytes(), file.size));
        } else {
            lost.push(entry.path.as_bytes());
        }
    }
    remote.promote(&dir, "", there.iter().map(|(name, _)| *name))?;
    for (name, size) in there {
        listing.insert(name.into(), size);
    }
    for name in lost {
        // What lies under its own name may be the older content: not to be believed, whatever its size.
        listing.remove(name);
    }
    committed.commit.staged = false;
    remote.write_object(COMMIT, &seal(&committed.commit)?)??;
    Ok(())
}

fn drop_names(remote: &Remote, listing: &mut Listing, mut doomed: impl FnMut(&[u8]) -> bool) -> Result<()> {
    let names: Vec<Box<[u8]>> = listing.keys().filter(|name| doomed(name)).cloned().collect();
    remote.delete(names.iter().map(|name| &**name))?;
    for name in &names {
        listing.remove(name);
    }
    Ok(())
}
