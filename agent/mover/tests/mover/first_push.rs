//! What a pull says of a path that nothing was pushed to: it may be a typing error, in the bucket or behind it.

use scribe_mover::report::{Outcome, Report};

use crate::support::Site;
use crate::support::program::{mover, report};
use crate::support::proxy::Action;
use crate::support::server::Backend;

fn waits(site: &Site, layout: &str) -> Report {
    let report = report(&mover(site, "pull", site.dest.path(), &["--layout", layout]).output().unwrap());
    assert_eq!(report.result, Outcome::WaitingForFirstPush, "{report:?}");
    assert!(report.message.starts_with(&format!("Nothing has been pushed to {} yet", site.name)), "{}", report.message);
    report
}

#[test]
fn the_path_is_named_and_whether_its_bucket_is_listed() {
    for layout in ["files", "plain"] {
        for (site, said) in [
            (
                Site::new(),
                "yet: its bucket BUCKET is not among those that this section lists, so it does not exist, or belongs to another account",
            ),
            (Site::with_bucket(), "yet; its bucket exists"),
            (Site::on(Backend::Local), "yet"),
        ] {
            let (report, said) = (waits(&site, layout), said.replace("BUCKET", &site.server.bucket));
            assert!(report.message.ends_with(&said), "{}", report.message);
        }
    }
}

/// Nothing is claimed, and nothing more is asked than before.
#[test]
fn a_key_that_may_not_list_buckets_says_nothing_of_them() {
    let (site, known) = (Site::new(), Site::with_bucket());
    let is_root = |target: &str| target.split('?').next() == Some("/");
    let refused = site.proxy.watch(move |request| {
        let denied = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>";
        if is_root(&request.target) { Action::Answer("403 Forbidden", denied) } else { Action::Pass }
    });
    let report = waits(&site, "files");
    assert!(report.message.ends_with("yet"), "{}", report.message);
    assert_eq!(refused.try_iter().count(), 1);
    waits(&known, "files");
    let seen = known.proxy.take();
    assert_eq!(seen.iter().filter(|request| is_root(&request.target)).count(), 1, "{seen:?}");
}
