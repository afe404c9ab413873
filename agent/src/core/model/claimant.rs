//! Which of several destinations may pull into one PVC: two of them would mix their data in it. And which of a source and a destination
//! of the same PVC and path goes first.

use crate::api::status::{Phase, Run};
use jiff::Timestamp;

/// A destination that pulls into the PVC in question, or is about to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant<'a> {
    /// `metadata.uid`
    pub uid: &'a str,
    /// `metadata.name`
    pub name: &'a str,
    /// Its mover writes to the PVC, or an image of what it wrote is being created, whatever its spec says by now.
    pub writes: bool,
    /// The PVC was created for it.
    pub owns: bool,
    /// Its last successful sync pulled into the PVC.
    pub synced: bool,
    /// When it was created.
    pub created: Option<Timestamp>,
}

/// What other destinations do with the PVC that a destination pulls into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sharing {
    /// Name of the one that goes first, if it is another one.
    pub rival: Option<String>,
    /// Name of one that writes to the PVC beside this one, or was given it since: what this one pulled is mixed with its data.
    pub mixed: Option<String>,
    /// Another one may have pulled into the PVC since this one's last success, as far as no status records that.
    pub touched: bool,
    /// Name of a source that pushes the PVC to the very path that this one pulls.
    pub pushed_by: Option<String>,
    /// For a source: name of a destination that has begun to pull into its PVC from the very path that it pushes to, and has not finished.
    pub pulled_by: Option<String>,
}

/// Whether the mover of this run writes to its PVC, or an image of what it wrote is being created.
pub const fn writes(run: &Run) -> bool {
    matches!(run.phase, Phase::Transferring | Phase::Publishing)
}

/// Whether a source with this run captures or pushes its PVC.
pub const fn pushes(run: &Run) -> bool {
    !matches!(run.phase, Phase::Backoff | Phase::WaitingForFirstPush)
}

/// The one that may go on. The others wait, in whichever order they are created or reconciled: it depends on nothing but the objects.
pub fn first<'a>(claimants: &[Claimant<'a>]) -> Option<Claimant<'a>> {
    let rank = |c: &Claimant<'a>| (!c.writes, !c.owns, !c.synced, c.created.unwrap_or(Timestamp::MAX), c.uid);
    claimants.iter().min_by_key(|claimant| rank(claimant)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claimant(uid: &str) -> Claimant<'_> {
        let created = Some(Timestamp::from_second(uid.bytes().map(i64::from).sum()).unwrap());
        Claimant { uid, name: uid, writes: false, owns: false, synced: false, created }
    }

    fn winner<'a>(mut claimants: Vec<Claimant<'a>>) -> &'a str {
        let first_of = |claimants: &[Claimant<'a>]| first(claimants).unwrap().uid;
        let uid = first_of(&claimants);
        claimants.reverse();
        assert_eq!(uid, first_of(&claimants), "the order of the list decides");
        uid
    }

    #[test]
    fn the_older_one_goes_first_unless_another_has_a_better_right() {
        let (a, b) = (claimant("a"), claimant("b"));
        assert_eq!(winner(vec![a.clone(), b.clone()]), "a");
        for better in [
            Claimant { synced: true, ..b.clone() },
            Claimant { owns: true, ..b.clone() },
            Claimant { writes: true, ..b.clone() },
            Claimant { created: a.created, uid: "0", ..b.clone() },
        ] {
            assert_eq!(winner(vec![a.clone(), better.clone()]), better.uid, "{better:?}");
        }
        assert_eq!(winner(vec![a.clone(), Claimant { created: None, ..b.clone() }]), "a");
        assert_eq!(winner(vec![Claimant { owns: true, ..a.clone() }, Claimant { writes: true, ..b.clone() }]), "b");
        assert_eq!(winner(vec![Claimant { synced: true, ..a }, Claimant { owns: true, ..b }]), "b");
        assert_eq!(first(&[]), None);
    }
}
