//! Sends content: what is large so that it is read once while it is sent, where the remote can do that, and the rest as files.

use super::hold::check_unchanged;
use super::plan::PushPlan;
use super::upload::{Purpose, PushContext};
use super::uploaded::Uploaded;
use super::uploads::{Read, Upload};
use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::format::names::{Folder, manifest};
use crate::remote::{BATCH, SentOnce, open_files};
use crate::report::Reason;
use crate::spill::{Spill, batches};
use crate::store::{self, Class, Content, StoreError, slices};

/// A file, and the name that it is sent to.
type Named<'f> = (&'f Upload, &'f [u8]);

impl PushContext<'_> {
    /// Sends what the plan says and was not sent yet.
    pub(super) fn send(&self, plan: &PushPlan, purpose: Purpose, uploaded: &mut Uploaded) -> store::Result<()> {
        let staged = purpose.staged();
        if let (Some(committed), false) = (self.committed, uploaded.confirmed)
            && self.writes_in_place(plan)
        {
            check_unchanged(self.remote, self.options, &committed.commit)?;
            uploaded.confirmed = true;
        }
        match purpose {
            Purpose::Repair(_) if plan.differs || !plan.own.is_empty() => {
                return Err(Failure::new(Reason::SourceChanging, "the volume changed while the remote was repaired").into());
            }
            Purpose::Repair(_) => {}
            // Should this push die, the next one knows by it which names are its own.
            Purpose::Revision(_) => {
                self.remote.write_file(&manifest(self.revision), plan.entries.file()).map_err(Failure::from)?;
                if !std::mem::replace(&mut uploaded.announced, true) {
                    // So that a push that fails again and again does not leave more of them each time.
                    for batch in self.superseded.chunks(BATCH) {
                        self.remote.delete(&slices(batch))?;
                    }
                }
            }
        }
        for upload in plan.own.read()? {
            uploaded.there.forget(upload?.path.as_bytes());
        }
        for (uploads, sent, folder) in
            [(&plan.own, &mut uploaded.own, Folder::Live), (&plan.staged, &mut uploaded.staged, Folder::Staged(staged))]
        {
            let mut read = Read::default();
            let ran = self.send_files(uploads, sent.due(uploads)?, folder, &mut read);
            // Noted in either case: what is half sent has to go, too.
            sent.note(uploads, ran.is_ok(), &read, self.scratch())?;
            uploaded.read.add(read);
            ran?;
        }
        for (uploads, sent, folder) in [
            (&plan.objects, &mut uploaded.objects, Folder::Objects),
            (&plan.lost_objects, &mut uploaded.lost_objects, Folder::StagedObjects(staged)),
        ] {
            let due: Vec<&Upload> = uploads.iter().filter(|upload| sent.get(&upload.sha256) != Some(&true)).collect();
            for batch in due.chunks(open_files()) {
                sent.extend(batch.iter().map(|upload| (upload.sha256, false)));
                self.send_objects(batch, folder, &mut uploaded.read)?;
                sent.extend(batch.iter().map(|upload| (upload.sha256, true)));
            }
        }
        Ok(())
    }

    fn send_files(
        &self,
        all: &Spill<Upload>,
        due: impl Iterator<Item = Result<Upload>>,
        folder: Folder,
        read: &mut Read,
    ) -> store::Result<()> {
        if all.is_empty() {
            return Ok(());
        }
        for batch in batches(due, open_files()) {
            let batch = batch?;
            self.send_batch(batch.iter().map(|upload| (upload, upload.path.as_bytes())), folder, read)?;
        }
        Ok(())
    }

    /// Content whose name rclone would mangle goes under its hash.
    fn send_objects(&self, batch: &[&Upload], folder: Folder, read: &mut Read) -> store::Result<()> {
        let names: Vec<String> = batch.iter().map(|upload| upload.sha256.hex()).collect();
        self.send_batch(batch.iter().copied().zip(names.iter().map(String::as_bytes)), folder, read)
    }

    /// Sends files of the volume, each under another name. None of them where any is gone: the next look at the volume shows it.
    fn send_batch<'f>(&self, files: impl Iterator<Item = Named<'f>>, folder: Folder, read: &mut Read) -> store::Result<()> {
        let from = self.remote.features()?.reads_once;
        let (once, rest): (Vec<Named>, Vec<Named>) = files.partition(|(upload, _)| from.is_some_and(|from| upload.size >= from));
        self.remote.send(self.open(&rest)?, folder)?;
        self.send_once(&once, folder, read)
    }

    fn open<'f>(&self, files: &[Named<'f>]) -> store::Result<Vec<store::Upload<'f>>> {
        let open = |(upload, name): &Named<'f>| match self.root.file(&upload.path)? {
            Some(file) => Ok(store::Upload { name, file }),
            None => Err(StoreError::new(Class::SourceChanging, format!("{} is gone", upload.path))),
        };
        files.iter().map(open).collect()
    }

    /// Sends what is read once, and again what the remote does not show as it was sent; tells the content of each.
    fn send_until_shown(&self, files: &[Named], folder: Folder) -> store::Result<Vec<Content>> {
        let SentOnce { mut contents, altered } = self.remote.send_once(self.open(files)?, folder)?;
        let altered: Vec<(usize, Named)> = altered.into_iter().filter_map(|place| Some((place, *files.get(place)?))).collect();
        if let Some((_, (first, _))) = altered.first() {
            tracing::warn!(count = altered.len(), path = %first.path, "the remote does not show what was sent; sending that again");
            let due: Vec<Named> = altered.iter().map(|(_, named)| *named).collect();
            let again = self.remote.send_once(self.open(&due)?, folder)?;
            if let Some((upload, _)) = again.altered.first().and_then(|place| due.get(*place)) {
                let what = "was sent twice, and is not listed as it was sent; nothing was committed, and the next attempt sends it again";
                return Err(Failure::new(Reason::RemoteInconsistent, format!("{}: {} {what}", self.remote.name(), upload.path)).into());
            }
            for ((place, _), content) in altered.iter().zip(again.contents) {
                if let Some(slot) = contents.get_mut(*place) {
                    *slot = content;
                }
            }
        }
        Ok(contents)
    }

    /// Sends what is read once. Content that is not what was hashed is that of a file which has changed.
    fn send_once(&self, files: &[Named], folder: Folder, read: &mut Read) -> store::Result<()> {
        let mut others = Vec::new();
        for ((upload, _), content) in files.iter().zip(self.send_until_shown(files, folder)?) {
            let unread = upload.sha256 == Digest::UNREAD;
            if content.size != upload.size || content.sha256 != upload.sha256 && !unread {
                others.push(upload.path.clone());
            } else if unread {
                self.hasher.note(content.size);
                read.known.insert(upload.path.clone(), content.sha256);
            }
        }
        let Some(first) = others.first() else { return Ok(()) };
        let error = StoreError::new(Class::SourceChanging, format!("{first} changed before it was sent"));
        // Its times need not say so: what is written through a mapping moves them later.
        read.others.extend(others);
        Err(error)
    }
}
