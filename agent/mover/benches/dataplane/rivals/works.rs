//! What the contenders are given to send: volumes, and what changes in them between two pushes.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::run::Field;
use super::table::rows;
use crate::tree;

/// Contents of the first, second and third state: so far apart that no file gets another's, which some contenders would not send again.
const SEEDS: [u64; 3] = [1, 1 << 32, 2 << 32];

const MARIADB: &str = include_str!("mariadb.sh");
const POSTGRES: &str = include_str!("postgres.sh");
/// Of the demo's database.
const SCHEMA: &str = include_str!("../../../../../tests/demo/database/schema.sql");

/// Where the rows go as they come.
pub struct Results<'a> {
    /// Called with each work's rows.
    pub add: &'a mut dyn FnMut(String),
    /// Waits until what was written is old enough to be believed.
    pub settle: &'a dyn Fn(),
}

impl Results<'_> {
    fn pushed(&mut self, work: &str, field: &Field<'_>) -> Result<()> {
        (self.add)(rows(work, &field.push().context(work.to_owned())?));
        Ok(())
    }

    fn pulled(&mut self, work: &str, field: &Field<'_>) -> Result<()> {
        (self.add)(rows(work, &field.pull().context(work.to_owned())?));
        Ok(())
    }
}

/// Many small files.
pub fn small(root: &Path, field: &Field<'_>, files: u64, results: &mut Results<'_>) -> Result<()> {
    let some = files / 100;
    tree::small(root, 0..files, SEEDS[0])?;
    (results.settle)();
    results.pushed(&format!("{files} small files, first push"), field)?;
    results.pulled("first pull", field)?;
    results.pushed("push, nothing changed", field)?;
    results.pulled("pull, nothing changed", field)?;
    tree::small(root, (0..some).map(|n| n * 100), SEEDS[1])?;
    (results.settle)();
    results.pushed(&format!("{some} replaced, push"), field)?;
    results.pulled("the same, pull", field)?;
    tree::small(root, files..files + some, SEEDS[2])?;
    (results.settle)();
    results.pushed(&format!("{some} added"), field)?;
    // The files keep their times, and are as old as they were.
    fs::rename(root.join("customer-00"), root.join("renamed"))?;
    results.pushed("a folder renamed, a twentieth of the files", field)
}

/// Few large files.
pub fn large(root: &Path, field: &Field<'_>, size: u64, results: &mut Results<'_>) -> Result<()> {
    for number in 0..5 {
        tree::large(root, number, size, SEEDS[0])?;
    }
    (results.settle)();
    results.pushed(&format!("5 files of {} MB, first push", size / 1_000_000), field)?;
    results.pulled("first pull", field)?;
    tree::large(root, 2, size, SEEDS[1])?;
    (results.settle)();
    results.pushed("one of them replaced, push", field)?;
    results.pulled("the same, pull", field)
}

/// A large file that is nearly all hole.
pub fn sparse(root: &Path, field: &Field<'_>, size: u64, results: &mut Results<'_>) -> Result<()> {
    let file = File::create(root.join("disk.img"))?;
    file.set_len(size)?;
    for (place, content) in (0..).zip(1..=4) {
        file.write_all_at(&vec![content; 1_000_000], size / 4 * place)?;
    }
    (results.settle)();
    results.pushed(&format!("a sparse file of {} MB, 4 MB of it data", size / 1_000_000), field)
}

/// The data directory of a MariaDB that was shut down cleanly, and again after updates.
pub fn mariadb(root: &Path, field: &Field<'_>, lines: u64, results: &mut Results<'_>) -> Result<()> {
    let updates = lines / 600;
    database(root, ("create", lines, updates))?;
    (results.settle)();
    results.pushed(&format!("MariaDB, {lines} rows, first push"), field)?;
    results.pulled("first pull", field)?;
    database(root, ("update", lines, updates))?;
    (results.settle)();
    results.pushed(&format!("after {updates} random updates"), field)?;
    results.pulled("the same, pull", field)
}

/// The data directory of a PostgreSQL that was shut down cleanly, and again after transactions of pgbench.
pub fn postgres(root: &Path, field: &Field<'_>, scale: u64, results: &mut Results<'_>) -> Result<()> {
    let transactions = scale * 100;
    script(POSTGRES, "create", root, [scale, transactions])?;
    (results.settle)();
    results.pushed(&format!("PostgreSQL, pgbench with {} rows, first push", scale * 100_000), field)?;
    results.pulled("first pull", field)?;
    script(POSTGRES, "update", root, [scale, transactions])?;
    (results.settle)();
    results.pushed(&format!("after {transactions} transactions, push"), field)?;
    results.pulled("the same, pull", field)
}

/// More entries than are read in passing.
pub fn many(root: &Path, field: &Field<'_>, files: u64, results: &mut Results<'_>) -> Result<()> {
    tree::tiny(root, 0..files, "tiny")?;
    (results.settle)();
    results.pushed(&format!("{files} tiny files, first push"), field)?;
    results.pulled("first pull", field)?;
    results.pushed("push, nothing changed", field)?;
    tree::tiny(root, std::iter::once(files / 2), "other")?;
    (results.settle)();
    results.pushed("one file changed, push", field)?;
    results.pulled("the same, pull", field)
}

/// Brings a MariaDB below `root` into a state, and shuts it down cleanly: a verb of `mariadb.sh`, with its two numbers.
pub fn database(root: &Path, (verb, first, second): (&str, u64, u64)) -> Result<()> {
    script(MARIADB, verb, root, [first, second])
}

fn script(text: &str, verb: &str, root: &Path, numbers: [u64; 2]) -> Result<()> {
    let mut command = Command::new("bash");
    command.args(["-euc", text, "script", verb]).arg(root).args(numbers.map(|number| number.to_string())).env("SCHEMA", SCHEMA);
    let output = command.output().context("start bash")?;
    ensure!(output.status.success(), "the database's {verb}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
