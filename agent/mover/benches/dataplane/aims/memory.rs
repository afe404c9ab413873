//! Volumes that are far larger than the memory that a mover has: rclone and page cache included.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::Result;

use super::table::Aims;
use crate::contender::Ours;
use crate::measure::Cost;
use crate::site::Site;
use crate::table::megabytes;
use crate::tree;

/// What was measured of a sync that is to succeed.
fn succeeds(work: &str, limit: u64, cost: Result<Cost>, aims: &mut Aims) -> Option<Cost> {
    let aim = format!("succeeds within {limit} MiB");
    match cost {
        Ok(cost) => {
            let wall = cost.wall.as_secs_f64();
            let resident = [cost.resident_own, cost.resident].map(megabytes).join(" / ");
            let traffic = [cost.traffic.up, cost.traffic.down].map(megabytes).join(" / ");
            let measured = format!("{} requests, {traffic} up / down, {wall:.1} s, resident {resident}", cost.traffic.requests());
            aims.add(work, &aim, &measured, true);
            Some(cost)
        }
        Err(error) => {
            eprintln!("{error:#}");
            aims.add(work, &aim, "failed", false);
            None
        }
    }
}

/// A file that is nearly all hole.
pub fn sparse(site: &Site, size: u64, settle: &dyn Fn(), aims: &mut Aims) -> Result<()> {
    const LIMIT: u64 = 128;
    let file = File::create(site.source().join("disk.img"))?;
    file.set_len(size)?;
    for (place, content) in (0..).zip(1..=4) {
        file.write_all_at(&vec![content; 1_000_000], size / 4 * place)?;
    }
    settle();
    let (mut ours, work) = (Ours::new(site, LIMIT).packs(), format!("a sparse file of {} GB, 4 MB of it data", size / 1_000_000_000));
    succeeds(&format!("{work}: first push"), LIMIT, ours.push(), aims);
    succeeds(&format!("{work}: first pull"), LIMIT, ours.pull(), aims);
    Ok(())
}

/// More entries than fit into memory as a list.
pub fn million(site: &Site, files: u64, settle: &dyn Fn(), aims: &mut Aims) -> Result<()> {
    const LIMIT: u64 = 256;
    let root = site.source();
    tree::tiny(&root, 0..files, "tiny")?;
    settle();
    let (mut ours, work) = (Ours::new(site, LIMIT).packs(), format!("{files} files"));
    succeeds(&format!("{work}: first push"), LIMIT, ours.push(), aims);
    succeeds(&format!("{work}: first pull"), LIMIT, ours.pull(), aims);
    if let Some(push) = succeeds(&format!("{work}: push, nothing changed"), LIMIT, ours.push(), aims) {
        aims.at_most(&format!("{work}: push, nothing changed"), push.traffic.requests(), 3, "requests");
    }
    tree::tiny(&root, std::iter::once(files / 2), "other")?;
    settle();
    if let Some(push) = succeeds(&format!("{work}, one changed: push"), LIMIT, ours.push(), aims) {
        aims.bytes(&format!("{work}, one changed: push"), "control data up", push.traffic.up, 64 << 10);
    }
    if let Some(pull) = succeeds(&format!("{work}, one changed: pull"), LIMIT, ours.pull(), aims) {
        aims.bytes(&format!("{work}, one changed: pull"), "control data down", pull.traffic.down, 64 << 10);
    }
    Ok(())
}
