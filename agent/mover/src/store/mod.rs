//! What a push or pull asks of a remote: a few verbs on objects by name, and one kind of error.
//!
//! Behind it are rclone, and in the simulation an object store in memory that lies. What the names mean, and what is concluded from an
//! answer, is [`crate::remote`]'s; here an answer is only passed on.

mod context;
mod error;
pub mod progress;
pub mod stats;

use std::fmt::Debug;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::digest::Digest;

pub use context::Context;
pub use error::{Class, StoreError};

/// The result of every verb.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Names below a folder, as many as the mover keeps in memory at a time.
pub type Names<'a> = [&'a [u8]];

/// Names as the verbs take them.
pub fn slices<N: AsRef<[u8]>>(names: &[N]) -> Vec<&[u8]> {
    names.iter().map(AsRef::as_ref).collect()
}

/// A folder of the remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// Below the replication's path: empty, or with a slash at its end.
    Path(&'a str),
    /// Below the root of the section, where others' paths are, too.
    Section(&'a str),
}

/// What a listing is to show beside names and sizes.
#[allow(clippy::struct_excessive_bools, reason = "each stands for itself")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// What lies in folders of the place, too.
    pub recursive: bool,
    /// Folders as well as objects.
    pub folders: bool,
    /// When each was written, or the file's own time where the backend keeps that.
    pub times: bool,
    /// MD5 sums, where the backend knows them.
    pub sums: bool,
    /// A name that the backend cannot read, because it is encrypted with something else, is an error, and not left out.
    pub strict: bool,
    /// There are few enough of them, as far as is known, that they may be shown all at once: some ten thousand.
    pub few: bool,
}

/// One object or folder of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Below the place that is listed.
    pub name: String,
    /// In bytes; unknown where the backend does not tell.
    pub size: Option<u64>,
    /// As the backend gives it; empty unless asked for.
    pub time: String,
    /// In hexadecimal.
    pub md5: Option<String>,
    /// A folder: possibly one that exists only in the names of objects.
    pub is_folder: bool,
}

/// Bytes of a document: a commit or a claim has less than two thousand.
pub const DOCUMENT: u64 = 64 << 10;

/// What is fetched, and so how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// A few small control objects.
    Documents,
    /// Files, or manifests, that the caller verifies: one request each, because their size is unknown until they are there.
    Content,
    /// The same, of files so large that several streams pay: their size is asked for first.
    Large,
    /// Files that the backend is to verify, with their times.
    Checked,
}

/// A file that is sent: open, because its path may lead elsewhere by the time that it is read.
#[derive(Debug)]
pub struct Upload<'a> {
    /// Below the folder that it is sent to.
    pub name: &'a [u8],
    /// Its content, and the time that it is said to be of.
    pub file: File,
}

/// What was sent of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// In bytes.
    pub size: u64,
    /// Its sha256.
    pub sha256: Digest,
    /// Its MD5 sum, in hexadecimal.
    pub md5: String,
}

/// What is sent, and so how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// Content.
    Content,
    /// Control objects. What the backend finds when it looks at one afterwards is a reason to remove it again where `checked`.
    Document {
        /// Whether it may be.
        checked: bool,
    },
}

/// What has to be there for a document to take its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// No object of that name.
    Absent,
    /// One with this MD5 sum, in hexadecimal.
    Sum(String),
}

/// What became of a write under a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conditional {
    /// It is done. Not every backend heeds the condition.
    Written,
    /// The backend says that the condition does not hold. That is also the answer to a second try after the answer to the first one was lost, and on
    /// backends that have no MD5 sum for this object.
    Refused,
    /// The backend has no conditions. Nothing was written.
    Unknown,
}

/// Sums of content, in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sum {
    /// By reading the objects.
    Sha256,
    /// As the backend knows them without being read.
    Md5,
}

/// What becomes of the older object of a name by an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replacing {
    /// An upload that fails may take it along.
    pub destroys: bool,
    /// The upload goes to a name of its own, is looked at, and renamed.
    pub renames: bool,
}

/// What a backend can do.
#[allow(clippy::struct_excessive_bools, reason = "each stands for itself")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Folders exist by themselves, and so outlive the files in them.
    pub keeps_folders: bool,
    /// Names that differ in case alone are one name, as far as is known.
    pub folds_case: bool,
    /// It has MD5 sums of objects, if not of each.
    pub tells_sums: bool,
    /// It reads the objects for their sums.
    pub slow_sums: bool,
    /// It tells the sums that it noted with each object as that was sent: what has become of the content since, they do not show.
    pub noted_sums: bool,
    /// How finely it keeps a file's own time, in nanoseconds, where its listings show that one: not that of the upload.
    pub keeps_times: Option<u64>,
    /// It shows what other remotes hold.
    pub is_overlay: bool,
    /// Files from this size on, in bytes, are sent by [`Store::put_once`]; none where it has no such verb.
    pub reads_once: Option<u64>,
}

/// A remote path.
///
/// Names are below the path, bytes as on the volume. A verb on many names does what it can of them before it returns an error, and one
/// that is about names which do not exist is [`Class::NotFound`] or nothing at all: the caller verifies what it has got.
pub trait Store: Debug + Send + Sync {
    /// The type of the remote, as its configuration says; nothing where that is not known.
    fn kind(&self) -> Option<&str>;

    /// What the backend can do. Asks no server, and finds out once.
    fn features(&self) -> Result<Features>;

    /// How an upload replaces an object. Asks no server.
    fn replacing(&self) -> Result<Replacing>;

    /// Reads one object into a temporary file; `None` if it is not found. One of more than `most` bytes is [`Class::TooLarge`], and not read to
    /// its end.
    fn read(&self, name: &str, most: u64) -> Result<Option<PathBuf>>;

    /// Bytes `range` of an object: all of them, or an error that proves nothing, because not every backend reads a part, nor tells why not. Who
    /// needs to know reads the whole.
    fn range(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>>;

    /// Fetches `names` from the folder `from` into the local folder `to`. One that does not exist is left out. Documents that have more bytes
    /// together than [`DOCUMENT`] for each are [`Class::TooLarge`].
    fn fetch(&self, from: &str, to: &Path, names: &Names, how: Fetch) -> Result<()>;

    /// Sends `files` to the folder `to`, replacing what is there. An error unless all of them were sent.
    fn put(&self, files: Vec<Upload>, to: &str, how: Put) -> Result<()>;

    /// Sends one document as unchecked ones are sent by [`Self::put`], where the backend can be asked to do that only under a condition.
    fn put_if(&self, _document: Upload, _to: &str, _condition: &Condition) -> Result<Conditional> {
        Ok(Conditional::Unknown)
    }

    /// As [`Self::put`] of content, and reads each of the files once. Tells what it has sent, in their order. A file that changes meanwhile is
    /// [`Class::SourceChanging`]. Only where [`Features::reads_once`] says so.
    fn put_once(&self, files: Vec<Upload>, to: &str) -> Result<Vec<Content>>;

    /// Copies `names` from one folder of the path to another, on the server where it can. An error unless all of them were copied.
    fn copy(&self, from: &str, to: &str, names: &Names) -> Result<()>;

    /// Gives one object another name, replacing what is there.
    fn rename(&self, from: &str, to: &str) -> Result<()>;

    /// Deletes `names`. One that is gone already is no error.
    fn delete(&self, names: &Names) -> Result<()>;

    /// Shows everything in a folder. That the folder does not exist is an error for which [`StoreError::is_absence`] holds, and only if
    /// nothing was shown.
    fn list(&self, place: Place, what: List, each: &mut dyn FnMut(Listed)) -> Result<()>;

    /// Shows these objects by their names: with MD5 sums where `sums` and the backend knows them, or else with times; none of what is not there,
    /// or cannot be read.
    fn look(&self, names: &Names, sums: bool, each: &mut dyn FnMut(Listed)) -> Result<()>;

    /// Shows the sums of `names`; none of what is not there, cannot be read, or has none.
    fn sums(&self, kind: Sum, names: &Names, each: &mut dyn FnMut(&[u8], &str)) -> Result<()>;

    /// Makes the bucket or folder of the path.
    fn make(&self) -> Result<()>;

    /// Removes the empty folders in the folder `below`, and itself if it is one; of the whole path, all but the path itself.
    fn remove_empty_folders(&self, below: &str) -> Result<()>;
}
