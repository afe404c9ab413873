//! What is known of an object that the current revision does not refer to any more.

use std::time::Duration;

/// An object that the current revision does not refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dead<Id> {
    /// Its name.
    pub id: Id,
    /// Bytes of it.
    pub size: u64,
    /// The first generation that refers to it.
    pub written: u64,
    /// The first one after it that does not.
    pub died: u64,
    /// The push since which no retained revision has referred to it either. Nothing as long as one does.
    pub since: Option<Since>,
}

/// A push, and what the meters of its manifest showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    /// Its generation.
    pub generation: u64,
    /// The meter for the full grace.
    pub full: Duration,
    /// The meter for the brief one.
    pub brief: Duration,
}

impl<Id> Dead<Id> {
    /// Whether the revision of a generation refers to it.
    pub fn is_of(&self, generation: u64) -> bool {
        (self.written..self.died).contains(&generation)
    }
}
