//! What is measured. Every case has a site of its own and adds its rows to the table.

use anyhow::{Context, Result};

use crate::contender::{Ours, Peer};
use crate::measure::Cost;
use crate::site::Site;
use crate::table::{Row, Table};
use crate::tree;

/// MiB that a mover has unless its user says otherwise: `mover.resources` of `config/agent.yaml`.
const DEFAULT: u64 = 384;
/// One megabyte, as disks count.
const MB: u64 = 1_000_000;

fn methods(cost: &Cost) -> String {
    cost.traffic.methods.iter().map(|(method, count)| format!("{count} {method}")).collect::<Vec<_>>().join(", ")
}

/// Many small files.
pub fn small(site: &Site, files: u64, table: &mut Table) -> Result<()> {
    let (root, mut ours, peer) = (site.source(), Ours::new(site, DEFAULT), Peer::new(site, None));
    let some = (files / 100).max(1);
    tree::small(&root, 0..files, 1).context("make the files")?;
    let volume: u64 = bytes_below(&root)?;
    tree::settle();

    let (a, b) = (ours.push()?, peer.push()?);
    anyhow::ensure!(
        a.disk_read >= volume && b.disk_read >= volume,
        "the first pushes are seen to read less than the volume holds: the work folder is not on a disk, so reads cannot be measured"
    );
    table.push(Row::new(format!("{files} small files, first push"), Some(&a), Some(&b)).at_most(
        a.traffic.requests(),
        files + 10,
        "requests",
    ));
    let per_entry = manifest_bytes_per_entry(site)?;
    table.push(Row::new(format!("its manifest: {per_entry:.1} bytes an entry"), None, None).aim("≤ 60 bytes an entry", per_entry <= 60.0));
    let (a, b) = (ours.pull()?, peer.pull()?);
    table.push(Row::new("first pull", Some(&a), Some(&b)).at_most(a.traffic.requests(), files + 50, "requests"));

    let (a, b) = (ours.push()?, peer.push()?);
    table.push(
        Row::new("push, nothing changed", Some(&a), Some(&b))
            .at_most(a.traffic.requests(), 2, "requests")
            // The disk also gives directories and attributes that the system did not keep.
            .aim("no file data read", a.disk_read <= volume / 100)
            .aim("≤ 0.25 of the peer's time", a.wall.as_secs_f64() <= 0.25 * b.wall.as_secs_f64()),
    );
    let (a, b) = (ours.pull()?, peer.pull()?);
    table.push(
        Row::new("pull, nothing changed", Some(&a), Some(&b))
            .at_most(a.traffic.requests(), 1, "requests")
            .aim("no file data read", a.disk_read <= volume / 100),
    );

    let step = files / some;
    tree::small(&root, (0..some).map(|n| n * step), 2)?;
    tree::settle();
    // What is read is what changed: to hash it, and once more to send it unless it is still cached. Pages round it up.
    let changed: u64 = (0..some).map(|n| tree::small_name(&root, n * step).metadata().map_or(0, |meta| 2 * (meta.len() + 4096))).sum();
    let (a, b) = (ours.push()?, peer.push()?);
    table.push(
        Row::new(format!("{some} files replaced, push: {}", methods(&a)), Some(&a), Some(&b))
            .at_most(a.traffic.requests(), 4 * some + 20, "requests")
            .aim("no unchanged file read", a.disk_read <= changed),
    );
    let (a, b) = (ours.pull()?, peer.pull()?);
    table.push(
        Row::new("the same, pull", Some(&a), Some(&b))
            .at_most(a.traffic.requests(), some + 25, "requests")
            .aim("no unchanged file read", a.disk_read <= changed),
    );

    tree::small(&root, files..files + some, 3)?;
    tree::settle();
    let (a, b) = (ours.push()?, peer.push()?);
    table.push(Row::new(format!("{some} files added, push: {}", methods(&a)), Some(&a), Some(&b)).at_most(
        a.traffic.requests(),
        some + 10,
        "requests",
    ));
    Ok(())
}

/// Few large files.
pub fn large(site: &Site, files: u64, size: u64, table: &mut Table) -> Result<()> {
    let (root, mut ours, peer) = (site.source(), Ours::new(site, DEFAULT), Peer::new(site, None));
    for number in 0..files {
        tree::large(&root, number, size, 1)?;
    }
    tree::settle();
    let work = format!("{files} files of {} MB", size / MB);
    let (a, b) = (ours.push()?, peer.push()?);
    table.push(Row::new(format!("{work}, first push"), Some(&a), Some(&b)));
    let (a, b) = (ours.pull()?, peer.pull()?);
    table.push(Row::new("first pull", Some(&a), Some(&b)));
    tree::large(&root, files / 2, size, 2)?;
    tree::settle();
    let (a, b) = (ours.push()?, peer.push()?);
    table.push(
        Row::new("one of them changed, push", Some(&a), Some(&b)).at_most(a.traffic.up / MB, size * 105 / 100 / MB, "MB up").at_most(
            a.disk_read / MB,
            size * 225 / 100 / MB,
            "MB read",
        ),
    );
    let (a, b) = (ours.pull()?, peer.pull()?);
    table.push(Row::new("the same, pull", Some(&a), Some(&b)));
    Ok(())
}

/// One file that is far larger than the memory there is: `limit` MiB, rclone and page cache included.
pub fn memory(site: &Site, size: u64, limit: u64, table: &mut Table) -> Result<()> {
    tree::large(&site.source(), 0, size, 1)?;
    tree::settle();
    let (mut ours, peer) = (Ours::new(site, limit), Peer::new(site, Some(limit)));
    for push in [true, false] {
        let (a, b) = if push { (ours.push(), peer.push()) } else { (ours.pull(), peer.pull()) };
        for error in [&a, &b].into_iter().filter_map(|result| result.as_ref().err()) {
            eprintln!("{error:#}");
        }
        let work = format!("one file of {} MB in {limit} MiB, {}", size / MB, if push { "push" } else { "pull" });
        table.push(Row::new(work, a.as_ref().ok(), b.as_ref().ok()).aim("succeeds", a.is_ok()));
    }
    Ok(())
}

/// More entries than fit into memory as a list.
pub fn many(site: &Site, files: u64, links: u64, limit: u64, table: &mut Table) -> Result<()> {
    let (root, mut ours) = (site.source(), Ours::new(site, limit));
    tree::tiny(&root, 0..files, "tiny")?;
    tree::links(&root, 0..links)?;
    tree::settle();
    let mut run = |work: String, push: bool| -> Result<()> {
        ours.verify_now(work.contains("verifies"));
        let cost = if push { ours.push() } else { ours.pull() };
        if let Err(error) = &cost {
            eprintln!("{error:#}");
        }
        table.push(Row::new(work, cost.as_ref().ok(), None).aim(format!("within {limit} MiB"), cost.is_ok()));
        Ok(())
    };
    run(format!("{files} tiny files and {links} links, first push"), true)?;
    run("first pull".into(), false)?;
    run("push, nothing changed".into(), true)?;
    run("pull, nothing changed".into(), false)?;
    let some = (files / 1000).max(1);
    tree::tiny(&root, (0..some).map(|n| n * (files / some)), "other")?;
    tree::settle();
    run(format!("{some} files replaced, push"), true)?;
    run("the same, pull".into(), false)?;
    run("push that lists and verifies the whole path".into(), true)
}

fn bytes_below(root: &std::path::Path) -> Result<u64> {
    let files = walkdir::WalkDir::new(root).into_iter().filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_type().is_file()));
    files.map(|entry| Ok(entry?.metadata()?.len())).sum()
}

fn manifest_bytes_per_entry(site: &Site) -> Result<f64> {
    let entries = walkdir::WalkDir::new(site.source()).into_iter().count();
    Ok(bytes_below(&site.objects("ours").join(".scribe/manifests"))? as f64 / entries as f64)
}
