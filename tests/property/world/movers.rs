//! What movers are started with and what is recorded of them: paths, revisions, and adoptions.

use super::World;
use scribe_agent::api::Status;
use scribe_agent::api::status::Subject;
use scribe_agent::core::model::facts::{Kind, Role};
use scribe_agent::core::model::plan::{MoverTask, NewJob};
use scribe_agent::core::model::spec::{Capture, Volume};
use scribe_agent::core::model::subject::Named;

impl World {
    /// What the spec names now.
    pub fn subject(&self) -> Subject {
        Named::by(&self.spec).record()
    }

    /// The revision of this number at this `section:path`: no two have one in common.
    pub fn revision(remote: &str, number: u32) -> String {
        if remote == "r:p" { format!("r{number}") } else { format!("{remote}-r{number}") }
    }

    /// Remote and number of a revision.
    pub(super) fn parsed(revision: &str) -> (String, u32) {
        let (remote, number) = revision.rsplit_once("-r").unwrap_or_else(|| ("r:p", revision.strip_prefix('r').unwrap()));
        (remote.to_owned(), number.parse().unwrap())
    }

    /// The mover of this run that was started last.
    pub(super) fn mover_of(&self, run: &str) -> &NewJob {
        self.movers.iter().rev().find(|mover| mover.run == run).expect("a run without a mover")
    }

    /// Every argument is of the path that the mover works on, and of no other.
    pub(super) fn assert_arguments(&self, new: &NewJob) {
        let remote = format!("{}:{}", new.remote.section, new.remote.path);
        assert_eq!(new.subject.remote, remote, "a Job that says that it is of another path");
        if let MoverTask::Pull { applied: Some(applied), .. } = &new.work {
            let held = self.applied.as_ref().filter(|(uid, _)| new.claim_uid.as_ref() == Some(uid)).map(|(_, held)| held.clone());
            // Not a later one, either: the path may have been put back since to the one that is known.
            let (from, number) = World::parsed(applied);
            let holds = held.as_ref().is_some_and(|held| from == held.0 && number == held.1);
            assert!(holds && from == remote, "--applied-revision {applied:?}, and the volume holds {held:?}");
        }
        if let MoverTask::Push { pushed, .. } = &new.work {
            let last = self.status.revision.as_ref().filter(|revision| World::parsed(revision).0 == remote);
            assert_eq!(pushed.as_ref(), last, "--pushed-revision is not the last one of this path");
            if let Some(claim) = self.claims.iter().find(|c| c.meta.name == new.claim && c.meta.role == Some(Role::Capture)) {
                let captured = self.captured.get(&claim.meta.uid);
                assert_eq!(captured, new.subject.claim.as_ref(), "a Job that says that it is of another claim");
            }
        }
    }

    /// A path is taken over where the annotation names it, once, and by all attempts in the same state.
    pub(super) fn assert_adopts(&mut self, new: &NewJob) {
        let MoverTask::Push { adopt: true, adopt_state, .. } = &new.work else { return };
        assert!(!self.adopted, "a path was taken over twice by one annotation");
        assert_eq!(self.object.adopt_path.as_ref().map(|path| path.trim_end_matches('/')), Some(new.remote.path.as_str()));
        assert!(self.bound.is_none() || self.bound == *adopt_state, "bound to {:?}, and then to {adopt_state:?}", self.bound);
        self.bound.clone_from(adopt_state);
    }

    /// A sync ends: what is recorded of it is what its mover did, and of a pull nothing counts but what the spec still asks for.
    pub(super) fn assert_closes(&mut self, run: &str, status: &Status) {
        let mover = self.mover_of(run).clone();
        assert_eq!(status.synced.as_ref(), Some(&mover.subject), "a sync of something else was recorded");
        let (remote, _) = World::parsed(status.revision.as_ref().unwrap());
        assert_eq!(remote, mover.subject.remote, "a revision of another path was recorded");
        if self.object.kind == Kind::Destination {
            assert_eq!(mover.subject, self.subject(), "a pull of an earlier spec was taken for one of this");
        }
        let named = self.object.adopt_path.as_ref().is_some_and(|path| path.trim_end_matches('/') == mover.remote.path);
        if named && matches!(mover.work, MoverTask::Push { adopt: true, .. }) {
            (self.adopted, self.bound) = (true, None);
        }
    }

    /// A source captures nothing of a volume that a destination is pulling the same path into.
    pub(super) fn assert_not_half_pulled(&self) {
        assert_eq!(self.others.pulled_by, None, "what is half pulled would be pushed");
    }

    /// Nor does it read one in place; and that a destination pulls is known before it does.
    pub(super) fn assert_may_begin(&mut self, new: &NewJob) {
        if matches!(self.spec.volume, Volume::Source { capture: Capture::Direct, .. }) {
            self.assert_not_half_pulled();
        }
        if matches!(new.work, MoverTask::Pull { .. }) {
            self.pulling.entry((new.claim.clone(), new.subject.remote.clone())).or_insert_with(|| (new.run.clone(), new.attempt));
            self.assert_known_to_pull();
        }
    }

    /// That a volume may hold a part of what is pulled is in the status, whatever the spec says by now, until all of it is there.
    pub(super) fn assert_known_to_pull(&self) {
        let known = |(claim, remote): &(String, String)| {
            self.status.unfinished_pulls.iter().any(|pull| pull.claim == *claim && pull.remote == *remote)
        };
        let unknown = self.pulling.keys().find(|place| !known(place));
        assert_eq!(unknown, None, "what is half pulled is not known to be: {:?}", self.status.unfinished_pulls);
    }
}
