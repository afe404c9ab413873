//! What a push that fails leaves behind: nothing, where it can. What it has sent is of no use to anybody before its commit, and no list names it.

use std::cell::{Cell, RefCell};

use crate::error::Result;
use crate::format::names::Folder;
use crate::push::object_names::Name;
use crate::remote::{BATCH, Remote};
use crate::store::slices;

/// The objects that a push has written, or begun to write.
#[derive(Debug, Default)]
pub(super) struct Written {
    names: RefCell<Vec<Name>>,
    /// Its commit may be there.
    committing: Cell<bool>,
}

impl Written {
    /// One is going to be written: noted before, because a write that fails may have succeeded.
    pub(super) fn note(&self, folder: Folder, name: &str) {
        self.names.borrow_mut().push((folder.below() + name).into_bytes().into());
    }

    /// What was noted so far is of use to the next push.
    pub(super) fn keep(&self) {
        self.names.take();
    }

    /// The commit is going to be written. Whether it came through is not known of a write that fails: from now on everything stays.
    pub(super) fn committing(&self) {
        self.committing.set(true);
    }

    /// The backend has refused the commit, and another one is there.
    pub(super) fn refused(&self) {
        self.committing.set(false);
    }

    /// What this push is to take back: all that it has written, unless its commit may be there.
    pub(super) fn take(&self) -> Vec<Name> {
        if self.committing.get() { Vec::new() } else { self.names.take() }
    }
}

/// The checkpoints of a path that has no commit of this layout.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    /// Of the latest one.
    number: Cell<u64>,
    /// Objects that are of no use after the commit, nor once another checkpoint is written.
    objects: RefCell<Vec<String>>,
}

impl Checkpoints {
    /// These are there, and take the place of those that it gives; `number` is that of the latest.
    pub(super) fn found(&self, number: u64, objects: Vec<String>) -> Vec<String> {
        self.number.set(number);
        self.objects.replace(objects)
    }

    /// Of the latest one, 0 if there was none.
    pub(super) fn number(&self) -> u64 {
        self.number.get()
    }

    /// The objects of all of them, by their names in our own folder.
    pub(super) fn objects(&self) -> Vec<String> {
        self.objects.borrow().clone()
    }
}

/// Deletes objects by their names below the path. One that is gone already is no failure.
pub(super) fn delete(remote: &Remote, names: &[Name]) -> Result<()> {
    names.chunks(BATCH).try_for_each(|names| Ok(remote.delete(&slices(names))?))
}
