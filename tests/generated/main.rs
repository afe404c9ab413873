//! Generated files are what the code would generate: `make generate` writes them, everybody else only compares.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod commands;
mod metrics;
mod reference;
mod schemas;

use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn compare(path: &Path, generated: &str) {
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, generated).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == generated, "{} is not what the code generates: run `make generate` and commit it", path.display());
}

#[test]
fn crds() {
    for (name, text) in scribe_agent::api::crd::files().unwrap() {
        compare(&root().join("kustomize/crds").join(name), &text);
    }
}

/// Every word that users may meet is explained to them.
#[test]
fn every_reason_is_in_the_operations_guide() {
    let guide = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    for reason in scribe_agent::api::reason::Reason::ALL {
        assert!(guide.contains(&format!("`{}`", reason.as_str())), "docs/operations.md does not explain {}", reason.as_str());
    }
}
