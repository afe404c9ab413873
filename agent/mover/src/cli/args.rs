//! The mover's command line, embedded by the binary as its `mover` subcommand.
//! No option takes a secret: command lines are seen by everyone on a node.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

use super::retain::RetainArg;
use crate::format::documents::Owner;
use crate::format::names::CONTROL_DIR;
use crate::format::revision::Revision;

/// What the mover is to do.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum MoverArgs {
    /// Push a volume to a remote path
    Push(PushArgs),
    /// Pull a revision of a remote path, the committed one or an older one that it retains, into a volume
    Pull(PullArgs),
    /// Show what is committed at a remote path
    List(ListArgs),
    /// Check that a remote path holds all of what is committed there
    Check(CheckArgs),
}

/// Where the remote path is, and how it is reached.
#[derive(Clone, Debug, clap::Args)]
pub struct ConnectionArgs {
    /// Section of the rclone configuration and path on that remote
    #[arg(long, value_name = "SECTION:PATH")]
    pub remote: RemoteArg,
    /// Name of the Secret mounted at --config-dir, for messages
    #[arg(long, value_name = "NAME")]
    pub secret_name: Option<String>,
    /// Mounted Secret: rclone.conf, and RCLONE_* keys for rclone's environment [default: rclone's own configuration]
    #[arg(long, value_name = "DIR")]
    pub config_dir: Option<PathBuf>,
    /// Certificates in PEM that rclone trusts beside those of the system
    #[arg(long, value_name = "FILE")]
    pub custom_ca: Option<PathBuf>,
    /// What holds these, for messages [default: the path of the file]
    #[arg(long, value_name = "TEXT", requires = "custom_ca")]
    pub custom_ca_name: Option<String>,
    /// The rclone binary
    #[arg(long, value_name = "PATH", default_value = "rclone")]
    pub rclone: PathBuf,
}

/// Options of both directions.
#[derive(Clone, Debug, clap::Args)]
pub struct CommonArgs {
    /// Directory that holds the volume
    #[arg(long, value_name = "DIR")]
    pub volume: PathBuf,
    /// The remote path.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// File to write the report to [default: last line of standard output]
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Refuse to delete more than this share of the files…
    #[arg(long, value_name = "PERCENT", default_value_t = 90)]
    pub guard_percent: u64,
    /// …if it is also more than this number
    #[arg(long, value_name = "FILES", default_value_t = 10)]
    pub guard_floor: u64,
    /// Token of an earlier refusal to delete: lets that one through
    #[arg(long, value_name = "TOKEN")]
    pub allow_deletions: Option<String>,
}

/// Options of a push.
#[derive(Clone, Debug, clap::Args)]
pub struct PushArgs {
    /// What both directions need.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Whose path it is
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub owner: OwnerArg,
    /// Tells the owner from a namesake made after it was deleted
    #[arg(long, value_name = "UID")]
    pub owner_uid: String,
    /// The revision that this owner (by UID) pushed last; absent if it has never pushed
    #[arg(long, value_name = "REVISION")]
    pub pushed_revision: Option<String>,
    /// Take the path over, also from another owner
    #[arg(long)]
    pub adopt: bool,
    /// The state of the path that an earlier attempt with --adopt reported: take it over from no other
    #[arg(long, value_name = "STATE", requires = "adopt")]
    pub adopt_state: Option<String>,
    /// List the remote path and repair it in this push
    #[arg(long)]
    pub verify_now: bool,
    /// How to lay the remote path out
    #[arg(long, value_enum, default_value_t)]
    pub layout: PushLayout,
    /// Which older revisions stay restorable, of layout Packs: any of last, hourly, daily, weekly, monthly, maxAge and timeZone, such as
    /// last=2,daily=7,maxAge=2160h,timeZone=Europe/Berlin; a push that commits drops the others [default: last=1, the committed one]
    #[arg(long, value_name = "RULES")]
    pub retain: Option<RetainArg>,
    /// What to leave out: a pattern as in a .gitignore in the volume's root; may be repeated, the last one that matches decides
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// When the volume was captured [default: now]
    #[arg(long, value_name = "RFC3339")]
    pub data_time: Option<Timestamp>,
    /// How often the remote path is listed and repaired
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    pub verify_interval: SignedDuration,
    /// How old the commit's checkedTime becomes before a push that finds nothing new renews it
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    pub heartbeat_interval: SignedDuration,
    /// Within which every file is read again, whatever its times say
    #[arg(long, value_name = "DURATION", default_value = "168h")]
    pub rehash_interval: SignedDuration,
}

/// Options of a pull.
#[derive(Clone, Debug, clap::Args)]
pub struct PullArgs {
    /// What both directions need.
    #[command(flatten)]
    pub common: CommonArgs,
    /// The revision that this volume holds, with a ready image of it; none after a pull of an older one of which it is not known how it ended
    #[arg(long, value_name = "REVISION")]
    pub applied_revision: Option<String>,
    /// Nothing but pulls ever writes to this volume
    #[arg(long)]
    pub private_volume: bool,
    /// Who wrote the remote path
    #[arg(long, value_enum, default_value_t)]
    pub layout: Layout,
    /// Pull this revision, which `list` shows, and no other [default: the committed one]
    #[arg(long, value_name = "REVISION", conflicts_with = "as_of")]
    pub revision: Option<RevisionArg>,
    /// Pull the newest revision whose data was captured then or earlier
    #[arg(long, value_name = "RFC3339")]
    pub as_of: Option<Timestamp>,
    /// Pull one file or folder alone, of layout Packs, to its place in the volume
    #[arg(long, value_name = "PATH", conflicts_with_all = ["applied_revision", "private_volume"])]
    pub path: Option<OsString>,
}

/// Options of a listing.
#[derive(Clone, Debug, clap::Args)]
pub struct ListArgs {
    /// The remote path.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// List the whole path, and tell number and bytes of what the revision needs and of the rest
    #[arg(long)]
    pub sizes: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    pub output: OutputFormat,
}

/// Options of a check.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    /// The remote path.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// Read every object, and compare its sha256
    #[arg(long)]
    pub read: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    pub output: OutputFormat,
}

/// Whom the output is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
    /// People
    #[default]
    Text,
    /// Machines: one line of JSON
    Json,
}

/// What a remote path looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Layout {
    /// As a push of ours writes it
    #[default]
    Files,
    /// Files alone, as rclone, Scribe or VolSync write them
    Plain,
}

/// How a push lays a remote path out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum PushLayout {
    /// Files under their own names, that any rclone can read
    #[default]
    Files,
    /// Files cut into blocks, of which those are sent that changed
    Packs,
}

/// `SECTION:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteArg {
    /// Section of the rclone configuration.
    pub section: String,
    /// Path on that remote.
    pub path: String,
}

impl fmt::Display for RemoteArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.section, self.path)
    }
}

impl FromStr for RemoteArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (section, path) = text.split_once(':').ok_or("expected SECTION:PATH")?;
        // A comma would begin a connection string, with options that beat the configuration.
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '+' | '@' | ' ');
        if section.is_empty() || section.starts_with('-') || !section.chars().all(plain) {
            return Err(format!("{section:?} cannot be a section of an rclone configuration"));
        }
        let path = path.trim_end_matches('/');
        if path.is_empty() {
            return Err("the path is empty: a whole remote is never replicated".into());
        }
        if let Some(part) = path.split('/').find(|part| matches!(*part, "." | "..") || part.eq_ignore_ascii_case(CONTROL_DIR)) {
            return Err(format!("the path has a component {part:?}, which no path of a replication has"));
        }
        Ok(Self { section: section.to_owned(), path: path.to_owned() })
    }
}

/// `NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerArg {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
}

impl OwnerArg {
    /// With the object's UID.
    pub fn with_uid(&self, uid: &str) -> Owner {
        Owner { namespace: self.namespace.clone(), name: self.name.clone(), uid: uid.to_owned() }
    }
}

impl FromStr for OwnerArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err("expected NAMESPACE/NAME".into()),
        }
    }
}

/// The name of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionArg(pub Revision);

impl FromStr for RevisionArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let what = "no revision has such a name: write one that `mover list` shows, such as 20261123T042858Z-1c9a77e0-17-5f2e";
        Revision::parse(text).map(Self).ok_or_else(|| what.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remotes_and_owners_are_checked_when_read() {
        assert_eq!("s3:b/p/".parse(), Ok(RemoteArg { section: "s3".into(), path: "b/p".into() }));
        for bad in ["s3", "s3:", "s3:/", "s3:b/.scribe", "s3:b/.SCRIBE/p", "s3:b/../p", "s3:./p", ":local:/x", "s3,endpoint=x:b", "-s:b"] {
            assert!(bad.parse::<RemoteArg>().is_err(), "{bad}");
        }
        assert!("ns/a".parse::<OwnerArg>().is_ok());
        for bad in ["a", "/a", "ns/", "a/b/c"] {
            assert!(bad.parse::<OwnerArg>().is_err(), "{bad}");
        }
    }
}
