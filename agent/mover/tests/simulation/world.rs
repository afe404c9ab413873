//! The remote path as it really is, what it was before, and what must hold of it at every moment.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use scribe_mover::digest::Digest;
use scribe_mover::format::documents::{Commit, Owner};
use scribe_mover::format::manifest;
use scribe_mover::format::names::{self, CONTROL_DIR, StagedDir};
use scribe_mover::format::revision::Revision;
use scribe_mover::packs::commit::{AnyCommit, Committing};
use scribe_mover::volume::entry::{Kind as EntryKind, Location};

use crate::fate::{Fate, LOOK};
use crate::history::History;
use crate::objects::{Name, Object, Objects, sha256};
use crate::packed::{Packed, Past};
use crate::rules::{self, Write};
use crate::volume::{Node, Tree};

/// How many states a lie may go back to.
const REMEMBERED: usize = 24;

/// Everything that the syncs share.
#[derive(Debug)]
pub struct World {
    pub now: Objects,
    pub past: VecDeque<Arc<Objects>>,
    /// The server's clock.
    pub time: Timestamp,
    /// What each revision was made of, by whoever committed it first: of a volume that changed meanwhile, one of these.
    pub trees: HashMap<String, Vec<Arc<Tree>>>,
    /// There is a commit, unless it was lost.
    pub committed: bool,
    /// Something else has changed our objects, or two pushes wrote at the same time.
    pub meddled: bool,
    /// Of two pushes at the same time one may have damaged what the other committed: the revision may not be whole before a verification.
    pub lax: bool,
    /// What something else has damaged of the committed revision.
    damaged: Missing,
    /// How many steps were taken, and at which of them each sync ended.
    steps: u64,
    ended: HashMap<usize, u64>,
    /// Which sync has made each revision.
    makers: HashMap<String, usize>,
    /// Objects that are no sync's to change.
    pub foreign: Vec<(Name, Object)>,
    /// What has been found wrong first.
    pub wrong: Option<String>,
    /// What happened, where it is to be shown.
    pub log: Option<Vec<String>>,
    /// Manifests that were read already.
    manifests: HashMap<Name, Arc<Vec<Needed>>>,
    /// What was there of layout Packs.
    packs: Past,
    /// What failed pushes have left.
    left: BTreeSet<Name>,
}

/// Objects of the committed revision that are not there, by name and content.
type Missing = BTreeSet<(Name, Digest)>;

/// What an entry of a manifest says.
#[derive(Debug)]
struct Needed {
    path: Vec<u8>,
    node: Node,
    at: Location,
}

/// The name of a control object, below the path.
pub fn control(name: &str) -> Name {
    format!("{CONTROL_DIR}/{name}").into_bytes()
}

impl World {
    pub fn new(history: &History, time: Timestamp, log: bool) -> Self {
        Self {
            now: Objects { bucket: history.bucket, ..Objects::default() },
            past: VecDeque::new(),
            time,
            trees: HashMap::new(),
            committed: false,
            meddled: false,
            lax: false,
            damaged: Missing::new(),
            steps: 0,
            ended: HashMap::new(),
            makers: HashMap::new(),
            foreign: Vec::new(),
            wrong: None,
            log: log.then(Vec::new),
            manifests: HashMap::new(),
            packs: Past::new(history),
            left: BTreeSet::new(),
        }
    }

    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(line());
        }
    }

    pub fn fail(&mut self, what: String) {
        self.note(|| format!("WRONG: {what}"));
        self.wrong.get_or_insert(what);
    }

    /// Before something changes.
    pub fn remember(&mut self) {
        if self.past.len() == REMEMBERED {
            self.past.pop_front();
        }
        self.past.push_back(Arc::new(self.now.clone()));
    }

    /// Whether anything is another way since the last state that is remembered.
    pub fn has_changed(&self) -> bool {
        self.past.back().is_none_or(|before| **before != self.now)
    }

    /// The state of so many changes ago.
    pub fn old(&self, ago: usize) -> Option<Arc<Objects>> {
        self.past.len().checked_sub(ago).and_then(|at| self.past.get(at)).cloned()
    }

    pub fn commit(&self) -> Option<AnyCommit> {
        rules::commit(&self.now)
    }

    /// Whose the path is.
    pub fn owner(&self) -> Option<Owner> {
        rules::owner(&self.now)
    }

    /// Some sync takes its next step; gives the numbers of those before.
    pub fn takes_step(&mut self, fate: &mut Fate) -> [u64; LOOK] {
        self.steps += 1;
        if fate.first == 0 {
            fate.first = self.steps;
        }
        let before = fate.last;
        fate.last.rotate_left(1);
        fate.last[LOOK - 1] = self.steps;
        before
    }

    pub fn has_ended(&mut self, sync: usize) {
        self.ended.insert(sync, self.steps);
    }

    /// What must hold after every change.
    pub fn check(&mut self, write: Write, captured: &[Arc<Tree>]) {
        let before = self.past.back().cloned().unwrap_or_default();
        if let Err(what) = self.packs.saw(&self.now, write.name) {
            return self.fail(what);
        }
        if write.name == control(names::COMMIT)
            && let Some(commit) = self.commit()
        {
            self.committed = true;
            self.trees.entry(commit.revision().to_owned()).or_insert_with(|| captured.to_vec());
            self.makers.entry(commit.revision().to_owned()).or_insert(write.by.sync);
            self.packs.committed(&commit, self.time);
            let follows = if self.lax { self.is_seen(&before, &commit, write) } else { rules::may_follow(&before, &commit) };
            if let Err(what) = follows {
                return self.fail(what);
            }
        }
        if !self.lax
            && write.lies < 2
            && write.name == control(names::CLAIM)
            && self.now.get(write.name).is_some()
            && let Err(what) = rules::may_claim(&before, write.by)
        {
            return self.fail(what);
        }
        for (name, object) in &self.foreign {
            if self.now.get(name) != Some(object) {
                let name = String::from_utf8_lossy(name).into_owned();
                return self.fail(format!("{name}, which is not ours, was changed or deleted"));
            }
        }
        if self.lax {
            return;
        }
        if let Some(commit) = self.commit()
            && let Err(what) = self.packs.may_go(&before, &self.now, write.name, &commit, self.time)
        {
            return self.fail(what);
        }
        match self.state() {
            Ok(missing) => {
                if let Some((name, _)) = missing.difference(&self.damaged).next() {
                    let what = format!("the committed revision is not whole: {} is not there", name.escape_ascii());
                    return self.fail(what);
                }
                self.damaged = missing;
            }
            Err(what) => self.fail(format!("the committed revision is not whole: {what}")),
        }
    }

    /// Of pushes at the same time, each looks before it commits: what one has committed that had ended before another one looked,
    /// that one does not replace unless it began later.
    fn is_seen(&self, before: &Objects, new: &AnyCommit, write: Write) -> Result<(), String> {
        let Some(old) = rules::commit(before).filter(|old| !rules::knows(new, old)) else { return Ok(()) };
        let maker = self.makers.get(old.revision()).filter(|maker| **maker != write.by.sync);
        let ended = maker.and_then(|maker| self.ended.get(maker));
        if write.lies > 0 || ended.is_none_or(|ended| *ended >= write.looked || *ended < write.first) {
            return Ok(());
        }
        Err(format!("{} was replaced by {}, whose push could have seen it", old.revision(), new.revision()))
    }

    /// Something else may have changed anything, or nothing has for a while.
    pub fn settle(&mut self) {
        match self.state() {
            Ok(missing) if !self.lax || missing.is_empty() => (self.damaged, self.lax) = (missing, false),
            Ok(_) => {}
            Err(_) => self.lax = true,
        }
    }

    /// Whether the committed revision is there, and what its source held.
    pub fn whole(&mut self) -> Result<(), String> {
        match self.state()?.first() {
            Some((name, _)) => Err(format!("{} is not there", name.escape_ascii())),
            None => Ok(()),
        }
    }

    /// What is not there of the committed revision, if that can be read and is what its source held.
    fn state(&mut self) -> Result<Missing, String> {
        let Some(commit) = self.commit() else {
            let what = "there was a commit, and there is none that can be read";
            return if self.committed { Err(what.into()) } else { Ok(Missing::new()) };
        };
        let (tree, missing) = match &commit {
            AnyCommit::Files(commit) => self.state_of_files(commit)?,
            AnyCommit::Packs(commit) => {
                let packed = self.packs.read(&self.now, commit)?;
                (packed.tree.clone(), packed.missing(&self.now))
            }
        };
        let revision = commit.revision();
        let captured = self.trees.get_mut(revision).ok_or_else(|| format!("{revision} was committed by nobody"))?;
        if !captured.iter().any(|captured| **captured == tree) {
            return Err(format!("{revision} is not what was captured: {tree:?} instead of {captured:?}"));
        }
        captured.retain(|captured| **captured == tree);
        Ok(missing)
    }

    fn state_of_files(&mut self, commit: &Commit) -> Result<(Tree, Missing), String> {
        let revision = Revision::parse(&commit.revision).ok_or("an impossible revision")?;
        let needed = self.needed(&revision, commit)?;
        let staged = StagedDir::of(&revision);
        let (mut tree, mut missing) = (Tree::new(), Missing::new());
        for Needed { path, node, at } in needed.iter() {
            tree.insert(path.clone(), node.clone());
            let Node::File(digest) = node else { continue };
            let fits = |name: &[u8]| self.now.get(name).is_some_and(|object| object.sha256 == *digest);
            let name = match at {
                Location::Own | Location::Staged => path.clone(),
                Location::Object => [names::objects_dir().as_bytes(), digest.hex().as_bytes()].concat(),
            };
            let waits = || match at {
                Location::Own => false,
                Location::Staged => fits(&staged.name(path)),
                Location::Object => fits(&staged.object(digest)),
            };
            if !(fits(&name) || commit.staged && waits()) {
                missing.insert((name, *digest));
            }
        }
        Ok((tree, missing))
    }

    /// A push has failed: what it has sent, or not deleted any more, is in no manifest.
    pub fn leaves(&mut self) {
        let named = self.named().unwrap_or_default();
        self.left.extend(self.now.all.keys().filter(|name| !named.contains(*name)).cloned());
    }

    /// A push has succeeded; maybe in the place of a commit that it was not shown.
    pub fn leaves_what_was_hidden(&mut self) {
        if self.packs.hidden.take().is_some() {
            self.leaves();
        }
    }

    /// An object that neither the committed revision needs nor anybody else has put there.
    pub fn leftover(&mut self) -> Option<String> {
        let names = self.named()?;
        // A rename that was acknowledged and not done leaves one, and a verification deletes it after a week.
        let is_partial = |name: &[u8]| name.ends_with(b".partial") && name.starts_with(&control(names::COMMIT));
        let is_left = |name: &Name| self.left.contains(name) || is_partial(name);
        let is_known = |name: &Name| names.contains(name) || self.packs.keeps_what_is_left && is_left(name);
        self.now.all.keys().find(|name| !is_known(name)).map(|name| name.escape_ascii().to_string())
    }

    /// What the committed revision needs, or has for deletion later, and what is others'.
    fn named(&mut self) -> Option<BTreeSet<Name>> {
        let commit = self.commit()?;
        let revision = Revision::parse(commit.revision())?;
        let mut names = BTreeSet::from([control(names::COMMIT), control(&names::manifest(&revision))]);
        match &commit {
            AnyCommit::Files(commit) => {
                for Needed { path, node, at } in self.needed(&revision, commit).ok()?.iter() {
                    match (node, at) {
                        (Node::File(digest), Location::Object) => {
                            names.insert([names::objects_dir().as_bytes(), digest.hex().as_bytes()].concat());
                        }
                        (Node::File(_), _) => {
                            names.insert(path.clone());
                        }
                        _ => {}
                    }
                }
            }
            AnyCommit::Packs(commit) => {
                let packed: Arc<Packed> = self.packs.read(&self.now, commit).ok()?;
                names.extend(packed.needed.keys().chain(&packed.dead).cloned());
            }
        }
        // Also what has gone with a state of the path, and come back with another.
        names.extend(self.now.all.keys().filter(|name| name.starts_with(b"theirs/")).cloned());
        Some(names)
    }

    fn needed(&mut self, revision: &Revision, commit: &Commit) -> Result<Arc<Vec<Needed>>, String> {
        let name = control(&names::manifest(revision));
        let object = self.now.get(&name).ok_or_else(|| format!("the manifest of {revision} is not there"))?;
        if object.sha256.hex() != commit.manifest.sha256 {
            return Err(format!("the manifest of {revision} is not the one committed"));
        }
        if let Some(needed) = self.manifests.get(&name) {
            return Ok(Arc::clone(needed));
        }
        let mut needed = Vec::new();
        for entry in manifest::read(&*object.content, revision.as_str()).map_err(|e| e.message)? {
            let entry = entry.map_err(|e| e.message)?;
            if entry.path.is_root() {
                continue;
            }
            let at = entry.file().map_or(Location::Own, |file| file.at);
            let node = match &entry.kind {
                EntryKind::File(file) if file.size == 0 => Node::File(sha256(b"")),
                EntryKind::File(file) => Node::File(file.sha256),
                EntryKind::Dir => Node::Dir,
                _ => Node::Other,
            };
            needed.push(Needed { path: entry.path.as_bytes().to_vec(), node, at });
        }
        let needed = Arc::new(needed);
        self.manifests.insert(name, Arc::clone(&needed));
        Ok(needed)
    }
}
