//! The mover's pod in a spec: what is accepted and kept as it was written, and what is refused.

use crate::objects::Kind::{Destination, Source};
use crate::objects::{Kind, changed, tried};
use crate::refused::refuses;
use rstest::rstest;
use serde_json::{Value, json};

/// What users of VolSync have in their files is stored as it stands: nothing of it is unknown to the schema, which would drop it.
#[rstest]
#[case::resources("moverResources", json!({"limits": {"memory": "1Gi", "cpu": 2}, "requests": {"cpu": "10m", "memory": 1_073_741_824, "nvidia.com/gpu": "1"}}))]
#[case::a_request_alone("moverResources", json!({"requests": {"ephemeral-storage": "1.5Gi"}}))]
#[case::a_user_and_groups("moverSecurityContext", json!({"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000, "fsGroupChangePolicy": "OnRootMismatch", "supplementalGroups": [5, 6]}))]
#[case::root("moverSecurityContext", json!({"runAsUser": 0, "runAsNonRoot": false}))]
#[case::a_profile("moverSecurityContext", json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}, "seLinuxOptions": {"level": "s0:c1,c2"}, "sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}]}))]
#[case::an_account("moverServiceAccount", json!("my.account-1"))]
#[case::labels("moverPodLabels", json!({"team": "storage", "example.org/cost_centre": "", "app.kubernetes.io/part-of": "Site-7.x"}))]
#[case::an_affinity("moverAffinity", json!({
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "pool", "operator": "In", "values": ["backup"]}]}]},
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 5, "preference": {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}}],
    },
    "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "db"}}}]},
    "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": {"topologyKey": "zone", "namespaceSelector": {}}}]},
}))]
#[case::volumes("moverVolumes", json!([
    {"mountPath": "keys", "volumeSource": {"secret": {"secretName": "s", "defaultMode": 288, "optional": true, "items": [{"key": "k", "path": "p", "mode": 256}]}}},
    {"mountPath": "Other_1.x", "volumeSource": {"persistentVolumeClaim": {"claimName": "c", "readOnly": true}}},
    {"mountPath": "again", "volumeSource": {"persistentVolumeClaim": {"claimName": "c"}}},
]))]
#[case::an_authority_in_a_secret("customCA", json!({"secretName": "ca", "key": "tls.crt"}))]
#[case::an_authority_in_a_config_map("customCA", json!({"configMapName": "ca", "key": "ca_bundle-1.pem"}))]
#[tokio::test]
async fn a_pod_is_kept_as_it_is_written(#[values(Source, Destination)] kind: Kind, #[case] field: &str, #[case] value: Value) {
    let stored = tried(kind, &changed(kind, &json!({ "rclone": { field: value } }))).await.unwrap();
    assert_eq!(stored.data["spec"]["rclone"][field], value);
}

const AMOUNT: &str = "write amounts such as 500m of cpu or 1Gi of memory";
const ABOVE: &str = "a request is more than its limit: lower the request or raise the limit";
const BOTH: &str = "runAsUser 0 is root, which runAsNonRoot forbids: remove one of the two";
const ACCOUNT: &str = "write the name of a ServiceAccount of this namespace, such as 'scribe-mover'";
const LABEL: &str = "write labels whose names are such as 'team' or 'example.org/team'";
const VALUE: &str = "write label values of letters, digits, '-', '_' and '.', which begin and end with a letter or digit";
const OURS: &str = "the labels scribe.backube/…, batch.kubernetes.io/…, app.kubernetes.io/name, managed-by and component, controller-uid and job-name are how movers are found: remove them";
const FOLDER: &str = "write the name of a folder below /mnt, such as 'keys', without slashes";
const ONE: &str = "write secret or persistentVolumeClaim, one of the two";

const NAMED: &str = "write secretName or configMapName, one of the two";

fn volumes(source: &Value) -> Value {
    json!([{ "mountPath": "a", "volumeSource": source }])
}

fn mounted_at(folder: &str) -> Value {
    json!([{ "mountPath": folder, "volumeSource": { "secret": { "secretName": "s" } } }])
}

#[rstest]
#[case::an_amount_in_words("moverResources", json!({"limits": {"memory": "1 GB"}}), AMOUNT)]
#[case::a_negative_amount("moverResources", json!({"requests": {"cpu": "-1"}}), AMOUNT)]
#[case::a_request_above_its_limit("moverResources", json!({"requests": {"memory": "2Gi"}, "limits": {"memory": "1024Mi"}}), ABOVE)]
#[case::a_number_above_its_limit("moverResources", json!({"requests": {"cpu": 1}, "limits": {"cpu": "999m"}}), ABOVE)]
#[case::root_that_is_none("moverSecurityContext", json!({"runAsUser": 0, "runAsNonRoot": true}), BOTH)]
#[case::a_negative_user("moverSecurityContext", json!({"runAsUser": -1}), "write a runAsUser from 0 to 2147483647")]
#[case::a_huge_group("moverSecurityContext", json!({"runAsGroup": 4_294_967_295u64}), "write a runAsGroup from 0 to 2147483647")]
#[case::a_negative_group_of_files("moverSecurityContext", json!({"fsGroup": -5}), "write an fsGroup from 0 to 2147483647")]
#[case::an_unknown_policy("moverSecurityContext", json!({"fsGroupChangePolicy": "Never"}), "write the fsGroupChangePolicy Always or OnRootMismatch")]
#[case::windows("moverSecurityContext", json!({"windowsOptions": {"runAsUserName": "u"}}), "movers run on Linux: remove windowsOptions")]
#[case::an_account_with_a_blank("moverServiceAccount", json!("My account"), ACCOUNT)]
#[case::no_account("moverServiceAccount", json!(""), "at least 1 chars long")]
#[case::a_label_with_a_blank("moverPodLabels", json!({"my team": "x"}), LABEL)]
#[case::a_label_of_a_blank("moverPodLabels", json!({"team": "a b"}), VALUE)]
#[case::a_long_value("moverPodLabels", json!({"team": "a".repeat(64)}), "63")]
#[case::a_label_of_the_agent("moverPodLabels", json!({"scribe.backube/run": "x"}), OURS)]
#[case::a_label_that_selects("moverPodLabels", json!({"app.kubernetes.io/component": "x"}), OURS)]
#[case::a_label_of_the_jobs("moverPodLabels", json!({"batch.kubernetes.io/job-name": "x"}), OURS)]
#[case::a_path_up("moverVolumes", mounted_at(".."), FOLDER)]
#[case::a_path_of_two_parts("moverVolumes", mounted_at("a/b"), FOLDER)]
#[case::no_path("moverVolumes", mounted_at(""), "at least 1 chars long")]
#[case::one_path_twice("moverVolumes", json!([mounted_at("a")[0], mounted_at("a")[0]]), "Duplicate value")]
#[case::nothing_to_mount("moverVolumes", volumes(&json!({})), ONE)]
#[case::two_things_to_mount("moverVolumes", volumes(&json!({"secret": {"secretName": "s"}, "persistentVolumeClaim": {"claimName": "c"}})), ONE)]
#[case::a_secret_without_a_name("moverVolumes", volumes(&json!({"secret": {"defaultMode": 256}})), "write secretName: the Secret to mount")]
#[case::a_claim_without_a_name("moverVolumes", volumes(&json!({"persistentVolumeClaim": {}})), "Required value")]
#[case::a_claim_to_write_to(
    "moverVolumes",
    volumes(&json!({"persistentVolumeClaim": {"claimName": "c", "readOnly": false}})),
    "these volumes are mounted read-only: remove readOnly or set it to true"
)]
#[case::an_authority_nowhere("customCA", json!({"key": "ca.crt"}), NAMED)]
#[case::an_authority_twice("customCA", json!({"secretName": "a", "configMapName": "b", "key": "ca.crt"}), NAMED)]
#[case::an_authority_in_a_secret_without_a_name("customCA", json!({"secretName": "", "key": "ca.crt"}), "at least 1 chars long")]
#[case::an_authority_without_a_key("customCA", json!({"secretName": "a"}), "write key: where in the Secret or ConfigMap the certificate is, such as ca.crt")]
#[case::an_authority_with_an_empty_key("customCA", json!({"secretName": "a", "key": ""}), "at least 1 chars long")]
#[case::a_key_that_is_a_path("customCA", json!({"secretName": "a", "key": "certs/ca.crt"}), "write a key such as ca.crt")]
#[tokio::test]
async fn a_pod_that_cannot_work_is_refused(
    #[values(Source, Destination)] kind: Kind,
    #[case] field: &str,
    #[case] value: Value,
    #[case] message: &str,
) {
    refuses(kind, json!({ "rclone": { field: value } }), field, message).await;
}
