//! Every word that can stand as the reason of a condition, an event or `status.lastError`.
//!
//! `docs/operations.md` explains each of them to users; a test holds the two together.

use scribe_mover::report::Reason as MoverReason;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident => $policy:ident;)*) => {
        /// Why something is as it is. The variant's name is the word users see.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[doc = $doc])+ $name,)* }

        impl Reason {
            /// All reasons, in the order of the documentation.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// The word as it stands in the API.
            pub fn as_str(self) -> &'static str {
                match self { $(Reason::$name => stringify!($name),)* }
            }

            /// What it means, in the words of the variant's comment: `docs/reference.md` has them.
            pub fn meaning(self) -> &'static str {
                match self { $(Reason::$name => concat!($($doc),+).trim(),)* }
            }

            /// What the reason asks for.
            pub fn policy(self) -> Policy {
                match self { $(Reason::$name => Policy::$policy,)* }
            }

            /// The reason with this name, if there is one.
            pub fn parse(word: &str) -> Option<Reason> {
                Self::ALL.iter().copied().find(|r| r.as_str() == word)
            }
        }
    };
}

/// What a reason asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Nothing: the state is a normal one.
    State,
    /// Time: the next attempt may well succeed.
    Passing,
    /// A person: `Stalled` is true until it is mended.
    Stalled,
}

reasons! {
    /// The spec is valid and the last reconcile worked.
    ReconcileComplete => State;
    /// The last reconcile did not work.
    ReconcileError => State;
    /// A sync is running.
    SyncInProgress => State;
    /// The next sync waits for its scheduled time.
    WaitingForSchedule => State;
    /// The next sync waits for a new `spec.trigger.manual`.
    WaitingForManual => State;
    /// The next sync waits for the continuous interval to pass.
    WaitingForInterval => State;
    /// As many syncs as may be are under way; this one waits for its turn.
    WaitingForSlot => State;
    /// Nothing has been pushed to the path yet.
    WaitingForFirstPush => State;
    /// The last attempt failed; the next waits for its time.
    Backoff => State;
    /// `spec.paused` is true.
    Paused => State;
    /// The object cannot be worked on; the other conditions say why.
    Error => State;
    /// A sync has succeeded; the message says what came of later attempts.
    Synced => State;
    /// No sync has succeeded yet.
    NeverSynced => State;
    /// Nothing is stalled.
    NotStalled => State;
    /// A sync was started.
    SyncStarted => State;
    /// A sync ended well.
    SyncCompleted => State;
    /// Many attempts in a row have failed.
    Failing => State;
    /// The destination's volume could not grow.
    ResizeRefused => State;
    /// A push took over a path that was another object's.
    PathTakenOver => State;
    /// An annotation of the user's has no effect; the message says why.
    AnnotationIgnored => State;

    /// The spec cannot work; the message names the field.
    InvalidSpec => Stalled;
    /// The Secret named by `rcloneConfig` does not exist, or is empty.
    SecretMissing => Stalled;
    /// The Secret lacks `rclone.conf`, or the section is not in it.
    SecretInvalid => Stalled;
    /// The remote refused the credentials.
    AccessDenied => Stalled;
    /// The path holds files of another owner, or of no known owner.
    PathNotOurs => Stalled;
    /// The sync would delete too much.
    DeletionGuard => Stalled;
    /// The volume or the remote is full.
    NoSpace => Stalled;
    /// The cluster refused the mover's pod.
    PodRejected => Stalled;
    /// The agent's Role lacks a verb.
    MissingPermission => Stalled;
    /// The cluster has no snapshot API, or no class for this driver.
    SnapshotsUnsupported => Stalled;

    /// The remote did not answer.
    Unreachable => Passing;
    /// The remote asked to slow down.
    Throttled => Passing;
    /// The bucket does not exist and could not be made.
    BucketMissing => Passing;
    /// The PVC to replicate does not exist.
    SourcePVCMissing => Passing;
    /// The PVC to pull into does not exist.
    DestinationPVCMissing => Passing;
    /// A volume was not bound in time.
    VolumeNotBound => Passing;
    /// A snapshot was not ready in time.
    SnapshotNotReady => Passing;
    /// The mover's pod did not start in time.
    PodPending => Passing;
    /// A mover makes no progress, or its pod does not end.
    MoverStalled => Passing;
    /// Files kept changing while they were read.
    SourceChanging => Passing;
    /// A file of the volume could not be read or written.
    VolumeUnreadable => Passing;
    /// What the remote holds does not match its own manifest.
    RemoteInconsistent => Passing;
    /// The mover ended without finishing its work.
    MoverKilled => Passing;
    /// The mover failed in a way of its own; the message has the story.
    MoverFailed => Passing;
}

impl From<MoverReason> for Reason {
    fn from(reason: MoverReason) -> Self {
        match reason {
            MoverReason::SecretMissing => Reason::SecretMissing,
            MoverReason::SecretInvalid => Reason::SecretInvalid,
            MoverReason::AccessDenied => Reason::AccessDenied,
            MoverReason::PathNotOurs => Reason::PathNotOurs,
            MoverReason::DeletionGuard => Reason::DeletionGuard,
            MoverReason::NoSpace => Reason::NoSpace,
            MoverReason::Unreachable => Reason::Unreachable,
            MoverReason::Throttled => Reason::Throttled,
            MoverReason::BucketMissing => Reason::BucketMissing,
            MoverReason::SourceChanging => Reason::SourceChanging,
            MoverReason::VolumeUnreadable => Reason::VolumeUnreadable,
            MoverReason::RemoteInconsistent => Reason::RemoteInconsistent,
            MoverReason::MoverKilled => Reason::MoverKilled,
            MoverReason::MoverFailed => Reason::MoverFailed,
        }
    }
}
