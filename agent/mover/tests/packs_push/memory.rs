//! Objects in memory, and a way to kill a push between two of its writes.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{Read, Seek};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use scribe_mover::scratch::Scratch;
use scribe_mover::store::{
    Class, Content, Features, Fetch, List, Listed, Names, Place, Put, Replacing, Result, Store, StoreError, Sum, Upload,
};
use scribe_mover::volume::hash::md5_hex;

/// What lies on a remote path, and what was asked of it.
#[derive(Clone, Default)]
pub struct Objects {
    pub all: BTreeMap<String, Arc<[u8]>>,
    /// Writes that come through before the push is killed.
    pub left: Option<usize>,
    pub writes: usize,
    /// Puts, of which none may be of a name that was used before, but for commit and claim.
    pub names: BTreeMap<String, usize>,
    pub requests: usize,
    /// What so many listings do not show although it is there.
    pub unlisted: Option<(String, usize)>,
    /// What happens right before an object of this name is written.
    pub before: Option<Before>,
    /// What happens right before the next listing, by its folder.
    pub before_list: Option<Before>,
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
    fn write(&self, effect: impl FnOnce(&mut Objects)) -> Result<()> {
        let mut objects = self.objects.lock().unwrap();
        if objects.left == Some(0) {
            return Err(StoreError::new(Class::Killed, "killed"));
        }
        objects.left = objects.left.map(|left| left - 1);
        objects.writes += 1;
        objects.requests += 1;
        effect(&mut objects);
        Ok(())
    }

    fn get(&self, name: &str) -> Option<Arc<[u8]>> {
        let mut objects = self.objects.lock().unwrap();
        objects.requests += 1;
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
        Ok(Features { tells_sums: true, ..Features::default() })
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
        for name in names {
            let Some(object) = self.get(&(from.to_owned() + &text(name))) else {
                return Err(StoreError::absence(Class::NotFound, "object not found"));
            };
            let path = to.join(text(name));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, object).unwrap();
        }
        Ok(())
    }

    fn put(&self, files: Vec<Upload>, to: &str, _: Put) -> Result<()> {
        for Upload { name, mut file } in files {
            let mut content = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut content).unwrap();
            let name = to.to_owned() + &text(name);
            self.write(|objects| {
                if let Some(before) = objects.before.clone() {
                    before(&name, objects);
                }
                *objects.names.entry(name.clone()).or_default() += 1;
                objects.all.insert(name, content.into());
            })?;
        }
        Ok(())
    }

    fn put_once(&self, _: Vec<Upload>, _: &str) -> Result<Vec<Content>> {
        unreachable!("nothing is sent so")
    }

    fn copy(&self, _: &str, _: &str, _: &Names) -> Result<()> {
        unreachable!("nothing is copied")
    }

    fn rename(&self, _: &str, _: &str) -> Result<()> {
        unreachable!("nothing is renamed")
    }

    fn delete(&self, names: &Names) -> Result<()> {
        for name in names {
            self.write(|objects| drop(objects.all.remove(&text(name))))?;
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
        let hidden = objects.unlisted.take();
        objects.unlisted = hidden.clone().and_then(|(name, left)| Some((name, left.checked_sub(1).filter(|left| *left > 0)?)));
        for (name, content) in &objects.all {
            if hidden.as_ref().is_some_and(|(hidden, _)| hidden == name) {
                continue;
            }
            let Some(name) = name.strip_prefix(below).filter(|name| what.recursive || !name.contains('/')) else { continue };
            let md5 = what.sums.then(|| md5_hex(content));
            each(Listed { name: name.to_owned(), size: Some(content.len() as u64), md5, ..Listed::default() });
        }
        Ok(())
    }

    fn look(&self, _: &Names, _: bool, _: &mut dyn FnMut(Listed)) -> Result<()> {
        unreachable!("nothing is looked at")
    }

    fn sums(&self, _: Sum, _: &Names, _: &mut dyn FnMut(&[u8], &str)) -> Result<()> {
        unreachable!("no sums are asked for")
    }

    fn make(&self) -> Result<()> {
        Ok(())
    }

    fn remove_empty_folders(&self, _: &str) -> Result<()> {
        Ok(())
    }
}
