//! What a push may replace, whatever it leaves: only what it knows of, and only what is its own.

use scribe_mover::format::documents::{Claim, Control, ManifestRef, Owner};
use scribe_mover::format::names;
use scribe_mover::format::revision::Revision;
use scribe_mover::packs::commit::{self, AnyCommit, Committing};

use crate::objects::Objects;
use crate::world::control;

/// Who writes.
#[derive(Clone, Debug)]
pub struct Writer {
    /// The number of the sync.
    pub sync: usize,
    /// Nothing, for a pull.
    pub owner: Option<Owner>,
    /// It may take over what any other owns, or only what one of its own name owned before it was made again.
    pub adopts: bool,
    pub follows: bool,
}

/// What is written.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    pub name: &'a [u8],
    pub by: &'a Writer,
    /// The numbers of the step that the sync took first, and of that with which it began to look what is there, before this one.
    pub first: u64,
    pub looked: u64,
    /// How many answers that the sync was given were not true.
    pub lies: u32,
}

/// The commit, of either layout.
pub fn commit(objects: &Objects) -> Option<AnyCommit> {
    match commit::read(&objects.get(&control(names::COMMIT))?.content) {
        Ok(Control::Present(commit)) => Some(commit),
        _ => None,
    }
}

fn claim(objects: &Objects) -> Option<Claim> {
    match commit::read_claim(&objects.get(&control(names::CLAIM))?.content) {
        Ok(Control::Present(claim)) => Some(claim),
        _ => None,
    }
}

/// The manifest that a commit pins.
pub fn manifest(commit: &AnyCommit) -> &ManifestRef {
    match commit {
        AnyCommit::Files(commit) => &commit.manifest,
        AnyCommit::Packs(commit) => &commit.manifest,
    }
}

/// The revision that it followed.
pub fn parent(commit: &AnyCommit) -> Option<&String> {
    match commit {
        AnyCommit::Files(commit) => commit.parent.as_ref(),
        AnyCommit::Packs(commit) => commit.statement.parent.as_ref(),
    }
}

/// Whose the path is: who committed there, or began to.
pub fn owner(objects: &Objects) -> Option<Owner> {
    let committed = commit(objects).map(|commit| commit.owner().clone());
    committed.or_else(|| claim(objects).map(|claim| claim.owner))
}

/// A path stays its owner's, unless another one may take it over.
pub fn may_claim(before: &Objects, by: &Writer) -> Result<(), String> {
    let (Some(was), Some(is)) = (owner(before), &by.owner) else { return Ok(()) };
    let same_name = (&was.namespace, &was.name) == (&is.namespace, &is.name);
    if was == *is || by.adopts || same_name && by.follows {
        return Ok(());
    }
    Err(format!("{is:?} has claimed what is {was:?}'s"))
}

/// A revision that can be read is followed by one that knows it.
pub fn may_follow(before: &Objects, new: &AnyCommit) -> Result<(), String> {
    let Some(old) = commit(before) else { return Ok(()) };
    let found = Revision::parse(old.revision()).and_then(|revision| before.get(&control(&names::manifest(&revision))));
    let is_readable = found.is_some_and(|found| found.sha256.hex() == manifest(&old).sha256);
    if !is_readable || knows(new, &old) {
        return Ok(());
    }
    Err(format!("{} was committed as if there were no {}", new.revision(), old.revision()))
}

pub fn knows(new: &AnyCommit, old: &AnyCommit) -> bool {
    new.revision() == old.revision() || parent(new).is_some_and(|parent| parent == old.revision())
}
