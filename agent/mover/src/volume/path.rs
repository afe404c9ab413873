//! Paths relative to the volume's root: any bytes a file system can hold, and the one order everything is sorted in.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A path below the volume's root, without leading or trailing slash; the root itself is empty.
///
/// Ordered as a sorted walk meets entries: a directory right before what it holds.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RelPath(Box<[u8]>);

impl RelPath {
    /// The volume's root.
    pub fn root() -> Self {
        Self(Box::default())
    }

    /// Accepts only what cannot lead out of the volume: no empty, `.` or `..` component, no NUL.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let fine = bytes.is_empty() || bytes.split(|&b| b == b'/').all(|part| !matches!(part, b"" | b"." | b"..") && !part.contains(&0));
        fine.then(|| Self(bytes.into()))
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the volume's root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directories that hold it, the nearest first and the root last.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> + use<> {
        let above = |path: &Self| path.parent().and_then(Self::new);
        std::iter::successors(above(self), move |dir| above(dir))
    }

    /// The directory that holds it; `None` for the root.
    pub fn parent(&self) -> Option<&[u8]> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|&b| b == b'/').unwrap_or(0);
        self.0.get(..end)
    }

    /// The last component.
    pub fn name(&self) -> &[u8] {
        self.0.rsplit(|&b| b == b'/').next().unwrap_or_default()
    }

    /// An entry of it, by a name that a folder lists.
    #[must_use]
    pub fn child(&self, name: impl AsRef<OsStr>) -> Self {
        let name = name.as_ref().as_bytes();
        Self(if self.is_root() { name.into() } else { [&*self.0, b"/", name].concat().into() })
    }

    /// An entry of the root, by a name of our own.
    pub fn own(name: &'static str) -> Self {
        Self::root().child(name)
    }

    /// What lies here, as `path` lies below the root.
    #[must_use]
    pub fn join(&self, path: &Self) -> Self {
        if path.is_root() { self.clone() } else { self.child(OsStr::from_bytes(&path.0)) }
    }

    /// The first component.
    pub fn first(&self) -> &[u8] {
        self.0.split(|&b| b == b'/').next().unwrap_or_default()
    }

    /// Where it is on this machine.
    pub fn under(&self, root: &Path) -> PathBuf {
        if self.is_root() { root.to_path_buf() } else { root.join(OsStr::from_bytes(&self.0)) }
    }

    /// Whether it lies strictly below `dir`.
    pub fn is_below(&self, dir: &Self) -> bool {
        dir.is_root() && !self.is_root() || self.0.strip_prefix(&*dir.0).is_some_and(|rest| rest.first() == Some(&b'/'))
    }
}

impl Ord for RelPath {
    fn cmp(&self, other: &Self) -> Ordering {
        // No name holds a NUL, so a slash taken for one sorts a directory's content right behind it.
        let key = |&b: &u8| if b == b'/' { 0 } else { b };
        self.0.iter().map(key).cmp(other.0.iter().map(key))
    }
}

impl PartialOrd for RelPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str("(the volume's root)");
        }
        // Control and foreign bytes are escaped: the text goes to logs and terminals.
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() {
                    write!(f, "{}", c.escape_default())?;
                } else {
                    write!(f, "{c}")?;
                }
            }
            for b in chunk.invalid() {
                write!(f, "\\x{b:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_directory_stands_right_before_what_it_holds() {
        let mut paths = ["a.b", "a/b", "a", "", "a/b/c", "a-b"].map(path);
        paths.sort();
        assert_eq!(paths.map(|p| String::from_utf8(p.as_bytes().to_vec()).unwrap()), ["", "a", "a/b", "a/b/c", "a-b", "a.b"]);
    }

    #[test]
    fn nothing_leads_out_of_the_volume() {
        for bad in [&b"/a"[..], b"a/", b"a//b", b"..", b"a/../b", b"./a", b"a\0b"] {
            assert_eq!(RelPath::new(bad), None);
        }
        assert!(path("a/b").is_below(&path("a")) && !path("ab").is_below(&path("a")) && path("a").is_below(&RelPath::root()));
        assert_eq!((path("a").parent(), path("a/b").parent()), (Some(&b""[..]), Some(&b"a"[..])));
    }

    #[test]
    fn odd_bytes_are_shown_escaped() {
        assert_eq!(RelPath::new(b"a\n\xff\xc3\xa9").unwrap().to_string(), "a\\n\\xff\u{e9}");
    }
}
