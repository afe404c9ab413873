//! Gives an entry of the volume its metadata, and says what could not be given.
//!
//! What an unprivileged mover may not do, or a file system cannot hold, is counted and stops nothing. What counts is what is
//! there afterwards, not what a call answered: some file systems take a change in silence and forget it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Access, FileType};
use rustix::io::Errno;

use super::guarded::Compared;
use crate::error::{Failure, Result};
use crate::report::Reason;
use crate::stop::Stop;
use crate::volume::beneath::{Held, Root, Seen};
use crate::volume::entry::{Entry, FileEntry, Hints, Kind, Meta};
use crate::volume::hash::of_open;
use crate::volume::path::RelPath;
use crate::volume::walk::meta;
use crate::volume::xattrs::{ACL_ACCESS, AttributeKind, Attributes, CAPABILITY};

/// What could not be restored, by kind: `owners`, `modes`, `setuidBits`, `times`, `acls`, `capabilities`, `trustedAttributes`,
/// `userAttributes`, `changedMeanwhile`, and [`HARD_LINKS`]. One entry counts once for each.
pub(super) type Tally = BTreeMap<String, u64>;

/// Counts files that had several names, of which the one that got its metadata is another inode by now.
pub(super) const HARD_LINKS: &str = "hardLinks";

/// Makes the metadata of what is at `path` that of `entry`; says whether anything is another than before. What an application has removed
/// meanwhile is left at that.
pub(super) fn restore(root: &Root, path: &RelPath, entry: &Entry, tally: &mut Tally) -> Result<bool> {
    change(root, path, entry, None, tally)
}

/// What must hold of a file in place whose content was compared a while ago, before and after it gets its metadata.
#[derive(Clone, Copy)]
pub(super) struct Unchanged<'a> {
    /// As what it was compared.
    pub(super) compared: Compared,
    pub(super) has_content: HasContent<'a>,
    pub(super) stop: &'a Stop,
}

/// Tells whether an open file has the content of this one of the revision; what names that is the layout's.
pub(super) type HasContent<'a> = &'a dyn Fn((File, &Path), &FileEntry, &Stop) -> Result<bool>;

/// Tells that where the content is named by its sha256.
pub(super) fn has_hash((file, shown): (File, &Path), wanted: &FileEntry, stop: &Stop) -> Result<bool> {
    let digest = of_open(file, stop)?.map_err(|e| Failure::volume("read", shown, &e))?;
    Ok(digest == wanted.sha256)
}

/// As [`restore`], of a file that others may have written to since it was compared: then it is left as it is, and counted. It would give what
/// they wrote to another owner, or run it with his rights.
pub(super) fn restore_unchanged(root: &Root, entry: &Entry, unchanged: Unchanged, tally: &mut Tally) -> Result<bool> {
    change(root, &entry.path, entry, Some(unchanged), tally)
}

fn change(root: &Root, path: &RelPath, entry: &Entry, unchanged: Option<Unchanged>, tally: &mut Tally) -> Result<bool> {
    let wanted = &entry.meta;
    let held = match root.hold(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        held => held.map_err(|e| Failure::volume("read the metadata of", &root.shown(path), &e))?,
    };
    let work = Change { root, path, held, link: matches!(entry.kind, Kind::Symlink(_)), dir: entry.kind == Kind::Dir };
    let (mut seen, before) = work.state()?;
    if seen.kind != kind_of(entry) {
        let what = "is something else than it was when the pull began: an application changes the volume; the next pull compares all of it";
        return Err(Failure::new(Reason::VolumeUnreadable, format!("{} {what}", root.shown(path).display())));
    }
    if before == *wanted {
        return Ok(false);
    }
    if let Some(unchanged) = unchanged {
        match work.as_compared(seen, entry, unchanged)? {
            Some(now) => seen = now,
            None => return Ok(changed_meanwhile(entry, tally, false)),
        }
    }
    work.owner(&before, wanted)?;
    work.plain_attributes(&before, wanted)?;
    work.permissions(&before.attributes, wanted)?;
    // A change of owner clears it, so it comes after.
    work.attributes(AttributeKind::Capability, &before.attributes, &wanted.attributes)?;
    if unchanged.is_some() && work.was_written(&seen)? {
        work.take_back(&before)?;
        return Ok(changed_meanwhile(entry, tally, true));
    }
    work.time(wanted)?;
    let (now, after) = work.state()?;
    count(&after, wanted, tally);
    if !work.dir && now.links < seen.links {
        // A volume in layers (overlayfs) has copied it up, for this name alone.
        *tally.entry(HARD_LINKS.into()).or_default() += 1;
    }
    Ok(after != before)
}

fn changed_meanwhile(entry: &Entry, tally: &mut Tally, changed: bool) -> bool {
    tracing::info!(path = %entry.path, "changed since it was compared, so it keeps its owner; the next pull compares it again");
    *tally.entry("changedMeanwhile".into()).or_default() += 1;
    changed
}

fn kind_of(entry: &Entry) -> FileType {
    match entry.kind {
        Kind::Dir => FileType::Directory,
        Kind::File(_) => FileType::RegularFile,
        Kind::Symlink(_) => FileType::Symlink,
        Kind::Fifo => FileType::Fifo,
    }
}

fn count(after: &Meta, wanted: &Meta, tally: &mut Tally) {
    let mut note = |kind: &str, differs: bool| {
        if differs {
            *tally.entry(kind.into()).or_default() += 1;
        }
    };
    let acls = differs(AttributeKind::Acl, after, wanted);
    let bits = after.mode ^ wanted.mode;
    note("owners", (after.uid, after.gid) != (wanted.uid, wanted.gid));
    note("setuidBits", bits & 0o6000 != 0);
    // The group's bits are part of an ACL.
    note("modes", bits & 0o1777 != 0 && !acls);
    note("times", after.mtime != wanted.mtime);
    note("acls", acls);
    note("capabilities", differs(AttributeKind::Capability, after, wanted));
    note("trustedAttributes", differs(AttributeKind::Trusted, after, wanted));
    note("userAttributes", differs(AttributeKind::User, after, wanted));
}

fn differs(kind: AttributeKind, a: &Meta, b: &Meta) -> bool {
    !a.attributes.of_kind(kind).eq(b.attributes.of_kind(kind))
}

struct Change<'a> {
    root: &'a Root,
    path: &'a RelPath,
    held: Held,
    link: bool,
    dir: bool,
}

impl Change<'_> {
    fn state(&self) -> Result<(Seen, Meta)> {
        let look = || {
            let seen = self.held.look()?;
            let meta = meta(&self.held, &seen)?.0;
            Ok((seen, meta))
        };
        look().map_err(|e| self.failure("read the metadata of", &e))
    }

    /// What is known of the file now, if it still has the content that was compared. The pull itself touches an inode by its other names, so
    /// one that was touched is read again.
    fn as_compared(&self, seen: Seen, entry: &Entry, Unchanged { compared, has_content, stop }: Unchanged) -> Result<Option<Seen>> {
        if Compared::of(Hints { ctime: seen.ctime, inode: seen.inode }) == compared {
            return Ok(Some(seen));
        }
        let Some(file) = entry.file() else { return Ok(Some(seen)) };
        let content = self.held.open().map_err(|e| self.failure("read", &e))?;
        let same = has_content((content, &self.root.shown(self.path)), file, stop)?;
        let now = self.held.look().map_err(|e| self.failure("read", &e))?;
        Ok((same && now.ctime == seen.ctime).then_some(now))
    }

    /// Whether the content was written to, as far as its time and size show: all that was done here changes neither.
    fn was_written(&self, before: &Seen) -> Result<bool> {
        let now = self.held.look().map_err(|e| self.failure("read", &e))?;
        Ok((now.mtime, now.size) != (before.mtime, before.size))
    }

    /// Takes the power from a file that it got too early, and gives it back to its owner.
    fn take_back(&self, before: &Meta) -> Result<()> {
        let now = self.held.look().map_err(|e| self.failure("read", &e))?;
        self.held.set_mode(now.mode & !0o6000).map_err(|e| self.failure("set the mode of", &e))?;
        match self.held.remove_attribute(CAPABILITY) {
            Ok(()) | Err(Errno::NODATA | Errno::NOTSUP) => {}
            Err(errno) => return Err(self.failure("remove the capabilities of", &errno.into())),
        }
        if (now.uid, now.gid) == (before.uid, before.gid) {
            return Ok(());
        }
        self.held.set_owner(Some(before.uid), before.gid).map_err(|e| self.failure("set the owner of", &e))
    }

    fn failure(&self, doing: &str, error: &io::Error) -> Failure {
        Failure::volume(doing, &self.root.shown(self.path), error)
    }

    fn owner(&self, before: &Meta, wanted: &Meta) -> Result<()> {
        if (before.uid, before.gid) == (wanted.uid, wanted.gid) {
            return Ok(());
        }
        let change = |uid| self.held.set_owner(uid, wanted.gid);
        // Who may not give a file away may still give it to a group of his own.
        if !self.tolerate("set the owner of", change(Some(wanted.uid)))? && before.gid != wanted.gid {
            self.tolerate("set the group of", change(None))?;
        }
        Ok(())
    }

    /// Those that need the right to write to the entry: before its mode takes that away.
    fn plain_attributes(&self, before: &Meta, wanted: &Meta) -> Result<()> {
        let (there, to_be) = (&before.attributes, &wanted.attributes);
        if !self.attributes(AttributeKind::User, there, to_be)? && !self.link {
            self.mode(before.mode | 0o600)?;
            self.attributes(AttributeKind::User, there, to_be)?;
        }
        self.attributes(AttributeKind::Trusted, there, to_be).map(drop)
    }

    /// Mode and ACLs, which share the group's bits.
    fn permissions(&self, there: &Attributes, wanted: &Meta) -> Result<()> {
        if self.link {
            return Ok(());
        }
        // An ACL that is not to be there would take the group's bits for its own.
        self.remove(AttributeKind::Acl, there, &wanted.attributes)?;
        let mode = self.allowed_mode(wanted)?;
        let set = self.mode(mode)?;
        if !self.set(AttributeKind::Acl, there, &wanted.attributes)?
            && let Some(group) = wanted.attributes.get(ACL_ACCESS).and_then(owning_group)
        {
            // The group's bits are the most that anybody in the ACL may do. Without it they would be the group's own.
            self.mode(mode & !0o070 | mode & group << 3)?;
        }
        let (right, access) = if self.dir { (0o500, Access::READ_OK | Access::EXEC_OK) } else { (0o400, Access::READ_OK) };
        if set && mode & right != right && !self.held.allows(access) {
            // Its next pull could not compare it.
            self.mode(mode | right)?;
        }
        Ok(())
    }

    /// A file that could not be given to its owner must not lend its power to another one.
    fn allowed_mode(&self, wanted: &Meta) -> Result<u32> {
        if self.dir || wanted.mode & 0o6000 == 0 {
            return Ok(wanted.mode);
        }
        let there = self.held.look().map_err(|e| self.failure("read", &e))?;
        let mut mode = wanted.mode;
        if there.uid != wanted.uid {
            mode &= !0o4000;
        }
        if there.gid != wanted.gid {
            mode &= !0o2000;
        }
        Ok(mode)
    }

    fn mode(&self, mode: u32) -> Result<bool> {
        self.tolerate("set the mode of", self.held.set_mode(mode))
    }

    /// Last of all, because nothing may touch it after.
    fn time(&self, wanted: &Meta) -> Result<()> {
        self.tolerate("set the time of", self.held.set_mtime(wanted.mtime)).map(drop)
    }

    /// Makes the attributes of one kind those wanted; says whether every call was let through.
    fn attributes(&self, kind: AttributeKind, there: &Attributes, wanted: &Attributes) -> Result<bool> {
        let removed = self.remove(kind, there, wanted)?;
        Ok(self.set(kind, there, wanted)? && removed)
    }

    /// First what goes: it may make the room for what comes.
    fn remove(&self, kind: AttributeKind, there: &Attributes, wanted: &Attributes) -> Result<bool> {
        let mut all = true;
        for attribute in there.of_kind(kind).filter(|attribute| wanted.get(&attribute.name).is_none()) {
            match self.held.remove_attribute(&attribute.name) {
                Err(Errno::NODATA) => {}
                other => all &= self.tolerate_attribute("remove an extended attribute of", other)?,
            }
        }
        Ok(all)
    }

    fn set(&self, kind: AttributeKind, there: &Attributes, wanted: &Attributes) -> Result<bool> {
        let mut all = true;
        for attribute in wanted.of_kind(kind) {
            // An ACL goes with the mode, and a capability with the owner, which were set just now.
            if kind.is_plain() && there.get(&attribute.name) == Some(&*attribute.value) {
                continue;
            }
            let set = self.held.set_attribute(&attribute.name, &attribute.value);
            all &= self.tolerate_attribute("set an extended attribute of", set)?;
        }
        Ok(all)
    }

    /// True when it was done, false when it may not or cannot be done here.
    fn tolerate(&self, doing: &str, result: io::Result<()>) -> Result<bool> {
        let Err(error) = result else {
            return Ok(true);
        };
        match Errno::from_io_error(&error) {
            Some(Errno::PERM | Errno::ACCESS | Errno::NOTSUP | Errno::NOSYS | Errno::INVAL | Errno::OVERFLOW) => Ok(false),
            _ => Err(self.failure(doing, &error)),
        }
    }

    /// Attributes have little room of their own on many file systems, whatever is free on the disk.
    fn tolerate_attribute(&self, doing: &str, result: rustix::io::Result<()>) -> Result<bool> {
        match result {
            Err(Errno::NOSPC | Errno::DQUOT | Errno::TOOBIG | Errno::RANGE) => Ok(false),
            other => self.tolerate(doing, other.map_err(io::Error::from)),
        }
    }
}

/// What the owning group may do by the ACL `value`: version, then entries of tag, permissions and id, all little-endian.
fn owning_group(value: &[u8]) -> Option<u32> {
    const GROUP_OBJ: [u8; 2] = [4, 0];
    value.get(4..)?.chunks_exact(8).find_map(|entry| match entry {
        [a, b, permissions, ..] if [*a, *b] == GROUP_OBJ => Some(u32::from(permissions & 7)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owning_groups_part_of_an_acl_is_read() {
        // user::rw-, user:7:rwx, group::r--, mask::rwx, other::---
        let entries = [(1u16, 6u16, u32::MAX), (2, 7, 7), (4, 4, u32::MAX), (16, 7, u32::MAX), (32, 0, u32::MAX)];
        let mut acl = 2u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            acl.extend([&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat());
        }
        assert_eq!(owning_group(&acl), Some(4));
        assert_eq!(owning_group(&acl[..20]), None);
        assert_eq!(owning_group(b""), None);
    }
}
