//! Pushes of others to the same path: under way for days, dead, or late with a commit that nothing on the backend keeps from being made.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use scribe_mover::packs::policy::clock::Graces;
use scribe_mover::packs::policy::garbage::may_commit;
use scribe_mover::packs::policy::strangers::{since, strangers};

use crate::clocks::{DAY, HOUR, Time};
use crate::rules::{Fault, Rule};
use crate::world::World;

#[derive(Debug, Default)]
pub struct Rivals {
    /// When each writes its commit, and the packs of the revision that it follows.
    commits: Vec<(i64, Arc<[u32]>)>,
    /// Packs of pushes under way, and until when they are.
    under_way: Vec<(u32, i64)>,
    /// What the commit says of looks for strangers.
    looked: Option<Timestamp>,
    /// How many commits came late.
    pub late: u64,
    /// How many were given up because they would have.
    pub given_up: u64,
}

impl World {
    /// Those whose time has come: before this push deletes anything.
    pub fn rivals_commit(&mut self) {
        let now = self.time.now;
        let (due, later) = std::mem::take(&mut self.rivals.commits).into_iter().partition(|(at, _)| *at <= now);
        self.rivals.commits = later;
        let due: Vec<(i64, Arc<[u32]>)> = due;
        for (_, packs) in due {
            self.rivals.late += 1;
            let gone = packs.iter().find(|id| !self.remote.packs.contains_key(id));
            self.found.check(Rule::Late, gone.is_none(), || {
                format!("a late commit over {} refers to pack {gone:?}, which is gone", self.manifest.generation)
            });
        }
    }

    /// After a push: others begin, and what is nobody's goes.
    pub fn others(&mut self) {
        if !self.case.rivals {
            return;
        }
        let now = self.time.now;
        if self.rng.u32(0..20) == 0 {
            let longest = if self.rng.bool() { HOUR } else { 14 * HOUR };
            let (slow, flight) = (self.rng.i64(0..longest), self.rng.i64(0..600));
            let seen = Duration::from_secs(1_000_000);
            let full = Graces { brief: self.graces.full, ..self.graces };
            let graces = if self.case.is(Fault::HalfTheFullGrace) { full } else { self.graces };
            if may_commit(seen, seen + Duration::from_secs(slow.unsigned_abs()), &graces) {
                let packs = self.manifest.table.packs().map(|pack| pack.id).collect();
                self.rivals.commits.push((now + slow + flight, packs));
            } else {
                self.rivals.given_up += 1;
            }
        }
        if self.rng.u32(0..100) == 0 {
            let id = self.stranger(now);
            let until = now + self.rng.i64(0..6 * DAY);
            self.rivals.under_way.push((id, until));
        }
        if self.manifest.generation.is_multiple_of(37) {
            self.delete_strangers();
        }
        self.rivals.under_way.retain(|(_, until)| *until > now);
    }

    fn delete_strangers(&mut self) {
        let now = self.time.now;
        let known = |id: u32| self.manifest.table.get(id).is_some() || self.manifest.dead.iter().any(|object| object.id == id);
        let listed: Vec<_> = self.remote.packs.iter().map(|(id, object)| (*id, Some(Time::server(object.date)))).collect();
        let claimed = if self.case.is(Fault::OwnClock) { self.time.clock() } else { Time::server(now) };
        let looks = (self.rivals.looked, Some(claimed));
        self.rivals.looked = since(looks.0, looks.1);
        for id in strangers(&listed, looks, known) {
            let is_under_way = self.rivals.under_way.iter().any(|(other, until)| *other == id && *until > now);
            let age = now - self.remote.packs[&id].date;
            self.found
                .check(Rule::Strangers, !is_under_way && age >= 7 * DAY, || format!("pack {id} of a push under way goes, {age} s old"));
            self.remote.packs.remove(&id);
        }
        // What came right after a look has to wait for the one after the next.
        let left = self.remote.packs.iter().find(|(id, object)| now - object.date > 17 * DAY && !known(**id));
        self.found.check(Rule::Collected, left.is_none(), || format!("pack {left:?} is nobody's, and stays"));
    }
}
