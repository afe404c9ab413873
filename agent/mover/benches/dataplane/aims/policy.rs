//! The rows of thousands of simulated pushes, from what `agent/mover/tests/packs_policy` prints; it holds each course against the aims itself.

use anyhow::{Result, ensure};

use super::table::Aims;

/// A course: blocks that change from push to push, uploads, packs, space, and a fresh pull.
struct Course {
    changed: u64,
    upload: f64,
    packs: u64,
    space: f64,
    fresh: f64,
}

/// Adds its rows, with the least and the most of all courses.
pub fn read(log: &str, aims: &mut Aims) -> Result<()> {
    let courses: Vec<Course> =
        log.lines().filter(|line| line.contains(" uniform |") || line.contains(" zipf |")).filter_map(course).collect();
    ensure!(courses.len() == 8, "the simulation of pushes has printed {} courses that can be read, not 8", courses.len());
    let held = log.contains("test result: ok. 1 passed");
    let (few, many): (Vec<&Course>, Vec<&Course>) = courses.iter().partition(|course| course.changed < 655);
    let mut add = |aim: &str, of: &[&Course], value: fn(&Course) -> f64, limit: f64, digits: usize| {
        let values = || of.iter().map(|course| value(course));
        let (least, most) = (values().fold(f64::MAX, f64::min), values().fold(0.0, f64::max));
        let shown = format!("{least:.digits$} to {most:.digits$}");
        aims.add("simulated pushes to a volume of 1 GiB, 8 courses", aim, &shown, held && most <= limit);
    };
    ensure!(few.len() == 4 && many.len() == 4, "other courses were played than the aims are about");
    let all: Vec<&Course> = courses.iter().collect();
    add("sent: ≤ 3.2 × the data, below 1 % of the volume a push", &few, |course| course.upload, 3.2, 2);
    add("sent: ≤ 2 × the data, above that", &many, |course| course.upload, 2.0, 2);
    // 282 MB of live bytes, as blocks of InnoDB are stored.
    add("packs: ≤ live bytes / 8 MiB + 128 = 161, at any time", &all, |course| course.packs as f64, 161.0, 0);
    add("bytes of packs: ≤ 1.5 × the live ones", &all, |course| course.space, 1.5, 2);
    add("bytes of a fresh pull: ≤ 1.5 × the live ones", &all, |course| course.fresh, 1.5, 2);
    Ok(())
}

fn course(line: &str) -> Option<Course> {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let [_, name, upload, packs, space, _, _, _, fresh, _] = cells.as_slice() else { return None };
    Some(Course {
        changed: name.split(' ').next()?.replace(',', "").parse().ok()?,
        upload: upload.parse().ok()?,
        packs: packs.split_once('(')?.1.strip_suffix(')')?.parse().ok()?,
        space: space.split_once(';')?.0.parse().ok()?,
        fresh: fresh.rsplit_once(", ")?.1.parse().ok()?,
    })
}
