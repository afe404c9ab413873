//! What a push has sent so far: not sent again unless it changed, and deleted in the end if nothing needs it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::object_names::{Name, object};
use super::observe::Moved;
use super::plan::PushPlan;
use super::uploads::{Read, Upload};
use crate::digest::Digest;
use crate::error::Result;
use crate::format::entries::Entries;
use crate::format::names::StagedDir;
use crate::name_set::{ContentSet, NameSet};
use crate::scratch::Scratch;
use crate::spill::{Record, Records, Spill, SpillWriter};
use crate::volume::entry::Location;
use crate::volume::merge_join::{Placed, join};
use crate::volume::path::RelPath;

/// A file that was sent, or half sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SentFile {
    pub(super) upload: Upload,
    /// Whether what lies on the remote is known to be this content.
    whole: bool,
}

impl Placed for SentFile {
    fn path(&self) -> &RelPath {
        &self.upload.path
    }
}

impl Record for SentFile {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(self.whole));
        self.upload.encode(bytes);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (whole, upload) = bytes.split_first()?;
        Some(Self { upload: Upload::decode(upload)?, whole: *whole == 1 })
    }
}

/// What was sent to one folder, in path order.
#[derive(Debug)]
pub(super) struct Folder(Spill<SentFile>);

/// Everything that was sent.
#[derive(Debug)]
pub(super) struct Uploaded {
    pub(super) own: Folder,
    pub(super) staged: Folder,
    /// Content under its hash, and whether it is known to be whole.
    pub(super) objects: BTreeMap<Digest, bool>,
    /// The same, in the staged folder.
    pub(super) lost_objects: BTreeMap<Digest, bool>,
    /// What a killed push had uploaded, and this one has not overwritten since.
    pub(super) there: ContentSet,
    /// Whether the manifest of what is being sent lies on the remote.
    pub(super) announced: bool,
    /// Whether the commit was found to be the one that this push began with since it claimed the path.
    pub(super) confirmed: bool,
    /// Whether the remote has refused a name for its length.
    pub(super) refuses_long_names: bool,
    /// Names under which nothing is listed of what was sent to them: the remote stores it under another one.
    pub(super) altered: NameSet,
    /// Names that were found to be listed.
    pub(super) listed: NameSet,
    /// What was read on the way, and no plan knows yet.
    pub(super) read: Read,
    /// Files of which other content was sent than was read before: their hints do not vouch for them.
    pub(super) others: HashSet<RelPath>,
}

impl Uploaded {
    /// Only what a killed push had uploaded.
    pub(super) fn new(scratch: &Scratch, there: ContentSet) -> Result<Self> {
        let (own, staged) = (Folder(Spill::empty(scratch)?), Folder(Spill::empty(scratch)?));
        Ok(Self {
            own,
            staged,
            objects: BTreeMap::new(),
            lost_objects: BTreeMap::new(),
            there,
            announced: false,
            confirmed: false,
            refuses_long_names: false,
            altered: NameSet::default(),
            listed: NameSet::default(),
            read: Read::default(),
            others: HashSet::new(),
        })
    }

    /// The names of all of it.
    pub(super) fn names<'a>(&'a self, staged: &'a StagedDir) -> Result<impl Iterator<Item = Result<Name>> + use<'a>> {
        let own = self.own.files()?.map(|uploaded| Ok(uploaded?.upload.path.as_bytes().into()));
        Ok(own.chain(self.staged_names(staged)?).chain(self.objects.keys().map(|digest| Ok(object(digest)))))
    }

    /// The names of what lies in the staged folder.
    pub(super) fn staged_names<'a>(&'a self, staged: &'a StagedDir) -> Result<impl Iterator<Item = Result<Name>> + use<'a>> {
        let files = self.staged.files()?.map(|uploaded| Ok(staged.name(uploaded?.upload.path.as_bytes())));
        Ok(files.chain(self.lost_objects.keys().map(|digest| Ok(staged.object(digest)))))
    }

    /// Forgets what neither `plan` nor the committed tree needs, and returns its names, with those `of_dead` pushes that neither needs: after
    /// this plan is announced, no manifest has them.
    pub(super) fn drop_abandoned(
        &mut self,
        plan: &PushPlan,
        of_dead: Vec<RelPath>,
        staged: &StagedDir,
        committed: Option<&Entries>,
        scratch: &Scratch,
    ) -> Result<Vec<Name>> {
        let mut own = self.own.not_in(&plan.own)?;
        own.extend(of_dead);
        for tree in committed.into_iter().chain([&plan.entries]) {
            if own.is_empty() {
                break;
            }
            for entry in tree.read()? {
                let entry = entry?;
                if entry.file().is_some_and(|file| file.at != Location::Object) {
                    own.remove(&entry.path);
                }
            }
        }
        let from_staged = self.staged.not_in(&plan.staged)?;
        for path in &own {
            self.there.forget(path.as_bytes());
        }
        self.own.remove(&own, scratch)?;
        self.staged.remove(&from_staged, scratch)?;
        let mut names: Vec<Name> = own.iter().map(|path| path.as_bytes().into()).collect();
        names.extend(from_staged.iter().map(|path| staged.name(path.as_bytes())));
        let planned: HashSet<Digest> = plan.objects.iter().map(|upload| upload.sha256).collect();
        let committed = committed.map(|committed| &committed.totals().objects);
        self.objects.retain(|digest, _| {
            let needed = planned.contains(digest) || committed.is_some_and(|objects| objects.contains(digest));
            if !needed {
                names.push(object(digest));
            }
            needed
        });
        Ok(names)
    }

    /// All that was sent to its own name may have been replaced by something else since.
    pub(super) fn doubt_own(&mut self, scratch: &Scratch) -> Result<()> {
        self.there = ContentSet::default();
        self.own.doubt(scratch)
    }

    /// The same of what was sent to the staged folder.
    pub(super) fn doubt_staged(&mut self, scratch: &Scratch) -> Result<()> {
        self.staged.doubt(scratch)
    }

    /// What changed under the upload may have been sent in any state, even if it reads as before by now.
    pub(super) fn forget(&mut self, moved: &[Moved], scratch: &Scratch) -> Result<()> {
        let paths: HashSet<&RelPath> = moved.iter().map(|moved| &moved.path).collect();
        for folder in [&mut self.own, &mut self.staged] {
            let mut out = SpillWriter::new(scratch)?;
            for uploaded in folder.files()? {
                let uploaded = uploaded?;
                let whole = uploaded.whole && !paths.contains(&uploaded.upload.path);
                out.push(&SentFile { whole, ..uploaded })?;
            }
            folder.0 = out.finish()?;
        }
        for digest in moved.iter().filter_map(|moved| moved.was) {
            for objects in [&mut self.objects, &mut self.lost_objects] {
                if let Some(whole) = objects.get_mut(&digest) {
                    *whole = false;
                }
            }
        }
        Ok(())
    }
}

impl Folder {
    /// All of it.
    pub(super) fn files(&self) -> Result<Records<SentFile>> {
        self.0.read()
    }

    fn doubt(&mut self, scratch: &Scratch) -> Result<()> {
        let mut out = SpillWriter::new(scratch)?;
        for uploaded in self.files()? {
            out.push(&SentFile { whole: false, ..uploaded? })?;
        }
        self.0 = out.finish()?;
        Ok(())
    }

    /// What was sent and is not among `uploads`.
    fn not_in(&self, uploads: &Spill<Upload>) -> Result<BTreeSet<RelPath>> {
        let pairs = join(self.files()?, uploads.read()?);
        let left = pairs.filter_map(|pair| match pair {
            Ok((Some(uploaded), None)) => Some(Ok(uploaded.upload.path)),
            Ok(_) => None,
            Err(failure) => Some(Err(failure)),
        });
        left.collect()
    }

    fn remove(&mut self, paths: &BTreeSet<RelPath>, scratch: &Scratch) -> Result<()> {
        if paths.is_empty() {
            return Ok(());
        }
        let mut out = SpillWriter::new(scratch)?;
        for uploaded in self.files()? {
            let uploaded = uploaded?;
            if !paths.contains(&uploaded.upload.path) {
                out.push(&uploaded)?;
            }
        }
        self.0 = out.finish()?;
        Ok(())
    }

    /// Those of `uploads` that are not there whole.
    pub(super) fn due(&self, uploads: &Spill<Upload>) -> Result<impl Iterator<Item = Result<Upload>>> {
        let pairs = join(uploads.read()?, self.0.read()?);
        Ok(pairs.filter_map(|pair| match pair {
            Ok((Some(upload), uploaded)) => (!uploaded.is_some_and(|uploaded| uploaded.holds(&upload))).then_some(Ok(upload)),
            Ok((None, _)) => None,
            Err(failure) => Some(Err(failure)),
        }))
    }

    /// Those of `uploads` that were due have been sent, successfully or not, and `read` on the way.
    pub(super) fn note(&mut self, uploads: &Spill<Upload>, whole: bool, read: &Read, scratch: &Scratch) -> Result<()> {
        let mut out = SpillWriter::new(scratch)?;
        for pair in join(uploads.read()?, self.0.read()?) {
            let uploaded = match pair? {
                (Some(upload), Some(uploaded)) if uploaded.holds(&upload) => uploaded,
                (Some(mut upload), _) => {
                    upload.sha256 = read.known.get(&upload.path).copied().unwrap_or(upload.sha256);
                    SentFile { upload, whole }
                }
                (None, Some(uploaded)) => uploaded,
                (None, None) => continue,
            };
            out.push(&uploaded)?;
        }
        self.0 = out.finish()?;
        Ok(())
    }
}

impl SentFile {
    fn holds(&self, upload: &Upload) -> bool {
        self.whole && self.upload.sha256 == upload.sha256 && upload.sha256 != Digest::UNREAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(name: &str, content: u8) -> Upload {
        Upload { path: RelPath::new(name.as_bytes()).unwrap(), sha256: Digest([content; 32]), size: 1 }
    }

    fn list(scratch: &Scratch, uploads: &[Upload]) -> Spill<Upload> {
        let mut out = SpillWriter::new(scratch).unwrap();
        for upload in uploads {
            out.push(upload).unwrap();
        }
        out.finish().unwrap()
    }

    fn due(uploaded: &Uploaded, uploads: &Spill<Upload>) -> Vec<String> {
        uploaded.own.due(uploads).unwrap().map(|upload| upload.unwrap().path.to_string()).collect()
    }

    #[test]
    fn only_what_changed_or_failed_is_sent_again() {
        let scratch = Scratch::new().unwrap();
        let mut uploaded = Uploaded::new(&scratch, ContentSet::default()).unwrap();
        let first = list(&scratch, &[upload("a", 1), upload("b", 1), upload("c", 1)]);
        assert_eq!(due(&uploaded, &first), ["a", "b", "c"]);
        uploaded.own.note(&first, true, &Read::default(), &scratch).unwrap();
        assert_eq!(due(&uploaded, &first), Vec::<String>::new());

        // b changed, c was touched and reads as before, d is new, a is gone.
        uploaded.forget(&[Moved { path: upload("c", 0).path, was: None }], &scratch).unwrap();
        let second = list(&scratch, &[upload("b", 2), upload("c", 1), upload("d", 1)]);
        assert_eq!(due(&uploaded, &second), ["b", "c", "d"]);
        uploaded.own.note(&second, false, &Read::default(), &scratch).unwrap();
        assert_eq!(due(&uploaded, &second), ["b", "c", "d"], "it went wrong");
        uploaded.own.note(&second, true, &Read::default(), &scratch).unwrap();
        assert_eq!(due(&uploaded, &second), Vec::<String>::new());
        let all: Vec<String> = uploaded.own.files().unwrap().map(|uploaded| uploaded.unwrap().upload.path.to_string()).collect();
        assert_eq!(all, ["a", "b", "c", "d"], "what is not needed any more is still known");
    }
}
