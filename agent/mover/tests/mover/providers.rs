//! What the mover knows of backends, beside what this rclone says of them: a new one fails here, until it is known what it shows.

use scribe_mover::rclone::daemon::Daemon;
use scribe_mover::rclone::{Form, form};
use serde::Deserialize;
use serde_json::json;

use crate::support::Site;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Provider {
    name: String,
    prefix: String,
    aliases: Option<Vec<String>>,
    options: Vec<Named>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    name: String,
}

#[test]
fn every_backend_is_known_by_all_of_its_names() {
    let site = Site::new();
    let daemon = Daemon::start(&site.rclone_of("s3")).unwrap();
    let providers = daemon.call("config/providers", json!({})).unwrap()["providers"].take();
    let providers: Vec<Provider> = serde_json::from_value(providers).unwrap();
    assert!(providers.len() > 60, "{}", providers.len());
    for provider in providers {
        let has = |option: &str| provider.options.iter().any(|named| named.name == option);
        let Provider { name, prefix, aliases, .. } = &provider;
        for name in [name, prefix, &name.replace(' ', "")].into_iter().chain(aliases.iter().flatten()) {
            let leads = match form(name) {
                Some(Form::End) => [false, false],
                Some(Form::Transparent | Form::Opaque | Form::ByPath) => [true, false],
                Some(Form::Joined) => [false, true],
                None => panic!("backend {name} is not known: see rclone/base.rs"),
            };
            assert_eq!(["remote", "upstreams"].map(has), leads, "{name}");
        }
    }
}
