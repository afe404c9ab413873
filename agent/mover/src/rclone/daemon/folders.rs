//! Folders: listed, made, removed. And what rclone knows without asking a server.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Daemon;
use super::error::{CallError, Kind, Sides};
use super::place::Fs;
use crate::rclone::lines::{Backend, Item};
use crate::rclone::process::{BULK_IDLE, CONTROL_IDLE};
use crate::store::{Class, List, Listed, Names};

const LIST: &str = "operations/list";

#[derive(Deserialize)]
struct Answered {
    list: Vec<Item>,
}

#[derive(Deserialize)]
struct Version {
    decomposed: Option<Vec<u64>>,
}

/// The whole configuration as rclone reads it, secrets included: not to be shown.
pub struct ConfigDump(pub BTreeMap<String, BTreeMap<String, String>>);

impl fmt::Debug for ConfigDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConfigDump").field(&self.0.keys()).finish()
    }
}

impl Daemon {
    /// What lies in a folder; nothing when the folder, or even the bucket, is said not to exist. For a few thousand objects: rclone builds
    /// all of it up in memory, see [`super`].
    pub fn list(&self, fs: &Fs, what: List) -> Result<Option<Vec<Listed>>, CallError> {
        let params = json!({
            "fs": if what.strict { fs.listed_strictly() } else { fs.listed() }, "remote": "",
            "opt": shown(what),
            "_config": { "UseListR": true },
        });
        match self.call_for(LIST, params.clone(), if what.recursive { BULK_IDLE } else { CONTROL_IDLE }) {
            Ok((answer, _)) => {
                read::<Answered>(LIST, &params, answer).map(|listed| Some(listed.list.into_iter().map(Listed::from).collect()))
            }
            // A folder within may have gone away while it was listed: that says nothing of this one.
            Err(error) if error.is_missing_folder() && what.recursive && self.list(fs, List { recursive: false, ..what })?.is_some() => {
                Err(error.of_a_part())
            }
            Err(error) if error.is_missing_folder() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// These objects of a folder, each asked for by its name: one HEAD each on S3. What is not there is left out.
    pub fn look(&self, fs: &Fs, names: &Names, sums: bool) -> Result<Vec<Listed>, CallError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let params = json!({
            // Times as listings have them, or else they could not be compared.
            "fs": if sums { fs.plain() } else { fs.listed() }, "remote": "",
            "opt": shown(List { recursive: true, times: !sums, sums, ..List::default() }),
        });
        let answer = self.filtered(LIST, params.clone(), names, json!({ "NoTraverse": true }), BULK_IDLE)?.0;
        read::<Answered>(LIST, &params, answer).map(|listed| listed.list.into_iter().map(Listed::from).collect())
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
            Err(error) if matches!(error.kind, Kind::Answered(_)) && self.list(fs, List::default())?.is_none() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What the backend can do. Asks no server, or only to sign in.
    pub fn features(&self, fs: &Fs) -> Result<Backend, CallError> {
        let (method, params) = ("operations/fsinfo", json!({ "fs": fs.plain() }));
        let (answer, _) = self.call_for(method, params.clone(), CONTROL_IDLE)?;
        read(method, &params, answer)
    }

    /// The configuration.
    pub fn config_dump(&self) -> Result<ConfigDump, CallError> {
        let (method, params) = ("config/dump", json!({}));
        read(method, &params, self.call(method, params.clone())?).map(ConfigDump)
    }

    /// Its version in numbers, where it says them.
    pub fn version(&self) -> Result<Option<Vec<u64>>, CallError> {
        let (method, params) = ("core/version", json!({}));
        read::<Version>(method, &params, self.call(method, params.clone())?).map(|version| version.decomposed)
    }

    /// Drops what rclone remembers of backends: for a path that others may have changed.
    pub fn forget(&self) -> Result<(), CallError> {
        self.call("fscache/clear", json!({})).map(drop)
    }
}

fn shown(what: List) -> Value {
    json!({
        "recurse": what.recursive, "filesOnly": !what.folders, "noModTime": !what.times, "noMimeType": true,
        "showHash": what.sums, "hashTypes": if what.sums { vec!["md5"] } else { vec![] },
    })
}

fn read<T: for<'a> Deserialize<'a>>(method: &str, params: &Value, answer: Value) -> Result<T, CallError> {
    // The error could show what it was about.
    let garbled = |_| CallError::new(method, Sides::of(params), Kind::Garbled, Class::Other, "an answer that is not understood");
    serde_json::from_value(answer).map_err(garbled)
}
