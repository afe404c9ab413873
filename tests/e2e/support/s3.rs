//! The intermediary storage: one `rclone serve s3` from the project's own image for all tests, each with a bucket of its own.

use super::cluster::{apply, given, kubectl, try_kubectl};
use super::namespace::{create, random};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// Where the server is that all tests share.
const NAMESPACE: &str = "e2e-s3";
const CONFIG: &str = "/etc/rclone/rclone.conf";

/// The section of [`Server::config`].
pub const SECTION: &str = "aws-s3-bucket";

/// The server, as its clients see it.
#[derive(Clone, Debug)]
pub struct Server {
    endpoint: String,
    key: String,
    secret: String,
}

/// The server, started by the first test that asks for it.
pub async fn server(client: &kube::Client) -> &'static Server {
    static SERVER: OnceCell<Server> = OnceCell::const_new();
    SERVER.get_or_init(|| start(client.clone(), NAMESPACE)).await
}

/// A server in this namespace, which may run already. `list` and its like know the shared one only.
pub async fn start(client: kube::Client, namespace: &str) -> Server {
    let known = try_kubectl(&["--namespace", namespace, "get", "secret", "s3", "--output=jsonpath={.data.secret}"]);
    if !known.status.success() {
        if namespace == NAMESPACE {
            create(&client, NAMESPACE).await;
        }
        let secret = [random(), random(), random()].concat();
        let server = Server { endpoint: format!("http://s3.{namespace}.svc:9000"), key: "e2e".to_owned(), secret };
        apply(&manifest(&server, namespace, None));
    }
    let field = |name: &str| {
        let path = format!("--output=go-template={{{{.data.{name} | base64decode}}}}");
        kubectl(&["--namespace", namespace, "get", "secret", "s3", &path])
    };
    let server = Server { endpoint: field("endpoint"), key: field("key"), secret: field("secret") };
    kubectl(&["--namespace", namespace, "rollout", "status", "deployment/s3", "--timeout=60s"]);
    server
}

/// A server in this namespace with this certificate and its key, in PEM.
pub fn start_secured(namespace: &str, (certificate, key): (&str, &str)) -> Server {
    let secret = [random(), random()].concat();
    let server = Server { endpoint: format!("https://s3.{namespace}.svc:9000"), key: "e2e".to_owned(), secret };
    apply(&manifest(&server, namespace, Some((certificate, key))));
    kubectl(&["--namespace", namespace, "rollout", "status", "deployment/s3", "--timeout=60s"]);
    server
}

fn manifest(server: &Server, namespace: &str, certificate: Option<(&str, &str)>) -> Value {
    let Server { endpoint, key, secret } = server;
    let mut data = json!({
        "endpoint": endpoint,
        "key": key,
        "secret": secret,
        // The server reads it as a list, separated by commas; the quotes make it one entry.
        "auth-key": format!("\"{key},{secret}\""),
        "rclone.conf": server.config(),
    });
    let labels = json!({ "app": "s3" });
    let mut items = vec![json!({ "key": "rclone.conf", "path": "rclone.conf" })];
    let mut command = vec!["/usr/local/bin/rclone", "serve", "s3", "--addr=:9000", "/buckets"];
    if let Some((certificate, key)) = certificate {
        for (name, content) in [("tls.crt", certificate), ("tls.key", key)] {
            data[name] = json!(content);
            items.push(json!({ "key": name, "path": name }));
        }
        command.extend(["--cert=/etc/rclone/tls.crt", "--key=/etc/rclone/tls.key"]);
    }
    let container = json!({
        "name": "server",
        "image": given("E2E_IMAGE"),
        "command": command,
        "env": [
            { "name": "RCLONE_CONFIG", "value": CONFIG },
            { "name": "RCLONE_AUTH_KEY", "valueFrom": { "secretKeyRef": { "name": "s3", "key": "auth-key" } } },
        ],
        "readinessProbe": { "tcpSocket": { "port": 9000 }, "periodSeconds": 1 },
        "volumeMounts": [
            { "name": "buckets", "mountPath": "/buckets" },
            { "name": "config", "mountPath": "/etc/rclone" },
            { "name": "tmp", "mountPath": "/tmp" },
        ],
    });
    let pod = json!({
        "automountServiceAccountToken": false,
        "securityContext": { "runAsNonRoot": true, "runAsUser": 65532, "fsGroup": 65532 },
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
        "volumes": [
            { "name": "buckets", "emptyDir": {} },
            { "name": "tmp", "emptyDir": {} },
            { "name": "config", "secret": { "secretName": "s3", "items": items } },
        ],
    });
    let meta = json!({ "name": "s3", "namespace": namespace });
    json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": data },
        { "apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": { "selector": labels, "ports": [{ "port": 9000 }] } },
        { "apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {
            "selector": { "matchLabels": labels }, "template": { "metadata": { "labels": labels }, "spec": pod },
        }},
    ]})
}

impl Server {
    /// An `rclone.conf` with which the server is reached.
    pub fn config(&self) -> String {
        self.config_with(&self.endpoint, &self.secret)
    }

    /// An `rclone.conf` with which it may or may not be reached.
    pub fn config_with(&self, endpoint: &str, secret: &str) -> String {
        let key = &self.key;
        format!("[{SECTION}]\ntype = s3\nprovider = Rclone\nendpoint = {endpoint}\naccess_key_id = {key}\nsecret_access_key = {secret}\n")
    }

    /// Where the server is.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }
}

/// Paths of all objects below `path`, in order, as any user of rclone sees them.
pub fn list(path: &str) -> Vec<String> {
    let listed = rclone(&["lsf", "--recursive", "--files-only", &remote(path)]);
    let mut paths: Vec<_> = listed.lines().map(str::to_owned).collect();
    paths.sort();
    paths
}

/// Whether nothing lies below `path`, not even a folder.
pub fn is_empty(path: &str) -> bool {
    let listed = try_kubectl(&[&EXEC, &["lsf", &remote(path)][..]].concat());
    !listed.status.success() && String::from_utf8_lossy(&listed.stderr).contains("directory not found")
}

/// Content of one object.
pub fn read(path: &str) -> String {
    rclone(&["cat", &remote(path)])
}

/// Makes an empty object, and its bucket if there is none.
pub fn touch(path: &str) {
    rclone(&["touch", &remote(path)]);
}

/// Copies a file of the server's own pod to `path`.
pub fn copy(file: &str, path: &str) {
    rclone(&["copyto", "--copy-links", file, &remote(path)]);
}

/// Removes everything below `path`, if anything is there.
pub fn remove(path: &str) {
    try_rclone(&["purge", &remote(path)]);
}

/// Removes one object.
pub fn remove_one(path: &str) {
    rclone(&["deletefile", &remote(path)]);
}

fn remote(path: &str) -> String {
    format!("{SECTION}:{path}")
}

const EXEC: [&str; 7] = ["--namespace", NAMESPACE, "exec", "deployment/s3", "--container=server", "--", "/usr/local/bin/rclone"];

fn rclone(arguments: &[&str]) -> String {
    kubectl(&[&EXEC, arguments].concat())
}

fn try_rclone(arguments: &[&str]) {
    try_kubectl(&[&EXEC, arguments].concat());
}
