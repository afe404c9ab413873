//! Makes a history that fails shorter, as long as it fails.

use crate::history::History;

/// The shortest that is found.
pub fn shrink(history: &History, fails: impl Fn(&History) -> bool) -> History {
    let mut best = history.clone();
    loop {
        let Some(shorter) = shorter(&best).into_iter().find(|shorter| fails(shorter)) else { return best };
        best = shorter;
    }
}

/// Each with one thing less.
fn shorter(history: &History) -> Vec<History> {
    let mut found = Vec::new();
    let mut without = |change: &dyn Fn(&mut History)| {
        let mut shorter = history.clone();
        change(&mut shorter);
        found.push(shorter);
    };
    for (at, epoch) in history.epochs.iter().enumerate() {
        without(&|history| drop(history.epochs.remove(at)));
        if epoch.hands.is_some() {
            without(&|history| history.epochs[at].hands = None);
        }
        for sync in 0..epoch.syncs.len() {
            without(&|history| drop(history.epochs[at].syncs.remove(sync)));
            for fault in 0..epoch.syncs[sync].faults.len() {
                without(&|history| {
                    history.epochs[at].syncs[sync].faults.remove(fault);
                });
            }
            for edit in 0..epoch.syncs[sync].edits.len() {
                without(&|history| drop(history.epochs[at].syncs[sync].edits.remove(edit)));
            }
            if epoch.syncs[sync].skew != 0 {
                without(&|history| history.epochs[at].syncs[sync].skew = 0);
            }
            if epoch.syncs[sync].verify {
                without(&|history| history.epochs[at].syncs[sync].verify = false);
            }
        }
        for edit in 0..epoch.edits.len() {
            without(&|history| drop(history.epochs[at].edits.remove(edit)));
        }
    }
    found
}
