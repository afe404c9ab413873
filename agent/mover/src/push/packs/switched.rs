//! A path that was of layout Files: the revision that a push of layout Packs takes the place of, and what is left of it afterwards. The new commit names
//! it (`former`) until all of its objects have been seen to be gone.

use std::collections::HashSet;

use super::base::Base;
use super::begin::Session;
use super::conditional::replace;
use super::left::delete;
use super::strange::known;
use crate::error::Result;
use crate::format::documents;
use crate::format::entries::EntriesWriter;
use crate::format::manifest::FORMAT;
use crate::format::names::{CLAIM, COMMIT, CONTROL_DIR, below_ours, is_content, is_manifest, is_ours};
use crate::packs::commit::{Commit, Former};
use crate::push::hold::{Hold, claim_name};
use crate::push::object_names::{Name, of_ours};
use crate::push::old_trees::OldTrees;
use crate::push::remote_state::Strays;
use crate::remote::committed::{Committed, Manifest, inconsistent, read_manifest};
use crate::remote::{BATCH, Listing, Remote, contradiction, shows};
use crate::store::slices;

/// Looks at the path before the rest is left to the next push: one that shows what is to go, and one that shows that it has gone, at least.
const LOOKS: usize = 3;

/// Reads the revision of layout Files that is committed.
pub(super) fn read(remote: &Remote, commit: &documents::Commit) -> Result<Committed> {
    let what = match read_manifest(remote, commit.clone())? {
        Manifest::Whole(committed) => return Ok(*committed),
        Manifest::Missing(commit) | Manifest::Damaged(commit, _) => match read_manifest(remote, commit)? {
            Manifest::Whole(committed) => return Ok(*committed),
            Manifest::Missing(commit) => format!("the manifest of {} is missing", commit.revision),
            Manifest::Damaged(_, what) => what,
        },
    };
    let advice = "Push with layout Files once, which repairs it, and then with layout Packs";
    Err(inconsistent(remote, &format!("{what}, so which of the objects there are of layout Files is not known. {advice}")))
}

/// How the next commit names it.
pub(super) fn former(files: &Committed) -> Former {
    Former { format: FORMAT, revision: files.commit.revision.clone(), manifest: files.commit.manifest.clone() }
}

/// Finishes what a push that was killed has left, under the commit that there is, which it gives as it is then.
pub(super) fn finish(session: &Session, base: &Base) -> Result<Dropped> {
    let Session { remote, options, .. } = session;
    let begun = session.begin()?;
    let hold = Hold::new(remote, options, &begun.claim);
    hold.check_before(Some(&base.commit), None, false)?;
    let due: Vec<Name> = base.due().map(|name| of_ours(&name)).collect();
    delete(remote, if begun.interrupted { &due } else { &[] })?;
    let dropped = dropped(&hold, base.commit.clone(), &known(&base.document, base.packs.keys()))?;
    if dropped.is_told {
        remote.delete(&[&*claim_name()])?;
    }
    Ok(dropped)
}

/// What became of a commit when what layout Files had left was deleted.
pub(super) struct Dropped {
    /// As it is now.
    pub(super) commit: Commit,
    /// Nothing is left that the claim alone tells of.
    pub(super) is_told: bool,
}

/// Deletes what pushes of layout Files have left, once this commit is known to be the committed one, if it names a revision of theirs, or if the
/// claim says that one was killed. The commit that it gives names no former revision, unless something is left all the same. `known` are objects
/// of layout Packs.
pub(super) fn dropped(hold: &Hold, mut commit: Commit, known: &HashSet<String>) -> Result<Dropped> {
    let remote = hold.remote;
    let former = commit.statement.former.as_ref().map(|former| former.revision.clone());
    if former.is_none() && !hold.claim.files_left {
        return Ok(Dropped { commit, is_told: true });
    }
    if !cleared(hold, &commit, former.as_deref(), known)? {
        return Ok(Dropped { commit, is_told: former.is_some() });
    }
    if former.is_some() {
        let before = commit.clone();
        commit.statement.former = None;
        // What has been deleted since the first write may have taken any time, in which others have pushed.
        let check = || hold.check_committed(&before);
        check()?;
        replace(remote, &commit, Some(&before), check, |_| Ok(()))?;
        hold.check_committed(&commit)?;
    }
    Ok(Dropped { commit, is_told: true })
}

/// Deletes all that their manifests name, what lies in their folders, and the manifests at last, that of `former` among them; whether a listing
/// shows none of it any more.
fn cleared(hold: &Hold, commit: &Commit, former: Option<&str>, known: &HashSet<String>) -> Result<bool> {
    let remote = hold.remote;
    let manifest = former.map(|former| format!("{CONTROL_DIR}/manifests/{former}.zst").into_bytes());
    let is_manifest_of_former = |name: &[u8]| manifest.as_ref().is_some_and(|manifest| **manifest == *name);
    let is_known = |name: &[u8]| {
        let ours = below_ours(name).and_then(|name| std::str::from_utf8(name).ok());
        !is_manifest_of_former(name) && ours.is_some_and(|name| known.contains(name))
    };
    let nothing = EntriesWriter::new(&remote.context.scratch, "")?.finish()?;
    for _ in 0..LOOKS {
        let mut listing = remote.list("")?;
        for ours in [COMMIT, CLAIM] {
            if !shows(&listing, ours) {
                return Err(contradiction(remote, ours));
            }
        }
        listing.retain(|name, _| !is_known(name));
        let old = OldTrees::read(remote, (None, false), &nothing, &listing)?;
        let left = left(&listing, &old);
        let manifests: Vec<Name> = old.leftovers.into_iter().chain(old.superseded).filter(|name| is_manifest(name)).collect();
        // One that is listed and cannot be read now may name more.
        let is_read = manifests.iter().any(|name| is_manifest_of_former(name)) || !listing.keys().any(|name| is_manifest_of_former(name));
        if left.is_empty() && !is_read {
            let object = manifest.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            let what = "a manifest of layout Files cannot be read, so which objects it names is not known: restore it; or delete what lies beside .scribe/ of that layout, and then that manifest";
            tracing::warn!(path = remote.name(), %object, "{what}");
            return Ok(false);
        }
        if left.is_empty() {
            hold.check_if_held_up(commit)?;
            delete(remote, &manifests)?;
            remote.remove_all_empty()?;
            return Ok(true);
        }
        for names in left.chunks(BATCH) {
            hold.check_if_held_up(commit)?;
            remote.delete(&slices(names))?;
        }
    }
    tracing::warn!(path = remote.name(), "objects of layout Files are listed after they were deleted; a later push goes on with that");
    Ok(false)
}

/// What is listed of layout Files, manifests aside.
fn left(listing: &Listing, old: &OldTrees) -> Vec<Name> {
    let strays = Strays::Named(&old.names);
    let is_left = |name: &&Name| is_content(name) && (is_ours(name) || strays.contains(name));
    let content = listing.keys().filter(is_left).cloned();
    content.chain(old.leftovers.iter().filter(|name| !is_manifest(name)).cloned()).collect()
}
