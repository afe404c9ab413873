//! What is in the way of a pull on its volume: what the file system lets nobody change, what is not ours to remove, and folders that we may not
//! change names in. Found before anything is changed, because met among the last steps it would leave half of the revision.

use std::collections::HashSet;
use std::io;

use rustix::fs::{Access, FileType};
use rustix::thread::{CapabilitySet, capabilities};

use super::names::Alike;
use super::plan::{Action, PullPlan};
use crate::error::{Failure, Result};
use crate::format::entries::Entries;
use crate::report::Reason;
use crate::stop::Stop;
use crate::volume::beneath::{Root, Seen, is_elsewhere, is_gone};
use crate::volume::path::RelPath;

/// Refuses a plan that could not be carried out to its end. Names that are `merged` are those of a volume that takes some for one: there, a folder
/// that goes may be in the way of one that comes.
pub(super) fn refuse(root: &Root, plan: &PullPlan, entries: &Entries, merged: Option<&Alike>, stop: &Stop) -> Result<()> {
    if let Some(fixed) = plan.blocked_by(entries.read()?)? {
        let what = "is immutable or append-only, so this revision cannot be put in its place";
        return Err(blocked(root, &fixed, what, "clear that flag with chattr -i -a"));
    }
    let mut way = Way { root, user: rustix::process::geteuid().as_raw(), owns_all: may_change_all(), folder: None };
    let longest = root.space()?.f_namemax;
    for step in plan.steps(entries.read()?) {
        stop.check()?;
        let (action, entry) = step?;
        if action != Action::Meta {
            if longest > 0 && entry.path.name().len() as u64 > longest {
                let what = format!("has a name longer than the {longest} bytes that the volume's file system takes");
                return Err(blocked(root, &entry.path, &what, "rename it at the source"));
            }
            way.check(&entry.path, action == Action::MakeDir)?;
        }
    }
    for path in plan.gone() {
        stop.check()?;
        way.check(path, false)?;
    }
    let merged = plan.late.iter().filter(|path| merged.is_some_and(|alike| alike.has_above(path)));
    emptied(root, plan, plan.early.iter().chain(merged), stop)
}

/// Whether this process may rename and remove what is another's in a folder with the sticky bit.
fn may_change_all() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::FOWNER))
}

struct Way<'a> {
    root: &'a Root,
    user: u32,
    owns_all: bool,
    /// The folder that was looked at last, and what it is if it is there.
    folder: Option<(RelPath, Option<Seen>)>,
}

impl Way<'_> {
    /// Whether something can be made, replaced or removed here.
    fn check(&mut self, path: &RelPath, makes_folder: bool) -> Result<()> {
        let Some(dir) = path.parent().and_then(RelPath::new) else { return Ok(()) };
        if self.folder.as_ref().is_none_or(|(folder, _)| *folder != dir) {
            self.folder = Some((dir.clone(), self.folder(&dir)?));
        }
        // What holds it is made, too.
        let Some((_, Some(folder))) = &self.folder else { return Ok(()) };
        let there = match self.root.hold(path).and_then(|held| held.look()) {
            Ok(there) => there,
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => return Err(self.unreadable(path, &error)),
        };
        if makes_folder && let Some(kind) = not_ours(there.kind) {
            return Err(blocked(self.root, path, &format!("is {kind}, and this revision has a folder there"), "remove it"));
        }
        if folder.mode & 0o1000 != 0 && !self.owns_all && ![folder.uid, there.uid].contains(&self.user) {
            let what = "belongs to another user, in a folder where only its owner may replace it (sticky bit)";
            return Err(blocked(self.root, path, what, "let the mover run as its owner, or as root"));
        }
        Ok(())
    }

    /// The folder, if it is there: we may change names in it, or let ourselves in.
    fn folder(&self, dir: &RelPath) -> Result<Option<Seen>> {
        let look = || {
            let held = self.root.hold(dir)?;
            let seen = held.look()?;
            io::Result::Ok((held, seen))
        };
        match look() {
            Ok((held, seen)) if seen.is_dir() => {
                if seen.uid != self.user && held.denies(Access::WRITE_OK | Access::EXEC_OK) {
                    let what = "is another user's folder, in which the mover may not change anything";
                    return Err(blocked(self.root, dir, what, "let the mover run as its owner, or as root"));
                }
                Ok(Some(seen))
            }
            Ok(_) => Ok(None),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(self.unreadable(dir, &error)),
        }
    }

    fn unreadable(&self, path: &RelPath, error: &io::Error) -> Failure {
        if is_elsewhere(error) {
            return blocked(self.root, path, "is a mount point, or lies below one, of another file system", "unmount it");
        }
        Failure::volume("read", &self.root.shown(path), error)
    }
}

/// That folders which make way for something else hold nothing that stays.
fn emptied<'a>(root: &Root, plan: &PullPlan, dirs: impl Iterator<Item = &'a RelPath>, stop: &Stop) -> Result<()> {
    let mut dirs = dirs.peekable();
    let goes: HashSet<&RelPath> = if dirs.peek().is_some() { plan.gone().collect() } else { HashSet::new() };
    for dir in dirs {
        stop.check()?;
        let names = match root.names(dir) {
            Ok(names) => names,
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(Failure::volume("read", &root.shown(dir), &error)),
        };
        for path in names.into_iter().map(|name| dir.child(name)).filter(|path| !goes.contains(path)) {
            let kind = match root.hold(&path).and_then(|held| held.look()) {
                Ok(seen) => not_ours(seen.kind).unwrap_or("new"),
                Err(error) if is_gone(&error) => continue,
                Err(error) if is_elsewhere(&error) => "a mount point",
                Err(error) => return Err(Failure::volume("read", &root.shown(&path), &error)),
            };
            let what = format!("is {kind} in a folder that something else is to take the place of");
            return Err(blocked(root, &path, &what, "move it elsewhere"));
        }
    }
    Ok(())
}

/// What no pull removes.
fn not_ours(kind: FileType) -> Option<&'static str> {
    match kind {
        FileType::Socket => Some("a socket"),
        FileType::BlockDevice | FileType::CharacterDevice => Some("a device"),
        _ => None,
    }
}

fn blocked(root: &Root, path: &RelPath, what: &str, cure: &str) -> Failure {
    Failure::new(Reason::VolumeUnreadable, format!("{} {what}, and nothing was changed; {cure}", root.shown(path).display()))
}
