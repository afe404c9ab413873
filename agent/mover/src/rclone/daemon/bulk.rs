//! Many objects by their names: fetched, sent, copied, deleted.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::Daemon;
use super::error::{CallError, Kind, Sides};
use super::links::Links;
use super::objects::moved;
use super::place::{Fs, links, local};
use crate::rclone::options::TIMEOUT;
use crate::rclone::process::{BULK_IDLE, COPY_IDLE};
use crate::store::Class;
use crate::store::stats::Stats;

const COPY: &str = "sync/copy";
const DELETE: &str = "operations/delete";

/// Whether rclone is to know how large an object is before it fetches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// No: one request for each.
    Unknown,
    /// Yes: a HEAD more for each, and large ones come in several streams.
    Known,
}

impl Daemon {
    /// Fetches `names` into the folder `to`, over what is there. One GET each on S3. Neither size nor content is compared: the caller
    /// does that. Fails where any is missing, after all others were fetched.
    pub fn fetch<'a>(
        &self,
        from: &Fs,
        to: &Path,
        names: impl ExactSizeIterator<Item = &'a [u8]>,
        sizes: Sizes,
    ) -> Result<Stats, CallError> {
        let blind = sizes == Sizes::Unknown;
        // Without the last, a folder of which no object came is missed when its time is to be set.
        let config = json!({
            "NoCheckDest": true, "NoTraverse": true, "Inplace": true, "IgnoreChecksum": true, "IgnoreSize": blind,
            "NoUpdateDirModTime": true,
        });
        let from = if blind { from.blind() } else { from.plain() };
        self.transfer(&from, &local(COPY, to)?, names, config, BULK_IDLE)
    }

    /// Sends all `files`, over what is there. One PUT each on S3 (more for what is sent in parts), which does not make the bucket.
    pub fn send(&self, files: &Links, to: &Fs) -> Result<Stats, CallError> {
        let from = links(&local(COPY, files.dir())?);
        self.transfer(&from, &to.blind(), files.names(), json!({ "NoCheckDest": true, "NoTraverse": true }), BULK_IDLE)
    }

    /// Copies `names` from one folder of the remote to another, on the server where it can. HEAD and PUT each on S3.
    pub fn copy<'a>(&self, from: &Fs, to: &Fs, names: impl ExactSizeIterator<Item = &'a [u8]>) -> Result<Stats, CallError> {
        self.transfer(&self.copied(from), &self.copied(to), names, json!({ "NoCheckDest": true, "NoTraverse": true }), COPY_IDLE)
    }

    /// Deletes `names`. One that is gone already is no failure. One DELETE each on S3.
    pub fn delete<'a>(&self, fs: &Fs, names: impl ExactSizeIterator<Item = &'a [u8]>) -> Result<Stats, CallError> {
        let count = names.len();
        if count == 0 {
            return Ok(Stats::default());
        }
        // Should rclone ever not understand the filter, it would delete everything below the path: not more than this, then.
        let config = json!({ "NoTraverse": true, "MaxDelete": count });
        let (stats, _) = self.listed(DELETE, json!({ "fs": fs.blind() }), names, config, BULK_IDLE)?;
        Ok(stats)
    }

    /// A place on the remote for copies within it. What the user has set is meant so.
    pub(super) fn copied(&self, fs: &Fs) -> String {
        let is_ours = self.environment.vars.get(OsStr::new("RCLONE_TIMEOUT")).is_some_and(|set| set == TIMEOUT);
        fs.copied(is_ours.then_some(COPY_IDLE))
    }

    fn transfer<'a>(
        &self,
        from: &str,
        to: &str,
        names: impl ExactSizeIterator<Item = &'a [u8]>,
        config: Value,
        idle: Duration,
    ) -> Result<Stats, CallError> {
        let count = names.len();
        if count == 0 {
            return Ok(Stats::default());
        }
        let (stats, sides) = self.listed(COPY, json!({ "srcFs": from, "dstFs": to }), names, config, idle)?;
        moved(COPY, sides, stats.transfers, count as u64)?;
        Ok(stats)
    }

    /// Calls a method for these names alone.
    fn listed<'a>(
        &self,
        method: &str,
        mut params: Value,
        names: impl ExactSizeIterator<Item = &'a [u8]>,
        config: Value,
        idle: Duration,
    ) -> Result<(Stats, Sides), CallError> {
        let sides = Sides::of(&params);
        let own = |what: &str| CallError::new(method, sides, Kind::Refused, Class::Other, what);
        let names: Vec<&[u8]> = names.collect();
        // It would be two other names in the list, or none, which is all.
        if let Some(name) = names.iter().find(|name| name.is_empty() || name.contains(&b'\n')) {
            return Err(own(&format!("{:?} cannot stand in a list of names", String::from_utf8_lossy(name))));
        }
        let list = self.scratch.list(names).map_err(|failure| own(&failure.message))?;
        let filter = list.to_str().map(|path| json!({ "FilesFromRaw": [path] }));
        let called = match (filter, params.as_object_mut()) {
            (Some(filter), Some(fields)) => {
                fields.insert("_filter".to_owned(), filter);
                fields.insert("_config".to_owned(), config);
                self.call_for(method, params, idle)
            }
            _ => Err(own("the path of the list of names is not text")),
        };
        fs::remove_file(&list).map_err(|error| own(&format!("the mover's temporary directory: {error}")))?;
        called.map(|(_, stats)| (stats, sides))
    }
}
