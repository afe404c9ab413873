//! What a push that died had sent already, and this one need not send again.
//!
//! Believed by the MD5 sum that the backend tells, against the file on the volume: a size and a time would not do, because the dead
//! push may have read the file in any state. Imports [`crate::remote`], [`crate::hash`], [`super::plan`], [`super::send`]'s `Work`
//! and [`super::sent`].

use super::plan::{Name, Plan, Upload, object};
use super::send::Work;
use super::sent::Sent;
use crate::failure::Result;
use crate::hash::both;
use crate::remote::{BATCH, Index, Listing, Object, Told};
use crate::spill::{SpillWriter, batches};

/// Those of the plan's uploads that lie on the remote already.
pub(super) fn sent_before(work: &Work, plan: &Plan) -> Result<Sent> {
    let mut sent = Sent::new(work.scratch())?;
    let Some(listing) = work.listing.filter(|_| !plan.own.is_empty() || !plan.objects.is_empty()) else { return Ok(sent) };
    let sums = sums(work, plan, listing)?;
    let (mut files, mut bytes) = (0_u64, 0);
    let mut is_there = |name: &[u8], upload: &Upload| {
        let sum = sums.get(name).filter(|_| listing.get(name) == Some(&upload.size));
        let Some(sum) = sum.and_then(Object::md5) else { return Ok(false) };
        let file = both(&upload.path.under(&work.options.volume), &work.remote.rclone.stop)?;
        let same = file.is_some_and(|(sha256, md5)| sha256 == upload.sha256 && md5 == sum);
        if same {
            files += 1;
            bytes += upload.size;
        }
        Ok::<_, crate::failure::Failure>(same)
    };
    let mut own = SpillWriter::new(work.scratch())?;
    for upload in plan.own.read()? {
        let upload = upload?;
        if is_there(upload.path.as_bytes(), &upload)? {
            own.push(&upload)?;
        }
    }
    sent.own.note(&own.finish()?, true, work.scratch())?;
    for upload in &plan.objects {
        if is_there(&object(&upload.sha256), upload)? {
            sent.objects.insert(upload.sha256, true);
        }
    }
    sent.before = bytes;
    tracing::info!(files, bytes, "going on where a push died: these were sent already");
    Ok(sent)
}

/// What the remote tells of the names that the plan writes to.
fn sums(work: &Work, plan: &Plan, listing: &Listing) -> Result<Index> {
    let mut sums = Index::default();
    if work.remote.feature("SlowHash")? {
        let own = plan.own.read()?.map(|upload| Ok(upload?.path.as_bytes().into()));
        let names = own.chain(plan.objects.iter().map(|upload| Ok(object(&upload.sha256))));
        let there = names.filter(|name: &Result<Name>| name.as_ref().map_or(true, |name| listing.contains_key(name)));
        for batch in batches(there, BATCH) {
            for (name, sum) in work.remote.told_sums(batch?.iter().map(|name| &**name))? {
                sums.add(Told { name: &name, written: None, md5: Some(&sum) });
            }
        }
    } else {
        work.remote.told(true, |object, _| sums.add(object))?;
    }
    sums.sort();
    Ok(sums)
}
