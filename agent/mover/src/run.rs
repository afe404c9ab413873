//! One mover from start to report: configuration, signals, the work, and the report in every case.
//!
//! Imports everything.

use crate::args::{Common, MoverArgs};
use crate::config;
use crate::control::Remote;
use crate::failure::Failure;
use crate::pull::pull;
use crate::push::push;
use crate::rclone::Rclone;
use crate::report::{MAX_REPORT_BYTES, Outcome, Reason, Report};
use crate::scratch::Scratch;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Does what the command line asks for, and reports. The exit code is 0 where the report says anything but `Failed`.
pub fn run(args: MoverArgs) -> ExitCode {
    let started = Instant::now();
    let mut report = empty();
    let common = match &args {
        MoverArgs::Push(push) => &push.common,
        MoverArgs::Pull(pull) => &pull.common,
    };
    if let Err(failure) = work(&args, common, &mut report) {
        tracing::error!(reason = ?failure.reason, message = failure.message, "failed");
        report.result = Outcome::Failed;
        report.reason = Some(failure.reason);
        report.message = failure.message;
    }
    finish(&mut report, started.elapsed());
    let written = write(common.report.as_deref(), &report);
    if let Err(error) = &written {
        tracing::error!(%error, "the report cannot be written");
    }
    if written.is_ok() && report.result != Outcome::Failed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn work(args: &MoverArgs, common: &Common, report: &mut Report) -> Result<(), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, stop.clone()).map_err(|e| Failure::internal("waiting for signals", e))?;
    }
    let (section, _) = common
        .remote
        .split_once(':')
        .ok_or_else(|| Failure::new(Reason::MoverFailed, format!("--remote {:?} is not SECTION:PATH", common.remote)))?;
    let config = config::read(common.config_dir.as_deref(), &common.secret_name, section)?;
    let rclone = Rclone::new(common.rclone.clone(), config, stop);
    let scratch = Scratch::new()?;
    let remote = Remote::new(&rclone, &scratch, &common.remote);
    match args {
        MoverArgs::Push(args) => push(args, &remote, &scratch, report),
        MoverArgs::Pull(args) => pull(args, &remote, report),
    }
}

fn empty() -> Report {
    Report {
        result: Outcome::Failed,
        reason: None,
        message: String::new(),
        changed: false,
        revision: None,
        data_time: None,
        files: 0,
        bytes: 0,
        transferred: 0,
        deleted: 0,
        skipped: std::collections::BTreeMap::new(),
        duration_ms: 0,
        logs: String::new(),
    }
}

/// Adds the words that people's scripts look for, and makes the report fit.
fn finish(report: &mut Report, elapsed: Duration) {
    report.duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let mut story: String = report.message.chars().take(500).collect();
    if !story.is_empty() {
        story.push('\n');
    }
    report.logs = format!(
        "{story}Transferred: {} bytes\nChecks: {}\nDeleted: {}\nElapsed time: {:.1}s\nRclone completed in {}s",
        report.transferred,
        report.files,
        report.deleted,
        elapsed.as_secs_f64(),
        elapsed.as_secs()
    );
    report.message = report.message.chars().take(800).collect();
}

/// One write, so that nobody reads half of it.
fn write(file: Option<&Path>, report: &Report) -> std::io::Result<()> {
    let mut text = serde_json::to_vec(report)?;
    debug_assert!(text.len() <= MAX_REPORT_BYTES);
    match file {
        Some(file) => std::fs::OpenOptions::new().write(true).create(true).truncate(true).open(file)?.write_all(&text),
        None => {
            text.push(b'\n');
            std::io::stdout().write_all(&text)
        }
    }
}
