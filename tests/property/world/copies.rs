//! Copies that a user asks for by annotations on the source's PVC, and the invariants of what the agent does and writes there.

use super::World;
use scribe_agent::core::model::copy::CopyStatus;
use scribe_agent::core::model::facts::Claim;
use scribe_agent::core::model::plan::CopyNote;
use scribe_agent::core::model::spec::Volume;

impl World {
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

    /// Copies are made on request, or no longer. The cache shows it by the time that anybody relies on it.
    pub fn use_copy_trigger(&mut self, used: bool) {
        self.annotate_claim(|claim| claim.copy.used = used);
        self.past.clear();
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
