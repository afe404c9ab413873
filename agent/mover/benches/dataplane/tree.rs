//! Makes and changes the volumes that are measured. Content is random, so that nothing compresses it, and the same in every run.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};

/// Files in a directory.
const IN_A_DIR: u64 = 39;

/// Small numbers that look random.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Writes a file of `size` bytes in the place of what was there; `seed` gives the content.
pub fn write(path: &Path, size: u64, seed: u64) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let ready = path.with_extension("new");
    let mut out = BufWriter::with_capacity(256 * 1024, fs::File::create(&ready)?);
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut left = size;
    while left > 0 {
        let bytes = random.next().to_le_bytes();
        let some = usize::try_from(left).unwrap_or(8).min(8);
        out.write_all(bytes.get(..some).unwrap_or_default())?;
        left -= some as u64;
    }
    out.into_inner()?;
    fs::rename(ready, path)
}

/// The name of the small file of this number: a few dozen files a directory.
pub fn small_name(root: &Path, number: u64) -> PathBuf {
    let dir = number / IN_A_DIR;
    root.join(format!("customer-{:02}/{:04}/document-{number:07}.json", dir % 20, dir))
}

/// Makes or replaces the small files of these numbers, about 5.6 kB each.
pub fn small(root: &Path, numbers: impl Iterator<Item = u64>, seed: u64) -> Result<()> {
    for number in numbers {
        write(&small_name(root, number), 512 + (number * 7919) % 10_240, seed + number)?;
    }
    Ok(())
}

/// Makes or replaces the large file of this number.
pub fn large(root: &Path, number: u64, size: u64, seed: u64) -> Result<()> {
    Ok(write(&root.join(format!("database-{number}.ibd")), size, seed + number)?)
}

/// Makes the tiny files of these numbers, without `write`'s care: there may be a million of them.
pub fn tiny(root: &Path, numbers: impl Iterator<Item = u64>, content: &str) -> Result<()> {
    for number in numbers {
        let dir = root.join(format!("shop-{:03}/{:05}", number / 100_000, number / 100));
        if number % 100 == 0 || !dir.exists() {
            fs::create_dir_all(&dir)?;
        }
        fs::write(dir.join(format!("item-{number:08}.txt")), format!("{content} {number}"))?;
    }
    Ok(())
}

/// Makes the symbolic links of these numbers, with names like those of the tiny files.
pub fn links(root: &Path, numbers: impl Iterator<Item = u64>) -> Result<()> {
    for number in numbers {
        let dir = root.join(format!("alias-{:03}/{:05}", number / 100_000, number / 100));
        if number % 100 == 0 {
            fs::create_dir_all(&dir)?;
        }
        std::os::unix::fs::symlink(format!("../../elsewhere/{number:08}"), dir.join(format!("item-{number:08}.txt")))?;
    }
    Ok(())
}

/// Fails unless two folders have the same files with the same content; what a mover keeps beside them is left out.
pub fn same_content(one: &Path, other: &Path) -> Result<()> {
    if one == other {
        return Ok(());
    }
    let [ours, theirs] = [files(one)?, files(other)?];
    ensure!(ours == theirs, "there are other files than were pushed: {} and {}", theirs.len(), ours.len());
    let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for name in ours {
        let [mut left, mut right] = [fs::File::open(one.join(&name))?, fs::File::open(other.join(&name))?];
        ensure!(left.metadata()?.len() == right.metadata()?.len(), "{} has another size than was pushed", name.display());
        loop {
            let got = left.read(&mut a)?;
            let (a, b) = (a.get(..got).unwrap_or_default(), b.get_mut(..got).unwrap_or_default());
            right.read_exact(b)?;
            ensure!(a == b, "{} has other content than was pushed", name.display());
            if got == 0 {
                break;
            }
        }
    }
    Ok(())
}

fn files(root: &Path) -> Result<BTreeSet<PathBuf>> {
    let entries = walkdir::WalkDir::new(root).into_iter().filter_entry(|entry| entry.file_name() != ".scribe-staging");
    let mut names = BTreeSet::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type().is_file() {
            names.insert(entry.path().strip_prefix(root)?.to_owned());
        }
    }
    Ok(names)
}

/// Returns once what was written before is old enough for a push to believe its times.
pub fn settle() {
    let since = SystemTime::now();
    while since.elapsed().unwrap_or_default() < Duration::from_millis(121_100) {
        std::thread::sleep(Duration::from_millis(500));
    }
}
