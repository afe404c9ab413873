//! What starts syncs, as the status shows it; and an event where an edit changed that.

use crate::api::labels::SYNC_NOW;
use crate::api::reason::Reason;
use crate::core::decision::Decision;
use crate::core::model::spec::Spec;

/// Records what starts syncs by this spec. An edit of it is reported: a `manual` that is set to sync once ends continuous syncing, and
/// the object stays Ready with ever older data.
pub fn note(decision: &mut Decision<'_>, spec: &Spec) {
    let kind = spec.trigger.kind();
    let before = decision.status.trigger.replace(kind.to_owned());
    let Some(before) = before.filter(|before| before != kind) else { return };
    let ended = if before == "Schedule" { "by schedule" } else { "continuously" };
    let note = match (before.as_str(), kind) {
        ("Manual", "Schedule") => "Syncs start by schedule from now on".to_owned(),
        ("Manual", _) => "Syncs start continuously from now on".to_owned(),
        (_, "Manual") => format!(
            "Syncs no longer start {ended}: with spec.trigger.manual alone, each new value of it starts one sync. \
             To sync once and keep the trigger, remove manual and set the annotation {SYNC_NOW} to a new value"
        ),
        (_, "Schedule") => format!("Syncs no longer start {ended}, but by schedule"),
        _ => format!("Syncs no longer start {ended}, but continuously"),
    };
    let generation = decision.facts.object.generation;
    decision.event(kind == "Manual", Reason::TriggerChanged, note, &generation.to_string());
}
