//! A pull that is asked to stop at any of its steps leaves a user's volume as it was, or as the revision: never a mix of the two.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use assert_fs::TempDir;
use rstest::rstest;
use scribe_mover::pull::{PullOptions, PullOutcome, pull};
use scribe_mover::report::Reason;

use crate::support::tree::{assert_same, snapshot, write};
use crate::support::{Layout, Local, guard};

fn first(source: &Path) {
    for name in ["a", "folder/b", "folder/gone", "becomes/a file", "z"] {
        write(source, name, "old");
    }
}

fn content(source: &Path) {
    for name in ["a", "folder/b", "new/c"] {
        write(source, name, "newer");
    }
    fs::remove_file(source.join("folder/gone")).unwrap();
    fs::remove_dir_all(source.join("becomes")).unwrap();
    write(source, "becomes", "a file");
}

fn metadata(source: &Path) {
    for name in ["a", "folder", "folder/b", "z"] {
        fs::set_permissions(source.join(name), fs::Permissions::from_mode(0o750)).unwrap();
    }
}

/// All that a pull changes, but for what it keeps for itself and the root's times.
fn live(volume: &Path) -> BTreeMap<Vec<u8>, String> {
    snapshot(volume).into_iter().filter(|(name, _)| !name.is_empty() && !name.starts_with(b".scribe-staging")).collect()
}

/// Content of layout Packs is in `packs_crash`, where a pull is killed at any step.
#[rstest]
#[case::content(Layout::Files, content, 20)]
#[case::metadata(Layout::Files, metadata, 6)]
#[case::metadata_of_packs(Layout::Packs, metadata, 6)]
fn a_stop_at_any_step_leaves_one_revision(#[case] layout: Layout, #[case] change: fn(&Path), #[case] least: usize) {
    let site = Local::new();
    let source = site.source.path();
    let push = || layout.push(&site.remote(), &site.push_options()).unwrap();
    let try_pull = |volume: &Path, stop_after: Option<u64>| {
        let remote = site.remote();
        if let Some(steps) = stop_after {
            remote.context.stop.request_after(steps);
        }
        let outcome = pull(&remote, &PullOptions { volume: volume.into(), applied: None, private: false, guard: guard() });
        (outcome, remote.context.stop.requested())
    };
    first(source);
    push();
    let before = TempDir::new_in("/dev/shm").unwrap();
    try_pull(before.path(), None).0.unwrap();
    change(source);
    push();
    let (old, new) = (live(before.path()), live(source));
    let mut refused = 0;
    for steps in 1.. {
        let dest = TempDir::new_in("/dev/shm").unwrap();
        let copied = std::process::Command::new("cp").arg("-a").arg(before.path().join(".")).arg(dest.path()).status().unwrap();
        assert!(copied.success());
        let (outcome, stopped) = try_pull(dest.path(), Some(steps));
        match outcome {
            Ok(PullOutcome::Done(pulled)) => {
                assert!(pulled.changed, "at step {steps}");
                assert_eq!(live(dest.path()), new, "at step {steps}");
            }
            Ok(outcome) => panic!("{outcome:?} at step {steps}"),
            Err(failure) => {
                assert_eq!(failure.reason, Reason::MoverKilled, "at step {steps}: {failure}");
                assert_eq!(live(dest.path()), old, "at step {steps}");
                refused += 1;
            }
        }
        if !stopped {
            break;
        }
        try_pull(dest.path(), None).0.unwrap();
        assert_same(source, dest.path());
    }
    assert!(refused > least, "{refused}");
}
