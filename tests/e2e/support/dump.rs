//! What there is to see in a namespace where a test failed, for somebody who was asleep when it did.

use super::cluster::try_kubectl;

/// Kinds that tell the story of a sync.
const KINDS: &str = "replicationsources,replicationdestinations,pods,jobs,persistentvolumeclaims,volumesnapshots,deployments";

/// Prints objects, events and logs of a namespace.
pub fn namespace(namespace: &str) {
    let mut sections = Vec::new();
    let mut section = |title: &str, arguments: &[&str]| {
        let output = try_kubectl(&[&["-n", namespace], arguments].concat());
        let said = [output.stdout, output.stderr].concat();
        sections.push(format!("==== {title}\n{}\n", String::from_utf8_lossy(&said).trim_end()));
    };
    section("objects", &["get", KINDS, "--output=wide"]);
    section("events", &["get", "events", "--sort-by=.metadata.creationTimestamp", "--no-headers"]);
    section("replications", &["get", "replicationsources,replicationdestinations", "--output=yaml"]);
    let logs = ["--all-containers", "--prefix", "--ignore-errors", "--tail=200"];
    for (title, selector, more) in [
        ("the agent before its last restart", "app.kubernetes.io/component=agent", Some("--previous")),
        ("the agent", "app.kubernetes.io/component=agent", None),
        ("the movers", "app.kubernetes.io/component=mover", None),
    ] {
        let selector = format!("--selector={selector}");
        section(title, &[&["logs", &selector], &logs[..], more.as_slice()].concat());
    }
    eprintln!("\n######## namespace {namespace}\n{}######## end of namespace {namespace}\n", sections.concat());
}
