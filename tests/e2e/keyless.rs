//! Access without a key: the cluster gives the pods of a ServiceAccount a token and variables, and a service of the cloud gives keys for it.

use crate::support::cluster;
use crate::support::s3::SECTION;
use crate::support::site::{Site, site};
use futures::FutureExt;
use kube::Config;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::mpsc::Receiver;
use std::time::Duration;

#[path = "../../agent/mover/tests/mover/support/token_service.rs"]
mod token_service;

use token_service::token_service;

const ACCOUNT: &str = "keyless";
const AUDIENCE: &str = "sts.amazonaws.com";

/// The node's link to this machine, from this side: pods reach it.
async fn this_machine() -> IpAddr {
    let node = Config::infer().await.unwrap().cluster_url;
    let node = std::net::UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect((node.host().unwrap(), 6443))?;
        socket.local_addr()
    });
    node.unwrap().ip()
}

/// What a cloud's webhook does: every pod of the account gets a token and says where it is.
fn webhook(site: &Site, service: &str) -> Value {
    let variables = [
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/scribe"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/identity/token"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL_STS", service),
    ];
    // Maps, not `Object…`: the API server goes down over a list of those (Kubernetes 1.34).
    let variables = variables.map(|(name, value)| format!("{{'name': '{name}', 'value': '{value}'}}")).join(", ");
    let token = format!("{{'audience': dyn('{AUDIENCE}'), 'expirationSeconds': dyn(3600), 'path': dyn('token')}}");
    let volume = format!("{{'name': dyn('identity'), 'projected': dyn({{'sources': [{{'serviceAccountToken': {token}}}]}})}}");
    let mount = "{'name': dyn('identity'), 'mountPath': dyn('/var/run/secrets/identity'), 'readOnly': dyn(true)}";
    let patch = |path: &str, value: &str| format!("JSONPatch{{op: 'add', path: '{path}', value: {value}}}");
    let patches = [
        patch("/spec/volumes/-", &volume),
        patch("/spec/containers/0/volumeMounts/-", mount),
        patch("/spec/containers/0/env", &format!("[{variables}]")),
    ];
    let name = format!("identity-{}", site.namespace);
    let rules = json!([{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"] }]);
    let here = json!({ "matchLabels": { "kubernetes.io/metadata.name": site.namespace } });
    let group = "admissionregistration.k8s.io/v1beta1";
    json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": group, "kind": "MutatingAdmissionPolicy", "metadata": { "name": name }, "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "matchConstraints": { "namespaceSelector": here, "resourceRules": rules },
            "matchConditions": [{ "name": "account", "expression": format!("object.spec.serviceAccountName == '{ACCOUNT}'") }],
            "mutations": [{ "patchType": "JSONPatch", "jsonPatch": { "expression": format!("[{}]", patches.join(", ")) } }],
        } },
        { "apiVersion": group, "kind": "MutatingAdmissionPolicyBinding", "metadata": { "name": name }, "spec": { "policyName": name } },
    ] })
}

/// What a token says of whose it is. Its pod is gone, so the API server would not vouch for it any more.
fn claims(token: &str) -> Value {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut decoded, mut bits, mut held) = (Vec::new(), 0, 0);
    for character in token.split('.').nth(1).unwrap().bytes() {
        let digit = DIGITS.iter().position(|digit| *digit == character).unwrap();
        (held, bits) = (held << 6 | digit, bits + 6);
        if bits >= 8 {
            bits -= 8;
            decoded.push(u8::try_from(held >> bits & 0xff).unwrap());
            held &= (1 << bits) - 1;
        }
    }
    serde_json::from_slice(&decoded).unwrap()
}

/// Both kinds, with a section that has no key: only pods of the account that the spec names are given one.
#[tokio::test]
async fn a_service_account_is_access_enough() {
    site("keyless", async |site| {
        let config = site.s3.config();
        let option = |name: &str| config.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = ")).unwrap().to_owned();
        let (service, asked) = token_service(this_machine().await, &option("access_key_id"), &option("secret_access_key"));
        let keyless: Vec<_> = config.lines().filter(|line| !line.contains("access_key")).collect();
        site.secret("keyless", &[("rclone.conf", &format!("{}\nregion = us-east-1\nenv_auth = true\n", keyless.join("\n")))]);
        site.apply(json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": ACCOUNT } }));
        cluster::apply(&webhook(site, &service));
        let test = AssertUnwindSafe(replicate(site, &asked)).catch_unwind().await;
        let name = format!("identity-{}", site.namespace);
        cluster::kubectl(&["delete", "mutatingadmissionpolicybinding,mutatingadmissionpolicy", &name]);
        test.unwrap_or_else(|panic| resume_unwind(panic));
    })
    .await;
}

async fn replicate(site: &Site, asked: &Receiver<String>) {
    let source = site.filled("data").await;
    let rclone = json!({ "copyMethod": "Direct", "rcloneConfig": "keyless", "rcloneConfigSection": SECTION });
    let push = site.source("push", "data", json!({ "rclone": rclone }));
    let status = push.until("without the account it fails", 60, |s| s.last_error.is_some()).await;
    let error = status.last_error.unwrap();
    assert!(error.message.contains("get credentials"), "{error:?}");
    assert!(asked.try_recv().is_err(), "a pod of another account was given a token");

    push.patch(json!({ "rclone": { "moverServiceAccount": ACCOUNT } })).await;
    push.synced("first").await;
    let mut pull = rclone;
    pull["moverServiceAccount"] = json!(ACCOUNT);
    site.destination("pull", json!({ "rclone": pull })).synced("first").await;
    site.listing_of_claim("scribe-dest-pull").await.assert_is(&source.listing());

    for _ in ["push", "pull"] {
        let question = asked.recv_timeout(Duration::from_secs(1)).unwrap();
        assert!(question.contains("Action=AssumeRoleWithWebIdentity") && question.contains("role%2Fscribe"), "{question}");
        let token = question.split('&').find_map(|part| part.strip_prefix("WebIdentityToken=")).unwrap();
        let claims = claims(token);
        assert_eq!(
            (&claims["sub"], &claims["aud"]),
            (&json!(format!("system:serviceaccount:{}:{ACCOUNT}", site.namespace)), &json!([AUDIENCE]))
        );
    }
}
