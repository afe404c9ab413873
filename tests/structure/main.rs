//! The direction of imports: a folder imports what stands below it in the lists of layers, and nothing else.
//!
//! Paths that begin with `crate` or `super` count wherever they stand in a file, its unit tests and comments excepted.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod imports;
mod volume;

use imports::{Crate, circles, upward};
use std::fs;
use std::path::Path;

/// Rooms of the agent, from the bottom to the top. Those on one line do not import each other.
const AGENT: &[&str] = &[
    "api",
    "core::syntax",
    "core::model",
    "core::schedule core::validate",
    "core::summary",
    "core::conditions",
    "core::decision",
    "core::abort core::adoption core::children core::syncing",
    "core::run",
    "core::decide",
    "manifests metrics settings",
    "cluster reload",
    "controller",
    "admin triggers",
    "agent",
];

/// Rooms of the mover, the same way.
const MOVER: &[&str] = &[
    "report",
    "error",
    "clock digest random retention stop",
    "scratch",
    "spill",
    "volume",
    "name_set",
    "guard",
    "format",
    "packs",
    "store",
    "rclone",
    "remote",
    "inspect pull push",
    "cli",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn agent() -> Crate {
    Crate::read(&root().join("agent/src"))
}

fn mover() -> Crate {
    Crate::read(&root().join("agent/mover/src"))
}

#[test]
fn imports_of_the_agent_point_down() {
    assert_eq!(upward(&agent(), AGENT), Vec::<String>::new());
}

#[test]
fn imports_of_the_mover_point_down() {
    assert_eq!(upward(&mover(), MOVER), Vec::<String>::new());
}

#[test]
fn no_files_of_a_room_import_each_other_in_a_circle() {
    assert_eq!((circles(&agent()), circles(&mover())), (vec![], vec![]));
}

/// A name of a volume may lead anywhere by the time it is used: `volume::beneath` alone follows one.
#[test]
fn names_of_a_volume_are_followed_beneath_its_root_alone() {
    assert_eq!(volume::followed(&root().join("agent/mover/src")), Vec::<String>::new());
}

#[test]
fn the_layers_are_shown_in_the_guide() {
    let guide = fs::read_to_string(root().join("docs/development.md")).unwrap();
    for layers in [AGENT, MOVER] {
        let shown: Vec<&str> = layers.iter().rev().copied().collect();
        let shown = format!("```\n{}\n```", shown.join("\n"));
        assert!(guide.contains(&shown), "docs/development.md does not show the layers:\n{shown}");
    }
}

/// What the checks above would find.
#[test]
fn an_upward_import_and_a_circle_are_found() {
    let code = |files: &[(&str, &str)]| Crate::of(files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())));
    let layers = ["low", "high left"];
    let good = code(&[("low.rs", "// crate::high"), ("high/mod.rs", "use crate::low::X;"), ("left.rs", "fn f() { crate::low::x() }")]);
    assert_eq!((upward(&good, &layers).len(), circles(&good).len()), (0, 0));
    for bad in [
        code(&[("low.rs", "use crate::high::X;"), ("high/mod.rs", "")]),
        code(&[("low.rs", "fn f() { crate::high::x() }"), ("high/mod.rs", "")]),
        code(&[("low/a.rs", "use crate::{high::X, low};"), ("low/mod.rs", ""), ("high.rs", "")]),
        code(&[("low/a.rs", "use super::super::high;"), ("low/mod.rs", ""), ("high.rs", "")]),
        code(&[("left.rs", "use crate::high::X;"), ("high/mod.rs", "")]),
        code(&[("low.rs", "#[cfg(test)]\nmod tests {\n    use crate::left::X;\n}\nuse crate::high::X;"), ("high.rs", "")]),
        code(&[("nowhere.rs", "")]),
    ] {
        assert_eq!(upward(&bad, &layers).len(), 1, "{bad:?}");
    }
    let tests_only = code(&[("low.rs", "#[cfg(test)]\nmod tests {\n    use crate::high::X;\n}"), ("high.rs", "")]);
    assert_eq!(upward(&tests_only, &layers), Vec::<String>::new());
    let circle = code(&[("low/a.rs", "use super::b;"), ("low/b.rs", "use crate::low::c::X;"), ("low/c.rs", "use super::a;")]);
    assert_eq!(circles(&circle).len(), 1);
}
