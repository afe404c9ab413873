//! The store that a sync sees: the objects in memory, one step at a time, with what a history has in store for that step.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Seek};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use scribe_mover::error::Failure;
use scribe_mover::scratch::Scratch;
use scribe_mover::stop::Stop;
use scribe_mover::store::{
    Class, Content, Features, Fetch, List, Listed, Names, Place, Put, Replacing, Result, Store, StoreError, Sum, Upload,
};
use scribe_mover::volume::hash::md5_hex;

use crate::baton::Baton;
use crate::fate::{Fate, LOOK, LOOK_OF_FILES, Outcome, Step, killed};
use crate::faults::Fault;
use crate::history::Layout;
use crate::objects::{Kind, Name, Object, Objects, join, sha256, show};
use crate::rules::{Write, Writer};
use crate::volume::{Edit, Tree, tree};
use crate::world::World;

/// One sync's way to the path.
#[derive(Debug)]
pub struct Memory {
    pub name: String,
    pub kind: Kind,
    pub layout: Layout,
    pub world: Arc<Mutex<World>>,
    pub scratch: Arc<Scratch>,
    pub baton: Option<Baton>,
    /// Of a push: its volume, who writes to that meanwhile, and what it held, from the beginning on.
    pub volume: Option<PathBuf>,
    pub edits: Mutex<Vec<(u32, Edit)>>,
    pub held: Mutex<Vec<Arc<Tree>>>,
    pub stop: Stop,
    pub writer: Writer,
    pub fate: Arc<Mutex<Fate>>,
}

impl Memory {
    /// Takes one step. `effect` changes the world, or reads it.
    fn step<T>(&self, what: &str, step: &Step, effect: impl FnOnce(&mut World, &Outcome) -> Result<T>) -> Result<T> {
        if let Some(baton) = &self.baton {
            baton.wait();
        }
        let mut fate = self.fate.lock().unwrap();
        if fate.dead || self.stop.requested() {
            return Err(killed());
        }
        let outcome = fate.next(step);
        self.edit(fate.steps);
        let mut world = self.world.lock().unwrap();
        let last = world.takes_step(&mut fate);
        let looked = match (self.kind.no_sums, self.layout) {
            (false, _) => last[LOOK - 1],
            (true, Layout::Files) => last[LOOK - LOOK_OF_FILES],
            (true, Layout::Packs) => last[0],
        };
        let is_write = matches!(step, Step::Write(_) | Step::Copy(_));
        if is_write {
            fate.writes += 1;
            world.remember();
        }
        let result = match &outcome {
            Outcome::Error { whole: false, partly: false, error } => Err(error.clone()),
            Outcome::Error { error, .. } => effect(&mut world, &outcome).and(Err(error.clone())),
            _ => effect(&mut world, &outcome),
        };
        let shown = match (&outcome, result.as_ref().err()) {
            (Outcome::Lie(fault), _) => format!(" LIE {fault:?}"),
            (Outcome::Stops(steps), _) => format!(" STOPS after {steps} steps"),
            (_, Some(error)) => format!(" -> {error}"),
            _ => String::new(),
        };
        world.note(|| format!("{:8} {what}{shown}", self.name));
        if let Step::Write(name) | Step::Copy(name) = step
            && world.has_changed()
        {
            world.check(Write { name, by: &self.writer, first: fate.first, looked, lies: fate.lies }, &self.held.lock().unwrap());
        }
        if let Outcome::Stops(steps) = outcome {
            self.stop.request_after(steps);
        }
        result
    }

    /// Somebody writes to the volume while it is pushed.
    fn edit(&self, step: u32) {
        let mut edits = self.edits.lock().unwrap();
        while let Some(at) = edits.iter().position(|(at, _)| *at <= step) {
            let (_, edit) = edits.remove(at);
            let Some(volume) = &self.volume else { continue };
            edit.apply(volume);
            self.held.lock().unwrap().push(Arc::new(tree(volume)));
            self.world.lock().unwrap().note(|| format!("{:8} {edit:?}", self.name));
        }
    }

    fn put_one(&self, name: &[u8], content: &[u8], time: Timestamp) -> Result<()> {
        let kind = self.kind;
        self.step(&format!("put {}", show(name)), &Step::Write(name), |world, outcome| {
            let time = if kind.own_times { time } else { world.time };
            match outcome {
                Outcome::Error { whole: false, .. } if kind.destroys => {
                    world.now.remove(name);
                    world.now.put(kind, name, Object::new(&content[..content.len() / 2], time))
                }
                Outcome::Error { whole: false, .. } if kind.renames => {
                    let partial = [name, b".0123abcd.partial"].concat();
                    world.now.put(kind, &partial, Object::new(&content[..content.len() / 2], time))
                }
                // As S3 does: nothing of it.
                Outcome::Error { whole: false, .. } | Outcome::Lie(_) => Ok(()),
                _ => world.now.put(kind, name, Object::new(content, time)),
            }
        })
    }

    /// What was sent, by the names.
    fn put_all(&self, mut files: Vec<Upload>, to: &str) -> Result<HashMap<Name, Content>> {
        files.sort_by(|a, b| a.name.cmp(b.name));
        self.fate.lock().unwrap().rng.shuffle(&mut files);
        let mut sent = HashMap::new();
        for Upload { name, mut file } in files {
            let time = scratch(file.metadata().and_then(|meta| meta.modified()))?;
            let time = Timestamp::try_from(time).unwrap_or_default();
            let mut content = Vec::new();
            // As rclone does, which opens it by itself.
            scratch(file.rewind())?;
            scratch(file.read_to_end(&mut content))?;
            self.put_one(&join(to, name), &content, time)?;
            let (size, sha256, md5) = (content.len() as u64, sha256(&content), md5_hex(&content));
            sent.insert(name.to_vec(), Content { size, sha256, md5 });
        }
        Ok(sent)
    }

    /// The content of an object, as it is or as it is said to be.
    fn get_one(&self, name: &[u8]) -> Result<Option<Object>> {
        let mut hides = false;
        let found = self.step(&format!("get {}", show(name)), &Step::Read, |world, outcome| {
            let there = world.now.get(name).cloned();
            hides = matches!(outcome, Outcome::Lie(Fault::Hidden));
            Ok(match outcome {
                Outcome::Lie(Fault::Gone) => None,
                Outcome::Lie(Fault::Half) => there.map(|object| Object::new(&object.content[..object.content.len() / 2], object.time)),
                Outcome::Lie(Fault::Old(ago)) => world.old(usize::from(*ago)).and_then(|old| old.get(name).cloned()).or(there),
                _ => there,
            })
        })?;
        let mut fate = self.fate.lock().unwrap();
        if hides {
            fate.hidden = Some(name.to_vec());
        }
        Ok(found.filter(|_| fate.hidden.as_deref() != Some(name)))
    }

    /// In an order of this sync's own: rclone has several on their way.
    fn shuffled(&self, names: &Names) -> Vec<Name> {
        let mut names: Vec<Name> = names.iter().map(|name| name.to_vec()).collect();
        names.sort();
        self.fate.lock().unwrap().rng.shuffle(&mut names);
        names
    }
}

fn missing(count: usize, of: usize) -> Result<()> {
    match count {
        0 => Ok(()),
        count if count == of => Err(StoreError::absence(Class::NotFound, "object not found")),
        _ => Err(StoreError::new(Class::NotFound, "object not found")),
    }
}

fn scratch<T>(result: std::io::Result<T>) -> Result<T> {
    result.map_err(|error| Failure::scratch(&error).into())
}

impl Store for Memory {
    fn kind(&self) -> Option<&str> {
        Some("memory")
    }

    fn features(&self) -> Result<Features> {
        Ok(Features {
            keeps_folders: self.kind.folders,
            folds_case: false,
            tells_sums: !self.kind.no_sums,
            slow_sums: self.kind.no_sums,
            noted_sums: false,
            keeps_times: self.kind.own_times.then_some(1),
            is_overlay: false,
            reads_once: self.kind.once,
        })
    }

    fn replacing(&self) -> Result<Replacing> {
        Ok(Replacing { destroys: self.kind.destroys, renames: self.kind.renames })
    }

    fn read(&self, name: &str, most: u64) -> Result<Option<PathBuf>> {
        let Some(object) = self.get_one(name.as_bytes())? else { return Ok(None) };
        if object.content.len() as u64 > most {
            return Err(StoreError::new(Class::TooLarge, "more than was asked for"));
        }
        let path = self.scratch.fresh("read");
        scratch(fs::write(&path, &object.content))?;
        Ok(Some(path))
    }

    fn range(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let object = self.get_one(name.as_bytes())?;
        let part =
            |object: Object| Some(object.content.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)?.to_vec());
        object.and_then(part).ok_or_else(|| StoreError::new(Class::Other, "no such bytes"))
    }

    fn fetch(&self, from: &str, to: &Path, names: &Names, _: Fetch) -> Result<()> {
        use std::os::unix::ffi::OsStrExt;
        let mut absent = 0;
        for name in self.shuffled(names) {
            let Some(object) = self.get_one(&join(from, &name))? else {
                absent += 1;
                continue;
            };
            let path = to.join(std::ffi::OsStr::from_bytes(&name));
            scratch(path.parent().map_or(Ok(()), fs::create_dir_all))?;
            scratch(fs::write(path, &object.content))?;
        }
        missing(absent, names.len())
    }

    fn put(&self, files: Vec<Upload>, to: &str, _: Put) -> Result<()> {
        self.put_all(files, to).map(drop)
    }

    fn put_once(&self, files: Vec<Upload>, to: &str) -> Result<Vec<Content>> {
        let names: Vec<Name> = files.iter().map(|file| file.name.to_vec()).collect();
        let sent = self.put_all(files, to)?;
        Ok(names.iter().map(|name| sent[name].clone()).collect())
    }

    fn copy(&self, from: &str, to: &str, names: &Names) -> Result<()> {
        let mut absent = 0;
        for name in self.shuffled(names) {
            let (from, to) = (join(from, &name), join(to, &name));
            let kind = self.kind;
            let found = self.step(&format!("copy {} {}", show(&from), show(&to)), &Step::Copy(&to), |world, outcome| {
                let Some(object) = world.now.get(&from).cloned() else { return Ok(false) };
                let object = Object { time: if kind.own_times { object.time } else { world.time }, ..object };
                match outcome {
                    Outcome::Lie(Fault::Miscopied) => {
                        world.now.put(kind, &to, Object::new(&[&object.content[..], b"!"].concat(), object.time))?;
                    }
                    Outcome::Error { whole: false, .. } if kind.destroys => world.now.remove(&to),
                    Outcome::Error { whole: false, .. } => {}
                    _ => world.now.put(kind, &to, object)?,
                }
                Ok(true)
            })?;
            absent += usize::from(!found);
        }
        missing(absent, names.len())
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let kind = self.kind;
        self.step(&format!("rename {from} {to}"), &Step::Write(to.as_bytes()), |world, outcome| {
            let Some(object) = world.now.get(from.as_bytes()).cloned() else { return missing(1, 1) };
            if !matches!(outcome, Outcome::Error { whole: false, .. } | Outcome::Lie(_)) {
                world.now.put(kind, to.as_bytes(), object)?;
                world.now.remove(from.as_bytes());
            }
            Ok(())
        })
    }

    fn delete(&self, names: &Names) -> Result<()> {
        for name in self.shuffled(names) {
            self.step(&format!("delete {}", show(&name)), &Step::Write(&name), |world, outcome| {
                if !matches!(outcome, Outcome::Error { whole: false, .. }) {
                    world.now.remove(&name);
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn list(&self, place: Place, what: List, each: &mut dyn FnMut(Listed)) -> Result<()> {
        let below = match place {
            Place::Path(below) => below,
            // Above the path there is nothing but a server, and the folders on the way.
            Place::Section("") => {
                each(Listed { name: "bucket".into(), is_folder: true, ..Listed::default() });
                return Ok(());
            }
            Place::Section(_) => return Err(StoreError::absence(Class::NotFound, "directory not found")),
        };
        let prefix = below.as_bytes();
        let mut hides = None;
        let mut state: Objects = self.step(&format!("list {below}"), &Step::List, |world, outcome| {
            let mut state = world.now.clone();
            match outcome {
                Outcome::Lie(Fault::Gone) => state.all.clear(),
                Outcome::Lie(Fault::Half) => {
                    let listed: Vec<Name> = state.all.keys().filter(|name| name.starts_with(prefix)).cloned().collect();
                    if let Some(name) = listed.get(listed.len() / 2) {
                        state.all.remove(name);
                    }
                }
                Outcome::Lie(Fault::Old(ago)) => {
                    if let Some(old) = world.old(usize::from(*ago)) {
                        state = Objects::clone(&old);
                    }
                }
                Outcome::Lie(Fault::Unlisted(at)) => {
                    let listed: Vec<&Name> = state.all.keys().filter(|name| name.starts_with(prefix)).collect();
                    hides = listed.get(usize::from(*at) % listed.len().max(1)).map(|name| (*name).clone());
                }
                _ => {}
            }
            Ok(state)
        })?;
        {
            let mut fate = self.fate.lock().unwrap();
            fate.unlisted = hides.or(fate.unlisted.take());
            if let Some(name) = &fate.unlisted {
                state.all.remove(name);
            }
        }
        if !state.bucket {
            return Err(StoreError::absence(Class::BucketMissing, "the bucket does not exist"));
        }
        let mut any = false;
        for (name, object) in state.all.range(prefix.to_vec()..).take_while(|(name, _)| name.starts_with(prefix)) {
            any = true;
            let name = &name[prefix.len()..];
            if !what.recursive && name.contains(&b'/') {
                continue;
            }
            each(Listed {
                name: String::from_utf8(name.to_vec()).unwrap(),
                size: Some(object.content.len() as u64),
                time: if what.times { object.time.to_string() } else { String::new() },
                md5: (what.sums && !self.kind.no_sums).then(|| md5_hex(&object.content)),
                is_folder: false,
            });
        }
        if any || !self.kind.folders || below.is_empty() || state.folders.contains(below.trim_end_matches('/').as_bytes()) {
            return Ok(());
        }
        Err(StoreError::absence(Class::NotFound, "directory not found"))
    }

    fn look(&self, names: &Names, sums: bool, each: &mut dyn FnMut(Listed)) -> Result<()> {
        for name in self.shuffled(names) {
            if let Some(object) = self.get_one(&name)? {
                each(Listed {
                    name: String::from_utf8(name).unwrap(),
                    size: Some(object.content.len() as u64),
                    time: if sums { String::new() } else { object.time.to_string() },
                    md5: (sums && !self.kind.no_sums).then(|| md5_hex(&object.content)),
                    ..Listed::default()
                });
            }
        }
        Ok(())
    }

    fn sums(&self, kind: Sum, names: &Names, each: &mut dyn FnMut(&[u8], &str)) -> Result<()> {
        for name in self.shuffled(names) {
            if let Some(object) = self.get_one(&name)? {
                match kind {
                    Sum::Sha256 => each(&name, &object.sha256.hex()),
                    Sum::Md5 => each(&name, &md5_hex(&object.content)),
                }
            }
        }
        Ok(())
    }

    fn make(&self) -> Result<()> {
        self.step("make", &Step::Write(b""), |world, outcome| {
            world.now.bucket |= !matches!(outcome, Outcome::Error { whole: false, .. });
            Ok(())
        })
    }

    fn remove_empty_folders(&self, below: &str) -> Result<()> {
        self.step(&format!("rmdirs {below}"), &Step::Write(b""), |world, _| {
            world.now.remove_empty(below.trim_end_matches('/').as_bytes());
            Ok(())
        })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let (steps, name) = (self.fate.lock().unwrap().steps, self.name.clone());
        if let Ok(mut world) = self.world.lock() {
            world.has_ended(self.writer.sync);
            world.note(|| format!("{name:8} ends after {steps} steps"));
        }
    }
}
