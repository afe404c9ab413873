//! What the agent may do: all that it does, nothing more, and nothing with Secrets.

use crate::support::cluster::{self, kubectl};
use crate::support::namespace::in_new_namespace;
use crate::support::overlay::Overlay;
use crate::support::until::until;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::Value;
use std::collections::BTreeSet;

/// Group, resource, subresource and verbs: every request that the agent's code makes.
const USED: &[(&str, &str, &str, &[&str])] = &[
    ("scribe.backube", "replicationsources", "", &["get", "list", "watch"]),
    ("scribe.backube", "replicationdestinations", "", &["get", "list", "watch"]),
    ("scribe.backube", "replicationsources", "status", &["patch"]),
    ("scribe.backube", "replicationdestinations", "status", &["patch"]),
    ("snapshot.storage.k8s.io", "volumesnapshots", "", &["get", "list", "watch", "create", "patch", "delete"]),
    ("", "persistentvolumeclaims", "", &["list", "watch", "create", "patch", "delete"]),
    ("batch", "jobs", "", &["list", "watch", "create", "delete"]),
    ("", "pods", "", &["get", "list", "watch"]),
    ("", "pods", "log", &["get"]),
    ("", "events", "", &["list", "create"]),
];

fn rights(table: &[(&str, &str, &str, &[&str])]) -> BTreeSet<String> {
    table.iter().flat_map(|(group, resource, sub, verbs)| verbs.iter().map(move |verb| right(verb, group, resource, sub))).collect()
}

fn right(verb: &str, group: &str, resource: &str, subresource: &str) -> String {
    format!("{verb} {group}/{resource}/{subresource}")
}

/// The objects of `kustomize/base`.
fn base() -> Vec<Value> {
    let folder = cluster::root().join("kustomize/base");
    let list: Value =
        serde_json::from_str(&kubectl(&["apply", "--dry-run=client", "--output=json", "--kustomize", folder.to_str().unwrap()])).unwrap();
    list["items"].as_array().unwrap().clone()
}

fn roles() -> Vec<Value> {
    base().into_iter().filter(|object| object["kind"] == "Role").collect()
}

#[test]
fn base_holds_namespaced_objects_only() {
    let kinds: BTreeSet<_> = base().iter().map(|object| object["kind"].as_str().unwrap().to_owned()).collect();
    let expected = ["ConfigMap", "Deployment", "Role", "RoleBinding", "Service", "ServiceAccount"];
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn the_role_grants_what_is_used_and_nothing_else() {
    let mut granted = BTreeSet::new();
    for rule in roles().iter().flat_map(|role| role["rules"].as_array().unwrap()) {
        let words = |field: &str| rule[field].as_array().into_iter().flatten().map(|word| word.as_str().unwrap()).collect::<Vec<_>>();
        for group in words("apiGroups") {
            for resource in words("resources") {
                let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
                granted.extend(words("verbs").iter().map(|verb| right(verb, group, resource, sub)));
            }
        }
    }
    assert!(!granted.iter().any(|right| right.contains('*') || right.contains("secrets")), "{granted:#?}");
    let used = rights(USED);
    assert_eq!(used.difference(&granted).collect::<Vec<_>>(), Vec::<&String>::new(), "used, but not granted");
    assert_eq!(granted.difference(&used).collect::<Vec<_>>(), Vec::<&String>::new(), "granted, but not used");
}

async fn may(client: &Client, account: &str, namespace: &str, verb: &str, group: &str, resource: &str, subresource: &str) -> bool {
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(account.to_owned()),
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(namespace.to_owned()),
                verb: Some(verb.to_owned()),
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                subresource: Some(subresource.to_owned()).filter(|s| !s.is_empty()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    Api::<SubjectAccessReview>::all(client.clone()).create(&PostParams::default(), &review).await.unwrap().status.unwrap().allowed
}

/// The server's own verdict, on a Role and binding as they are installed.
#[tokio::test]
async fn the_server_lets_the_agent_do_its_work_in_its_namespace_alone() {
    let client = cluster::client().await;
    in_new_namespace(&client, "apiserver-role", async |namespace| {
        Overlay { namespace, image: "localhost/none:1", settings: "", replicas: 0, more: "", components: &[] }.apply();
        let agent = format!("system:serviceaccount:{namespace}:scribe-agent");
        for (group, resource, sub, verbs) in USED {
            for verb in *verbs {
                until(&format!("the agent may {verb} {group}/{resource}/{sub}"), 10, async || {
                    if may(&client, &agent, namespace, verb, group, resource, sub).await { Ok(()) } else { Err("it may not") }
                })
                .await;
                assert!(!may(&client, &agent, "default", verb, group, resource, sub).await, "{verb} {resource} in another namespace");
            }
        }
        for verb in ["get", "list", "watch", "create", "update", "patch", "delete"] {
            assert!(!may(&client, &agent, namespace, verb, "", "secrets", "").await, "{verb} secrets");
        }
        let mover = format!("system:serviceaccount:{namespace}:scribe-mover");
        assert!(!may(&client, &mover, namespace, "get", "", "pods", "").await, "the mover may read pods");
    })
    .await;
}
