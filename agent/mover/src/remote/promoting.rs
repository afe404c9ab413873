//! Puts content that was sent in its place, by copies that the server makes, and believes none of them unseen: their source is deleted
//! afterwards, and then they are all there is.

use std::collections::HashMap;

use super::{ControlSums, Remote};
use crate::error::{Failure, Result};
use crate::format::names::{CONTROL_DIR, Folder};
use crate::report::Reason;
use crate::store::{self, List, Listed, Place, slices};

/// Objects that a listing shows with one request, on S3; where fewer were copied than it takes requests, they are looked at one by one.
const PAGE: u64 = 1_000;
/// See [`List::few`].
const FEW: u64 = 10_000;

/// An object as it is seen: size, where it is known, and sum.
type Seen = (Option<u64>, Option<String>);

impl Remote {
    /// Copies `names` from one folder of the path to another, on the server where it can. The path has some `objects` in all. Returns what
    /// it has seen of the control documents, if it has, as [`Self::control_sums`] does.
    pub fn promote(&self, from: Folder, to: Folder, names: &store::Names, objects: u64) -> Result<Option<ControlSums>> {
        let mut control = ControlSums::new();
        if self.copied(from, to, names, objects, &mut control)? {
            return Ok(Some(control).filter(|control| !control.is_empty()));
        }
        let what = "content that was sent and waits to be put in place cannot be decrypted any more; the next attempt sends it again";
        Err(Failure::new(Reason::RemoteInconsistent, format!("{}: {what}", self.root)))
    }

    /// The same; false where any of them cannot be deciphered, which matters to a server that does not copy by itself.
    pub fn promote_whole(&self, from: Folder, to: Folder, names: &store::Names, objects: u64) -> Result<bool> {
        self.copied(from, to, names, objects, &mut ControlSums::new())
    }

    fn copied(&self, from: Folder, to: Folder, names: &store::Names, objects: u64, control: &mut ControlSums) -> Result<bool> {
        if names.is_empty() {
            return Ok(true);
        }
        let sums = !self.features()?.slow_sums;
        let mut sent: HashMap<Vec<u8>, Seen> = HashMap::new();
        self.listed(from, List { sums, ..List::default() }, &mut |name, seen| {
            sent.insert(name.to_vec(), seen);
        })?;
        match self.store.copy(&from.below(), &to.below(), names) {
            Ok(()) => {}
            Err(error) if self.deciphers(&error)? => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let mut wrong: HashMap<&[u8], Option<&Seen>> = names.iter().map(|name| (*name, sent.get(*name))).collect();
        let mut look = |name: &[u8], seen: Seen| {
            // What the listing of the source did not show, there is nothing to hold against.
            if wrong.get(name).is_some_and(|sent| sent.is_none_or(|sent| agree(sent, &seen))) {
                wrong.remove(name);
            }
        };
        if names.len() as u64 <= objects / PAGE {
            let below = to.below();
            let whole: Vec<Vec<u8>> = names.iter().map(|name| [below.as_bytes(), name].concat()).collect();
            self.store.look(&slices(&whole), sums, &mut |listed| {
                let (name, seen) = seen(listed);
                look(name.strip_prefix(below.as_bytes()).unwrap_or(&name), seen);
            })?;
        } else {
            self.listed(to, List { sums, few: objects <= FEW, ..List::default() }, &mut |name, seen| {
                if let (Some(name), Some(sum)) = (control_document(name), &seen.1) {
                    control.insert(name.to_owned(), sum.clone());
                }
                look(name, seen);
            })?;
        }
        let Some(name) = wrong.keys().min() else { return Ok(true) };
        Err(Failure::new(
            Reason::RemoteInconsistent,
            format!(
                "{}: the server has copied content that was sent to its place, and {}{} is not there as it was sent ({} of {}); what was sent is kept, pulls use it, and the next attempt copies it again",
                self.root,
                to.below(),
                String::from_utf8_lossy(name),
                wrong.len(),
                names.len()
            ),
        ))
    }

    fn listed(&self, folder: Folder, what: List, each: &mut dyn FnMut(&[u8], Seen)) -> Result<()> {
        let listed = self.store.list(Place::Path(&folder.below()), List { recursive: true, ..what }, &mut |listed| {
            let (name, seen) = seen(listed);
            each(&name, seen);
        });
        match listed {
            Err(error) if !error.is_absence() => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// The name of a document right in our own folder.
fn control_document(name: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(name).ok()?.strip_prefix(CONTROL_DIR)?.strip_prefix('/')?;
    (!name.contains('/')).then_some(name)
}

fn seen(listed: Listed) -> (Vec<u8>, Seen) {
    (listed.name.into_bytes(), (listed.size, listed.md5))
}

/// Whether both may be the same: as far as either is known.
fn agree(one: &Seen, other: &Seen) -> bool {
    let same = |one: Option<&str>, other: Option<&str>| one.is_none() || other.is_none() || one == other;
    (one.0.is_none() || other.0.is_none() || one.0 == other.0) && same(one.1.as_deref(), other.1.as_deref())
}
