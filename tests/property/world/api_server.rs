//! What becomes of the agent's writes, and the invariants that each is held against.

use super::World;
use crate::controllers::has_terminated;
use scribe_agent::api::Status;
use scribe_agent::core::model::facts::{Claim, Job, Kind, Meta, Object, Pod, ResizeRefusal, Role, Slot, Snapshot};
use scribe_agent::core::model::plan::{Child, ChildKind, ChildRef, NewClaim, NewJob, NewSnapshot, Origin, Step};
use scribe_agent::core::model::spec::{Capture, DestinationClaim, Volume};
use scribe_agent::core::model::subject;
use scribe_agent::core::schedule::queue;

impl World {
    /// Carries one step out as the API server would; false where it answers with a conflict.
    pub fn apply(&mut self, decided_on: &Object, step: &Step) -> bool {
        match step {
            refused if self.cluster.refuses.is_some_and(|refuses| refuses(refused)) => {
                self.undeleted.extend(refused.removes().map(|target| (target.uid.clone(), "leader changed".to_owned())));
                return false;
            }
            Step::WriteStatus(status) => {
                if decided_on.resource_version != self.object.resource_version {
                    return false;
                }
                self.write_status(status);
            }
            Step::Create(child) if self.cluster.webhook_down => {
                self.blocked = Some(format!("{} cannot be created: the webhook is down", child.name()));
                self.requests.late = Some(child.clone());
                return false;
            }
            Step::Create(child) => {
                let mut names = match child {
                    Child::Snapshot(_) => self.snapshots.iter().map(|s| &s.meta.name).collect::<Vec<_>>(),
                    Child::Claim(_) => self.claims.iter().map(|c| &c.meta.name).collect(),
                    Child::Job(_) => self.jobs.iter().map(|j| &j.meta.name).collect(),
                }
                .into_iter();
                if names.any(|name| name == child.name()) {
                    self.blocked = Some(format!("{} cannot be created: the name is taken", child.name()));
                    return false;
                }
                self.create(child);
                self.blocked = None;
            }
            Step::Delete(target) => {
                self.undeleted.remove(&target.uid);
                self.delete(target);
            }
            Step::Publish(event) => {
                // The name of an event is made of its key: a second one is refused as a repetition.
                if self.events.iter().all(|e| e.key != event.key) {
                    self.events.push(event.clone());
                }
            }
            Step::Resize(target, size) => {
                if !self.grows {
                    self.refused_size = Some(ResizeRefusal { size: *size, message: "the storage class does not allow it".into() });
                    self.refusals += 1;
                    return false;
                }
                for claim in self.claims.iter_mut().filter(|c| c.meta.uid == target.uid) {
                    // Another agent may have asked for the same already.
                    assert!(claim.bound && claim.shape.size <= Some(*size), "{claim:?} to {size}");
                    claim.shape.size = Some(*size);
                }
            }
            Step::NoteCopy(note) => {
                if !self.note_copy(note) {
                    return false;
                }
                self.events.extend(note.told.clone().filter(|told| self.events.iter().all(|e| e.key != told.key)));
            }
            Step::Release(target) => {
                for image in self.snapshots.iter_mut().filter(|s| s.meta.uid == target.uid) {
                    assert!(image.keep, "an image was let go that nobody asked for");
                    image.meta = Meta { role: None, run: None, ..image.meta.clone() };
                }
            }
        }
        self.writes += 1;
        true
    }

    fn create(&mut self, child: &Child) {
        match child {
            Child::Snapshot(new) => self.create_snapshot(new),
            Child::Claim(new) => self.create_claim(new),
            Child::Job(new) => {
                assert!(self.pods.iter().all(|p| p.ended), "a mover was started while another lives");
                self.assert_mounts(new);
                self.assert_may_begin(new);
                self.assert_waited_for(&new.claim);
                self.assert_arguments(new);
                self.assert_asks_for(new);
                self.assert_adopts(new);
                self.movers.push((**new).clone());
                self.allowed.extend(new.allow_deletions.clone());
                self.allowed.dedup();
                let meta = self.meta(&new.name, Role::Mover, Some(&new.run), Some(new.attempt));
                let subject = Some(subject::text(&new.subject));
                let placement = new.pin.as_ref().map(|pin| pin.why.clone());
                self.jobs.push(Job { meta, claim_uid: new.claim_uid.clone(), subject, placement, ..Job::default() });
            }
        }
    }

    fn assert_mounts(&self, new: &NewJob) {
        // Whether it is there is not asked: the cache may not know yet that it is gone, and then the attempt fails.
        let expected = match &self.spec.volume {
            Volume::Source { capture: Capture::Direct, claim, .. }
            | Volume::Destination { claim: DestinationClaim::Existing(claim), .. } => claim,
            Volume::Source { .. } => "scribe-src-db",
            Volume::Destination { claim: DestinationClaim::Private(_), .. } => "scribe-dest-db",
        };
        assert_eq!(new.claim, expected);
    }

    /// Where the movers went.
    pub fn paths(&self) -> Vec<&str> {
        self.movers.iter().map(|mover| mover.remote.path.as_str()).collect()
    }

    fn write_status(&mut self, status: &Status) {
        let (old, new) = (self.status.run.clone(), status.run.as_ref());
        // One that gave its slot back while its pod did not start takes it again when it does.
        let goes_on =
            old.as_ref().is_some_and(|old| old.waits_for_pod && new.is_some_and(|new| (&new.id, new.attempt) == (&old.id, old.attempt)));
        let starts = queue::under_way(status) && !queue::under_way(&self.status) && !goes_on;
        assert!(!starts || self.slot == Slot::Free, "a sync was started without a place");
        let before = self.writes();
        if let Some(run) = new {
            assert!(!self.closed.contains(&run.id), "a finished run was opened again");
        }
        if status.last_sync_time != self.status.last_sync_time || new.is_none() {
            self.closed.extend(old.as_ref().map(|run| run.id.clone()));
        }
        if status.last_sync_time != self.status.last_sync_time {
            self.assert_closes(&old.unwrap().id, status);
        }
        if let Some(image) =
            status.latest_image.as_ref().filter(|i| i.kind == "VolumeSnapshot" && status.latest_image != self.status.latest_image)
        {
            let snapshot = self.snapshots.iter().find(|s| s.meta.name == image.name);
            assert!(snapshot.is_some_and(|s| s.ready && !s.meta.deleting), "latestImage was set to {image:?}, which is not ready");
        }
        if status.aborted.is_some() && status.aborted != self.status.aborted {
            self.pulling.clear(); // the user says so
        }
        self.assert_pinned(status);
        // What comes back has whole seconds only. Where nothing else goes in, the way there and back is saved.
        let whole = self.now.subsec_nanosecond() == 0;
        self.status = if whole { status.clone() } else { serde_json::from_value(serde_json::to_value(status).unwrap()).unwrap() };
        self.object.resource_version = (self.writes + 2).to_string();
        self.assert_known_to_pull();
        let is_destination = self.object.kind == Kind::Destination;
        let barred = self.others.rival.is_some() || self.others.pushed_by.is_some();
        assert!(before || !self.writes() || !barred || !is_destination, "two destinations write to one claim, or into what is pushed");
    }

    fn create_snapshot(&mut self, new: &NewSnapshot) {
        assert!(self.claims.iter().any(|c| c.meta.name == new.claim), "a snapshot of a claim that is not there");
        if new.role == Role::Image {
            assert!(self.pods.iter().all(|p| p.ended || p.finished.is_some()), "an image was taken while a mover writes");
            let (revision, uid) = new.content.clone().unwrap();
            let held = self.applied.clone().map(|(uid, (remote, number))| (World::revision(&remote, number), uid));
            assert_eq!(held, Some((revision, uid)), "an image of something else than what was pulled");
            assert_eq!(self.mover_of(&new.run).subject, self.subject(), "an image of an earlier spec");
        }
        if new.role == Role::Capture {
            self.assert_not_half_pulled();
            self.assert_asked_for(&new.claim, &new.run, new.copied_for.as_ref());
        }
        let meta = self.meta(&new.name, new.role, Some(&new.run), None);
        self.captured.insert(meta.uid.clone(), new.claim.clone());
        let (revision, claim_uid) = new.content.clone().unzip();
        let copied_for = new.copied_for.clone();
        self.snapshots.push(Snapshot { meta, revision, claim_uid, copied_for, ..Snapshot::default() });
    }

    fn create_claim(&mut self, new: &NewClaim) {
        if let Origin::Snapshot(name) = &new.from
            && let Some(snapshot) = self.snapshots.iter().find(|s| s.meta.name == *name)
        {
            assert!(snapshot.ready, "a claim was made from an unready snapshot");
            self.assert_waited_for(name);
        }
        if let Origin::Claim(claim) = &new.from {
            self.assert_not_half_pulled();
            self.assert_asked_for(claim, new.run.as_deref().unwrap(), new.copied_for.as_ref());
        }
        let meta = self.meta(&new.name, new.role, new.run.as_deref(), None);
        let captured = match &new.from {
            Origin::Snapshot(name) => {
                self.snapshots.iter().find(|s| s.meta.name == *name).and_then(|s| self.captured.get(&s.meta.uid)).cloned()
            }
            Origin::Claim(name) => Some(name.clone()),
            Origin::Empty => None,
        };
        self.captured.extend(captured.map(|claim| (meta.uid.clone(), claim)));
        let made_from = if let Origin::Snapshot(name) = &new.from { Some(name.clone()) } else { None };
        if let Some(name) = made_from.as_ref().filter(|_| new.role == Role::Volume) {
            // It holds what the image holds.
            let revision = self.snapshots.iter().find(|s| s.meta.name == *name).and_then(|s| s.revision.clone());
            self.applied = revision.map(|revision| (meta.uid.clone(), World::parsed(&revision)));
        }
        let copied_for = new.copied_for.clone();
        self.claims.push(Claim { meta, shape: new.shape.clone(), made_from, copied_for, ..Claim::default() });
    }

    fn meta(&mut self, name: &str, role: Role, run: Option<&str>, attempt: Option<i64>) -> Meta {
        let kind = format!("{role:?} {name}");
        Meta {
            name: name.into(),
            uid: self.uid_of(&kind),
            role: Some(role),
            run: run.map(str::to_owned),
            attempt,
            created: Some(self.now),
            ..Meta::default()
        }
    }

    fn delete(&mut self, target: &ChildRef) {
        let doomed = |meta: &Meta| meta.uid == target.uid && meta.name == target.name;
        match target.kind {
            ChildKind::Job => {
                // A mover that was given up before its pod started may start all the same; it is no longer the run's.
                let current = self.status.run.as_ref().map(|r| (Some(r.id.clone()), Some(r.attempt)));
                for job in self.jobs.iter_mut().filter(|j| doomed(&j.meta)) {
                    let lives = |p: &Pod| {
                        p.meta.run == job.meta.run && p.meta.attempt == job.meta.attempt && p.started && !p.ended && !has_terminated(p)
                    };
                    let needed = current == Some((job.meta.run.clone(), job.meta.attempt));
                    assert!(!(needed && self.pods.iter().any(lives)), "a live mover was deleted");
                    job.meta.deleting = true;
                }
            }
            ChildKind::Claim => {
                for claim in self.claims.iter_mut().filter(|c| doomed(&c.meta)) {
                    let cleaned = matches!(self.spec.volume, Volume::Destination { cleanup: true, .. }) && self.status.run.is_none();
                    assert!(claim.meta.role == Some(Role::Capture) || !claim.bound || cleaned, "a volume with data was deleted");
                    let used = |p: &Pod| p.meta.run == claim.meta.run && p.started && !p.ended && !has_terminated(p);
                    assert!(!self.pods.iter().any(used), "the claim of a live mover was deleted");
                    assert!(!cleaned || self.pods.iter().all(|p| p.ended), "the volume of a live mover was deleted");
                    let of_it = |s: &&Snapshot| s.claim_uid.as_ref() == Some(&target.uid) || claim.made_from.as_ref() == Some(&s.meta.name);
                    let images = self.snapshots.iter().filter(|s| s.ready && !s.meta.deleting).filter(of_it);
                    let published = images.map(|s| &s.meta.name).any(|name| self.status.images.iter().any(|image| image.name == *name));
                    let holds_data = self.applied.as_ref().is_some_and(|(uid, _)| *uid == target.uid);
                    assert!(!cleaned || !holds_data || published, "the only copy of the data was deleted");
                    (claim.meta.deleting, claim.meta.deleting_since) = (true, Some(self.now));
                }
            }
            ChildKind::Snapshot => {
                let published = |name: &String| self.status.images.iter().any(|i| i.name == *name);
                for snapshot in self.snapshots.iter_mut().filter(|s| doomed(&s.meta)) {
                    assert!(!published(&snapshot.meta.name), "a published image was deleted");
                    assert!(!self.in_use.contains(&snapshot.meta.name), "an image was deleted that a claim is being made from");
                    assert!(!snapshot.keep || snapshot.meta.role != Some(Role::Image), "an image was deleted that is to be kept");
                    (snapshot.meta.deleting, snapshot.meta.deleting_since) = (true, Some(self.now));
                }
            }
        }
    }
}
