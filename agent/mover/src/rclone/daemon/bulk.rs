//! Many objects by their names: fetched, sent, copied, deleted.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::Daemon;
use super::error::{CallError, Kind, Sides};
use super::links::Links;
use super::objects::{limited, moved};
use super::place::{Fs, links, local, served};
use super::served::Serving;
use crate::error::Failure;
use crate::rclone::options::TIMEOUT;
use crate::rclone::process::{BULK_IDLE, CONTROL_IDLE, COPY_IDLE};
use crate::store::stats::Stats;
use crate::store::{Class, DOCUMENT, Fetch, Names};

const COPY: &str = "sync/copy";
const DELETE: &str = "operations/delete";

/// Over what is there, and without a look at it. A folder's time means nothing, and it may not exist where a file went elsewhere.
fn over() -> Value {
    json!({ "NoCheckDest": true, "NoTraverse": true, "NoUpdateDirModTime": true })
}

impl Daemon {
    /// Fetches `names` into the folder `to`, into their places: what is half fetched has no hash that fits, and a suffix could make a name
    /// too long. One that is missing is left out, or an error once all others were fetched. One GET each on S3, and a HEAD more where the
    /// size is to be known before.
    pub fn fetch(&self, from: &Fs, to: &Path, names: &Names, how: Fetch) -> Result<(), CallError> {
        let (blind, checked) = (matches!(how, Fetch::Documents | Fetch::Content), how == Fetch::Checked);
        // Unless checked, the hash is the caller's to compare: rclone would read all of it once more. Without the last, a folder of which no
        // object came is missed when its time is to be set.
        let config = json!({
            "NoCheckDest": true, "NoTraverse": true, "Inplace": true, "IgnoreChecksum": !checked, "IgnoreSize": blind,
            "NoUpdateDirModTime": !checked,
        });
        let from = if blind { from.blind() } else { from.plain() };
        let params = json!({ "srcFs": from, "dstFs": local(COPY, to)? });
        if how == Fetch::Documents {
            let config = limited(config, DOCUMENT.saturating_mul(names.len() as u64));
            return self.listed(COPY, params, names, config, CONTROL_IDLE).map(drop).map_err(CallError::of_limited);
        }
        self.listed(COPY, params, names, config, BULK_IDLE).map(drop)
    }

    /// Sends all `files`, over what is there. One PUT each on S3 (more for what is sent in parts), which does not make the bucket.
    pub fn send(&self, files: &Links, to: &Fs) -> Result<Stats, CallError> {
        let from = links(&local(COPY, files.dir())?);
        self.transfer(&from, &to.blind(), &files.names(), over(), BULK_IDLE)
    }

    /// The same of files that are served here, see [`Serving`].
    pub(in crate::rclone) fn send_served(&self, files: &Serving, to: &Fs) -> Result<Stats, CallError> {
        let from = served(files.socket()).ok_or_else(|| CallError::refused(COPY, "the path of the temporary directory is not text"))?;
        let mut config = over();
        if let Some(fields) = config.as_object_mut() {
            // Each stream would ask for a part of a file.
            fields.insert("MultiThreadStreams".to_owned(), 0.into());
        }
        self.transfer(&from, &to.blind(), files.names(), config, BULK_IDLE)
    }

    /// Copies `names` from one folder of the remote to another, on the server where it can. HEAD and PUT each on S3.
    pub fn copy(&self, from: &Fs, to: &Fs, names: &Names) -> Result<Stats, CallError> {
        self.transfer(&self.copied(from), &self.copied(to), names, over(), COPY_IDLE)
    }

    /// Deletes `names`. One that is gone already is no failure. One DELETE each on S3.
    pub fn delete(&self, fs: &Fs, names: &Names) -> Result<Stats, CallError> {
        let count = names.len();
        // Should rclone ever not understand the filter, it would delete everything below the path: not more than this, then.
        let config = json!({ "NoTraverse": true, "MaxDelete": count });
        let (stats, _) = self.listed(DELETE, json!({ "fs": fs.blind() }), names, config, BULK_IDLE)?;
        Ok(stats)
    }

    /// A place on the remote for copies within it.
    pub(super) fn copied(&self, fs: &Fs) -> String {
        fs.copied(self.is_ours("RCLONE_TIMEOUT", TIMEOUT).then_some(COPY_IDLE))
    }

    fn transfer(&self, from: &str, to: &str, names: &Names, config: Value, idle: Duration) -> Result<Stats, CallError> {
        let (stats, sides) = self.listed(COPY, json!({ "srcFs": from, "dstFs": to }), names, config, idle)?;
        moved(COPY, sides, stats.transfers, names.len() as u64)?;
        Ok(stats)
    }

    fn listed(&self, method: &str, params: Value, names: &Names, config: Value, idle: Duration) -> Result<(Stats, Sides), CallError> {
        let sides = Sides::of(&params);
        // An empty list is none, which is all.
        if names.is_empty() {
            return Ok((Stats::default(), sides));
        }
        self.filtered(method, params, names, config, idle).map(|(_, stats)| (stats, sides))
    }

    /// Calls a method for these names alone. There must be some.
    pub(super) fn filtered(
        &self,
        method: &str,
        mut params: Value,
        names: &Names,
        config: Value,
        idle: Duration,
    ) -> Result<(Value, Stats), CallError> {
        let sides = Sides::of(&params);
        let own = |what: &str| CallError::new(method, sides, Kind::Refused, Class::Other, what);
        // It would be two other names in the list, or none, which is all.
        if let Some(name) = names.iter().find(|name| name.is_empty() || name.contains(&b'\n')) {
            return Err(own(&format!("{:?} cannot stand in a list of names", String::from_utf8_lossy(name))));
        }
        let list = self.scratch.list(names.iter().copied()).map_err(|failure| CallError::own(method, failure))?;
        let filter = list.to_str().map(|path| json!({ "FilesFromRaw": [path] }));
        let called = match (filter, params.as_object_mut()) {
            (Some(filter), Some(fields)) => {
                fields.insert("_filter".to_owned(), filter);
                fields.insert("_config".to_owned(), config);
                self.call_for(method, params, idle)
            }
            _ => Err(own("the path of the list of names is not text")),
        };
        fs::remove_file(&list).map_err(|error| CallError::own(method, Failure::scratch(&error)))?;
        called
    }
}
