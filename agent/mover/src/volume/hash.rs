//! Reads file content to hash it, on a few threads.

use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use md5::Md5;
use sha2::{Digest as _, Sha256};

use crate::digest::{Digest, hex};
use crate::error::{Failure, Result};
use crate::stop::Stop;
use crate::volume::beneath::Root;
use crate::volume::path::RelPath;

const BUFFER: usize = 256 * 1024;
/// Enough for most files. To clear a whole buffer for each of many small ones takes longer than to read them.
const FIRST: usize = 8 * 1024;
/// Storage gains little from more readers, and every one is a buffer of memory.
const MOST_THREADS: usize = 4;
/// Bytes that one thread reads before it gets help: to start another takes as long as to hash about so much.
const ALONE: u64 = 64 * 1024;

/// How many threads are worth having, by the container's CPU quota. To find that out takes more than a dozen system calls.
fn most_threads() -> usize {
    static THREADS: OnceLock<usize> = OnceLock::new();
    *THREADS.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS))
}

/// The MD5 sum of a small document in hexadecimal, as a remote reports it.
pub fn md5_hex(document: &[u8]) -> String {
    hex(&Md5::digest(document))
}

/// Both hashes of content that comes in parts.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    sha256: Sha256,
    md5: Md5,
}

impl Sums {
    /// The next part.
    pub fn update(&mut self, part: &[u8]) {
        self.sha256.update(part);
        self.md5.update(part);
    }

    /// Of all of it, the MD5 sum in hexadecimal as backends give it.
    pub fn finish(self) -> (Digest, String) {
        (Digest(self.sha256.finalize().into()), hex(&self.md5.finalize()))
    }
}

/// Hashes content and counts what it read.
#[derive(Debug, Default)]
pub struct Hasher {
    read: AtomicU64,
}

impl Hasher {
    /// Bytes of file content read so far.
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// So much was read elsewhere, to the same end.
    pub fn note(&self, bytes: u64) {
        self.read.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The digests of `files`, in their order; `None` for one that is gone or no regular file any more.
    pub fn all(&self, root: &Root, files: &[RelPath], stop: &Stop) -> Result<Vec<Option<Digest>>> {
        let next = AtomicUsize::new(0);
        let failed: Mutex<Option<Failure>> = Mutex::new(None);
        let keep_first = |failure: Failure| {
            failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(failure);
            next.store(files.len(), Ordering::Relaxed);
        };
        let work = |read: &mut dyn FnMut(u64)| {
            let mut done = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(path) = files.get(at) else {
                    return done;
                };
                match self.one(root, path, stop, read) {
                    Ok(digest) => done.push((at, digest)),
                    Err(failure) => keep_first(failure),
                }
            }
        };
        let work = &work;
        let parts: Vec<Vec<(usize, Option<Digest>)>> = std::thread::scope(|scope| {
            let mut helpers = Vec::new();
            let mut read = 0;
            let own = work(&mut |bytes| {
                read += bytes;
                if read > ALONE && helpers.is_empty() {
                    let wanted = most_threads().min(files.len()).saturating_sub(1);
                    helpers.extend((0..wanted).map(|_| scope.spawn(|| work(&mut |_| {}))));
                }
            });
            let mut parts = vec![own];
            for helper in helpers {
                match helper.join() {
                    Ok(part) => parts.push(part),
                    Err(_) => keep_first(Failure::new(crate::report::Reason::MoverFailed, "a hashing thread died")),
                }
            }
            parts
        });
        if let Some(failure) = failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            return Err(failure);
        }
        let mut digests = vec![None; files.len()];
        for (at, digest) in parts.into_iter().flatten() {
            if let Some(slot) = digests.get_mut(at) {
                *slot = digest;
            }
        }
        Ok(digests)
    }

    /// The digest of one file; `None` when there is no regular file of that name. `read` learns of each part before it is hashed.
    fn one(&self, root: &Root, path: &RelPath, stop: &Stop, read: &mut dyn FnMut(u64)) -> Result<Option<Digest>> {
        let mut sha = Sha256::new();
        let whole = read_through(root, path, stop, |part| {
            let bytes = u64::try_from(part.len()).unwrap_or(0);
            self.note(bytes);
            read(bytes);
            sha.update(part);
        })?;
        Ok(whole.then(|| Digest(sha.finalize().into())))
    }
}

/// Both hashes of a file, the MD5 sum in hexadecimal as backends give it; `None` when there is no regular file of that name.
pub fn both(root: &Root, path: &RelPath, stop: &Stop) -> Result<Option<(Digest, String)>> {
    let mut sums = Sums::default();
    let whole = read_through(root, path, stop, |part| sums.update(part))?;
    Ok(whole.then(|| sums.finish()))
}

/// The digest of an open file, from where it stands.
pub fn of_open(file: File, stop: &Stop) -> Result<io::Result<Digest>> {
    let mut sha = Sha256::new();
    Ok(read_all(file, stop, |part| sha.update(part))?.map(|()| Digest(sha.finalize().into())))
}

/// The digest of a file of the temporary directory.
pub fn of_scratch(file: File, stop: &Stop) -> Result<Digest> {
    of_open(file, stop)?.map_err(|e| Failure::scratch(&e))
}

/// Shows a file's content part by part; false when there is no regular file of that name.
pub fn read_through(root: &Root, path: &RelPath, stop: &Stop, part: impl FnMut(&[u8])) -> Result<bool> {
    let Some(file) = root.file(path)? else { return Ok(false) };
    read_all(file, stop, part)?.map_err(|e| Failure::volume("read", &root.shown(path), &e))?;
    Ok(true)
}

fn read_all(mut file: File, stop: &Stop, mut part: impl FnMut(&[u8])) -> Result<io::Result<()>> {
    let mut buffer = vec![0; FIRST];
    loop {
        stop.check()?;
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Ok(())),
            Ok(got) => {
                part(buffer.get(..got).unwrap_or_default());
                if got == FIRST {
                    buffer.resize(BUFFER, 0);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// The digest of nothing.
pub fn empty() -> Digest {
    Digest(Sha256::digest(b"").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use assert_fs::TempDir;

    /// Read by one thread where it is little, and by all where it is more.
    #[rstest::rstest]
    fn digests_come_in_order_and_the_gone_are_none(#[values(1, 10_000)] times: usize) {
        let dir = TempDir::new().unwrap();
        let content = |n: usize| vec![b'x'; n * times];
        for n in 0..50 {
            std::fs::write(dir.path().join(n.to_string()), content(n)).unwrap();
        }
        std::os::unix::fs::symlink("0", dir.path().join("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("pipe"), rustix::fs::Mode::RWXU).unwrap();
        let names = (0..50).map(|n: u8| n.to_string()).chain(["gone", "link", "socket", "pipe"].map(str::to_owned));
        let files: Vec<RelPath> = names.map(|name| RelPath::root().child(name)).collect();
        let hasher = Hasher::default();
        let digests = hasher.all(&Root::open(dir.path()).unwrap(), &files, &Stop::default()).unwrap();
        for (n, digest) in digests[..50].iter().enumerate() {
            assert_eq!(*digest, Some(Digest(Sha256::digest(content(n)).into())), "file {n}");
        }
        assert_eq!(digests[0], Some(empty()));
        assert_eq!(digests[50..], [None; 4]);
        assert_eq!(hasher.bytes_read(), (0..50).map(|n| n * u64::try_from(times).unwrap()).sum::<u64>());
    }

    #[test]
    fn a_stop_ends_it() {
        let stop = Stop::default();
        stop.request();
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("a"), "a").unwrap();
        assert!(Hasher::default().all(&Root::open(dir.path()).unwrap(), &[RelPath::own("a")], &stop).is_err());
    }
}
