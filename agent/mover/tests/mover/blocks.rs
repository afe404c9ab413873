//! Block-level copies of a mounted file system that is not frozen: what most snapshots of a volume are. Needs root, for loop devices.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use assert_fs::TempDir;
use jiff::{SignedDuration, Timestamp};
use rstest::rstest;
use scribe_mover::pull::{PullOptions, pull};
use scribe_mover::push::{PushOptions, Synced};

use crate::support::{Layout, Local, done, guard};

const SIZE: usize = 64 << 10;

/// A file system in a file, while it is mounted.
pub(crate) struct Mounted(pub(crate) TempDir);

impl Mounted {
    pub(crate) fn new(image: &Path, options: &str) -> Self {
        let dir = TempDir::new().unwrap();
        run(Command::new("mount").args(["-o", options]).arg(image).arg(dir.path()));
        Self(dir)
    }

    fn data(&self) -> std::path::PathBuf {
        self.0.path().join("data")
    }

    fn content(&self) -> u8 {
        let content = fs::read(self.data()).unwrap();
        assert!(content.len() == SIZE && content.iter().all(|byte| *byte == content[0]));
        content[0]
    }

    fn hints(&self) -> (i64, i64, i64, i64, u64) {
        let meta = self.data().metadata().unwrap();
        (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec(), meta.ino())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}, which needs root: {}", String::from_utf8_lossy(&output.stderr));
}

/// A file system writes out times, in its journal or with its trees, long before content that was written in place. A copy from in between
/// has the new times and the old content; the next one has the same times and the new content.
///
/// What makes the file system write out the times here is another program's fsync. On btrfs, reading the file makes the times part of
/// what is written, and without a tree log every fsync writes all of it.
#[rstest]
#[case("ext4", "loop")]
#[case("btrfs", "loop,notreelog")]
fn new_times_over_old_content_do_not_hide_a_change(
    #[case] kind: &str,
    #[case] options: &str,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let (site, dir) = (Local::new(), TempDir::new().unwrap());
    let [image, torn] = ["image", "torn"].map(|name| dir.path().join(name));
    File::create(&image).unwrap().set_len(128 << 20).unwrap();
    run(Command::new(format!("mkfs.{kind}")).arg("-q").arg(&image));
    let live = Mounted::new(&image, options);
    fs::write(live.data(), vec![b'a'; SIZE]).unwrap();
    rustix::fs::syncfs(File::open(live.data()).unwrap()).unwrap();
    OpenOptions::new().write(true).open(live.data()).unwrap().write_all_at(&vec![b'b'; SIZE], 0).unwrap();
    assert_eq!(live.content(), b'b');
    let hints = live.hints();
    File::create(live.0.path().join("another program's")).unwrap().sync_all().unwrap();
    run(Command::new("cp").arg("--sparse=always").args([&image, &torn]));
    drop(live);

    let push_at = |image: &Path, after: i64, content: u8| -> Synced {
        let copy = Mounted::new(image, "loop");
        assert_eq!((copy.content(), copy.hints()), (content, hints), "{}: this is not the copy to test with", image.display());
        let data_time = Timestamp::from_second(hints.2 + after).unwrap();
        let started = data_time + SignedDuration::from_secs(5);
        layout.push(&site.remote(), &PushOptions { volume: copy.0.path().into(), data_time, started, ..site.push_options() }).unwrap()
    };
    // Both file systems may take that long before they write out content.
    push_at(&torn, 25, b'a');
    let second = push_at(&image, 85, b'b');
    assert!(second.changed, "{second:?}");
    let options = PullOptions { volume: site.dest.path().into(), applied: None, private: true, guard: guard() };
    done(pull(&site.remote(), &options));
    assert_eq!(fs::read(site.dest.path().join("data")).unwrap(), vec![b'b'; SIZE]);
    // And then the volume comes to rest.
    let rest = [150, 210, 270].map(|after| push_at(&image, after, b'b').hashed);
    assert_eq!(rest[1..], [0, 0], "{rest:?}");
}
