//! A volume: its paths and entries, how they are walked, read and hashed.

pub mod batch;
pub mod beneath;
pub mod entry;
pub mod exclude;
pub mod hash;
pub mod holes;
pub mod merge_join;
pub mod path;
pub(crate) mod vanished;
pub mod walk;
pub mod xattrs;

/// Where a pull keeps what it fetched, on the volume, until all of it is verified.
pub const STAGING_DIR: &str = ".scribe-staging";
/// Made by mkfs in the root of a file system; never replicated.
pub const LOST_AND_FOUND: &str = "lost+found";
/// Longest component that a file system takes, and so the longest that is pulled.
pub const LONGEST_NAME: usize = 255;
/// Bytes of a path that a system call takes.
pub const LONGEST_PATH: usize = 4095;
