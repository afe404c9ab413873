//! What a wrong server and a broken section come to: the option to correct is named, and no secret is shown.

use std::fs;
use std::time::Duration;

use rstest::rstest;
use scribe_mover::pull::{PullOutcome, pull_plain};
use scribe_mover::report::Reason;

use crate::support::Site;
use crate::support::program::{mover, report};
use crate::support::proxy::Action;
use crate::support::server::Backend;
use crate::support::tree::{assert_same, write};

const PAGE: &str = "<!doctype html><html><body>hello</body></html>";

/// A web server that gives every request the same answer is never an empty remote.
#[rstest]
fn a_server_of_another_kind(
    #[values(Backend::S3, Backend::WebDav)] backend: Backend,
    #[values("200 OK", "404 Not Found", "405 Method Not Allowed", "400 Bad Request", "301 Moved Permanently\r\nLocation: /login")]
    status: &'static str,
) {
    let site = Site::on(backend);
    write(site.source.path(), "a", "a");
    site.proxy.rule(move |_| Action::Answer(status, PAGE));
    let option = if backend == Backend::S3 { "option endpoint of section s3" } else { "option url of section s3" };
    let outcomes = [site.try_pull().map(drop), pull_plain(&site.remote(), &site.pull_options()).map(drop), site.try_push().map(drop)];
    for (outcome, what) in outcomes.into_iter().zip(["pull", "plain", "push"]) {
        let failure = outcome.expect_err(what);
        assert!(failure.reason == Reason::SecretInvalid && failure.message.contains(option), "{what}: {failure}");
    }
}

/// A section may be defined by variables alone.
#[test]
fn a_server_of_another_kind_in_a_section_of_variables() {
    let site = Site::new();
    site.proxy.rule(|_| Action::Answer("404 Not Found", PAGE));
    fs::write(site.secret.path().join("rclone.conf"), "[other]\ntype = local\n").unwrap();
    let endpoint = format!("http://{}", site.address());
    for (option, value) in
        [("TYPE", "s3"), ("PROVIDER", "Other"), ("ENDPOINT", &endpoint), ("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b")]
    {
        fs::write(site.secret.path().join(format!("RCLONE_CONFIG_S3_{option}")), value).unwrap();
    }
    let failure = site.try_pull().unwrap_err();
    assert!(failure.reason == Reason::SecretInvalid && failure.message.contains("endpoint"), "{failure}");
}

/// Such servers are the right ones, and the path is empty.
#[rstest]
#[case("501 Not Implemented", "<Error><Code>NotImplemented</Code><Message>no</Message></Error>")]
#[case("405 Method Not Allowed", "<Error><Code>MethodNotAllowed</Code><Message>not on this resource</Message></Error>")]
#[case("403 Forbidden", "<Error><Code>AccessDenied</Code><Message>no</Message></Error>")]
fn a_server_that_does_not_list_its_buckets(#[case] status: &'static str, #[case] body: &'static str) {
    let site = Site::with_bucket();
    site.proxy.rule(move |request| {
        let root = request.target.split('?').next() == Some("/");
        if root { Action::Answer(status, body) } else { Action::Pass }
    });
    assert_eq!(site.try_pull(), Ok(PullOutcome::WaitingForFirstPush));
}

/// Neither the report nor the log says what the section says in confidence, but which option is wrong.
#[rstest]
#[case("type = webdav\nurl = http://127.0.0.1:1/dav\nbearer_token_command = /bin/false --password HUNTER2", "bearer_token_command")]
#[case("type = webdav\nurl = http://127.0.0.1:1/HUNTER2TOKEN/dav?token=HUNTER2\nvendor = other", "127.0.0.1:1/…")]
#[case("type = webdav\nurl = http://user:HUNTER2@127.0.0.1:port/dav\nvendor = other", "127.0.0.1:port")]
#[case("type = azureblob\nsas_url = http://127.0.0.1:x/cont?sv=2020&sig=HUNTER2", "127.0.0.1:x/…")]
#[case("type = sftp\nssh = /missing/helper -p HUNTER2 ssh u@h", "correct option ssh in section s3")]
#[case("DAV\nbearer_token_command = `/bin/false -p HUNTER2` # the new one", "bearer_token_command")]
#[case("DAV\nbearer_token_command = \"\"\"/bin/false -p HUNTER2\"\"\" # the new one", "bearer_token_command")]
#[case("DAV\ndescription = `\nbearer_token_command = /bin/false -p HUNTER2", "bearer_token_command")]
#[case("DAV\ndescription = HUNTER2\nbearer_token_command = /bin/false -p %(description)s", "bearer_token_command")]
#[case("DAV\nhalf = HUN\nbearer_token_command = /bin/false -p %(half)sTER2", "bearer_token_command")]
#[case("type = union\ncreate_policy = all\nupstreams = :sftp,host=h,user=u,pass='my HUNTER2':x /srv", "option upstreams in section [s3]")]
#[case(
    "type = union\ncreate_policy = all\nupstreams = :s3,secret_access_key=my HUNTER2,endpoint=e:b /srv",
    "option upstreams in section [s3]"
)]
#[case("type = combine\nupstreams = a=:s3,pass=my HUNTER2=x:b c=/srv", "option upstreams in section [s3]")]
#[case("type = alias\nremote = pass=HUNTER2:x", "option remote in section [s3]")]
#[case("type = alias\nremote = webdav pass=HUNTER2:x", "option remote in section [s3]")]
#[case("type = alias\nremote = HUNTER2,x=y:b", "option remote in section [s3]")]
#[case("type = alias\nremote = HUNTER2:b", "option remote in section [s3]")]
#[case("type = alias\nremote = {\"HUNTER2\": 1}", "option remote in section [s3]")]
#[case("type = alias\nremote = %(HUNTER2:x", "option remote in section [s3]")]
#[case("DAV\npass = `HUNTER2", "line 4")]
#[case("DAV\n\"pass = HUNTER2", "line 4")]
fn a_message_without_secrets(#[case] section: &str, #[case] words: &str) {
    let site = Site::new();
    write(site.source.path(), "a", "a");
    let section = section.replace("DAV", "type = webdav\nurl = http://127.0.0.1:1/dav");
    fs::write(site.secret.path().join("rclone.conf"), format!("[s3]\n{section}\n")).unwrap();
    for (verb, volume) in [("pull", site.dest.path()), ("push", site.source.path())] {
        let output = mover(&site, verb, volume, &[]).env("RUST_LOG", "trace").output().unwrap();
        let report = report(&output);
        assert!(report.message.contains(words), "{}", report.message);
        for text in [&output.stdout, &output.stderr] {
            let text = String::from_utf8_lossy(text);
            assert!(!text.contains("HUNTER2"), "{verb}: {text}");
        }
    }
}

/// A server that copies a large file by itself says nothing until it is done: it is waited for longer than for any other answer.
#[test]
fn a_server_that_takes_its_time_to_copy() {
    let site = Site::on(Backend::WebDav);
    write(site.source.path(), "a", "one");
    site.push();
    write(site.source.path(), "a", "second");
    let copies = site.proxy.watch(|request| if request.method == "COPY" { Action::Delay(Duration::from_secs(24)) } else { Action::Pass });
    site.push();
    assert_eq!(copies.try_iter().count(), 1, "it was asked once");
    site.proxy.behave();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

/// A section must not do what a variable must not.
#[rstest]
fn a_section_that_would_make_every_transfer_a_rehearsal(#[values("global.dry_run", "override.dry_run")] option: &str) {
    let site = Site::new();
    write(site.source.path(), "a", "a");
    fs::write(site.secret.path().join("rclone.conf"), format!("[s3]\ntype = local\n{option} = true\n")).unwrap();
    let report = report(&mover(&site, "push", site.source.path(), &[]).output().unwrap());
    assert_eq!(report.reason, Some(Reason::SecretInvalid), "{}", report.message);
    assert!(report.message.contains(option), "{}", report.message);
}
