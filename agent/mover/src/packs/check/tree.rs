//! Holds the entries of a map against each other, one after another: they are a tree, of as many files and bytes as its manifest says.

use super::wrong;
use crate::error::Result;
use crate::packs::manifest::Document;
use crate::packs::node::{Kind, Node};
use crate::volume::path::RelPath;

/// What was met so far.
#[derive(Debug)]
pub struct Tree<'a> {
    document: &'a Document,
    generation: u64,
    /// The directories above the next entry.
    above: Vec<RelPath>,
    root: bool,
    entries: u64,
    files: u64,
    bytes: u64,
}

impl<'a> Tree<'a> {
    /// Nothing, of the map of this manifest.
    pub fn of(document: &'a Document) -> Result<Self> {
        let generation = document.generation().ok_or_else(|| wrong("its manifest has an impossible revision"))?;
        Ok(Self { document, generation, above: Vec::new(), root: false, entries: 0, files: 0, bytes: 0 })
    }

    /// The next entry, in the order of the map.
    pub fn add(&mut self, path: &RelPath, node: &Node) -> Result<()> {
        while self.above.last().is_some_and(|dir| !path.is_below(dir)) {
            self.above.pop();
        }
        let in_place = match path.parent() {
            None => node.kind == Kind::Dir,
            Some(parent) => self.above.last().is_some_and(|dir| dir.as_bytes() == parent),
        };
        if !in_place {
            return Err(wrong(&format!("the directory of {path} is missing")));
        }
        self.root |= path.is_root();
        self.entries += u64::from(!path.is_root());
        if let Some(file) = node.file() {
            if file.id >= self.document.next_file || file.changed > self.generation {
                return Err(wrong(&format!("{path} has an id, or is of a generation, that was not given so far")));
            }
            (self.files, self.bytes) = (self.files + 1, self.bytes.saturating_add(file.size));
        }
        if node.kind == Kind::Dir {
            self.above.push(path.clone());
        }
        Ok(())
    }

    /// There are no more.
    pub fn end(self) -> Result<()> {
        let says = &self.document.statement;
        if self.root && (self.entries, self.files, self.bytes) == (says.entries, says.files, says.bytes) {
            return Ok(());
        }
        Err(wrong("it has other entries than it is said to have"))
    }
}
