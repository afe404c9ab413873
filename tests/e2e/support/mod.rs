//! What the tests are written with. Imports nothing of the tests.

pub mod cluster;
pub mod dump;
pub mod namespace;
pub mod overlay;
pub mod until;
