//! Whether a file has to be read to know its content.

use crate::volume::entry::Entry;
use crate::volume::walk::{Found, FoundKind};

/// What is known of a file's content on the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// It is the committed one.
    Right,
    /// Only its hash shows.
    Unsure,
    /// It is another one, or none.
    Wrong,
}

/// How the content of an entry compares with what was found on the volume, `there`.
///
/// `included` says whether a revision that the volume is known to hold has this content already: then it needs no reading.
pub(super) fn compare(entry: &Entry, there: Option<&Found>, included: Option<bool>) -> Content {
    match (entry.file(), there.map(|there| (&there.kind, &there.meta))) {
        (None, _) => Content::Right,
        (Some(file), Some((FoundKind::File(size), meta))) if *size == file.size => {
            match (included, meta.mtime == entry.meta.mtime) {
                _ if file.size == 0 => Content::Right,
                (Some(true), true) => Content::Right,
                // Newer content nearly always has a newer time: fetch without reading.
                (Some(false), false) => Content::Wrong,
                _ => Content::Unsure,
            }
        }
        (Some(_), _) => Content::Wrong,
    }
}
