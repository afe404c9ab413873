//! What overlays make of `kustomize/base` and `kustomize/crds`: other names, other ways to apply it, and who may use the two kinds.

use crate::support::cluster::{self, client, kubectl, relative_to};
use crate::support::namespace::in_new_namespace;
use scribe_agent::core::model::pod::is_unprivileged;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// An overlay with these lines on `kustomize/base`, for as long as `test` runs.
fn overlay<T>(name: &str, lines: &str, test: impl FnOnce(&str) -> T) -> T {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("kustomize-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let base = relative_to(&folder, "kustomize/base");
    std::fs::write(folder.join("kustomization.yaml"), format!("resources: [{}]\n{lines}", base.display())).unwrap();
    let result = test(folder.to_str().unwrap());
    std::fs::remove_dir_all(&folder).unwrap();
    result
}

/// The objects that it is made of, by kind.
fn built(folder: &str) -> BTreeMap<String, Vec<Value>> {
    let text = kubectl(&["apply", "--dry-run=client", "--output=json", "--kustomize", folder]);
    let list: Value = serde_json::from_str(&text).unwrap();
    let mut kinds: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for object in list["items"].as_array().unwrap() {
        kinds.entry(object["kind"].as_str().unwrap().to_owned()).or_default().push(object.clone());
    }
    kinds
}

fn pod(objects: &BTreeMap<String, Vec<Value>>) -> &Value {
    &objects["Deployment"][0]["spec"]["template"]["spec"]
}

fn environment(objects: &BTreeMap<String, Vec<Value>>, name: &str) -> String {
    let variables = pod(objects)["containers"][0]["env"].as_array().unwrap();
    let variable = variables.iter().find(|variable| variable["name"] == name).unwrap_or_else(|| panic!("no {name} in {variables:?}"));
    variable["value"].as_str().unwrap().to_owned()
}

/// The movers run as an account that is there, whatever it is called.
fn assert_consistent(lines: &str, agent: &str, mover: &str) {
    overlay("names", lines, |folder| {
        let objects = built(folder);
        let accounts: BTreeSet<_> = objects["ServiceAccount"].iter().map(|account| account["metadata"]["name"].as_str().unwrap()).collect();
        assert_eq!(accounts, BTreeSet::from([agent, mover]));
        assert_eq!(environment(&objects, "MOVER_SERVICE_ACCOUNT"), mover);
        assert_eq!(pod(&objects)["serviceAccountName"], agent);
        assert_eq!(objects["RoleBinding"][0]["subjects"][0]["name"], agent);
        assert_eq!(objects["RoleBinding"][0]["roleRef"]["name"], objects["Role"][0]["metadata"]["name"]);
        assert_eq!(pod(&objects)["volumes"][0]["configMap"]["name"], objects["ConfigMap"][0]["metadata"]["name"]);
    });
}

#[test]
fn names_stay_consistent_in_every_overlay() {
    assert_consistent("", "scribe-agent", "scribe-mover");
    assert_consistent("namePrefix: teamx-\nnameSuffix: -eu\n", "teamx-scribe-agent-eu", "teamx-scribe-mover-eu");
    let renamed = "patches:\n- target: {kind: ServiceAccount, name: scribe-mover}\n  \
                   patch: '[{\"op\": \"replace\", \"path\": \"/metadata/name\", \"value\": \"movers\"}]'\n  \
                   options: {allowNameChange: true}\n";
    assert_consistent(renamed, "scribe-agent", "movers");
}

/// The image names its user by number, and OpenShift assigns one.
#[test]
fn no_user_is_fixed() {
    overlay("user", "", |folder| {
        let objects = built(folder);
        let context = &pod(&objects)["securityContext"];
        assert_eq!(context["runAsNonRoot"], true);
        for field in ["runAsUser", "runAsGroup", "fsGroup"] {
            assert_eq!(context[field], Value::Null, "{field}");
            assert_eq!(pod(&objects)["containers"][0]["securityContext"][field], Value::Null, "{field}");
        }
    });
    let image = std::fs::read_to_string(cluster::root().join("Dockerfile")).unwrap();
    assert!(image.contains("\nUSER 65532:65532\n"), "runAsNonRoot needs a number in the image");
}

/// The component for restricted namespaces tells the agent what its movers are to be like, whatever else an overlay changes, and nothing else.
#[test]
fn restricted_movers_run_without_root() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let component = relative_to(&folder, "kustomize/components/restricted");
    // From the overlay's own folder, which is one further down.
    let lines = format!("components: [{}]\nnamePrefix: teamx-\n", Path::new("..").join(component).display());
    overlay("restricted", &lines, |folder| {
        let objects = built(folder);
        let context = scribe_agent::settings::mover::security_context(&environment(&objects, "MOVER_SECURITY_CONTEXT")).unwrap();
        assert!(is_unprivileged(&context) && context.run_as_non_root == Some(true) && context.fs_group.is_some(), "{context:?}");
        assert_eq!(environment(&objects, "MOVER_SERVICE_ACCOUNT"), "teamx-scribe-mover");
        overlay("unrestricted", "namePrefix: teamx-\n", |folder| {
            let mut plain = built(folder);
            let variable = json!({ "name": "MOVER_SECURITY_CONTEXT", "value": environment(&objects, "MOVER_SECURITY_CONTEXT") });
            let deployment = &mut plain.get_mut("Deployment").unwrap()[0];
            deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array_mut().unwrap().push(variable);
            for (kind, objects) in &objects {
                let without = |object: &Value| {
                    let mut object = object.clone();
                    object["metadata"]["annotations"] = Value::Null;
                    object
                };
                assert_eq!(objects.iter().map(without).collect::<Vec<_>>(), plain[kind].iter().map(without).collect::<Vec<_>>());
            }
        });
    });
}

/// One field that differs between what is sent and what is stored makes each of them take the other's for a change.
#[tokio::test]
async fn both_ways_to_apply_get_along() {
    in_new_namespace(&client().await, "apply", async |namespace| {
        overlay("apply", &format!("namespace: {namespace}\nreplicas: [{{name: scribe-agent, count: 0}}]\n"), |folder| {
            kubectl(&["apply", "--kustomize", folder]);
            kubectl(&["apply", "--server-side", "--kustomize", folder]);
            kubectl(&["apply", "--kustomize", folder]);
        });
    })
    .await;
}

/// The standard roles of a namespace include the two kinds.
#[test]
fn members_of_a_namespace_may_use_the_two_kinds() {
    let folder = cluster::root().join("kustomize/crds");
    let objects = built(folder.to_str().unwrap());
    let roles = &objects["ClusterRole"];
    let granted = |aggregate: &str| {
        let label = format!("rbac.authorization.k8s.io/aggregate-to-{aggregate}");
        let labelled = roles.iter().filter(move |role| role["metadata"]["labels"][&label] == "true");
        let mut verbs: Vec<_> = labelled
            .flat_map(|role| role["rules"].as_array().unwrap())
            .inspect(|rule| assert_eq!(rule["apiGroups"], serde_json::json!(["scribe.backube"])))
            .flat_map(|rule| rule["verbs"].as_array().unwrap())
            .map(|verb| verb.as_str().unwrap().to_owned())
            .collect();
        verbs.sort();
        verbs
    };
    assert_eq!(granted("view"), ["get", "list", "watch"]);
    let all = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    assert_eq!((granted("edit"), granted("admin")), (all.map(str::to_owned).into(), all.map(str::to_owned).into()));
}
