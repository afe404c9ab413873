//! What a user wants: a spec of either kind, parsed and with its defaults. [`crate::core::validate`] makes it.

use crate::api::mover::MoverPod;
use crate::api::pin::PinSpec;
use crate::core::model::retention::Retention;
use crate::core::syntax::cron::Schedule;
use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

/// What is wrong with a spec: a sentence that names the field and says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct InvalidSpec(pub String);

/// A spec that is known to make sense.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Nothing new starts.
    pub paused: bool,
    /// When to sync.
    pub trigger: Trigger,
    /// Where the data goes to or comes from.
    pub remote: Remote,
    /// How much a sync may delete unasked.
    pub guard: Guard,
    /// What the mover's pod is to be like.
    pub pod: MoverPod,
    /// Which volume, and how it is handled.
    pub volume: Volume,
    /// How a source lays its path out.
    pub layout: PushLayout,
    /// What a source leaves out: patterns of gitignore, in their order.
    pub exclude: Vec<String>,
    /// The revision that a destination is kept at, by one of the two fields.
    pub pin: Option<PinSpec>,
    /// Fields that are set and have no effect.
    pub unused: Vec<&'static str>,
}

/// When to sync; neither schedule nor manual means continuously.
#[derive(Clone, Debug, Default)]
pub struct Trigger {
    /// Slots to sync at.
    pub schedule: Option<Schedule>,
    /// The tag that starts one sync when it changes.
    pub manual: Option<String>,
    /// Whether a new object waits for its first scheduled time.
    pub wait_for_schedule: bool,
    /// By how much this object's scheduled times come after those of the schedule.
    pub offset: SignedDuration,
}

impl Trigger {
    /// Whether syncs follow one another without an outside cause.
    pub fn continuous(&self) -> bool {
        self.schedule.is_none() && self.manual.is_none()
    }

    /// What starts syncs, as `status.trigger` has it.
    pub fn kind(&self) -> &'static str {
        match (&self.schedule, &self.manual) {
            (Some(_), _) => "Schedule",
            (None, Some(_)) => "Manual",
            (None, None) => "Continuous",
        }
    }

    /// This object's first scheduled time strictly after `time`.
    pub fn next_time(&self, time: Timestamp) -> Option<Timestamp> {
        let unmoved = time.checked_sub(self.offset).ok()?;
        self.schedule.as_ref()?.next_after(unmoved)?.checked_add(self.offset).ok()
    }

    /// Its very first scheduled time: those of an interval are counted from the one before, so the first one alone is moved.
    pub fn first_time(&self, time: Timestamp) -> Option<Timestamp> {
        let moved = if self.schedule.as_ref()?.is_interval() { self.offset } else { SignedDuration::ZERO };
        self.next_time(time)?.checked_add(moved).ok()
    }

    /// Whether its scheduled times come at an interval (`@every 90m`), not by the calendar.
    pub fn counts_from_last_sync(&self) -> bool {
        self.schedule.as_ref().is_some_and(Schedule::is_interval)
    }

    /// Whether a new object syncs without waiting for a scheduled time or tag.
    pub fn starts_at_once(&self) -> bool {
        starts_at_once(self.schedule.is_some(), self.manual.is_some(), self.wait_for_schedule)
    }
}

/// The same, of a trigger that has not been read yet.
pub fn starts_at_once(schedule: bool, manual: bool, wait_for_schedule: bool) -> bool {
    !manual && (!schedule || !wait_for_schedule)
}

/// Where the data goes to or comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Name of the Secret.
    pub secret: String,
    /// Section of its `rclone.conf`.
    pub section: String,
    /// Path behind the colon.
    pub path: String,
}

/// How much a sync may delete unasked: not both more than `floor` files and more than `percent` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Share of the files.
    pub percent: u32,
    /// Number of files.
    pub floor: u32,
}

/// Which volume, and how it is handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Volume {
    /// A source's.
    Source {
        /// The claim to replicate.
        claim: String,
        /// How it is captured.
        capture: Capture,
        /// Shape of the temporary claim; unset parts come from the source claim.
        temporary: ClaimShape,
    },
    /// A destination's.
    Destination {
        /// The claim to pull into.
        claim: DestinationClaim,
        /// Whether each good copy becomes a snapshot, and of which class.
        image: Option<SnapshotClass>,
        /// Which of these snapshots are kept.
        retain: Retention,
        /// Whether the claim made for this object goes after each sync.
        cleanup: bool,
        /// Whether the path was not written by a source of ours.
        plain: bool,
    },
}

/// How a source lays its path out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PushLayout {
    /// Every file under its own name.
    #[default]
    Files,
    /// Blocks in packs.
    Packs {
        /// Which revisions stay restorable at the path; none where the spec does not say.
        retain: Option<Box<Retention>>,
    },
}

/// A `VolumeSnapshotClass`; the cluster's default where it has no name.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SnapshotClass(pub Option<String>);

/// How a source's volume is captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capture {
    /// Through a snapshot.
    Snapshot(SnapshotClass),
    /// Through a clone.
    Clone,
    /// Read in place.
    Direct,
}

/// The claim that a destination pulls into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DestinationClaim {
    /// One of the user's.
    Existing(String),
    /// One made for this object.
    Private(ClaimShape),
}

/// Size, access modes and storage class of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ClaimShape {
    /// Size in bytes.
    pub size: Option<u64>,
    /// Access modes.
    pub access_modes: Option<Vec<String>>,
    /// Storage class.
    pub storage_class: Option<String>,
}

/// 90 percent and 10 files.
impl Default for Guard {
    fn default() -> Self {
        Guard { percent: 90, floor: 10 }
    }
}

impl Spec {
    /// What is left out has its default.
    pub fn new(remote: Remote, volume: Volume) -> Spec {
        let (trigger, guard, pod) = (Trigger::default(), Guard::default(), MoverPod::default());
        let layout = PushLayout::default();
        Spec { paused: false, trigger, remote, guard, pod, volume, layout, exclude: Vec::new(), pin: None, unused: Vec::new() }
    }

    /// The claim of the user's that a destination pulls into.
    pub fn pulls_into(&self) -> Option<&str> {
        self.users_claim().filter(|_| matches!(self.volume, Volume::Destination { .. }))
    }

    /// The claim of the user's that the spec names.
    pub fn users_claim(&self) -> Option<&str> {
        match &self.volume {
            Volume::Source { claim, .. } | Volume::Destination { claim: DestinationClaim::Existing(claim), .. } => Some(claim),
            Volume::Destination { claim: DestinationClaim::Private(_), .. } => None,
        }
    }
}
