//! Copies that a user asks for by annotations on the source's PVC, and the invariants of what the agent does and writes there.

use super::World;
use scribe_agent::core::model::copy::{CopyBy, CopyStatus};
use scribe_agent::core::model::facts::{Claim, Meta, Snapshot};
use scribe_agent::core::model::plan::{Child, CopyNote, NewClaim, Origin};
use scribe_agent::core::model::spec::Volume;
use std::collections::{BTreeMap, BTreeSet};

/// What a user asks for by the copy trigger, and what came of it.
#[derive(Clone, Default)]
pub struct Requests {
    /// By claim, how often its value was changed.
    pub made: BTreeMap<String, u32>,
    /// By claim and number of the change, the run and attempt that took the value.
    pub taken: BTreeMap<(String, u32), (String, i64)>,
    /// Those whose copy was reported to be there.
    pub completed: BTreeSet<(String, u32)>,
    /// Copies that were made on request.
    pub copies: usize,
    /// Another source of the same claim is there; otherwise what it left counts no more.
    pub another_source: bool,
    /// A copy whose create was answered 5xx: the API server may make it later.
    pub late: Option<Child>,
    /// UIDs of those that were made when nobody was waiting for them any more.
    pub unasked: BTreeSet<String>,
}

/// UID of the other source of the claim.
const OTHER: &str = "other";

impl World {
    /// The claims, as they are read: what a source wrote there that is no more counts no more.
    pub fn claims(&self) -> Vec<Claim> {
        let mut claims = self.claims.clone();
        for by in claims.iter_mut().filter_map(|claim| claim.copy.by.as_mut()) {
            if by.uid != self.object.uid && !(by.uid == OTHER && self.requests.another_source) {
                by.uid.clear();
            }
        }
        claims
    }

    /// Another source of the claim does what it can do next: it waits for a value, takes one, or has its copy.
    pub fn another_source(&mut self) {
        let Some(copy) = self.source_claim().map(|claim| claim.copy.clone()) else { return };
        self.requests.another_source = true;
        let own = copy.by.as_ref().is_some_and(|by| by.uid == OTHER);
        let (value, taken) = (copy.asked().map(str::to_owned), copy.taken().map(str::to_owned));
        let by = |taken| Some(CopyBy { source: "other".into(), uid: OTHER.into(), run: "of another".into(), attempt: 1, taken });
        match copy.status {
            Some(CopyStatus::InProgress) if own => self.annotate_claim(|claim| {
                (claim.copy.status, claim.copy.latest) = (Some(CopyStatus::Completed), taken);
            }),
            Some(CopyStatus::InProgress) => {}
            _ if !copy.used => {}
            _ if value.is_some() => {
                let request = self.request(&self.source().unwrap());
                let before = self.requests.taken.insert(request, ("of another".into(), 1));
                assert_eq!(before, None, "a value was taken twice");
                self.annotate_claim(|claim| (claim.copy.status, claim.copy.by) = (Some(CopyStatus::InProgress), by(value)));
            }
            Some(CopyStatus::WaitingForTrigger) => {}
            None | Some(CopyStatus::Completed) => {
                let now = self.now;
                self.annotate_claim(|claim| {
                    (claim.copy.status, claim.copy.by) = (Some(CopyStatus::WaitingForTrigger), by(taken));
                    claim.copy.waiting_since = Some(now);
                });
            }
        }
    }

    /// The API server makes the copy whose create it answered 5xx.
    pub fn make_the_late_copy(&mut self) {
        let (Some(child), Some(copy)) = (self.requests.late.take(), self.source_claim().map(|claim| claim.copy.clone())) else { return };
        let (run, value, role) = match &child {
            Child::Snapshot(new) => (Some(new.run.clone()), new.copied_for.clone(), new.role),
            Child::Claim(new) => (new.run.clone(), new.copied_for.clone(), new.role),
            Child::Job(_) => return,
        };
        let meta = |name: &str, uid| Meta {
            name: name.into(),
            uid,
            role: Some(role),
            run: run.clone(),
            created: Some(self.now),
            ..Meta::default()
        };
        let uid = format!("late {}", self.writes);
        let waited_for = copy.status == Some(CopyStatus::InProgress)
            && copy.by.as_ref().is_some_and(|by| by.uid == self.object.uid && Some(&by.run) == run.as_ref() && by.taken == value);
        match &child {
            Child::Snapshot(new) if self.snapshots.iter().all(|s| s.meta.name != new.name) => {
                let meta = meta(&new.name, uid.clone());
                self.captured.insert(uid.clone(), new.claim.clone());
                self.snapshots.push(Snapshot { meta, copied_for: value.clone(), ..Snapshot::default() });
            }
            Child::Claim(NewClaim { name, from: Origin::Claim(from), .. }) if self.claims.iter().all(|c| c.meta.name != *name) => {
                let meta = meta(name, uid.clone());
                self.captured.insert(uid.clone(), from.clone());
                self.claims.push(Claim { meta, copied_for: value.clone(), ..Claim::default() });
            }
            _ => return,
        }
        if value.is_some() && copy.used && !waited_for {
            self.requests.unasked.insert(uid);
        }
    }

    /// What a mover or its volume is made from is a copy that was waited for.
    pub(super) fn assert_waited_for(&self, name: &str) {
        let metas = self.claims.iter().map(|c| &c.meta).chain(self.snapshots.iter().map(|s| &s.meta));
        let unasked = |meta: &&Meta| meta.name == name && self.requests.unasked.contains(&meta.uid);
        // Where copies are made on request no more, any will do.
        let used = self.source_claim().is_some_and(|claim| claim.copy.used);
        assert_eq!(metas.into_iter().find(unasked).filter(|_| used), None, "a copy is used that was made when nobody waited for it");
    }

    /// Name of the claim that the source pushes.
    fn source(&self) -> Option<String> {
        match &self.spec.volume {
            Volume::Source { claim, .. } => Some(claim.clone()),
            Volume::Destination { .. } => None,
        }
    }

    /// The claim itself.
    pub fn source_claim(&self) -> Option<&Claim> {
        let name = self.source()?;
        self.claims.iter().find(|claim| claim.meta.name == name)
    }

    /// Somebody sets or removes annotations of the claim.
    pub fn annotate_claim(&mut self, change: impl FnOnce(&mut Claim)) {
        let (name, version) = (self.source(), self.uid_of("version"));
        if let Some(claim) = self.claims.iter_mut().find(|claim| Some(&claim.meta.name) == name.as_ref()) {
            change(claim);
            claim.copy.version = version;
        }
    }

    /// Copies are made on request, or no longer.
    pub fn use_copy_trigger(&mut self, used: bool) {
        self.annotate_claim(|claim| claim.copy.used = used);
    }

    /// The user asks for a copy; the same value again asks for nothing.
    pub fn ask_for_a_copy(&mut self, value: &str) {
        let Some(name) = self.source() else { return };
        let changed = self.source_claim().is_some_and(|claim| claim.copy.value.as_deref() != Some(value));
        *self.requests.made.entry(name).or_default() += u32::from(changed);
        self.annotate_claim(|claim| claim.copy.value = Some(value.to_owned()));
    }

    /// The user's script: asks for the copy that is waited for. Returns whether one was.
    pub fn answer(&mut self) -> bool {
        let waits = self.waits_for_a_request();
        if waits {
            let number = self.requests.made.values().sum::<u32>();
            self.ask_for_a_copy(&format!("script-{number}"));
        }
        waits
    }

    /// Whether the claim says that a value is waited for, and has none that would do.
    pub fn waits_for_a_request(&self) -> bool {
        let waits = |claim: &Claim| claim.copy.status == Some(CopyStatus::WaitingForTrigger) && claim.copy.asked().is_none();
        self.source_claim().is_some_and(waits)
    }

    fn request(&self, claim: &str) -> (String, u32) {
        (claim.to_owned(), self.requests.made.get(claim).copied().unwrap_or_default())
    }

    /// What the agent writes on a claim; false where that has changed since.
    pub(super) fn note_copy(&mut self, note: &CopyNote) -> bool {
        let version = self.uid_of("version");
        let Some(number) = self.claims.iter().position(|c| c.meta.uid == note.claim.uid && c.copy.version == note.version) else {
            return false;
        };
        let claim = self.claims[number].clone();
        let others = claim.copy.by.as_ref().is_some_and(|by| by.uid == OTHER && self.requests.another_source);
        assert!(!(others && claim.copy.status == Some(CopyStatus::InProgress)), "another's copy is written over: {note:?} of {claim:?}");
        let request = self.request(&claim.meta.name);
        match note.status {
            Some(CopyStatus::InProgress) => {
                assert!(claim.copy.used && note.latest.is_none());
                assert!(note.by.taken.is_some() && note.by.taken == claim.copy.value, "{note:?} of {claim:?}");
                assert_ne!(claim.copy.value, claim.copy.latest, "the value was used for the last copy");
                let before = self.requests.taken.insert(request, (note.by.run.clone(), note.by.attempt));
                assert_eq!(before, None, "a value was taken twice: {note:?}");
            }
            Some(CopyStatus::Completed) => {
                assert_eq!(note.latest, note.by.taken);
                assert_eq!(claim.copy.status, Some(CopyStatus::InProgress));
                let of_it = |run: &Option<String>, value: &Option<String>| run.as_ref() == Some(&note.by.run) && *value == note.latest;
                let snapshot = self.snapshots.iter().any(|s| of_it(&s.meta.run, &s.copied_for) && (s.ready || s.taken));
                let clone = self.claims.iter().any(|c| of_it(&c.meta.run, &c.copied_for) && c.bound);
                assert!(snapshot || clone, "a copy was reported that is not there: {note:?}");
                let taken = self.requests.taken.iter().filter(|(_, by)| **by == (note.by.run.clone(), note.by.attempt));
                self.requests.completed.extend(taken.map(|(request, _)| request.clone()).max());
            }
            Some(CopyStatus::WaitingForTrigger) => assert!(note.waiting_since.is_some() && note.by.taken.as_deref() == claim.copy.taken()),
            None => assert_eq!(note.waiting_since, None),
        }
        let claim = &mut self.claims[number];
        (claim.copy.status, claim.copy.by, claim.copy.version) = (note.status, Some(note.by.clone()), version);
        claim.copy.waiting_since = note.waiting_since;
        if let Some(value) = &note.latest {
            claim.copy.latest = Some(value.clone());
        }
        true
    }

    /// A copy of this claim is made for `run`.
    pub(super) fn assert_asked_for(&mut self, claim: &str, run: &str, copied_for: Option<&String>) {
        let Some(claim) = self.claims.iter().find(|c| c.meta.name == claim && c.copy.used) else {
            return; // a value that was taken before the user removed the annotation does no harm
        };
        assert_eq!(claim.copy.status, Some(CopyStatus::InProgress), "a copy that nobody asked for");
        let by = claim.copy.by.clone().unwrap();
        assert_eq!((Some(by.run.as_str()), by.taken.as_ref()), (Some(run), copied_for), "a copy that was not asked for by this");
        let taken = self.requests.taken.iter().filter(|(_, of)| **of == (by.run.clone(), by.attempt)).map(|(request, _)| request);
        let request = taken.max().expect("a copy for which no value was taken");
        assert!(!self.requests.completed.contains(request), "a second copy for one value");
        self.requests.copies += 1;
    }
}
