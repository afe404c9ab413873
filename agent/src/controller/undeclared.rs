//! Status fields that the cluster's CRDs do not declare, because they are older than the agent. Each kind has one CRD, so its objects share
//! what is known of it.
//!
//! What cannot be recorded must not be done, so a field that is missing may never be written again by itself. The agent therefore asks for it
//! with a dry run, until the CRD is brought up to date.

use super::Context;
use super::memory::TRY_AGAIN;
use crate::api::{Status, recorded};
use crate::core::model::facts::{Facts, Kind, Object};
use crate::core::model::plan::{Plan, Step};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The API server is asked no more often than this.
const PAUSE: Duration = Duration::from_secs(30);

/// What the CRDs lack.
#[derive(Debug, Default)]
pub struct Undeclared {
    crds: Mutex<BTreeMap<Kind, Crd>>,
}

/// What one CRD lacks.
#[derive(Debug, Default)]
struct Crd {
    lacks: BTreeMap<String, Lack>,
    /// When the API server was last asked about it.
    asked: Option<Instant>,
}

#[derive(Debug)]
struct Lack {
    /// When the field was last seen to be dropped.
    seen: Instant,
    /// A status with this field.
    sent: Arc<Status>,
}

impl Crd {
    fn lacks(&self, field: &str, now: Instant) -> bool {
        self.lacks.get(field).is_some_and(|lack| now.saturating_duration_since(lack.seen) < TRY_AGAIN)
    }
}

impl Undeclared {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Kind, Crd>> {
        self.crds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The API server took `status`, or would take it, but for the fields that it `dropped`. Returns whether one of these is news.
    pub fn sent(&self, kind: Kind, status: &Status, dropped: &BTreeSet<String>, now: Instant) -> bool {
        let mut all = self.all();
        if dropped.is_empty() && !all.contains_key(&kind) {
            return false;
        }
        let crd = all.entry(kind).or_insert_with(|| Crd { lacks: BTreeMap::new(), asked: Some(now) });
        let news = dropped.iter().any(|field| !crd.lacks(field, now));
        let before = crd.lacks.len();
        let body = json!(status);
        crd.lacks.retain(|field, _| !recorded::has(&body, field) || is_below(field, dropped));
        if crd.lacks.len() < before {
            // It is another CRD than before: the other fields are worth a question at once.
            crd.asked = None;
        }
        let sent = Arc::new(status.clone());
        crd.lacks.extend(dropped.iter().map(|field| (field.clone(), Lack { seen: now, sent: sent.clone() })));
        if crd.lacks.is_empty() {
            all.remove(&kind);
        }
        news
    }

    /// Whether the CRD lacks any of these fields, as far as that was not too long ago to be believed.
    pub fn lacks(&self, kind: Kind, fields: &[&str], now: Instant) -> bool {
        self.all().get(&kind).is_some_and(|crd| fields.iter().any(|field| crd.lacks(field, now)))
    }

    /// Paths of the fields that the CRD lacks, as far as that was not too long ago to be believed.
    pub fn fields(&self, kind: Kind, now: Instant) -> BTreeSet<String> {
        let all = self.all();
        let lacking = all.get(&kind).into_iter().flat_map(|crd| crd.lacks.keys().filter(|field| crd.lacks(field, now)));
        lacking.cloned().collect()
    }

    /// The status with which to ask whether the CRD still lacks a field, if it is time for that.
    pub fn question(&self, kind: Kind, now: Instant) -> Option<Arc<Status>> {
        let mut all = self.all();
        let crd = all.get_mut(&kind)?;
        if crd.asked.is_some_and(|asked| now.saturating_duration_since(asked) < PAUSE) {
            return None;
        }
        crd.asked = Some(now);
        crd.lacks.values().next().map(|lack| lack.sent.clone())
    }

    /// What to report of the CRD.
    pub fn trouble(&self, kind: Kind, now: Instant) -> Option<String> {
        let all = self.all();
        let crd = all.get(&kind)?;
        let fields: Vec<_> = crd.lacks.keys().map(String::as_str).filter(|field| crd.lacks(field, now)).collect();
        (!fields.is_empty()).then(|| {
            format!(
                "The cluster's CRD is older than this agent and lacks status fields ({}): apply kustomize/crds. \
                 Until then annotations whose outcome cannot be recorded are ignored",
                fields.join(", ")
            )
        })
    }
}

/// Asks the API server, if it is time for that, whether the CRD has been brought up to date. `object` may be any of its kind.
pub(super) async fn ask(context: &Context, object: &Object) {
    while let Some(status) = context.undeclared.question(object.kind, Instant::now()) {
        match context.writer.would_drop(object, &status).await {
            Ok(dropped) => {
                context.undeclared.sent(object.kind, &status, &dropped, Instant::now());
            }
            Err(error) => {
                tracing::debug!(kind = object.kind.as_str(), name = object.name, %error, "cannot ask whether the CRD is up to date");
                return;
            }
        }
    }
}

/// An abort that cannot be recorded would be repeated by the next agent, which does not know what this one has found out. So the API server is
/// asked before the plan is executed. Returns whether it is to be decided again.
///
/// # Errors
/// Where the API server does not say.
pub(super) async fn forbids(context: &Context, facts: &Facts, plan: &Plan) -> kube::Result<bool> {
    let aborts = |status: &Status| status.last_handled_abort.is_some() && status.last_handled_abort != facts.status.last_handled_abort;
    let written = plan.steps.iter().find_map(|step| if let Step::WriteStatus(status) = step { Some(status) } else { None });
    let Some(status) = written.filter(|status| aborts(status)) else { return Ok(false) };
    let dropped = context.writer.would_drop(&facts.object, status).await?;
    let news = context.undeclared.sent(facts.object.kind, status, &dropped, Instant::now());
    if news {
        tracing::error!(
            kind = facts.object.kind.as_str(),
            fields = ?dropped,
            "the cluster's CRD is older than this agent and lacks status fields, so that no abort can be recorded: apply kustomize/crds"
        );
    }
    Ok(news)
}

/// Whether the field was dropped, or one that it is part of.
fn is_below(field: &str, dropped: &BTreeSet<String>) -> bool {
    dropped.iter().any(|path| field.strip_prefix(path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind::Source;
    const HANDLED: &str = "lastHandledVerifyNow";

    fn status() -> Status {
        Status { last_handled_verify_now: Some("1".into()), adopted_path: Some("p".into()), ..Status::default() }
    }

    fn fields(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn only_news_of_undeclared_fields_are_news() {
        let (known, now) = (Undeclared::default(), Instant::now());
        assert!(!known.sent(KIND, &status(), &fields(&[]), now));
        assert!(known.sent(KIND, &status(), &fields(&[HANDLED]), now));
        assert!(!known.sent(KIND, &status(), &fields(&[HANDLED]), now));
        assert!(known.sent(KIND, &status(), &fields(&["adoptedPath", HANDLED]), now));
        let trouble = known.trouble(KIND, now).unwrap_or_default();
        assert!(trouble.contains("(adoptedPath, lastHandledVerifyNow)"), "{trouble}");
        assert!(!known.lacks(Kind::Destination, &[HANDLED], now), "the other kind has its own CRD");
    }

    /// Otherwise the annotation would be handled again after each push, without end.
    #[test]
    fn an_old_crd_is_known_for_as_long_as_it_drops_fields() {
        let (known, start) = (Undeclared::default(), Instant::now());
        for hour in 0..5 {
            let now = start + TRY_AGAIN * hour;
            assert!(known.sent(KIND, &status(), &fields(&[HANDLED]), now), "it is tried once an hour, and is news then");
            assert!(known.lacks(KIND, &[HANDLED], now) && known.trouble(KIND, now).is_some());
            let later = now + TRY_AGAIN.saturating_sub(Duration::from_secs(1));
            assert!(known.lacks(KIND, &[HANDLED], later));
        }
    }

    #[test]
    fn a_field_that_is_kept_is_declared() {
        let (known, now) = (Undeclared::default(), Instant::now());
        known.sent(KIND, &status(), &fields(&[HANDLED, "adoptedPath"]), now);
        known.sent(KIND, &Status::default(), &fields(&[]), now);
        assert!(known.lacks(KIND, &[HANDLED], now), "it was not sent");
        known.sent(KIND, &status(), &fields(&["adoptedPath"]), now);
        assert!(!known.lacks(KIND, &[HANDLED], now) && known.lacks(KIND, &["adoptedPath"], now));
        assert_eq!((known.fields(KIND, now), known.fields(KIND, now + TRY_AGAIN)), (fields(&["adoptedPath"]), fields(&[])));
        known.sent(KIND, &status(), &fields(&[]), now);
        assert_eq!(known.trouble(KIND, now), None);
    }

    /// It is news once, however many objects and images have it.
    #[test]
    fn a_field_of_a_list_is_known_and_forgotten_as_any_other() {
        let (known, now) = (Undeclared::default(), Instant::now());
        let images: Status = serde_json::from_value(json!({ "images": [{ "name": "a" }, { "name": "b", "revision": "r" }] })).unwrap();
        assert!(known.sent(KIND, &images, &fields(&["images.revision"]), now));
        assert!(!known.sent(KIND, &images, &fields(&["images.revision"]), now));
        known.sent(KIND, &Status::default(), &fields(&[]), now);
        assert!(known.trouble(KIND, now).is_some_and(|trouble| trouble.contains("(images.revision)")), "it was not sent");
        known.sent(KIND, &images, &fields(&[]), now);
        assert_eq!(known.trouble(KIND, now), None);
    }

    #[test]
    fn a_field_of_an_object_that_is_dropped_as_a_whole_is_not_kept() {
        assert!(is_below("run.adopt", &fields(&["run"])) && is_below("run", &fields(&["run"])));
        assert!(!is_below("running", &fields(&["run"])) && !is_below("run", &fields(&["run.adopt"])));
    }

    #[test]
    fn the_api_server_is_asked_now_and_then_and_at_once_about_the_next_field() {
        let (known, now) = (Undeclared::default(), Instant::now());
        assert_eq!(known.question(KIND, now), None);
        known.sent(KIND, &status(), &fields(&[HANDLED, "adoptedPath"]), now);
        assert_eq!(known.question(KIND, now), None, "it has just said so");
        let later = now + PAUSE;
        assert_eq!(known.question(KIND, later).as_deref(), Some(&status()));
        assert_eq!(known.question(KIND, later), None);
        known.sent(KIND, &status(), &fields(&[HANDLED]), later);
        assert!(known.question(KIND, later).is_some(), "one field is declared by now");
    }
}
