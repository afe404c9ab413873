//! The demo's MariaDB, its writer, and servers that start on a copy of its volume.

use super::cluster::{given, root};
use super::site::Site;
use super::until::until;
use super::volume::Claim;
use serde_json::{Value, json};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The claim that the demo's manifest names.
pub const CLAIM: &str = "mysql-pv-claim";

/// A client that writes entry after entry, and knows which ones the server has confirmed.
pub struct Writer {
    process: Child,
    output: PathBuf,
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_file(&self.output);
    }
}

impl Writer {
    /// Number of the last entry that was confirmed.
    pub fn committed(&self) -> u64 {
        let text = std::fs::read_to_string(&self.output).unwrap();
        text.lines().rev().find_map(|line| line.strip_prefix("committed ")?.parse().ok()).unwrap_or(0)
    }

    /// Waits until it has written so many more.
    pub async fn goes_on(&self, entries: u64) {
        let before = self.committed();
        until(&format!("{entries} more entries are written"), 60, async || {
            let now = self.committed();
            if now >= before + entries { Ok(()) } else { Err(now) }
        })
        .await;
    }
}

impl Site {
    /// A database on a new volume, and what writes into it all the time.
    pub fn database(&self) -> Writer {
        let image = given("E2E_DATABASE_IMAGE");
        self.claim(&Claim { name: CLAIM, class: None, image: None });
        self.kubectl(&["apply", "--kustomize", root().join("tests/demo/database").to_str().unwrap()]);
        self.kubectl(&["set", "image", "deployment/mysql", &format!("mariadb={image}")]);
        self.kubectl(&["rollout", "status", "deployment/mysql", "--timeout=120s"]);
        let output = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("writer-{}", self.namespace));
        let process = Command::new("kubectl")
            .args(["--namespace", &self.namespace, "exec", "deployment/mysql", "--", "bash", "/scripts/write"])
            .stdin(Stdio::null())
            .stdout(File::create(&output).unwrap())
            .spawn()
            .unwrap();
        Writer { process, output }
    }

    /// Starts a server on a volume made from this image. Returns what it printed until it was ready, once `check` has found all entries up to
    /// this one whole.
    pub fn database_of_image(&self, name: &str, image: &str, committed: u64) -> String {
        self.claim(&Claim { name, class: None, image: Some(image) });
        let file = root().join("tests/demo/database/deployment.yaml");
        let mut server: Value =
            serde_json::from_str(&self.kubectl(&["create", "--dry-run=client", "--output=json", "--filename", file.to_str().unwrap()]))
                .unwrap();
        server["metadata"] = json!({ "name": name });
        let labels = json!({ "app": name });
        server["spec"]["selector"]["matchLabels"] = labels.clone();
        server["spec"]["template"]["metadata"]["labels"] = labels;
        let pod = &mut server["spec"]["template"]["spec"];
        pod["containers"][0]["image"] = json!(given("E2E_DATABASE_IMAGE"));
        pod["volumes"][0] = json!({ "name": "data", "persistentVolumeClaim": { "claimName": name } });
        self.apply(server);
        let deployment = format!("deployment/{name}");
        self.kubectl(&["rollout", "status", &deployment, "--timeout=120s"]);
        self.kubectl(&["exec", &deployment, "--", "bash", "/scripts/check", &committed.to_string()]);
        self.kubectl(&["logs", &deployment])
    }
}
