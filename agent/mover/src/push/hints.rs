//! When the hints of a file (size, mtime, ctime, inode) say that its content is the recorded one.
//!
//! They do not by themselves. A file system writes out times and content apart from each other: a block-level copy without a freeze, and
//! a crash, leave new times over old content, on ext4 for up to 32 s and on btrfs for up to 63 s after the write (measured with stock
//! settings). A write through a memory mapping moves the times when it makes a clean page dirty, and not again until that page has been
//! written out, about 35 s later. So hints vouch once the file was seen with this content, by a capture well after its last change.

use jiff::Timestamp;

use crate::error::Result;
use crate::format::entries::Entries;
use crate::volume::entry::{Entry, Hints, Time};
use crate::volume::merge_join::join;

/// Hints of what changed this close to the capture, in seconds, vouch for nothing. Twice what was measured.
pub(super) const RACY: i64 = 120;

/// Whether the content of this file, as a capture at `captured` shows it, may be another one under the same hints later.
///
/// A ctime cannot be set, so one in the future means that a clock is wrong. An mtime counts, too, because some file systems do not keep
/// a ctime of their own; but one in the future was set by a program, and proves nothing.
pub(super) fn is_racy(entry: &Entry, captured: Timestamp) -> bool {
    is_young(entry.meta.mtime, entry.file().and_then(|file| file.hints), captured)
}

/// The same, of what is recorded of a file.
pub(super) fn is_young(mtime: Time, hints: Option<Hints>, captured: Timestamp) -> bool {
    let now = captured.as_second();
    let from = now.saturating_sub(RACY);
    hints.is_none_or(|hints| hints.ctime.secs >= from) || (from..=now).contains(&mtime.secs)
}

/// Whether files whose hints were too young at `hints_time` have come of age by `captured`, and none is going to soon: then saying so in
/// the commit saves the next pushes from reading them again.
///
/// `looked` has the same content as `committed`, which was read where the hints did not vouch for it. So every entry may be trusted up to
/// `captured` from then on. One whose hints are others by now does not matter: what is in the manifest will not be met again.
pub(super) fn came_of_age(committed: &Entries, looked: &Entries, hints_time: Timestamp, captured: Timestamp) -> Result<bool> {
    let hints = |entry: &Entry| entry.file().and_then(|file| file.hints);
    let mut any = false;
    for pair in join(committed.read()?, looked.read()?) {
        let (Some(old), Some(new)) = pair? else { continue };
        let young = hints(&old).is_some() && (is_racy(&old, hints_time) || hints_time > captured);
        if !young || hints(&new) != hints(&old) {
            continue;
        }
        if !is_racy(&new, captured) {
            any = true;
        } else if hints(&new).is_some_and(|hints| hints.ctime.secs <= captured.as_second()) {
            return Ok(false);
        }
    }
    Ok(any)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::format::entries::tests::tree;
    use crate::scratch::Scratch;
    use crate::volume::entry::{FileEntry, Kind, Location, Meta};
    use crate::volume::path::RelPath;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn file(name: &str, mtime: i64, ctime: i64) -> Entry {
        let time = |secs| Time { secs, nanos: 0 };
        let hints = Some(Hints { ctime: time(ctime), inode: 1 });
        let file = FileEntry { size: 1, sha256: Digest([1; 32]), at: Location::Own, changed: 1, link: None, holes: Box::default(), hints };
        let path = RelPath::new(name.as_bytes()).unwrap();
        Entry { path, meta: Meta { mtime: time(mtime), ..Meta::default() }, kind: Kind::File(file) }
    }

    #[test]
    fn hints_vouch_from_well_after_the_last_change_on() {
        let now = 1_000_000;
        for (mtime, ctime, racy) in [
            (0, now - 121, false),
            (0, now - 120, true),
            (0, now, true),
            (0, now + 1_000_000, true),
            (now - 121, 0, false),
            (now - 120, 0, true),
            (now, 0, true),
            (now + 1, 0, false),
        ] {
            assert_eq!(is_racy(&file("a", mtime, ctime), at(now)), racy, "{mtime} {ctime}");
        }
    }

    #[test]
    fn files_come_of_age_one_by_one() {
        let scratch = Scratch::new().unwrap();
        let root = || Entry { path: RelPath::root(), meta: Meta::default(), kind: Kind::Dir };
        let of = |files: &[Entry]| tree(&scratch, &[&[root()], files].concat());
        let aged =
            |old: &[Entry], new: &[Entry], hints_time, captured| came_of_age(&of(old), &of(new), at(hints_time), at(captured)).unwrap();
        let files = [file("a", 0, 1000), file("b", 0, 1060)];
        let times = [(1060, 1120, false), (1060, 1179, false), (1060, 1181, true), (1181, 1300, false), (9999, 1300, true)];
        for (hints_time, captured, saved) in times {
            assert_eq!(aged(&files, &files, hints_time, captured), saved, "{hints_time} {captured}");
        }
        // The times of one file move all the time; another one's lie in the future.
        for restless in [1290, 1_000_000] {
            let (then, now) = (file("c", 0, 1060.max(restless - 200)), file("c", 0, restless));
            let [a, b] = files.clone();
            assert!(aged(&[a.clone(), b.clone(), then], &[a, b, now], 1060, 1300), "{restless}");
        }
        assert!(!aged(&[file("c", 0, 1_000_000)], &[file("c", 0, 1_000_000)], 1060, 1300), "nothing is gained by it");
    }
}
