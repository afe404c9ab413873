//! What changes in a volume from one state to the next, in blocks: the least that a push can send which sends blocks as they are.

use std::collections::HashMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use scribe_mover::packs::block::{Packer, is_zero};

/// Bytes of a block of a volume of less than 64 GB.
const BLOCK: u64 = 16 << 10;

/// A volume as it was.
pub struct State(HashMap<PathBuf, Vec<u64>>);

/// What is another one since then.
#[derive(Debug, Default)]
pub struct Changed {
    /// Blocks that are not zero, and have other content than before.
    pub blocks: u64,
    /// Their bytes.
    pub plain: u64,
    /// Their bytes, each compressed by itself.
    pub stored: u64,
    /// Bytes that files with such blocks have on the disk.
    pub files: u64,
}

impl State {
    /// That of now.
    pub fn of(root: &Path) -> Result<Self> {
        let mut files = HashMap::new();
        each_block(root, |path, _, block| {
            files.entry(path.to_owned()).or_insert_with(Vec::new).push(sum(block));
            Ok(())
        })?;
        Ok(Self(files))
    }

    /// What has changed since.
    pub fn changed(&self, root: &Path) -> Result<Changed> {
        let (mut changed, mut files) = (Changed::default(), HashMap::new());
        let mut packer = Packer::new().map_err(|failure| anyhow!("{failure}"))?;
        each_block(root, |path, number, block| {
            let before = self.0.get(path).and_then(|blocks| blocks.get(number));
            if before != Some(&sum(block)) && !is_zero(block) {
                changed.blocks += 1;
                changed.plain += block.len() as u64;
                changed.stored += packer.pack(block).map_err(|failure| anyhow!("{failure}"))?.1.len() as u64;
                files.insert(path.to_owned(), fs::metadata(path)?.blocks() * 512);
            }
            Ok(())
        })?;
        changed.files = files.values().sum();
        Ok(changed)
    }
}

fn sum(block: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    block.hash(&mut hasher);
    hasher.finish()
}

fn each_block(root: &Path, mut act: impl FnMut(&Path, usize, &[u8]) -> Result<()>) -> Result<()> {
    for entry in walkdir::WalkDir::new(root) {
        let entry = entry?;
        if !entry.file_type().is_file() {
            continue;
        }
        let (mut file, mut block, mut number) = (File::open(entry.path())?, Vec::new(), 0);
        loop {
            block.clear();
            if (&mut file).take(BLOCK).read_to_end(&mut block)? == 0 {
                break;
            }
            act(entry.path(), number, &block)?;
            number += 1;
        }
    }
    Ok(())
}
