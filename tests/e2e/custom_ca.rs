//! A storage server whose certificate nobody knows: its CA comes from a Secret or a ConfigMap, or the status says what is wrong with it.

use crate::support::replication::{SYNC, is};
use crate::support::s3::{self, Server};
use crate::support::site::{SECRET, Site, site};
use rstest::rstest;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A server with a certificate of a CA of its own, which the site's Secret leads to, and that CA's certificate in PEM.
pub fn secured(site: &Site) -> String {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("pki-{}", site.namespace));
    std::fs::create_dir_all(&dir).unwrap();
    let openssl = |line: &str| {
        let made = Command::new("openssl").args(line.split(' ')).current_dir(&dir).stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(made.is_ok_and(|status| status.success()), "openssl {line}");
    };
    openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=our-own -keyout ca.key -out ca.crt");
    openssl("req -newkey rsa:2048 -nodes -subj /CN=storage -keyout server.key -out server.csr");
    std::fs::write(dir.join("names"), format!("subjectAltName=DNS:s3.{}.svc\nbasicConstraints=CA:FALSE\n", site.namespace)).unwrap();
    openssl("x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.crt");
    let read = |name: &str| std::fs::read_to_string(Path::new(&dir).join(name)).unwrap();
    let server: Server = s3::start_secured(&site.namespace, (&read("server.crt"), &read("server.key")));
    site.secret(SECRET, &[("rclone.conf", &server.config())]);
    let authority = read("ca.crt");
    std::fs::remove_dir_all(&dir).unwrap();
    authority
}

pub fn config_map(site: &Site, name: &str, key: &str, content: &str) {
    site.apply(json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { key: content } }));
}

/// Both kinds, from both kinds of objects.
#[tokio::test]
async fn a_servers_own_authority_is_trusted() {
    site("ca", async |site| {
        let source = site.filled("data").await;
        let authority = secured(site);
        site.secret("ca", &[("our.crt", &authority)]);
        config_map(site, "ca", "bundle.pem", &authority);
        let rclone = |ca: Value| json!({ "rclone": { "copyMethod": "Direct", "customCA": ca } });

        let push = site.source("push", "data", rclone(json!(null)));
        let status = push.until("the server is not trusted", SYNC, |s| s.last_error.is_some()).await;
        let error = status.last_error.unwrap();
        assert!(error.message.contains("certificate"), "{error:?}");

        push.patch(json!({ "rclone": { "customCA": { "secretName": "ca", "key": "our.crt" } } })).await;
        push.synced("first").await;
        let pull = site.destination("pull", rclone(json!({ "configMapName": "ca", "key": "bundle.pem" })));
        pull.synced("first").await;
        site.listing_of_claim("scribe-dest-pull").await.assert_is(&source.listing());
    })
    .await;
}

#[rstest]
#[case::no_secret(json!({"secretName": "missing", "key": "ca.crt"}), "there is no key \"ca.crt\" of Secret \"missing\"")]
#[case::no_config_map(json!({"configMapName": "missing", "key": "ca.crt"}), "there is no key \"ca.crt\" of ConfigMap \"missing\"")]
#[case::no_such_key(json!({"configMapName": "there", "key": "another"}), "there is no key \"another\" of ConfigMap \"there\"")]
#[case::nothing_in_it(json!({"configMapName": "there", "key": "empty"}), "key \"empty\" of ConfigMap \"there\" is empty")]
#[tokio::test]
async fn what_cannot_be_trusted_is_told(#[case] ca: Value, #[case] words: &str) {
    site("no-ca", async |site| {
        let _source = site.filled("data").await;
        config_map(site, "there", "empty", "");
        let rclone = json!({ "rclone": { "copyMethod": "Direct", "customCA": ca } });
        for object in [site.source("push", "data", rclone.clone()), site.destination("pull", rclone)] {
            let status = object.until("it is told", SYNC, |s| is(s, "Stalled", "True", "SecretInvalid")).await;
            let error = status.last_error.unwrap();
            assert!(error.message.contains("customCA") && error.message.contains(words), "{error:?}");
        }
    })
    .await;
}
