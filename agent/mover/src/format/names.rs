//! The names on the remote: where our own objects lie, and which of a volume's names can be trusted to rclone.

use unicode_normalization::is_nfc;

use crate::digest::Digest;
use crate::format::revision::Revision;
use crate::volume::path::RelPath;
use crate::volume::{LONGEST_PATH, STAGING_DIR};

/// The folder below the remote path that is ours.
pub const CONTROL_DIR: &str = ".scribe";
/// Says what is committed; written last.
pub const COMMIT: &str = "commit.json";
/// Says that a push is under way.
pub const CLAIM: &str = "claim.json";
/// Longest name handed to rclone: an S3 key is at most 1,024 bytes, and the remote path and `.scribe/staged/<revision>/` come before it.
const LONGEST: usize = 700;
/// Longest single component: file systems stop at 255, and partial uploads there have a suffix.
const LONGEST_COMPONENT: usize = 200;
/// Bytes of a path, and of one part of it, that any remote takes: twice encrypted, too.
const LONG: usize = 300;
const LONG_COMPONENT: usize = 70;
/// The manifest of a revision, below [`CONTROL_DIR`].
pub fn manifest(revision: &Revision) -> String {
    format!("manifests/{revision}.zst")
}

/// Whether an object of this name, below the remote path, is a manifest.
pub fn is_manifest(name: &[u8]) -> bool {
    below_ours(name).is_some_and(|name| name.starts_with(b"manifests/") && name.ends_with(b".zst"))
}

/// The revision whose manifest an object of this name, below the remote path, is.
pub fn revision_of_manifest(name: &[u8]) -> Option<Revision> {
    let name = std::str::from_utf8(below_ours(name)?).ok()?;
    Revision::parse(name.strip_prefix("manifests/")?.strip_suffix(".zst")?)
}

/// Whether an object of this name, below the remote path, lies in [`CONTROL_DIR`].
pub fn is_ours(name: &[u8]) -> bool {
    below_ours(name).is_some()
}

/// The name below [`CONTROL_DIR`] of an object of that folder.
pub fn below_ours(name: &[u8]) -> Option<&[u8]> {
    name.strip_prefix(CONTROL_DIR.as_bytes())?.strip_prefix(b"/")
}

/// The folder of a revision's staged files. There is none but a revision's: no value of this type means the path itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedDir(String);

impl StagedDir {
    /// That of `revision`.
    pub fn of(revision: &Revision) -> Self {
        Self(format!("{CONTROL_DIR}/staged/{revision}"))
    }

    /// The object name of a staged file, below the remote path.
    pub fn name(&self, path: &[u8]) -> Box<[u8]> {
        [self.0.as_bytes(), b"/", path].concat().into()
    }

    /// The object name of staged content that belongs into `objects/`.
    pub fn object(&self, digest: &Digest) -> Box<[u8]> {
        format!("{}.objects/{}", self.0, digest.hex()).into_bytes().into()
    }
}

/// A folder of the remote path that files are sent to, fetched from or copied between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folder<'a> {
    /// The path itself: every file under its own name.
    Live,
    /// What replaces files of the committed revision, until it is promoted.
    Staged(&'a StagedDir),
    /// Content under its hash.
    Objects,
    /// What replaces content under its hash, until it is promoted.
    StagedObjects(&'a StagedDir),
    /// Blocks, of layout Packs.
    Packs,
    /// Parts of the map, of layout Packs.
    Runs,
    /// What pushes of layout Packs that have not committed have sent.
    Checkpoints,
    /// Manifests.
    Manifests,
}

impl Folder<'_> {
    /// Its name below the remote path, with a slash at its end unless it is the path itself.
    pub fn below(self) -> String {
        match self {
            Self::Live => String::new(),
            Self::Staged(dir) => format!("{}/", dir.0),
            Self::Objects => objects_dir(),
            Self::StagedObjects(dir) => format!("{}.objects/", dir.0),
            Self::Packs => format!("{CONTROL_DIR}/packs/"),
            Self::Runs => format!("{CONTROL_DIR}/runs/"),
            Self::Checkpoints => format!("{CONTROL_DIR}/checkpoints/"),
            Self::Manifests => format!("{CONTROL_DIR}/manifests/"),
        }
    }
}

/// The folder of content kept under its hash, below the remote path.
pub fn objects_dir() -> String {
    format!("{CONTROL_DIR}/objects/")
}

/// Whether an object of this name, below the remote path, may be the content of a file that is in place.
pub fn is_content(name: &[u8]) -> bool {
    below_ours(name).is_none_or(|name| name.starts_with(b"objects/"))
}

/// The path of an entry as a manifest records it; what is wrong with one that no push records.
pub fn recorded(bytes: &[u8]) -> Result<RelPath, String> {
    let path = Some(bytes).filter(|bytes| bytes.len() <= LONGEST_PATH).and_then(RelPath::new).ok_or("an impossible path")?;
    if path.first() == STAGING_DIR.as_bytes() {
        return Err(format!("{path}: a name that pulls keep for themselves"));
    }
    Ok(path)
}

/// Whether content can lie on the remote under this very name.
///
/// Measured with rclone 1.75: a name with U+201B breaks a copy; one with U+2400–U+2426 or U+FF0F is taken for an escaped
/// control byte or slash and silently left out; lists of names end a line at LF and drop a CR before it. Anything not
/// UTF-8, and our own folder's name, cannot be trusted either. Some S3 servers have names of their own, see [`kept_by_servers`]. Such
/// content goes to `objects/`.
pub fn trusted(path: &RelPath) -> bool {
    let Ok(text) = std::str::from_utf8(path.as_bytes()) else {
        return false;
    };
    text.len() <= LONGEST
        && !is_named_like_ours(text)
        && !kept_by_servers(text)
        && !merged_by_some(text)
        && text.split('/').all(|part| part.len() <= LONGEST_COMPONENT)
        && !mangled(text)
}

/// Whether a remote may be found to refuse a name for its length that [`trusted`] lets pass: encryption makes 255 bytes of 144, and some file
/// systems take 143. How long a name may be, no backend says.
pub fn is_long(path: &RelPath) -> bool {
    path.as_bytes().len() > LONG || path.as_bytes().split(|byte| *byte == b'/').any(|part| part.len() > LONG_COMPONENT)
}

/// Whether a remote that does not distinguish case takes the first folder of this name for [`CONTROL_DIR`].
fn is_named_like_ours(name: &str) -> bool {
    let first = name.split('/').next().unwrap_or_default();
    // The upper case is what such systems compare; it also unites letters such as the long s.
    first.to_uppercase() == CONTROL_DIR.to_uppercase()
}

/// Whether a name has any character that some server might not store as it is. Those of photographs and of copies (`IMG (1).jpg`) are in no
/// list of what rclone's backends, Windows or S3 servers write in another way.
pub fn is_unusual(name: &[u8]) -> bool {
    !name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-/ (),=@'".contains(byte))
}

/// Whether a known S3 server makes another name of this one, or keeps it for itself: to SeaweedFS a backslash is a slash, so that one
/// file would take the place of another one's object; and what lies in the working folders of SeaweedFS and versitygw is stored, but never
/// listed. To rclone's `chunker`, a name like that of a chunk is one, of another file.
fn kept_by_servers(name: &str) -> bool {
    name.contains('\\')
        || name.contains(".rclone_chunk.")
        || name.split('/').any(|part| matches!(part, ".uploads" | ".sgwtmp") || part.ends_with(".versions"))
}

/// Whether some remotes take this name for another one that they would keep: of the forms that Unicode has for one text, WebDAV and SMB
/// servers on macOS keep one, and Windows cuts dots and blanks at the end. The form that most names are in is kept.
fn merged_by_some(name: &str) -> bool {
    name.split('/').any(|part| part.ends_with(['.', ' '])) || !is_nfc(name)
}

/// The text without the difference of upper and lower case: up and down again, because some letters have two forms in one case.
pub fn without_case(text: &str) -> String {
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// Whether rclone makes another name of this one on its way, or none, see [`trusted`]. Its length is another matter: what others could write
/// can be read.
pub fn mangled(name: &str) -> bool {
    name.split('/').any(|part| matches!(part, "\u{ff0e}" | "\u{ff0e}\u{ff0e}"))
        || name.chars().any(|c| c.is_control() || matches!(c, '\u{201b}' | '\u{2400}'..='\u{2426}' | '\u{ff0f}' | '\u{fffd}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_server_stores_is_usual() {
        assert!(!is_unusual(b"Some Folder/file-1_2.tar.gz"));
        assert!(!is_unusual(b"Ann's, a@b/IMG (1) n=2.jpg"));
        for name in ["\u{e9}", "a+b", "a!", "b\\c", "a?"] {
            assert!(is_unusual(name.as_bytes()), "{name}");
        }
    }

    fn trust(bytes: &[u8]) -> bool {
        trusted(&RelPath::new(bytes).unwrap())
    }

    #[test]
    fn ordinary_names_are_kept_readable() {
        for name in ["a", "a/b c.txt", "（株）/é", " lead", "a?*[x]{y}", "x.partial", "sub/.scribe/x"] {
            assert!(trust(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn names_that_servers_keep_for_themselves_go_to_objects() {
        for name in ["b\\c", "a/.uploads/x", ".sgwtmp/x", "x.versions/y"] {
            assert!(!trust(name.as_bytes()), "{name}");
        }
        assert!(trust(b"uploads/x") && trust(b"versions/x"));
    }

    #[test]
    fn of_names_that_some_remotes_merge_one_is_kept() {
        for (kept, merged) in
            [("\u{e9}", "e\u{301}"), ("\u{c5}", "\u{212b}"), ("\u{ac00}", "\u{1100}\u{1161}"), ("a/b", "a./b"), ("a", "a ")]
        {
            assert!(trust(kept.as_bytes()) && !trust(merged.as_bytes()), "{kept} {merged}");
        }
    }

    #[test]
    fn names_that_rclone_mangles_go_to_objects() {
        for name in [
            "a\u{201b}",
            "a\nb",
            "b\\c",
            "a\r",
            "\u{7f}",
            "x\u{240a}",
            "a\u{ff0f}b",
            "\u{ff0e}",
            ".scribe",
            ".scribe/commit.json",
            ".Scribe/x",
        ] {
            assert!(!trust(name.as_bytes()), "{name:?}");
        }
        assert!(!trust(b"\xff") && !trust(&[b'a'; 201]) && !trust(&b"aaaaaaaaa/".repeat(71)[..709]));
    }
}
