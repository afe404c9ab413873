//! What a spec and the settings say of the mover's pod, read from the pods that ran, and in the data that went through them.

use crate::support::history::{History, Seen};
use crate::support::replication::{SYNC, merged};
use crate::support::s3::SECTION;
use crate::support::site::{SETTINGS, Site, site, site_with};
use crate::support::volume::Claim;
use kube::ResourceExt;
use serde_json::{Value, json};

/// The pod of the object's mover, as it ran.
pub fn pod_of(history: &History, job: &str) -> Value {
    let pods = history.all("Pod");
    let is_its = |seen: &&Seen| seen.object.labels().get("job-name").is_some_and(|name| name == job);
    let pod = pods.iter().rev().find(is_its).unwrap_or_else(|| panic!("no pod of {job}"));
    serde_json::to_value(&pod.object).unwrap()
}

pub fn account(site: &Site, name: &str) {
    site.apply(json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": name } }));
}

/// That `part` stands in `whole`, wherever that has more.
#[track_caller]
pub fn assert_has(whole: &Value, part: &Value) {
    assert_eq!(&merged(whole.clone(), part.clone()), whole, "{part} is not there");
}

/// Every field, on both kinds, beside settings that say something else. The kubelet changes no group or mode of what a push reads, although
/// the pod has an `fsGroup`.
#[tokio::test]
async fn a_pod_is_as_the_spec_says() {
    let settings = format!(
        "{}, mover: {{podLabels: {{team: none, site: edge}}, podAnnotations: {{example.org/scrape: 'no'}}, \
         nodeSelector: {{kubernetes.io/os: linux}}, tolerations: [{{key: backup, operator: Exists}}], \
         priorityClassName: system-cluster-critical, serviceAccountName: common, securityContext: {{runAsUser: 1}}}}}}",
        SETTINGS.strip_suffix('}').unwrap()
    );
    site_with("pod", &settings, async |site| {
        account(site, "own");
        site.secret("keys", &[("key", "value")]);
        let source = site.filled("data").await;
        let before = source.listing();
        let history = site.history().await;
        // Little: with its class it would push the pods of other tests aside.
        let limits = json!({ "memory": "300Mi", "cpu": "200m" });
        let terms = json!([{ "matchExpressions": [{ "key": "kubernetes.io/os", "operator": "In", "values": ["linux"] }] }]);
        let affinity = json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms } } });
        let pod = json!({
            "copyMethod": "Direct",
            "moverResources": { "limits": limits },
            "moverSecurityContext": { "runAsUser": 0, "fsGroup": 4242, "supplementalGroups": [17] },
            "moverServiceAccount": "own",
            "moverPodLabels": { "team": "storage" },
            "moverAffinity": affinity,
            "moverVolumes": [{ "mountPath": "keys", "volumeSource": { "secret": { "secretName": "keys" } } }],
        });
        site.source("push", "data", json!({ "rclone": pod })).synced("first").await;
        source.listing().assert_is(&before);
        site.destination("pull", json!({ "rclone": pod })).synced("first").await;
        site.listing_of_claim("scribe-dest-pull").await.assert_is(&before);

        for job in ["scribe-rclone-src-push", "scribe-rclone-dest-pull"] {
            let ran = pod_of(&history, job);
            assert_has(&ran["metadata"], &json!({ "labels": { "team": "storage", "site": "edge" }, "annotations": { "example.org/scrape": "no" } }));
            assert_has(&ran["spec"], &json!({
                "serviceAccountName": "own",
                "automountServiceAccountToken": false,
                "nodeSelector": { "kubernetes.io/os": "linux" },
                "priorityClassName": "system-cluster-critical",
                "securityContext": { "runAsUser": 0, "fsGroup": 4242, "supplementalGroups": [17], "seccompProfile": { "type": "RuntimeDefault" } },
            }));
            // With copyMethod Direct, the node of the pod that uses the PVC is added to each term.
            let ran_terms = &ran["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
            assert_eq!(ran_terms[0]["matchExpressions"], terms[0]["matchExpressions"], "{ran_terms}");
            let tolerations = ran["spec"]["tolerations"].as_array().unwrap();
            assert!(tolerations.contains(&json!({ "key": "backup", "operator": "Exists" })), "{tolerations:?}");
            let container = &ran["spec"]["containers"][0];
            assert_eq!(container["resources"], json!({ "limits": { "memory": "300Mi", "cpu": "200m" }, "requests": { "memory": "300Mi", "cpu": "200m" } }));
            assert_eq!(container["volumeMounts"][3], json!({ "name": "mnt-0", "mountPath": "/mnt/keys", "readOnly": true }));
        }
    })
    .await;
}

/// A user of its own, on both kinds: no root, no capabilities, and its Secret is readable for it alone.
#[tokio::test]
async fn a_mover_runs_as_another_user() {
    site("user", async |site| {
        let source = site.filled("data").await;
        source.run("chown -R -h 1000:1000 .; chmod -R u+rwX .");
        let history = site.history().await;
        let pod = json!({ "copyMethod": "Direct", "moverSecurityContext": { "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000 } });
        site.source("push", "data", json!({ "rclone": pod })).synced("first").await;
        let pull = site.destination("pull", json!({ "rclone": pod }));
        pull.synced("first").await;
        let contents = "find . -type f -exec sha256sum {} + | sort";
        let pulled = site.hand("scribe-dest-pull").await;
        assert_eq!(pulled.run(contents), source.run(contents));
        for job in ["scribe-rclone-src-push", "scribe-rclone-dest-pull"] {
            let spec = &pod_of(&history, job)["spec"];
            assert_has(&spec["securityContext"], &json!({ "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000 }));
            let rights = &spec["containers"][0]["securityContext"];
            assert_eq!((&rights["runAsNonRoot"], &rights["capabilities"]), (&json!(true), &json!({ "drop": ["ALL"] })));
            assert_eq!(spec["volumes"][1]["secret"]["defaultMode"], 0o440);
        }
    })
    .await;
}

/// Keys that a section of `rclone.conf` looks for in a file, and data that lies on another PVC.
#[tokio::test]
async fn secrets_and_claims_are_mounted() {
    site("mounts", async |site| {
        let config = site.s3.config();
        let option = |name: &str| config.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = ")).unwrap().to_owned();
        let credentials = format!(
            "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
            option("access_key_id"),
            option("secret_access_key")
        );
        site.secret("keys", &[("credentials", &credentials)]);
        let keyless: Vec<_> = config.lines().filter(|line| !line.contains("access_key")).collect();
        let files = "env_auth = true\nshared_credentials_file = /mnt/keys/credentials\n";
        let conf = format!("{}\nregion = us-east-1\n{files}[disk]\ntype = local\n", keyless.join("\n"));
        site.secret("keyless", &[("rclone.conf", &conf)]);

        let source = site.filled("data").await;
        let keys = json!([{ "mountPath": "keys", "volumeSource": { "secret": { "secretName": "keys" } } }]);
        let push = json!({ "copyMethod": "Direct", "rcloneConfig": "keyless", "rcloneConfigSection": SECTION, "moverVolumes": keys });
        site.source("push", "data", json!({ "rclone": push })).synced("first").await;

        site.claim(&Claim { name: "archive", class: None, image: None });
        let archive = site.hand("archive").await;
        archive.run("mkdir tree; echo old >tree/file");
        let disk = json!({
            "copyMethod": "Direct",
            "layout": "Plain",
            "rcloneConfig": "keyless",
            "rcloneConfigSection": "disk",
            "rcloneDestPath": "/mnt/archive/tree",
            "moverVolumes": [{ "mountPath": "archive", "volumeSource": { "persistentVolumeClaim": { "claimName": "archive" } } }],
        });
        site.destination("pull", json!({ "rclone": disk })).synced("first").await;
        let pulled = site.hand("scribe-dest-pull").await;
        assert_eq!(pulled.run("cat file"), "old\n");

        // The volume that it pushes, once more: the kubelet would not start a pod that names a claim twice. And nothing can be written there.
        let twice = json!({
            "copyMethod": "Direct",
            "rcloneConfig": "keyless",
            "rcloneConfigSection": "disk",
            "rcloneDestPath": "/mnt/itself/copy",
            "moverVolumes": [{ "mountPath": "itself", "volumeSource": { "persistentVolumeClaim": { "claimName": "data" } } }],
        });
        let refused = site.source("refused", "data", json!({ "rclone": twice }));
        let status = refused.until("it cannot write there", SYNC, |s| s.last_error.is_some()).await;
        let error = status.last_error.unwrap();
        assert!(error.message.contains("read-only file system"), "{error:?}");
        assert_eq!(source.run("ls -d copy 2>&1 || true").trim(), "ls: copy: No such file or directory");
    })
    .await;
}

/// The proxies of the agent's pod reach rclone: with all of them nothing but what NO_PROXY excepts is reached.
#[tokio::test]
async fn proxies_of_the_agent_are_those_of_the_movers() {
    site("proxies", async |site| {
        let _source = site.filled("data").await;
        let nowhere = "http://127.0.0.1:9";
        let set = |except: &str| {
            let both = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"].map(|name| format!("{name}={nowhere}"));
            let except = ["NO_PROXY", "no_proxy"].map(|name| format!("{name}={except}"));
            let variables: Vec<&str> = both.iter().chain(&except).map(String::as_str).collect();
            site.kubectl(&[&["set", "env", "deployment/scribe-agent"], &variables[..]].concat());
            site.kubectl(&["rollout", "status", "deployment/scribe-agent", "--timeout=60s"]);
        };
        set(".svc,10.0.0.0/8");
        let history = site.history().await;
        let push = site.source("push", "data", json!({ "rclone": { "copyMethod": "Direct" } }));
        push.synced("first").await;
        let environment = pod_of(&history, "scribe-rclone-src-push")["spec"]["containers"][0]["env"].clone();
        for (name, value) in [
            ("HTTP_PROXY", nowhere),
            ("http_proxy", nowhere),
            ("HTTPS_PROXY", nowhere),
            ("https_proxy", nowhere),
            ("NO_PROXY", ".svc,10.0.0.0/8"),
            ("no_proxy", ".svc,10.0.0.0/8"),
        ] {
            assert!(environment.as_array().unwrap().contains(&json!({ "name": name, "value": value })), "{name}: {environment}");
        }

        set("example.org");
        push.patch(json!({ "trigger": { "manual": "second" } })).await;
        let status = push.until("the proxy does not answer", SYNC, |s| s.last_error.is_some()).await;
        let error = status.last_error.unwrap();
        assert!(error.reason == "Unreachable" && error.message.contains("127.0.0.1:9"), "{error:?}");
    })
    .await;
}
