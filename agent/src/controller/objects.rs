//! Read access to all objects of the namespace, both kinds alike.
//!
//! Imports `cluster::view`, `core`, `api`.

use crate::api::{ReplicationDestination, ReplicationSource};
use crate::cluster::view::{Replicated, Replication};
use crate::core::facts::Kind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
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

    /// The object with this UID.
    pub fn owner(&self, uid: &str) -> Option<(Kind, String)> {
        let is = |meta: &ObjectMeta| meta.uid.as_deref() == Some(uid);
        let source = self.sources.find(|o| is(&o.metadata)).map(|o| (Kind::Source, o.name_any()));
        source.or_else(|| self.destinations.find(|o| is(&o.metadata)).map(|o| (Kind::Destination, o.name_any())))
    }

    /// The objects whose spec names this claim of the user's.
    pub fn users_of(&self, claim: &str) -> Vec<(Kind, String)> {
        let sources = self.sources.state().into_iter().filter(|o| o.spec.source_pvc == claim).map(|o| (Kind::Source, o.name_any()));
        let destinations = self.destinations.state().into_iter();
        let destinations = destinations.filter(|o| o.spec.rclone.destination_pvc.as_deref() == Some(claim));
        sources.chain(destinations.map(|o| (Kind::Destination, o.name_any()))).collect()
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
