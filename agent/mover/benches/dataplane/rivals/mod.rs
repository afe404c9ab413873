//! What pushes and pulls cost beside other programs that send a volume to S3, as the Markdown table of rivals in `docs/performance-tables.md`.
//!
//! With `--quick`, files are not given the time to come of age: the mover reads files once more that were written less than 120 seconds before.

mod contenders;
mod run;
mod table;
pub mod works;

use anyhow::Result;
use clap::ValueEnum;

use crate::site::Site;
use crate::tree;
pub use run::{Costs, Field, Programs};
use works::Results;

/// What is sent.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// 20,000 small files
    Small,
    /// 5 files of 200 MB
    Large,
    /// A sparse file of 20 GB, which the server keeps whole for some of them: 70 GB free are needed
    Sparse,
    /// A MariaDB of 3 million rows, in two states
    Mariadb,
    /// A PostgreSQL of pgbench, in two states
    Postgres,
    /// 200,000 tiny files: a million of them take those hours that send each as an object
    Many,
}

/// Does these works, each at a site of its own, and gives the table; its rows go to standard error as they come.
pub fn bench(works: &[Work], site: &dyn Fn() -> Result<Site>, programs: &Programs, quick: bool) -> Result<String> {
    let size = |full, small| if quick { small } else { full };
    let mut text = String::from(table::HEAD);
    eprint!("{text}");
    for work in works {
        let site = site()?;
        let (root, field) = (site.source(), Field::new(&site, programs, |_| true)?);
        let mut add = |rows: String| {
            eprint!("{rows}");
            text.push_str(&rows);
        };
        let settle = || {
            if !quick {
                tree::settle();
            }
        };
        let mut results = Results { add: &mut add, settle: &settle };
        match work {
            Work::Small => works::small(&root, &field, size(20_000, 400), &mut results)?,
            Work::Large => works::large(&root, &field, size(200_000_000, 10_000_000), &mut results)?,
            Work::Sparse => works::sparse(&root, &field, size(20_000_000_000, 200_000_000), &mut results)?,
            Work::Mariadb => works::mariadb(&root, &field, size(3_000_000, 60_000), &mut results)?,
            Work::Postgres => works::postgres(&root, &field, size(50, 2), &mut results)?,
            Work::Many => works::many(&root, &field, size(200_000, 2_000), &mut results)?,
        }
    }
    Ok(text)
}
