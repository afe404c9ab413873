//! The commit of layout Packs: as that of layout Files, sealed the same way, and the only object beside the claim that is ever replaced.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Failure, Result};
use crate::format::documents::{self, Claim, Control, ManifestRef, Owner};
use crate::format::manifest;
use crate::packs::limits::{FORMAT, MANIFEST};
use crate::report::{Reason, Synced};

/// What commit and manifest both say, so that a commit can be made of its manifest. What moves on without a new revision is later in the
/// commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// This revision.
    pub revision: String,
    /// The revision it followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Reserved: counts how often all that was committed before was declared void.
    #[serde(default)]
    pub epoch: u64,
    /// When the source volume was captured.
    pub data_time: Timestamp,
    /// The latest capture that is known to have had this content.
    pub checked_time: Timestamp,
    /// The capture that the hints were last held against.
    pub hints_time: Timestamp,
    /// Of the files that come due to be read again whatever their hints say, those that were due up to then have been read.
    pub rehashed_time: Timestamp,
    /// When every pack was last seen to be in place.
    pub verified_time: Timestamp,
    /// When a verification looked at the path, by the remote's clock: at the last one, or, if that was within a week of it, at the one before. What
    /// is older, and in no manifest, has been of no use to any revision since. Absent where the remote shows no such times, and where a push has
    /// lost track of what is dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_listed: Option<Timestamp>,
    /// Whose it is.
    pub owner: Owner,
    /// The sha256 of the patterns by which the source left something out; absent where it had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude: Option<String>,
    /// Regular files: each name of a hard-linked one counts.
    pub files: u64,
    /// Entries of every type but the root.
    pub entries: u64,
    /// The total size of the files.
    pub bytes: u64,
    /// The revision of the other layout that was here before, as long as objects of it may be left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<Former>,
}

/// A revision of the other layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// Of that layout.
    pub format: u32,
    /// Its name.
    pub revision: String,
    /// The manifest that names its objects.
    pub manifest: ManifestRef,
}

/// What is committed: written last, read first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Layout version.
    pub format: u32,
    /// What the manifest says, too.
    #[serde(flatten)]
    pub statement: Statement,
    /// The manifest.
    pub manifest: ManifestRef,
    /// Reserved: a signature over the manifest's hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// The commit of a path, of either layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum AnyCommit {
    /// Format 1.
    Files(Box<documents::Commit>),
    /// Format 2.
    Packs(Box<Commit>),
}

/// What the commits of both layouts say.
pub trait Committing: Serialize {
    /// The revision.
    fn revision(&self) -> &str;

    /// Whose it is.
    fn owner(&self) -> &Owner;
}

impl Committing for documents::Commit {
    fn revision(&self) -> &str {
        &self.revision
    }

    fn owner(&self) -> &Owner {
        &self.owner
    }
}

impl Committing for Commit {
    fn revision(&self) -> &str {
        &self.statement.revision
    }

    fn owner(&self) -> &Owner {
        &self.statement.owner
    }
}

impl Committing for AnyCommit {
    fn revision(&self) -> &str {
        match self {
            Self::Files(commit) => commit.revision(),
            Self::Packs(commit) => commit.revision(),
        }
    }

    fn owner(&self) -> &Owner {
        match self {
            Self::Files(commit) => commit.owner(),
            Self::Packs(commit) => commit.owner(),
        }
    }
}

impl From<&AnyCommit> for Synced {
    fn from(commit: &AnyCommit) -> Self {
        match commit {
            AnyCommit::Files(commit) => Self::from(&**commit),
            AnyCommit::Packs(commit) => Self::from(&**commit),
        }
    }
}

/// The result of a sync that ends with this commit, so far.
impl From<&Commit> for Synced {
    fn from(commit: &Commit) -> Self {
        let Statement { revision, data_time, checked_time, files, bytes, .. } = &commit.statement;
        Self {
            revision: revision.clone(),
            data_time: *data_time,
            checked_time: Some(*checked_time),
            files: *files,
            bytes: *bytes,
            ..Self::default()
        }
    }
}

impl Commit {
    /// The commit of a manifest.
    pub fn new(statement: Statement, manifest: ManifestRef) -> Self {
        Self { format: FORMAT, statement, manifest, signature: None }
    }
}

/// Checks and reads a commit of either layout; `Err` only for one of a newer format.
pub fn read(bytes: &[u8]) -> Result<Control<AnyCommit>> {
    let commit = unsealed(bytes, |format, text| {
        if format == FORMAT {
            return serde_json::from_str(text).map(|commit| AnyCommit::Packs(Box::new(commit)));
        }
        serde_json::from_str(text).map(|commit| AnyCommit::Files(Box::new(commit)))
    })?;
    match commit {
        Control::Present(AnyCommit::Packs(commit)) if commit.manifest.size > MANIFEST => {
            Ok(Control::Corrupt(format!("its manifest has {} bytes, more than any", commit.manifest.size)))
        }
        commit => Ok(commit),
    }
}

/// Checks and reads a claim of either layout, which says the same in both; `Err` only for one of a newer format.
pub fn read_claim(bytes: &[u8]) -> Result<Control<Claim>> {
    unsealed(bytes, |_, text| serde_json::from_str(text))
}

fn unsealed<T>(bytes: &[u8], read: impl Fn(u32, &str) -> serde_json::Result<T>) -> Result<Control<T>> {
    let (format, text) = match documents::sealed(bytes) {
        Ok(sealed) => sealed,
        Err(what) => return Ok(Control::Corrupt(what)),
    };
    if ![manifest::FORMAT, FORMAT].contains(&format) {
        return Err(unsupported(format));
    }
    Ok(read(format, text).map_or_else(|error| Control::Corrupt(error.to_string()), Control::Present))
}

/// Refuses a remote written by a newer program, rather than guess.
pub(super) fn unsupported(format: u32) -> Failure {
    let what = format!(
        "the remote path is in format {format}, this program supports formats {} and {FORMAT}: use the version that wrote it, or a newer one",
        manifest::FORMAT
    );
    Failure::new(Reason::MoverFailed, what)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::format::documents::{seal, unseal};

    pub(in crate::packs) fn statement(revision: &str) -> Statement {
        let time = |text: &str| -> Timestamp { text.parse().unwrap() };
        Statement {
            revision: revision.into(),
            parent: Some("20261123T032858Z-1c9a77e0-16-0a91".into()),
            epoch: 0,
            data_time: time("2026-11-23T04:28:51Z"),
            checked_time: time("2026-11-23T09:28:51Z"),
            hints_time: time("2026-11-23T04:28:51Z"),
            rehashed_time: time("2026-11-22T22:28:51Z"),
            verified_time: time("2026-11-23T00:00:03Z"),
            latest_listed: Some(time("2026-11-22T23:29:40Z")),
            owner: Owner { namespace: "shop".into(), name: "database-source".into(), uid: "6f1f".into() },
            exclude: None,
            files: 1,
            entries: 1,
            bytes: 2,
            former: None,
        }
    }

    fn commit() -> Commit {
        let former = Former { format: 1, revision: "r".into(), manifest: ManifestRef { size: 7, sha256: "x".into() } };
        let statement = Statement { former: Some(former), ..statement("20261123T042858Z-1c9a77e0-17-5f2e") };
        Commit::new(statement, ManifestRef { size: 9, sha256: "y".into() })
    }

    #[test]
    fn a_commit_of_either_layout_is_read() {
        assert_eq!(read(&seal(&commit()).unwrap()).unwrap(), Control::Present(AnyCommit::Packs(Box::new(commit()))));
        let mut files: serde_json::Value = serde_json::to_value(commit()).unwrap();
        files["format"] = 1.into();
        files["staged"] = false.into();
        let bytes = seal(&files).unwrap();
        let Control::Present(AnyCommit::Files(read)) = read(&bytes).unwrap() else { panic!() };
        assert_eq!(Control::Present(*read), unseal::<documents::Commit>(&bytes).unwrap());
    }

    #[test]
    fn a_claim_of_either_layout_is_read() {
        let claim = Claim::new("r", commit().statement.owner, Timestamp::UNIX_EPOCH);
        for format in [1, 2] {
            let claim = Claim { format, ..claim.clone() };
            assert_eq!(read_claim(&seal(&claim).unwrap()).unwrap(), Control::Present(claim));
        }
        assert!(read_claim(&seal(&Claim { format: 3, ..claim }).unwrap()).is_err());
    }

    /// What a mover before this layout says: its reader is `unseal`.
    #[test]
    fn an_older_mover_refuses_it_in_words() {
        let claim = Claim { format: 2, ..Claim::new("r", commit().statement.owner, Timestamp::UNIX_EPOCH) };
        let commit = unseal::<documents::Commit>(&seal(&commit()).unwrap()).map(drop);
        for refused in [commit, unseal::<Claim>(&seal(&claim).unwrap()).map(drop)] {
            let failure = refused.unwrap_err();
            assert_eq!(failure.reason, Reason::MoverFailed);
            assert_eq!(
                failure.message,
                "the remote path is in format 2, this program supports format 1: use the version that wrote it, or a newer one"
            );
        }
    }

    #[test]
    fn a_newer_format_is_refused_and_damage_is_no_format() {
        let newer = Commit { format: 3, ..commit() };
        let failure = read(&seal(&newer).unwrap()).unwrap_err();
        assert!(failure.message.contains("format 3, this program supports formats 1 and 2"), "{failure}");
        let bytes = seal(&commit()).unwrap();
        for at in 0..bytes.len() - 1 {
            assert!(matches!(read(&bytes[..at]).unwrap(), Control::Corrupt(_)), "cut at {at}");
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(matches!(read(&flipped).unwrap(), Control::Corrupt(_)), "flipped at {at}");
        }
        assert!(matches!(read(&seal(&serde_json::json!({"format": 2})).unwrap()).unwrap(), Control::Corrupt(_)));
        let mut large = commit();
        large.manifest.size = u64::MAX;
        assert!(matches!(read(&seal(&large).unwrap()).unwrap(), Control::Corrupt(_)));
    }
}
