//! What a pull says of a path that nothing was pushed to: it may be a typing error, in the bucket or behind it.

use scribe_mover::report::Outcome;

use crate::support::Site;
use crate::support::program::{mover, report};
use crate::support::server::Backend;

#[test]
fn the_path_is_named_and_whether_its_bucket_exists() {
    for (site, bucket) in [
        (Site::new(), "yet: its bucket does not exist"),
        (Site::with_bucket(), "yet; its bucket exists"),
        (Site::on(Backend::Local), "yet"),
    ] {
        let report = report(&mover(&site, "pull", site.dest.path(), &[]).output().unwrap());
        assert_eq!(report.result, Outcome::WaitingForFirstPush, "{report:?}");
        assert!(report.message.starts_with(&format!("Nothing has been pushed to {} yet", site.name)), "{}", report.message);
        assert!(report.message.ends_with(bucket), "{}", report.message);
    }
}
