//! Labels and annotations on the objects that the agent makes, and those that users set on theirs.

/// Who made an object: always [`MANAGER`]. Selects everything the agent ever made.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`], the field manager of status, and the reporter of events.
pub const MANAGER: &str = "scribe-agent";
/// Standard label: the application.
pub const APP_NAME: &str = "app.kubernetes.io/name";
/// Standard label: `capture`, `volume`, `image` or `mover`.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// UID of the `ReplicationSource` or `ReplicationDestination` that a child belongs to.
pub const OWNER_UID: &str = "scribe.backube/owner-uid";
/// The run that a child was made for.
pub const RUN: &str = "scribe.backube/run";
/// The attempt of that run; on Jobs and their pods.
pub const ATTEMPT: &str = "scribe.backube/attempt";

/// Set by users on an image: the agent releases it and never deletes it.
pub const DO_NOT_DELETE: &str = "scribe.backube/do-not-delete";
/// Annotation on an image: the revision it holds.
pub const REVISION: &str = "scribe.backube/revision";
/// Annotation on an image: UID of the claim it was taken from. On a Job: UID of the claim it pulls into.
pub const PVC_UID: &str = "scribe.backube/pvc-uid";
/// Annotation on a Job: what its mover replicates, a [`Subject`](super::status::Subject) as JSON.
pub const SUBJECT: &str = "scribe.backube/subject";
/// Annotation on a Job: the node that its pod is kept to, and why, in words.
pub const PLACEMENT: &str = "scribe.backube/placement";
/// Annotation set by users: the token of a refused deletion, which lets that one through.
pub const ALLOW_DELETIONS: &str = "scribe.backube/allow-deletions";
/// Annotation set by users on a source: the path whose files it may take over, once for each time that it is set.
pub const ADOPT_PATH: &str = "scribe.backube/adopt-path";
/// Annotation set by users: a new value starts one sync at once, whatever the trigger.
pub const SYNC_NOW: &str = "scribe.backube/sync-now";
/// Annotation set by users: the id of the running sync (`status.run.id`), which ends it.
pub const ABORT: &str = "scribe.backube/abort";
/// Annotation set by users on a source: a new value makes the next push, due at once, list its path and repair it.
pub const VERIFY_NOW: &str = "scribe.backube/verify-now";

/// Annotation set by users on a source's PVC, with any value: its copy is made when they ask for it, see [`COPY_TRIGGER`].
pub const USE_COPY_TRIGGER: &str = "scribe.backube/use-copy-trigger";
/// Annotation set by users on a source's PVC: a new value asks for the copy. On a temporary snapshot or clone: the value that asked for it.
pub const COPY_TRIGGER: &str = "scribe.backube/copy-trigger";
/// Annotation that the agent writes on a source's PVC: the value whose copy is there.
pub const LATEST_COPY_TRIGGER: &str = "scribe.backube/latest-copy-trigger";
/// Annotation that the agent writes on a source's PVC: a [`CopyStatus`](crate::core::model::copy::CopyStatus).
pub const LATEST_COPY_STATUS: &str = "scribe.backube/latest-copy-status";
/// Annotation that the agent writes on a source's PVC while it waits for a value: since when, RFC 3339.
pub const LATEST_COPY_WAITING_SINCE: &str = "scribe.backube/latest-copy-trigger-waiting-since";
/// Annotation that the agent writes on a source's PVC: whose status stands there, a [`CopyBy`](crate::core::model::copy::CopyBy) as JSON.
pub const LATEST_COPY_BY: &str = "scribe.backube/latest-copy-by";
