//! Single objects: read whole or in part, written, renamed.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::path::Path;

use serde_json::{Value, json};

use super::Daemon;
use super::error::{CallError, Kind, Side, Sides};
use super::place::{Fs, descriptors, local};
use crate::rclone::options::RETRIES;
use crate::rclone::process::{BULK_IDLE, CONTROL_IDLE, COPY_IDLE};
use crate::store::{Class, Conditional};

const COPY: &str = "operations/copyfile";
const MOVE: &str = "operations/movefile";
const GET: &str = "GET";

/// Up to this size, a server that says nothing for a while is not still busy with it.
const SMALL: u64 = 1 << 20;

/// How often a write is tried again that meets with another one.
const MEETINGS: usize = 3;

/// What one read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The object is in the file.
    Content,
    /// This read did not find it, or its bucket. That alone proves nothing, see [`crate::remote`].
    Absent,
}

/// Who looks at what was written. What rclone finds wrong, it removes, and with it the object that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// rclone does: for names that nothing depends on, and backends where it uploads under another name.
    Rclone,
    /// We do, afterwards.
    Ours,
}

impl Daemon {
    /// Reads one object into the file `to`, which must not exist. One GET on S3, where its size is not asked for first: a connection that
    /// ends too early is noticed there, and what else may be wrong with the content is for the caller to find. One of more than `most` bytes is
    /// given up, as [`Class::TooLarge`].
    pub fn read(&self, from: &Fs, name: &str, to: &Path, most: u64) -> Result<Found, CallError> {
        let (folder, file) = match (to.parent(), to.file_name().and_then(|file| file.to_str())) {
            (Some(folder), Some(file)) => (local(COPY, folder)?, file),
            _ => return Err(CallError::refused(COPY, &format!("{} is no name for a file", to.display()))),
        };
        if fs::symlink_metadata(to).is_ok() {
            return Err(CallError::refused(COPY, &format!("{} exists already", to.display())));
        }
        let params = json!({
            "srcFs": from.blind(), "srcRemote": name, "dstFs": folder, "dstRemote": file,
            "_config": self.small(limited(json!({
                "NoCheckDest": true, "NoTraverse": true, "Inplace": true, "IgnoreChecksum": true, "IgnoreSize": true,
            }), most)),
        });
        let sides = Sides { reads: Some(Side::Remote), writes: Some(Side::Mover) };
        let error = match self.call_for(COPY, params, CONTROL_IDLE) {
            Ok(_) if fs::symlink_metadata(to).is_ok_and(|meta| meta.len() <= most) => return Ok(Found::Content),
            Ok(_) if fs::symlink_metadata(to).is_ok() => {
                CallError::new(COPY, sides, Kind::TooLong, Class::TooLarge, "more than was asked for")
            }
            Ok(_) => CallError::new(COPY, sides, Kind::Incomplete { moved: 0, asked: 1 }, Class::Other, "success, and there is no file"),
            Err(error) => error.of_limited(),
        };
        // rclone has removed what it could not finish, unless it was killed.
        match fs::remove_file(to) {
            Err(left) if left.kind() != io::ErrorKind::NotFound => tracing::warn!(%left, "cannot remove half of an object"),
            _ => {}
        }
        if error.is_missing_object() { Ok(Found::Absent) } else { Err(error) }
    }

    /// Writes the content of the file `from` as one object, with the file's time. One PUT on S3, which overwrites, and does not make the
    /// bucket. The file is opened here: what is wrong with it is no failure of the call.
    pub fn write(&self, from: &Path, to: &Fs, name: &str, check: Check) -> Result<(), CallError> {
        let unreadable = |error: io::Error| CallError::refused(COPY, &format!("cannot read {}: {error}", from.display()));
        let file = File::open(from).map_err(unreadable)?;
        self.write_file(&file, to, name, check)
    }

    /// As [`Self::write`], of an open file, which need not have a name.
    pub fn write_file(&self, from: &File, to: &Fs, name: &str, check: Check) -> Result<(), CallError> {
        let ours = check == Check::Ours;
        let small = from.metadata().is_ok_and(|meta| meta.len() <= SMALL);
        let params = json!({
            "srcFs": descriptors(), "srcRemote": from.as_raw_fd().to_string(), "dstFs": to.blind(), "dstRemote": name,
            "_config": self.small(json!({ "NoCheckDest": true, "NoTraverse": true, "IgnoreChecksum": ours, "IgnoreSize": ours })),
        });
        let sides = Sides::of(&params);
        let (_, stats) = self.call_for(COPY, params, if small { CONTROL_IDLE } else { BULK_IDLE })?;
        moved(COPY, sides, stats.transfers, 1)
    }

    /// As [`Self::write_file`] with [`Check::Ours`], under a header by which S3 makes it conditional. One PUT.
    pub fn write_if(&self, from: &File, to: &Fs, name: &str, (header, value): (&str, &str)) -> Result<Conditional, CallError> {
        let params = json!({
            "srcFs": descriptors(), "srcRemote": from.as_raw_fd().to_string(), "dstFs": to.blind(), "dstRemote": name,
            "_config": self.small(json!({
                "NoCheckDest": true, "NoTraverse": true, "IgnoreChecksum": true, "IgnoreSize": true,
                "UploadHeaders": [{ "Key": header, "Value": value }],
            })),
        });
        let sides = Sides::of(&params);
        let mut written = self.call_for(COPY, params.clone(), CONTROL_IDLE);
        for _ in 0..MEETINGS {
            // Two writes have met, and this one has not been compared with anything.
            if !written.as_ref().is_err_and(|error| error.is_of_s3(&[409])) {
                break;
            }
            written = self.call_for(COPY, params.clone(), CONTROL_IDLE);
        }
        match written {
            Ok((_, stats)) => moved(COPY, sides, stats.transfers, 1).map(|()| Conditional::Written),
            // There is no object to be compared with, or it is another one.
            Err(error) if error.is_of_s3(&[404, 412]) => Ok(Conditional::Refused),
            // A server that does not know the header, and says so.
            Err(error) if error.is_of_s3(&[501]) => Ok(Conditional::Unknown),
            Err(error) => Err(error),
        }
    }

    /// For a single object: a server that refuses it gets to say so before it is given up for saying nothing. With three attempts, that takes
    /// 18 requests and 14 seconds.
    fn small(&self, mut config: Value) -> Value {
        if self.is_ours("RCLONE_LOW_LEVEL_RETRIES", RETRIES)
            && let Some(fields) = config.as_object_mut()
        {
            fields.insert("LowLevelRetries".to_owned(), 2.into());
        }
        config
    }

    /// Gives an object another name, over what has it. HEAD, copy and DELETE on S3.
    pub fn rename(&self, fs: &Fs, from: &str, to: &str) -> Result<(), CallError> {
        let params = json!({
            "srcFs": self.copied(fs), "srcRemote": from, "dstFs": self.copied(fs), "dstRemote": to,
            "_config": { "NoCheckDest": true, "NoTraverse": true },
        });
        self.call_for(MOVE, params, COPY_IDLE).map(drop)
    }

    /// Reads bytes `range` of an object: all of them or none. HEAD and GET on S3. What is not there cannot be told from what cannot be
    /// read: rclone answers 404 to both, so that a failure proves nothing. Of a path with a closing bracket, nothing can be read this way.
    pub fn range(&self, from: &Fs, name: &str, range: Range<u64>) -> Result<Vec<u8>, CallError> {
        let sides = Sides { reads: Some(Side::Remote), writes: None };
        let Some(target) = from.target(name) else {
            return Err(CallError::refused(GET, "rclone does not understand a path with a closing bracket here"));
        };
        let length = range.end.checked_sub(range.start).filter(|length| *length > 0).and_then(|length| usize::try_from(length).ok());
        let Some(length) = length else {
            return Err(CallError::refused(GET, "an empty range, or one that memory does not hold"));
        };
        let last = range.end - 1;
        let span = format!("{}-{last}", range.start);
        let reply = self.get(&target, &format!("bytes={span}"), length, sides)?;
        let error = |kind, what: &str| Err(CallError::new(GET, sides, kind, Class::Other, what));
        if reply.status != 206 {
            return error(Kind::Garbled, &format!("HTTP status {}, which proves nothing, for bytes {span} of {name}", reply.status));
        }
        let spans = reply.content_range.as_deref().is_some_and(|said| said.starts_with(&format!("bytes {span}/")));
        if !spans || reply.body.len() != length {
            let said = reply.content_range.as_deref().unwrap_or("nothing");
            return error(Kind::Garbled, &format!("{} bytes, said to be {said}, for bytes {span} of {name}", reply.body.len()));
        }
        Ok(reply.body)
    }
}

/// What a call may move in bytes, tries that failed included; then it fails as [`CallError::of_limited`] knows.
pub(super) fn limited(mut config: Value, most: u64) -> Value {
    // Of three tries that all but end.
    if let Some(fields) = config.as_object_mut() {
        fields.insert("MaxTransfer".to_owned(), most.saturating_mul(3).min(i64::MAX.unsigned_abs()).into());
        fields.insert("CutoffMode".to_owned(), "HARD".into());
    }
    config
}

/// rclone leaves out what it cannot find and calls that success: it must have moved as many files as it was given. Some backends count what
/// they move within, such as the chunks of a file, too.
pub(super) fn moved(method: &str, sides: Sides, moved: u64, asked: u64) -> Result<(), CallError> {
    if moved >= asked {
        return Ok(());
    }
    let what = format!("moved {moved} of {asked} files");
    Err(CallError::new(method, sides, Kind::Incomplete { moved, asked }, Class::NotFound, &what))
}
