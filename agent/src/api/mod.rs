//! The API `scribe.backube/v1alpha1`: what users write and read with kubectl.
//!
//! The CRDs in `kustomize/crds` are generated from these types.

pub mod crd;
pub mod destination;
pub mod guard;
pub mod labels;
pub mod mover;
pub mod pin;
pub mod quantity;
pub mod rclone;
pub mod reason;
pub mod recorded;
pub mod retention;
pub mod source;
pub mod status;
pub mod trigger;

pub use destination::{ReplicationDestination, ReplicationDestinationSpec};
pub use source::{ReplicationSource, ReplicationSourceSpec};
pub use status::Status;

/// The API group of both kinds.
pub const GROUP: &str = "scribe.backube";
/// The served and stored version.
pub const VERSION: &str = "v1alpha1";
