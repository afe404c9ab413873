//! How far a long transfer has come: read from the mover's log, shown in `status.run`.
//!
//! Nothing is decided by it, so it is kept out of `core`; a sync that is over within [`INTERVAL`] costs no request for it.
//! Imports `cluster`, `core`, `api`.

use super::Context;
use crate::api::status::{Phase, Run};
use crate::core::facts::{Facts, Pod};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use std::time::Duration;

/// The log is read, and the status written, no more often than this.
pub(super) const INTERVAL: Duration = Duration::from_secs(10);

/// The line that the mover prints as it goes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    bytes_done: i64,
    bytes_total: i64,
}

/// The mover that runs, if it has run for a while.
pub(super) fn long_running(facts: &Facts, now: Timestamp) -> Option<(&Run, &Pod)> {
    let run = facts.status.run.as_ref().filter(|run| run.phase == Phase::Transferring)?;
    let since = run.phase_time.0;
    let long = now.duration_since(since) >= SignedDuration::try_from(INTERVAL).unwrap_or(SignedDuration::ZERO);
    let pod = facts.pods.iter().find(|pod| pod.started && !pod.ended && pod.meta.serves(&run.id))?;
    (long && pod.meta.attempt == Some(run.attempt)).then_some((run, pod))
}

/// Shows how far the mover of `pod` is, if it has moved on.
pub(super) async fn show(context: &Context, facts: &Facts, run: &Run, pod: &Pod) {
    let name = facts.object.name.as_str();
    let log = match context.reader.last_words(&pod.meta.name).await {
        Ok(log) => log,
        Err(error) => return tracing::warn!(name, %error, "cannot read how far the mover is"),
    };
    let Some(line) = last_line(&log) else { return };
    let (done, total) = (Some(line.bytes_done), Some(line.bytes_total));
    if (run.bytes_done, run.bytes_total) == (done, total) {
        return;
    }
    let mut status = facts.status.clone();
    status.run = Some(Run { bytes_done: done, bytes_total: total, ..run.clone() });
    match context.writer.status(&facts.object, &status).await {
        Ok(()) => {}
        // Somebody else was quicker, or the object is gone; there will be another look.
        Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => {}
        Err(error) => tracing::warn!(name, %error, "cannot show how far the mover is"),
    }
}

/// The mover's other words stand among them, so the last line that says how far it is may not be the last of all.
fn last_line(log: &str) -> Option<Line> {
    log.lines().rev().find_map(|line| serde_json::from_str(line).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_progress_counts() {
        let log = "{\"phase\":\"uploading\",\"bytesDone\":1,\"bytesTotal\":9}\n{\"phase\":\"uploading\",\"bytesDone\":5,\"bytesTotal\":9}\n{\"level\":\"INFO\"}\nx";
        let line = last_line(log).unwrap();
        assert_eq!((line.bytes_done, line.bytes_total), (5, 9));
        assert!(last_line("{}\n").is_none());
    }
}
