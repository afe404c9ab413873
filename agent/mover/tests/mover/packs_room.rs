//! Pulls of layout Packs into volumes that are nearly full: what fits is pulled, and what does not is refused before anything is changed.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use assert_fs::TempDir;
use scribe_mover::pull::{PullOptions, pull};
use scribe_mover::report::Reason;

use crate::blocks::{Mounted, run};
use crate::packs_pull::{noise, overwrite};
use crate::space::Small;
use crate::support::packed::{BLOCK, Packs, send};
use crate::support::tree::assert_same_but_for_room;
use crate::support::{Site, done};

/// Leaves this much free on a volume. What is in that folder is no part of a revision.
fn fill(volume: &Path, leave: usize) {
    run(Command::new("sync").arg("-f").arg(volume));
    let stat = rustix::fs::statvfs(volume).unwrap();
    let free = usize::try_from(stat.f_bavail * stat.f_frsize).unwrap();
    fs::create_dir_all(volume.join("lost+found")).unwrap();
    fs::write(volume.join("lost+found/filler"), vec![1; free - leave]).unwrap();
    run(Command::new("sync").arg("-f").arg(volume));
}

/// Of a large file, a tenth changes: there is room for that twice, once in the pack that comes and once unpacked, and not for a third time.
fn a_tenth_changes(volume: &Path) {
    let (site, mut packs) = (Site::with_bucket(), Packs::new());
    let db = site.source.path().join("db");
    fs::write(&db, noise(1, 384 * BLOCK)).unwrap();
    for name in ["second", "third"] {
        fs::hard_link(&db, site.source.path().join(name)).unwrap();
    }
    send(&site.remote(), &packs.push(site.source.path()));
    let options = PullOptions { volume: volume.into(), ..site.pull_options() };
    done(pull(&site.remote(), &options));
    fill(volume, 90 * BLOCK);
    for number in 0..40 {
        overwrite(&db, number * 9 * BLOCK, &noise(2 + number as u64, BLOCK));
    }
    let held = packs.revision();
    send(&site.remote(), &packs.push(site.source.path()));
    for applied in [Some(held), None] {
        done(pull(&site.remote(), &PullOptions { applied, ..options.clone() }));
        assert!(fs::read(volume.join("third")).unwrap() == fs::read(&db).unwrap());
    }
}

#[test]
fn what_is_written_over_what_is_there_takes_no_room_in_memory() {
    a_tenth_changes(Small::new(14).path());
}

#[test]
fn what_is_written_over_what_is_there_takes_no_room_on_ext4() {
    let image = TempDir::new().unwrap();
    let image = image.path().join("image");
    File::create(&image).unwrap().set_len(24 << 20).unwrap();
    run(Command::new("mkfs.ext4").args(["-q", "-m", "0", "-O", "^has_journal"]).arg(&image));
    a_tenth_changes(Mounted::new(&image, "loop").0.path());
}

/// Pulls, interrupted, until so many blocks are fetched and nothing is in its place yet.
fn fetched(site: &Site, options: &PullOptions, blocks: usize) {
    let staged = || staged(&options.volume);
    // A few blocks at a time: few steps lie between the last of them and the first change of the volume.
    let mut steps = 100;
    while staged() < blocks {
        let remote = site.remote();
        remote.context.stop.request_after(steps);
        assert_eq!(pull(&remote, options).unwrap_err().reason, Reason::MoverKilled);
        // To find what is staged takes steps, too.
        steps += if staged() == 0 { 7 } else { 2 };
    }
}

/// How many new blocks of files in place wait in the staging folder of a volume.
pub(crate) fn staged(volume: &Path) -> usize {
    let files = walkdir::WalkDir::new(volume.join(".scribe-staging/ok")).into_iter().filter_map(Result::ok);
    files.filter(|entry| entry.file_type().is_file()).map(|file| blocks_of(&fs::read(file.path()).unwrap())).sum()
}

/// What an interrupted pull has fetched takes its place a second time all the same, where the file has no blocks yet.
#[test]
fn what_was_fetched_before_needs_room_in_its_place() {
    let (site, small, mut packs) = (Site::with_bucket(), Small::new(12), Packs::new());
    let (source, volume) = (site.source.path(), small.path());
    fs::write(source.join("db"), noise(1, 8 * BLOCK)).unwrap();
    send(&site.remote(), &packs.push(source));
    let options = PullOptions { volume: volume.into(), ..site.pull_options() };
    done(pull(&site.remote(), &options));
    let before = fs::read(volume.join("db")).unwrap();
    // It grows by 1.5 MiB, which are next to nothing in the pack.
    fs::write(source.join("db"), [noise(1, 8 * BLOCK), (1..=96).flat_map(|byte| vec![byte; BLOCK]).collect()].concat()).unwrap();
    send(&site.remote(), &packs.push(source));
    fetched(&site, &options, 96);
    fill(volume, 60 * BLOCK);
    let failure = pull(&site.remote(), &options).unwrap_err();
    assert_eq!(failure.reason, Reason::NoSpace, "{failure}");
    assert!(fs::read(volume.join("db")).unwrap() == before && !volume.join(".scribe-staging/journal").exists(), "{failure}");
    fs::remove_dir_all(volume.join("lost+found")).unwrap();
    done(pull(&site.remote(), &options));
    assert_same_but_for_room(source, volume);
}

/// How many blocks a file of records has.
fn blocks_of(mut records: &[u8]) -> usize {
    let mut blocks = 0;
    while let Some((header, rest)) = records.split_at_checked(48) {
        let length = u32::from_le_bytes(header[8..12].try_into().unwrap()) as usize;
        let Some((_, rest)) = rest.split_at_checked(length) else { break };
        (records, blocks) = (rest, blocks + 1);
    }
    blocks
}

/// What is to be done is noted before, and that takes room, too: where it takes what the new blocks need, it goes again, and nothing was changed.
#[test]
fn the_journal_needs_room_as_well() {
    const NEW: usize = 64;
    const PAGE: usize = 4096;
    let (site, small, mut packs) = (Site::with_bucket(), Small::new(12), Packs::new());
    let (source, volume) = (site.source.path(), small.path());
    let db = source.join("db");
    fs::write(&db, noise(1, 8 * BLOCK)).unwrap();
    File::options().write(true).open(&db).unwrap().set_len(((8 + 2 * NEW) * BLOCK) as u64).unwrap();
    send(&site.remote(), &packs.push(source));
    let options = PullOptions { volume: volume.into(), ..site.pull_options() };
    done(pull(&site.remote(), &options));
    let before = fs::read(volume.join("db")).unwrap();
    // Every other block is a row of its own.
    for number in 0..NEW {
        overwrite(&db, (8 + 2 * number) * BLOCK, &noise(2 + number as u64, BLOCK));
    }
    send(&site.remote(), &packs.push(source));
    fetched(&site, &options, NEW);
    let journal = volume.join(".scribe-staging/journal");
    // From what the blocks alone take, a page more each time, until it is enough.
    let mut refused = 0;
    loop {
        fill(volume, NEW * BLOCK + refused * PAGE);
        let Err(failure) = pull(&site.remote(), &options) else { break };
        assert_eq!(failure.reason, Reason::NoSpace, "{failure}");
        assert!(fs::read(volume.join("db")).unwrap() == before && !journal.exists(), "with {refused} more: {failure}");
        refused += 1;
        assert!(refused < 16, "{failure}");
        fs::remove_dir_all(volume.join("lost+found")).unwrap();
    }
    assert!(refused > 0, "the journal takes some");
    assert!(fs::read(volume.join("db")).unwrap() == fs::read(&db).unwrap());
}

/// A user's file is copied without its holes.
#[test]
fn a_copy_of_a_sparse_file_needs_the_room_of_its_blocks() {
    let (site, small, mut packs) = (Site::with_bucket(), Small::new(8), Packs::new());
    let (source, volume) = (site.source.path(), small.path());
    fs::write(source.join("db"), noise(1, 60 * BLOCK)).unwrap();
    File::options().write(true).open(source.join("db")).unwrap().set_len(64 << 20).unwrap();
    send(&site.remote(), &packs.push(source));
    let options = PullOptions { volume: volume.into(), private: false, ..site.pull_options() };
    done(pull(&site.remote(), &options));
    overwrite(&source.join("db"), 7 * BLOCK, b"changed");
    send(&site.remote(), &packs.push(source));
    done(pull(&site.remote(), &options));
    assert_same_but_for_room(source, volume);
}

/// A user's volume in memory with files of so many blocks, each of which has another first block by now.
fn files_change(files: usize, blocks: usize, small: Small) -> (Site, Small, Packs, PullOptions) {
    let (site, mut packs) = (Site::with_bucket(), Packs::new());
    let file = |number: usize| site.source.path().join(format!("f{number}"));
    for number in 0..files {
        fs::write(file(number), noise(number as u64, blocks * BLOCK)).unwrap();
    }
    send(&site.remote(), &packs.push(site.source.path()));
    let options = PullOptions { volume: small.path().into(), private: false, ..site.pull_options() };
    done(pull(&site.remote(), &options));
    for number in 0..files {
        overwrite(&file(number), 0, b"changed");
    }
    (site, small, packs, options)
}

fn succeeds(site: &Site, options: &PullOptions) {
    done(pull(&site.remote(), options));
    assert_same_but_for_room(site.source.path(), &options.volume);
}

/// A pull that has no room takes next to none.
fn takes_nothing(site: &Site, options: &PullOptions) {
    let free = || rustix::fs::statvfs(&options.volume).unwrap().f_bfree * 4096;
    let before = free();
    let failure = pull(&site.remote(), options).unwrap_err();
    assert_eq!(failure.reason, Reason::NoSpace, "{failure}");
    assert!(free() + (64 << 10) >= before, "{} of {before} are left", free());
}

/// Copies of a user's files are of no use without what is fetched after them.
#[test]
fn copies_and_what_is_fetched_need_their_room_together() {
    let (site, small, mut packs, options) = files_change(10, 20, Small::new(8));
    fs::write(site.source.path().join("new"), noise(99, 256 * BLOCK)).unwrap();
    send(&site.remote(), &packs.push(site.source.path()));
    takes_nothing(&site, &options);
    small.grow(16);
    succeeds(&site, &options);
}

/// What was begun to be copied, when a pull was killed, has yet to take its room.
#[test]
fn copies_that_were_only_begun_need_their_room() {
    let (site, small, mut packs, options) = files_change(10, 38, Small::new(16));
    send(&site.remote(), &packs.push(site.source.path()));
    let pack = fs::read_dir(site.object(".scribe/packs")).unwrap().map(|pack| pack.unwrap().path()).max().unwrap();
    let away = site.secret.path().join("away");
    fs::rename(&pack, &away).unwrap();
    pull(&site.remote(), &options).unwrap_err();
    let mut begun = 0;
    for file in walkdir::WalkDir::new(small.path().join(".scribe-staging/ok")).into_iter().map(Result::unwrap) {
        if file.file_type().is_file() {
            File::create(file.path()).unwrap();
            begun += 1;
        }
    }
    assert_eq!(begun, 10);
    fs::rename(&away, &pack).unwrap();
    small.grow(8);
    takes_nothing(&site, &options);
    small.grow(16);
    succeeds(&site, &options);
}

/// Nothing is copied of what becomes zero.
#[test]
fn a_copy_needs_no_room_for_what_becomes_zero() {
    let (site, small, mut packs, options) = files_change(1, 384, Small::new(16));
    small.grow(8);
    overwrite(&site.source.path().join("f0"), 32 * BLOCK, &vec![0; 352 * BLOCK]);
    send(&site.remote(), &packs.push(site.source.path()));
    succeeds(&site, &options);
}
