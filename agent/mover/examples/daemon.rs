//! Starts the daemon of rclone with the rest of its command line as the configuration, says its process id, and waits until it is killed:
//! for tests.
//!
//! `daemon RCLONE FOLDER SECTION`, where the folder has an `rclone.conf` with that section.

// A tool for tests: what goes wrong here ends it with a message, and the test fails.
#![allow(clippy::unwrap_used)]

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use scribe_mover::rclone::{OURSELVES, Rclone, environment, open, shim};
use scribe_mover::stop::Stop;
use scribe_mover::store::Context;
use scribe_mover::store::progress::Progress;

fn main() -> ExitCode {
    if let Some(code) = shim() {
        return code;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let own: Vec<_> = std::env::vars_os().collect();
    let rclone = Rclone {
        binary: args[0].clone().into(),
        program: OURSELVES.into(),
        environment: environment::from_mount(Path::new(&args[1]), None, &own).unwrap(),
        context: Context::new(Stop::default(), Progress::default()).unwrap(),
    };
    let (_rclone, daemon) = open(rclone, &args[2]).unwrap();
    println!("{}", daemon.pid());
    // Ends when whoever has started it does.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    ExitCode::SUCCESS
}
