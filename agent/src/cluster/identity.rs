//! Who the agent itself is: what its movers inherit from its own pod.

use super::pace::{Pace, Pacing, Trouble, causes};
use super::proxies;
use super::slim::resource;
use anyhow::{Context, Result};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client, Resource};
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;
use std::time::Instant;

/// What movers inherit: kustomize rewrites only `image:` fields, so the agent's pod is the one place that has them.
#[derive(Clone, Debug, Default)]
pub struct Inherited {
    /// UID of that pod.
    pub uid: String,
    /// Image.
    pub image: String,
    /// When it is pulled.
    pub image_pull_policy: Option<String>,
    /// Names of Secrets to pull it with.
    pub image_pull_secrets: Vec<String>,
    /// The proxies of its environment.
    pub proxies: Vec<Value>,
}

#[derive(Deserialize, Clone, Debug)]
struct OwnPod {
    metadata: ObjectMeta,
    spec: OwnSpec,
}
resource!(OwnPod, "", "v1", "Pod", "pods");

#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
struct OwnSpec {
    containers: Vec<OwnContainer>,
    #[serde(default)]
    image_pull_secrets: Vec<Named>,
}

#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
struct OwnContainer {
    name: String,
    image: String,
    image_pull_policy: Option<String>,
    #[serde(default)]
    env: Vec<Value>,
    #[serde(default)]
    env_from: Vec<Value>,
}

#[derive(Deserialize, Clone, Debug)]
struct Named {
    name: String,
}

/// Longest pause between two attempts to read the agent's own pod.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(15);

/// Reads the agent's own pod. Waits for an API server that is away and for a verb that is missing: ending would only make the kubelet wait
/// longer each time.
///
/// # Errors
/// When the API server says that the pod cannot be read: without it no mover could be started.
pub async fn inherited(client: &Client, namespace: &str, pod: &str) -> Result<Inherited> {
    let api: Api<OwnPod> = Api::namespaced(client.clone(), namespace);
    let mut pace = Pace::new(Pacing { away: LONGEST_PAUSE, absent: LONGEST_PAUSE, ..Pacing::default() }, Instant::now());
    let own = loop {
        let error = match api.get(pod).await {
            Err(error) if !is_final(&error) => error,
            other => break other.with_context(|| format!("reading the agent's own pod {namespace}/{pod}"))?,
        };
        let setback = pace.failed(Trouble::from(&error), Instant::now());
        if setback.news {
            tracing::warn!(error = causes(&error), pod, "cannot read the agent's own pod yet; retrying");
        }
        tokio::time::sleep(setback.delay).await;
    };
    let containers = &own.spec.containers;
    let container = containers.iter().find(|c| c.name == "agent").or_else(|| containers.first());
    let container = container.with_context(|| format!("the agent's own pod {namespace}/{pod} has no container"))?;
    Ok(Inherited {
        uid: own.metadata.uid.clone().unwrap_or_default(),
        image: container.image.clone(),
        image_pull_policy: container.image_pull_policy.clone(),
        proxies: proxies::of(&container.env, &container.env_from, |name| std::env::var_os(name).is_some()),
        image_pull_secrets: own.spec.image_pull_secrets.into_iter().map(|s| s.name).collect(),
    })
}

/// Whether the same question would get the same answer again.
fn is_final(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 400 | 404))
}
