//! Overlays that give the base's objects other names: agent and movers work as they do under their own.

use crate::support::replication::image_of;
use crate::support::site::{Site, site_overlaid};
use serde_json::json;

/// Both kinds sync, with ServiceAccounts of these names alone: the cluster refuses a pod whose account does not exist.
async fn assert_works(site: &Site, agent: &str, mover: &str) {
    let text = site.kubectl(&["get", "serviceaccounts", "--output=jsonpath={.items[*].metadata.name}"]);
    let mut accounts: Vec<_> = text.split_whitespace().filter(|name| *name != "default").collect();
    accounts.sort_unstable();
    let mut expected = [agent, mover];
    expected.sort_unstable();
    assert_eq!(accounts, expected);
    let source = site.filled("data").await;
    let history = site.history().await;
    site.source("push", "data", json!({})).synced("first").await;
    let image = image_of(&site.destination("pull", json!({})).synced("first").await);
    site.listing_of_image(&image).await.assert_is(&source.listing());
    let jobs = history.made("Job");
    assert!(["scribe-rclone-src-push", "scribe-rclone-dest-pull"].iter().all(|job| jobs.iter().any(|made| made == job)), "{jobs:?}");
}

/// The agent runs movers by an account whose name is in no manifest that kustomize knows.
#[tokio::test]
async fn names_with_a_prefix_and_a_suffix() {
    site_overlaid("prefixed", "namePrefix: teamx-\nnameSuffix: -eu", async |site| {
        assert_works(site, "teamx-scribe-agent-eu", "teamx-scribe-mover-eu").await;
    })
    .await;
}

#[tokio::test]
async fn a_service_account_of_another_name() {
    let renamed = "patches:\n- target: {kind: ServiceAccount, name: scribe-mover}\n  \
                   patch: '[{\"op\": \"replace\", \"path\": \"/metadata/name\", \"value\": \"movers\"}]'\n  \
                   options: {allowNameChange: true}";
    site_overlaid("renamed", renamed, async |site| assert_works(site, "scribe-agent", "movers").await).await;
}
