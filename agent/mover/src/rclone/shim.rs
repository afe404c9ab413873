//! How every rclone ends with the mover, however that ends: our own program, started in a mode of its own, asks the kernel for that, and
//! becomes rclone.
//!
//! A process can ask for a signal at its parent's death only for itself, between its start and its change into another program. What Rust
//! has for that moment is unsafe, because it runs in a copy of a process with threads. A program that has just started has none.
//!
//! The kernel sends the signal when the *thread* ends that has started the process, so that thread has to live as long: a command's waits
//! for it, and the daemon's is kept for that.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// Our own program, which becomes rclone.
pub const OURSELVES: &str = "/proc/self/exe";

/// The exit code of a program that could not become rclone, as of a shell. rclone itself has none above 10.
pub(super) const NOT_STARTED: u8 = 127;

/// The first argument of a program that is to become rclone. No subcommand of ours.
const MODE: &str = "become-rclone";

/// What a program is given to become this binary; the arguments of the binary follow.
pub(super) fn args(binary: &Path) -> [OsString; 3] {
    [MODE.into(), std::process::id().to_string().into(), binary.into()]
}

/// To be called before anything else, by every program that starts rclone with [`OURSELVES`]. Becomes rclone, and
/// does not return, if that is what the program was started for. An exit code if it could not.
pub fn shim() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next()? != MODE {
        return None;
    }
    // This goes where rclone's own messages would go.
    let _ = writeln!(std::io::stderr(), "{}", become_rclone(args));
    Some(ExitCode::from(NOT_STARTED))
}

/// Returns why not.
fn become_rclone(mut args: impl Iterator<Item = OsString>) -> String {
    let parent = args.next().and_then(|pid| pid.to_str()?.parse::<i32>().ok());
    let (Some(parent), Some(binary)) = (parent, args.next()) else {
        return format!("{MODE} is for the mover itself");
    };
    // Nothing that rclone could still do counts without the mover, and one that goes on would write beside the next mover.
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return format!("cannot end with the mover: {error}");
    }
    // It may have ended before the line above.
    if getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(parent) {
        return "the mover has ended".to_owned();
    }
    let error = Command::new(&binary).args(args).exec();
    format!("cannot start {}: {error}", Path::new(&binary).display())
}
