//! Fresh reads, for decisions that a cache must not make.

use super::consumers::User;
use super::slim;
use super::view::{Replicated, Replication};
use crate::api::{ReplicationDestination, ReplicationSource, labels};
use crate::core::model::facts::{Kind, Role};
use crate::manifests::job::CONTAINER;
use kube::api::{ListParams, LogParams};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Page size of lists: many reconciles may read at a time, in a namespace of any size.
const PAGE: u32 = 100;

/// Reads from one namespace.
#[derive(Clone)]
pub struct Reader {
    client: Client,
    namespace: String,
}

impl Reader {
    /// Reads from `namespace`.
    pub fn new(client: Client, namespace: &str) -> Self {
        Reader { client, namespace: namespace.to_owned() }
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

    /// The first by name of the sources or destinations of the namespace that `is` tells of; where the kind is not served, there is none.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn first<K>(&self, is: impl Fn(&K) -> bool) -> kube::Result<Option<String>>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Replicated + Clone + Debug + DeserializeOwned,
    {
        let mut first: Option<String> = None;
        let see = |page: Vec<K>| {
            let names = page.iter().filter(|object| is(object)).filter_map(|object| object.meta().name.clone());
            first = first.take().into_iter().chain(names).min();
        };
        match self.pages(&ListParams::default(), see).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            read => read.map(|()| first),
        }
    }

    /// Shows `see` all claims of the namespace, a page at a time.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn claims(&self, see: impl FnMut(Vec<slim::Claim>)) -> kube::Result<()> {
        self.pages(&ListParams::default(), see).await
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

    /// Shows `see` all movers' Jobs of the namespace, a page at a time: those of other destinations matter where they pull into the same PVC.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn all_jobs(&self, see: impl FnMut(Vec<slim::Job>)) -> kube::Result<()> {
        self.pages(&movers(), see).await
    }

    /// Shows `see` all mover pods of the namespace, a page at a time: those of an object that is no more matter to the next of its name.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn movers(&self, see: impl FnMut(Vec<slim::Pod>)) -> kube::Result<()> {
        self.pages(&movers(), see).await
    }

    /// Shows `see` all pods of the namespace, whoever they belong to, a page at a time.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn pods(&self, see: impl FnMut(Vec<User>)) -> kube::Result<()> {
        self.pages(&ListParams::default(), see).await
    }

    /// The last lines that a mover printed.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn last_lines(&self, pod: &str) -> kube::Result<String> {
        let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        pods.logs(
            pod,
            &LogParams { container: Some(CONTAINER.to_owned()), tail_lines: Some(20), limit_bytes: Some(16_384), ..LogParams::default() },
        )
        .await
    }

    /// Shows `see` all warnings of the namespace's events, one after another.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn warnings(&self, mut see: impl FnMut(&slim::ClusterEvent)) -> kube::Result<()> {
        self.pages(&ListParams::default().fields("type=Warning"), |events| events.iter().for_each(&mut see)).await
    }

    async fn list<K>(&self, params: &ListParams) -> kube::Result<Vec<K>>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let mut all = Vec::new();
        self.pages(params, |page| all.extend(page)).await?;
        Ok(all)
    }

    /// A list in pages, each of which is dropped before the next one is read.
    async fn pages<K>(&self, params: &ListParams, mut see: impl FnMut(Vec<K>)) -> kube::Result<()>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut params = params.clone().limit(PAGE);
        loop {
            let page = api.list(&params).await?;
            let next = page.metadata.continue_.filter(|token| !token.is_empty());
            see(page.items);
            match next {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(()),
            }
        }
    }
}

fn movers() -> ListParams {
    let movers = format!("{}={},{}={}", labels::MANAGED_BY, labels::MANAGER, labels::COMPONENT, Role::Mover.as_str());
    ListParams::default().labels(&movers)
}

fn of(owner: &str) -> ListParams {
    ListParams::default().labels(&format!("{}={owner}", labels::OWNER_UID))
}
