//! The agent's events, as `kubectl` shows them.

use crate::objects::Kind::Source;
use crate::objects::{NAMESPACE, client_with_crds, stored};
use crate::support::cluster::{apply, kubectl};
use jiff::{SignedDuration, Timestamp};
use scribe_agent::api::reason::Reason;
use scribe_agent::core::model::facts::{Kind, Object};
use scribe_agent::core::model::plan::Event;
use scribe_agent::manifests::event;

const WORDS: [&str; 6] = ["first", "second", "third", "fourth", "fifth", "sixth"];

/// Their names, by which the API server lists them, say nothing of their order.
#[tokio::test]
async fn events_are_shown_in_their_order_and_with_their_age() {
    let client = client_with_crds().await;
    stored(&client, Source, &Source.minimal(), async |name, _| {
        let get = ["--namespace", NAMESPACE, "get"];
        let uid = kubectl(&[&get[..], &["replicationsource", name, "--output=jsonpath={.metadata.uid}"]].concat());
        let begun = Timestamp::now() - SignedDuration::from_mins(10);
        let owner = Object::new(Kind::Source, NAMESPACE, name, &uid);
        for (number, words) in (0..).zip(WORDS) {
            let told = Event { warning: true, reason: Reason::Unreachable, note: format!("the {words} one"), key: words.into() };
            apply(&event::build(&owner, &told, "agent", begun + SignedDuration::from_mins(number)));
        }
        let of_this = format!("--field-selector=involvedObject.uid={uid}");
        let listed = kubectl(&[&get[..], &["events", &of_this, "--sort-by=.lastTimestamp"]].concat());
        let described = kubectl(&["--namespace", NAMESPACE, "describe", "replicationsource", name]);
        for shown in [listed, described] {
            let lines: Vec<_> = shown.lines().filter(|line| line.contains("Unreachable")).collect();
            let ends = |(line, words): (&&str, &str)| line.ends_with(&format!("the {words} one")) && !line.contains("<unknown>");
            assert!(lines.len() == WORDS.len() && lines.iter().zip(WORDS).all(ends), "{shown}");
        }
        kubectl(&["--namespace", NAMESPACE, "delete", "events", &of_this]);
    })
    .await;
}
