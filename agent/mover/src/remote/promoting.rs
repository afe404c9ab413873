//! Puts content that was sent in its place, by copies that the server makes, and believes none of them unseen: their source is deleted
//! afterwards, and then they are all there is.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::{ControlSums, Listing, Remote};
use crate::error::{Failure, Result};
use crate::format::names::{CONTROL_DIR, Folder, below_ours};
use crate::report::Reason;
use crate::store::{self, Features, List, Listed, Place, slices};

/// Objects that a listing shows with one request, on S3; where fewer were copied than it takes requests, they are looked at one by one.
const PAGE: u64 = 1_000;
/// See [`List::few`].
const FEW: u64 = 10_000;

/// An object as it is seen.
#[derive(Clone, Debug)]
struct Seen {
    /// In bytes, where it is known.
    size: Option<u64>,
    /// Its MD5 sum, where the backend tells it.
    sum: Option<String>,
    /// When it was written, by the server's clock, or the file's own time where the backend keeps that.
    time: Option<Timestamp>,
}

/// What a listing showed of the content that waits in our own folder to be put in place, by its name below the path, with its sums.
#[derive(Debug, Default)]
pub struct Waiting(HashMap<Vec<u8>, Seen>);

impl Waiting {
    /// Whether it showed an object `name` in `folder` that may have `size` bytes.
    pub fn has(&self, folder: Folder, name: &[u8], size: u64) -> bool {
        self.get(folder, name).is_some_and(|seen| seen.size.is_none_or(|seen| seen == size))
    }

    /// The same, of one that has this MD5 sum, in hexadecimal, where the backend tells it.
    pub fn has_sum(&self, folder: Folder, name: &[u8], size: u64, md5: &str) -> bool {
        let same = |seen: &Seen| seen.sum.as_ref().is_none_or(|sum| sum.eq_ignore_ascii_case(md5));
        self.has(folder, name, size) && self.get(folder, name).is_some_and(same)
    }

    /// Whether it showed the MD5 sum of this one.
    pub fn tells_sum(&self, folder: Folder, name: &[u8]) -> bool {
        self.get(folder, name).is_some_and(|seen| seen.sum.is_some())
    }

    fn get(&self, folder: Folder, name: &[u8]) -> Option<&Seen> {
        self.0.get(&[folder.below().as_bytes(), name].concat())
    }

    /// All of `names`, or none.
    fn seen(&self, folder: Folder, names: &store::Names) -> HashMap<Vec<u8>, Seen> {
        let all = names.iter().map(|name| Some((name.to_vec(), self.get(folder, name).filter(|seen| seen.sum.is_some())?.clone())));
        all.collect::<Option<_>>().unwrap_or_default()
    }
}

impl Remote {
    /// As [`Self::control_sums`], with the content that waits there to be put in place: with one request, on S3, as long as there is little
    /// of it. `None` where the backend reads content for its sums, or the listing failed: where it tells sums and these are `needed`, that is
    /// a failure, and not a reason to go by less.
    pub fn waiting(&self, needed: bool) -> Result<Option<(ControlSums, Waiting)>> {
        let Features { tells_sums, slow_sums, .. } = self.features()?;
        if slow_sums {
            return Ok(None);
        }
        let (mut sums, mut waiting) = (ControlSums::new(), Waiting::default());
        let listed = self.each_of_ours(true, needed && tells_sums, &mut |listed| {
            if listed.name.contains('/') {
                let (name, seen) = seen(listed);
                waiting.0.insert([CONTROL_DIR.as_bytes(), b"/", &name].concat(), seen);
            } else {
                sums.insert(listed.name, listed.md5.unwrap_or_default());
            }
        })?;
        Ok(listed.then_some((sums, waiting)))
    }

    /// Copies `names` from one folder of the path to another, on the server where it can. The path has some `objects` in all. Returns what
    /// it has seen of the control documents, if it has, as [`Self::control_sums`] does. What `waiting` has of them is not listed again.
    pub fn promote(&self, from: Folder, to: Folder, names: &store::Names, objects: u64, waiting: &Waiting) -> Result<Option<ControlSums>> {
        let mut control = ControlSums::new();
        if self.copied(from, to, names, objects, (waiting, &mut control))? {
            return Ok(Some(control).filter(|control| !control.is_empty()));
        }
        let what = "content that was sent and waits to be put in place cannot be decrypted any more; the next attempt sends it again";
        Err(Failure::new(Reason::RemoteInconsistent, format!("{}: {what}", self.root)))
    }

    /// The same; false where any of them cannot be deciphered, which matters to a server that does not copy by itself.
    pub fn promote_whole(&self, from: Folder, to: Folder, names: &store::Names, objects: u64) -> Result<bool> {
        self.copied(from, to, names, objects, (&Waiting::default(), &mut ControlSums::new()))
    }

    fn copied(
        &self,
        from: Folder,
        to: Folder,
        names: &store::Names,
        objects: u64,
        (waiting, control): (&Waiting, &mut ControlSums),
    ) -> Result<bool> {
        if names.is_empty() {
            return Ok(true);
        }
        let mut sent = waiting.seen(from, names);
        let Features { tells_sums, slow_sums, .. } = self.features()?;
        let what = List { sums: tells_sums && !slow_sums, ..List::default() };
        if what.sums && sent.is_empty() {
            self.listed(from, what, &mut |name, seen| {
                sent.insert(name.to_vec(), seen);
            })?;
        }
        let sums = sent.values().any(|seen| seen.sum.is_some());
        if !sums {
            // Times that are compared have to be seen in the same way.
            self.looked(from, names, sums, &mut |name, seen| {
                sent.insert(name.to_vec(), seen);
            })?;
        }
        match self.store.copy(&from.below(), &to.below(), names) {
            Ok(()) => {}
            Err(error) if self.deciphers(&error)? => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let mut wrong: HashSet<&[u8]> = names.iter().copied().collect();
        let mut look = |name: &[u8], seen: Seen| settle(&mut wrong, &sent, name, &seen);
        if !sums || names.len() as u64 <= objects / PAGE {
            self.looked(to, names, sums, &mut look)?;
        } else {
            self.listed(to, List { few: objects <= FEW, ..what }, &mut |name, seen| {
                if let (Some(name), Some(sum)) = (control_document(name), &seen.sum) {
                    control.insert(name.to_owned(), sum.clone());
                }
                look(name, seen);
            })?;
        }
        if !sums && !wrong.is_empty() {
            // A server may show the time at which it has received an object until it has set the one that the object is to have.
            let again: Vec<&[u8]> = wrong.iter().copied().collect();
            let mut sent = HashMap::new();
            self.looked(from, &again, sums, &mut |name, seen| {
                sent.insert(name.to_vec(), seen);
            })?;
            self.looked(to, &again, sums, &mut |name, seen| settle(&mut wrong, &sent, name, &seen))?;
        }
        let Some(name) = wrong.iter().min() else { return Ok(true) };
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

    /// Those of `names` in `folder` that are there when they are asked for one by one, with their sizes.
    pub fn look(&self, folder: Folder, names: &store::Names) -> Result<Listing> {
        let mut found = Listing::new();
        if !names.is_empty() {
            self.looked(folder, names, false, &mut |name, seen| {
                found.insert(name.into(), seen.size.unwrap_or(u64::MAX));
            })?;
        }
        Ok(found)
    }

    fn looked(&self, folder: Folder, names: &store::Names, sums: bool, each: &mut dyn FnMut(&[u8], Seen)) -> Result<()> {
        let below = folder.below();
        let whole: Vec<Vec<u8>> = names.iter().map(|name| [below.as_bytes(), name].concat()).collect();
        let looked = self.store.look(&slices(&whole), sums, &mut |listed| {
            let (name, seen) = seen(listed);
            each(name.strip_prefix(below.as_bytes()).unwrap_or(&name), seen);
        });
        Ok(looked?)
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
    let name = std::str::from_utf8(below_ours(name)?).ok()?;
    (!name.contains('/')).then_some(name)
}

fn seen(listed: Listed) -> (Vec<u8>, Seen) {
    (listed.name.into_bytes(), Seen { size: listed.size, sum: listed.md5, time: listed.time.parse().ok() })
}

/// What is found as it was `sent` is not `wrong`.
fn settle(wrong: &mut HashSet<&[u8]>, sent: &HashMap<Vec<u8>, Seen>, name: &[u8], seen: &Seen) {
    if sent.get(name).is_some_and(|sent| agree(sent, seen)) {
        wrong.remove(name);
    }
}

/// Whether `copy` may be one of `sent`: as far as is known of both. Where there are no sums (crypt, many WebDAV servers), the older object of
/// that name could have the size, too; but it is older than what was sent.
fn agree(sent: &Seen, copy: &Seen) -> bool {
    let sizes = sent.size.zip(copy.size).is_none_or(|(sent, copy)| sent == copy);
    let rest = match (&sent.sum, &copy.sum) {
        (Some(sent), Some(copy)) => sent == copy,
        _ => sent.time.zip(copy.time).is_none_or(|(sent, copy)| copy >= sent),
    };
    sizes && rest
}
