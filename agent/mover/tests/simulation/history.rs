//! What happens to a path, all of it from one seed: epochs, each with edits, something that others do, and syncs at the same time.

use fastrand::Rng;

use crate::faults::Fault;
use crate::objects::Kind;
use crate::style::Style;
use crate::volume::Edit;

pub const S3: Kind = Kind { folders: false, destroys: false, renames: false, no_sums: false, own_times: false, once: None };
pub const LOCAL: Kind = Kind { folders: true, renames: true, own_times: true, ..S3 };
pub const WEBDAV: Kind = Kind { folders: true, destroys: true, no_sums: true, ..S3 };
pub const SFTP: Kind = Kind { no_sums: true, ..LOCAL };

/// Objects that push: the second one is another owner's.
pub const SOURCES: usize = 2;
/// The first is written to by pulls alone.
pub const DESTINATIONS: usize = 2;

/// How the sources push. A path keeps its layout, for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    Files,
    Packs,
}

#[derive(Clone, Debug)]
pub struct History {
    pub kind: Kind,
    pub layout: Layout,
    pub bucket: bool,
    /// In the end a person requests a verification. Otherwise it comes when it is due.
    pub verified: bool,
    /// In the end a person lets the source take the path over, if it is refused.
    pub helped: bool,
    pub epochs: Vec<Epoch>,
}

#[derive(Clone, Debug, Default)]
pub struct Epoch {
    /// Of the first source's volume, or the second one's.
    pub edits: Vec<(usize, Edit)>,
    /// Seconds that pass before.
    pub passes: i64,
    pub hands: Option<Hands>,
    pub syncs: Vec<Sync>,
    /// Decides which of them goes on.
    pub order: u64,
}

/// What somebody else does, while no sync runs.
#[derive(Clone, Copy, Debug)]
pub enum Hands {
    /// The bucket becomes what it was so many epochs ago.
    Rollback(usize),
    /// Something deletes an object of content.
    Delete(u8),
    /// Or changes its content, not its size.
    Change(u8),
    /// The first source is deleted and made again.
    Recreate,
    /// Puts a file of its own below the path, once that is one of ours.
    Add(u8),
}

impl Hands {
    /// Whether it may leave objects that no manifest has.
    fn leave_something(self) -> bool {
        matches!(self, Self::Rollback(_) | Self::Change(_))
    }
}

#[derive(Clone, Debug)]
pub struct Sync {
    pub who: Who,
    /// By which this site's clock is wrong, in seconds.
    pub skew: i64,
    /// The user requests a verification.
    pub verify: bool,
    /// Edits of the volume that is pushed, at which steps. With none, it is a copy that does not change.
    pub edits: Vec<(u32, Edit)>,
    /// At which steps, and what.
    pub faults: Vec<(u32, Fault)>,
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Push(usize),
    Pull(usize),
}

impl History {
    pub fn of(seed: u64, layout: Layout) -> Self {
        let mut rng = Rng::with_seed(seed);
        let kinds = [S3, LOCAL, WEBDAV, SFTP];
        let kind = kinds[rng.usize(0..kinds.len())];
        let style = Style::any(&mut rng, layout);
        let mut epochs: Vec<Epoch> = Vec::new();
        // Runs become one after eight pushes, and what is dead goes after four.
        let most = if layout == Layout::Files { 8 } else { 18 };
        for at in 0..rng.usize(2..most) {
            epochs.push(Epoch::any(&mut rng, &style, at, epochs.last()));
        }
        let (bucket, verified) = (rng.u8(0..4) > 0, rng.bool());
        // The files have two bytes at most.
        let once = [None, Some(1), Some(2)][rng.usize(0..3)];
        Self { kind: Kind { once, ..kind }, layout, bucket, verified, helped: true, epochs }
    }
}

impl Epoch {
    /// Whether nothing but a push at a time has written to the path, and no listing has left out what it would have deleted.
    pub fn is_undisturbed(&self) -> bool {
        let lies = |sync: &Sync| sync.faults.iter().any(|(_, fault)| fault.is_lie());
        let pushes = self.syncs.iter().filter(|sync| matches!(sync.who, Who::Push(_)));
        !self.hands.is_some_and(Hands::leave_something) && pushes.clone().count() < 2 && !pushes.clone().any(lies)
    }

    /// Whether a sync may have left something in the middle of its work: a pull, or a push.
    fn is_unfinished(&self, is_pull: bool) -> bool {
        let ends = |sync: &Sync| sync.faults.iter().any(|(_, fault)| fault.ends());
        self.syncs.iter().any(|sync| matches!(sync.who, Who::Pull(_)) == is_pull && ends(sync))
    }

    fn any(rng: &mut Rng, style: &Style, at: usize, before: Option<&Self>) -> Self {
        let edits = (0..rng.usize(0..5)).map(|_| (usize::from(rng.u8(0..8) == 0), Edit::any(rng, style))).collect();
        let passes = [5, 600, 4_000, 90_000, 1_000_000][rng.usize(0..5)];
        let mut hands = (at > 1 && rng.u8(0..style.hands) == 0).then(|| match rng.u8(0..6) {
            5 => Hands::Add(rng.u8(..)),
            0 | 1 => Hands::Rollback(rng.usize(1..3)),
            2 => Hands::Delete(rng.u8(..)),
            3 => Hands::Change(rng.u8(..)),
            _ => Hands::Recreate,
        });
        if before.is_some_and(|before| before.is_unfinished(true)) && rng.bool() {
            hands = Some(Hands::Rollback(rng.usize(1..3)));
        }
        let finishes = before.is_some_and(|before| before.is_unfinished(false));
        let whos: &[Who] = match (hands, rng.u8(0..4)) {
            // What a destination had is from a state that is no more.
            (Some(Hands::Rollback(_)), 0 | 1) => &[Who::Pull(0)],
            // Two of them finish what another one has begun.
            (_, 2) if finishes => &[Who::Push(0), Who::Push(0)],
            _ => style.whos(rng),
        };
        let mut syncs: Vec<Sync> = whos.iter().map(|who| Sync::any(rng, style, *who)).collect();
        if let [Sync { who: Who::Push(_), faults, .. }] = &mut *syncs
            && finishes
            && rng.u8(0..4) == 0
        {
            // What it has to finish is not shown.
            *faults = vec![(1, Fault::Unlisted(rng.u8(..)))];
        }
        if syncs.iter().filter(|sync| matches!(sync.who, Who::Push(_))).count() > 1 {
            // Each would have to know what the other one's volume becomes.
            for sync in &mut syncs {
                sync.edits.clear();
            }
        }
        Self { edits, passes, hands, syncs, order: rng.u64(..) }
    }
}

impl Sync {
    fn any(rng: &mut Rng, style: &Style, who: Who) -> Self {
        let skew = [0, 0, 0, 0, -7_200, 7_200, -40_000_000, 400_000_000][rng.usize(0..8)];
        let mut faults: Vec<(u32, Fault)> = Vec::new();
        for _ in 0..[0, 1, 1, 2][rng.usize(0..4)] {
            let fault = style.fault(rng);
            // What is concluded rests on two witnesses: no more than one of them lies. And what a lie seems to have damaged is replaced by a
            // copy in its place, which is a second one if it is not what was copied.
            let is_wrong = |fault: Fault| fault.is_lie() || matches!(fault, Fault::Miscopied | Fault::Ignored);
            if !is_wrong(fault) || !faults.iter().any(|(_, fault)| is_wrong(*fault)) {
                let step = match rng.u8(0..3) {
                    0 => rng.u32(1..8),
                    _ => rng.u32(1..36),
                };
                faults.push((step, fault));
            }
        }
        if matches!(who, Who::Pull(_)) && rng.u8(0..4) == 0 {
            faults.push((rng.u32(1..4), Fault::Stopped(rng.u8(1..40))));
        }
        let live = matches!(who, Who::Push(_)) && rng.u8(0..6) == 0;
        let edits = if live { (0..rng.usize(1..4)).map(|_| (rng.u32(1..30), Edit::any(rng, style))).collect() } else { Vec::new() };
        Self { who, skew, verify: rng.u8(0..8) == 0, edits, faults, seed: rng.u64(..) }
    }
}
