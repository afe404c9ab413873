//! From when a wait counts, when it is over, and how long it has lasted.

use crate::api::status::Run;
use crate::core::decision::Decision;
use crate::core::model::facts::Meta;
use crate::core::syntax::go_duration;
use jiff::{SignedDuration, Timestamp};

/// When a phase has taken too long.
pub(super) fn deadline(run: &Run, timeout: SignedDuration) -> Timestamp {
    after(run.phase_time.0, timeout)
}

/// So long after that time.
pub(super) fn after(since: Timestamp, timeout: SignedDuration) -> Timestamp {
    since.saturating_add(timeout).unwrap_or(Timestamp::MAX)
}

/// Since when the run waits for this child: from the beginning of its phase, or from when the child was made. There is time between the
/// two where the agent was away.
pub(super) fn since(decision: &Decision<'_>, run: &Run, child: &Meta) -> Timestamp {
    let phase = run.phase_time.0;
    child.created.filter(|made| *made <= decision.now).map_or(phase, |made| made.max(phase))
}

/// How long the phase has lasted, as text.
pub(super) fn lasted(decision: &Decision<'_>, run: &Run) -> String {
    lasted_since(decision, run.phase_time.0)
}

pub(super) fn lasted_since(decision: &Decision<'_>, since: Timestamp) -> String {
    whole_seconds(decision.now.duration_since(since))
}

fn whole_seconds(duration: SignedDuration) -> String {
    go_duration::format(SignedDuration::from_secs(duration.as_secs()))
}
