//! That no module of the mover follows a path of a volume by itself.

use std::fs;
use std::path::Path;

/// The folders that deal with a volume.
const ROOMS: [&str; 3] = ["volume", "pull", "push"];
/// The module that follows its names.
const BENEATH: &str = "volume/beneath/";
/// What opens, looks at or changes something by a path.
const BY_PATH: [&str; 19] = [
    "fs::read",
    "fs::write",
    "fs::copy",
    "fs::rename",
    "fs::remove",
    "fs::create",
    "fs::hard_link",
    "fs::metadata",
    "fs::symlink",
    "fs::set_permissions",
    "OpenOptions",
    "DirBuilder",
    "File::open",
    "File::create",
    "CWD",
    "WalkDir",
    ".symlink_metadata()",
    ".exists()",
    ".is_file()",
];
/// Files of the temporary directory, which is ours alone, and of the image.
const SCRATCH: [(&str, &str); 3] = [
    ("push/old_trees.rs", "if !file.exists() {"),
    ("pull/plain/mod.rs", "std::fs::read(dir.join(name))"),
    ("pull/plain/mod.rs", "std::fs::read_to_string(path)"),
];

/// Lines of the mover's code that do.
pub fn followed(source: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders: Vec<_> = ROOMS.iter().map(|room| source.join(room)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(source).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if !name.starts_with(BENEATH) && !name.ends_with("tests.rs") {
                found.extend(in_file(&name, &fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

fn in_file(name: &str, text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().map(|line| line.split("//").next().unwrap_or_default());
    let allowed = |line: &str| SCRATCH.iter().any(|(file, call)| *file == name && line.contains(call));
    let by_path = lines.filter(|line| BY_PATH.iter().any(|call| line.contains(call)) && !allowed(line));
    by_path.map(|line| format!("{name}: {}", line.trim())).collect()
}

#[test]
fn a_call_by_a_path_is_found() {
    assert_eq!(in_file("pull/apply.rs", "use std::fs::File;\nlet x = fs::rename(a, b);\n// fs::read\n").len(), 1);
    assert_eq!(in_file("push/commit.rs", "let x = root.join(name).symlink_metadata();\n#[cfg(test)]\nfs::read").len(), 1);
    assert_eq!(in_file("push/commit.rs", "fs::File::open(file).map_err(|e| Failure::scratch(&e))?").len(), 1, "scratch::open does that");
    assert_eq!(in_file("push/old_trees.rs", "if !file.exists() {").len(), 0);
}
