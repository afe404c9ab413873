//! A store that lies, or is killed, at any one verb: a rule of the test says at which. Every other verb goes to the store behind it.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use scribe_mover::digest::Digest;
use scribe_mover::format::names::CONTROL_DIR;
use scribe_mover::store::{
    Class, Content, Features, Fetch, List, Listed, Names, Place, Put, Replacing, Result, Store, StoreError, Sum, Upload, slices,
};

/// A verb, and what a rule can know of it.
pub(crate) enum Verb<'a> {
    Read(&'a str),
    Range,
    Fetch(&'a Names<'a>),
    Put { to: &'a str, names: &'a Names<'a> },
    Copy { from: &'a str, names: &'a Names<'a> },
    Rename { to: &'a str },
    Delete(&'a Names<'a>),
    List(List),
    Look,
    Sums,
    Make,
    RemoveEmptyFolders,
}

/// Reads this control object.
pub(crate) fn reads(name: &'static str) -> impl Fn(&Verb) -> bool + Send {
    move |verb| matches!(verb, Verb::Read(read) if control(read) == Some(name))
}

/// Fetches manifests.
pub(crate) fn fetches_manifests(verb: &Verb) -> bool {
    matches!(verb, Verb::Fetch(names) if names.iter().any(|name| name.starts_with(b"manifests/")))
}

/// Sends an object of this name, to any folder. A document may get its name by being renamed.
pub(crate) fn sends(name: &'static str) -> impl Fn(&Verb) -> bool + Send {
    move |verb| match verb {
        Verb::Put { names, .. } => names.contains(&name.as_bytes()),
        Verb::Rename { to } => control(to) == Some(name),
        _ => false,
    }
}

/// Sends the manifest of a revision whose content is not sent yet.
pub(crate) fn announces(verb: &Verb) -> bool {
    matches!(verb, Verb::Put { names, .. } if names.iter().any(|name| name.starts_with(b"manifests/")))
}

/// Sends what replaces something, and waits for the commit.
pub(crate) fn stages(verb: &Verb) -> bool {
    matches!(verb, Verb::Put { to, .. } if is_staged(to))
}

/// Puts what was staged in place.
pub(crate) fn promotes(verb: &Verb) -> bool {
    matches!(verb, Verb::Copy { from, .. } if is_staged(from))
}

/// Deletes the object of this name.
pub(crate) fn deletes(name: &'static str) -> impl Fn(&Verb) -> bool + Send {
    move |verb| matches!(verb, Verb::Delete(names) if names.contains(&name.as_bytes()))
}

/// Lists a folder.
pub(crate) fn lists(verb: &Verb) -> bool {
    matches!(verb, Verb::List(_))
}

/// Lists a folder with everything below it.
pub(crate) fn lists_all(verb: &Verb) -> bool {
    matches!(verb, Verb::List(what) if what.recursive)
}

fn control(name: &str) -> Option<&str> {
    name.strip_prefix(CONTROL_DIR)?.strip_prefix('/')
}

fn is_staged(folder: &str) -> bool {
    control(folder).is_some_and(|folder| folder.starts_with("staged/"))
}

type Effect = Box<dyn FnOnce() + Send>;

/// What becomes of a verb.
pub(crate) enum Deed {
    /// It is carried out.
    Pass,
    /// It is not, and none after it: as of a mover that is killed, or a store that has failed.
    Die,
    /// It is, and none after it.
    DieAfter,
    /// It is not carried out, and the answer is that what is asked for does not exist.
    Absent,
    /// It is carried out, and shows of what it lists whatever this makes of it.
    Show(Box<dyn Fn(Listed) -> Option<Listed>>),
    /// It is carried out, and what was read while it was sent is told to be something else.
    Misread,
    /// This happens, and then it is carried out.
    Before(Effect),
    /// It is carried out, and this happens before its answer arrives.
    After(Effect),
}

impl Deed {
    pub(crate) fn before(effect: impl FnOnce() + Send + 'static) -> Self {
        Self::Before(Box::new(effect))
    }

    pub(crate) fn after(effect: impl FnOnce() + Send + 'static) -> Self {
        Self::After(Box::new(effect))
    }

    pub(crate) fn show(change: impl Fn(Listed) -> Option<Listed> + 'static) -> Self {
        Self::Show(Box::new(change))
    }
}

/// What becomes of each verb.
pub(crate) type Rule = Box<dyn FnMut(&Verb) -> Deed + Send>;

/// Of a rule, whether it was ever applied: a test whose lie was never told proves nothing.
#[derive(Default)]
struct Applied(bool);

impl Applied {
    fn note(&mut self) {
        self.0 = true;
    }
}

impl Drop for Applied {
    fn drop(&mut self) {
        assert!(self.0 || std::thread::panicking(), "a rule did not apply to any verb");
    }
}

/// Dies instead of such a verb.
pub(crate) fn dies(at: impl Fn(&Verb) -> bool + Send + 'static) -> Rule {
    always(at, || Deed::Die)
}

/// Dies as soon as such a verb is done.
pub(crate) fn dies_after(at: impl Fn(&Verb) -> bool + Send + 'static) -> Rule {
    always(at, || Deed::DieAfter)
}

/// At each such verb, of which there must be one.
pub(crate) fn always(at: impl Fn(&Verb) -> bool + Send + 'static, deed: impl Fn() -> Deed + Send + 'static) -> Rule {
    let mut applied = Applied::default();
    Box::new(move |verb| {
        if !at(verb) {
            return Deed::Pass;
        }
        applied.note();
        deed()
    })
}

/// At the first such verb alone.
pub(crate) fn once(at: impl Fn(&Verb) -> bool + Send + 'static, deed: impl FnOnce() -> Deed + Send + 'static) -> Rule {
    let (mut deed, mut applied) = (Some(deed), Applied::default());
    Box::new(move |verb| {
        let Some(deed) = deed.take_if(|_| at(verb)) else { return Deed::Pass };
        applied.note();
        deed()
    })
}

/// The second rule sees only what the first one lets pass.
pub(crate) fn both(mut first: Rule, mut second: Rule) -> Rule {
    Box::new(move |verb| match first(verb) {
        Deed::Pass => second(verb),
        deed => deed,
    })
}

/// The store in front of another one.
pub(crate) struct Liar {
    store: Box<dyn Store>,
    told: Mutex<Told>,
}

struct Told {
    rule: Rule,
    dead: bool,
}

impl fmt::Debug for Liar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Liar").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Liar {
    pub(crate) fn new(store: Box<dyn Store>, rule: Rule) -> Self {
        Self { store, told: Mutex::new(Told { rule, dead: false }) }
    }

    fn deed(&self, verb: &Verb) -> Result<Deed> {
        let mut told = self.told.lock().unwrap();
        if told.dead {
            return Err(dead());
        }
        let deed = (told.rule)(verb);
        told.dead = matches!(deed, Deed::Die | Deed::DieAfter);
        Ok(deed)
    }

    fn verb<T>(&self, verb: &Verb, absent: Option<Result<T>>, carry_out: impl FnOnce() -> Result<T>) -> Result<T> {
        act(self.deed(verb)?, absent, carry_out)
    }
}

/// `absent` is the answer that nothing exists, of a verb that has one.
fn act<T>(deed: Deed, absent: Option<Result<T>>, carry_out: impl FnOnce() -> Result<T>) -> Result<T> {
    match (deed, absent) {
        (Deed::Pass, _) => carry_out(),
        (Deed::Die, _) => Err(dead()),
        (Deed::DieAfter, _) => carry_out().and(Err(dead())),
        (Deed::Before(effect), _) => {
            effect();
            carry_out()
        }
        (Deed::After(effect), _) => {
            let answer = carry_out();
            effect();
            answer
        }
        (Deed::Absent, Some(answer)) => answer,
        (Deed::Absent | Deed::Show(_) | Deed::Misread, _) => panic!("the rule gives an answer that this verb does not have"),
    }
}

/// As of an rclone that ended by itself and did not say why.
fn dead() -> StoreError {
    StoreError::new(Class::Other, "dead")
}

impl Store for Liar {
    fn kind(&self) -> Option<&str> {
        self.store.kind()
    }

    fn features(&self) -> Result<Features> {
        self.store.features()
    }

    fn replacing(&self) -> Result<Replacing> {
        self.store.replacing()
    }

    fn read(&self, name: &str, most: u64) -> Result<Option<PathBuf>> {
        self.verb(&Verb::Read(name), Some(Ok(None)), || self.store.read(name, most))
    }

    fn range(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let absent = Err(StoreError::new(Class::Other, "HTTP status 404, which proves nothing"));
        self.verb(&Verb::Range, Some(absent), || self.store.range(name, range))
    }

    fn fetch(&self, from: &str, to: &Path, names: &Names, how: Fetch) -> Result<()> {
        self.verb(&Verb::Fetch(names), Some(Ok(())), || self.store.fetch(from, to, names, how))
    }

    fn put(&self, files: Vec<Upload>, to: &str, how: Put) -> Result<()> {
        let names: Vec<Vec<u8>> = files.iter().map(|file| file.name.to_vec()).collect();
        self.verb(&Verb::Put { to, names: &slices(&names) }, None, || self.store.put(files, to, how))
    }

    fn put_once(&self, files: Vec<Upload>, to: &str) -> Result<Vec<Content>> {
        let names: Vec<Vec<u8>> = files.iter().map(|file| file.name.to_vec()).collect();
        match self.deed(&Verb::Put { to, names: &slices(&names) })? {
            Deed::Misread => {
                let sent = self.store.put_once(files, to)?;
                Ok(sent.into_iter().map(|content| Content { sha256: Digest([9; 32]), ..content }).collect())
            }
            deed => act(deed, None, || self.store.put_once(files, to)),
        }
    }

    fn copy(&self, from: &str, to: &str, names: &Names) -> Result<()> {
        self.verb(&Verb::Copy { from, names }, None, || self.store.copy(from, to, names))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.verb(&Verb::Rename { to }, None, || self.store.rename(from, to))
    }

    fn delete(&self, names: &Names) -> Result<()> {
        self.verb(&Verb::Delete(names), None, || self.store.delete(names))
    }

    fn list(&self, place: Place, what: List, each: &mut dyn FnMut(Listed)) -> Result<()> {
        let absent = Err(StoreError::absence(Class::NotFound, "directory not found"));
        match self.deed(&Verb::List(what))? {
            Deed::Show(change) => self.store.list(place, what, &mut |listed| change(listed).into_iter().for_each(&mut *each)),
            deed => act(deed, Some(absent), || self.store.list(place, what, each)),
        }
    }

    fn look(&self, names: &Names, sums: bool, each: &mut dyn FnMut(Listed)) -> Result<()> {
        match self.deed(&Verb::Look)? {
            Deed::Show(change) => self.store.look(names, sums, &mut |listed| change(listed).into_iter().for_each(&mut *each)),
            deed => act(deed, None, || self.store.look(names, sums, each)),
        }
    }

    fn sums(&self, kind: Sum, names: &Names, each: &mut dyn FnMut(&[u8], &str)) -> Result<()> {
        self.verb(&Verb::Sums, None, || self.store.sums(kind, names, each))
    }

    fn make(&self) -> Result<()> {
        self.verb(&Verb::Make, None, || self.store.make())
    }

    fn remove_empty_folders(&self, below: &str) -> Result<()> {
        self.verb(&Verb::RemoveEmptyFolders, None, || self.store.remove_empty_folders(below))
    }
}
