//! What a killed push had uploaded already, and this one need not upload again.
//!
//! Verified by the MD5 sum that the backend reports, against the file on the volume: a size and a time would not do, because the dead
//! push may have read the file in any state.

use super::object_names::{Name, object};
use super::upload::PushContext;
use super::uploads::Upload;
use crate::error::Result;
use crate::format::entries::Entries;
use crate::format::names::trusted;
use crate::name_set::ContentSet;
use crate::remote::{BATCH, Index, ListedObject, Listing, Object};
use crate::spill::{SpillWriter, batches};
use crate::store::slices;
use crate::volume::entry::Entry;
use crate::volume::hash::both;
use crate::volume::merge_join::join;

/// A file of the volume, and the name that it would be sent to.
struct Candidate {
    name: Name,
    upload: Upload,
}

/// What lies on the remote already of the files that the committed revision does not have.
pub(super) fn uploaded_before(work: &PushContext, tree: &Entries) -> Result<ContentSet> {
    let mut there = ContentSet::default();
    let Some(listing) = work.listing.filter(|_| work.claimed) else { return Ok(there) };
    let mut due = SpillWriter::new(work.scratch())?;
    for candidate in candidates(work, tree, listing)? {
        due.push(&candidate?.upload)?;
    }
    let due = due.finish()?;
    if due.is_empty() {
        return Ok(there);
    }
    let sums = sums(work, tree, listing)?;
    let (mut files, mut bytes) = (0_u64, 0);
    for upload in due.read()? {
        let upload = upload?;
        let name = name_of(&upload);
        let Some(sum) = sums.get(&name).and_then(Object::md5) else { continue };
        let file = both(work.root, &upload.path, &work.remote.context.stop)?;
        if file.is_some_and(|(sha256, md5)| sha256 == upload.sha256 && md5 == sum) {
            there.insert(&name, upload.sha256);
            files += 1;
            bytes += upload.size;
        }
    }
    tracing::info!(files, bytes, "continuing where a push was killed: these files were uploaded already");
    Ok(there)
}

fn name_of(upload: &Upload) -> Name {
    if trusted(&upload.path) { upload.path.as_bytes().into() } else { object(&upload.sha256) }
}

/// The files of the volume that the committed revision does not have, and of whose name and size something is listed.
fn candidates<'a>(
    work: &PushContext<'a>,
    tree: &Entries,
    listing: &'a Listing,
) -> Result<impl Iterator<Item = Result<Candidate>> + use<'a>> {
    let committed = work.committed.map(|committed| committed.entries.read()).transpose()?.into_iter().flatten();
    Ok(join(committed, tree.read()?).filter_map(|pair| {
        let (before, entry) = match pair {
            Ok((before, Some(entry))) => (before, entry),
            Ok((_, None)) => return None,
            Err(failure) => return Some(Err(failure)),
        };
        let file = entry.file()?;
        let known = before.as_ref().and_then(Entry::file).is_some_and(|old| old.sha256 == file.sha256);
        let upload = Upload { path: entry.path.clone(), sha256: file.sha256, size: file.size };
        let name = name_of(&upload);
        (!known && listing.get(&name) == Some(&file.size)).then_some(Ok(Candidate { name, upload }))
    }))
}

/// What the remote reports of the names that may have been uploaded.
fn sums(work: &PushContext, tree: &Entries, listing: &Listing) -> Result<Index> {
    let mut sums = Index::default();
    if work.remote.features()?.slow_sums {
        let names = candidates(work, tree, listing)?.map(|candidate| Ok(candidate?.name));
        for batch in batches(names, BATCH) {
            for (name, sum) in work.remote.listed_sums(&slices(&batch?))? {
                sums.add(ListedObject { name: &name, written: None, md5: Some(&sum) });
            }
        }
    } else {
        work.remote.each_listed(true, |object, _| sums.add(object))?;
    }
    sums.sort();
    Ok(sums)
}
