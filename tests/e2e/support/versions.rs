//! A volume whose every file says which version of the data it is of: a copy that is a mixture of two is seen at once.

use super::host::Process;
use super::volume::Hand;
use std::collections::BTreeSet;
use std::fs;

/// Files that every version replaces. One more has a name that only its version has.
const FILES: usize = 40;

impl Hand<'_> {
    /// Writes a version over the one before.
    pub fn write_version(&self, version: usize) {
        self.run(&format!(
            "rm -f only-*; echo {version} >only-{version}
             for i in $(seq {FILES}); do {{ echo {version}; head -c 3000 /dev/urandom; }} >file-$i; done"
        ));
    }

    /// The version that the volume holds. Panics, with `what` it is, unless it holds one, and all of it.
    #[track_caller]
    pub fn version(&self, what: &str) -> usize {
        let counted = self.run("for file in file-* only-*; do head -n 1 \"$file\"; done | sort | uniq -c; ls -d only-*");
        let version = counted.split_whitespace().nth(1).unwrap_or_default();
        let whole = format!("{} {version} only-{version}", FILES + 1);
        let found = counted.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(found, whole, "{what} does not hold exactly one version");
        version.parse().unwrap()
    }
}

impl Process {
    /// The same of a folder that the process sees, at once and without it: a file `large` counts too, each of whose lines has the version.
    /// In words where it is none or a mixture.
    pub fn version_in(self, folder: &str) -> Result<usize, String> {
        let entries = fs::read_dir(self.path(folder)).map_err(|e| e.to_string())?;
        let (mut files, mut names, mut versions) = (0, Vec::new(), BTreeSet::new());
        for entry in entries {
            let entry = entry.map_err(|e| e.to_string())?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let content = || fs::read(entry.path()).map_err(|e| format!("{name}: {e}"));
            let line = |line: &[u8]| String::from_utf8_lossy(line).trim_start_matches('0').to_owned();
            if name == "large" {
                let content = content()?;
                let mut lines: Vec<_> = content.split(|byte| *byte == b'\n').filter(|of| !of.is_empty()).collect();
                lines.dedup();
                versions.extend(lines.into_iter().map(line));
            } else if name.starts_with("file-") || name.starts_with("only-") {
                files += 1;
                versions.extend(content()?.split(|byte| *byte == b'\n').next().map(line));
                names.extend(name.strip_prefix("only-").map(str::to_owned));
            }
        }
        match (files == FILES + 1, names.as_slice(), Vec::from_iter(&versions).as_slice()) {
            (true, [name], [version]) if name == *version => name.parse().map_err(|e| format!("{name}: {e}")),
            _ => Err(format!("a mixture: {files} files, {names:?}, {versions:?}")),
        }
    }
}
