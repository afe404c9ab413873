//! Remotes that store names under other ones, of which nobody has thought: such content goes under its hash, and no other file is lost by it.

use rstest::rstest;
use scribe_mover::pull::{PullOptions, pull};
use scribe_mover::push::push;
use scribe_mover::report::Reason;

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

#[rstest]
#[case::to_a_name_of_its_own(decomposed, &["caf\u{e9}", "plain", "d/\u{e9}t\u{e9}"], &["plain"])]
#[case::to_the_name_of_another_file(folder, &["b!c", "b/c", "b/d", "usual name"], &["b/c", "b/d", "usual name"])]
fn altered_names_go_under_their_hash(
    #[case] alter: Alter,
    #[case] names: &[&str],
    #[case] live: &[&str],
    #[values(false, true)] later: bool,
) {
    let site = Site::with_bucket();
    if later {
        // Those that lie there under their own names: one of them is going to be replaced by another file.
        for name in live {
            write(site.source.path(), name, format!("{name}, of the first"));
        }
        push(&site.altering(alter), &site.push_options()).unwrap();
    }
    for name in names.iter().filter(|name| !later || !live.contains(name)) {
        write(site.source.path(), name, format!("content of {name}"));
    }
    let mut options = site.push_options();
    options.verify_now = later;
    if later {
        let failure = push(&site.altering(alter), &options).unwrap_err();
        assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
        assert!(failure.message.contains("stored under another name"), "{failure}");
        options.verify_now = false;
    }
    push(&site.altering(alter), &options).unwrap();
    if !later {
        assert_eq!(site.user_objects(), live);
    }
    comes_back(&site, alter);
    // It is remembered by pushes that list nothing.
    for name in names {
        write(site.source.path(), name, format!("other content of {name}"));
    }
    push(&site.altering(alter), &site.push_options()).unwrap();
    comes_back(&site, alter);
}
