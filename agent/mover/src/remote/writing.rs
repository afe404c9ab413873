//! Writes the control objects, and never so that an older one is lost where a new one does not come.
//!
//! rclone looks at what it has uploaded, and removes it where it finds another size; a WebDAV upload that fails is followed by a DELETE
//! of that name. Of a name that nothing depends on that is right. Under the name of the commit lies the only one there is, so that a
//! single look at an outdated cache, or one refused upload, would leave a path without any revision. Without its claim, or with a part of
//! it, what a first push has sent before it was killed is nobody's; a part of a manifest may name anything, and so stays for ever.

use std::fs::{self};
use std::path::Path;

use super::Remote;
use crate::error::Failure;
use crate::format::names::CONTROL_DIR;
use crate::random::random;
use crate::scratch;
use crate::store::{self, Condition, Conditional, Put, Upload};

/// How a control object gets its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// rclone uploads to a name of its own, looks at it, and renames it then; or nothing depends on the name.
    Checked,
    /// Each upload takes the place of the older object as it ends.
    Unchecked,
    /// An upload that fails takes the older object with it, or leaves a part: sent under another name, and renamed.
    Renamed,
}

impl Remote {
    /// Writes one object below [`CONTROL_DIR`], replacing an older one.
    pub fn write_object(&self, name: &str, content: &[u8]) -> store::Result<()> {
        let replacing = self.store.replacing()?;
        let way = match (replacing.destroys, replacing.renames) {
            (true, _) => Way::Renamed,
            (false, true) => Way::Checked,
            (false, false) => Way::Unchecked,
        };
        let path = self.context.scratch.fresh("document");
        fs::write(&path, content).map_err(|e| Failure::scratch(&e))?;
        self.write(name, way, &path)?;
        fs::remove_file(&path).map_err(|e| Failure::scratch(&e).into())
    }

    /// As [`Self::write_object`], but only under this condition where the backend heeds one. False: it says that the condition does not hold, which a
    /// read of the object has to confirm.
    pub fn write_object_if(&self, name: &str, content: &[u8], condition: &Condition) -> store::Result<bool> {
        let path = self.context.scratch.fresh("document");
        fs::write(&path, content).map_err(|e| Failure::scratch(&e))?;
        let file = scratch::open(&path)?;
        let written = self.store.put_if(Upload { name: name.as_bytes(), file }, &format!("{CONTROL_DIR}/"), condition)?;
        fs::remove_file(&path).map_err(|e| Failure::scratch(&e))?;
        match written {
            Conditional::Written => Ok(true),
            Conditional::Refused => Ok(false),
            Conditional::Unknown => self.write_object(name, content).map(|()| true),
        }
    }

    /// Writes one object below [`CONTROL_DIR`] that nothing committed depends on, with the content of a temporary file.
    pub fn write_file(&self, name: &str, file: &Path) -> store::Result<()> {
        self.write(name, if self.store.replacing()?.destroys { Way::Renamed } else { Way::Checked }, file)
    }

    fn write(&self, name: &str, way: Way, file: &Path) -> store::Result<()> {
        if way != Way::Renamed {
            return self.put(name, way == Way::Checked, file);
        }
        // Should this push die, the next one that lists the path takes it for what it is, see [`crate::push`].
        let interim = format!("{name}.{:08x}.partial", random()? & 0xffff_ffff);
        self.put(&interim, true, file)?;
        self.store.rename(&format!("{CONTROL_DIR}/{interim}"), &format!("{CONTROL_DIR}/{name}"))
    }

    fn put(&self, name: &str, checked: bool, file: &Path) -> store::Result<()> {
        let file = scratch::open(file)?;
        self.store.put(vec![Upload { name: name.as_bytes(), file }], &format!("{CONTROL_DIR}/"), Put::Document { checked })
    }
}
