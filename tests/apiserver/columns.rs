//! What `kubectl get` shows.

use crate::objects::Kind::{Destination, Source};
use crate::objects::{Kind, apply_status, changed, client_with_crds, stored};
use crate::support::cluster::kubectl;
use rstest::rstest;
use serde_json::{Value, json};

/// Stands for an age, which grows while the test runs.
const AGE: &str = "<age>";

#[rstest]
#[case::source(
    Source,
    "rsrc",
    json!({"trigger": {"schedule": "*/6 * * * *"}}),
    json!({"trigger": "Schedule", "nextSyncTime": "2020-01-01T00:06:00Z", "nextStartTime": "2030-01-01T00:06:00Z"}),
    &[("PVC", "claim"), ("TRIGGER", "Schedule"), ("SCHEDULE", "*/6 * * * *"), ("LAST SYNC", AGE), ("NEXT SYNC", "2030-01-01T00:06:00Z"), ("READY", "True"), ("REASON", "Backoff")]
)]
#[case::destination(
    Destination,
    "rdst",
    json!({}),
    json!({"trigger": "Continuous", "latestImage": {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "image-1"}, "dataTime": "2021-01-19T22:15:00Z"}),
    &[("TRIGGER", "Continuous"), ("IMAGE", "image-1"), ("LAST SYNC", AGE), ("DATA AGE", AGE), ("READY", "True"), ("REASON", "Backoff")]
)]
#[tokio::test]
async fn a_list_shows_what_a_person_asks_first(
    #[case] kind: Kind,
    #[case] short_name: &str,
    #[case] spec: Value,
    #[case] mut status: Value,
    #[case] expected: &[(&str, &str)],
) {
    let client = client_with_crds().await;
    let shown = stored(&client, kind, &changed(kind, &spec), async |name, version| {
        let time = "2021-01-19T22:16:02Z";
        status["lastSyncTime"] = json!(time);
        (status["reason"], status["message"]) = (json!("Backoff"), json!("in a sentence"));
        status["conditions"] = json!([{"type": "Ready", "status": "True", "reason": "Synced", "message": "", "lastTransitionTime": time}]);
        apply_status(&client, kind, name, version, &status).await.unwrap();
        let get = ["--namespace", crate::objects::NAMESPACE, "get", short_name, name];
        let wide = kubectl(&[&get[..], &["--output=wide"]].concat());
        assert!(wide.contains("MESSAGE") && wide.contains("in a sentence"), "{wide}");
        kubectl(&get)
    })
    .await;

    let mut lines = shown.lines().map(|line| line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>());
    let (heads, mut cells) = (lines.next().unwrap(), lines.next().unwrap());
    assert_eq!(heads, [&["NAME"], &expected.iter().map(|(head, _)| *head).collect::<Vec<_>>()[..]].concat());
    for (cell, (head, wanted)) in cells.iter_mut().skip(1).zip(expected) {
        if *wanted == AGE {
            assert!(cell.starts_with(|c: char| c.is_ascii_digit()), "{head} is no age: {cell}");
            *cell = AGE;
        }
    }
    assert_eq!(cells[1..], expected.iter().map(|(_, cell)| *cell).collect::<Vec<_>>());
}

/// One word lists both kinds.
#[tokio::test]
async fn the_category_lists_both_kinds() {
    let client = client_with_crds().await;
    stored(&client, Source, &Source.minimal(), async |source, _| {
        stored(&client, Destination, &Destination.minimal(), async |destination, _| {
            let listed = kubectl(&["--namespace", crate::objects::NAMESPACE, "get", "scribe", "--output=name"]);
            for (kind, name) in [("replicationsource", source), ("replicationdestination", destination)] {
                let wanted = format!("{kind}.scribe.backube/{name}");
                assert!(listed.lines().any(|line| line == wanted), "{wanted} is not in:\n{listed}");
            }
        })
        .await;
    })
    .await;
}
