//! The same promises on remotes of other kinds: a directory, SFTP, WebDAV.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process_group};
use scribe_mover::pull::{PullOptions, PullOutcome, pull};
use scribe_mover::push::{PushOptions, push};
use scribe_mover::report::Reason;

use crate::support::program::mover;
use crate::support::server::{Backend, obscured};
use crate::support::tree::{assert_same, snapshot, touch, varied, write};
use crate::support::{Layout, Site, done};

#[rstest]
fn what_goes_in_comes_out_and_changes_follow(
    #[values(Backend::Local, Backend::Sftp, Backend::WebDav)] backend: Backend,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let site = Site::on(backend).of(layout);
    let source = site.source.path();
    assert_eq!(site.try_pull(), Ok(PullOutcome::WaitingForFirstPush), "no such path");
    varied(source);
    write(source, "odd\nname", "odd");
    let first = site.push();
    let pulled = site.pull();
    assert_same(source, site.dest.path());
    assert_eq!(pulled.revision, first.revision);
    site.assert_tidy_but_for_content(&first.revision);
    assert!(!site.push().changed);
    assert!(!site.pull().changed);

    write(source, "sub/deep/er/file", "replaced");
    write(source, "odd\nname", "replaced");
    fs::remove_file(source.join("big")).unwrap();
    write(source, "big/now/a/directory", "x");
    fs::remove_dir_all(source.join("same")).unwrap();
    write(source, "same", "now a file");
    fs::remove_file(source.join("zz-hard")).unwrap();
    let second = site.push();
    site.pull();
    assert_same(source, site.dest.path());
    site.assert_tidy_but_for_content(&second.revision);
    assert_eq!(site.read("same"), (layout == Layout::Files).then(|| b"now a file".to_vec()));
    assert!(!site.has("zz-hard"));
}

/// Kills mover and rclone once the push has come to `phase`.
pub(crate) fn dies_in(site: &Site, phase: &str, known: Option<&str>) {
    let options: Vec<&str> = known.iter().flat_map(|known| ["--pushed-revision", *known]).collect();
    let mut command = mover(site, "push", site.source.path(), &options);
    let mut child = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let wanted = format!("\"phase\":\"{phase}\"");
    assert!(lines.map(|line| line.unwrap()).any(|line| line.contains(&wanted)), "never came to {phase}");
    kill_process_group(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::KILL).unwrap();
    child.wait().unwrap();
}

#[rstest]
fn a_push_that_dies_leaves_a_whole_revision(
    #[values(Backend::Local, Backend::Sftp, Backend::WebDav)] backend: Backend,
    #[values((Layout::Files, "uploading"), (Layout::Files, "committing"), (Layout::Files, "tidying"), (Layout::Packs, "committing"))]
    (layout, phase): (Layout, &str),
) {
    let site = Site::on(backend).of(layout);
    let source = site.source.path();
    for name in ["kept", "replaced", "deleted"] {
        write(source, name, format!("old {name}"));
    }
    let old = snapshot(source);
    let known = site.push().revision;
    fs::remove_file(source.join("deleted")).unwrap();
    write(source, "replaced", "new replaced");
    write(source, "added", "new added");
    let new = snapshot(source);
    dies_in(&site, phase, Some(&known));
    site.pull();
    let pulled = snapshot(site.dest.path());
    assert!(pulled == old || pulled == new, "{pulled:#?}");
    let mut options = site.push_options();
    options.pusher.pushed = Some(known);
    let healed = site.push_by(&options).unwrap();
    site.pull();
    assert_same(source, site.dest.path());
    site.assert_tidy_but_for_content(&healed.revision);
    site.assert_user_objects(&["added", "kept", "replaced"]);
}

/// All but what changed since, where the backend can tell sums. Of layout Files; what the other one goes on with is in `packs_push/resuming`.
#[rstest]
#[case(Backend::S3, true)]
#[case(Backend::Local, true)]
#[case(Backend::Sftp, true)]
#[case(Backend::WebDav, false)]
fn what_a_dead_push_had_sent_is_not_sent_again(#[case] backend: Backend, #[case] tells: bool) {
    let dead = || {
        let site = Site::on(backend);
        for name in ["a", "b/c", "changed", "odd\nname"] {
            write(site.source.path(), name, format!("content of {name}"));
        }
        dies_in(&site, "committing", None);
        site
    };
    // On a busy machine the commit may come before the kill.
    let site = std::iter::repeat_with(dead).find(|site| !site.has(".scribe/commit.json")).unwrap();
    let source = site.source.path();
    write(source, "changed", "CONTENT OF changed");
    write(source, "added", "added");
    let pushed = site.push();
    let changed = "CONTENT OF changed".len() + "added".len();
    assert_eq!(pushed.transferred, if tells { changed as u64 } else { pushed.bytes });
    site.pull();
    assert_same(source, site.dest.path());
    assert_eq!(site.user_objects(), ["a", "added", "b/c", "changed"]);
}

#[rstest]
#[case(Backend::Sftp)]
#[case(Backend::WebDav)]
fn wrong_credentials(#[case] backend: Backend) {
    let site = Site::on(backend);
    write(site.source.path(), "a", "a");
    site.write_secret(&site.address(), "SOMEBODYELSE");
    for result in [site.try_push().map(drop), site.try_pull().map(drop)] {
        let failure = result.unwrap_err();
        assert_eq!(failure.reason, Reason::AccessDenied, "{failure}");
    }
}

/// Nobody serves there any more.
#[rstest]
#[case(Backend::Sftp)]
#[case(Backend::WebDav)]
fn a_dead_server(#[case] backend: Backend) {
    let site = Site::on(backend);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    site.write_secret(&port.to_string(), "AKIDFORTESTS");
    let failure = site.try_pull().unwrap_err();
    assert_eq!(failure.reason, Reason::Unreachable, "{failure}");
}

/// A remote path of rclone's own making is of no use to us, and what is said says so.
#[rstest]
fn files_of_another_owner(#[values(Backend::Local, Backend::Sftp, Backend::WebDav)] backend: Backend) {
    let site = Site::on(backend);
    write(&site.object(""), "precious", "p");
    write(site.source.path(), "a", "a");
    for result in [site.try_push().map(drop), site.try_pull().map(drop)] {
        assert_eq!(result.unwrap_err().reason, Reason::PathNotOurs);
    }
    assert_eq!(site.user_objects(), ["precious"]);
}

/// The same of a pack: its sum is that of its trailer, and where a listing tells none it is read.
#[rstest]
fn packs_that_were_lost_or_altered_are_found_and_repaired(
    #[values(Backend::S3, Backend::Local, Backend::Sftp, Backend::WebDav)] backend: Backend,
    #[values(true, false)] lost: bool,
) {
    let site = Site::on(backend).of(Layout::Packs);
    write(site.source.path(), "a", "content of a");
    site.push();
    let pack = site.control_objects().into_iter().find(|name| name.starts_with("packs/")).unwrap();
    let name = format!(".scribe/{pack}");
    let mut content = site.read(&name).unwrap();
    content[5] ^= 1;
    if lost {
        site.meddle("deletefile", &name, b"");
    } else {
        site.meddle("rcat", &name, &content);
    }
    let failure = site.try_pull().unwrap_err();
    assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
    assert!(failure.message.contains(pack.trim_start_matches("packs/")), "{failure}");
    assert!(fs::read_dir(site.dest.path()).unwrap().all(|entry| entry.unwrap().file_name() == ".scribe-staging"));
    let verifying = PushOptions { verify_now: true, ..site.push_options() };
    assert!(site.push_by(&verifying).unwrap().changed);
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    assert!(!site.push_by(&verifying).unwrap().changed);
}

/// Objects altered, cut or deleted behind our back are found by a pull and brought back by the next listing push.
#[rstest]
fn what_was_lost_is_found_and_repaired(#[values(Backend::S3, Backend::Local, Backend::Sftp, Backend::WebDav)] backend: Backend) {
    let site = Site::on(backend);
    for name in ["altered", "cut", "deleted", "odd\nname", "fine"] {
        write(site.source.path(), name, format!("content of {name}"));
        // Not in the second in which objects are altered: backends that keep a file's time keep no more of it.
        touch(&site.source.path().join(name), 1_700_000_000, 0);
    }
    let pushed = site.push();
    site.meddle("deletefile", "deleted", b"");
    site.meddle("rcat", "cut", b"conte");
    site.meddle("rcat", "altered", b"CONTENT OF altered");
    let object = site.control_objects().into_iter().find(|name| name.starts_with("objects/")).unwrap();
    site.meddle("deletefile", &format!(".scribe/{object}"), b"");
    let failure = site.try_pull().unwrap_err();
    assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
    assert!(["altered", "cut", "deleted", "odd"].iter().any(|name| failure.message.contains(name)), "{failure}");
    assert!(fs::read_dir(site.dest.path()).unwrap().all(|entry| entry.unwrap().file_name() == ".scribe-staging"));
    let mut options = site.push_options();
    options.verify_interval = jiff::SignedDuration::ZERO;
    let repaired = push(&site.remote(), &options).unwrap();
    assert!(repaired.changed && repaired.revision == pushed.revision);
    done(pull(&site.remote(), &PullOptions { private: false, ..site.pull_options() }));
    assert_same(site.source.path(), site.dest.path());
}

/// The manifest of the last revision says of what it replaced where it was staged; it is verified like the rest once it is promoted.
#[rstest]
fn what_was_altered_after_it_had_been_replaced_is_found_and_repaired(
    #[values(Backend::S3, Backend::Local, Backend::Sftp, Backend::WebDav)] backend: Backend,
    #[values(true, false)] requested: bool,
) {
    let site = Site::on(backend);
    write(site.source.path(), "replaced", "first content");
    site.push();
    write(site.source.path(), "replaced", "second content");
    touch(&site.source.path().join("replaced"), 1_700_000_000, 0);
    let pushed = site.push();
    site.meddle("rcat", "replaced", b"SECOND CONTENT");
    let options = PushOptions { verify_now: requested, verify_interval: jiff::SignedDuration::ZERO, ..site.push_options() };
    let repaired = push(&site.remote(), &options).unwrap();
    assert!(repaired.changed && repaired.revision == pushed.revision, "{repaired:?}");
    assert!(!push(&site.remote(), &options).unwrap().changed, "promoted, it is right");
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

/// Where objects keep the time of their file, an old one is no sign that nobody else wrote it.
#[rstest]
fn what_was_altered_under_an_old_time_is_found_and_repaired(#[values(Backend::Local, Backend::Sftp)] backend: Backend) {
    let site = Site::on(backend);
    let time =
        |year: i16| std::time::SystemTime::from(jiff::civil::date(year, 1, 1).to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp());
    let set = |file: &std::path::Path, year| fs::File::options().write(true).open(file).unwrap().set_modified(time(year)).unwrap();
    for name in ["fine", "altered"] {
        write(site.source.path(), name, format!("content of {name}"));
        set(&site.source.path().join(name), 2020);
    }
    let pushed = site.push();
    write(&site.object(""), "altered", "CONTENT OF altered");
    set(&site.object("altered"), 2019);
    let failure = site.try_pull().unwrap_err();
    assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
    let repaired = push(&site.remote(), &PushOptions { verify_now: true, ..site.push_options() }).unwrap();
    assert!(repaired.changed && repaired.revision == pushed.revision);
    assert_eq!(repaired.transferred, "content of altered".len() as u64);
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

/// Encryption hides the sums that S3 has, so what was written since the last verification is read back.
#[test]
fn what_was_altered_behind_encryption_is_found_and_repaired() {
    let mut site = Site::new();
    site.name = "crypt:path".into();
    let conf = site.secret.path().join("rclone.conf");
    let crypt = format!("\n[crypt]\ntype = crypt\nremote = s3:bucket\npassword = {}\n", obscured());
    fs::write(&conf, fs::read_to_string(&conf).unwrap() + &crypt).unwrap();
    for name in ["altered", "odd\nname", "fine"] {
        write(site.source.path(), name, format!("content of {name}"));
    }
    let pushed = site.push();
    let mut options = site.push_options();
    options.verify_interval = jiff::SignedDuration::ZERO;
    assert!(!push(&site.remote(), &options).unwrap().changed, "nothing was altered yet");
    site.meddle("rcat", "altered", b"CONTENT OF altered");
    let repaired = push(&site.remote(), &options).unwrap();
    assert!(repaired.changed && repaired.revision == pushed.revision);
    assert_eq!(repaired.transferred, "content of altered".len() as u64);
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}
