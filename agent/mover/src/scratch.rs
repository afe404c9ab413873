//! A private temporary directory for the lists and control objects handed to rclone, removed when dropped. That of a mover that was killed
//! is removed by the next one: each holds a lock on a file in its own, which the kernel releases when it ends. One without such a file, of a
//! mover that was killed before it had locked it or of an old version, goes when nothing was made or removed in it for a day.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use crate::error::{Failure, Result};
use crate::random::random;

/// What the name of each begins with.
const PREFIX: &str = "scribe-mover-";
/// The file in it that is locked as long as its mover lives.
const LOCK: &str = "lock";
/// The same until it is locked.
const UNLOCKED: &str = "unlocked";
/// How long a directory without a lock is left alone. A mover locks its file in the instant after it made the directory; one that was held up
/// in between for a day fails at its next step, before it has read or written anything.
const UNUSED: Duration = Duration::from_secs(24 * 60 * 60);

/// The directory; every file in it has a name of its own.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
    next: AtomicU64,
    _lock: File,
}

impl Scratch {
    /// Makes a fresh directory, readable by this user alone, under the system's temporary directory.
    pub fn new() -> Result<Self> {
        Self::within(&std::env::temp_dir())
    }

    /// As [`Self::new`], under another directory.
    pub fn within(parent: &Path) -> Result<Self> {
        let dir = parent.join(format!("{PREFIX}{:016x}", random()?));
        fs::DirBuilder::new().mode(0o700).recursive(false).create(&dir).map_err(|e| Failure::scratch(&e))?;
        let lock = locked(&dir).map_err(|e| Failure::scratch(&e))?;
        Ok(Self { dir, next: AtomicU64::new(0), _lock: lock })
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path nothing has used yet.
    pub fn fresh(&self, kind: &str) -> PathBuf {
        self.dir.join(format!("{kind}-{}", self.next.fetch_add(1, Ordering::Relaxed)))
    }

    /// A fresh, empty directory.
    pub fn fresh_dir(&self, kind: &str) -> Result<PathBuf> {
        let path = self.fresh(kind);
        fs::create_dir(&path).map_err(|e| Failure::scratch(&e))?;
        Ok(path)
    }

    /// A file without a name, readable by this user alone, which goes when it is closed.
    pub fn unnamed(&self) -> Result<File> {
        if let Ok(file) = rustix::fs::open(&self.dir, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR) {
            return Ok(file.into());
        }
        // Not every file system has such files.
        let path = self.fresh("unnamed");
        let open = || -> io::Result<File> {
            let file = fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
            fs::remove_file(&path)?;
            Ok(file)
        };
        open().map_err(|e| Failure::scratch(&e))
    }

    /// Whether there is any room left: a program may have written less than it had, and ended well.
    pub fn has_room(&self) -> Result<()> {
        let path = self.fresh("room");
        fs::write(&path, [0; 4096]).and_then(|()| fs::remove_file(&path)).map_err(|e| Failure::scratch(&e))
    }

    /// A file of names, one a line, for `--files-from-raw`.
    pub fn list<'a>(&self, names: impl IntoIterator<Item = &'a [u8]>) -> Result<PathBuf> {
        let path = self.fresh("list");
        let write = || -> std::io::Result<()> {
            let mut out = std::io::BufWriter::new(fs::File::create(&path)?);
            for name in names {
                out.write_all(name)?;
                out.write_all(b"\n")?;
            }
            out.flush()
        };
        write().map_err(|e| Failure::scratch(&e))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tracing::warn!(dir = %self.dir.display(), %error, "cannot remove the temporary directory");
        }
    }
}

/// The file has the name by which others know it only once it is locked, so that one without a lock is that of a dead mover.
fn locked(dir: &Path) -> io::Result<File> {
    let unlocked = dir.join(UNLOCKED);
    let file = File::create_new(&unlocked)?;
    match file.try_lock() {
        Ok(()) => fs::rename(unlocked, dir.join(LOCK))?,
        Err(error) => tracing::warn!(%error, "this temporary directory stays if the mover is killed"),
    }
    Ok(file)
}

/// Opens a file of the temporary directory.
pub fn open(file: &Path) -> Result<File> {
    File::open(file).map_err(|e| Failure::scratch(&e))
}

/// Removes the temporary directories in `parent` of those movers of this user that have ended without doing so. What cannot be removed is
/// no obstacle to a sync.
pub fn remove_dead(parent: &Path) {
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            return tracing::warn!(dir = %parent.display(), %error, "cannot look for temporary directories of movers that were killed");
        }
    };
    for entry in entries.flatten() {
        let dir = entry.path();
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX))
            && fs::symlink_metadata(&dir).is_ok_and(|meta| meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw());
        if !is_ours {
            continue;
        }
        // Kept until all is gone: a mover that starts at the same time leaves it to this one.
        let lock = match fate(&dir) {
            Ok(Fate::Dead(lock)) => lock,
            Ok(Fate::Alive) => continue,
            Err(error) => {
                tracing::warn!(dir = %dir.display(), %error, "cannot look whether the mover of this temporary directory lives");
                continue;
            }
        };
        match fs::remove_dir_all(&dir) {
            Ok(()) => tracing::info!(dir = %dir.display(), "removed the temporary directory of a mover that was killed"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(dir = %dir.display(), %error, "cannot remove the temporary directory of a mover that was killed"),
        }
        drop(lock);
    }
}

/// What became of a mover.
enum Fate {
    /// It lives, or has just begun.
    Alive,
    /// It has ended, as the lock on its file shows, or that there is none and has not been for long.
    Dead(Option<File>),
}

fn fate(dir: &Path) -> io::Result<Fate> {
    let lock = |name: &str| match File::open(dir.join(name)).map(|file| file.try_lock().map(|()| file)) {
        Ok(Ok(file)) => Ok(Fate::Dead(Some(file))),
        Ok(Err(TryLockError::WouldBlock)) => Ok(Fate::Alive),
        // As where locks are not supported: its mover may live, and have none.
        Ok(Err(TryLockError::Error(error))) | Err(error) => Err(error),
    };
    match lock(LOCK) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        locked => return locked,
    }
    // Whatever a mover does makes or removes files in it. A clock that was put back makes it wait longer.
    if !fs::symlink_metadata(dir)?.modified()?.elapsed().is_ok_and(|unused| unused > UNUSED) {
        return Ok(Fate::Alive);
    }
    match lock(UNLOCKED) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Fate::Dead(None)),
        locked => locked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assert_fs::TempDir;

    fn left(parent: &Path) -> Vec<String> {
        let mut left: Vec<_> = fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        left
    }

    /// A directory of this name, with these files in it.
    fn dir(parent: &Path, name: &str, files: &[&str]) {
        fs::create_dir(parent.join(name)).unwrap();
        for file in files {
            fs::write(parent.join(name).join(file), "").unwrap();
        }
    }

    #[test]
    fn the_directories_of_dead_movers_go_and_no_others() {
        let parent = TempDir::new().unwrap();
        dir(&parent, "scribe-mover-dead", &[LOCK, "list-1"]);
        dir(&parent, "scribe-mover-starts", &[UNLOCKED]);
        dir(&parent, "scribe-mover-older", &["list-1"]);
        dir(&parent, "another", &[LOCK]);
        std::os::unix::fs::symlink("another", parent.path().join("scribe-mover-link")).unwrap();
        fs::write(parent.path().join("scribe-mover-file"), "").unwrap();
        let alive = Scratch::within(&parent).unwrap();
        remove_dead(&parent);
        let name = alive.dir().file_name().unwrap().to_str().unwrap().to_owned();
        let mut kept = ["another", "scribe-mover-file", "scribe-mover-link", "scribe-mover-older", "scribe-mover-starts", &name];
        kept.sort_unstable();
        assert_eq!(left(&parent), kept);
        assert!(alive.list([&b"a"[..]]).unwrap().exists());
        drop(alive);
        assert!(!left(&parent).contains(&name));
    }

    /// Makes it as if nothing had been made in it for so long.
    fn age(dir: &Path, hours: u64) {
        let then = std::time::SystemTime::now() - Duration::from_secs(hours * 60 * 60);
        File::open(dir).unwrap().set_modified(then).unwrap();
    }

    #[test]
    fn one_without_a_lock_goes_when_nothing_was_done_in_it_for_a_day() {
        let parent = TempDir::new().unwrap();
        let path = |name: &str| parent.path().join(name);
        for (name, files, hours) in [
            ("scribe-mover-starts", &[UNLOCKED][..], 23),
            ("scribe-mover-began", &[UNLOCKED], 25),
            ("scribe-mover-bare", &[], 25),
            ("scribe-mover-older", &["list-1"], 25),
            ("scribe-mover-works", &["list-1"], 1),
            ("scribe-mover-held", &[UNLOCKED, "list-1"], 25),
            ("another", &[], 25),
        ] {
            dir(&parent, name, files);
            age(&path(name), hours);
        }
        // It could be locked, and not be renamed.
        let held = File::open(path("scribe-mover-held").join(UNLOCKED)).unwrap();
        held.try_lock().unwrap();
        let alive = Scratch::within(&parent).unwrap();
        age(alive.dir(), 1000);
        remove_dead(&parent);
        let name = alive.dir().file_name().unwrap().to_str().unwrap().to_owned();
        let mut kept = ["another", "scribe-mover-held", "scribe-mover-starts", "scribe-mover-works", &name];
        kept.sort_unstable();
        assert_eq!(left(&parent), kept);
    }

    #[test]
    fn that_of_another_user_stays() {
        let parent = TempDir::new().unwrap();
        dir(&parent, "scribe-mover-dead", &[LOCK]);
        // Only root may give it away; without that right there is nothing to see.
        if std::os::unix::fs::chown(parent.path().join("scribe-mover-dead"), Some(12345), None).is_ok() {
            remove_dead(&parent);
            assert_eq!(left(&parent), ["scribe-mover-dead"]);
        }
    }
}
