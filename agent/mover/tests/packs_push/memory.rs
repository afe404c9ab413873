//! Objects in memory, and a way to kill a push between two of its writes.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{Read, Seek};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use scribe_mover::digest::Digest;
use scribe_mover::scratch::Scratch;
use scribe_mover::store::{
    Class, Condition, Conditional, Content, Features, Fetch, List, Listed, Names, Place, Put, Replacing, Result, Store, StoreError, Sum,
    Upload,
};
use scribe_mover::volume::hash::md5_hex;
use sha2::{Digest as _, Sha256};

/// What lies on a remote path, and what was asked of it.
#[derive(Clone, Default)]
pub struct Objects {
    pub all: BTreeMap<String, Arc<[u8]>>,
    /// Writes that come through before the push is killed.
    pub left: Option<usize>,
    /// Writes that come through before one fails, alone.
    pub fails: Option<usize>,
    /// The name of that one.
    pub failed: Option<String>,
    /// What time it is by the server; none if it tells no times.
    pub now: Option<Timestamp>,
    pub times: BTreeMap<String, Timestamp>,
    pub writes: usize,
    /// Puts, of which none may be of a name that was used before, but for commit and claim.
    pub names: BTreeMap<String, usize>,
    pub requests: usize,
    /// Listings have no MD5 sums.
    pub no_sums: bool,
    /// Nor have those of names that begin so.
    pub sumless: Option<String>,
    /// What so many listings do not show although it is there.
    pub unlisted: Option<(String, usize)>,
    /// Listings of all of our own folder that come through before one fails, alone.
    pub unlistable: Option<usize>,
    /// What happens right before an object of this name is written.
    pub before: Option<Before>,
    /// How it heeds the condition of a write; not at all if there is nothing.
    pub conditions: Option<Heeds>,
    /// What happens right before the next object is read, by its name.
    pub before_get: Option<Before>,
    /// What happens right before the next listing, by its folder.
    pub before_list: Option<Before>,
}

/// How a backend heeds conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heeds {
    /// As they say.
    Truly,
    /// The answer to a write that succeeds is lost, and the second try is refused.
    Late,
    /// By sums that are no MD5 sums.
    OtherSums,
}

/// What happens before a write, by the name.
pub type Before = Arc<dyn Fn(&str, &mut Objects) + Send + Sync>;

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.all.keys()).finish()
    }
}

#[derive(Debug)]
pub struct Memory {
    pub objects: Arc<Mutex<Objects>>,
    pub scratch: Arc<Scratch>,
}

impl Memory {
    fn write(&self, name: &str, effect: impl FnOnce(&mut Objects)) -> Result<()> {
        let mut objects = self.objects.lock().unwrap();
        if objects.left == Some(0) {
            return Err(StoreError::new(Class::Killed, "killed"));
        }
        objects.left = objects.left.map(|left| left - 1);
        objects.writes += 1;
        let fails = objects.fails;
        objects.fails = fails.and_then(|left| left.checked_sub(1));
        if fails == Some(0) {
            objects.failed = Some(name.to_owned());
            return Err(StoreError::new(Class::Other, "this write fails"));
        }
        objects.requests += 1;
        effect(&mut objects);
        Ok(())
    }

    fn get(&self, name: &str) -> Option<Arc<[u8]>> {
        let mut objects = self.objects.lock().unwrap();
        objects.requests += 1;
        if let Some(before) = objects.before_get.take() {
            before(name, &mut objects);
        }
        objects.all.get(name).cloned()
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8(name.to_vec()).unwrap()
}

impl Store for Memory {
    fn kind(&self) -> Option<&str> {
        Some("memory")
    }

    fn features(&self) -> Result<Features> {
        let no_sums = self.objects.lock().unwrap().no_sums;
        Ok(Features { tells_sums: !no_sums, slow_sums: no_sums, ..Features::default() })
    }

    fn replacing(&self) -> Result<Replacing> {
        Ok(Replacing { destroys: false, renames: false })
    }

    fn read(&self, name: &str, most: u64) -> Result<Option<PathBuf>> {
        let Some(object) = self.get(name) else { return Ok(None) };
        if object.len() as u64 > most {
            return Err(StoreError::new(Class::TooLarge, "more than was asked for"));
        }
        let path = self.scratch.fresh("read");
        fs::write(&path, object).unwrap();
        Ok(Some(path))
    }

    fn range(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let part = self
            .get(name)
            .and_then(|object| object.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?).map(<[u8]>::to_vec));
        part.ok_or_else(|| StoreError::new(Class::Other, "no such bytes"))
    }

    fn fetch(&self, from: &str, to: &Path, names: &Names, _: Fetch) -> Result<()> {
        let mut missing = 0;
        for name in names {
            let Some(object) = self.get(&(from.to_owned() + &text(name))) else {
                missing += 1;
                continue;
            };
            let path = to.join(text(name));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, object).unwrap();
        }
        match missing {
            0 => Ok(()),
            all if all == names.len() => Err(StoreError::absence(Class::NotFound, "object not found")),
            _ => Err(StoreError::new(Class::NotFound, "object not found")),
        }
    }

    fn put(&self, files: Vec<Upload>, to: &str, _: Put) -> Result<()> {
        for Upload { name, mut file } in files {
            let mut content = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut content).unwrap();
            let name = to.to_owned() + &text(name);
            self.write(&name.clone(), |objects| {
                if let Some(before) = objects.before.clone() {
                    before(&name, objects);
                }
                *objects.names.entry(name.clone()).or_default() += 1;
                if let Some(now) = objects.now {
                    objects.times.insert(name.clone(), now);
                }
                objects.all.insert(name, content.into());
            })?;
        }
        Ok(())
    }

    fn put_if(&self, document: Upload, to: &str, condition: &Condition) -> Result<Conditional> {
        let name = to.to_owned() + &text(document.name);
        let heeds = self.objects.lock().unwrap().conditions;
        let Some(heeds) = heeds else { return Ok(Conditional::Unknown) };
        {
            let mut objects = self.objects.lock().unwrap();
            if let Some(before) = objects.before.clone() {
                before(&name, &mut objects);
            }
            let there = objects.all.get(&name).map(|there| md5_hex(there));
            let holds = match condition {
                Condition::Absent => there.is_none(),
                Condition::Sum(md5) => there.as_ref() == Some(md5),
            };
            if !holds || heeds == Heeds::OtherSums {
                objects.requests += 1;
                return Ok(Conditional::Refused);
            }
        }
        self.put(vec![document], to, Put::Document { checked: false })?;
        Ok(if heeds == Heeds::Late { Conditional::Refused } else { Conditional::Written })
    }

    fn put_once(&self, _: Vec<Upload>, _: &str) -> Result<Vec<Content>> {
        unreachable!("nothing is sent so")
    }

    fn copy(&self, from: &str, to: &str, names: &Names) -> Result<()> {
        for name in names {
            let (from, to) = (from.to_owned() + &text(name), to.to_owned() + &text(name));
            let Some(content) = self.get(&from) else { return Err(StoreError::absence(Class::NotFound, "object not found")) };
            self.write(&to.clone(), |objects| drop(objects.all.insert(to, content)))?;
        }
        Ok(())
    }

    fn rename(&self, _: &str, _: &str) -> Result<()> {
        unreachable!("nothing is renamed")
    }

    fn delete(&self, names: &Names) -> Result<()> {
        for name in names {
            let name = text(name);
            self.write(&name, |objects| drop(objects.all.remove(&name)))?;
        }
        Ok(())
    }

    fn list(&self, place: Place, what: List, each: &mut dyn FnMut(Listed)) -> Result<()> {
        let Place::Path(below) = place else { return Err(StoreError::absence(Class::NotFound, "directory not found")) };
        let mut objects = self.objects.lock().unwrap();
        objects.requests += 1;
        if let Some(before) = objects.before_list.take() {
            before(below, &mut objects);
        }
        if below == ".scribe/" && what.recursive {
            let left = objects.unlistable;
            objects.unlistable = left.and_then(|left| left.checked_sub(1));
            if left == Some(0) {
                return Err(StoreError::new(Class::Other, "this listing fails"));
            }
        }
        let hidden = objects.unlisted.take();
        objects.unlisted = hidden.clone().and_then(|(name, left)| Some((name, left.checked_sub(1).filter(|left| *left > 0)?)));
        for (whole, content) in &objects.all {
            let name = whole;
            if hidden.as_ref().is_some_and(|(hidden, _)| hidden == name) {
                continue;
            }
            let Some(name) = name.strip_prefix(below).filter(|name| what.recursive || !name.contains('/')) else { continue };
            let sumless = objects.no_sums || objects.sumless.as_ref().is_some_and(|sumless| whole.starts_with(sumless));
            let md5 = (what.sums && !sumless).then(|| md5_hex(content));
            let time = objects.times.get(whole).filter(|_| what.times).map_or_else(String::new, ToString::to_string);
            each(Listed { name: name.to_owned(), size: Some(content.len() as u64), time, md5, ..Listed::default() });
        }
        Ok(())
    }

    fn look(&self, names: &Names, sums: bool, each: &mut dyn FnMut(Listed)) -> Result<()> {
        for name in names {
            let name = text(name);
            let Some(content) = self.get(&name) else { continue };
            each(Listed { name, size: Some(content.len() as u64), md5: sums.then(|| md5_hex(&content)), ..Listed::default() });
        }
        Ok(())
    }

    fn sums(&self, kind: Sum, names: &Names, each: &mut dyn FnMut(&[u8], &str)) -> Result<()> {
        for name in names {
            let Some(content) = self.get(&text(name)) else { continue };
            let sum = match kind {
                Sum::Sha256 => Digest(Sha256::digest(&content).into()).hex(),
                Sum::Md5 => md5_hex(&content),
            };
            each(name, &sum);
        }
        Ok(())
    }

    fn make(&self) -> Result<()> {
        Ok(())
    }

    fn remove_empty_folders(&self, _: &str) -> Result<()> {
        Ok(())
    }
}
