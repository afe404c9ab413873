//! Makes the report of a run and brings it to the agent: to size, in one write.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use crate::report::{MAX_REPORT_BYTES, Report};
use crate::store::stats::Stats;

/// What people's scripts read of `latestMoverStatus.logs`.
const MAX_LOGS: usize = 1024;

/// The summary that rclone would print for the whole run.
pub(crate) fn summary(stats: &Stats, deleted: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let bytes = size(stats.bytes);
    let whole = if elapsed.as_millis() % 1000 >= 500 { elapsed.as_secs() + 1 } else { elapsed.as_secs() };
    format!(
        "Transferred:   \t{bytes} / {bytes}, 100%\nErrors:        {errors}\nChecks:        {checks} / {checks}, 100%\nDeleted:       {deleted} (entries)\nTransferred:   {files} / {files}, 100%\nElapsed time:  {seconds:.1}s\nRclone completed in {whole}s",
        errors = stats.errors,
        checks = stats.checks,
        files = stats.transfers,
    )
}

/// A number of bytes with its unit.
#[allow(clippy::cast_precision_loss)] // Shown with three decimals.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = "B";
    for name in UNITS {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, name);
    }
    format!("{value:.3} {unit}")
}

/// Serializes `report` in at most 4 KiB: the logs give way first, from their beginning, then the message from its middle.
pub(crate) fn fit(mut report: Report) -> Result<String, serde_json::Error> {
    keep_end(&mut report.logs, MAX_LOGS);
    loop {
        let text = serde_json::to_string(&report)?;
        let Some(over) = text.len().checked_sub(MAX_REPORT_BYTES).filter(|over| *over > 0) else {
            return Ok(text);
        };
        // One byte of text takes up to six when it is escaped; going on until it fits takes care of the rest.
        let (logs, message) = (report.logs.len(), report.message.len());
        if logs > 0 {
            keep_end(&mut report.logs, logs.saturating_sub(over));
        } else if message > 0 {
            shorten(&mut report.message, message.saturating_sub(over + 5));
        } else if !report.skipped.is_empty() {
            report.skipped.clear();
        } else {
            // Nothing else has a length of its own.
            return Ok(text);
        }
    }
}

fn keep_end(text: &mut String, most: usize) {
    if text.len() > most {
        let from = (text.len() - most..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len());
        text.drain(..from);
    }
}

/// Leaves at most `most` bytes of the text, and a mark where something is missing.
fn shorten(text: &mut String, most: usize) {
    let down = |at: usize| (0..=at).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let up = |at: usize| (at..text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len());
    let (head, tail) = (down(most / 2), up(text.len() - most / 2));
    *text = match (text.get(..head), text.get(tail..)) {
        (Some(head), Some(tail)) if most > 0 => format!("{head} … {tail}"),
        _ => String::new(),
    };
}

/// Brings the report to the agent, or, used by hand, to standard output as the last line.
pub(crate) fn deliver(report: &str, file: Option<&Path>) -> io::Result<()> {
    match file {
        None => io::stdout().write_all(format!("{report}\n").as_bytes()),
        Some(path) => {
            // The termination log is a single mounted file: it cannot be replaced by a rename, so one write has to do.
            OpenOptions::new().write(true).create(true).truncate(true).open(path)?.write_all(report.as_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Outcome, Reason};
    use proptest::prelude::*;

    fn report(message: String, logs: String) -> Report {
        Report {
            result: Outcome::Failed,
            reason: Some(Reason::MoverFailed),
            message,
            changed: false,
            took_over: false,
            adopted_state: None,
            made_bucket: None,
            revision: None,
            data_time: None,
            checked_time: None,
            files: 0,
            bytes: 0,
            transferred: 0,
            packs: None,
            hashed: 0,
            deleted: 0,
            skipped: std::collections::BTreeMap::new(),
            duration_ms: 0,
            logs,
        }
    }

    #[test]
    fn the_summary_ends_as_scripts_expect() {
        let stats = Stats { bytes: 1536, transfers: 2, ..Stats::default() };
        let text = summary(&stats, 3, Duration::from_millis(2600));
        let words = ["Transferred:", "Checks:", "Deleted:", "Elapsed time:", "Rclone completed in 3s"];
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
        assert!(text.ends_with("Rclone completed in 3s") && text.contains("1.500 KiB / 1.500 KiB"), "{text}");
    }

    proptest! {
        /// Else `fit` would never end.
        #[test]
        fn shortening_leaves_no_more_than_asked_for(text in "\\PC{0,300}", most in 0usize..300) {
            let mut short = text.clone();
            shorten(&mut short, most.min(text.len()));
            prop_assert!(short.len() <= most + " … ".len());
        }

        #[test]
        fn a_report_always_fits_and_keeps_the_end_of_its_logs(message in "\\PC{0,3000}|[\u{0}-\u{1f}]{0,3000}", logs in "(.|\n){0,3000}") {
            let logs = logs + "\nRclone completed in 3s";
            let text = fit(report(message.clone(), logs)).unwrap();
            prop_assert!(text.len() <= MAX_REPORT_BYTES);
            let back: Report = serde_json::from_str(&text).unwrap();
            prop_assert!(back.logs.is_empty() || back.logs.ends_with('s'));
            prop_assert!(back.logs.len() <= MAX_LOGS);
            if message.len() < 400 { prop_assert_eq!(back.message, message); }
        }
    }

    #[test]
    fn what_nothing_can_be_left_out_of_is_reported_as_it_is() {
        let long = Report { revision: Some("1".repeat(MAX_REPORT_BYTES)), ..report("message".into(), "log".into()) };
        let text = fit(long).unwrap();
        assert!(text.len() > MAX_REPORT_BYTES && text.contains("\"message\":\"\""));
    }
}
