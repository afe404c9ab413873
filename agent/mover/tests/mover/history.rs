//! A remote path that is put back to an older state, by a backup of the bucket or by a replica that lags: what a volume holds of the history
//! that is gone does not pass for the one that is there.

use std::fs;
use std::path::Path;

use assert_fs::TempDir;
use rstest::rstest;
use scribe_mover::pull::{PullOptions, Synced, pull};

use crate::support::tree::{assert_same, copy, touch, write};
use crate::support::{Layout, Local, done, guard};

/// The volume's next state: of the same size and the same times as all others.
fn next((site, layout): (&Local, Layout), content: &str) -> String {
    write(site.source.path(), "a", content);
    touch(&site.source.path().join("a"), 1_000_000_000, 0);
    touch(site.source.path(), 1_000_000_000, 0);
    layout.push(&site.remote(), &site.push_options()).unwrap().revision
}

fn pull_from(site: &Local, applied: &str) -> Synced {
    let options = PullOptions { volume: site.dest.path().into(), applied: Some(applied.into()), private: true, guard: guard() };
    done(pull(&site.remote(), &options))
}

fn put_back(bucket: &Path, backup: &Path) {
    for entry in fs::read_dir(bucket).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }
    copy(backup, bucket);
}

#[rstest]
fn a_path_that_was_put_back_is_pulled_as_it_is(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let (site, backup) = (Local::new(), TempDir::new().unwrap());
    let (bucket, dest) = (site.bucket.path(), site.dest.path());
    let first = next((&site, layout), "1st state");
    copy(bucket, backup.path());
    let second = next((&site, layout), "2nd state");
    pull_from(&site, &first);
    assert_eq!(fs::read(dest.join("a")).unwrap(), b"2nd state");

    put_back(bucket, backup.path());
    let pulled = pull_from(&site, &second);
    assert_eq!((fs::read(dest.join("a")).unwrap(), pulled.revision), (b"1st state".to_vec(), first));

    // Another second revision, and a third.
    pull_from(&site, &second);
    fs::write(dest.join("a"), "2nd state").unwrap();
    touch(&dest.join("a"), 1_000_000_000, 0);
    for content in ["2ND STATE", "3RD STATE"] {
        next((&site, layout), content);
        let pulled = pull_from(&site, &second);
        assert!(pulled.changed, "{pulled:?}");
        assert_same(site.source.path(), dest);
        fs::write(dest.join("a"), "2nd state").unwrap();
        touch(&dest.join("a"), 1_000_000_000, 0);
        touch(dest, 1_000_000_000, 0);
    }
}

/// The price of it: nothing unchanged is read, however many revisions a volume is behind.
#[rstest]
fn a_volume_that_is_several_revisions_behind_is_not_read(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Local::new();
    write(site.source.path(), "quiet", "quiet");
    let first = next((&site, layout), "1st state");
    pull_from(&site, &first);
    for content in ["2nd state", "3rd state", "4th state, and longer"] {
        next((&site, layout), content);
    }
    let pulled = pull_from(&site, &first);
    assert_eq!((pulled.changed, pulled.hashed), (true, 0));
    assert_same(site.source.path(), site.dest.path());
}

/// A pull of the second revision was killed in the middle, and its folder is left: what it has put in place is not of the first.
#[rstest]
fn a_killed_pull_and_a_path_that_was_put_back(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let (site, backup) = (Local::new(), TempDir::new().unwrap());
    let (bucket, dest) = (site.bucket.path(), site.dest.path());
    let first = next((&site, layout), "1st state");
    copy(bucket, backup.path());
    pull_from(&site, &first);
    next((&site, layout), "2nd state");
    pull_from(&site, &first);
    fs::create_dir(dest.join(".scribe-staging")).unwrap();
    put_back(bucket, backup.path());
    write(site.source.path(), "other", "new");
    next((&site, layout), "1st state");
    pull_from(&site, &first);
    assert_same(site.source.path(), dest);
}
