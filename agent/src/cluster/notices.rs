//! Events on the agent's own pod: what concerns no single object.

use crate::api::reason::Reason;
use crate::manifests::event;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::api::PostParams;
use kube::{Api, Client};

/// Publishes them.
#[derive(Clone)]
pub struct Notices {
    client: Client,
    namespace: String,
    pod: String,
    uid: String,
}

impl Notices {
    /// On the pod with this name and UID.
    pub fn new(client: Client, namespace: &str, pod: &str, uid: &str) -> Self {
        Notices { client, namespace: namespace.to_owned(), pod: pod.to_owned(), uid: uid.to_owned() }
    }

    /// Publishes a warning; one that is there already is as good as published.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn publish(&self, reason: Reason, note: &str) -> kube::Result<()> {
        let body = event::of_the_agent(&self.namespace, &self.pod, &self.uid, reason, note, Timestamp::now());
        let event: Event = serde_json::from_value(body).map_err(kube::Error::SerdeError)?;
        match Api::<Event>::namespaced(self.client.clone(), &self.namespace).create(&PostParams::default(), &event).await {
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
            other => other.map(|_| ()),
        }
    }
}
