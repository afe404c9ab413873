//! Read access to all objects of the namespace, both kinds alike.
//!
//! Imports `cluster::view`, `core`, `api`.

use crate::api::{ReplicationDestination, ReplicationSource};
use crate::cluster::view::{Replicated, Replication};
use kube::runtime::reflector::Store;

/// The stores of both kinds.
#[derive(Clone)]
pub struct Objects {
    /// Sources.
    pub sources: Store<ReplicationSource>,
    /// Destinations.
    pub destinations: Store<ReplicationDestination>,
}

impl Objects {
    /// All objects, sources first, each kind by name.
    pub fn all(&self) -> Vec<Replication> {
        let mut all: Vec<_> = self.sources.state().iter().map(|o| o.replication()).collect();
        all.extend(self.destinations.state().iter().map(|o| o.replication()));
        all.sort_by(|a, b| (a.object.kind, &a.object.name).cmp(&(b.object.kind, &b.object.name)));
        all
    }

    /// Waits until the first lists are in.
    ///
    /// # Errors
    /// When the watches have ended, which means that the agent is shutting down.
    pub async fn ready(&self) -> anyhow::Result<()> {
        self.sources.wait_until_ready().await?;
        self.destinations.wait_until_ready().await?;
        Ok(())
    }
}
