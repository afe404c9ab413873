//! Behind encryption a damaged object cannot be decrypted, and rclone asks whether the password is wrong. It is one damaged object all the
//! same, as long as anything else can be read. What becomes of a damaged commit, manifest or pack of layout Packs is in `packs_push/damaged` and
//! `packs_push/checking`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rstest::rstest;
use scribe_mover::push::{PushOptions, push};
use scribe_mover::report::Reason;

use crate::support::liar::{Deed, Rule, Verb, promotes};
use crate::support::server::{Backend, obscured};
use crate::support::tree::{assert_same, write};
use crate::support::{Layout, Site};

/// A directory behind encryption, names as they are.
fn site(layout: Layout) -> Site {
    let mut site = Site::on(Backend::Local).of(layout);
    with_password(&site, &obscured());
    site.name = "crypt:path".into();
    for (name, content) in [("f", "content of f"), ("g", "content of g"), ("odd\nname", "odd")] {
        write(site.source.path(), name, content);
    }
    site
}

fn with_password(site: &Site, password: &str) {
    let remote = site.server.buckets.path().display();
    let conf = format!(
        "[s3]\ntype = local\n[crypt]\ntype = crypt\nremote = s3:{remote}\nfilename_encryption = off\ndirectory_name_encryption = false\nsuffix = none\npassword = {password}\n"
    );
    fs::write(site.secret.path().join("rclone.conf"), conf).unwrap();
}

#[derive(Clone, Copy, Debug)]
enum Damage {
    Flipped,
    Cut,
    Short,
    Empty,
}

fn damage(path: &Path, damage: Damage) {
    let mut content = fs::read(path).unwrap();
    let middle = content.len() * 2 / 3;
    match damage {
        Damage::Flipped => content[middle] ^= 1,
        Damage::Cut => content.truncate(middle),
        Damage::Short => content.truncate(10),
        Damage::Empty => content.clear(),
    }
    fs::write(path, content).unwrap();
}

fn verifying(site: &Site) -> PushOptions {
    PushOptions { verify_now: true, ..site.push_options() }
}

fn heals(site: &Site) {
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    let mut options = site.push_options();
    options.verify_now = true;
    assert!(!site.push_by(&options).unwrap().changed);
}

fn manifest(site: &Site) -> String {
    site.control_objects().into_iter().find(|name| name.starts_with("manifests/")).unwrap()
}

#[rstest]
fn a_file_that_cannot_be_decrypted_is_sent_again(
    #[values(Damage::Flipped, Damage::Cut, Damage::Short, Damage::Empty)] how: Damage,
    #[values(false, true)] odd: bool,
) {
    let site = site(Layout::Files);
    let first = site.push();
    let object = site.control_objects().into_iter().find(|name| name.starts_with("objects/")).unwrap();
    damage(&site.object(&if odd { format!(".scribe/{object}") } else { "f".into() }), how);
    let failure = site.try_pull().unwrap_err();
    assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
    assert!(failure.message.contains(if odd { "odd" } else { "f as revision" }), "{failure}");
    let repaired = site.push_by(&verifying(&site)).unwrap();
    assert!(repaired.changed && repaired.revision == first.revision, "{repaired:?}");
    heals(&site);
}

/// The same that is done about one that is damaged where nothing is encrypted.
#[rstest]
fn a_commit_that_cannot_be_decrypted_can_be_adopted(#[values(Damage::Flipped, Damage::Cut, Damage::Short, Damage::Empty)] how: Damage) {
    let site = site(Layout::Files);
    site.push();
    damage(&site.object(".scribe/commit.json"), how);
    for failure in [site.try_push().unwrap_err(), site.try_pull().unwrap_err()] {
        assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
        assert!(failure.message.contains("commit.json is damaged"), "{failure}");
    }
    let mut options = site.push_options();
    options.pusher.adopt = true;
    site.push_by(&options).unwrap();
    heals(&site);
}

#[rstest]
fn a_claim_that_cannot_be_decrypted_stops_nothing(
    #[values(Damage::Flipped, Damage::Cut, Damage::Short, Damage::Empty)] how: Damage,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let site = site(layout);
    site.push();
    fs::copy(site.object(".scribe/commit.json"), site.object(".scribe/claim.json")).unwrap();
    damage(&site.object(".scribe/claim.json"), how);
    write(site.source.path(), "f", "another f");
    site.push();
    heals(&site);
}

#[rstest]
fn a_manifest_that_cannot_be_decrypted_is_written_anew(#[values(Damage::Flipped, Damage::Cut, Damage::Short, Damage::Empty)] how: Damage) {
    let site = site(Layout::Files);
    site.push();
    damage(&site.object(&format!(".scribe/{}", manifest(&site))), how);
    let failure = site.try_pull().unwrap_err();
    assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
    site.push();
    heals(&site);
}

#[rstest]
fn what_a_dead_push_has_half_written_stops_nothing(
    #[values(Damage::Flipped, Damage::Cut, Damage::Short, Damage::Empty)] how: Damage,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let site = site(layout);
    site.push();
    let left = site.object(".scribe/manifests/20261127T000000Z-00000000-9-0000.zst");
    fs::copy(site.object(&format!(".scribe/{}", manifest(&site))), &left).unwrap();
    damage(&left, how);
    site.push_by(&verifying(&site)).unwrap();
    write(site.source.path(), "f", "another f");
    site.push_by(&verifying(&site)).unwrap();
    heals(&site);
}

/// What waits for its promotion is damaged, and the server does not copy by itself.
#[rstest]
fn what_waits_to_be_put_in_place_and_cannot_be_decrypted_is_sent_again(
    #[values(Damage::Flipped, Damage::Cut, Damage::Short, Damage::Empty)] how: Damage,
    #[values(false, true)] at_once: bool,
) {
    let site = site(Layout::Files);
    site.push();
    write(site.source.path(), "f", "another f");
    // It is damaged right before its promotion, and the push dies there, or goes on.
    let path = site.object("");
    let rule: Rule = Box::new(move |verb| match verb {
        Verb::Copy { from, names: [name] } if promotes(verb) => {
            damage(&path.join(from).join(OsStr::from_bytes(name)), how);
            if at_once { Deed::Pass } else { Deed::Die }
        }
        _ => Deed::Pass,
    });
    let failure = push(&site.lying(rule), &site.push_options()).unwrap_err();
    assert_eq!(failure.reason, if at_once { Reason::RemoteInconsistent } else { Reason::MoverFailed }, "{failure}");
    site.push();
    heals(&site);
}

/// Nothing can be read: then it is the password.
#[rstest]
fn a_wrong_password_is_no_damage(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = site(layout);
    site.push();
    let right = fs::read_to_string(site.secret.path().join("rclone.conf")).unwrap();
    // What rclone makes of "wrong".
    with_password(&site, "A2RfhcLg19an1rWrE3nw353TOv08");
    write(site.source.path(), "f", "another f");
    for failure in [site.try_push().unwrap_err(), site.try_pull().unwrap_err(), site.push_by(&verifying(&site)).unwrap_err()] {
        assert_eq!(failure.reason, Reason::SecretInvalid, "{failure}");
        assert!(failure.message.contains("bad password"), "{failure}");
    }
    fs::write(site.secret.path().join("rclone.conf"), right).unwrap();
    site.push();
    heals(&site);
}
