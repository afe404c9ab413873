//! What the tests are written with.
//!
//! `cluster` and `until` first; on them `namespace`, `overlay` and `s3`; on those `site`, of which all others are parts.

pub mod chance;
pub mod closely;
pub mod cluster;
pub mod copies;
pub mod database;
pub mod dump;
pub mod history;
pub mod host;
pub mod namespace;
pub mod overlay;
pub mod replication;
pub mod s3;
pub mod seeds;
pub mod site;
pub mod until;
pub mod versions;
pub mod volume;
