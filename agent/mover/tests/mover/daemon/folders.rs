//! Folders.

use rstest::rstest;
use scribe_mover::store::List;

use crate::support::Site;
use crate::support::server::Backend;

use super::{At, cost};

#[rstest]
fn folders_are_made_listed_and_removed(#[values(Backend::S3, Backend::WebDav, Backend::Local)] backend: Backend) {
    let at = At::of(Site::on(backend), None);
    let deep = at.fs.below("d/e");
    assert_eq!(at.daemon.list(&deep, List::default()).unwrap(), None, "there is not even a bucket");
    at.daemon.mkdir(&deep).unwrap();
    assert!(at.site.server.buckets.path().join("bucket").is_dir());
    at.put("d/a", b"12345");
    let all = List { recursive: true, times: true, sums: true, folders: true, few: true, strict: false };
    let listed = at.daemon.list(&at.fs, all).unwrap().unwrap();
    let item = listed.iter().find(|item| !item.is_folder).unwrap();
    assert_eq!((item.name.as_str(), item.size), ("d/a", Some(5)));
    assert!(item.time.starts_with("20"), "{item:?}");
    if backend != Backend::WebDav {
        assert_eq!(item.md5.as_deref(), Some("827ccb0eea8a706c4c34a16891f84e7b"));
    }
    assert!(at.daemon.list(&at.fs, List::default()).unwrap().unwrap().iter().all(|item| item.is_folder && item.name == "d"));
    at.daemon.rmdirs(&at.fs, false).unwrap();
    at.daemon.rmdirs(&at.fs.below("none"), true).unwrap();
    assert_eq!(at.names(), ["d/a"]);
    assert!(!at.site.object("d/e").exists());
    let about = at.daemon.features(&at.fs).unwrap();
    assert_eq!(about.features().keeps_folders, backend != Backend::S3);
}

#[test]
fn a_listing_costs_a_request_and_a_bucket_is_made_by_one() {
    let at = At::of(Site::new(), None);
    at.daemon.mkdir(&at.fs).unwrap();
    assert_eq!(at.cost(), cost(&[("PUT", 1)]));
    at.put("d/a", b"12345");
    at.cost();
    let all = List { recursive: true, times: true, sums: true, folders: true, few: true, strict: false };
    for n in 0..10 {
        at.put(&format!("d/e{n}/f"), b"1");
    }
    at.cost();
    assert_eq!(at.daemon.list(&at.fs, all).unwrap().unwrap().iter().filter(|item| !item.is_folder).count(), 11);
    assert_eq!(at.cost(), cost(&[("GET", 1)]));
}
