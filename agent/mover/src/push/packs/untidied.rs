//! A push of layout Files that took the place of packs, and was killed before it had deleted all of them. Its claim is all that tells of that, so it
//! is finished before a push of layout Packs puts its own in that place.

use super::left::delete;
use crate::error::Result;
use crate::format::documents::{Claim, Control};
use crate::format::entries::EntriesWriter;
use crate::format::manifest::FORMAT;
use crate::format::names::Folder;
use crate::push::PushOptions;
use crate::push::hold::check_unchanged;
use crate::push::object_names::Name;
use crate::push::old_trees::OldTrees;
use crate::remote::Remote;
use crate::remote::committed::{Committed, inconsistent, read_any_claim};

/// Deletes all that is of layout Packs beside the committed revision of layout Files, where `claim` is one of layout Files: none of it is of use to
/// that push, which would have deleted it, nor to any that has begun since, for that one would have claimed.
pub(super) fn finish_files(remote: &Remote, options: &PushOptions, files: &Committed, claim: &Control<Claim>) -> Result<()> {
    if claim.present().is_none_or(|claim| claim.format != FORMAT) {
        return Ok(());
    }
    let listing = remote.list("")?;
    let folders = [Folder::Packs, Folder::Runs, Folder::Checkpoints].map(Folder::below);
    let is_of_packs = |name: &&Name| folders.iter().any(|folder| name.starts_with(folder.as_bytes()));
    let objects: Vec<Name> = listing.keys().filter(is_of_packs).cloned().collect();
    let nothing = EntriesWriter::new(&remote.context.scratch, "")?.finish()?;
    let manifests = OldTrees::read(remote, (Some(files), false), &nothing, &listing)?.of_packs;
    // Whoever has written any of this has claimed before.
    if read_any_claim(remote)? != *claim {
        let what = "another push has claimed it meanwhile; nothing was changed, and the next attempt checks again";
        return Err(inconsistent(remote, what));
    }
    check_unchanged(remote, options, &files.commit)?;
    let count = objects.len() + manifests.len();
    tracing::info!(count, "deleting packs that a push of layout Files was killed over");
    delete(remote, &objects)?;
    delete(remote, &manifests)
}
