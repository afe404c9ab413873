//! What users set of the mover's pod, in the spec and in the settings, as it stands in the Job.

use crate::api::mover::{CustomCa, MoverPod, MoverVolume};
use crate::core::model::pod::{PodOptions, is_unprivileged, over};
use k8s_openapi::api::core::v1::PodSecurityContext;
use serde_json::{Value, json};

/// The volume of the pod that is the Secret of the rclone configuration.
pub(super) const SECRET_VOLUME: &str = "rclone";
/// Where the folders of `moverVolumes` are.
const EXTRA: &str = "/mnt";

/// The certificates of `customCA`, in the pod and for the mover.
const AUTHORITY_VOLUME: &str = "custom-ca";
const AUTHORITY: &str = "/etc/custom-ca";
const AUTHORITY_FILE: &str = "ca.crt";

/// Writes it into a template that has all that movers have in common. `template` is that of the Job.
///
/// `spec` comes before `settings`; `options` and `environment` are of all movers.
pub fn apply(template: &mut Value, spec: &MoverPod, settings: &MoverPod, options: &PodOptions, environment: &[Value]) {
    let set = over(spec, settings);
    label(&mut template["metadata"], &set, options);
    let pod = &mut template["spec"];
    if let Some(account) = &set.service_account {
        pod["serviceAccountName"] = json!(account);
    }
    pod["containers"][0]["resources"] = json!(set.resources.clone().unwrap_or_default());
    secure(pod, set.security_context.as_deref());
    if let Some(affinity) = &set.affinity {
        pod["affinity"] = json!(affinity);
    }
    for (n, volume) in set.volumes.iter().flatten().enumerate() {
        mount(pod, n, volume);
    }
    if let Some(authority) = &set.custom_ca {
        trust(pod, authority);
    }
    if !environment.is_empty() {
        pod["containers"][0]["env"] = json!(environment);
    }
    place(pod, options);
}

/// Optional, so that what is missing becomes the mover's precise error instead of a pod that never starts; and of the key alone.
fn trust(pod: &mut Value, authority: &CustomCa) {
    let CustomCa { secret_name, config_map_name, key } = authority;
    let secret = secret_name.as_ref().filter(|name| !name.is_empty());
    let (kind, name) = if secret.is_some() { ("Secret", secret) } else { ("ConfigMap", config_map_name.as_ref()) };
    let (Some(name), Some(key)) = (name, key) else { return };
    let items = json!([{ "key": key, "path": AUTHORITY_FILE }]);
    let volume = match kind {
        "Secret" => {
            let mode = &pod["volumes"].as_array().into_iter().flatten().find(|volume| volume["name"] == SECRET_VOLUME);
            let mode = mode.map_or(&Value::Null, |volume| &volume["secret"]["defaultMode"]);
            json!({ "name": AUTHORITY_VOLUME, "secret": { "secretName": name, "optional": true, "defaultMode": mode, "items": items } })
        }
        _ => json!({ "name": AUTHORITY_VOLUME, "configMap": { "name": name, "optional": true, "items": items } }),
    };
    push(&mut pod["volumes"], volume);
    let container = &mut pod["containers"][0];
    push(&mut container["volumeMounts"], json!({ "name": AUTHORITY_VOLUME, "mountPath": AUTHORITY, "readOnly": true }));
    for argument in
        ["--custom-ca", &format!("{AUTHORITY}/{AUTHORITY_FILE}"), "--custom-ca-name", &format!("key {key:?} of {kind} {name:?}")]
    {
        push(&mut container["args"], json!(literal(argument)));
    }
}

/// An argument as the mover is to get it: the kubelet replaces `$(NAME)` by a variable of the container, and takes `$$` for a dollar.
pub(super) fn literal(argument: &str) -> String {
    argument.replace('$', "$$")
}

fn push(list: &mut Value, item: Value) {
    if let Value::Array(items) = list {
        items.push(item);
    }
}

/// None of these is a label that movers are found by: those are refused.
fn label(metadata: &mut Value, set: &MoverPod, options: &PodOptions) {
    for (key, value) in set.pod_labels.iter().flatten() {
        metadata["labels"][key] = json!(value);
    }
    for (key, value) in &options.annotations {
        metadata["annotations"][key] = json!(value);
    }
}

fn place(pod: &mut Value, options: &PodOptions) {
    if !options.node_selector.is_empty() {
        pod["nodeSelector"] = json!(options.node_selector);
    }
    if !options.tolerations.is_empty() {
        pod["tolerations"] = json!(options.tolerations);
    }
    if let Some(class) = &options.priority_class {
        pod["priorityClassName"] = json!(class);
    }
    if let Some(host_users) = options.host_users {
        pod["hostUsers"] = json!(host_users);
    }
}

/// The pod's security context as it is set, and a container that has no more than it needs under it.
fn secure(pod: &mut Value, context: Option<&PodSecurityContext>) {
    let Some(context) = context else { return };
    let mut written = json!(context);
    if context.seccomp_profile.is_none() {
        written["seccompProfile"] = pod["securityContext"]["seccompProfile"].clone();
    }
    if context.fs_group.is_some() && context.fs_group_change_policy.is_none() {
        // Otherwise the kubelet gives every file the group at each mount, and the next pull takes it back.
        written["fsGroupChangePolicy"] = json!("OnRootMismatch");
    }
    pod["securityContext"] = written;
    let rights = &mut pod["containers"][0]["securityContext"];
    if !is_unprivileged(context) {
        if context.run_as_group.is_some() {
            remove(rights, "runAsGroup");
        }
        return;
    }
    // The user is the pod's, or the one that the image names or the cluster assigns.
    remove(rights, "runAsUser");
    remove(rights, "runAsGroup");
    rights["runAsNonRoot"] = json!(true);
    rights["capabilities"] = json!({ "drop": ["ALL"] });
    let mode = if reads_as_group(context) { 0o440 } else { 0o444 };
    for volume in pod["volumes"].as_array_mut().into_iter().flatten().filter(|volume| volume["name"] == SECRET_VOLUME) {
        volume["secret"]["defaultMode"] = json!(mode);
    }
}

/// Whether the mover has the group that a Secret's files get: that of `fsGroup`, otherwise 0. A user without a group of its own has that, too.
fn reads_as_group(context: &PodSecurityContext) -> bool {
    let has_root_group = match context.run_as_group {
        Some(group) => group == 0,
        None => context.run_as_user.is_some(),
    };
    context.fs_group.is_some() || has_root_group || context.supplemental_groups.iter().flatten().any(|group| *group == 0)
}

/// A folder below `/mnt`. A claim that the pod has already is mounted once more: the kubelet does not start a pod that names one twice.
fn mount(pod: &mut Value, n: usize, volume: &MoverVolume) {
    let source = &volume.volume_source;
    let mut name = format!("mnt-{n}");
    let added = match (&source.secret, &source.persistent_volume_claim) {
        (_, Some(claim)) => {
            let there = pod["volumes"].as_array().into_iter().flatten();
            let same = there.into_iter().find(|known| known["persistentVolumeClaim"]["claimName"] == claim.claim_name.as_str());
            match same.and_then(|known| known["name"].as_str()) {
                Some(known) => {
                    known.clone_into(&mut name);
                    None
                }
                None => Some(json!({ "name": name, "persistentVolumeClaim": { "claimName": claim.claim_name, "readOnly": true } })),
            }
        }
        (Some(secret), None) => Some(json!({ "name": name, "secret": secret })),
        (None, None) => return,
    };
    if let Some(added) = added {
        push(&mut pod["volumes"], added);
    }
    let mounted = json!({ "name": name, "mountPath": format!("{EXTRA}/{}", volume.mount_path), "readOnly": true });
    push(&mut pod["containers"][0]["volumeMounts"], mounted);
}

fn remove(object: &mut Value, field: &str) {
    if let Value::Object(fields) = object {
        fields.remove(field);
    }
}
