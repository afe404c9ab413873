//! Remotes that store names under other ones, of which nobody has thought: such content goes under its hash, and no other file is lost by it.
//!
//! Of layout Files alone: of the other one, no object has a name of the volume.

use rstest::rstest;
use scribe_mover::pull::{PullOptions, pull};
use scribe_mover::push::push;

use crate::lying::dies_before_commit;
use crate::support::altering::Alter;
use crate::support::tree::{assert_same, write};
use crate::support::{Site, done};

/// As HFS+ does it.
fn decomposed(name: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(name).replace('\u{e9}', "e\u{301}").into_bytes()
}

/// As SeaweedFS does with a backslash.
fn folder(name: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(name).replace('!', "/").into_bytes()
}

/// It comes back whole, and a verification finds nothing to do.
fn comes_back(site: &Site, alter: Alter) {
    let fresh = assert_fs::TempDir::new().unwrap();
    done(pull(&site.altering(alter), &PullOptions { volume: fresh.path().into(), ..site.pull_options() }));
    assert_same(site.source.path(), fresh.path());
    let mut options = site.push_options();
    options.verify_now = true;
    assert!(!push(&site.altering(alter), &options).unwrap().changed, "something was lost");
}

/// Which push meets such names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    First,
    /// One that lists the path.
    Verifying,
    /// One that lists nothing.
    Ordinary,
}

#[rstest]
#[case::to_a_name_of_its_own(decomposed, &["caf\u{e9}", "plain", "d/\u{e9}t\u{e9}"], &["plain"])]
#[case::to_the_name_of_another_file(folder, &["b!c", "b/c", "b/d", "usual name"], &["b/c", "b/d", "usual name"])]
fn altered_names_go_under_their_hash(
    #[case] alter: Alter,
    #[case] names: &[&str],
    #[case] live: &[&str],
    #[values(When::First, When::Verifying, When::Ordinary)] when: When,
) {
    let site = Site::with_bucket();
    let is_new = |name: &&&str| when == When::First || !live.contains(name);
    let mut options = site.push_options();
    if when != When::First {
        for name in live {
            write(site.source.path(), name, format!("{name}, of the first"));
        }
        push(&site.altering(alter), &options).unwrap();
        let kept = || live.iter().map(|name| site.read(name)).collect::<Vec<_>>();
        let before = kept();
        options.verify_now = when == When::Verifying;
        for name in names.iter().filter(is_new) {
            write(site.source.path(), name, format!("content of {name}"));
        }
        push(&site.altering_by(alter, dies_before_commit()), &options).unwrap_err();
        assert_eq!(kept(), before, "what is committed stays as it was");
    }
    for name in names.iter().filter(is_new) {
        write(site.source.path(), name, format!("content of {name}"));
    }
    push(&site.altering(alter), &options).unwrap();
    assert_eq!(site.user_objects(), live);
    comes_back(&site, alter);
    // It is remembered by pushes that list nothing.
    for name in names {
        write(site.source.path(), name, format!("other content of {name}"));
    }
    push(&site.altering(alter), &site.push_options()).unwrap();
    comes_back(&site, alter);
}

/// A server that has changed: what it kept under its name it keeps no more.
#[rstest]
fn names_that_are_altered_from_some_day_on_go_under_their_hash(#[values(false, true)] lost: bool) {
    let site = Site::with_bucket();
    for name in ["b!c", "b/c", "usual"] {
        write(site.source.path(), name, format!("content of {name}"));
    }
    push(&site.remote(), &site.push_options()).unwrap();
    let mut options = site.push_options();
    if lost {
        site.remote().delete(&[b"b!c"]).unwrap();
        options.verify_now = true;
    } else {
        write(site.source.path(), "b!c", "other content");
    }
    push(&site.altering(folder), &options).unwrap();
    comes_back(&site, folder);
    write(site.source.path(), "b!c", "its last content");
    push(&site.altering(folder), &site.push_options()).unwrap();
    comes_back(&site, folder);
}

/// Where nothing alters names, they are found under themselves, and none is sent twice.
#[test]
fn unusual_names_that_are_kept_lie_under_themselves() {
    let site = Site::with_bucket();
    write(site.source.path(), "usual", "first");
    site.push();
    for name in ["caf\u{e9}", "a!", "d/x (1)"] {
        write(site.source.path(), name, "content");
    }
    let pushed = site.push();
    assert_eq!((pushed.transferred, site.user_objects()), (3 * 7, ["a!", "caf\u{e9}", "d/x (1)", "usual"].map(str::to_owned).to_vec()));
    site.remote().delete(&["a!".as_bytes()]).unwrap();
    let mut options = site.push_options();
    options.verify_now = true;
    assert!(push(&site.remote(), &options).unwrap().changed);
    assert_eq!(site.user_objects().len(), 4);
    assert!(!push(&site.remote(), &options).unwrap().changed);
}
