//! How much memory a mover needs, rclone included: it runs in a cgroup that kills what does not fit.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use rstest::rstest;
use scribe_mover::report::{Outcome, Reason};
use scribe_mover::stop::Stop;
use scribe_mover::volume::beneath::Root;
use scribe_mover::volume::hash::Hasher;
use scribe_mover::volume::path::RelPath;

use crate::outside::forge_manifest;
use crate::support::Site;
use crate::support::cgroup::Cgroup;
use crate::support::program::{mover, report};
use crate::support::server::Backend;
use crate::support::tree::{assert_same, write};

/// A commit or claim of a size that none has, which whoever may write to the bucket can put there: it is not fetched to its end.
#[rstest]
fn a_document_of_absurd_size_is_named(
    #[values("commit.json", "claim.json")] name: &str,
    #[values("push", "pull")] verb: &str,
    #[values(Backend::Local, Backend::S3)] backend: Backend,
) {
    let site = Site::on(backend);
    if backend == Backend::S3 {
        site.make_bucket();
    }
    write(site.source.path(), "a", "a");
    site.push();
    if name == "claim.json" {
        // Without a commit, the claim says whose path it is.
        site.meddle("deletefile", ".scribe/commit.json", b"");
    }
    let object = site.object(&format!(".scribe/{name}"));
    File::create(&object).unwrap().set_len(3 << 29).unwrap();
    let volume = if verb == "push" { site.source.path() } else { site.dest.path() };
    let group = Cgroup::new(64 << 20).unwrap();
    let output = group.enter(&mover(&site, verb, volume, &[])).output().unwrap();
    assert_eq!(group.killed().unwrap(), 0, "{}", String::from_utf8_lossy(&output.stdout));
    let report = report(&output);
    assert_eq!(report.result, Outcome::Failed);
    assert!(matches!(report.reason, Some(Reason::RemoteInconsistent | Reason::PathNotOurs)), "{:?} {}", report.reason, report.message);
    // Where there is no commit, that may be what is said, whatever the claim is.
    assert!(report.message.contains("commit.json") || report.message.contains(name), "{}", report.message);
    let largest = walkdir::WalkDir::new(site.scratch.path()).into_iter().map(|entry| entry.unwrap().metadata().unwrap().len()).max();
    assert!(largest < Some(1 << 20), "{largest:?}");
}

/// Runs the mover within `mib`, and fails when any process of it was killed for want of memory.
fn run_within(mib: u64, site: &Site, verb: &str, volume: &Path) {
    let group = Cgroup::new(mib << 20).unwrap();
    let output = group.enter(&mover(site, verb, volume, &[])).output().unwrap();
    assert_eq!(group.killed().unwrap(), 0, "{verb} within {mib} MiB: {}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(report(&output).result, Outcome::Successful, "{verb} within {mib} MiB");
}

/// The file is a multiple of the memory, the page cache has to fit in as well, and rclone sends and fetches it in parts.
#[test]
fn a_file_larger_than_the_memory_there_is_goes_through() {
    let site = Site::with_bucket();
    let mut file = File::create(site.source.path().join("large")).unwrap();
    let mut block: Vec<u8> = (0..1_u32 << 18).flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    for number in 0..200_u16 {
        block[..2].copy_from_slice(&number.to_le_bytes());
        file.write_all(&block).unwrap();
    }
    run_within(64, &site, "push", site.source.path());
    run_within(64, &site, "pull", site.dest.path());
    let digest = |volume: &Path| Hasher::default().all(&Root::open(volume).unwrap(), &[RelPath::own("large")], &Stop::default()).unwrap();
    assert_eq!(digest(site.source.path()), digest(site.dest.path()));
}

/// What a push and a pull keep in memory does not grow with the tree. Links, because a file would cost a request; they take the same
/// place in a tree. Held as a list, this tree would take the memory that there is twice.
#[test]
fn a_large_tree_needs_no_more_memory_than_a_small_one() {
    let site = Site::with_bucket();
    let (source, dest) = (site.source.path(), site.dest.path());
    for dir in 0..400 {
        let dir = source.join(format!("customer-{dir:06}"));
        fs::create_dir(&dir).unwrap();
        for link in 0..100 {
            symlink(format!("../../storage/somewhere/far/below/object-{link:040}"), dir.join(format!("document-{link:08}.json"))).unwrap();
        }
    }
    write(source, "file", "content");
    run_within(64, &site, "push", source);
    run_within(64, &site, "pull", dest);
    fs::remove_dir_all(source.join("customer-000300")).unwrap();
    write(source, "file", "other content");
    run_within(64, &site, "push", source);
    run_within(64, &site, "pull", dest);
    assert_same(source, dest);
}

/// Manifests that a compressed kilobyte makes as large as one likes: they are refused, by a mover with little memory, too.
#[rstest]
#[case::endless_line(0, 27)]
#[case::large_window(27, 20)]
fn a_hostile_manifest_does_not_fill_the_memory(#[case] window: u32, #[case] size: u32, #[values("push", "pull")] verb: &str) {
    let site = Site::on(Backend::Local);
    write(site.source.path(), "a", "a");
    site.push();
    forge_manifest(&site, |revision| {
        let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
        if window > 0 {
            zstd.window_log(window).unwrap();
        }
        zstd.write_all(format!("{{\"format\":1,\"revision\":\"{revision}\"}}\n").as_bytes()).unwrap();
        let block = vec![b'x'; 1 << 20];
        for _ in 0..(1_u64 << size) >> 18 {
            zstd.write_all(&block).unwrap();
        }
        zstd.finish().unwrap()
    });
    let volume = if verb == "push" { site.source.path() } else { site.dest.path() };
    let group = Cgroup::new(64 << 20).unwrap();
    let output = group.enter(&mover(&site, verb, volume, &[])).output().unwrap();
    assert_eq!(group.killed().unwrap(), 0, "{}", String::from_utf8_lossy(&output.stdout));
    if verb == "pull" {
        assert_eq!(report(&output).reason, Some(Reason::RemoteInconsistent), "{}", report(&output).message);
    }
}
