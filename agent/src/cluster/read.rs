//! Refresh reads, for decisions that a cache must not make.

use super::pace::causes;
use super::slim;
use super::view::{Replicated, Replication};
use crate::api::{ReplicationDestination, ReplicationSource, labels};
use crate::core::model::facts::{Kind, Role};
use crate::manifests::job::CONTAINER;
use kube::api::{ListParams, LogParams};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Reads from one namespace.
#[derive(Clone)]
pub struct Reader {
    client: Client,
    namespace: String,
    events_unreadable: Arc<AtomicBool>,
}

impl Reader {
    /// Reads from `namespace`.
    pub fn new(client: Client, namespace: &str) -> Self {
        Reader { client, namespace: namespace.to_owned(), events_unreadable: Arc::default() }
    }

    /// The object as it is now; none where it is gone.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn replication(&self, kind: Kind, name: &str) -> kube::Result<Option<Replication>> {
        match kind {
            Kind::Source => self.get::<ReplicationSource>(name).await,
            Kind::Destination => self.get::<ReplicationDestination>(name).await,
        }
    }

    async fn get<K>(&self, name: &str) -> kube::Result<Option<Replication>>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Replicated + Clone + Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.namespace);
        Ok(api.get_opt(name).await?.map(|object| object.replication()))
    }

    /// All claims of the namespace.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn claims(&self) -> kube::Result<Vec<slim::Claim>> {
        self.list(&ListParams::default()).await
    }

    /// The snapshots that belong to `owner`; nothing where the API server does not serve snapshots, which says nothing of those that there
    /// may be: the answer is the same while their CRD is only away for a moment.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn snapshots(&self, owner: &str) -> kube::Result<Option<Vec<slim::Snapshot>>> {
        match self.list(&of(owner)).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            other => other.map(Some),
        }
    }

    /// The Jobs that belong to `owner`.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn jobs(&self, owner: &str) -> kube::Result<Vec<slim::Job>> {
        self.list(&of(owner)).await
    }

    /// All mover pods of the namespace: those of an object that is no more matter to the next of its name.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn movers(&self) -> kube::Result<Vec<slim::Pod>> {
        let movers = format!("{}={},{}={}", labels::MANAGED_BY, labels::MANAGER, labels::COMPONENT, Role::Mover.as_str());
        self.list(&ListParams::default().labels(&movers)).await
    }

    /// The last lines that a mover printed.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn last_words(&self, pod: &str) -> kube::Result<String> {
        let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        pods.logs(
            pod,
            &LogParams { container: Some(CONTAINER.to_owned()), tail_lines: Some(20), limit_bytes: Some(16_384), ..LogParams::default() },
        )
        .await
    }

    /// All warnings of the namespace's events; nothing where they cannot be read, which is logged when it begins.
    pub async fn warnings(&self) -> Option<Vec<slim::ClusterEvent>> {
        let read = self.list(&ListParams::default().fields("type=Warning")).await;
        let failed_before = self.events_unreadable.swap(read.is_err(), Ordering::Relaxed);
        match read {
            Ok(events) => Some(events),
            Err(error) => {
                if !failed_before {
                    tracing::warn!(error = causes(&error), "cannot list events; failure messages will not include the cluster's reasons");
                }
                None
            }
        }
    }

    async fn list<K>(&self, params: &ListParams) -> kube::Result<Vec<K>>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.namespace);
        Ok(api.list(params).await?.items)
    }
}

fn of(owner: &str) -> ListParams {
    ListParams::default().labels(&format!("{}={owner}", labels::OWNER_UID))
}
