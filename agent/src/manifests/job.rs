//! The mover's `Job`: one pod, no retries of its own, no access to the API server.

use super::pod::SECRET_VOLUME;
use super::{meta, pin, pod};
use crate::api::labels;
use crate::api::mover::MoverPod;
use crate::core::model::facts::{Object, Role};
use crate::core::model::plan::{MoverTask, NewJob};
use crate::core::model::pod::PodOptions;
use crate::core::model::retention::Retention;
use crate::core::model::spec::PushLayout;
use crate::core::model::subject;
use jiff::SignedDuration;
use serde_json::{Value, json};

/// What every mover of this agent has in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mover {
    /// Image of the agent's own pod: kustomize rewrites only `image:` fields.
    pub image: String,
    /// When the image is pulled, as in the agent's own pod.
    pub image_pull_policy: Option<String>,
    /// Names of the Secrets that the agent's own image was pulled with.
    pub image_pull_secrets: Vec<String>,
    /// What the settings say of the pods of all movers, their `ServiceAccount` included.
    pub pod: MoverPod,
    /// And what of it no spec can say.
    pub options: PodOptions,
    /// `env` of the container.
    pub environment: Vec<Value>,
    /// Limit of its temporary directory.
    pub temporary_space: String,
    /// How often a push lists its remote path and repairs it.
    pub verify_interval: SignedDuration,
    /// Within which time every file is read again, changed or not.
    pub rehash_interval: SignedDuration,
    /// How often a push that finds nothing new says on the remote that its source is alive.
    pub heartbeat_interval: SignedDuration,
}

/// The mover's container. Others may be injected beside it.
pub const CONTAINER: &str = "mover";
/// The condition of a pod that the cluster ends for reasons of its own: drain, preemption, eviction.
pub const DISRUPTED: &str = "DisruptionTarget";
/// What refuses the containers that service meshes and monitoring inject: they outlive the mover, and may keep it from the network until they
/// have started. Where a label and an annotation have the same meaning, newer versions read the label.
const NO_INJECTION: [(&str, &str, &str); 8] = [
    ("labels", "sidecar.istio.io/inject", "false"),
    ("labels", "kuma.io/sidecar-injection", "disabled"),
    ("annotations", "sidecar.istio.io/inject", "false"),
    ("annotations", "kuma.io/sidecar-injection", "disabled"),
    ("annotations", "linkerd.io/inject", "disabled"),
    ("annotations", "consul.hashicorp.com/connect-inject", "false"),
    ("annotations", "openservicemesh.io/sidecar-injection", "disabled"),
    ("annotations", "sidecar.opentelemetry.io/inject", "false"),
];
const VOLUME: &str = "/volume";
const SECRET: &str = "/etc/rclone";

/// The Job as it is created.
pub fn build(owner: &Object, new: &NewJob, mover: &Mover) -> Value {
    let all = meta::labels(owner, Role::Mover, Some(&new.run), Some(new.attempt));
    let read_only = matches!(new.work, MoverTask::Push { .. });
    let mut claim = json!({ "claimName": new.claim });
    if read_only {
        // Of the claim, too, not of the mount alone: else the kubelet gives all files the pod's fsGroup before a push could read theirs.
        claim["readOnly"] = json!(true);
    }
    let mut spec = json!({
        "restartPolicy": "Never",
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        // A pull that has begun to put files in place ends with the last of them.
        "terminationGracePeriodSeconds": if read_only { 10 } else { 30 },
        "securityContext": { "seccompProfile": { "type": "RuntimeDefault" } },
        "containers": [{
            "name": CONTAINER,
            "image": mover.image,
            "args": arguments(owner, new, mover),
            "terminationMessagePolicy": "File",
            // Root with the few capabilities that it takes to read and restore foreign owners' files.
            "securityContext": {
                "runAsUser": 0,
                "runAsGroup": 0,
                "runAsNonRoot": false,
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"], "add": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETFCAP"] },
            },
            "volumeMounts": [
                { "name": "volume", "mountPath": VOLUME, "readOnly": read_only },
                { "name": SECRET_VOLUME, "mountPath": SECRET, "readOnly": true },
                { "name": "tmp", "mountPath": "/tmp" },
            ],
        }],
        "volumes": [
            { "name": "volume", "persistentVolumeClaim": claim },
            // Optional, so that a missing Secret becomes the mover's precise error instead of a pod that never starts.
            { "name": SECRET_VOLUME, "secret": { "secretName": new.remote.secret, "optional": true, "defaultMode": 0o400 } },
            { "name": "tmp", "emptyDir": { "sizeLimit": mover.temporary_space } },
        ],
    });
    if let Some(policy) = &mover.image_pull_policy {
        spec["containers"][0]["imagePullPolicy"] = json!(policy);
    }
    if !mover.image_pull_secrets.is_empty() {
        spec["imagePullSecrets"] = mover.image_pull_secrets.iter().map(|name| json!({ "name": name })).collect();
    }
    let mut metadata = meta::metadata(owner, &new.name, &all);
    let mut template = json!({ "metadata": { "labels": all, "annotations": {} }, "spec": spec });
    for (place, key, value) in NO_INJECTION {
        template["metadata"][place][key] = json!(value);
    }
    pod::apply(&mut template, &new.pod, &mover.pod, &mover.options, &mover.environment);
    metadata["annotations"] = json!({ labels::SUBJECT: subject::text(&new.subject) });
    if let Some(placed) = &new.pin {
        pin::onto(&mut template["spec"], placed);
        metadata["annotations"][labels::PLACEMENT] = json!(placed.why);
    }
    if let Some(uid) = &new.claim_uid {
        metadata["annotations"][labels::PVC_UID] = json!(uid);
    }
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "podReplacementPolicy": "Failed",
            // A pod that was evicted is soon gone: so its Job shows why it failed. Its own controller must not start another one, which
            // nothing would limit, and which would go on by what may not be the spec any more.
            "podFailurePolicy": { "rules": [{ "action": "FailJob", "onPodConditions": [{ "type": DISRUPTED, "status": "True" }] }] },
            "template": template,
        },
    })
}

/// Which revisions stay, as the mover's `--retain` reads it.
fn retained(retain: &Retention) -> String {
    let Retention { last, hourly, daily, weekly, monthly, max_age, zone } = retain;
    let counts = [("last", last), ("hourly", hourly), ("daily", daily), ("weekly", weekly), ("monthly", monthly)];
    let counts = counts.into_iter().filter(|(_, count)| **count > 0).map(|(rule, count)| format!("{rule}={count}"));
    let age = max_age.iter().map(|age| format!("maxAge={}s", age.as_secs()));
    let zone = zone.iana_name().into_iter().map(|name| format!("timeZone={name}"));
    counts.chain(age).chain(zone).collect::<Vec<_>>().join(",")
}

fn arguments(owner: &Object, new: &NewJob, mover: &Mover) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut add = |parts: &[&str]| arguments.extend(parts.iter().map(|part| (*part).to_owned()));
    match &new.work {
        MoverTask::Push { captured, pushed, adopt, adopt_state, verify_now, layout, exclude } => {
            add(&["mover", "push", "--owner", &format!("{}/{}", owner.namespace, owner.name), "--owner-uid", &owner.uid]);
            if let Some(revision) = pushed {
                add(&["--pushed-revision", revision]);
            }
            if let Some(time) = captured {
                add(&["--data-time", &time.to_string()]);
            }
            add(&["--verify-interval", &format!("{}s", mover.verify_interval.as_secs())]);
            add(&["--rehash-interval", &format!("{}s", mover.rehash_interval.as_secs())]);
            add(&["--heartbeat-interval", &format!("{}s", mover.heartbeat_interval.as_secs())]);
            if *verify_now {
                add(&["--verify-now"]);
            }
            if *adopt {
                add(&["--adopt"]);
            }
            if let Some(state) = adopt_state {
                add(&[&format!("--adopt-state={state}")]);
            }
            match layout {
                PushLayout::Files => {}
                PushLayout::Packs { retain } => {
                    add(&["--layout", "packs"]);
                    if let Some(retain) = retain {
                        add(&["--retain", &retained(retain)]);
                    }
                }
            }
            for pattern in exclude {
                // A single argument each: one may begin with a dash.
                add(&[&format!("--exclude={pattern}")]);
            }
        }
        MoverTask::Pull { applied, private, plain, pin } => {
            add(&["mover", "pull"]);
            if *plain {
                add(&["--layout", "plain"]);
            }
            if let Some(revision) = applied {
                add(&["--applied-revision", revision]);
            }
            let pin = pin.as_ref();
            if let Some(revision) = pin.and_then(|pin| pin.revision.as_deref()) {
                add(&["--revision", revision]);
            }
            if let Some(time) = pin.and_then(|pin| pin.as_of.as_deref()) {
                add(&["--as-of", time]);
            }
            if *private {
                add(&["--private-volume"]);
            }
        }
    }
    let remote = format!("{}:{}", new.remote.section, new.remote.path);
    add(&["--volume", VOLUME, "--remote", &remote, "--secret-name", &new.remote.secret]);
    add(&["--guard-percent", &new.guard.percent.to_string(), "--guard-floor", &new.guard.floor.to_string()]);
    if let Some(token) = &new.allow_deletions {
        // A single argument, so that a value that begins with a dash is a wrong token and no option.
        add(&[&format!("--allow-deletions={}", token.trim())]);
    }
    add(&["--config-dir", SECRET, "--report", "/dev/termination-log"]);
    arguments.iter().map(|argument| pod::literal(argument)).collect()
}
