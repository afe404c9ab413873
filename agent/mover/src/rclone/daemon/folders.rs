//! Folders: listed, made, removed. And what rclone knows without asking a server.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Daemon;
use super::error::{CallError, Kind, Sides};
use super::place::Fs;
use crate::rclone::process::{BULK_IDLE, CONTROL_IDLE};
use crate::store::Class;

const LIST: &str = "operations/list";

/// What a listing shows beside names and sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// What lies in folders of the folder.
    pub recursive: bool,
    /// When each was written: on S3 the time of the upload, because any other costs a request for each.
    pub times: bool,
    /// MD5 sums, where the backend knows them.
    pub md5: bool,
}

/// One object or folder of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Item {
    /// Name below the folder.
    pub path: String,
    /// In bytes; negative where it is unknown.
    pub size: i64,
    /// As the backend gives it; empty if not asked for.
    #[serde(default)]
    pub mod_time: String,
    /// A folder.
    #[serde(default)]
    pub is_dir: bool,
    /// In hexadecimal, by kind.
    #[serde(default)]
    pub hashes: HashMap<String, String>,
}

#[derive(Deserialize)]
struct Listed {
    list: Vec<Item>,
}

/// What rclone says of a backend.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct About {
    /// Whether it has each of rclone's features.
    pub features: HashMap<String, bool>,
    /// Of the times that it keeps, in nanoseconds; a hundred years where it keeps none.
    pub precision: u64,
}

/// The whole configuration as rclone reads it, secrets included: not to be shown.
pub struct ConfigDump(pub HashMap<String, HashMap<String, String>>);

impl fmt::Debug for ConfigDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConfigDump").field(&self.0.keys()).finish()
    }
}

impl Daemon {
    /// What lies in a folder; nothing when the folder, or even the bucket, is said not to exist. For a few thousand objects: rclone builds
    /// all of it up in memory, see [`super`].
    pub fn list(&self, fs: &Fs, what: Listing) -> Result<Option<Vec<Item>>, CallError> {
        let params = json!({
            "fs": fs.listed(), "remote": "",
            "opt": {
                "recurse": what.recursive, "noModTime": !what.times, "noMimeType": true,
                "showHash": what.md5, "hashTypes": if what.md5 { vec!["md5"] } else { vec![] },
            },
            "_config": { "UseListR": true },
        });
        match self.call_for(LIST, params.clone(), BULK_IDLE) {
            Ok((answer, _)) => read::<Listed>(LIST, &params, answer).map(|listed| Some(listed.list)),
            Err(error) if error.is_missing_folder() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the folder, or the bucket.
    pub fn mkdir(&self, fs: &Fs) -> Result<(), CallError> {
        self.call("operations/mkdir", json!({ "fs": fs.plain(), "remote": "" })).map(drop)
    }

    /// Removes the folder with all that are in it, as far as they are empty; itself only if `root`. One that does not
    /// exist is no failure.
    pub fn rmdirs(&self, fs: &Fs, root: bool) -> Result<(), CallError> {
        let params = json!({ "fs": fs.plain(), "remote": "", "leaveRoot": !root });
        match self.call_for("operations/rmdirs", params, BULK_IDLE) {
            Ok(_) => Ok(()),
            // Backends word it differently; a listing does not.
            Err(error) if matches!(error.kind, Kind::Answered(_)) && self.list(fs, Listing::default())?.is_none() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What the backend can do. Asks no server, or only to sign in.
    pub fn features(&self, fs: &Fs) -> Result<About, CallError> {
        let (method, params) = ("operations/fsinfo", json!({ "fs": fs.plain() }));
        let (answer, _) = self.call_for(method, params.clone(), CONTROL_IDLE)?;
        read(method, &params, answer)
    }

    /// The configuration.
    pub fn config_dump(&self) -> Result<ConfigDump, CallError> {
        let (method, params) = ("config/dump", json!({}));
        read(method, &params, self.call(method, params.clone())?).map(ConfigDump)
    }

    /// Drops what rclone remembers of backends: for a path that others may have changed.
    pub fn forget(&self) -> Result<(), CallError> {
        self.call("fscache/clear", json!({})).map(drop)
    }
}

fn read<T: for<'a> Deserialize<'a>>(method: &str, params: &Value, answer: Value) -> Result<T, CallError> {
    // The error could show what it was about.
    let garbled = |_| CallError::new(method, Sides::of(params), Kind::Garbled, Class::Other, "an answer that is not understood");
    serde_json::from_value(answer).map_err(garbled)
}
