//! The works that rivals do, too: requests, bytes and seconds, beside theirs.

use anyhow::{Context, Result};

use super::OURS;
use super::changes::{Changed, State};
use super::table::Aims;
use crate::measure::Cost;
use crate::rivals::works::database;
use crate::rivals::{Costs, Field};
use crate::site::Site;
use crate::table::megabytes;
use crate::tree;

impl Costs {
    fn ours(&self) -> Result<&Cost> {
        self.0.iter().find(|(name, _)| *name == OURS).map(|(_, cost)| cost).context("we were not measured")
    }

    /// What each has cost by this measure, in words, and the least that one of the others has.
    fn beside<V: PartialOrd>(&self, value: fn(&Cost) -> V, shown: fn(&Cost) -> String) -> (String, Option<V>) {
        let words: Vec<String> = self.0.iter().map(|(name, cost)| format!("{name} {}", shown(cost))).collect();
        let others = self.0.iter().filter(|(name, _)| *name != OURS).map(|(_, cost)| value(cost));
        (words.join(", "), others.reduce(|a, b| if b < a { b } else { a }))
    }

    /// That we are the first to be done.
    fn fastest(&self, work: &str, aims: &mut Aims) {
        // On a machine that does other work, the processor's time says more.
        let seconds = |cost: &Cost| format!("{:.1} s ({:.1} s of the processor)", cost.wall.as_secs_f64(), cost.cpu.as_secs_f64());
        let (shown, least) = self.beside(|cost| cost.wall, seconds);
        let met = least.is_none_or(|least| self.ours().is_ok_and(|ours| ours.wall <= least));
        aims.add(work, "not slower than restic and kopia", &shown, met);
    }
}

/// Many small files.
pub fn small(site: &Site, field: &Field<'_>, files: u64, settle: &dyn Fn(), aims: &mut Aims) -> Result<()> {
    let (root, work, some) = (site.source(), format!("{files} small files"), files / 100);
    tree::small(&root, 0..files, 1)?;
    settle();
    for (verb, costs) in [("first push", field.push()?), ("first pull", field.pull()?)] {
        let work = format!("{work}: {verb}");
        aims.at_most(&work, costs.ours()?.traffic.requests(), 30, "requests");
        costs.fastest(&work, aims);
    }
    aims.at_most(&format!("{work}: push, nothing changed"), field.push()?.ours()?.traffic.requests(), 3, "requests");
    aims.at_most(&format!("{work}: pull, nothing changed"), field.pull()?.ours()?.traffic.requests(), 1, "requests");
    tree::small(&root, (0..some).map(|n| n * 100), 1 << 32)?;
    settle();
    aims.at_most(&format!("{some} of them replaced: push"), field.push()?.ours()?.traffic.requests(), 12, "requests");
    aims.at_most(&format!("{some} of them replaced: pull"), field.pull()?.ours()?.traffic.requests(), 6, "requests");
    Ok(())
}

/// A gigabyte.
pub fn large(site: &Site, field: &Field<'_>, size: u64, settle: &dyn Fn(), aims: &mut Aims) -> Result<()> {
    for number in 0..5 {
        tree::large(&site.source(), number, size, 1)?;
    }
    settle();
    let work = format!("5 files of {} MB", size / 1_000_000);
    let push = field.push()?;
    push.fastest(&format!("{work}: first push"), aims);
    read_once(&format!("{work}: first push"), push.ours()?, 5 * size, aims);
    field.pull()?.fastest(&format!("{work}: first pull"), aims);
    Ok(())
}

/// A database of many rows, of which some are updated.
pub fn mariadb(site: &Site, field: &Field<'_>, rows: u64, settle: &dyn Fn(), aims: &mut Aims) -> Result<()> {
    let updates = rows / 600;
    let Both { push, pull, changed } = two_states(site, field, ["create", "update"].map(|verb| (verb, rows, updates)), settle)?;
    let work = format!("MariaDB of {rows} rows, {updates} random updates");
    let (ours, bytes) = (push.ours()?, push.beside(|cost| cost.traffic.up, |cost| megabytes(cost.traffic.up)));
    // 26 MB were aimed at for 5,000 updates.
    let limit = updates * 5_200;
    aims.bytes(&format!("{work}: push"), "up", ours.traffic.up, limit);
    aims.add(&format!("{work}: push"), "up: ≤ 1/6 of the better rival", &bytes.0, bytes.1.is_none_or(|least| ours.traffic.up * 6 <= least));
    let floor = format!("{} blocks of 16 KiB changed, {} compressed one by one", changed.blocks, megabytes(changed.stored));
    aims.add(&format!("{work}: push"), "up: ≤ 1.05 × the blocks that changed", &floor, ours.traffic.up * 100 <= changed.stored * 105);
    read_once(&format!("{work}: push"), ours, changed.files, aims);
    moved(&format!("{work}: pull"), ours, pull.ours()?, &changed, aims);
    Ok(())
}

/// The database of `tests/demo`.
pub fn demo(site: &Site, field: &Field<'_>, settle: &dyn Fn(), aims: &mut Aims) -> Result<()> {
    let Both { push, pull, changed } = two_states(site, field, [("entries", 0, 5_000), ("entries", 5_000, 300)], settle)?;
    let work = "the demo's database, 300 transactions";
    let shown = push.beside(|cost| cost.traffic.up, |cost| megabytes(cost.traffic.up)).0;
    let ours = push.ours()?;
    aims.add(&format!("{work}: push"), "up: ≤ 4 MiB", &shown, ours.traffic.up <= 4 << 20);
    moved(&format!("{work}: pull"), ours, pull.ours()?, &changed, aims);
    Ok(())
}

/// The push and the pull of a second state.
struct Both {
    push: Costs,
    pull: Costs,
    changed: Changed,
}

fn two_states(site: &Site, field: &Field<'_>, [first, second]: [(&str, u64, u64); 2], settle: &dyn Fn()) -> Result<Both> {
    let root = site.source();
    database(&root, first)?;
    let before = State::of(&root)?;
    settle();
    field.push()?;
    field.pull()?;
    database(&root, second)?;
    let changed = before.changed(&root)?;
    settle();
    Ok(Both { push: field.push()?, pull: field.pull()?, changed })
}

/// File data is read once: what else is read are folders, programs and what the mover keeps.
fn read_once(work: &str, cost: &Cost, files: u64, aims: &mut Aims) {
    let measured = format!("{} of {}", megabytes(cost.disk_read), megabytes(files));
    aims.add(work, "file data read once", &measured, cost.disk_read * 100 <= files * 105);
}

/// A pull moves what the push has moved, and writes it twice: to its staging folder, and to its place.
fn moved(work: &str, push: &Cost, pull: &Cost, changed: &Changed, aims: &mut Aims) {
    let limit = push.traffic.up + push.traffic.up / 50;
    aims.bytes(work, "down, up of the push + 2 %", pull.traffic.down, limit);
    aims.bytes(work, "written to the disk, 2 × what changed", pull.disk_written, 2 * changed.plain);
}
