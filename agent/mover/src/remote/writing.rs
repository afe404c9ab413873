//! Writes the control objects, and never so that an older one is lost where a new one does not come.
//!
//! rclone looks at what it has uploaded, and removes it where it finds another size; a WebDAV upload that fails is followed by a DELETE
//! of that name. Of a name that nothing depends on that is right. Under the name of the commit lies the only one there is, so that a
//! single look at an outdated cache, or one refused upload, would leave a path without any revision.

use std::fs;
use std::path::Path;

use super::{BLIND_WRITE, Remote, expect_transfers};
use crate::error::{Failure, Result};
use crate::format::names::{COMMIT, CONTROL_DIR};
use crate::random::random;
use crate::rclone::{CONTROL_IDLE, RcloneError};

/// What rclone finds after an upload is no reason to remove it: what was written is read again by us.
const UNCHECKED: [&str; 2] = ["--ignore-size", "--ignore-checksum"];

/// How a control object gets its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// rclone uploads to a name of its own, looks at it, and renames it then; or nothing depends on the name.
    Checked,
    /// Each upload takes the place of the older object as it ends.
    Unchecked,
    /// An upload that fails takes the older object with it: sent under another name, and renamed.
    Renamed,
}

impl Remote {
    /// Writes one object below [`CONTROL_DIR`]: atomic on every backend.
    pub fn write_object(&self, name: &str, content: &[u8]) -> Result<std::result::Result<(), RcloneError>> {
        let way = self.way(name)?;
        if way != Way::Renamed {
            return self.write_control(name, way, |path| fs::write(path, content));
        }
        // Should this push die, the next one that lists the path takes it for what it is, see [`crate::push`].
        let interim = format!("{name}.{:08x}.partial", random()? & 0xffff_ffff);
        if let Err(error) = self.write_control(&interim, Way::Checked, |path| fs::write(path, content))? {
            return Ok(Err(error));
        }
        let at = |name: &str| self.at(&format!("{CONTROL_DIR}/{name}"));
        let args = ["moveto".into(), at(&interim), at(name), "--no-check-dest".into(), "--no-traverse".into()];
        Ok(self.rclone.run(&args, CONTROL_IDLE)?.map(drop))
    }

    /// Writes one object below [`CONTROL_DIR`] that nothing committed depends on, with the content of a temporary file.
    pub fn write_file(&self, name: &str, file: &Path) -> Result<std::result::Result<(), RcloneError>> {
        self.write_control(name, Way::Checked, |path| fs::hard_link(file, path).or_else(|_| fs::copy(file, path).map(drop)))
    }

    fn way(&self, name: &str) -> Result<Way> {
        let base = self.rclone.environment.base.as_deref();
        // A type that is not known may be any: a section of variables, or in an encrypted file.
        Ok(if matches!(base, Some("webdav") | None) && name == COMMIT {
            Way::Renamed
        } else if base != Some("s3") && self.feature("PartialUploads")? {
            Way::Checked
        } else {
            Way::Unchecked
        })
    }

    fn write_control(
        &self,
        name: &str,
        way: Way,
        make: impl FnOnce(&Path) -> std::io::Result<()>,
    ) -> Result<std::result::Result<(), RcloneError>> {
        let dir = self.rclone.scratch.fresh_dir("control")?;
        let path = dir.join(name);
        let write = || {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            make(&path)
        };
        write().map_err(|e| Failure::scratch(&e))?;
        let list = self.rclone.scratch.list([name.as_bytes()])?;
        let target = self.at(&format!("{CONTROL_DIR}/"));
        let mut flags = BLIND_WRITE.to_vec();
        if way == Way::Unchecked {
            flags.extend(UNCHECKED);
        }
        let ran = self.command("copy", &[dir.into(), target], &list, &flags, CONTROL_IDLE)?;
        Ok(ran.and_then(|finished| expect_transfers(&finished, 1)))
    }
}
