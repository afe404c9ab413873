//! A source that is written to while it is pushed: three looks, then it is told so; what is committed is always one state that was.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rstest::rstest;
use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::{Pid, Signal, kill_process_group};
use scribe_mover::report::Reason;

use crate::support::beside::AtDrop;
use crate::support::program::mover;
use crate::support::proxy::Action;
use crate::support::tree::{assert_same, snapshot, write};
use crate::support::{Layout, Site};

#[rstest]
fn a_file_that_keeps_changing_is_read_three_times_and_named(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let source = site.source.path().to_path_buf();
    write(&source, "a", "first");
    write(&source, "quiet", "quiet");
    let first = site.push();
    write(&source, "a", "before");
    let sent = Arc::new(AtomicUsize::new(0));
    let (counter, writing) = (Arc::clone(&sent), source.clone());
    site.proxy.rule(move |request| {
        if layout.sends(request, "a") {
            let round = counter.fetch_add(1, Ordering::SeqCst);
            fs::write(writing.join("a"), format!("round {round}")).unwrap();
        }
        Action::Pass
    });
    let failure = site.try_push().unwrap_err();
    // Of layout Packs, what the first look finds is sent before the three that follow.
    let expected = if layout == Layout::Files { 3 } else { 4 };
    assert_eq!((failure.reason, sent.load(Ordering::SeqCst)), (Reason::SourceChanging, expected));
    assert!(failure.message.contains(" a ") && failure.message.contains("Snapshot"), "{failure}");
    site.proxy.behave();
    let pulled = site.pull();
    assert_eq!(pulled.revision, first.revision, "nothing was committed");
    assert_eq!(fs::read(site.dest.path().join("a")).unwrap(), b"first");
    // Once it holds still, the next push goes through and leaves nothing behind.
    site.push();
    site.pull();
    assert_same(&source, site.dest.path());
    site.assert_user_objects(&["a", "quiet"]);
}

#[rstest]
fn what_changes_twice_under_the_push_is_committed_as_it_ends_up(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let source = site.source.path().to_path_buf();
    for name in ["a", "b", "line\n", "quiet"] {
        write(&source, name, "as it was committed");
    }
    site.push();
    for name in ["a", "b", "line\n"] {
        write(&source, name, "as the push found it");
    }
    let writing = source.clone();
    let mut round = 0;
    site.proxy.rule(move |request| {
        if layout.sends(request, "a") {
            round += 1;
            // The file that is being sent comes last: rclone notices, and would not wait for the rest.
            match round {
                1 => {
                    fs::remove_file(writing.join("b")).unwrap();
                    fs::write(writing.join("line\n"), "changed").unwrap();
                    write(&writing, "new/c", "came under the push");
                    fs::write(writing.join("a"), "another size").unwrap();
                }
                2 => {
                    fs::remove_dir_all(writing.join("new")).unwrap();
                    fs::write(writing.join("new"), "a file now").unwrap();
                    symlink("a", writing.join("b")).unwrap();
                    fs::write(writing.join("a"), "a").unwrap();
                }
                _ => {}
            }
        }
        Action::Pass
    });
    assert!(site.push().changed);
    site.proxy.behave();
    site.pull();
    assert_same(&source, site.dest.path());
    site.assert_user_objects(&["a", "new", "quiet"]);
    assert!(!site.push().changed);
}

#[rstest]
fn a_change_of_attributes_under_the_push_is_noticed(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let source = site.source.path().to_path_buf();
    write(&source, "a", "a");
    write(&source, "b", "b");
    let writing = source.clone();
    let mut done = false;
    site.proxy.rule(move |request| {
        if !done && layout.sends(request, "a") {
            done = true;
            crate::support::tree::set(&writing.join("b"), b"user.late", b"late");
        }
        Action::Pass
    });
    site.push();
    site.proxy.behave();
    site.pull();
    assert_same(&source, site.dest.path());
}

/// Files that come, go, grow, shrink and change their type, until told to stop.
fn churn(root: &Path, stop: &AtomicBool) {
    let mut number = 0usize;
    while !stop.load(Ordering::SeqCst) {
        number += 1;
        let (name, other) = (root.join(format!("churn/{}", number % 13)), root.join(format!("churn/{}", number * 7 % 13)));
        // What stands in the way of one of these is no matter: another one follows at once.
        let _ = match number % 7 {
            0 => fs::remove_file(&name),
            1 => fs::write(&name, vec![b'x'; number * 37 % 90_000]),
            2 => fs::rename(&name, &other),
            3 => fs::create_dir(&name).and_then(|()| fs::write(name.join("in\n"), "in")),
            4 => fs::remove_dir_all(&other),
            5 => symlink("0", &name),
            _ => fs::hard_link(&name, &other),
        };
    }
}

#[rstest]
fn a_busy_writer_delays_a_push_and_never_breaks_it(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let source = site.source.path();
    // Not of zeros, which may come back as a hole.
    for number in 1..=50 {
        write(source, format!("quiet/{number}"), vec![number; 3000]);
    }
    fs::create_dir(source.join("churn")).unwrap();
    let first = site.push();
    let quiet = snapshot(&source.join("quiet"));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop_at_end = AtDrop(&stop);
        scope.spawn(|| churn(source, &stop));
        for _ in 0..4 {
            let pushed = site.try_push();
            if let Err(failure) = &pushed {
                assert_eq!(failure.reason, Reason::SourceChanging, "{failure}");
            }
            // Whatever was committed last is whole.
            let pulled = site.pull();
            assert_eq!(pulled.revision, pushed.map_or_else(|_| first.revision.clone(), |pushed| pushed.revision));
            assert_eq!(snapshot(&site.dest.path().join("quiet")), quiet);
        }
        drop(stop_at_end);
    });
    site.push();
    site.pull();
    assert_same(source, site.dest.path());
}

/// A file that becomes something else between its hash and its upload: the next look shows it. Opened as a file, a pipe would wait for a
/// writer until the mover is given up.
#[rstest]
#[case::pipe("odd\nname", false)]
#[case::socket("odd\nname", true)]
#[case::pipe_under_its_own_name("a", false)]
#[case::socket_under_its_own_name("a", true)]
fn a_file_that_becomes_a_pipe_or_a_socket_holds_nothing_up(
    #[case] name: &'static str,
    #[case] socket: bool,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let site = Site::with_bucket().of(layout);
    let source = site.source.path().to_path_buf();
    write(&source, name, "a file as yet");
    write(&source, "quiet", "quiet");
    let (becoming, mut listeners) = (source.join(name), Vec::new());
    let became = site.proxy.watch(move |request| {
        if listeners.is_empty() && layout.begins(request) {
            fs::remove_file(&becoming).unwrap();
            listeners.push(if socket { Some(UnixListener::bind(&becoming).unwrap()) } else { None });
            if !socket {
                mkfifoat(CWD, &becoming, Mode::RWXU).unwrap();
            }
            return Action::Delay(Duration::ZERO);
        }
        Action::Pass
    });
    let mut mover = mover(&site, "push", &source, &[]).process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (send, ended) = std::sync::mpsc::channel();
    let pid = Pid::from_raw(i32::try_from(mover.id()).unwrap()).unwrap();
    std::thread::spawn(move || send.send(mover.wait()));
    became.recv().unwrap();
    let ended_within = |seconds| ended.recv_timeout(Duration::from_secs(seconds));
    let Ok(status) = ended_within(60) else {
        kill_process_group(pid, Signal::KILL).unwrap();
        panic!("the mover hangs");
    };
    assert!(status.unwrap().success());
    site.proxy.behave();
    site.push();
    site.pull();
    let names = fs::read_dir(site.dest.path()).unwrap().count();
    assert_eq!(names, if socket { 1 } else { 2 });
}

/// A folder becomes a link between the look at the volume and the upload of what is in it: what that leads to stays where it is.
#[rstest]
fn a_folder_that_becomes_a_link_leads_nowhere(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let (source, outside) = (site.source.path().to_path_buf(), assert_fs::TempDir::new().unwrap());
    write(&source, "d/f", "inside");
    write(outside.path(), "f", "secret");
    let target = outside.path().to_path_buf();
    let mut swapped = false;
    site.proxy.rule(move |request| {
        if layout.begins(request) && !std::mem::replace(&mut swapped, true) {
            fs::rename(source.join("d"), source.join("moved")).unwrap();
            symlink(&target, source.join("d")).unwrap();
        }
        Action::Pass
    });
    site.push();
    assert!(site.proxy.take().iter().all(|request| layout == Layout::Packs || !layout.sends(request, "d/f")), "it was sent, for a while");
    site.proxy.behave();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}
