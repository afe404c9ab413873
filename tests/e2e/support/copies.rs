//! The copy trigger of a claim, as a user's script sees and sets it.

use super::site::Site;
use super::until::until;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Api;
use std::collections::BTreeMap;

impl Site {
    /// Sets an annotation of a claim.
    pub fn annotate_claim(&self, claim: &str, key: &str, value: &str) {
        self.kubectl(&["annotate", "pvc", claim, &format!("scribe.backube/{key}={value}"), "--overwrite"]);
    }

    /// The annotations of a claim that have to do with its copies, without their prefix.
    pub async fn copy_of(&self, claim: &str) -> BTreeMap<String, String> {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), &self.namespace);
        let all = api.get(claim).await.unwrap().metadata.annotations.unwrap_or_default();
        all.into_iter().filter_map(|(key, value)| Some((key.strip_prefix("scribe.backube/")?.to_owned(), value))).collect()
    }

    /// Waits until an annotation of a claim has this value, and returns all of them.
    pub async fn until_copy(&self, claim: &str, key: &str, value: &str) -> BTreeMap<String, String> {
        until(&format!("{key} of PVC {claim} is {value}"), super::replication::SYNC, async || {
            let copy = self.copy_of(claim).await;
            if copy.get(key).is_some_and(|found| found == value) { Ok(copy) } else { Err(copy) }
        })
        .await
    }
}
