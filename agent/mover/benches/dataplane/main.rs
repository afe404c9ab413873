//! What a push and a pull cost, side by side with the procedure of VolSync's rclone mover, as the Markdown table of
//! `docs/performance-tables.md`. Both run against `rclone serve s3` through a proxy that counts. Exits 1 when an aim is missed.
//!
//! `make bench` runs it in full. `ARGS="--quick"` takes small sets, and `--only` some of the cases. Two others make other tables instead:
//! `--rivals` one of pushes and pulls beside those of other programs, `--aims` that of what layout Packs is to cost.
//!
//! File data read is what the disk gave (`read_bytes` of `/proc/PID/io`, children included), with the volume's files dropped from
//! the page cache before every run.

#![allow(clippy::cast_precision_loss)] // Figures for people.

mod aims;
mod cases;
#[path = "../../tests/mover/support/cgroup.rs"]
mod cgroup;
mod contender;
mod measure;
mod proxy;
mod rivals;
mod site;
mod table;
mod tree;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use scribe_mover::MoverArgs;

use site::Site;
use table::Table;

#[derive(Parser)]
struct Cli {
    /// cargo gives it to every bench
    #[arg(long, hide = true)]
    bench: bool,
    /// Small sets: seconds instead of half an hour
    #[arg(long)]
    quick: bool,
    /// Only these cases
    #[arg(long, value_delimiter = ',')]
    only: Vec<Case>,
    /// Entries of the case `many` [default: a million, or 20,000 with --quick]
    #[arg(long)]
    entries: Option<u64>,
    /// How many of them are symbolic links: these cost no request, so it takes minutes instead of an hour
    #[arg(long, default_value_t = 0)]
    links: u64,
    /// Pushes and pulls beside those of other programs instead, of these volumes [default: all]
    #[arg(long, value_delimiter = ',', num_args = 0.., require_equals = true, conflicts_with_all = ["only", "entries", "links"])]
    rivals: Option<Vec<rivals::Work>>,
    /// The aims of layout Packs instead, by these works [default: all]
    #[arg(long, value_delimiter = ',', num_args = 0.., require_equals = true, conflicts_with_all = ["only", "entries", "links", "rivals"])]
    aims: Option<Vec<aims::Work>>,
    /// What `the_aims_are_met` of tests/packs_policy has printed, for the work `policy` of the aims
    #[arg(long, env = "POLICY_LOG")]
    policy_log: Option<PathBuf>,
    /// The restic binary
    #[arg(long, env = "RESTIC_BINARY", default_value = "restic")]
    restic: PathBuf,
    /// The kopia binary
    #[arg(long, env = "KOPIA_BINARY", default_value = "kopia")]
    kopia: PathBuf,
    /// The rclone binary
    #[arg(long, env = "RCLONE_BINARY", default_value = "rclone")]
    rclone: PathBuf,
    /// A folder on a disk, with 10 GB free
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    work: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    /// 20,000 small files
    Small,
    /// 5 files of 200 MB
    Large,
    /// A file of 1 GB in 128 and 64 MiB
    Memory,
    /// A million entries in 384 MiB
    Many,
}

/// This program run as our mover.
#[derive(Parser)]
struct Mover {
    #[command(subcommand)]
    mover: MoverArgs,
}

fn main() -> ExitCode {
    if let Some(code) = scribe_mover::shim() {
        return code;
    }
    let args: Vec<_> = std::env::args_os().collect();
    if args.get(1).is_some_and(|arg| arg == "mover") {
        return scribe_mover::run(Mover::parse_from(args.into_iter().skip(1)).mover);
    }
    match bench(&Cli::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(missed) => {
            eprintln!("{missed} aims missed");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(cli: &Cli) -> Result<usize> {
    let mut table = Table::default();
    let due = |case| cli.only.is_empty() || cli.only.contains(&case);
    let size = |full, quick| if cli.quick { quick } else { full };
    let site = || Site::new(Path::new(&cli.work), &cli.rclone);
    let programs = rivals::Programs { restic: cli.restic.clone(), kopia: cli.kopia.clone() };
    if let Some(works) = &cli.aims {
        let works = if works.is_empty() { aims::Work::value_variants() } else { works };
        let settings = aims::Settings { programs, policy: cli.policy_log.as_deref(), quick: cli.quick };
        let aims = aims::bench(works, &site, &settings)?;
        print!("{}", aims.markdown());
        return Ok(aims.missed());
    }
    if let Some(works) = &cli.rivals {
        let works = if works.is_empty() { rivals::Work::value_variants() } else { works };
        print!("{}", rivals::bench(works, &site, &programs, cli.quick)?);
        return Ok(0);
    }
    if due(Case::Small) {
        cases::small(&site()?, size(20_000, 400), &mut table)?;
    }
    if due(Case::Large) {
        cases::large(&site()?, 5, size(200_000_000, 20_000_000), &mut table)?;
    }
    if due(Case::Memory) {
        for limit in [128, 64] {
            cases::memory(&site()?, size(1_000_000_000, 200_000_000), limit, &mut table)?;
        }
    }
    if due(Case::Many) {
        let entries = cli.entries.unwrap_or(size(1_000_000, 20_000));
        cases::many(&site()?, entries - cli.links.min(entries), cli.links, size(384, 128), &mut table)?;
    }
    print!("{}", table.markdown());
    Ok(table.missed())
}
