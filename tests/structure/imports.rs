//! Reads which module of a crate names which other one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Modules of a crate, by path, with the paths that each of them names.
#[derive(Debug)]
pub struct Crate(BTreeMap<String, BTreeSet<String>>);

impl Crate {
    /// All below a source folder; its root files, `lib.rs` and `main.rs`, name everything and do not count.
    pub fn read(folder: &Path) -> Self {
        let mut files = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|ext| ext == "rs") {
                    let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                    files.push((name, fs::read_to_string(&path).unwrap()));
                }
            }
        }
        assert!(files.len() > 20, "the sources are somewhere else than {}", folder.display());
        // A file of tests alone is declared behind #[cfg(test)].
        Self::of(files.into_iter().filter(|(name, _)| !["lib.rs", "main.rs"].contains(&name.as_str()) && !name.ends_with("/tests.rs")))
    }

    /// These files.
    pub fn of(files: impl Iterator<Item = (String, String)>) -> Self {
        let module = |file: &str| {
            let path = file.trim_end_matches(".rs");
            path.strip_suffix("/mod").unwrap_or(path).replace('/', "::")
        };
        Self(
            files
                .map(|(file, text)| {
                    let (name, is_folder) = (module(&file), file.ends_with("/mod.rs"));
                    let parent = if is_folder { name.clone() } else { above(&name).to_owned() };
                    let named = named(&text).into_iter().map(|path| absolute(&path, &parent)).collect();
                    (name, named)
                })
                .collect(),
        )
    }

    /// The module that a path leads into.
    fn module_of<'a>(&'a self, path: &'a str) -> Option<&'a str> {
        let mut path = path;
        while !path.is_empty() {
            if let Some((name, _)) = self.0.get_key_value(path) {
                return Some(name);
            }
            path = above(path);
        }
        None
    }
}

/// Imports that do not point down, and modules of no layer.
pub fn upward(code: &Crate, layers: &[&str]) -> Vec<String> {
    let rooms: BTreeMap<&str, usize> = layers.iter().enumerate().flat_map(|(n, line)| line.split(' ').map(move |room| (room, n))).collect();
    let room_of = |path: &str| {
        let mut path = path;
        loop {
            match rooms.get_key_value(path) {
                Some((room, layer)) => return Some((*room, *layer)),
                None if path.is_empty() => return None,
                None => path = above(path),
            }
        }
    };
    let mut wrong = Vec::new();
    for (module, named) in &code.0 {
        // A folder of rooms, such as `core`, only declares them.
        if rooms.keys().any(|room| room.strip_prefix(module.as_str()).is_some_and(|rest| rest.starts_with("::"))) {
            continue;
        }
        let Some((room, layer)) = room_of(module) else {
            wrong.push(format!("{module} is in no layer"));
            continue;
        };
        for path in named {
            match room_of(path) {
                Some((other, there)) if other != room && there >= layer => wrong.push(format!("{module} imports {path}")),
                _ => {}
            }
        }
    }
    wrong
}

/// Circles of files within a folder, each by one of its files. What stands in the folder's `mod.rs` is common to its files.
pub fn circles(code: &Crate) -> Vec<String> {
    let next = |module: &str| -> BTreeSet<String> {
        let folder = above(module);
        let named = code.0.get(module).into_iter().flatten();
        let modules = named.filter_map(|path| code.module_of(path));
        modules.filter(|other| *other != module && above(other) == folder && *other != folder).map(str::to_owned).collect()
    };
    let reaches_itself = |module: &String| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![module.clone()]);
        while let Some(one) = open.pop() {
            for other in next(&one) {
                if other == *module {
                    return true;
                }
                if seen.insert(other.clone()) {
                    open.push(other);
                }
            }
        }
        false
    };
    let mut found: Vec<String> = Vec::new();
    for module in code.0.keys().filter(|module| module.contains("::") && reaches_itself(module)) {
        if !found.iter().any(|one| above(one) == above(module)) {
            found.push(module.clone());
        }
    }
    found
}

fn above(path: &str) -> &str {
    path.rsplit_once("::").map_or("", |(above, _)| above)
}

/// `path`, as seen from a module in `parent`, from the crate's root.
fn absolute(path: &str, parent: &str) -> String {
    let mut parent = parent;
    let mut rest = path;
    if let Some(path) = rest.strip_prefix("crate::") {
        return path.to_owned();
    }
    // The first `super` of a file is the folder it stands in.
    rest = rest.strip_prefix("super::").unwrap_or(rest);
    while let Some(path) = rest.strip_prefix("super::") {
        (rest, parent) = (path, above(parent));
    }
    if parent.is_empty() { rest.to_owned() } else { format!("{parent}::{rest}") }
}

/// The code without its unit tests: modules behind `#[cfg(test)]`, up to the brace that closes them.
fn without_tests(text: &str) -> String {
    let mut parts = text.split("#[cfg(test)]\nmod ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |code, part| code + part.split_once("\n}\n").map_or("", |(_, after)| after))
}

/// Every path that begins with `crate` or `super`, groups in braces spelled out.
fn named(text: &str) -> Vec<String> {
    let code = without_tests(text);
    let code: Vec<&str> = code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let code = code.join("\n");
    let mut found = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            if before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':') {
                spell_out(&code[at..], "", &mut found);
            }
        }
    }
    found
}

/// Reads one path at the beginning of `text`; returns how long it is.
fn spell_out(text: &str, prefix: &str, found: &mut Vec<String>) -> usize {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(text.len());
    let path = format!("{prefix}{}", &text[..end]);
    if !text[end..].starts_with('{') || !path.ends_with("::") {
        found.push(path.trim_end_matches("::").to_owned());
        return end;
    }
    let mut at = end + 1;
    while at < text.len() && !text[at..].starts_with('}') {
        if text[at..].starts_with(|c: char| c.is_alphanumeric() || c == '_') {
            at += spell_out(&text[at..], &path, found);
        } else {
            at += 1;
        }
    }
    at + 1
}
