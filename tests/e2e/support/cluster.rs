//! The cluster under test: a client, and kubectl.

use kube::Client;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// What a test needs that the surroundings must give, or a panic that says where it comes from.
#[track_caller]
pub fn given(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!(
            "{variable} is not set. These tests need a Kubernetes node of their own: `make test` starts one and runs them on it. \
             To run a few by hand: `make node-up`, then the variables that tests/tools/suite exports."
        )
    })
}

/// A client for the cluster of `$KUBECONFIG`. Every test has its own: a client lives and dies with its runtime.
pub async fn client() -> Client {
    let kubeconfig = given("KUBECONFIG");
    Client::try_default().await.unwrap_or_else(|e| panic!("no client for the cluster of {kubeconfig}: {e}"))
}

/// The project's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the project as kustomize wants it named: relative to `folder`, which exists.
pub fn relative_to(folder: &Path, file: &str) -> PathBuf {
    let folder = folder.canonicalize().unwrap();
    let up = folder.components().skip(1).map(|_| "..").collect::<PathBuf>();
    up.join(root().canonicalize().unwrap().strip_prefix("/").unwrap()).join(file)
}

/// Runs kubectl and returns what it printed; panics with its complaint if it fails.
#[track_caller]
pub fn kubectl(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = try_kubectl(arguments);
    assert!(status.success(), "kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// Applies an object, or a list of objects.
#[track_caller]
pub fn apply(object: &Value) {
    let mut kubectl = Command::new("kubectl").args(["apply", "--filename=-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    kubectl.stdin.take().unwrap().write_all(object.to_string().as_bytes()).unwrap();
    assert!(kubectl.wait().unwrap().success(), "kubectl apply does not take {object:#}");
}

/// Runs kubectl, whatever comes of it.
#[track_caller]
pub fn try_kubectl(arguments: &[&str]) -> Output {
    given("KUBECONFIG");
    let output = Command::new("kubectl").args(arguments).stdin(Stdio::null()).output();
    output.unwrap_or_else(|e| panic!("kubectl does not run ({e}): put the node's programs into PATH, as `make test` does"))
}
