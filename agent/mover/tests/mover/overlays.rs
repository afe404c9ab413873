//! Sections that show what another one holds in a form of their own. Each answers for itself: what is true of the bucket below is not true of
//! them. What becomes of names of the volume there, of what is replaced and of copies concerns layout Files alone: the other one has names and objects of
//! its own, each written once.

use std::fs;
use std::time::SystemTime;

use rstest::rstest;
use scribe_mover::push::{PushOptions, push};
use scribe_mover::report::Reason;

use crate::support::proxy::Action;
use crate::support::server::{Backend, obscured};
use crate::support::tree::{assert_same, snapshot, write};
use crate::support::{Layout, Site};

/// A site whose path lies behind a section `top` of these options, onto the bucket of an S3 server or a folder.
fn behind(backend: Backend, options: &str) -> Site {
    let mut site = if backend == Backend::S3 { Site::with_bucket() } else { Site::on(backend) };
    let below = format!("s3:{}", site.server.path("bucket/below"));
    let conf = site.secret.path().join("rclone.conf");
    let old = fs::read_to_string(&conf).unwrap();
    fs::write(conf, format!("{old}\n[top]\n{}\n", options.replace("BELOW", &below).replace("PASSWORD", &obscured()))).unwrap();
    site.name = "top:path".into();
    site
}

const CHUNKER: &str = "type = chunker\nremote = BELOW\nchunk_size = 1Mi";
const COMPRESS: &str = "type = compress\nremote = BELOW";
const CRYPT: &str = "type = crypt\nremote = BELOW\npassword = PASSWORD";

/// rclone #5108: an object of fewer chunks than the one that it takes the place of cannot be read any more.
#[rstest]
fn a_file_that_shrinks_behind_chunker(
    #[values(Backend::S3, Backend::Local)] backend: Backend,
    #[values(1_500_000, 500_000, 7)] size: usize,
) {
    let site = behind(backend, CHUNKER);
    let content = |size: usize| (0..=250).cycle().take(size).collect::<Vec<u8>>();
    write(site.source.path(), "f", content(3_500_000));
    site.push();
    site.pull();
    write(site.source.path(), "f", content(size));
    site.push();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    assert!(!site.push().changed);
}

/// To rclone they are chunks of other files: of none, or of the one beside them.
#[test]
fn names_like_those_of_chunks_are_files_of_their_own() {
    let site = behind(Backend::Local, CHUNKER);
    for name in ["x.rclone_chunk.002", "big", "big.rclone_chunk.001", "d/y.rclone_chunk.001_abc123"] {
        write(site.source.path(), name, vec![b'a'; 10 + name.len()]);
    }
    site.push();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    let options = PushOptions { verify_now: true, ..site.push_options() };
    assert!(!push(&site.remote(), &options).unwrap().changed);
}

/// The sums that such a section tells are those that it noted with the object. A verification that is asked for reads the content.
#[rstest]
#[case::chunker(CHUNKER, 2_500_000)]
#[case::compress(COMPRESS, 40_000)]
fn content_that_is_altered_behind_noted_sums_is_found(
    #[case] options: &str,
    #[case] size: usize,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let site = behind(Backend::Local, options).of(layout);
    let mut random = fastrand::Rng::with_seed(7);
    let content: Vec<u8> = (0..size).map(|_| random.u8(..)).collect();
    write(site.source.path(), "f", content);
    site.push();
    let below = std::path::PathBuf::from(site.server.path("bucket/below"));
    let largest = walkdir::WalkDir::new(below).into_iter().map(|entry| entry.unwrap());
    let largest = largest.filter(|entry| entry.file_type().is_file()).max_by_key(|entry| entry.metadata().unwrap().len()).unwrap();
    let mut altered = fs::read(largest.path()).unwrap();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    fs::write(largest.path(), altered).unwrap();
    let options = PushOptions { verify_now: true, ..site.push_options() };
    assert!(site.push_by(&options).unwrap().changed);
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

/// The same behind names and content that are encrypted.
#[test]
fn a_file_that_shrinks_behind_crypt_and_chunker() {
    let mut site = behind(Backend::S3, "type = chunker\nremote = BELOW\nchunk_size = 1k");
    let conf = site.secret.path().join("rclone.conf");
    let old = fs::read_to_string(&conf).unwrap();
    fs::write(conf, format!("{old}[outer]\ntype = crypt\nremote = top:x\npassword = {}\n", obscured())).unwrap();
    site.name = "outer:path".into();
    for size in [9_000, 3_000, 5] {
        write(site.source.path(), "f", vec![7; size]);
        site.push();
        site.pull();
        assert_same(site.source.path(), site.dest.path());
    }
}

/// Waits until the clock shows another second: S3 says no more of when an object was written.
fn next_second() {
    let second = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let now = second();
    while second() == now {
        std::thread::yield_now();
    }
}

const COPIED: &str = "<CopyObjectResult><LastModified>2026-01-01T00:00:00Z</LastModified><ETag>\"x\"</ETag></CopyObjectResult>";

/// A server that says that it has copied, and has not: what was sent is kept, and the next push puts it in place.
#[rstest]
#[case("")]
#[case(CRYPT)]
#[case("type = alias\nremote = BELOW")]
fn a_copy_that_is_none(#[case] options: &str) {
    let site = if options.is_empty() { Site::with_bucket() } else { behind(Backend::S3, options) };
    write(site.source.path(), "keep", "k");
    write(site.source.path(), "f", "AAAA");
    site.push();
    next_second();
    write(site.source.path(), "f", "CCCC");
    site.proxy.rule(|request| if request.is("PUT", "CopyObject") { Action::Answer("200 OK", COPIED) } else { Action::Pass });
    let failure = site.try_push().unwrap_err();
    // Where rclone sees sums, it finds that itself. In no case has a file of the volume changed.
    let words = ["is not there as it was sent", "corrupted on transfer"];
    assert!(words.iter().any(|words| failure.message.contains(words)) && failure.reason != Reason::SourceChanging, "{failure}");
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    site.proxy.behave();
    site.push();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

/// What a listing shows without a sum, as S3 does of what was sent in parts, is looked at by its name: its copy is not believed unseen.
#[test]
fn a_copy_that_is_none_of_what_was_sent_in_parts() {
    let site = Site::with_bucket();
    fs::write(site.secret.path().join("RCLONE_S3_UPLOAD_CUTOFF"), "5Mi").unwrap();
    write(site.source.path(), "keep", "k");
    write(site.source.path(), "f", vec![b'A'; 6 << 20]);
    site.push();
    next_second();
    write(site.source.path(), "f", vec![b'C'; 6 << 20]);
    site.proxy.rule(|request| if request.is("PUT", "CopyObject") { Action::Answer("200 OK", COPIED) } else { Action::Pass });
    let failure = site.try_push().unwrap_err();
    assert!(failure.message.contains("is not there as it was sent"), "{failure}");
    site.proxy.behave();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

/// Whether a backend tells sums is asked of rclone: where none could be shown, a listing for them is a request for nothing.
#[test]
fn nothing_is_listed_for_sums_where_there_are_none() {
    let site = behind(Backend::S3, &format!("{CRYPT}\nfilename_encryption = off\ndirectory_name_encryption = false"));
    write(site.source.path(), "keep", "k");
    write(site.source.path(), "f", "AAAA");
    site.push();
    write(site.source.path(), "f", "CCCC");
    site.proxy.take();
    site.push();
    let requests = site.proxy.take();
    assert!(requests.iter().any(|request| request.is("PUT", "staged")), "{requests:?}");
    assert!(!requests.iter().any(|request| request.lists() && request.target.contains("staged")), "{requests:?}");
}

/// A server that says that it has stored what replaces something, and has not: nothing is committed before a listing shows it.
#[rstest]
fn a_send_that_is_none(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    write(site.source.path(), "keep", "k");
    write(site.source.path(), "f", "AAAA");
    site.push();
    let old = snapshot(site.source.path());
    write(site.source.path(), "f", "CCCC");
    site.proxy.rule(move |request| {
        if match layout {
            Layout::Files => request.is("PUT", "staged/"),
            Layout::Packs => layout.sends(request, "f"),
        } {
            Action::Answer("200 OK", "")
        } else {
            Action::Pass
        }
    });
    let failure = site.try_push().unwrap_err();
    assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
    assert!(failure.message.contains("was sent, and is not listed"), "{failure}");
    site.proxy.behave();
    site.pull();
    assert_eq!(snapshot(site.dest.path()), old);
    site.push();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

/// What lies behind a section does not answer, and rclone says that it is a file.
#[rstest]
#[case("type = alias\nremote = BELOW")]
#[case(CRYPT)]
fn an_outage_behind_an_overlay_is_one(#[case] options: &str) {
    let site = behind(Backend::S3, options);
    site.proxy.rule(|_| Action::Answer("503 Service Unavailable", "<Error><Code>SlowDown</Code></Error>"));
    assert_eq!(site.try_pull().unwrap_err().reason, Reason::Throttled);
    site.proxy.rule(|_| Action::Answer("403 Forbidden", "<Error><Code>AccessDenied</Code></Error>"));
    assert_eq!(site.try_pull().unwrap_err().reason, Reason::AccessDenied);
}

/// rclone #4928: the bucket below is asked whether an object exists, and not only supposed to have it.
#[rstest]
#[case(COMPRESS)]
#[case(CHUNKER)]
#[case(CRYPT)]
fn a_file_that_becomes_a_folder_behind_an_overlay(#[case] options: &str) {
    let site = behind(Backend::S3, options);
    write(site.source.path(), "keep", "k");
    write(site.source.path(), "twin", "a file");
    site.push();
    fs::remove_file(site.source.path().join("twin")).unwrap();
    write(site.source.path(), "twin/x", "in a folder");
    site.push();
    assert!(!site.push().changed);
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

/// Encrypted, a name is longer than it was.
#[rstest]
fn a_name_that_is_too_long_once_it_is_encrypted(#[values(140, 144, 157, 194, 255)] length: usize) {
    let site = behind(Backend::Local, CRYPT);
    write(site.source.path(), "n".repeat(length), "content");
    write(site.source.path(), format!("d/{}/f", "o".repeat(length)), "content");
    site.push();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    assert!(!site.push().changed);
}

/// Names that cannot be decrypted are shown by no listing: there is something else than nothing.
#[rstest]
fn another_password_at_the_edge_is_named(#[values("standard", "off")] names: &str, #[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = behind(Backend::Local, &format!("{CRYPT}\nfilename_encryption = {names}")).of(layout);
    write(site.source.path(), "f", "content");
    site.push();
    let conf = site.secret.path().join("rclone.conf");
    // What rclone makes of "wrong".
    let other = fs::read_to_string(&conf).unwrap().replace(&obscured_of(&conf), "A2RfhcLg19an1rWrE3nw353TOv08");
    fs::write(&conf, other).unwrap();
    let failure = site.try_pull().unwrap_err();
    assert_eq!(failure.reason, Reason::SecretInvalid, "{failure}");
    assert!(failure.message.contains("password"), "{failure}");
}

/// The password in the section `top`: rclone obscures it in another way each time.
fn obscured_of(conf: &std::path::Path) -> String {
    let text = fs::read_to_string(conf).unwrap();
    let top = text.split("[top]").nth(1).unwrap();
    top.lines().find_map(|line| line.strip_prefix("password = ")).unwrap().to_owned()
}
