//! Large files are read once by a push: hashed while they are sent, to a remote of type s3.
//!
//! Of layout Files alone: a push of the other one always reads what it sends once, see `packs_push`.

use std::collections::HashSet;
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::FileExt;
use std::process::Stdio;
use std::time::{Duration, UNIX_EPOCH};

use jiff::{SignedDuration, Timestamp};
use rstest::rstest;
use rustix::fs::Advice;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use scribe_mover::push::{PushOptions, Synced, push};
use scribe_mover::report::{Outcome, Reason};

use crate::lying::{dies_before_commit, same, through};
use crate::requests::counted;
use crate::support::cgroup::Cgroup;
use scribe_mover::store::Listed;

use crate::support::liar::{Deed, Rule, Verb, always, announces, dies, dies_after, once, stages};
use crate::support::limits::exactly;
use crate::support::program::{mover, report};
use crate::support::proxy::{Action, When};
use crate::support::tree::{assert_same, write};
use crate::support::{Site, rclone};

/// Larger than what is hashed first.
const LARGE: usize = 33 << 20;

fn noise(seed: u32, length: usize) -> Vec<u8> {
    let words = (0..).map(|word: u32| word.wrapping_mul(2_654_435_761).wrapping_add(seed).to_le_bytes());
    words.flatten().take(length).collect()
}

/// Of a volume that does not change: of a live one, what had changed shortly before is read once more.
fn push_a_copy(site: &Site) -> Synced {
    let options = site.push_options();
    push(&site.remote(), &PushOptions { data_time: options.started - SignedDuration::from_secs(1), ..options }).unwrap()
}

/// The object of a name, as the server has it on its disk.
fn stored(site: &Site, name: &str) -> Vec<u8> {
    fs::read(site.object(name)).unwrap()
}

#[test]
fn what_is_hashed_while_it_is_sent_is_known_as_well() {
    let site = Site::with_bucket();
    let (path, odd) = (site.source.path().join("d/ä %b \"large\".bin"), site.source.path().join("odd\nname"));
    write(site.source.path(), "d/ä %b \"large\".bin", noise(1, LARGE));
    write(site.source.path(), "odd\nname", noise(2, LARGE));
    write(site.source.path(), "small", "small");
    let modified = UNIX_EPOCH + Duration::new(1_600_000_000, 123_456_789);
    File::open(&path).unwrap().set_times(FileTimes::new().set_modified(modified)).unwrap();
    let pushed = push_a_copy(&site);
    assert_eq!(pushed.hashed, 2 * LARGE as u64 + 5);
    let requests = counted(&site);
    // Claim, the manifest twice, the files, commit; and each of the large ones is looked at.
    assert_eq!((requests["PUT"], requests["HEAD"]), (1 + 2 + 3 + 1, 2), "{requests:?}");
    exactly("first_push_of_two_large_files_and_a_small_one", requests.values().sum(), &requests);
    assert_eq!(stored(&site, "d/ä %b \"large\".bin"), noise(1, LARGE));
    let mut listing = std::process::Command::new(rclone());
    listing.env("RCLONE_CONFIG", site.secret.path().join("rclone.conf")).args(["lsf", "--format", "t", "--time-format", "RFC3339Nano"]);
    let listed = listing.arg(format!("{}/d/", site.name)).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&listed.stdout).trim(), "2020-09-13T12:26:40.123456789Z", "the time of the file");
    site.pull();
    assert_same(site.source.path(), site.dest.path());

    // Longer, of the same size, and back again.
    File::options().append(true).open(&path).unwrap().write_all_at(b"!", LARGE as u64).unwrap();
    File::options().write(true).open(&odd).unwrap().write_all_at(b"!", 9).unwrap();
    let pushed = push_a_copy(&site);
    assert_eq!((pushed.transferred, pushed.hashed), (2 * LARGE as u64 + 1, 2 * LARGE as u64 + 1));
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    fs::write(&path, noise(1, LARGE)).unwrap();
    site.push();
    let again = site.push();
    assert!(!again.changed, "{again:?}");

    // Only its time is another one; and names of one inode share what is read.
    File::open(&path).unwrap().set_times(FileTimes::new().set_modified(modified)).unwrap();
    let touched = push_a_copy(&site);
    assert_eq!((touched.changed, touched.transferred, touched.hashed), (true, 0, LARGE as u64));
    fs::hard_link(&path, site.source.path().join("another name")).unwrap();
    write(site.source.path(), "e", noise(5, LARGE));
    fs::hard_link(site.source.path().join("e"), site.source.path().join("f")).unwrap();
    let pushed = push_a_copy(&site);
    assert_eq!((pushed.transferred, pushed.hashed), (3 * LARGE as u64, 2 * LARGE as u64), "{pushed:?}");
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

#[test]
fn encrypted_content_is_read_once_as_well() {
    let mut site = Site::with_bucket();
    site.encrypt();
    site.name = "enc:path".into();
    write(site.source.path(), "large", noise(1, LARGE));
    let pushed = push_a_copy(&site);
    assert_eq!((pushed.hashed, site.remote().features().unwrap().reads_once.is_some()), (LARGE as u64, true));
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

/// rclone tries again what a server refuses: each of its attempts reads the file from its beginning, and what the last one has read is what counts.
#[rstest]
fn a_transfer_that_fails_is_tried_again(#[values(When::Before, When::After)] when: When, #[values("200M", "5M")] cutoff: &str) {
    let site = Site::with_bucket();
    fs::write(site.secret.path().join("RCLONE_S3_UPLOAD_CUTOFF"), cutoff).unwrap();
    write(site.source.path(), "large", noise(1, LARGE));
    let mut met = HashSet::new();
    site.proxy.rule(move |request| {
        // The end of a transfer in parts, once it has taken effect, cannot be asked for again at this server.
        let first = request.method != "POST" && met.insert((request.method.clone(), request.target.clone()));
        if first { Action::Cut(when) } else { Action::Pass }
    });
    assert_eq!(push_a_copy(&site).hashed, LARGE as u64);
    assert_eq!(stored(&site, "large"), noise(1, LARGE));
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

#[test]
fn a_remote_that_refuses_it_is_named() {
    let site = Site::with_bucket();
    write(site.source.path(), "large", noise(1, LARGE));
    site.proxy.rule(|request| {
        let refused = request.method == "PUT" && request.target.contains("/large");
        if refused { Action::Answer("403 Forbidden", "<Error><Code>AccessDenied</Code></Error>") } else { Action::Pass }
    });
    assert_eq!(site.try_push().unwrap_err().reason, Reason::AccessDenied);
}

/// rclone limits what it receives from any server, also from the mover's.
#[rstest]
#[case("10M", true)]
#[case("10M:off", false)]
fn a_limit_for_what_is_received_is_not_one_of_what_is_sent(#[case] limit: &str, #[case] once: bool) {
    let site = Site::with_bucket();
    fs::write(site.secret.path().join("RCLONE_BWLIMIT"), limit).unwrap();
    assert_eq!(site.remote().features().unwrap().reads_once.is_some(), once);
}

/// What the Secret says of other WebDAV servers, and of proxies, is not about the one in the mover, which does not speak as a proxy does.
#[test]
fn settings_for_other_servers_do_not_reach_it() {
    let site = Site::with_bucket();
    write(site.source.path(), "large", noise(1, LARGE));
    let proxy = ("RCLONE_HTTP_PROXY", format!("http://{}", site.address()));
    let others = [
        ("RCLONE_WEBDAV_PASS", "!"),
        ("RCLONE_WEBDAV_HEADERS", "a,b,c"),
        ("RCLONE_WEBDAV_ENCODING", "Slash"),
        ("RCLONE_MULTI_THREAD_STREAMS", "4"),
        ("RCLONE_WEBDAV_BEARER_TOKEN_COMMAND", "false"),
        ("RCLONE_WEBDAV_VENDOR", "nextcloud"),
    ];
    for (name, value) in others.into_iter().map(|(name, value)| (name, value.to_owned())).chain([proxy]) {
        fs::write(site.secret.path().join(name), value).unwrap();
    }
    assert_eq!(push_a_copy(&site).hashed, LARGE as u64);
    assert_eq!(stored(&site, "large"), noise(1, LARGE));
}

/// What is written through a memory mapping may move no time: then other content is sent than was read, and the hints are the same.
#[test]
fn content_that_changes_without_a_time_is_read_again() {
    let site = Site::with_bucket();
    write(site.source.path(), "large", noise(1, LARGE));
    site.push();
    write(site.source.path(), "large", noise(2, LARGE));
    let misreads = |verb: &Verb| matches!(verb, Verb::Put { names, .. } if names.contains(&&b"large"[..]));
    let a_copy = |options: &mut PushOptions| options.data_time = options.started - SignedDuration::from_secs(1);
    let pushed = through(&site, once(misreads, || Deed::Misread), a_copy).unwrap();
    assert_eq!((pushed.changed, pushed.hashed), (true, 2 * LARGE as u64), "read, sent in vain, read again");
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    write(site.source.path(), "large", noise(3, LARGE));
    assert_eq!(through(&site, always(misreads, || Deed::Misread), a_copy).unwrap_err().reason, Reason::SourceChanging);
    site.pull();
    assert_eq!(fs::read(site.dest.path().join("large")).unwrap(), noise(2, LARGE), "what is committed is there");
}

#[test]
fn what_the_remote_shows_wrongly_is_sent_again_alone() {
    let site = Site::with_bucket();
    for (name, seed) in [("a", 1), ("b", 2), ("c", 3)] {
        write(site.source.path(), name, noise(seed, LARGE));
    }
    let wrongly = || Deed::show(|listed| Some(Listed { size: listed.size.map(|size| size + u64::from(listed.name == "b")), ..listed }));
    through(&site, once(|verb: &Verb| matches!(verb, Verb::Look), wrongly), same).unwrap();
    let requests = site.proxy.take();
    let of = |name: &str| requests.iter().filter(|request| request.is("PUT", &format!("/{name}?"))).count();
    assert_eq!((of("a"), of("b"), of("c")), (1, 2, 1), "{requests:?}");
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

/// A manifest that was written before all was read is never committed, and says nothing to the next push.
#[rstest]
#[case::announced(dies_after(announces))]
#[case::sent(dies_before_commit())]
#[case::staged(dies(stages))]
fn a_push_that_is_killed_leaves_nothing_that_is_believed(#[case] rule: Rule) {
    let site = Site::with_bucket();
    write(site.source.path(), "old", noise(1, LARGE));
    site.push();
    write(site.source.path(), "old", noise(2, LARGE + 1));
    write(site.source.path(), "new", noise(3, LARGE));
    through(&site, rule, same).unwrap_err();
    site.pull();
    assert_eq!(fs::read(site.dest.path().join("old")).unwrap(), noise(1, LARGE), "what is committed is there");
    // Of the same size as what was announced.
    write(site.source.path(), "new", noise(4, LARGE));
    site.push();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    assert!(!site.push().changed);
}

/// What a killed push has sent of a large file is not sent again.
#[test]
fn a_killed_push_is_continued() {
    let site = Site::with_bucket();
    write(site.source.path(), "large", noise(1, LARGE));
    through(&site, dies_before_commit(), same).unwrap_err();
    assert_eq!(site.push().transferred, 0);
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

fn looks(verb: &Verb) -> bool {
    matches!(verb, Verb::Look)
}

/// A server that stores something else is found out before the commit: what is sent has no sum that it could compare.
#[test]
fn an_object_that_is_stored_wrongly_is_sent_again_and_not_committed() {
    let site = Site::with_bucket();
    write(site.source.path(), "large", noise(1, LARGE));
    let spoil = || {
        let object = site.object("large");
        move || {
            let object = object.clone();
            Deed::before(move || File::options().write(true).open(object).unwrap().write_all_at(b"?", 7).unwrap())
        }
    };
    let failure = through(&site, always(looks, spoil()), same).unwrap_err();
    assert_eq!(failure.reason, Reason::RemoteInconsistent);
    assert!(failure.message.contains("large was sent twice"), "{}", failure.message);
    assert!(!site.object(".scribe/commit.json").exists());
    through(&site, once(looks, spoil()), same).unwrap();
    assert_eq!(stored(&site, "large"), noise(1, LARGE));
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

/// A file that changes after it was looked at, and before or while it is sent.
#[test]
fn a_file_that_changes_meanwhile_is_sent_as_it_is() {
    let site = Site::with_bucket();
    write(site.source.path(), "large", noise(1, LARGE));
    let file = site.source.path().join("large");
    let rule =
        once(announces, move || Deed::after(move || File::options().write(true).open(file).unwrap().write_all_at(b"other", 100).unwrap()));
    through(&site, rule, same).unwrap();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

/// What the disk gives a mover, and its rclone, that push this volume, in a memory that does not hold its files.
fn read_by_push(site: &Site, mib: u64) -> u64 {
    let volume = site.source.path();
    rustix::fs::syncfs(File::open(volume).unwrap()).unwrap();
    for entry in walkdir::WalkDir::new(volume).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file()) {
        rustix::fs::fadvise(File::open(entry.path()).unwrap(), 0, None, Advice::DontNeed).unwrap();
    }
    let group = Cgroup::new(mib << 20).unwrap();
    let said = site.scratch.path().join("said");
    let captured = (Timestamp::now() - SignedDuration::from_secs(1)).to_string();
    let mut command = group.enter(&mover(site, "push", volume, &["--data-time", &captured]));
    let mut child = command.stdin(Stdio::null()).stdout(File::create(&said).unwrap()).spawn().unwrap();
    // Not reaped yet: by now it has been charged with what rclone read.
    waitid(WaitId::Pid(Pid::from_child(&child)), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    let io = fs::read_to_string(format!("/proc/{}/io", child.id())).unwrap();
    let status = child.wait().unwrap();
    let output = std::process::Output { status, stdout: fs::read(&said).unwrap(), stderr: Vec::new() };
    assert_eq!((group.killed().unwrap(), report(&output).result), (0, Outcome::Successful), "{}", report(&output).message);
    io.lines().find_map(|line| line.strip_prefix("read_bytes: ")?.parse().ok()).unwrap()
}

/// Sent in one request, which rclone would read the file for once more, and in parts.
#[rstest]
#[case::in_one_request(120 << 20)]
#[case::in_parts(210 << 20)]
fn a_large_file_is_read_once_where_its_size_is_new_and_else_twice(#[case] size: usize) {
    let site = Site::with_bucket();
    let read = |times: u64, what: &str| {
        let (read, file) = (read_by_push(&site, 128), size as u64);
        let most = file * times + file / 10;
        // Where nothing is read from a disk, nothing is shown.
        assert!((file..=most).contains(&read), "{what}: {read} bytes of a file of {file} on {}", site.source.path().display());
    };
    fs::write(site.source.path().join("large"), noise(1, size)).unwrap();
    read(1, "new");
    fs::write(site.source.path().join("large"), noise(2, size + 1)).unwrap();
    read(1, "of another size");
    fs::write(site.source.path().join("large"), noise(3, size + 1)).unwrap();
    read(2, "of the same size");
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}
