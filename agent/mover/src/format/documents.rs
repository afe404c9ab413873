//! The two small control documents of a remote path, commit and claim, sealed with a checksum of their own.
//!
//! Described in `docs/remote-format.md`.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::error::Result;
use crate::format::manifest::{FORMAT, check_format};
use crate::report::Synced;

/// Whose path it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Of the source object.
    pub namespace: String,
    /// Of the source object.
    pub name: String,
    /// Tells an object from a namesake made after it was deleted.
    #[serde(rename = "objectUID")]
    pub uid: String,
}

/// Names the manifest and pins its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRef {
    /// Compressed size in bytes.
    pub size: u64,
    /// Of the compressed bytes.
    pub sha256: String,
}

/// What is committed: written last, read first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Commit {
    /// Layout version.
    pub format: u32,
    /// This revision.
    pub revision: String,
    /// The revision it followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// When the source volume was captured.
    pub data_time: Timestamp,
    /// The latest capture that is known to have had this content: a push that finds nothing new moves it on, so that readers can tell a
    /// source that is dead from one that has not changed. Absent where an older program wrote the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_time: Option<Timestamp>,
    /// The capture that the manifest's hints were last held against: hints of what changed within 120 s before it vouch for nothing.
    pub hints_time: Timestamp,
    /// Of the files that come due to be read again whatever their hints say, those that were due up to then have been read. Absent where
    /// an older program wrote the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehashed_time: Option<Timestamp>,
    /// When every object was last seen to be in place: by writing all of them, or by a listing.
    pub verified_time: Timestamp,
    /// The latest time of an object in the listing of that verification, by the remote's clock. Absent where nothing was compared with a
    /// listing, where the remote shows files' own times, and in commits of older programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_listed: Option<Timestamp>,
    /// Whose it is.
    pub owner: Owner,
    /// The sha256 of the patterns by which the source left something out, see [`crate::volume::exclude`]. Absent where it had none, and
    /// where an older program wrote the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude: Option<String>,
    /// The list of entries.
    pub manifest: ManifestRef,
    /// Regular files.
    pub files: u64,
    /// Entries of every type but the root. Absent where an older program wrote the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// Their total size.
    pub bytes: u64,
    /// Whether entries marked as staged still lie in the staged folder.
    pub staged: bool,
}

/// A push is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// Layout version.
    pub format: u32,
    /// The revision being written.
    pub revision: String,
    /// Who writes it.
    pub owner: Owner,
    /// When it began.
    pub since: Timestamp,
    /// Whether the user lets that push replace everything that it found, including files of other owners.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopts: bool,
    /// Of layout Packs: a push of layout Files was killed before this one, and what it has sent may be there still. No other document says so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub files_left: bool,
}

/// What was found where a control document belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control<T> {
    /// No such object.
    Absent,
    /// An object that is not, or no longer, such a document; with what is wrong.
    Corrupt(String),
    /// The document.
    Present(T),
}

impl<T> Control<T> {
    /// The document, if it is there whole.
    pub fn present(&self) -> Option<&T> {
        match self {
            Self::Present(document) => Some(document),
            _ => None,
        }
    }
}

/// Serializes a document and adds the checksum of all before it as its last member.
pub fn seal<T: Serialize>(document: &T) -> Result<Vec<u8>> {
    let text = serde_json::to_string_pretty(document)
        .map_err(|e| crate::error::Failure::new(crate::report::Reason::MoverFailed, e.to_string()))?;
    let body = text.strip_suffix("\n}").unwrap_or(&text).to_owned() + ",\n";
    let sum = Digest(Sha256::digest(body.as_bytes()).into()).hex();
    Ok(format!("{body}  \"sha256\": \"{sum}\"\n}}\n").into_bytes())
}

/// Checks and reads a document; `Err` only for one of a newer format.
pub fn unseal<T: DeserializeOwned>(bytes: &[u8]) -> Result<Control<T>> {
    let (format, text) = match sealed(bytes) {
        Ok(sealed) => sealed,
        Err(what) => return Ok(Control::Corrupt(what)),
    };
    check_format(format)?;
    match serde_json::from_str(text) {
        Ok(document) => Ok(Control::Present(document)),
        Err(error) => Ok(Control::Corrupt(error.to_string())),
    }
}

/// Checks the seal of a document, and gives its format and its text; or what is wrong with it.
pub fn sealed(bytes: &[u8]) -> std::result::Result<(u32, &str), String> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "not text")?;
    let (body, seal) = text.rfind("  \"sha256\": ").and_then(|at| text.split_at_checked(at)).ok_or("truncated: its checksum is missing")?;
    let sum = Digest(Sha256::digest(body.as_bytes()).into()).hex();
    if seal.trim_end() != format!("  \"sha256\": \"{sum}\"\n}}") {
        return Err("its checksum does not fit".into());
    }
    let version: Version = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok((version.format, text))
}

impl Commit {
    /// The latest capture that is known to have had this content.
    pub fn last_checked(&self) -> Timestamp {
        self.checked_time.unwrap_or(self.data_time)
    }
}

/// The result of a sync that ends with this commit, so far.
impl From<&Commit> for Synced {
    fn from(commit: &Commit) -> Self {
        let checked_time = Some(commit.last_checked());
        let (revision, data_time) = (commit.revision.clone(), commit.data_time);
        Self { revision, data_time, checked_time, files: commit.files, bytes: commit.bytes, ..Self::default() }
    }
}

impl Claim {
    /// A claim on the revision that is about to be pushed.
    pub fn new(revision: &str, owner: Owner, since: Timestamp) -> Self {
        Self { format: FORMAT, revision: revision.to_owned(), owner, since, adopts: false, files_left: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> Claim {
        let owner = Owner { namespace: "n".into(), name: "a \"sha256\": b".into(), uid: "u".into() };
        Claim::new("r", owner, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_sealed_document_is_json_and_comes_back() {
        let bytes = seal(&claim()).unwrap();
        assert!(serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()["sha256"].is_string());
        assert_eq!(unseal::<Claim>(&bytes).unwrap(), Control::Present(claim()));
    }

    #[test]
    fn a_changed_or_cut_document_is_corrupt_and_never_absent() {
        let bytes = seal(&claim()).unwrap();
        for cut in 0..bytes.len() - 1 {
            assert!(matches!(unseal::<Claim>(&bytes[..cut]).unwrap(), Control::Corrupt(_)), "cut at {cut}");
            let mut flipped = bytes.clone();
            flipped[cut] ^= 1;
            assert!(matches!(unseal::<Claim>(&flipped).unwrap(), Control::Corrupt(_)), "flipped at {cut}");
        }
    }

    #[test]
    fn a_commit_of_an_older_program_is_read() {
        let older = r#"{"format": 1, "revision": "r", "dataTime": "2026-11-23T04:28:51Z", "hintsTime": "2026-11-23T04:28:51Z",
            "verifiedTime": "2026-11-23T00:00:03Z", "owner": {"namespace": "n", "name": "a", "objectUID": "u"},
            "manifest": {"size": 1, "sha256": "x"}, "files": 1, "bytes": 1, "staged": false}"#;
        let older: serde_json::Value = serde_json::from_str(older).unwrap();
        let Control::Present(commit) = unseal::<Commit>(&seal(&older).unwrap()).unwrap() else { panic!() };
        assert_eq!((commit.rehashed_time, commit.verified_time.to_string()), (None, "2026-11-23T00:00:03Z".into()));
        assert_eq!((commit.checked_time, commit.last_checked().to_string()), (None, "2026-11-23T04:28:51Z".into()));
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        let bytes = seal(&Claim { format: 2, ..claim() }).unwrap();
        assert!(unseal::<Claim>(&bytes).unwrap_err().message.contains("format 2"));
    }
}
