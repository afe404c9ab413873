//! What users set of movers' pods: what of it cannot work, and what holds where the spec of an object and the settings both say something.
//! The API server refuses the same in a spec; settings, and specs that an older CRD let through, are held against this alone.

use crate::api::mover::{CustomCa, MoverPod, MoverResources, MoverVolume};
use crate::core::syntax::{object_name, quantity};
use k8s_openapi::api::core::v1::{PodSecurityContext, Toleration};
use std::collections::BTreeMap;

/// What the settings say of the pods of all movers beside what the spec of an object can say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodOptions {
    /// `nodeSelector`
    pub node_selector: BTreeMap<String, String>,
    /// `tolerations`
    pub tolerations: Vec<Toleration>,
    /// `priorityClassName`
    pub priority_class: Option<String>,
    /// Annotations of the pods.
    pub annotations: BTreeMap<String, String>,
    /// `hostUsers`
    pub host_users: Option<bool>,
}

/// Whether such a mover runs without root, and so without capabilities.
pub fn is_unprivileged(context: &PodSecurityContext) -> bool {
    context.run_as_user.is_some_and(|user| user != 0) || context.run_as_non_root == Some(true)
}

/// Each field of `spec` that is set, and those of `settings` for the others. Labels and volumes of both hold, and of two with one name the spec's.
pub fn over(spec: &MoverPod, settings: &MoverPod) -> MoverPod {
    let labels = settings.pod_labels.iter().chain(&spec.pod_labels).flatten();
    let labels = labels.map(|(key, value)| (key.clone(), value.clone())).collect();
    let own = spec.volumes.iter().flatten();
    let is_replaced = |volume: &&MoverVolume| own.clone().any(|other| other.mount_path == volume.mount_path);
    let common = settings.volumes.iter().flatten().filter(|volume| !is_replaced(volume));
    MoverPod {
        resources: spec.resources.clone().or_else(|| settings.resources.clone()),
        security_context: spec.security_context.clone().or_else(|| settings.security_context.clone()),
        service_account: spec.service_account.clone().or_else(|| settings.service_account.clone()),
        pod_labels: Some(labels),
        affinity: spec.affinity.clone().or_else(|| settings.affinity.clone()),
        volumes: Some(common.chain(own.clone()).cloned().collect()),
        custom_ca: spec.custom_ca.clone().or_else(|| settings.custom_ca.clone()),
    }
}

/// What cannot work: the field, below that which `name` gives to it, and what to write instead.
///
/// # Errors
/// A sentence that begins with the field's name.
pub fn check(pod: &MoverPod, name: impl Fn(&str) -> String) -> Result<(), String> {
    pod.resources.iter().try_for_each(|resources| check_resources(resources, &name("moverResources")))?;
    pod.security_context.iter().try_for_each(|context| check_context(context, &name("moverSecurityContext")))?;
    let account = pod.service_account.as_deref().map_or(Ok(()), object_name::check);
    account.map_err(|problem| format!("{}: {problem}", name("moverServiceAccount")))?;
    pod.pod_labels.iter().flatten().try_for_each(|(key, _)| check_label(key, &name("moverPodLabels")))?;
    pod.custom_ca.iter().try_for_each(|authority| check_authority(authority, &name("customCA")))?;
    let volumes = name("moverVolumes");
    for (n, volume) in pod.volumes.iter().flatten().enumerate() {
        check_volume(volume, &format!("{volumes}[{n}]"))?;
        if pod.volumes.iter().flatten().take(n).any(|other| other.mount_path == volume.mount_path) {
            return Err(format!("{volumes}: mountPath {} stands there twice: give one of the two another name", volume.mount_path));
        }
    }
    Ok(())
}

fn check_resources(resources: &MoverResources, name: &str) -> Result<(), String> {
    for (field, amounts) in [("limits", &resources.limits), ("requests", &resources.requests)] {
        for (resource, text) in amounts.iter().flatten() {
            let (place, text) = (format!("{name}.{field}.{resource}"), &text.0);
            if resource.is_empty() || !resource.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c)) {
                return Err(format!("{place}: {resource:?} is no resource: write for example memory or ephemeral-storage"));
            }
            let amount =
                quantity::amount(text).ok_or_else(|| format!("{place}: {text:?} is no quantity: write for example 10m or 64Mi"))?;
            let limit = resources.limits.as_ref().and_then(|limits| limits.get(resource)).filter(|_| field == "requests");
            if let Some(limit) = limit.filter(|limit| quantity::amount(&limit.0).is_some_and(|limit| amount > limit)) {
                return Err(format!("{place}: {text} is more than its limit, {}", limit.0));
            }
        }
    }
    Ok(())
}

fn check_context(context: &PodSecurityContext, name: &str) -> Result<(), String> {
    if context.run_as_non_root == Some(true) && context.run_as_user == Some(0) {
        return Err(format!("{name}: runAsUser 0 is root, which runAsNonRoot forbids: remove one of the two"));
    }
    if context.windows_options.is_some() {
        return Err(format!("{name}: movers run on Linux: remove windowsOptions"));
    }
    for (field, id) in [("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group), ("fsGroup", context.fs_group)] {
        if id.is_some_and(|id| i32::try_from(id).is_ok_and(|id| id < 0) || i32::try_from(id).is_err()) {
            return Err(format!("{name}.{field}: write a number from 0 to 2147483647"));
        }
    }
    Ok(())
}

/// What would take away from the confinement of movers, which is the namespace's to decide and so stands in its settings alone.
///
/// # Errors
/// A sentence that names the field of the spec.
pub fn check_confined(pod: &MoverPod) -> Result<(), String> {
    let Some(context) = &pod.security_context else { return Ok(()) };
    let profiles = [
        ("seccompProfile", context.seccomp_profile.as_ref().map(|profile| profile.type_.as_str())),
        ("appArmorProfile", context.app_armor_profile.as_ref().map(|profile| profile.type_.as_str())),
    ];
    let unconfined = profiles.into_iter().find(|(_, kind)| *kind == Some("Unconfined")).map(|(field, _)| field);
    let sysctls = context.sysctls.as_ref().filter(|sysctls| !sysctls.is_empty()).map(|_| "sysctls");
    let selinux = context.se_linux_options.as_ref().and_then(|options| options.type_.as_ref()).map(|_| "seLinuxOptions.type");
    match unconfined.or(sysctls).or(selinux) {
        None => Ok(()),
        Some(field) => Err(format!(
            "spec.rclone.moverSecurityContext.{field} would make movers less confined: remove it, or set it for the namespace, under mover.securityContext of agent.yaml"
        )),
    }
}

/// The labels that movers are found by are not the user's to set.
fn check_label(key: &str, name: &str) -> Result<(), String> {
    let ours = ["app.kubernetes.io/name", "app.kubernetes.io/managed-by", "app.kubernetes.io/component", "controller-uid", "job-name"];
    if ours.contains(&key) || key.starts_with("scribe.backube/") || key.starts_with("batch.kubernetes.io/") {
        return Err(format!("{name}: by the label {key} movers are found: remove it"));
    }
    Ok(())
}

fn check_authority(authority: &CustomCa, name: &str) -> Result<(), String> {
    let is_set = |field: &Option<String>| field.as_ref().is_some_and(|text| !text.is_empty());
    if is_set(&authority.secret_name) == is_set(&authority.config_map_name) {
        return Err(format!("{name}: write secretName or configMapName, one of the two"));
    }
    for (field, object) in [("secretName", &authority.secret_name), ("configMapName", &authority.config_map_name)] {
        let object = object.as_deref().filter(|object| !object.is_empty());
        object.map_or(Ok(()), object_name::check).map_err(|problem| format!("{name}.{field}: {problem}"))?;
    }
    if !is_set(&authority.key) {
        return Err(format!("{name}: write key: where in the Secret or ConfigMap the certificate is, such as ca.crt"));
    }
    Ok(())
}

fn check_volume(volume: &MoverVolume, name: &str) -> Result<(), String> {
    let path = &volume.mount_path;
    let is_name = path.starts_with(|c: char| c.is_ascii_alphanumeric())
        && path.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
        && path.len() <= 63;
    if !is_name {
        return Err(format!("{name}.mountPath {path:?}: write the name of a folder below /mnt, such as keys, without slashes"));
    }
    match (&volume.volume_source.secret, &volume.volume_source.persistent_volume_claim) {
        (Some(secret), None) if secret.secret_name.as_ref().is_none_or(String::is_empty) => {
            Err(format!("{name}.volumeSource.secret: write secretName: the Secret to mount"))
        }
        (None, Some(claim)) if claim.read_only == Some(false) => Err(format!(
            "{name}.volumeSource.persistentVolumeClaim: these volumes are mounted read-only: remove readOnly or set it to true"
        )),
        (Some(_), None) | (None, Some(_)) => Ok(()),
        _ => Err(format!("{name}.volumeSource: write secret or persistentVolumeClaim, one of the two")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    #[rstest]
    #[case(json!({"seccompProfile": {"type": "Unconfined"}}), "seccompProfile")]
    #[case(json!({"appArmorProfile": {"type": "Unconfined"}}), "appArmorProfile")]
    #[case(json!({"sysctls": [{"name": "net.core.somaxconn", "value": "1"}]}), "sysctls")]
    #[case(json!({"seLinuxOptions": {"type": "spc_t"}}), "seLinuxOptions.type")]
    fn a_spec_takes_nothing_away_from_the_confinement(#[case] context: Value, #[case] field: &str) {
        let set = pod(json!({"moverSecurityContext": context}));
        assert!(check_confined(&set).unwrap_err().contains(&format!("moverSecurityContext.{field} would")));
        assert_eq!(check(&set, str::to_owned), Ok(()), "the settings may");
    }

    fn pod(fields: Value) -> MoverPod {
        serde_json::from_value(fields).unwrap()
    }

    fn secret(folder: &str, name: &str) -> Value {
        json!({ "mountPath": folder, "volumeSource": { "secret": { "secretName": name } } })
    }

    #[rstest]
    #[case::an_amount(json!({"moverResources": {"limits": {"memory": "lots"}}}), "moverResources.limits.memory: \"lots\" is no quantity")]
    #[case::more_than_the_limit(json!({"moverResources": {"limits": {"cpu": 1}, "requests": {"cpu": 2}}}), "moverResources.requests.cpu: 2 is more")]
    #[case::root_that_is_none(json!({"moverSecurityContext": {"runAsUser": 0, "runAsNonRoot": true}}), "moverSecurityContext: runAsUser 0")]
    #[case::a_negative_user(json!({"moverSecurityContext": {"runAsUser": -1}}), "moverSecurityContext.runAsUser")]
    #[case::a_huge_group(json!({"moverSecurityContext": {"fsGroup": 4_294_967_296u64}}), "moverSecurityContext.fsGroup")]
    #[case::windows(json!({"moverSecurityContext": {"windowsOptions": {}}}), "remove windowsOptions")]
    #[case::no_account(json!({"moverServiceAccount": ""}), "moverServiceAccount: the name is empty")]
    #[case::a_label_of_ours(json!({"moverPodLabels": {"scribe.backube/run": "x"}}), "moverPodLabels: by the label scribe.backube/run")]
    #[case::a_label_of_the_jobs(json!({"moverPodLabels": {"job-name": "x"}}), "moverPodLabels: by the label job-name")]
    #[case::no_authority(json!({"customCA": {"key": "ca.crt"}}), "customCA: write secretName or configMapName")]
    #[case::two_authorities(json!({"customCA": {"secretName": "a", "configMapName": "b", "key": "ca.crt"}}), "customCA: write secretName or")]
    #[case::an_authority_without_a_name(json!({"customCA": {"secretName": "", "key": "ca.crt"}}), "customCA: write secretName or configMapName")]
    #[case::an_authority_without_a_key(json!({"customCA": {"secretName": "a", "key": ""}}), "customCA: write key")]
    #[case::a_path_up(json!({"moverVolumes": [secret("..", "s")]}), "moverVolumes[0].mountPath \"..\"")]
    #[case::a_path_of_two_parts(json!({"moverVolumes": [secret("a/b", "s")]}), "moverVolumes[0].mountPath \"a/b\"")]
    #[case::one_path_twice(json!({"moverVolumes": [secret("a", "s"), secret("a", "t")]}), "moverVolumes: mountPath a stands there twice")]
    #[case::a_secret_without_a_name(json!({"moverVolumes": [secret("a", "")]}), "moverVolumes[0].volumeSource.secret: write secretName")]
    #[case::nothing_to_mount(json!({"moverVolumes": [{"mountPath": "a", "volumeSource": {}}]}), "moverVolumes[0].volumeSource: write secret or")]
    #[case::a_claim_to_write_to(
        json!({"moverVolumes": [{"mountPath": "a", "volumeSource": {"persistentVolumeClaim": {"claimName": "c", "readOnly": false}}}]}),
        "are mounted read-only"
    )]
    fn what_cannot_work_is_refused(#[case] fields: Value, #[case] words: &str) {
        let refusal = check(&pod(fields), |field| format!("spec.rclone.{field}")).unwrap_err();
        assert!(refusal.starts_with("spec.rclone.") && refusal.contains(words), "{refusal}");
    }

    #[test]
    fn what_can_work_is_not() {
        let fields = json!({
            "moverResources": {"limits": {"memory": "1Gi", "cpu": 2}, "requests": {"memory": "1024Mi"}},
            "moverSecurityContext": {"runAsUser": 2_147_483_647, "runAsNonRoot": true, "fsGroup": 0},
            "moverServiceAccount": "keyless",
            "customCA": {"configMapName": "ca", "key": "ca.crt"},
            "moverPodLabels": {"app.kubernetes.io/part-of": "site", "sidecar.istio.io/inject": "true"},
            "moverVolumes": [secret("keys", "s"), {"mountPath": "v", "volumeSource": {"persistentVolumeClaim": {"claimName": "c", "readOnly": true}}}],
        });
        assert_eq!(check(&pod(fields), str::to_owned), Ok(()));
        assert_eq!(check(&MoverPod::default(), str::to_owned), Ok(()));
    }

    #[rstest]
    #[case(json!({}), false)]
    #[case(json!({"runAsUser": 0, "fsGroup": 5}), false)]
    #[case(json!({"runAsNonRoot": false}), false)]
    #[case(json!({"runAsUser": 1}), true)]
    #[case(json!({"runAsNonRoot": true}), true)]
    fn a_mover_has_root_unless_it_is_told_otherwise(#[case] context: Value, #[case] unprivileged: bool) {
        assert_eq!(is_unprivileged(&serde_json::from_value(context).unwrap()), unprivileged);
    }

    #[test]
    fn the_spec_comes_before_the_settings() {
        let settings = pod(json!({
            "moverResources": {"limits": {"memory": "1Gi"}, "requests": {"memory": "64Mi"}},
            "moverSecurityContext": {"runAsUser": 7, "fsGroup": 8},
            "moverServiceAccount": "common",
            "moverPodLabels": {"a": "1", "b": "1"},
            "moverAffinity": {"podAffinity": {}},
            "customCA": {"configMapName": "common", "key": "ca.crt"},
            "moverVolumes": [secret("a", "common"), secret("b", "common")],
        }));
        let unset = over(&MoverPod::default(), &settings);
        assert_eq!(unset, settings);
        let spec = pod(json!({
            "moverResources": {"limits": {"cpu": "1"}},
            "moverSecurityContext": {"runAsUser": 0},
            "moverServiceAccount": "own",
            "moverPodLabels": {"b": "2", "c": "2"},
            "moverAffinity": {"nodeAffinity": {}},
            "customCA": {"secretName": "own", "key": "ca.crt"},
            "moverVolumes": [secret("b", "own"), secret("c", "own")],
        }));
        let expected = pod(json!({
            "moverResources": {"limits": {"cpu": "1"}},
            "moverSecurityContext": {"runAsUser": 0},
            "moverServiceAccount": "own",
            "moverPodLabels": {"a": "1", "b": "2", "c": "2"},
            "moverAffinity": {"nodeAffinity": {}},
            "customCA": {"secretName": "own", "key": "ca.crt"},
            "moverVolumes": [secret("a", "common"), secret("b", "own"), secret("c", "own")],
        }));
        assert_eq!(over(&spec, &settings), expected);
    }
}
