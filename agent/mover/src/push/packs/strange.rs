//! Objects of layout Packs that no manifest names: of pushes that died before their commit, or were killed before they could tidy. A
//! verification deletes them once they are old enough, see `packs::policy::strangers`.

use std::collections::HashSet;

use jiff::Timestamp;

use crate::error::Result;
use crate::format::names::{CLAIM, COMMIT, manifest};
use crate::format::revision::Revision;
use crate::packs::id::ObjectId;
use crate::packs::manifest::Document;
use crate::packs::object::Object;
use crate::packs::policy::strangers::{since, strangers};
use crate::push::object_names::{Name, of_ours, partial_of};
use crate::remote::Remote;

/// Names, in our own folder, of all that a manifest says something of; `packs` are those of its map.
pub(super) fn known<'a>(document: &Document, packs: impl Iterator<Item = &'a ObjectId>) -> HashSet<String> {
    let runs = document.runs.iter().map(|of| of.id).chain(document.dead_runs.iter().map(|dead| dead.id)).map(ObjectId::run);
    let packs = packs.copied().chain(document.dead_packs.iter().map(|dead| dead.id)).map(ObjectId::pack);
    let former = document.statement.former.iter().map(|former| &former.revision);
    let kept = document.retained.iter().map(|kept| &kept.revision).chain(former);
    let revisions = kept.chain(document.dead_manifests.iter().map(|dead| &dead.revision)).chain([&document.revision]);
    let manifests = revisions.filter_map(|revision| Revision::parse(revision)).map(|revision| manifest(&revision));
    runs.chain(packs).chain(manifests).collect()
}

/// What lies in our own folder, with the dates at which it was written, as one listing shows it.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    listed: Vec<(String, Option<Timestamp>)>,
    /// The look that the commit before tells of, and the date of this one.
    looks: (Option<Timestamp>, Option<Timestamp>),
    /// See [`Statement::latest_listed`](crate::packs::commit::Statement::latest_listed).
    pub(super) since: Option<Timestamp>,
}

impl Strangers {
    /// Lists the folder. `ours` is the document there whose date is that of this look, and the commit before tells of the look `before`. Where the
    /// backend keeps times of its own there is none, and nothing goes.
    pub(super) fn list(remote: &Remote, ours: &str, before: Option<Timestamp>) -> Result<Self> {
        if remote.features()?.keeps_times.is_some() {
            return Ok(Self::default());
        }
        let listed = remote.written_in_ours()?;
        let now = listed.iter().find(|(name, _)| name == ours).and_then(|(_, written)| *written);
        Ok(Self { listed, looks: (before, now), since: since(before, now) })
    }

    /// Those that are not `known` and old enough, by their names below the path.
    pub(super) fn strange(&self, known: &HashSet<String>) -> Vec<Name> {
        let is_object = |name: &str| {
            let whole = partial_of(name.as_bytes()).and_then(|name| std::str::from_utf8(name).ok()).unwrap_or(name);
            let is_document = whole != name && [COMMIT, CLAIM].contains(&whole);
            Object::parse(whole).is_some() || is_document
        };
        let objects: Vec<_> =
            self.listed.iter().filter(|(name, _)| is_object(name)).map(|(name, written)| (name.as_str(), *written)).collect();
        let strange = strangers(&objects, self.looks, |name| known.contains(name));
        if !strange.is_empty() {
            tracing::info!(objects = strange.len(), "deleting what pushes that died have left");
        }
        strange.into_iter().map(of_ours).collect()
    }
}
