//! Pulls of layout Packs into volumes in user space (FUSE), and into such as a server makes of its own: with its quota, its users, and its faults.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rstest::rstest;
use rustix::io::Errno;
use scribe_mover::error::Failure;
use scribe_mover::pull::{PullOptions, pull};
use scribe_mover::report::Reason;

use crate::packs_pull::{noise, overwrite};
use crate::support::liar::{Deed, always};
use crate::support::packed::{BLOCK, Packs, send};
use crate::support::user_space::{Ask, UserSpace};
use crate::support::{Site, done};

/// A source with a file `db`, and a volume in user space that has it.
struct Pulled {
    site: Site,
    volume: UserSpace,
    packs: Packs,
    options: PullOptions,
}

impl Pulled {
    fn new(volume: UserSpace, prepare: impl Fn(&Path)) -> Self {
        let (site, packs) = (Site::with_bucket(), Packs::new());
        let options = PullOptions { volume: volume.path().into(), ..site.pull_options() };
        let mut new = Self { site, volume, packs, options };
        prepare(&new.db());
        new.push();
        new.pull().unwrap();
        new
    }

    fn db(&self) -> PathBuf {
        self.site.source.path().join("db")
    }

    fn push(&mut self) {
        send(&self.site.remote(), &self.packs.push(self.site.source.path()));
    }

    fn pull(&self) -> Result<(), Failure> {
        pull(&self.site.remote(), &self.options).map(|outcome| drop(done(Ok(outcome))))
    }

    /// Pulls from a remote that does not answer.
    fn pull_offline(&self) -> Failure {
        pull(&self.site.lying(always(|_| true, || Deed::Die)), &self.options).unwrap_err()
    }

    /// Whether the volume has the content of the source.
    fn is_right(&self) -> bool {
        fs::read(self.volume.path().join("db")).unwrap() == fs::read(self.db()).unwrap()
    }

    fn has_journal(&self) -> bool {
        self.volume.path().join(".scribe-staging/journal").exists()
    }
}

fn is_db(path: &Path) -> bool {
    path == Path::new("db")
}

fn waits(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "blocks")
}

/// What was written and not synced when something got its name, or the journal went, which says what is left to do.
fn relied_on_too_early(asked: Vec<(PathBuf, Ask)>) -> Vec<PathBuf> {
    let (mut written, mut early) = (BTreeSet::new(), Vec::new());
    for (path, ask) in asked {
        if ["in", "tmp"].iter().any(|part| path.starts_with(Path::new(".scribe-staging").join(part))) {
            continue;
        }
        match ask {
            Ask::Write(_) | Ask::Allocate => drop(written.insert(path)),
            Ask::Sync => drop(written.remove(&path)),
            Ask::Rename | Ask::Remove => {
                if ask == Ask::Rename || path.ends_with("journal") {
                    early.extend(written.iter().cloned());
                }
                written.remove(&path);
            }
            _ => {}
        }
    }
    early
}

/// Such a file system is not told of a syncfs.
#[rstest]
fn content_is_synced_before_anything_relies_on_it(#[values(true, false)] private: bool) {
    let mut pulled = Pulled::new(UserSpace::new(), |db| fs::write(db, noise(1, 90 * BLOCK)).unwrap());
    let first = pulled.volume.take();
    assert!(first.iter().any(|(path, ask)| path.starts_with(".scribe-staging/ok") && matches!(ask, Ask::Write(_))), "{first:?}");
    assert_eq!(relied_on_too_early(first), [] as [PathBuf; 0]);
    pulled.options.private = private;
    overwrite(&pulled.db(), 3 * BLOCK, b"changed");
    overwrite(&pulled.db(), 5 * BLOCK, &vec![0; BLOCK]);
    pulled.push();
    pulled.pull().unwrap();
    let second = pulled.volume.take();
    assert_eq!(second.iter().any(|(path, ask)| is_db(path) && matches!(ask, Ask::Write(_))), private, "{second:?}");
    assert_eq!(relied_on_too_early(second), [] as [PathBuf; 0]);
    assert!(pulled.is_right());
}

/// What a server says of what it was sent before, it says when that is to be synced.
#[test]
fn what_cannot_be_synced_is_not_relied_on() {
    let mut pulled = Pulled::new(UserSpace::new(), |db| fs::write(db, noise(1, 9 * BLOCK)).unwrap());
    let before = fs::read(pulled.volume.path().join("db")).unwrap();
    overwrite(&pulled.db(), 3 * BLOCK, b"changed");
    pulled.push();
    pulled.volume.rule(|path, ask, _| (waits(path) && ask == Ask::Sync).then_some(Errno::IO));
    assert_eq!(pulled.pull().unwrap_err().reason, Reason::VolumeUnreadable);
    assert!(fs::read(pulled.volume.path().join("db")).unwrap() == before && !pulled.has_journal());
    pulled.volume.rule(|path, ask, _| (is_db(path) && ask == Ask::Sync).then_some(Errno::IO));
    assert_eq!(pulled.pull().unwrap_err().reason, Reason::VolumeUnreadable);
    assert!(pulled.has_journal());
    pulled.volume.rule(|_, _, _| None);
    pulled.pull_offline();
    assert!(pulled.is_right() && !pulled.has_journal());
}

/// CephFS counts the size of a file for its quota, holes and all.
#[test]
fn a_quota_of_sizes_keeps_no_large_file_from_being_changed() {
    const MIB: usize = 1 << 20;
    let mut pulled = Pulled::new(UserSpace::new(), |db| fs::write(db, noise(1, 2 * MIB)).unwrap());
    pulled.volume.rule(|_, ask, _| matches!(ask, Ask::Resize(from, to) if to > from + MIB as u64).then_some(Errno::DQUOT));
    overwrite(&pulled.db(), 3 * BLOCK, b"changed");
    pulled.push();
    pulled.pull().unwrap();
    assert!(pulled.is_right());
    // It grows, by what the quota has left and by more.
    overwrite(&pulled.db(), 2 * MIB, &noise(2, BLOCK));
    pulled.push();
    pulled.pull().unwrap();
    assert!(pulled.is_right());
    let before = fs::read(pulled.db()).unwrap();
    File::options().write(true).open(pulled.db()).unwrap().set_len(4 * MIB as u64).unwrap();
    pulled.push();
    assert_eq!(pulled.pull().unwrap_err().reason, Reason::NoSpace);
    assert!(fs::read(pulled.volume.path().join("db")).unwrap() == before && !pulled.has_journal());
}

/// An NFS server takes root for another user (root_squash), who owns what that has made.
#[test]
fn what_the_mover_has_closed_to_itself_is_changed_although_it_seems_anothers() {
    let volume = UserSpace::new();
    volume.belongs_to(65534);
    volume.rule(|_, ask, meta| match ask {
        Ask::OpenToWrite if meta.mode() & 0o200 == 0 => Some(Errno::ACCESS),
        Ask::SetOwner => Some(Errno::PERM),
        _ => None,
    });
    let closed = fs::Permissions::from_mode(0o444);
    let mut pulled = Pulled::new(volume, |db| {
        fs::write(db, noise(1, 9 * BLOCK)).unwrap();
        fs::set_permissions(db, closed.clone()).unwrap();
    });
    overwrite(&pulled.db(), 3 * BLOCK, b"changed");
    pulled.push();
    pulled.pull().unwrap();
    assert!(pulled.is_right());
    assert_eq!(fs::metadata(pulled.volume.path().join("db")).unwrap().mode() & 0o777, 0o444);
    // One whose mode it may not set stays as it is, before anything is changed.
    overwrite(&pulled.db(), 4 * BLOCK, b"changed");
    pulled.push();
    let before = fs::read(pulled.volume.path().join("db")).unwrap();
    pulled.volume.rule(|path, ask, _| (is_db(path) && ask == Ask::OpenToWrite).then_some(Errno::ACCESS));
    assert_eq!(pulled.pull().unwrap_err().reason, Reason::VolumeUnreadable);
    assert!(fs::read(pulled.volume.path().join("db")).unwrap() == before && !pulled.has_journal());
    assert_eq!(fs::metadata(pulled.volume.path().join("db")).unwrap().mode() & 0o777, 0o444);
}

/// A block that the source had only between two pulls is a hole on the volume, and takes no room where no hole can be made.
#[test]
fn what_the_volume_never_had_is_not_made_zero() {
    let mut pulled = Pulled::new(UserSpace::new(), |db| {
        fs::write(db, noise(1, 200 * BLOCK)).unwrap();
        File::options().write(true).open(db).unwrap().set_len(220 * BLOCK as u64).unwrap();
    });
    pulled.options.applied = Some(pulled.packs.revision());
    overwrite(&pulled.db(), 209 * BLOCK, &noise(2, BLOCK));
    pulled.push();
    overwrite(&pulled.db(), 209 * BLOCK, &vec![0; BLOCK]);
    // What the volume has is made zero all the same.
    overwrite(&pulled.db(), 7 * BLOCK, &vec![0; BLOCK]);
    overwrite(&pulled.db(), 9 * BLOCK, b"changed");
    pulled.push();
    assert_eq!(pulled.packs.runs()[0], (1, 1), "the file is looked at by generations");
    pulled.volume.rule(|_, ask, _| (ask == Ask::Allocate).then_some(Errno::NOTSUP));
    pulled.pull().unwrap();
    let written: BTreeSet<u64> = pulled
        .volume
        .take()
        .into_iter()
        .filter(|(path, _)| is_db(path))
        .filter_map(|(_, ask)| match ask {
            Ask::Write(at) => Some(at / BLOCK as u64),
            _ => None,
        })
        .collect();
    assert_eq!(written, BTreeSet::from([7, 9]));
    assert!(pulled.is_right());
}

/// A volume on which a pull has failed after it had noted what it was going to do.
fn begun() -> Pulled {
    let mut pulled = Pulled::new(UserSpace::new(), |db| fs::write(db, noise(1, 9 * BLOCK)).unwrap());
    overwrite(&pulled.db(), 3 * BLOCK, b"changed");
    pulled.push();
    pulled.volume.rule(|path, ask, _| (is_db(path) && matches!(ask, Ask::Write(_))).then_some(Errno::IO));
    assert_eq!(pulled.pull().unwrap_err().reason, Reason::VolumeUnreadable);
    assert!(pulled.has_journal() && !pulled.is_right());
    pulled
}

#[test]
fn a_fault_of_a_moment_does_not_cost_what_was_begun() {
    let (pulled, mut faults) = (begun(), 1);
    pulled.volume.rule(move |path, ask, _| {
        let fails = waits(path) && ask == Ask::Read && faults > 0;
        faults -= i32::from(fails);
        fails.then_some(Errno::STALE)
    });
    let failure = pulled.pull_offline();
    assert!(failure.message.contains("was finished without the remote"), "{failure}");
    assert!(pulled.is_right() && !pulled.has_journal());
}

/// Nothing takes its place before the remote has answered.
#[rstest]
#[case::what_waits(waits)]
#[case::the_journal(|path: &Path| path.ends_with("journal"))]
fn what_cannot_be_read_is_kept_until_the_remote_answers(#[case] unread: fn(&Path) -> bool) {
    let pulled = begun();
    let unreadable = move |path: &Path, ask: Ask| (unread(path) && ask == Ask::Read).then_some(Errno::IO);
    pulled.volume.rule(move |path, ask, _| unreadable(path, ask));
    let failure = pulled.pull_offline();
    assert!(failure.message.contains("a mix of two revisions") && pulled.has_journal() && !pulled.is_right(), "{failure}");
    pulled.volume.rule(|_, _, _| None);
    pulled.pull_offline();
    assert!(pulled.is_right() && !pulled.has_journal());

    let (pulled, mut is_there) = (begun(), true);
    pulled.volume.rule(move |path, ask, _| {
        is_there &= ask != Ask::Remove || !unread(path);
        if is_there { unreadable(path, ask) } else { None }
    });
    pulled.pull().unwrap();
    assert!(pulled.is_right() && !pulled.volume.path().join(".scribe-staging").exists());
}
