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
}

/// Many small files.
pub fn small(root: &Path, field: &Field<'_>, files: u64, results: &mut Results<'_>) -> Result<()> {
    let some = files / 100;
    tree::small(root, 0..files, SEEDS[0])?;
    (results.settle)();
    results.pushed(&format!("{files} small files, first push"), field)?;
    results.pushed("nothing changed", field)?;
    tree::small(root, (0..some).map(|n| n * 100), SEEDS[1])?;
    (results.settle)();
    results.pushed(&format!("{some} replaced"), field)?;
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
    tree::large(root, 2, size, SEEDS[1])?;
    (results.settle)();
    results.pushed("one of them replaced", field)
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
    let state = |verb: &str| {
        let mut command = Command::new("bash");
        command.args(["-euc", MARIADB, "mariadb.sh", verb]).arg(root).args([lines.to_string(), updates.to_string()]);
        let output = command.output().context("start bash")?;
        ensure!(output.status.success(), "mariadb.sh {verb}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    state("create")?;
    (results.settle)();
    results.pushed(&format!("MariaDB, {lines} rows, first push"), field)?;
    state("update")?;
    (results.settle)();
    results.pushed(&format!("after {updates} random updates"), field)
}
