//! What layout Packs is to cost, measured beside restic and kopia, as the table of aims of `docs/performance.md`.

mod changes;
mod memory;
mod policy;
mod table;
mod works;

use std::path::Path;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::rivals::{Field, Programs};
use crate::site::Site;
use crate::tree;
pub use table::Aims;

/// Whose costs the aims are about.
const OURS: &str = "Packs";
/// Who is to be beaten.
const RIVALS: [&str; 2] = ["restic", "kopia"];

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// 20,000 small files
    Small,
    /// 1 GB in five files
    Large,
    /// A MariaDB of 3 million rows, in two states
    Mariadb,
    /// The database of the demo, before and after 300 transactions
    Demo,
    /// A sparse file of 1 TB
    Sparse,
    /// A million files
    Million,
    /// 10,000 simulated pushes: what `--policy-log` has
    Policy,
}

/// What is known of the run.
pub struct Settings<'a> {
    /// The programs of others.
    pub programs: Programs,
    /// What the simulation of pushes has printed.
    pub policy: Option<&'a Path>,
    /// Small sets, and files that are not given the time to come of age.
    pub quick: bool,
}

/// Does these works, each at a site of its own, and gives the table.
pub fn bench(works: &[Work], site: &dyn Fn() -> Result<Site>, settings: &Settings<'_>) -> Result<Aims> {
    let size = |full, small| if settings.quick { small } else { full };
    let mut aims = Aims::default();
    let settle = || {
        if !settings.quick {
            tree::settle();
        }
    };
    for work in works {
        if *work == Work::Policy {
            let log = settings.policy.context("the work `policy` needs --policy-log, which tests/tools/bench gives")?;
            policy::read(&std::fs::read_to_string(log).with_context(|| log.display().to_string())?, &mut aims)?;
            continue;
        }
        let site = site()?;
        let field = || Field::new(&site, &settings.programs, |name| name == OURS || RIVALS.contains(&name));
        match work {
            Work::Small => works::small(&site, &field()?, size(20_000, 400), &settle, &mut aims)?,
            Work::Large => works::large(&site, &field()?, size(200_000_000, 10_000_000), &settle, &mut aims)?,
            Work::Mariadb => works::mariadb(&site, &field()?, size(3_000_000, 60_000), &settle, &mut aims)?,
            Work::Demo => works::demo(&site, &field()?, &settle, &mut aims)?,
            Work::Sparse => memory::sparse(&site, size(1_000_000_000_000, 10_000_000_000), &settle, &mut aims)?,
            Work::Million => memory::million(&site, size(1_000_000, 20_000), &settle, &mut aims)?,
            Work::Policy => {}
        }
    }
    Ok(aims)
}
