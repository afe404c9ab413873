//! What every step of a push or pull has at hand, whatever the remote.

use std::sync::Arc;

use super::progress::Progress;
use crate::error::Result;
use crate::scratch::Scratch;
use crate::stop::Stop;

/// Clones are the same.
#[derive(Clone, Debug)]
pub struct Context {
    /// Ends it early.
    pub stop: Stop,
    /// Where lists, documents and outputs go.
    pub scratch: Arc<Scratch>,
    /// Where statistics go.
    pub progress: Progress,
}

impl Context {
    /// With a temporary directory of its own.
    pub fn new(stop: Stop, progress: Progress) -> Result<Self> {
        Ok(Self { stop, scratch: Arc::new(Scratch::new()?), progress })
    }
}
