//! The one binary: the agent in its Deployment, and the mover in its Jobs.

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// rclone-based volume replication for Kubernetes: one small agent per namespace.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one of it")]
enum Command {
    /// Replicate the volumes of one namespace.
    Run(scribe_agent::agent::Options),
    /// Move one volume's data; the agent's Jobs do this.
    #[command(subcommand)]
    Mover(scribe_mover::MoverArgs),
}

fn main() -> ExitCode {
    if let Some(code) = scribe_mover::shim() {
        return code;
    }
    start_logging();
    match Cli::parse().command {
        Command::Run(options) => run(options),
        Command::Mover(args) => scribe_mover::run(args),
    }
}

/// JSON lines on stderr. `RUST_LOG` sets another filter.
fn start_logging() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(scribe_agent::agent::LOG));
    tracing_subscriber::fmt().json().flatten_event(true).with_span_list(false).with_env_filter(filter).with_writer(std::io::stderr).init();
}

fn run(options: scribe_agent::agent::Options) -> ExitCode {
    // One thread does: the agent waits almost all of the time, and each thread costs memory.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).build();
    let ended = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let ended = runtime.block_on(scribe_agent::agent::run(options));
        // Resolving the API server's name may take long to fail, and nothing waits for it any more.
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the agent failed");
            ExitCode::FAILURE
        }
    }
}
