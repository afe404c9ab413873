//! Plays what a cluster does with the agent's children: snapshots get ready, claims are bound, movers run and report. It talks to the API
//! server without the proxy, and writes down what must never happen.

use super::until::pause;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use scribe_mover::report::{Outcome, Report};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// So long a request of the played cluster is made again.
const PATIENCE: Duration = Duration::from_secs(120);

/// What was seen of the movers.
#[derive(Debug, Default)]
pub struct Record {
    /// Movers that ran, by run: more than one means that a sync was done twice.
    pub movers: BTreeMap<String, usize>,
    /// Everything that movers were started with.
    pub arguments: Vec<String>,
    /// What must never happen.
    pub violations: Vec<String>,
    /// While this is set, whatever is made waits in vain.
    pub asleep: bool,
    /// While this is set, movers that start do not end.
    pub hung: bool,
    /// While this is set, a container that something has injected keeps the pods of movers running.
    pub injected: bool,
    played: BTreeSet<String>,
}

/// The played cluster. It stops when dropped.
pub struct World {
    /// What it saw.
    pub record: Arc<Mutex<Record>>,
    _tasks: JoinSet<()>,
}

#[derive(Clone)]
struct Player {
    client: Client,
    namespace: String,
    record: Arc<Mutex<Record>>,
}

impl World {
    /// Begins to play in `namespace`.
    pub fn start(client: &Client, namespace: &str) -> World {
        let record = Arc::new(Mutex::new(Record::default()));
        let player = Player { client: client.clone(), namespace: namespace.to_owned(), record: record.clone() };
        let mut tasks = JoinSet::new();
        for (group, version, kind) in
            [("snapshot.storage.k8s.io", "v1", "VolumeSnapshot"), ("", "v1", "PersistentVolumeClaim"), ("batch", "v1", "Job")]
        {
            let player = player.clone();
            tasks.spawn(async move {
                let api = player.api(group, version, kind);
                let objects = watcher(api, watcher::Config::default()).default_backoff().applied_objects();
                // While its kind is not served, a watch ends in errors.
                let objects = objects.into_stream().filter_map(|object| std::future::ready(object.ok()));
                objects.for_each_concurrent(8, |object| player.answer(kind, object)).await;
            });
        }
        World { record, _tasks: tasks }
    }
}

impl Player {
    fn api(&self, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        namespaced(&self.client, &self.namespace, (group, version, kind))
    }

    async fn answer(&self, kind: &str, object: DynamicObject) {
        // Each object is played once, and one that goes away is left alone.
        if self.record.lock().unwrap().asleep
            || object.metadata.deletion_timestamp.is_some()
            || !self.record.lock().unwrap().played.insert(object.uid().unwrap())
        {
            return;
        }
        match kind {
            "VolumeSnapshot" => {
                let status = json!({ "readyToUse": true, "creationTime": now(), "restoreSize": "1Mi" });
                self.status(&self.api("snapshot.storage.k8s.io", "v1", kind), &object, status).await;
            }
            "PersistentVolumeClaim" => {
                let status = json!({ "phase": "Bound", "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"] });
                self.status(&self.api("", "v1", kind), &object, status).await;
            }
            _ => self.run_mover(object).await,
        }
    }

    /// One that is gone meanwhile needs no status.
    async fn status(&self, api: &Api<DynamicObject>, object: &DynamicObject, status: Value) {
        let (name, patch) = (object.name_any(), Patch::Merge(json!({ "metadata": { "uid": object.uid() }, "status": status })));
        let ask = || async {
            match api.patch_status(&name, &PatchParams::default(), &patch).await {
                // Another object of this name, or an edit at the same time.
                Err(kube::Error::Api(refused)) if refused.code == 409 => match api.get_opt(&name).await? {
                    Some(now) if now.uid() == object.uid() => Err(kube::Error::Api(refused)),
                    _ => Ok(()),
                },
                Err(kube::Error::Api(refused)) if refused.code == 404 => Ok(()),
                other => other.map(drop),
            }
        };
        self.insist(ask).await;
    }

    /// Asks the API server until it answers: on a machine whose processors have much to do, requests time out. What it refuses for so long is a
    /// violation, so that no test waits for a world that has stopped without a word.
    async fn insist<T, F: Future<Output = kube::Result<T>>>(&self, mut ask: impl FnMut() -> F) -> Option<T> {
        let began = Instant::now();
        loop {
            match ask().await {
                Ok(answer) => return Some(answer),
                Err(_) if began.elapsed() < PATIENCE => pause().await,
                Err(error) => {
                    let violation = format!("the played cluster cannot go on: {error}");
                    eprintln!("{violation}");
                    self.record.lock().unwrap().violations.push(violation);
                    return None;
                }
            }
        }
    }

    async fn run_mover(&self, job: DynamicObject) {
        let pods = self.api("", "v1", "Pod");
        let owner = job.owner_references().first().unwrap().uid.clone();
        let run = job.labels()["scribe.backube/run"].clone();
        let template = &job.data["spec"]["template"];
        let mut meta = template["metadata"].clone();
        meta["name"] = json!(format!("{}-{}", job.name_any(), &job.uid().unwrap()[..8]));
        meta["ownerReferences"] = json!([{ "apiVersion": "batch/v1", "kind": "Job", "name": job.name_any(), "uid": job.uid(),
            "controller": true, "blockOwnerDeletion": true }]);
        let pod: DynamicObject =
            serde_json::from_value(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"] })).unwrap();
        self.no_other_moves(&pods, &owner, &job).await;
        let create = || async {
            match pods.create(&PostParams::default(), &pod).await {
                // The answer to the create was lost.
                Err(kube::Error::Api(refused)) if refused.code == 409 => pods.get(&pod.name_any()).await,
                other => other,
            }
        };
        let Some(pod) = self.insist(create).await else { return };
        {
            let mut record = self.record.lock().unwrap();
            *record.movers.entry(run.clone()).or_default() += 1;
            let arguments = template["spec"]["containers"][0]["args"].as_array().unwrap();
            record.arguments.extend(arguments.iter().map(|argument| argument.as_str().unwrap().to_owned()));
        }
        let container = |state: Value| json!([{ "name": "mover", "image": "played", "imageID": "played", "ready": false, "restartCount": 0, "state": state }]);
        let running = json!({ "phase": "Running", "containerStatuses": container(json!({ "running": { "startedAt": now() } })) });
        self.status(&pods, &pod, running).await;
        if self.record.lock().unwrap().hung {
            return;
        }
        let report = serde_json::to_string(&report(&run)).unwrap();
        let ended =
            json!({ "terminated": { "exitCode": 0, "reason": "Completed", "message": report, "startedAt": now(), "finishedAt": now() } });
        if self.record.lock().unwrap().injected {
            let mut containers = container(ended);
            let mut beside = containers[0].clone();
            (beside["name"], beside["state"]) = (json!("istio-proxy"), json!({ "running": { "startedAt": now() } }));
            containers.as_array_mut().unwrap().insert(0, beside);
            return self.status(&pods, &pod, json!({ "phase": "Running", "containerStatuses": containers })).await;
        }
        self.status(&pods, &pod, json!({ "phase": "Succeeded", "containerStatuses": container(ended) })).await;
        let condition = |kind: &str| json!({ "type": kind, "status": "True", "lastTransitionTime": now() });
        let complete = json!({ "startTime": now(), "completionTime": now(), "succeeded": 1, "uncountedTerminatedPods": {},
            "conditions": [condition("SuccessCriteriaMet"), condition("Complete")] });
        self.status(&self.api("batch", "v1", "Job"), &job, complete).await;
    }

    /// Neither of the same object, nor, where a destination's starts, of another destination that writes to the same PVC.
    async fn no_other_moves(&self, pods: &Api<DynamicObject>, owner: &str, job: &DynamicObject) {
        let movers = ListParams::default().labels("app.kubernetes.io/component=mover");
        let Some(others) = self.insist(|| pods.list(&movers)).await else { return };
        let claims = |spec: &Value| -> BTreeSet<String> {
            let volumes = spec["volumes"].as_array().into_iter().flatten();
            volumes.filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str()).map(str::to_owned).collect()
        };
        let written = claims(&job.data["spec"]["template"]["spec"]);
        let is_destination = |name: String| name.starts_with("scribe-rclone-dest");
        let shares = |pod: &&DynamicObject| {
            pod.labels().get("scribe.backube/owner-uid").is_some_and(|uid| uid == owner)
                || is_destination(job.name_any()) && is_destination(pod.name_any()) && !claims(&pod.data["spec"]).is_disjoint(&written)
        };
        let others = others.iter().filter(shares);
        let alive = others.filter(|pod| !matches!(pod.data["status"]["phase"].as_str(), Some("Succeeded" | "Failed")));
        let alive: Vec<_> = alive.map(ResourceExt::name_any).collect();
        if !alive.is_empty() {
            self.record.lock().unwrap().violations.push(format!("a mover starts beside {alive:?}"));
        }
    }
}

/// Objects of any kind in a namespace.
pub fn namespaced(client: &Client, namespace: &str, (group, version, kind): (&str, &str, &str)) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

/// Every run has new data.
fn report(run: &str) -> Report {
    Report {
        result: Outcome::Successful,
        reason: None,
        message: String::new(),
        changed: true,
        took_over: false,
        adopted_state: None,
        made_bucket: None,
        revision: Some(format!("of-{run}")),
        data_time: Some(Timestamp::now()),
        checked_time: Some(Timestamp::now()),
        files: 1,
        bytes: 1,
        transferred: 1,
        packs: None,
        hashed: 0,
        deleted: 0,
        skipped: BTreeMap::new(),
        duration_ms: 1,
        logs: "Rclone completed in 0s".to_owned(),
    }
}

fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
