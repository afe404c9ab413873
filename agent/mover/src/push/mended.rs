//! A damaged commit of layout Packs: of that layout, all but commit and claim is written once, so what the commit said is still there, in the sealed
//! manifests. A push follows the newest revision that is whole. One that was never committed, because its push was killed, is as good as any: a push
//! compares the volume, and takes from it what it sends.
//!
//! What must not be taken is a revision of another history: of a future that the path has lost because an older commit was put back. The revision
//! that the agent has a report of decides; without one, the times in the names do, or nothing does.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::lost::Lost;
use super::owner::Pusher;
use crate::error::{Failure, Result};
use crate::format::documents::{Control, ManifestRef};
use crate::format::manifest as files;
use crate::format::names::{CLAIM, COMMIT, CONTROL_DIR, Folder, manifest as manifest_name, revision_of_manifest};
use crate::format::revision::Revision;
use crate::packs::commit::Commit;
use crate::packs::limits::MANIFEST;
use crate::packs::manifest::Manifest;
use crate::packs::run::Packs;
use crate::push::from_packs::RESTORE;
use crate::remote::committed::{inconsistent, read_any_claim};
use crate::remote::packed::{Extent, open_map};
use crate::remote::{Read, Remote};
use crate::report::Reason;
use crate::scratch;
use crate::volume::hash::of_scratch;

/// The commit of the newest whole revision, where the commit that is there is damaged: `what` says how. Nothing if no manifest there is one of
/// layout Packs.
///
/// # Errors
/// [`Reason::RemoteInconsistent`] where another push may be under way, no revision is whole, or manifests tell of two histories.
pub(super) fn find_by_manifests(remote: &Remote, pusher: &Pusher, what: &str) -> Result<Option<Commit>> {
    let refused = |why: String| Err(inconsistent(remote, &format!("{CONTROL_DIR}/{COMMIT} is damaged ({what}), and {why}")));
    let reported = pusher.pushed.as_deref().and_then(Revision::parse);
    let mut listed: Vec<Revision> = remote.list(&Folder::Manifests.below())?.keys().filter_map(|name| listed_revision(name)).collect();
    listed.sort_by_key(|revision| (Reverse(revision.generation()), revision.as_str().to_owned()));
    let mut passed_over = Vec::new();
    let mut rest = listed.iter();
    let newest = loop {
        let Some(revision) = rest.next() else { break None };
        let Some(sealed) = read(remote, revision)? else { continue };
        if sealed.contradicts(reported.as_ref()) {
            tracing::warn!(%revision, "this revision is not of the history of the last push; it is passed over");
        } else if is_whole(remote, &sealed.manifest)? {
            break Some(sealed);
        } else {
            tracing::warn!(%revision, "packs or runs of this revision are lost; it is passed over");
        }
        passed_over.push(sealed);
    };
    let Some(newest) = newest else {
        return if passed_over.is_empty() {
            Ok(None)
        } else {
            refused(format!("no revision of which a manifest is left is whole. {RESTORE}"))
        };
    };
    if let Some(why) = other_pusher(remote, pusher)? {
        return refused(why);
    }
    for other in rest.filter(|other| newest.may_be_overtaken(other, reported.as_ref())) {
        passed_over.extend(read(remote, other)?);
    }
    let revision = &newest.revision;
    if let Some(Sealed { revision: other, .. }) = passed_over.iter().find(|other| other.is_apart(&newest, reported.as_ref())) {
        return refused(format!(
            "manifests there are of two histories, {revision} and {other}, of which one was never committed, or was replaced when an older commit was put back. The status of the source and of its destinations names the right one: delete the other one, {CONTROL_DIR}/manifests/<revision>.zst, and the next push mends the commit"
        ));
    }
    let message = format!("the commit is damaged ({what}); this push follows the newest revision that is whole, and commits anew");
    tracing::warn!(path = remote.name(), %revision, "{message}");
    Ok(Some(Commit::new(newest.manifest.document.statement, newest.reference)))
}

/// Why it is not known that no other object pushes to this path, and what to do; nothing if it is known.
fn other_pusher(remote: &Remote, pusher: &Pusher) -> Result<Option<String>> {
    let claim = format!("{CONTROL_DIR}/{CLAIM}");
    Ok(match read_any_claim(remote)? {
        Control::Present(found) if found.owner != pusher.owner => {
            let (namespace, name) = (&found.owner.namespace, &found.owner.name);
            Some(format!(
                "{claim} says that {namespace}/{name} pushes to this path. Give each source a path of its own; if that push is dead, delete {claim}, and the next push mends the commit"
            ))
        }
        Control::Corrupt(_) => Some(format!(
            "so is {claim}, so whether another object pushes to this path is not known. If none does, delete {claim}, and the next push mends the commit"
        )),
        Control::Present(_) | Control::Absent => None,
    })
}

/// A manifest that is what was written.
struct Sealed {
    revision: Revision,
    manifest: Manifest,
    reference: ManifestRef,
}

impl Sealed {
    /// It is not the revision that its agent has a report of, and did not come after it: that one's generation is its own, or another revision's
    /// among its ancestors.
    fn contradicts(&self, reported: Option<&Revision>) -> bool {
        let own = reported.filter(|reported| reported.lineage() == self.revision.lineage());
        let Some(reported) = own.filter(|reported| **reported != self.revision) else { return false };
        let is_other = |name: &String| Revision::parse(name).is_some_and(|of| of.generation() == reported.generation() && of != *reported);
        self.revision.generation() == reported.generation() || self.manifest.document.ancestors.iter().any(is_other)
    }

    /// Whether one of these generations or older may have been committed after this one. What is older by its time, too, was replaced, or its push
    /// has died; and so has that of what is not newer than the revision that the agent has a report of.
    fn may_be_overtaken(&self, other: &Revision, reported: Option<&Revision>) -> bool {
        let stamp = |revision: &Revision| revision.as_str().split('-').next().unwrap_or_default().to_owned();
        let is_older = other.generation() < self.revision.generation() && stamp(other) < stamp(&self.revision);
        let is_reported = reported
            .is_some_and(|reported| other.generation() <= reported.generation() && (self.revision == *reported || self.names(reported)));
        !is_older && !is_reported
    }

    /// Whether this one and `newest` are of two histories, neither of which is known to be over.
    fn is_apart(&self, newest: &Self, reported: Option<&Revision>) -> bool {
        !self.contradicts(reported) && !self.names(&newest.revision) && !newest.names(&self.revision)
    }

    /// Whether this manifest says that `other` was of its history.
    fn names(&self, other: &Revision) -> bool {
        let document = &self.manifest.document;
        let kept = document.retained.iter().map(|kept| &kept.revision);
        let dead = document.dead_manifests.iter().map(|dead| &dead.revision);
        document.statement.parent.iter().chain(&document.ancestors).chain(kept).chain(dead).any(|name| name == other.as_str())
    }
}

fn listed_revision(name: &[u8]) -> Option<Revision> {
    revision_of_manifest(&[Folder::Manifests.below().as_bytes(), name].concat())
}

/// Reads the manifest of this revision. Nothing if it is one of layout Files, or not what was written.
fn read(remote: &Remote, revision: &Revision) -> Result<Option<Sealed>> {
    let Read::Content(file) = remote.read_object(&manifest_name(revision), MANIFEST)? else { return Ok(None) };
    let open = || scratch::open(&file);
    let sha256 = of_scratch(open()?, &remote.context.stop)?.hex();
    let size = open()?.metadata().map_err(|e| Failure::scratch(&e))?.len();
    let manifest = match Manifest::read(open()?, revision.as_str()) {
        Ok(manifest) => manifest,
        Err(failure) if failure.reason == Reason::RemoteInconsistent => return Ok(None),
        // One of layout Files, or of a version to come.
        Err(failure) => return if files::read(open()?, revision.as_str()).is_ok() { Ok(None) } else { Err(failure) },
    };
    Ok(Some(Sealed { revision: revision.clone(), manifest, reference: ManifestRef { size, sha256 } }))
}

/// Whether all that it names is there as it was written.
fn is_whole(remote: &Remote, manifest: &Manifest) -> Result<bool> {
    let rows = open_map(remote, manifest, Extent::Parts).and_then(|map| map.rows::<Packs>().collect::<Result<BTreeMap<_, _>>>());
    match rows {
        Ok(rows) => Ok(Lost::look(remote, &manifest.document, &rows)?.is_nothing()),
        Err(failure) if failure.reason == Reason::RemoteInconsistent => Ok(false),
        Err(failure) => Err(failure),
    }
}
