//! Whether all that the committed revision refers to is on the remote: by one listing, and on request by reading every object.
//!
//! A push may run meanwhile. It leaves the committed revision whole until it commits the next one, so what seems to be wrong counts only if
//! the commit is still the same afterwards.

use std::collections::HashSet;

use super::ATTEMPTS;
use super::checked::{Checked, Looked};
use super::faults::{Fault, Faults, Kind, is_right};
use super::objects::{Objects, Twins, UNKNOWN};
use super::packed;
use super::places::Places;
use super::state::{damaged_commit, missing_manifest, moving, nothing, read_claim, read_commit};
use crate::error::Result;
use crate::format::documents::{Commit, Control};
use crate::format::names::{COMMIT, StagedDir};
use crate::packs::commit::{AnyCommit, Committing};
use crate::remote::committed::{Committed, Manifest, read_manifest};
use crate::remote::{BATCH, Remote, contradiction};
use crate::store::Features;
use crate::volume::entry::{Entry, FileEntry, Location};
use crate::volume::path::RelPath;

/// Checks the path; with `read`, every byte of it. Fails where that cannot be done: an error says nothing of the path.
pub fn check(remote: &Remote, read: bool) -> Result<Checked> {
    let mut last = moving(remote);
    for attempt in 1..=ATTEMPTS {
        let before = match read_commit(remote)? {
            Control::Present(commit) => commit,
            Control::Absent => match nothing(remote)? {
                Some(nothing) => return Ok(Checked::Nothing(nothing)),
                None => {
                    last = contradiction(remote, COMMIT);
                    continue;
                }
            },
            // It may have been read while it was written.
            Control::Corrupt(_) if attempt < ATTEMPTS => continue,
            Control::Corrupt(what) => return Ok(Checked::Damaged(damaged_commit(&what))),
        };
        let checked = match &before {
            AnyCommit::Files(commit) => attempt_at(remote, commit, read),
            AnyCommit::Packs(commit) => packed::checked(remote, commit, read),
        };
        let whole = checked.as_ref().is_ok_and(Checked::is_whole);
        match read_commit(remote)? {
            Control::Present(after) if stands(&before, &after, whole) => return checked,
            _ => {
                tracing::info!(revision = before.revision(), "a push committed meanwhile; checking again");
                last = moving(remote);
            }
        }
    }
    Err(last)
}

/// Whether what was found of `before` holds, though the commit is `after` by now. A push that repairs what was found wrong leaves the revision
/// as it is, and writes another time.
fn stands(before: &AnyCommit, after: &AnyCommit, whole: bool) -> bool {
    match (before, after) {
        (AnyCommit::Files(before), AnyCommit::Files(after)) if whole => {
            (&before.revision, &before.manifest, before.staged) == (&after.revision, &after.manifest, after.staged)
        }
        (AnyCommit::Packs(before), AnyCommit::Packs(after)) if whole => {
            (&before.statement.revision, &before.manifest) == (&after.statement.revision, &after.manifest)
        }
        _ => before == after,
    }
}

fn attempt_at(remote: &Remote, commit: &Commit, read: bool) -> Result<Checked> {
    let committed = match read_manifest(remote, commit.clone())? {
        Manifest::Whole(committed) => *committed,
        Manifest::Damaged(_, what) => return Ok(Checked::Damaged(what)),
        Manifest::Missing(commit) => return missing_manifest(remote, &commit.revision).map(Checked::Damaged),
    };
    let Features { tells_sums, slow_sums, noted_sums, .. } = remote.features()?;
    // Where sums are slow, the backend would read all it has for them; what was noted says nothing of what is there by now.
    let twins = if tells_sums && !slow_sums && !noted_sums { Twins::of(&committed.entries)? } else { Twins::default() };
    let objects = Objects::list(remote, !twins.is_empty())?;
    let doubted = objects.contradicted(&committed.entries, &twins)?;
    let mut work = Work { remote, objects: &objects, read, due: Vec::new(), looked: looked(&committed), faults: Faults::default() };
    let staged = committed.commit.staged.then(|| StagedDir::of(&committed.revision));
    let mut shared = HashSet::new();
    for entry in committed.entries.read()? {
        let entry = entry?;
        let Some(file) = entry.file() else { continue };
        if file.at != Location::Object || shared.insert(file.sha256) {
            work.add(&entry, file, staged.as_ref(), doubted.contains(&file.sha256))?;
        }
    }
    work.finish()
}

fn looked(committed: &Committed) -> Looked {
    let revision = committed.commit.revision.clone();
    let (files, retained) = (Vec::new(), Vec::new());
    Looked { revision, objects: 0, read: 0, unsized_objects: 0, faults: Vec::new(), more: 0, files, more_files: 0, retained, claim: None }
}

/// An object that is to be read.
struct Due {
    fault: Fault,
    second: Option<Box<[u8]>>,
}

struct Work<'a> {
    remote: &'a Remote,
    objects: &'a Objects,
    read: bool,
    due: Vec<Due>,
    looked: Looked,
    faults: Faults,
}

impl Work<'_> {
    fn add(&mut self, entry: &Entry, file: &FileEntry, staged: Option<&StagedDir>, doubted: bool) -> Result<()> {
        self.looked.objects += 1;
        let Places { first, second } = Places::of(&entry.path, file, staged);
        let second = second.filter(|name| self.objects.may_be(name, file.size));
        let fault =
            |name: Box<[u8]>, kind| Fault { name, path: Some(entry.path.clone()), size: file.size, kind, sha256: Some(file.sha256) };
        let (name, second, doubted) = match (self.objects.may_be(&first, file.size), second) {
            (true, second) => (first, second, doubted),
            // What waited is put in place, perhaps; older content may have the size, too.
            (false, Some(second)) => (second, None, doubted || file.at == Location::Staged),
            (false, None) => {
                let kind = self.objects.size(&first).map_or(Kind::Missing, Kind::OtherSize);
                self.faults.add(fault(first, kind));
                return Ok(());
            }
        };
        if self.read || doubted {
            self.due.push(Due { fault: fault(name, Kind::Unreadable), second });
            return if self.due.len() == BATCH { self.read_due() } else { Ok(()) };
        }
        self.looked.unsized_objects += u64::from(self.objects.size(&name) == Some(UNKNOWN));
        Ok(())
    }

    fn read_due(&mut self) -> Result<()> {
        let due = std::mem::take(&mut self.due);
        let wrong = self.wrong(due)?;
        let (again, wrong): (Vec<Due>, Vec<Due>) = wrong.into_iter().partition(|due| due.second.is_some());
        let elsewhere =
            |due: &Due| Due { fault: Fault { name: due.second.clone().unwrap_or_default(), ..due.fault.clone() }, second: None };
        let still: HashSet<Option<RelPath>> =
            self.wrong(again.iter().map(elsewhere).collect())?.into_iter().map(|due| due.fault.path).collect();
        let wrong = wrong.into_iter().chain(again.into_iter().filter(|due| still.contains(&due.fault.path)));
        wrong.for_each(|due| self.faults.add(due.fault));
        Ok(())
    }

    /// Reads these objects, and gives back those that are not what they should be.
    fn wrong(&mut self, due: Vec<Due>) -> Result<Vec<Due>> {
        if due.is_empty() {
            return Ok(due);
        }
        self.remote.context.stop.check()?;
        self.looked.read += due.len() as u64;
        let sums = self.remote.read_sums(&due.iter().map(|due| &*due.fault.name).collect::<Vec<_>>())?;
        let judged = due.into_iter().filter_map(|mut due| {
            due.fault.kind = match sums.get(&due.fault.name) {
                sum if is_right(&due.fault, sum.map(|sum| &**sum)) => return None,
                Some(_) => Kind::Altered,
                None => Kind::Unreadable,
            };
            Some(due)
        });
        Ok(judged.collect())
    }

    fn finish(mut self) -> Result<Checked> {
        self.read_due()?;
        self.faults.confirm(self.remote)?;
        let Faults { mut shown, more } = self.faults;
        shown.sort_by(|a, b| a.path.cmp(&b.path));
        let looked = Looked { faults: shown, more, claim: read_claim(self.remote)?, ..self.looked };
        Ok(Checked::Looked(Box::new(looked)))
    }
}
