//! Every reason of a condition, an event or `status.lastError`.
//!
//! `docs/operations.md` explains each of them to users; a test holds the two together.

use scribe_mover::report::Reason as MoverReason;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident => $policy:ident;)*) => {
        /// A reason in CamelCase, as conditions and events have it: the name of the variant.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[doc = $doc])+ $name,)* }

        impl Reason {
            /// All reasons, in the order of the documentation.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// The name in the API.
            pub fn as_str(self) -> &'static str {
                match self { $(Reason::$name => stringify!($name),)* }
            }

            /// What it means: the comment on the variant, which `docs/reference.md` shows.
            pub fn meaning(self) -> &'static str {
                match self { $(Reason::$name => concat!($($doc),+).trim(),)* }
            }

            /// What follows from the reason.
            pub fn policy(self) -> Policy {
                match self { $(Reason::$name => Policy::$policy,)* }
            }

            /// The reason with this name, if there is one.
            pub fn parse(name: &str) -> Option<Reason> {
                Self::ALL.iter().copied().find(|r| r.as_str() == name)
            }
        }
    };
}

/// What follows from a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Nothing: this is a normal state.
    State,
    /// A retry, which may succeed without any change.
    Passing,
    /// `Stalled` is True until a person fixes the cause; retries are rarer.
    Stalled,
}

reasons! {
    /// The spec is valid and the last reconcile succeeded.
    ReconcileComplete => State;
    /// The last reconcile failed.
    ReconcileError => State;
    /// A sync is running.
    SyncInProgress => State;
    /// The next sync starts at its scheduled time, `status.nextSyncTime`.
    WaitingForSchedule => State;
    /// The next sync waits for a new `spec.trigger.manual`.
    WaitingForManual => State;
    /// The next sync waits for the continuous interval to pass.
    WaitingForInterval => State;
    /// A sync is due and waits for a slot: `maxConcurrentSyncs` syncs are running.
    WaitingForSlot => State;
    /// Nothing has been pushed to the path yet.
    WaitingForFirstPush => State;
    /// The last attempt failed; the next one starts at `status.nextAttemptTime`.
    Backoff => State;
    /// `spec.paused` is true.
    Paused => State;
    /// The spec is invalid; the other conditions name the problem.
    Error => State;
    /// A sync has succeeded; the message reports attempts that failed since.
    Synced => State;
    /// No sync has succeeded yet.
    NeverSynced => State;
    /// What the last sync published was deleted, replaced or released; a sync that publishes it again is due.
    NotPublished => State;
    /// Nothing requires action.
    NotStalled => State;
    /// A sync has started.
    SyncStarted => State;
    /// A sync succeeded.
    SyncCompleted => State;
    /// The annotation `scribe.backube/abort` ended a sync.
    SyncAborted => State;
    /// `maxAttempts` attempts in a row have failed.
    Failing => State;
    /// An edit changed what starts syncs: a schedule, the continuous interval, or a person alone.
    TriggerChanged => State;
    /// The destination's volume could not be expanded.
    ResizeRefused => State;
    /// A push took over a path that belonged to another object.
    PathTakenOver => State;
    /// A push created the bucket of its path, because there was none.
    BucketCreated => State;
    /// The agent's settings are invalid; an event of its own pod.
    SettingsInvalid => State;
    /// An annotation has no effect; the message says why.
    AnnotationIgnored => State;
    /// The mover's pod was evicted, preempted or drained before the mover had finished; the next attempt starts at once.
    MoverDisrupted => State;
    /// An injected container kept a mover's pod running after its mover had terminated.
    ContainerInjected => State;
    /// The source's PVC has `scribe.backube/use-copy-trigger`: the copy is made when `scribe.backube/copy-trigger` gets a new value.
    WaitingForCopyTrigger => State;
    /// The copy that `scribe.backube/copy-trigger` asked for is there: the application may go on.
    CopyCompleted => State;

    /// The spec cannot work; the message names the field.
    InvalidSpec => Stalled;
    /// The Secret named by `rcloneConfig` does not exist, or is empty.
    SecretMissing => Stalled;
    /// The Secret lacks `rclone.conf` or the section, rclone cannot read or decrypt the file, an option or variable of it is missing, wrong
    /// or refused, the section leads to no remote, or nothing that lies there can be decrypted.
    SecretInvalid => Stalled;
    /// The remote refused the credentials, or what they may do there.
    AccessDenied => Stalled;
    /// The path holds files of another owner, or of no known owner.
    PathNotOurs => Stalled;
    /// The sync would delete more than `deletionGuard` allows.
    DeletionGuard => Stalled;
    /// The volume, the remote or the mover's temporary directory is full, or a quota is used up.
    NoSpace => Stalled;
    /// The destination's volume takes names of the source for one, as those that do not distinguish case.
    NamesCollide => Stalled;
    /// The path does not have the revision that `spec.rclone.pin` asks for, or has it no more.
    RevisionMissing => Stalled;
    /// The cluster rejected the mover's pod.
    PodRejected => Stalled;
    /// An admission policy of the cluster rejected a PVC or VolumeSnapshot.
    AdmissionDenied => Stalled;
    /// The agent's Role lacks a verb.
    MissingPermission => Stalled;
    /// The cluster does not serve VolumeSnapshots.
    SnapshotsUnsupported => Stalled;

    /// The remote did not answer.
    Unreachable => Passing;
    /// The remote limits the rate of requests.
    Throttled => Passing;
    /// The bucket does not exist and could not be created.
    BucketMissing => Passing;
    /// The PVC to replicate does not exist, or is being deleted.
    SourcePVCMissing => Passing;
    /// The PVC to pull into does not exist, or is being deleted.
    DestinationPVCMissing => Passing;
    /// A volume was not bound in time.
    VolumeNotBound => Passing;
    /// A snapshot was not ready in time.
    SnapshotNotReady => Passing;
    /// A pod uses the volume in a way that keeps the mover from mounting it.
    VolumeInUse => Passing;
    /// The mover's pod did not start in time.
    PodPending => Passing;
    /// A mover makes no progress, or its pod does not end.
    MoverStalled => Passing;
    /// The annotation `scribe.backube/copy-trigger` of the source's PVC has had no new value for ten minutes; the sync keeps waiting for one.
    CopyTriggerTimeout => Passing;
    /// Files kept changing while they were read.
    SourceChanging => Passing;
    /// A file of the volume could not be read or written.
    VolumeUnreadable => Passing;
    /// What the remote holds does not match its own manifest.
    RemoteInconsistent => Passing;
    /// The mover was terminated before it had finished.
    MoverKilled => Passing;
    /// The mover failed for any other reason, such as an rclone that is too old; see the message.
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
            MoverReason::NamesCollide => Reason::NamesCollide,
            MoverReason::Unreachable => Reason::Unreachable,
            MoverReason::Throttled => Reason::Throttled,
            MoverReason::BucketMissing => Reason::BucketMissing,
            MoverReason::SourceChanging => Reason::SourceChanging,
            MoverReason::VolumeUnreadable => Reason::VolumeUnreadable,
            MoverReason::RevisionMissing => Reason::RevisionMissing,
            MoverReason::RemoteInconsistent => Reason::RemoteInconsistent,
            MoverReason::MoverKilled => Reason::MoverKilled,
            MoverReason::MoverFailed => Reason::MoverFailed,
        }
    }
}
