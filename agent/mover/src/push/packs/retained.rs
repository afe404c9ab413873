//! Which older revisions a push keeps: by the rules, of the committed one and of those that it has kept. What they need stays where it is,
//! and their manifests stay as they were written.

use std::time::Duration;

use jiff::Timestamp;

use super::base::Base;
use crate::format::revision::Revision;
use crate::packs::limits::RETAINED;
use crate::packs::manifest::{PushClock, Reading, Retained};
use crate::packs::policy::clock;
use crate::packs::policy::dead::Dead;
use crate::packs::policy::retained::{self, kept};
use crate::retention::Retention;

/// The revisions before the one that is about to be committed, the newest first of both.
#[derive(Debug, Default)]
pub(super) struct Older {
    /// Stay restorable.
    pub(super) kept: Vec<Retained>,
    /// Were committed or kept, and are not kept from now on.
    pub(super) dropped: Vec<Retained>,
}

impl Older {
    /// Those before the revision of `generation` and `data_time`, by these rules and the clock of its manifest.
    pub(super) fn of(base: Option<&Base>, (generation, data_time): (u64, Timestamp), rules: &Retention, clock: &PushClock) -> Self {
        let Some(base) = base else { return Self::default() };
        let says = &base.commit.statement;
        let committed = Retained {
            revision: says.revision.clone(),
            data_time: says.data_time,
            committed: shown(&base.document.clock),
            manifest: base.commit.manifest.clone(),
            entries: Some(says.entries),
            bytes: Some(says.bytes),
        };
        let older: Vec<Retained> = [committed].into_iter().chain(base.document.retained.iter().cloned()).collect();
        let now = counted(shown(clock));
        let revision = |of: &Retained| {
            let generation = generation_of(of).unwrap_or_default();
            retained::Retained { generation, data_time: of.data_time, committed: counted(of.committed) }
        };
        let new = retained::Retained { generation, data_time, committed: now };
        let all: Vec<retained::Retained> = [new].into_iter().chain(older.iter().map(revision)).collect();
        let stay = kept(&all, rules, clock.at, now).into_iter().skip(1);
        let (kept, dropped): (Vec<_>, Vec<_>) = older.into_iter().zip(stay).partition(|(_, stays)| *stays);
        let [mut kept, mut dropped]: [Vec<_>; 2] = [kept, dropped].map(|of| of.into_iter().map(|(of, _)| of).collect());
        // The rules allow no more, but for those of clocks that were wrong.
        dropped.extend(kept.drain(kept.len().min(RETAINED - 1)..));
        Self { kept, dropped }
    }

    /// Keeps no more than what needs `most` of each kind of dead objects, the newest ones that do: a manifest lists no more of them, and what it
    /// does not list is nobody's. One that alone needs too many, as after all of a volume was written anew, costs no other.
    pub(super) fn bound<Id>(&mut self, dead: &[&Vec<Dead<Id>>], most: usize) {
        let mut listed: Vec<Vec<bool>> = dead.iter().map(|dead| vec![false; dead.len()]).collect();
        let mut counts = vec![0; dead.len()];
        let (mut kept, mut dropped) = (Vec::new(), 0);
        for of in self.kept.drain(..) {
            let generation = generation_of(&of);
            let needs = |object: &Dead<Id>| generation.is_some_and(|generation| object.is_of(generation));
            let more = |(dead, listed): (&&Vec<Dead<Id>>, &Vec<bool>)| -> Vec<usize> {
                dead.iter().zip(listed).enumerate().filter(|(_, (object, listed))| !**listed && needs(object)).map(|(at, _)| at).collect()
            };
            let more: Vec<Vec<usize>> = dead.iter().zip(&listed).map(more).collect();
            if more.iter().zip(&counts).any(|(more, count)| count + more.len() > most) {
                dropped += 1;
                self.dropped.push(of);
                continue;
            }
            for ((more, listed), count) in more.iter().zip(&mut listed).zip(&mut counts) {
                *count += more.len();
                for at in more {
                    if let Some(listed) = listed.get_mut(*at) {
                        *listed = true;
                    }
                }
            }
            kept.push(of);
        }
        if dropped > 0 {
            tracing::warn!(dropped, "retained revisions are dropped: they need more old packs than a manifest can list; retain fewer");
        }
        self.kept = kept;
    }
}

/// The generation of a revision that is kept.
pub(super) fn generation_of(kept: &Retained) -> Option<u64> {
    Some(Revision::parse(&kept.revision)?.generation())
}

fn counted(reading: Reading) -> clock::Reading {
    let [full, brief, age] = [reading.full, reading.brief, reading.age].map(Duration::from_millis);
    clock::Reading { full, brief, age }
}

/// What the meters of a manifest showed.
fn shown(clock: &PushClock) -> Reading {
    Reading { full: clock.full.counted, brief: clock.brief.counted, age: clock.age.counted }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::documents::ManifestRef;

    fn revision(generation: u64) -> Retained {
        let revision = format!("20261123T042858Z-1c9a77e0-{generation}-5f2e");
        let (data_time, committed) = (Timestamp::UNIX_EPOCH, Reading::default());
        Retained { revision, data_time, committed, manifest: ManifestRef { size: 1, sha256: String::new() }, entries: None, bytes: None }
    }

    #[test]
    fn those_are_dropped_that_need_more_than_a_manifest_can_list() {
        let dead = |written, died| Dead { id: written * 100 + died, size: 1, written, died, since: None };
        // Needed by: 9; 9 and 5; 5 and 2; none.
        let packs = vec![dead(8, 10), dead(4, 10), dead(2, 6), dead(6, 8)];
        let older = |packs: &Vec<Dead<u64>>, runs: &Vec<Dead<u64>>, most| {
            let mut older = Older { kept: [9, 5, 2].map(revision).into(), dropped: Vec::new() };
            older.bound(&[packs, runs], most);
            assert_eq!(older.kept.len() + older.dropped.len(), 3);
            older.kept.iter().filter_map(generation_of).collect::<Vec<_>>()
        };
        assert_eq!(older(&packs, &Vec::new(), 3), [9, 5, 2]);
        // That 5 needs one of those of 9 costs nothing more.
        assert_eq!(older(&packs, &Vec::new(), 2), [9]);
        // One alone needs too many, and the others stay.
        assert_eq!(older(&vec![dead(8, 10), dead(9, 10), dead(7, 10), dead(2, 4)], &Vec::new(), 2), [5, 2]);
        assert_eq!(older(&packs, &vec![dead(1, 3), dead(2, 4)], 3), [9, 5, 2]);
        assert_eq!(older(&vec![dead(1, 3), dead(2, 4)], &packs, 1), [5; 0]);
        assert_eq!(older(&vec![dead(1, 3), dead(2, 4)], &Vec::new(), 1), [9, 5]);
    }
}
