//! Runs one push or pull from its command line to its report. What only looks at a remote is in `inspect`.

mod args;
mod inspect;
mod report_file;
mod retain;
mod shown;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Instant;

use jiff::Timestamp;

pub use args::MoverArgs;

use crate::error::{Failure, Result};
use crate::guard::Guard;
use crate::pull::{PullOptions, PullOutcome, Wanted, pull_plain, pull_wanted};
use crate::push::{PushOptions, Pusher, Sizes, push, push_packs};
use crate::rclone::environment::Environment;
use crate::rclone::options::Direction;
use crate::rclone::{self, MEMORY, OURSELVES, Rclone, RcloneStore, environment, memory};
use crate::remote::Remote;
use crate::report::{Outcome, Reason, Report};
use crate::retention::Retention;
use crate::scratch;
use crate::stop::Stop;
use crate::store::Context;
use crate::store::progress::Progress;
use crate::store::stats::Stats;
use crate::volume::exclude::Exclude;
use crate::volume::path::RelPath;
use args::{CommonArgs, ConnectionArgs, Layout, PullArgs, PushArgs, PushLayout};

/// A sync, of either direction.
enum Sync {
    Push(PushArgs),
    Pull(PullArgs),
}

/// Pushes or pulls, and writes the report in every case: exits 0 unless it failed. Or looks at a remote path: exits 0 if it is whole, 1 if it is
/// not, or nothing is committed, and 2 if that could not be found out.
pub fn run(args: MoverArgs) -> ExitCode {
    match args {
        MoverArgs::Push(args) => run_sync(&Sync::Push(args)),
        MoverArgs::Pull(args) => run_sync(&Sync::Pull(args)),
        MoverArgs::List(args) => inspect::run_list(&args),
        MoverArgs::Check(args) => inspect::run_check(&args),
    }
}

fn run_sync(args: &Sync) -> ExitCode {
    let started = Instant::now();
    let (direction, common) = match args {
        Sync::Push(args) => ("push", &args.common),
        Sync::Pull(args) => ("pull", &args.common),
    };
    let remote = common.connection.remote.to_string();
    let _span = tracing::info_span!("mover", direction, remote).entered();
    let adopted_state = OnceLock::new();
    let (result, stats, made_bucket) = attempt(args, &adopted_state);
    let mut report = result.unwrap_or_else(failed);
    (report.adopted_state, report.made_bucket) = (adopted_state.into_inner(), made_bucket);
    let elapsed = started.elapsed();
    report.duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let warning = std::mem::take(&mut report.logs);
    report.logs = report_file::summary(&moved(&stats, &report), report.deleted, elapsed);
    if report.result == Outcome::Failed {
        report.logs = format!("{}\n{}", report.message, report.logs);
    } else if !warning.is_empty() {
        report.logs = format!("{warning}\n{}", report.logs);
    }
    tracing::info!(result = ?report.result, reason = report.reason.map(tracing::field::debug), report.message, "done");
    let failed = report.result == Outcome::Failed;
    let delivered =
        report_file::fit(report).map_err(std::io::Error::from).and_then(|text| report_file::deliver(&text, common.report.as_deref()));
    if let Err(error) = delivered {
        tracing::error!(%error, "cannot write the report");
        return ExitCode::FAILURE;
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// What was moved of the volume's content. rclone counts what it moves on the remote as well: replaced files would count twice.
fn moved(stats: &Stats, report: &Report) -> Stats {
    let transfers = stats.transfers.saturating_sub(stats.server_side_copies);
    let known = report.result != Outcome::Failed;
    let bytes = if known { report.transferred } else { stats.bytes.saturating_sub(stats.server_side_copy_bytes) };
    Stats { bytes, transfers, ..stats.clone() }
}

/// The result, with what was transferred until then, and the bucket that was made.
fn attempt(args: &Sync, adopted_state: &OnceLock<String>) -> (Result<Report>, Stats, Option<String>) {
    let (common, direction) = match args {
        Sync::Push(args) => (&args.common, Direction::Push),
        Sync::Pull(args) => (&args.common, Direction::Pull),
    };
    let (remote, environment) = match open_sync(common, direction) {
        Ok(opened) => opened,
        Err(failure) => return (Err(failure), Stats::default(), None),
    };
    let result = match args {
        Sync::Push(args) => run_push(&remote, args, adopted_state),
        Sync::Pull(args) => run_pull(&remote, args),
    };
    let result = result.map_err(|failure| with_advice(failure, &common.connection, &environment)).map(|mut report| {
        let waits = report.result == Outcome::WaitingForFirstPush && remote.has_bucket() != Some(true);
        if let Some(advice) = bucket_advice(&common.connection, &environment).filter(|_| waits) {
            report.message = format!("{}. {advice}", report.message);
        }
        report
    });
    (result, remote.context.progress.sum(), remote.made().map(str::to_owned))
}

/// Says which part of the configuration a failure is about, and nothing that the configuration says in confidence.
fn with_advice(mut failure: Failure, args: &ConnectionArgs, environment: &Environment) -> Failure {
    let secret = args.secret_name.as_ref().map_or_else(String::new, |name| format!(" of Secret {name}"));
    let section = &args.remote.section;
    match failure.reason {
        Reason::AccessDenied => {
            failure.message = format!(
                "the remote refused the credentials: correct section {section} in rclone.conf{secret}, or what its key may do there ({})",
                failure.message
            );
        }
        Reason::SecretInvalid => {
            let options = environment.options_named_in(&failure.message);
            let what = if options.is_empty() { String::new() } else { format!("{} in ", options.join(" and ")) };
            failure.message = format!("correct {what}section {section} of rclone.conf{secret}: {}", failure.message);
        }
        _ => {}
    }
    let answered =
        matches!(failure.reason, Reason::AccessDenied | Reason::BucketMissing | Reason::RemoteInconsistent | Reason::MoverFailed);
    if let Some(advice) = bucket_advice(args, environment).filter(|_| answered) {
        failure.message = format!("{advice}; {}", failure.message);
    }
    failure.message = environment.redact(&failure.message);
    failure
}

/// What is wrong with the name of the bucket, where the section is of type s3 itself: behind another one, it may have another name.
fn bucket_advice(args: &ConnectionArgs, environment: &Environment) -> Option<String> {
    let is_s3 = environment.backend.as_deref() == Some("s3");
    rclone::bucket::advice(&args.remote.path).filter(|_| is_s3)
}

fn open_sync(args: &CommonArgs, direction: Direction) -> Result<(Remote, Environment)> {
    let stop = Stop::default();
    let progress = Progress::on_stdout();
    if let Err(error) = progress.follow(&stop) {
        tracing::warn!(%error, "cannot start the thread that shows progress; only transfers are shown");
    }
    // One that cannot be followed is reported once it is opened.
    let volume = args.volume.canonicalize().unwrap_or_else(|_| args.volume.clone());
    let temporary = std::env::temp_dir();
    if temporary.canonicalize().is_ok_and(|temporary| temporary.starts_with(&volume)) {
        let what = "lies in the volume: set TMPDIR to a directory elsewhere";
        return Err(Failure::new(Reason::MoverFailed, format!("the temporary directory {} {what}", temporary.display())));
    }
    open(&args.connection, (stop, progress), Some(&volume), direction)
}

/// The remote path, for a sync of this volume if there is one.
fn open(
    args: &ConnectionArgs,
    (stop, progress): (Stop, Progress),
    volume: Option<&Path>,
    direction: Direction,
) -> Result<(Remote, Environment)> {
    stop.on_signals().map_err(|e| Failure::new(Reason::MoverFailed, format!("cannot handle signals: {e}")))?;
    let own: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let environment = match &args.config_dir {
        Some(dir) => environment::from_mount(dir, args.secret_name.as_deref(), &own)?,
        None => environment::from_process(&own)?,
    };
    let environment = match &args.custom_ca {
        Some(file) => environment.trusting(file, args.custom_ca_name.as_deref().unwrap_or(&file.to_string_lossy()))?,
        None => environment,
    };
    let environment = environment.tuned(memory::limit(), direction);
    scratch::remove_dead(&std::env::temp_dir());
    scratch::remove_dead(Path::new(MEMORY));
    let context = Context::new(stop, progress)?;
    let rclone = Rclone { binary: args.rclone.clone(), program: OURSELVES.into(), environment, context: context.clone() };
    let opened = rclone::open(rclone, &args.remote.section)?;
    let environment = opened.0.environment.clone();
    environment.check_trust()?;
    environment.check_place((&args.remote.section, &args.remote.path), volume, direction)?;
    let path = args.remote.to_string();
    Ok((Remote::new(context, Box::new(RcloneStore::new(opened, &path)), &path), environment))
}

fn guard(args: &CommonArgs) -> Guard {
    Guard { percent: args.guard_percent, floor: args.guard_floor, allowed: args.allow_deletions.clone() }
}

fn volume(args: &CommonArgs) -> Result<std::path::PathBuf> {
    args.volume.canonicalize().map_err(|e| Failure::volume("open the volume", &args.volume, &e))
}

fn run_push(remote: &Remote, args: &PushArgs, adopted_state: &OnceLock<String>) -> Result<Report> {
    if args.retain.is_some() && args.layout == PushLayout::Files {
        let what = "--retain is for layout Packs, and layout Files keeps no older revisions: add --layout packs, or leave --retain out";
        return Err(Failure::new(Reason::MoverFailed, what));
    }
    let started = Timestamp::now();
    let options = PushOptions {
        volume: volume(&args.common)?,
        exclude: Exclude::new(&args.exclude).map_err(|what| Failure::new(Reason::MoverFailed, format!("--exclude: {what}")))?,
        pusher: Pusher {
            owner: args.owner.with_uid(&args.owner_uid),
            pushed: args.pushed_revision.clone(),
            adopt: args.adopt,
            adopt_state: args.adopt_state.clone(),
            adopted_state: OnceLock::new(),
        },
        data_time: args.data_time.unwrap_or(started),
        started,
        verify_interval: args.verify_interval,
        verify_now: args.verify_now,
        rehash_interval: args.rehash_interval,
        heartbeat_interval: args.heartbeat_interval,
        guard: guard(&args.common),
        sizes: Sizes::default(),
        retention: args.retain.as_ref().map_or_else(|| Retention::last(1), |rules| rules.0.clone()),
    };
    let pushed = match args.layout {
        PushLayout::Files => push(remote, &options),
        PushLayout::Packs => push_packs(remote, &options),
    };
    if let Some(state) = options.pusher.adopted_state.get() {
        // Set once: there is one push.
        let _ = adopted_state.set(state.clone());
    }
    let pushed = pushed?;
    let message = match (pushed.changed, pushed.took_over) {
        (_, true) => format!("Took {} over and pushed {} files.", remote.name(), pushed.files),
        (true, false) => format!("Synced {} files to {}.", pushed.files, remote.name()),
        (false, false) => "Nothing has changed since the last push.".to_owned(),
    };
    let Some(warning) = broken(&pushed.broken) else { return Ok(Report::successful(message, pushed)) };
    // The agent shows the logs of a sync that succeeded, and not its message.
    Ok(Report { logs: warning.clone(), ..Report::successful(format!("{message} {warning}"), pushed) })
}

/// Names the retained revisions that cannot be pulled any more, the first few.
fn broken(revisions: &[String]) -> Option<String> {
    const NAMED: usize = 3;
    let named = revisions.get(..NAMED).unwrap_or(revisions).join(", ");
    let more = match revisions.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let what = "what they need is lost or damaged at the path, and no push can send it again; mover check names it";
    (!revisions.is_empty()).then(|| format!("Retained revisions that cannot be pulled: {named}{more}; {what}."))
}

fn run_pull(remote: &Remote, args: &PullArgs) -> Result<Report> {
    let options = PullOptions {
        volume: volume(&args.common)?,
        applied: args.applied_revision.clone(),
        private: args.private_volume,
        guard: guard(&args.common),
    };
    let path = args.path.as_ref().map(|path| RelPath::new(path.as_bytes()).ok_or_else(|| no_path(path))).transpose()?;
    let wanted = match (&args.revision, args.as_of) {
        (Some(revision), _) => Wanted::Revision(revision.0.clone()),
        (None, Some(time)) => Wanted::AsOf(time),
        (None, None) => Wanted::Newest,
    };
    let refused = |what: &str| Err(Failure::new(Reason::MoverFailed, what));
    let outcome = match (args.layout, path) {
        (Layout::Files, path) => pull_wanted(remote, &options, path.as_ref(), &wanted),
        (Layout::Plain, Some(_)) => refused("--path is for paths of layout Packs: leave --layout out"),
        (Layout::Plain, None) if wanted != Wanted::Newest => refused(
            "--revision and --as-of are for paths that a push of scribe-agent writes, and a path of layout Plain has no revisions: leave them out",
        ),
        (Layout::Plain, None) => pull_plain(remote, &options),
    };
    let pulled = match outcome? {
        PullOutcome::Done(pulled) => pulled,
        PullOutcome::WaitingForFirstPush => {
            let bucket = match (remote.bucket(), remote.has_bucket()) {
                (Some(bucket), Some(false)) => {
                    format!(
                        ": its bucket {bucket} is not among those that this section lists, so it does not exist, or belongs to another account"
                    )
                }
                (_, Some(true)) => "; its bucket exists".to_owned(),
                _ => String::new(),
            };
            let message = format!("Nothing has been pushed to {} yet{bucket}", remote.name());
            return Ok(Report::new(Outcome::WaitingForFirstPush, message));
        }
    };
    let message = match (pulled.changed, wanted == Wanted::Newest) {
        (true, true) => format!("Synced {} files from {}.", pulled.files, remote.name()),
        (false, true) => "The volume holds the latest revision already.".to_owned(),
        (true, false) => format!("Synced {} files of revision {} from {}.", pulled.files, pulled.revision, remote.name()),
        (false, false) => format!("The volume holds revision {} already.", pulled.revision),
    };
    Ok(Report::successful(message, pulled))
}

fn no_path(path: &OsStr) -> Failure {
    let what = "is no path within a volume: write it from the volume's root on, without a slash before or behind it, and without . or ..";
    Failure::new(Reason::MoverFailed, format!("--path: {} {what}", path.display()))
}

fn failed(failure: Failure) -> Report {
    Report { reason: Some(failure.reason), ..Report::new(Outcome::Failed, failure.message) }
}
