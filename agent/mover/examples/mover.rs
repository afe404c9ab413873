//! The mover as a program of its own, as `scribe-agent mover` runs it: for tests, and for use without the agent.

use std::process::ExitCode;

use clap::Parser;
use scribe_mover::{MoverArgs, run, shim};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    mover: MoverArgs,
}

fn main() -> ExitCode {
    shim().unwrap_or_else(|| run(Cli::parse().mover))
}
