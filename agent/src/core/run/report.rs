//! What a run that waits reports, once its wait is long enough to be worth a report.

use super::deadline::deadline;
use crate::api::status::Run;
use crate::core::decision::Decision;
use jiff::SignedDuration;

/// Most waits are over by then, and need neither an explanation nor a request for one.
const QUIET: SignedDuration = SignedDuration::from_secs(15);
/// So long an attempt lasts once something is known to be wrong that may pass.
pub(super) const TROUBLED: SignedDuration = SignedDuration::from_mins(10);

/// Reports what is waited for, and why it takes so long where that is known; nothing before the wait is worth a report.
pub(super) fn report(decision: &mut Decision<'_>, run: &Run, what: &str, why: Option<&str>) {
    let explained = deadline(run, QUIET);
    if decision.now < explained {
        return decision.plan.wake_at(explained);
    }
    decision.plan.asks_why = true;
    let why = why.map_or_else(String::new, |why| format!(": {}", why.trim()));
    decision.waiting = Some(format!("Waiting for {what}{why}"));
}

/// Reports how the phase goes on, once it has lasted long enough to be worth a report.
pub(super) fn tell(decision: &mut Decision<'_>, run: &Run, what: String) {
    let explained = deadline(run, QUIET);
    if decision.now < explained {
        return decision.plan.wake_at(explained);
    }
    decision.waiting = Some(what);
}
