//! etcd, the API server and the garbage collector, on loopback and on ports of their own. Ended when dropped.

use super::ports::free_ports;
use super::until::until;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::json;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Weak};
use tokio::sync::Mutex;

const CRDS: [&str; 2] =
    ["kustomize/crds/scribe.backube_replicationsources.yaml", "kustomize/crds/scribe.backube_replicationdestinations.yaml"];
const SNAPSHOT_CRD: &str = "tests/cluster/node/crds/snapshot.storage.k8s.io_volumesnapshots.yaml";

/// A control plane without controllers: nobody but the test answers to what the agent writes.
pub struct ControlPlane {
    dir: PathBuf,
    port: u16,
    processes: Vec<Child>,
}

impl ControlPlane {
    /// The one, with all CRDs, of all tests that change nothing but their own namespace. It ends with the last of them.
    pub async fn shared() -> Arc<ControlPlane> {
        static SHARED: Mutex<(Weak<ControlPlane>, usize)> = Mutex::const_new((Weak::new(), 0));
        let mut shared = SHARED.lock().await;
        if let Some(plane) = shared.0.upgrade() {
            return plane;
        }
        // The one before may not be quite gone.
        shared.1 += 1;
        let mut plane = ControlPlane::serving(&format!("shared-by-all-{}", shared.1)).await;
        plane.install_crds().await;
        plane.install_snapshots().await;
        plane.collect_garbage();
        let plane = Arc::new(plane);
        shared.0 = Arc::downgrade(&plane);
        plane
    }

    /// Starts it and waits until it serves.
    pub async fn start(name: &str) -> ControlPlane {
        let mut plane = ControlPlane::serving(name).await;
        plane.collect_garbage();
        plane
    }

    async fn serving(name: &str) -> ControlPlane {
        let dir = std::env::temp_dir().join(format!("scribe-hostile-{name}-{}", std::process::id()));
        fs::create_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}; each site needs a name of its own", dir.display()));
        let [client, peer, port] = free_ports();
        let mut plane = ControlPlane { dir, port, processes: Vec::new() };
        plane.write_files();
        let etcd = format!("http://127.0.0.1:{client}");
        let peers = format!("http://127.0.0.1:{peer}");
        let data = plane.path("etcd");
        let cluster = format!("default={peers}");
        plane.spawn(
            "etcd",
            &[
                "--data-dir",
                &data,
                "--unsafe-no-fsync",
                "--listen-client-urls",
                &etcd,
                "--advertise-client-urls",
                &etcd,
                "--listen-peer-urls",
                &peers,
                "--initial-advertise-peer-urls",
                &peers,
                "--initial-cluster",
                &cluster,
            ],
        );
        let (key, tokens, certs) = (plane.path("sa.key"), plane.path("tokens.csv"), plane.path("certs"));
        plane.spawn(
            "kube-apiserver",
            &[
                "--etcd-servers",
                &etcd,
                "--secure-port",
                &port.to_string(),
                "--bind-address",
                "127.0.0.1",
                "--cert-dir",
                &certs,
                "--service-account-key-file",
                &key,
                "--service-account-signing-key-file",
                &key,
                "--service-account-issuer",
                "https://kubernetes.default.svc",
                "--service-cluster-ip-range",
                "10.96.0.0/24",
                "--token-auth-file",
                &tokens,
                "--authorization-mode",
                "RBAC",
                // Nobody is here to make service accounts, and nobody to take protection off a claim again.
                "--disable-admission-plugins",
                "ServiceAccount,StorageObjectInUseProtection",
            ],
        );
        plane.serves().await;
        plane
    }

    /// One that knows the kinds from its start does not stop to learn of them. It has to keep up with the syncs of many tests.
    fn collect_garbage(&mut self) {
        let kubeconfig = self.path("kubeconfig");
        let only = ["--leader-elect=false", "--controllers", "garbage-collector-controller", "--secure-port", "0"];
        let quick = ["--kube-api-qps", "500", "--kube-api-burst", "500"];
        self.spawn("kube-controller-manager", &[&["--kubeconfig", &kubeconfig], &only[..], &quick[..]].concat());
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }

    /// Where this control plane's files are, and those of its sites; gone with it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn write_files(&self) {
        let key = Command::new("openssl").args(["genrsa", "-out", &self.path("sa.key"), "2048"]).stderr(Stdio::null()).status();
        assert!(key.is_ok_and(|status| status.success()), "openssl makes no key");
        fs::write(self.path("tokens.csv"), "admin-token,admin,admin,system:masters\n").unwrap();
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{ "name": "it", "cluster": { "server": format!("https://127.0.0.1:{}", self.port), "insecure-skip-tls-verify": true } }],
            "users": [{ "name": "admin", "user": { "token": "admin-token" } }],
            "contexts": [{ "name": "it", "context": { "cluster": "it", "user": "admin" } }],
        });
        fs::write(self.path("kubeconfig"), kubeconfig.to_string()).unwrap();
    }

    fn spawn(&mut self, program: &str, arguments: &[&str]) {
        let log = File::create(self.dir.join(format!("{program}.log"))).unwrap();
        let child = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn();
        self.processes
            .push(child.unwrap_or_else(|e| panic!("{program} does not run ({e}): put the node's programs into PATH, as `make test` does")));
    }

    async fn serves(&mut self) {
        let client = self.client().await;
        until("the control plane serves", 60, async || {
            let dead = self.processes.iter_mut().any(|process| process.try_wait().unwrap().is_some());
            assert!(!dead, "the control plane does not come up; its logs:\n{}", self.logs());
            client.request_text(hyper::Request::get("/readyz").body(Vec::new()).unwrap()).await
        })
        .await;
    }

    /// The end of each log, where the reason is.
    fn logs(&self) -> String {
        let tail = |name| {
            let log = fs::read_to_string(self.dir.join(format!("{name}.log"))).unwrap_or_default();
            let lines: Vec<String> = log.lines().rev().take(6).map(|line| line.chars().take(400).collect()).collect();
            format!("{name}:\n{}\n", lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
        };
        ["etcd", "kube-apiserver"].map(tail).concat()
    }

    /// Talks to the API server without the proxy, as an administrator.
    pub async fn client(&self) -> Client {
        let kubeconfig = Kubeconfig::read_from(self.path("kubeconfig")).unwrap();
        Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap()).unwrap()
    }

    /// Installs the agent's own CRDs.
    pub async fn install_crds(&self) {
        for file in CRDS {
            self.install_crd(file).await;
        }
    }

    /// Installs the CRD of snapshots.
    pub async fn install_snapshots(&self) {
        self.install_crd(SNAPSHOT_CRD).await;
    }

    /// Applies a file with one CRD, and waits until it is served.
    async fn install_crd(&self, file: &str) {
        let client = self.client().await;
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        let crd: CustomResourceDefinition = serde_saphyr::from_str(&text).unwrap();
        let api: Api<CustomResourceDefinition> = Api::all(client);
        api.patch(&crd.name_any(), &PatchParams::apply("test").force(), &Patch::Apply(&crd)).await.unwrap();
        let established = kube::runtime::conditions::is_crd_established();
        kube::runtime::wait::await_condition(api, &crd.name_any(), established).await.unwrap();
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}
