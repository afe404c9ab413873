//! `docs/reference.md`, from the CRDs and the reasons: every field, condition and reason.

use crate::{compare, root};
use scribe_agent::api::reason::{Policy, Reason};
use scribe_agent::api::{Status, crd, labels};
use scribe_agent::core::conditions::{self, Course};
use scribe_agent::core::model::limits::Limits;
use scribe_agent::core::model::spec::InvalidSpec;
use scribe_agent::core::validate;
use serde_json::{Value, json};
use std::fmt::Write;

const INTRODUCTION: &str = "\
<!-- Generated from agent/src/api by `make generate`; do not edit. -->
# Reference

Every field, condition and reason of `scribe.backube/v1alpha1`. [Usage](usage.md) shows what they are for, and
[operations](operations.md) what to do about each reason. Both kinds are namespaced. The PVCs, Secrets and snapshots that they name
are those of the object's own namespace.
";

/// Defaults that the CRD's descriptions do not have in the form `Default: …`. `None`: left out, it means just that.
const DEFAULTS: [(&str, Option<&str>); 10] = [
    ("spec.paused", Some("`false`")),
    ("spec.trigger", None),
    ("spec.trigger.schedule", None),
    ("spec.trigger.manual", None),
    ("spec.trigger.runOnCreate", Some("`true`")),
    ("spec.rclone.copyMethod", Some("`Snapshot`")),
    ("spec.rclone.layout", Some("`Files`")),
    ("spec.rclone.deletionGuard", Some("as its fields")),
    ("spec.rclone.destinationPVC", None),
    ("spec.rclone.capacity", None),
];

/// Objects of Kubernetes, whose fields are described where it describes pods.
const AS_IN_A_POD: [&str; 3] =
    ["spec.rclone.moverSecurityContext", "spec.rclone.moverAffinity", "spec.rclone.moverVolumes[].volumeSource.secret"];

/// The conditions, what each says, and which reasons it has when it is true and when it is false; none: those in words.
struct Condition {
    kind: &'static str,
    meaning: &'static str,
    when_true: (&'static [Reason], &'static str),
    when_false: (&'static [Reason], &'static str),
}

const CONDITIONS: [Condition; 4] = [
    Condition {
        kind: "Reconciled",
        meaning: "The spec is valid, and the last reconcile succeeded.",
        when_true: (&[Reason::ReconcileComplete], ""),
        when_false: (&[Reason::ReconcileError], ""),
    },
    Condition {
        kind: "Synchronizing",
        meaning: "A sync is running. While none is, the reason says what the next one waits for.",
        when_true: (&[Reason::SyncInProgress], ""),
        when_false: (
            &[
                Reason::WaitingForSchedule,
                Reason::WaitingForManual,
                Reason::WaitingForInterval,
                Reason::WaitingForSlot,
                Reason::WaitingForFirstPush,
                Reason::Backoff,
                Reason::Paused,
                Reason::Error,
            ],
            "",
        ),
    },
    Condition {
        kind: "Stalled",
        meaning: "Action by a person is required, or `maxAttempts` attempts in a row have failed; the message says why.",
        when_true: (
            &[],
            "one of those that [require action](#reasons-that-require-action), or the reason of the last of `maxAttempts` failures in a row",
        ),
        when_false: (&[Reason::NotStalled], ""),
    },
    Condition {
        kind: "Ready",
        meaning: "A sync has succeeded, what it published is there, nothing is stalled, and no sync of a changed spec has failed since. Its `observedGeneration` is the generation that was synced last.",
        when_true: (&[Reason::Synced], ""),
        when_false: (
            &[Reason::NeverSynced, Reason::NotPublished, Reason::SyncInProgress, Reason::Paused],
            ", or the reason of the failure",
        ),
    },
];

/// Reasons that stand in events alone.
const EVENTS: [Reason; 14] = [
    Reason::SyncStarted,
    Reason::SyncCompleted,
    Reason::Failing,
    Reason::TriggerChanged,
    Reason::SettingsInvalid,
    Reason::ResizeRefused,
    Reason::PathTakenOver,
    Reason::AnnotationIgnored,
    Reason::SyncAborted,
    Reason::MoverDisrupted,
    Reason::ContainerInjected,
    Reason::WaitingForCopyTrigger,
    Reason::CopyCompleted,
    Reason::BucketCreated,
];

/// What users set on objects beside their spec.
const ANNOTATIONS: [(&str, &str, &str); 8] = [
    (labels::SYNC_NOW, "annotation of both kinds", "Any new value: one sync follows at once, whatever the trigger."),
    (labels::ABORT, "annotation of both kinds", "The id of the running sync (`status.run.id`): ends that sync."),
    (labels::ALLOW_DELETIONS, "annotation of both kinds", "The token of a `DeletionGuard` message: approves that one deletion."),
    (
        labels::ADOPT_PATH,
        "annotation of a `ReplicationSource`",
        "`rcloneDestPath`, whose files it may take over; once for each time that it is set.",
    ),
    (
        labels::VERIFY_NOW,
        "annotation of a `ReplicationSource`",
        "Any new value: a push that lists its path and repairs it follows at once.",
    ),
    (
        labels::USE_COPY_TRIGGER,
        "annotation of a source's PVC",
        "Any value, also an empty one: with copyMethod `Snapshot` or `Clone`, the copy is made when `scribe.backube/copy-trigger` asks for it.",
    ),
    (
        labels::COPY_TRIGGER,
        "annotation of a source's PVC",
        "Any new value: the copy is made at once; see `scribe.backube/latest-copy-status`.",
    ),
    (labels::DO_NOT_DELETE, "label of an image (`VolumeSnapshot`)", "Any value: the agent releases the image and never deletes it."),
];

fn crds() -> Vec<Value> {
    crd::files().unwrap().into_iter().map(|(_, text)| serde_saphyr::from_str(&text).unwrap()).collect()
}

fn text<'a>(node: &'a Value, key: &str) -> &'a str {
    node[key].as_str().unwrap_or_default()
}

/// As it may stand in a cell of a Markdown table.
fn cell(words: &str) -> String {
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    // Inside of backticks only the bar has a meaning.
    let quoted = |(n, part): (usize, &str)| {
        let part = part.replace('|', r"\|");
        if n % 2 == 1 { part } else { part.replace('*', r"\*").replace('<', "&lt;").replace('[', r"\[") }
    };
    words.split('`').enumerate().map(quoted).collect::<Vec<_>>().join("`")
}

fn type_of(schema: &Value) -> String {
    match (text(schema, "type"), text(schema, "format")) {
        ("array", _) => format!("list of {}", type_of(&schema["items"])),
        ("string", "date-time") => "time".to_owned(),
        (kind, _) => kind.to_owned(),
    }
}

/// The limits that the API server holds a value to.
fn allowed(schema: &Value) -> String {
    let mut limits = Vec::new();
    let values = schema["enum"].as_array().or_else(|| schema.pointer("/items/enum")?.as_array());
    if let Some(values) = values {
        limits.push(values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", "));
    }
    for (least, most, unit) in [("minimum", "maximum", ""), ("minLength", "maxLength", " characters"), ("minItems", "maxItems", " items")] {
        let number = |key: &str| schema[key].as_f64();
        match (number(least), number(most)) {
            (Some(least), Some(most)) => limits.push(format!("{least} to {most}{unit}")),
            (None, Some(most)) => limits.push(format!("at most {most}{unit}")),
            (Some(least), None) => limits.push(format!("at least {least}{unit}")),
            (None, None) => {}
        }
    }
    // Those of an object hold between its fields, and stand below the table.
    if text(schema, "type") != "object" {
        limits.extend(rules(schema).map(cell));
    }
    limits.join("; ")
}

fn rules(schema: &Value) -> impl Iterator<Item = &str> {
    schema["x-kubernetes-validations"].as_array().into_iter().flatten().map(|rule| text(rule, "message"))
}

/// The description in two, its lines joined, because a comment may wrap anywhere: what stands beside the sentence `Default: …`, and that
/// sentence's end.
fn described(schema: &Value) -> (String, Option<String>) {
    let description = text(schema, "description").split_whitespace().collect::<Vec<_>>().join(" ");
    let Some((before, default)) = description.split_once("Default: ") else { return (description, None) };
    let (default, after) = default.split_once(". ").unwrap_or((default, ""));
    (format!("{before}{after}"), Some(default.trim_end_matches('.').to_owned()))
}

fn known_default(path: &str, schema: &Value) -> Option<String> {
    if let (_, Some(default)) = described(schema) {
        let one_word = !default.contains(' ') && !default.contains('`');
        return Some(if one_word { format!("`{default}`") } else { default });
    }
    DEFAULTS.iter().find(|(known, _)| *known == path).map(|(_, default)| default.unwrap_or_default().to_owned())
}

/// What a field that is left out counts as.
fn default(path: &str, schema: &Value, required: bool) -> String {
    if required {
        return String::new();
    }
    known_default(path, schema).unwrap_or_else(|| panic!("{path}: write `Default: …` into its comment, or add it to DEFAULTS"))
}

/// One line of a table.
struct Field<'a> {
    path: String,
    required: bool,
    schema: &'a Value,
}

/// The fields below this one, in the order of the CRD, each object right before what it holds.
fn fields<'a>(path: &str, schema: &'a Value, found: &mut Vec<Field<'a>>) {
    let required = schema["required"].as_array();
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let required = required.is_some_and(|names| names.iter().any(|n| n == name));
        found.push(Field { path: path.clone(), required, schema });
        match text(schema, "type") {
            _ if AS_IN_A_POD.contains(&path.as_str()) => {}
            "array" => fields(&format!("{path}[]"), &schema["items"], found),
            _ => fields(&path, schema, found),
        }
    }
}

fn fields_of<'a>(crd: &'a Value, part: &str) -> Vec<Field<'a>> {
    let mut found = Vec::new();
    fields(part, &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part], &mut found);
    found
}

fn kind(crd: &Value, page: &mut String) -> std::fmt::Result {
    let (names, version) = (&crd["spec"]["names"], &crd["spec"]["versions"][0]);
    let schema = &version["schema"]["openAPIV3Schema"];
    writeln!(page, "\n## {}\n\n{}", text(names, "kind"), text(schema, "description"))?;
    let short = names["shortNames"][0].as_str().unwrap_or_default();
    writeln!(page, "Its short name is `{short}`. `kubectl get {short}` shows:\n\n| column | where it comes from |\n|---|---|")?;
    for column in version["additionalPrinterColumns"].as_array().into_iter().flatten() {
        let shown = if column["priority"].as_i64() > Some(0) { " (with `-o wide`)" } else { "" };
        writeln!(page, "| {}{shown} | `{}` |", text(column, "name"), text(column, "jsonPath"))?;
    }

    let written = fields_of(crd, "spec");
    writeln!(page, "\n### What you write in the spec of a {}\n", text(names, "kind"))?;
    writeln!(page, "| field | type | required | default | allowed | meaning |\n|---|---|---|---|---|---|")?;
    for Field { path, required, schema } in &written {
        let (default, allowed) = (default(path, schema, *required), allowed(schema));
        let (word, meaning) = (if *required { "yes" } else { "no" }, cell(&described(schema).0));
        writeln!(page, "| `{path}` | {} | {word} | {default} | {allowed} | {meaning} |", type_of(schema))?;
    }
    writeln!(page, "\nWhat the API server refuses, and says about it:\n")?;
    for rule in rules(&schema["properties"]["spec"]) {
        writeln!(page, "- `spec`: {}", cell(rule))?;
    }
    for Field { path, schema, .. } in written.iter().filter(|field| text(field.schema, "type") == "object") {
        for rule in rules(schema) {
            writeln!(page, "- `{path}`: {}", cell(rule))?;
        }
    }

    writeln!(page, "\n### What you read in the status of a {}\n", text(names, "kind"))?;
    writeln!(page, "| field | type | values | meaning |\n|---|---|---|---|")?;
    for Field { path, schema, .. } in fields_of(crd, "status") {
        writeln!(page, "| `{path}` | {} | {} | {} |", type_of(schema), allowed(schema), cell(text(schema, "description")))?;
    }
    Ok(())
}

fn table_of_conditions(page: &mut String) -> std::fmt::Result {
    let words = |(reasons, words): (&[Reason], &str)| {
        reasons.iter().map(|reason| format!("`{}`", reason.as_str())).collect::<Vec<_>>().join(", ") + words
    };
    writeln!(page, "\n## Conditions\n\nBoth kinds have these in `status.conditions`.\n")?;
    writeln!(page, "| condition | what it says | reasons when `True` | reasons when `False` |\n|---|---|---|---|")?;
    for condition in &CONDITIONS {
        let (yes, no) = (words(condition.when_true), words(condition.when_false));
        writeln!(page, "| `{}` | {} | {yes} | {no} |", condition.kind, condition.meaning)?;
    }
    Ok(())
}

fn reasons(page: &mut String, title: &str, introduction: &str, belongs: impl Fn(Reason) -> bool) -> std::fmt::Result {
    writeln!(page, "\n### {title}\n\n{introduction}\n\n| reason | meaning |\n|---|---|")?;
    for reason in Reason::ALL.iter().filter(|reason| belongs(**reason)) {
        writeln!(page, "| `{}` | {} |", reason.as_str(), cell(reason.meaning()))?;
    }
    Ok(())
}

fn page() -> Result<String, std::fmt::Error> {
    let mut page = INTRODUCTION.to_owned();
    for crd in crds() {
        kind(&crd, &mut page)?;
    }
    writeln!(page, "\n## Annotations and labels\n\n| name | where | value and effect |\n|---|---|---|")?;
    for (name, place, effect) in ANNOTATIONS {
        writeln!(page, "| `{name}` | {place} | {effect} |")?;
    }
    table_of_conditions(&mut page)?;
    writeln!(page, "\n## Reasons\n\nThe reason of a condition, an event or `status.lastError`.")?;
    let event = |reason| EVENTS.contains(&reason);
    let state = |reason: Reason| reason.policy() == Policy::State;
    reasons(&mut page, "Reasons of normal states", "In the conditions above.", |reason| state(reason) && !event(reason))?;
    reasons(&mut page, "Reasons of events alone", "`kubectl describe` shows them.", event)?;
    let passing =
        "In `status.lastError` and an event; the agent retries. After `maxAttempts` failures in a row also in `Stalled` and `Ready`.";
    reasons(&mut page, "Reasons that the agent retries", passing, |reason| reason.policy() == Policy::Passing)?;
    let stalled = "In `Stalled` and `Ready`, and in an event; the agent retries with an increasing delay.";
    reasons(&mut page, "Reasons that require action", stalled, |reason| reason.policy() == Policy::Stalled)?;
    Ok(page)
}

#[test]
fn the_reference() {
    compare(&root().join("docs/reference.md"), &page().unwrap());
}

/// No state is left out of the table of conditions, and none stands there that is an event's.
#[test]
fn every_state_has_its_place() {
    for reason in Reason::ALL.iter().filter(|reason| reason.policy() == Policy::State) {
        let in_conditions = CONDITIONS.iter().any(|c| c.when_true.0.contains(reason) || c.when_false.0.contains(reason));
        assert!(in_conditions != EVENTS.contains(reason), "{}: a reason of a condition, or of events alone?", reason.as_str());
    }
}

/// The conditions are those that the agent sets.
#[test]
fn every_condition_is_there() {
    let mut status = Status::default();
    let (invalid, limits) = (Err(InvalidSpec("invalid".to_owned())), Limits::default());
    conditions::set(&mut status, &invalid, Course::default(), 1, &limits, jiff::Timestamp::UNIX_EPOCH);
    let set = status.conditions.iter().map(|condition| condition.type_.as_str());
    assert!(set.eq(CONDITIONS.iter().map(|condition| condition.kind)), "{:?}", status.conditions);
}

/// A spec that spells its defaults out means the same as one that leaves them out.
#[test]
fn defaults_are_those_of_the_code() {
    let required = json!({ "rcloneConfig": "secret", "rcloneConfigSection": "s3", "rcloneDestPath": "path", "capacity": "1Gi" });
    let short = json!({ "sourcePVC": "data", "trigger": { "schedule": "0 3 * * *" }, "rclone": required });
    let mut spelled = 0;
    for (crd, read) in crds().iter().zip([source as fn(Value) -> String, destination]) {
        let mut long = short.clone();
        for Field { path, schema, .. } in fields_of(crd, "spec").iter().filter(|field| !field.required) {
            // Lists and sentences describe what is looked up elsewhere.
            let word = default(path, schema, false);
            let Some(word) = word.strip_prefix('`').and_then(|word| word.strip_suffix('`')).filter(|_| type_of(schema) != "object") else {
                continue;
            };
            if text(schema, "type") == "array" {
                continue;
            }
            let pointer = path.trim_start_matches("spec").split('.').filter(|part| !part.is_empty());
            let place = pointer.fold(&mut long, |node, part| &mut node[part]);
            *place = serde_json::from_str(word).unwrap_or_else(|_| json!(word));
            spelled += 1;
        }
        assert_eq!(read(short.clone()), read(long.clone()), "{long}");
    }
    assert!(spelled > 12, "{spelled} defaults found");
}

fn source(spec: Value) -> String {
    format!("{:?}", validate::source(&serde_json::from_value(spec).unwrap(), "uid").unwrap())
}

fn destination(spec: Value) -> String {
    format!("{:?}", validate::destination(&serde_json::from_value(spec).unwrap(), "uid").unwrap())
}
