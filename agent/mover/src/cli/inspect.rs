//! Runs `list` and `check` from their command lines to what they print and the exit code.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::args::{CheckArgs, ConnectionArgs, ListArgs, OutputFormat};
use super::report_file::size;
use super::shown::{ascii, plain, quoted};
use super::{open, with_advice};
use crate::error::{Failure, Result};
use crate::format::documents::{Claim, Owner};
use crate::inspect::{Checked, Contents, Fault, Kind, Looked, Nothing, Retained, Standing, Total, check, list};
use crate::rclone::options::Direction;
use crate::remote::Remote;
use crate::stop::Stop;
use crate::store::progress::Progress;

/// What a command prints, for either reader.
struct Output {
    lines: Vec<String>,
    json: Value,
    code: u8,
}

/// It is there, and whole as far as was looked.
const WHOLE: u8 = 0;
/// It is damaged, or nothing is committed.
const DAMAGED: u8 = 1;
/// That could not be found out.
const FAILED: u8 = 2;

pub(super) fn run_list(args: &ListArgs) -> ExitCode {
    let name = args.connection.remote.to_string();
    let contents = looked(&args.connection, |remote| list(remote, args.sizes));
    let output = contents.map(|contents| match contents {
        Contents::Nothing(nothing) => of_nothing(&name, &nothing),
        Contents::Damaged(what) => of_damage(&name, &what),
        Contents::Committed(standing) => of_standing(&name, &standing),
    });
    printed(&output.unwrap_or_else(|failure| of_failure(&name, &failure)), args.output)
}

pub(super) fn run_check(args: &CheckArgs) -> ExitCode {
    let name = args.connection.remote.to_string();
    let checked = looked(&args.connection, |remote| check(remote, args.read));
    let output = checked.map(|checked| match checked {
        Checked::Nothing(nothing) => of_nothing(&name, &nothing),
        Checked::Damaged(what) => of_damage(&name, &what),
        Checked::Looked(looked) => of_objects(&name, &looked),
    });
    printed(&output.unwrap_or_else(|failure| of_failure(&name, &failure)), args.output)
}

/// Opens the path and looks at it; a failure comes with advice, and without secrets.
fn looked<T>(args: &ConnectionArgs, look: impl FnOnce(&Remote) -> Result<T>) -> Result<T> {
    // Standard output is for the result alone.
    let (remote, environment) = open(args, (Stop::default(), Progress::default()), None, Direction::Pull)?;
    look(&remote).map_err(|failure| with_advice(failure, args, &environment))
}

fn printed(output: &Output, format: OutputFormat) -> ExitCode {
    let text = match format {
        OutputFormat::Text => output.lines.join("\n"),
        OutputFormat::Json => ascii(&output.json.to_string()),
    };
    // What could not be found out is no result; a machine reads one stream.
    let written = if output.code == FAILED && format == OutputFormat::Text {
        writeln!(io::stderr(), "{text}")
    } else {
        writeln!(io::stdout(), "{text}")
    };
    match written {
        Ok(()) => ExitCode::from(output.code),
        Err(error) => {
            tracing::error!(%error, "cannot write the result");
            ExitCode::from(FAILED)
        }
    }
}

fn of_failure(name: &str, failure: &Failure) -> Output {
    let message = plain(&failure.message);
    let json = json!({"result": "Failed", "remote": name, "reason": failure.reason, "message": failure.message});
    Output { lines: vec![format!("failed: {message}")], json, code: FAILED }
}

fn of_nothing(name: &str, nothing: &Nothing) -> Output {
    let mut line = format!("nothing: {} has no commit, and {} objects", plain(name), nothing.objects);
    if nothing.lost {
        line += "; it has manifests, so it has lost its commit";
    }
    if nothing.bucket_exists == Some(false) {
        line += "; its bucket is not among those that this section lists";
    }
    let json = json!({"result": "Nothing", "remote": name, "objects": nothing.objects, "lost": nothing.lost, "message": line});
    Output { lines: vec![line], json, code: DAMAGED }
}

fn of_damage(name: &str, what: &str) -> Output {
    let line = format!("damaged: {}: {}", plain(name), plain(what));
    Output {
        lines: vec![line],
        json: json!({"result": "Damaged", "remote": name, "faults": [], "more": 0, "message": what}),
        code: DAMAGED,
    }
}

fn of_standing(name: &str, standing: &Standing) -> Output {
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let mut rows: Vec<(&str, String)> = vec![
        ("Remote", plain(name)),
        ("Layout", format!("{:?}", standing.layout)),
        ("Revision", plain(&standing.revision)),
        ("Data time", standing.data_time.to_string()),
        ("Checked time", standing.checked_time.to_string()),
        ("Verified time", standing.verified_time.to_string()),
        ("Owner", owner(&standing.owner)),
        ("Files", standing.files.to_string()),
        ("Size", size(standing.bytes)),
        ("Excludes", yes(standing.excludes)),
        ("Staged", yes(standing.staged)),
        ("Push", standing.claim.as_ref().map_or_else(|| "none".to_owned(), claimed)),
    ];
    for kept in &standing.retained {
        let entries = kept.entries.map_or_else(String::new, |entries| format!("  {entries} entries"));
        let bytes = kept.bytes.map_or_else(String::new, |bytes| format!("  {}", size(bytes)));
        rows.push(("Retained", format!("{}  {}{entries}{bytes}", plain(&kept.revision), kept.data_time)));
    }
    if let Some(sizes) = &standing.sizes {
        let total = |total: Total| format!("{} objects, {}", total.objects, size(total.bytes));
        rows.extend([("All", total(sizes.all)), ("Needed", total(sizes.needed)), ("Leftovers", total(sizes.rest))]);
        if sizes.missing > 0 {
            rows.push(("Missing", format!("{} objects: run `mover check`", sizes.missing)));
        }
    }
    let lines = rows.into_iter().map(|(head, text)| format!("{head:<15}{text}")).collect();
    let mut json = json!(standing);
    let message = format!("committed: revision {} of {}", plain(&standing.revision), standing.data_time);
    (json["result"], json["remote"], json["message"]) = ("Committed".into(), name.into(), message.into());
    Output { lines, json, code: WHOLE }
}

fn owner(owner: &Owner) -> String {
    plain(&format!("{}/{} (UID {})", owner.namespace, owner.name, owner.uid))
}

fn claimed(claim: &Claim) -> String {
    format!("under way, or died: {} of {} since {}", plain(&claim.revision), owner(&claim.owner), claim.since)
}

fn of_objects(name: &str, looked: &Looked) -> Output {
    let Looked { revision, objects, read, unsized_objects, faults, more, files, more_files, retained, claim } = looked;
    let mut lines: Vec<String> = faults.iter().map(fault).collect();
    if *more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines.extend(files.iter().map(|path| format!("concerns: file {}", quoted(path.as_bytes()))));
    if *more_files > 0 {
        lines.push(format!("concerns: {more_files} more files"));
    }
    lines.extend(retained.iter().map(kept));
    let wrong = faults.len() as u64 + more;
    let damaged = retained.iter().filter(|kept| kept.wrong.is_some()).count();
    let shown = plain(revision);
    let mut line = if wrong == 0 {
        format!("whole: all {objects} objects of revision {shown} are there; {read} were read")
    } else {
        format!("damaged: {wrong} of {objects} objects of revision {shown} are missing or not what was committed; {read} were read")
    };
    // Writing to a String cannot fail.
    if damaged > 0 {
        let _ = write!(line, "; {damaged} of {} retained revisions are not whole", retained.len());
    }
    if *unsized_objects > 0 {
        let _ = write!(line, "; the remote does not tell the sizes of {unsized_objects}, which --read reads");
    }
    if let Some(claim) = claim.as_ref().filter(|_| wrong > 0) {
        let _ = write!(line, "; a push is {}: if it ends, check again", claimed(claim));
    }
    lines.push(line.clone());
    let is_whole = wrong == 0 && damaged == 0;
    let mut json = json!({
        "result": if is_whole { "Whole" } else { "Damaged" },
        "remote": name,
        "revision": revision,
        "objects": objects,
        "read": read,
        "unsized": unsized_objects,
        "faults": faults.iter().map(fault_json).collect::<Vec<_>>(),
        "more": more,
        "claim": claim,
        "message": line,
    });
    if !files.is_empty() {
        json["files"] = files.iter().map(|path| quoted(path.as_bytes())).collect();
        json["moreFiles"] = (*more_files).into();
    }
    if !retained.is_empty() {
        json["retained"] = retained.iter().map(kept_json).collect();
    }
    Output { lines, json, code: if is_whole { WHOLE } else { DAMAGED } }
}

fn kept(kept: &Retained) -> String {
    let of = format!("retained: revision {} of {}", plain(&kept.revision), kept.data_time);
    kept.wrong.as_ref().map_or_else(|| format!("{of} is whole"), |wrong| format!("{of} is not whole: {}", plain(wrong)))
}

fn kept_json(kept: &Retained) -> Value {
    json!({"revision": kept.revision, "dataTime": kept.data_time, "whole": kept.wrong.is_none(), "message": kept.wrong})
}

fn fault(fault: &Fault) -> String {
    let name = quoted(&fault.name);
    let path = fault.path.as_ref().filter(|path| !fault.name.ends_with(path.as_bytes()));
    let of = path.map_or_else(String::new, |path| format!(" of file {}", quoted(path.as_bytes())));
    match fault.kind {
        Kind::Missing => format!("missing: {name}{of}"),
        Kind::OtherSize(size) => format!("other size: {name}{of} has {size} bytes, not {}", fault.size),
        Kind::Altered => format!("altered: {name}{of}"),
        Kind::Unreadable => format!("unreadable: {name}{of}"),
    }
}

fn fault_json(fault: &Fault) -> Value {
    let (kind, listed) = match fault.kind {
        Kind::Missing => ("Missing", None),
        Kind::OtherSize(size) => ("OtherSize", Some(size)),
        Kind::Altered => ("Altered", Some(fault.size)),
        Kind::Unreadable => ("Unreadable", Some(fault.size)),
    };
    // A file's name may be no text; an object's always is.
    json!({
        "fault": kind,
        "name": String::from_utf8_lossy(&fault.name),
        "file": fault.path.as_ref().map(|path| quoted(path.as_bytes())),
        "size": fault.size,
        "listedSize": listed,
    })
}
