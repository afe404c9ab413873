//! Writes the control objects, and never so that an older one is lost where a new one does not come.
//!
//! rclone looks at what it has uploaded, and removes it where it finds another size; a WebDAV upload that fails is followed by a DELETE
//! of that name. Of a name that nothing depends on that is right. Under the name of the commit lies the only one there is, so that a
//! single look at an outdated cache, or one refused upload, would leave a path without any revision. Without its claim, or with a part of
//! it, what a first push has sent before it was killed is nobody's.

use std::fs;
use std::path::Path;

use super::Remote;
use crate::error::Failure;
use crate::format::names::{CLAIM, COMMIT, CONTROL_DIR};
use crate::random::random;
use crate::store::{self, Put};

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
    /// Writes one object below [`CONTROL_DIR`], replacing an older one.
    pub fn write_object(&self, name: &str, content: &[u8]) -> store::Result<()> {
        let way = self.way(name)?;
        if way != Way::Renamed {
            return self.write_control(name, way, |path| fs::write(path, content));
        }
        // Should this push die, the next one that lists the path takes it for what it is, see [`crate::push`].
        let interim = format!("{name}.{:08x}.partial", random()? & 0xffff_ffff);
        self.write_control(&interim, Way::Checked, |path| fs::write(path, content))?;
        self.store.rename(&format!("{CONTROL_DIR}/{interim}"), &format!("{CONTROL_DIR}/{name}"))
    }

    /// Writes one object below [`CONTROL_DIR`] that nothing committed depends on, with the content of a temporary file.
    pub fn write_file(&self, name: &str, file: &Path) -> store::Result<()> {
        self.write_control(name, Way::Checked, |path| fs::hard_link(file, path).or_else(|_| fs::copy(file, path).map(drop)))
    }

    fn way(&self, name: &str) -> store::Result<Way> {
        let replacing = self.store.replacing()?;
        Ok(match (replacing.destroys && [COMMIT, CLAIM].contains(&name), replacing.renames) {
            (true, _) => Way::Renamed,
            (false, true) => Way::Checked,
            (false, false) => Way::Unchecked,
        })
    }

    fn write_control(&self, name: &str, way: Way, make: impl FnOnce(&Path) -> std::io::Result<()>) -> store::Result<()> {
        let dir = self.context.scratch.fresh_dir("control")?;
        let path = dir.join(name);
        let write = || {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            make(&path)
        };
        write().map_err(|e| Failure::scratch(&e))?;
        let how = Put::Document { checked: way != Way::Unchecked };
        self.store.put(&dir, &format!("{CONTROL_DIR}/"), &[name.as_bytes()], how)
    }
}
