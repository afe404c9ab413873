//! All that a spec can say of movers at once, in a namespace that takes pods of the profile `restricted` alone: an own user, resources, labels,
//! affinity, mounts, account, certificate authority and patterns, with volumes that other pods use.

use crate::custom_ca::{config_map, secured};
use crate::mover_pod::{account, assert_has, pod_of};
use crate::restricted::{relax, restrict};
use crate::support::site::site;
use crate::support::volume::Claim;
use serde_json::json;

#[tokio::test]
async fn every_field_at_once() {
    site("together", async |site| {
        let source = site.filled("data").await;
        source.run("chown -R -h 1000:1000 .; chmod -R u+rwX .; echo scratch >deep/scratch.tmp; mkdir cache; echo c >cache/c; chown -R 1000:1000 .");
        site.claim(&Claim { name: "theirs", class: None, image: None });
        let theirs = site.hand("theirs").await;
        theirs.run("echo not of the source >to-be-deleted; chown -R 1000:1000 .");
        let authority = secured(site);
        config_map(site, "authority", "ca.crt", &authority);
        account(site, "own");
        site.secret("keys", &[("key", "value")]);
        restrict(site);

        let history = site.history().await;
        let terms = json!([{ "matchExpressions": [{ "key": "kubernetes.io/os", "operator": "In", "values": ["linux"] }] }]);
        let pod = json!({
            "moverResources": { "limits": { "memory": "300Mi", "cpu": 1 }, "requests": { "memory": "64Mi", "cpu": "20m" } },
            "moverSecurityContext": { "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000, "runAsNonRoot": true },
            "moverPodLabels": { "team": "storage" },
            "moverAffinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms } } },
            "moverVolumes": [{ "mountPath": "keys", "volumeSource": { "secret": { "secretName": "keys" } } }],
            "moverServiceAccount": "own",
            "customCA": { "configMapName": "authority", "key": "ca.crt" },
            "copyMethod": "Direct",
        });
        let mut push = pod.clone();
        push["exclude"] = json!(["*.tmp", "/cache/"]);
        let mut pull = pod;
        (pull["destinationPVC"], pull["capacity"]) = (json!("theirs"), json!(null));
        let pushed = site.source("push", "data", json!({ "rclone": push })).synced("first").await;
        let pulled = site.destination("pull", json!({ "rclone": pull })).synced("first").await;
        assert_eq!((&pulled.revision, pulled.files, pulled.bytes), (&pushed.revision, pushed.files, pushed.bytes));
        assert_eq!(pulled.latest_image.unwrap().name, "theirs");

        for (job, claim) in [("scribe-rclone-src-push", "data"), ("scribe-rclone-dest-pull", "theirs")] {
            let ran = pod_of(&history, job);
            assert_has(&ran["metadata"], &json!({ "labels": { "team": "storage" } }));
            assert_has(&ran["spec"], &json!({
                "serviceAccountName": "own",
                "automountServiceAccountToken": false,
                "securityContext": {
                    "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000, "runAsNonRoot": true, "fsGroupChangePolicy": "OnRootMismatch",
                    "seccompProfile": { "type": "RuntimeDefault" },
                },
            }));
            let container = &ran["spec"]["containers"][0];
            assert_eq!(container["resources"], json!({ "limits": { "memory": "300Mi", "cpu": "1" }, "requests": { "memory": "64Mi", "cpu": "20m" } }));
            assert_has(&container["securityContext"], &json!({
                "runAsNonRoot": true, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
            }));
            let mounts = container["volumeMounts"].as_array().unwrap();
            assert!(mounts.contains(&json!({ "name": "mnt-0", "mountPath": "/mnt/keys", "readOnly": true })), "{mounts:?}");
            let volumes = ran["spec"]["volumes"].as_array().unwrap();
            assert!(volumes.iter().any(|volume| volume["persistentVolumeClaim"]["claimName"] == claim), "{volumes:?}");
            assert!(volumes.iter().any(|volume| volume.to_string().contains("authority")), "{volumes:?}");
            // The node of the pod that uses the volume beside what the spec asks for, in the same term.
            let ran_terms = &ran["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
            assert_eq!(ran_terms.as_array().map(Vec::len), Some(1), "{ran_terms}");
            assert_eq!(ran_terms[0]["matchExpressions"], terms[0]["matchExpressions"], "{ran_terms}");
            assert_eq!(ran_terms[0]["matchFields"][0]["values"][0], ran["spec"]["nodeName"], "{ran_terms}");
        }

        relax(site);
        let contents = "find . -type f -exec sha256sum {} + | sort; find . -type d | sort; find . -type l -exec readlink {} \\; | sort";
        source.run("rm -r cache deep/scratch.tmp");
        assert_eq!(theirs.run(contents), source.run(contents));
    })
    .await;
}
