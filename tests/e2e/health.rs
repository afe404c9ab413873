//! What the agent tells of itself over HTTP, through the Service that `kustomize/base` makes.

use crate::support::site::{Site, site};
use crate::support::until::until;
use serde_json::{Value, json};

fn get(site: &Site, path: &str) -> String {
    let service = format!("/api/v1/namespaces/{}/services/scribe-agent:http/proxy", site.namespace);
    site.kubectl(&["get", "--raw", &format!("{service}{path}")])
}

#[tokio::test]
async fn the_agent_reports_how_old_the_data_is() {
    site("health", async |site| {
        let _source = site.filled("data").await;
        let push = site.source("push", "data", json!({ "rclone": { "copyMethod": "Direct" } }));
        push.synced("first").await;
        site.agent().await;
        for path in ["/livez", "/readyz"] {
            assert_eq!(get(site, path), "ok\n");
        }
        let health = until("the agent has seen its own last write", 10, async || {
            let health: Value = serde_json::from_str(&get(site, "/healthz")).unwrap();
            if health["replications"][0]["ready"] == true { Ok(health) } else { Err(health) }
        })
        .await;
        let told = &health["replications"][0];
        assert_eq!(
            (&told["kind"], &told["name"], &told["state"]),
            (&json!("ReplicationSource"), &json!("push"), &json!("WaitingForManual"))
        );
        assert!(told["dataAgeSeconds"].as_u64().is_some_and(|age| age < 200), "{told:#}");

        let metrics = get(site, "/metrics");
        for line in [
            r#"scribe_sync_total{kind="ReplicationSource",name="push",result="success",reason="SyncCompleted"} 1"#,
            r#"scribe_stalled{kind="ReplicationSource",name="push"} 0.0"#,
            "scribe_config_reload_success 1",
        ] {
            assert!(metrics.lines().any(|l| l == line), "{line} is missing from\n{metrics}");
        }
        push.delete().await;
        until("a deleted object's series are gone", 30, async || {
            let metrics = get(site, "/metrics");
            if metrics.contains(r#"name="push""#) { Err(metrics) } else { Ok(()) }
        })
        .await;
    })
    .await;
}
