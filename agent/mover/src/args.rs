//! The command line of the mover. Imports nothing of this crate.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use std::path::PathBuf;

/// What the mover is to do.
#[derive(Subcommand, Debug)]
pub enum MoverArgs {
    /// Make the remote path hold what the volume holds.
    Push(PushArgs),
    /// Make the volume hold what the remote path holds.
    Pull(PullArgs),
}

/// Options of both directions.
#[derive(Args, Debug)]
pub struct Common {
    /// The volume's root folder.
    #[arg(long)]
    pub volume: PathBuf,
    /// Section of rclone.conf and path, for example `aws:bucket/database`.
    #[arg(long)]
    pub remote: String,
    /// Name of the Secret, for messages.
    #[arg(long, default_value = "(none)")]
    pub secret_name: String,
    /// Folder of the mounted Secret; without it rclone finds its own configuration.
    #[arg(long)]
    pub config_dir: Option<PathBuf>,
    /// File for the report; without it the report is the last line of standard output.
    #[arg(long)]
    pub report: Option<PathBuf>,
    /// The rclone to run.
    #[arg(long, default_value = "rclone")]
    pub rclone: PathBuf,
}

/// Options of a push.
#[derive(Args, Debug)]
pub struct PushArgs {
    /// What both directions take.
    #[command(flatten)]
    pub common: Common,
    /// Who pushes: `NAMESPACE/NAME`.
    #[arg(long)]
    pub owner: String,
    /// UID of who pushes.
    #[arg(long)]
    pub owner_uid: String,
    /// The revision that the owner pushed last, if it ever did.
    #[arg(long)]
    pub pushed_revision: Option<String>,
    /// Take the path over from whoever owns it.
    #[arg(long)]
    pub adopt: bool,
    /// When the volume was captured; default: now.
    #[arg(long)]
    pub data_time: Option<Timestamp>,
}

/// Options of a pull.
#[derive(Args, Debug)]
pub struct PullArgs {
    /// What both directions take.
    #[command(flatten)]
    pub common: Common,
    /// The revision that the volume is certain to hold.
    #[arg(long)]
    pub applied_revision: Option<String>,
    /// The volume has no other reader or writer.
    #[arg(long)]
    pub private_volume: bool,
}
