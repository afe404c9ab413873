//! The API server's audit log: what an agent or VolSync's manager asked for, and when.

use super::support::cluster::given;
use super::support::site::Site;
use super::support::until::until;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// One request.
#[derive(Deserialize, Debug, Clone)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(rename = "auditID")]
    id: String,
    verb: String,
    user: User,
    object_ref: Option<ObjectRef>,
    request_received_timestamp: Timestamp,
}

#[derive(Deserialize, Debug, Clone)]
struct User {
    username: String,
}

#[derive(Deserialize, Debug, Clone)]
struct ObjectRef {
    resource: String,
    subresource: Option<String>,
}

/// Requests by verb and resource.
#[derive(Default, Debug)]
pub struct Requests(BTreeMap<(String, String), usize>);

/// The user that the site's agent is.
pub fn agent(site: &Site) -> String {
    format!("system:serviceaccount:{}:scribe-agent", site.namespace)
}

/// The requests that the site's agent made within a span of time.
pub fn requests(site: &Site, from: Timestamp, to: Timestamp) -> Requests {
    requests_of(&agent(site), from, to)
}

/// The requests that a user made within a span of time.
pub fn requests_of(user: &str, from: Timestamp, to: Timestamp) -> Requests {
    let mut requests = Requests::default();
    for entry in entries(user).into_values().filter(|e| e.request_received_timestamp >= from && e.request_received_timestamp < to) {
        let resource = entry.object_ref.map_or_else(String::new, |object| match object.subresource {
            Some(subresource) => format!("{}/{subresource}", object.resource),
            None => object.resource,
        });
        *requests.0.entry((entry.verb, resource)).or_default() += 1;
    }
    requests
}

/// All requests of a user by their identity: a watch has an entry when it opens and another when it ends.
fn entries(user: &str) -> BTreeMap<String, Entry> {
    let log = std::fs::read_to_string(given("E2E_AUDIT_LOG")).unwrap();
    let theirs = log.lines().filter(|line| line.contains(user)).filter_map(|line| serde_json::from_str::<Entry>(line).ok());
    theirs.filter(|entry| entry.user.username == user).map(|entry| (entry.id.clone(), entry)).collect()
}

/// Waits until the site's agent has asked for nothing in three seconds.
pub async fn quiet(site: &Site) {
    quiet_of(&agent(site)).await;
}

/// Waits until a user has asked for nothing in three seconds.
pub async fn quiet_of(user: &str) {
    until(&format!("{user} is quiet"), 90, async || {
        let last = entries(user).into_values().filter(|e| e.verb != "watch").map(|e| e.request_received_timestamp).max();
        match last {
            Some(last) if Timestamp::now().duration_since(last) < SignedDuration::from_secs(3) => Err(last),
            _ => Ok(()),
        }
    })
    .await;
}

impl Requests {
    fn sum(&self, wanted: impl Fn(&str) -> bool) -> usize {
        self.0.iter().filter(|((verb, _), _)| wanted(verb)).map(|(_, count)| count).sum()
    }

    /// All but watches.
    pub fn total(&self) -> usize {
        self.sum(|verb| verb != "watch")
    }

    /// Totals, and what they are made of.
    pub fn describe(&self) -> String {
        let is_read = |verb: &str| ["get", "list"].contains(&verb);
        let (watches, reads) = (self.sum(|verb| verb == "watch"), self.sum(is_read));
        let writes = self.sum(|verb| verb != "watch" && !is_read(verb));
        let mut text = format!("**{}**: {reads} reads, {writes} writes; {watches} watches opened again", reads + writes);
        let mut separator = " (";
        for ((verb, resource), count) in &self.0 {
            let _ = write!(text, "{separator}{count} {verb} {resource}");
            separator = ", ";
        }
        if separator == ", " { text + ")" } else { text }
    }
}
