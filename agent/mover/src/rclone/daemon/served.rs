//! Files that rclone is handed while they are read here, once: over a socket of our own, as a WebDAV server does it, and hashed on the way. As
//! files, it would read them itself, those that it sends to S3 in one request twice, for the sum in that request's header.
//!
//! Of WebDAV there is what rclone asks for: what a file is (PROPFIND), and its content from the beginning (GET). A transfer that failed is
//! tried again with another GET; what was sent in the end is what the last one gave, from its first byte to its last.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::Offset;

use crate::error::{Failure, Result};
use crate::scratch::Scratch;
use crate::stop::Stop;
use crate::store::{self, Class, Content, StoreError, Upload};
use crate::volume::hash::Sums;

/// The server that rclone takes it for. Nobody asks for its address.
pub(super) const URL: &str = "http://localhost";

/// Bytes that are read at a time.
const PART: usize = 256 << 10;
/// Before the next connection is taken, where one could not be.
const PAUSE: Duration = Duration::from_millis(10);
/// The longest head of a request: a name has 700 bytes, and each of them may take three.
const HEAD: usize = 16 << 10;
/// The longest body of a request, which says what is asked for.
const BODY: u64 = 16 << 10;

/// What came of reading a file.
#[derive(Clone, Debug)]
enum Passed {
    /// Nothing, or not all of it.
    No,
    /// All of it.
    Whole(Content),
    /// It became another one meanwhile.
    Changed,
    /// It could not be read.
    Unreadable(String),
}

#[derive(Debug)]
struct Served {
    file: File,
    meta: Metadata,
    passed: Mutex<Passed>,
}

/// Files under the names that they are to have. They are served while [`Self::during`] runs.
#[derive(Debug)]
pub struct Serving<'a> {
    socket: PathBuf,
    names: Vec<&'a [u8]>,
    files: HashMap<&'a [u8], Served>,
    stop: Stop,
    /// The connections that there are, by number, to be ended with the work.
    open: Mutex<HashMap<u64, UnixStream>>,
    /// How many there were.
    connections: AtomicU64,
    done: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the serving, and the threads that do it.
struct End<'a>(&'a Serving<'a>, &'a UnixListener);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let Self(serving, listener) = self;
        serving.done.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections, and takes no descriptor for that: there may be none left.
        if let Err(error) = rustix::net::shutdown(listener, rustix::net::Shutdown::Both) {
            tracing::warn!(%error, "cannot end the serving of files");
        }
        for (_, connection) in lock(&serving.open).drain() {
            // One that has ended already.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

/// A connection that can be ended by [`End`], until this is dropped.
struct Kept<'a>(&'a Serving<'a>, u64);

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        lock(&self.0.open).remove(&self.1);
    }
}

impl<'a> Serving<'a> {
    /// Serves nothing yet.
    pub fn new(files: Vec<Upload<'a>>, scratch: &Scratch, stop: &Stop) -> Result<Self> {
        let names = files.iter().map(|upload| upload.name).collect();
        let served = files.into_iter().map(|Upload { name, file }| {
            let meta = file.metadata()?;
            Ok((name, Served { file, meta, passed: Mutex::new(Passed::No) }))
        });
        let files = served.collect::<io::Result<_>>().map_err(|e| Failure::scratch(&e))?;
        let (socket, stop) = (scratch.fresh("files"), stop.clone());
        Ok(Self { socket, names, files, stop, open: Mutex::default(), connections: AtomicU64::new(0), done: AtomicBool::new(false) })
    }

    /// Where they are served, a socket. Nobody else may enter its folder.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(super) fn names(&self) -> &[&'a [u8]] {
        &self.names
    }

    /// Serves them as long as `work` runs, and returns what was sent, in the order of the files. `work` must have sent all of them.
    pub fn during<E: Into<StoreError>>(&self, work: impl FnOnce() -> std::result::Result<(), E>) -> store::Result<Vec<Content>> {
        let listener = UnixListener::bind(&self.socket).map_err(|e| Failure::scratch(&e))?;
        let ran = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !self.done.load(Ordering::SeqCst) {
                    match listener.accept() {
                        Ok((connection, _)) => {
                            scope.spawn(|| self.connection(connection));
                        }
                        Err(error) => {
                            tracing::debug!(%error, "a connection that could not be taken");
                            // Descriptors that are used up come back as connections end.
                            std::thread::sleep(PAUSE);
                        }
                    }
                }
            });
            // However the work ends.
            let _end = End(self, &listener);
            work().map_err(Into::into)
        });
        std::fs::remove_file(&self.socket).map_err(|e| Failure::scratch(&e))?;
        self.outcome(ran)
    }

    /// What went wrong here is why rclone failed.
    fn outcome(&self, ran: store::Result<()>) -> store::Result<Vec<Content>> {
        self.stop.check()?;
        let mut passed = Vec::new();
        for name in &self.names {
            let shown = String::from_utf8_lossy(name);
            let of = self.files.get(name).map_or(Passed::No, |served| lock(&served.passed).clone());
            match of {
                Passed::Whole(content) => passed.push(content),
                Passed::Changed => return Err(StoreError::new(Class::SourceChanging, format!("{shown} changed while it was sent"))),
                Passed::Unreadable(why) => {
                    return Err(StoreError::new(Class::VolumeUnreadable, format!("cannot read the content of {shown}: {why}")));
                }
                Passed::No => {
                    ran.clone()?;
                    return Err(StoreError::new(Class::Other, format!("rclone has sent {shown}, and never read it to its end")));
                }
            }
        }
        ran.map(|()| passed)
    }

    fn connection(&self, mut connection: UnixStream) {
        let kept = connection.try_clone().map(|kept| self.keep(kept));
        if self.done.load(Ordering::SeqCst) {
            return;
        }
        if let Err(error) = kept.as_ref().map_or_else(|error| Err(io::Error::from(error.kind())), |_| self.answer(&mut connection)) {
            // rclone goes away where the remote fails it, and says why.
            tracing::debug!(%error, "a file that was being sent");
        }
        // Before the other side learns of the end, and opens another one: each is a descriptor.
        drop(kept);
        let _ = connection.shutdown(Shutdown::Both);
    }

    fn keep(&self, connection: UnixStream) -> Kept<'_> {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        lock(&self.open).insert(number, connection);
        Kept(self, number)
    }

    /// Answers one request; none other comes on a connection.
    fn answer(&self, connection: &mut UnixStream) -> io::Result<()> {
        let Some(request) = Request::read(connection)? else { return Ok(()) };
        let Some(served) = request.name.as_deref().and_then(|name| self.files.get(name)) else {
            return head(connection, "404 Not Found", 0);
        };
        match request.method.as_str() {
            "PROPFIND" => {
                let body = properties(&served.meta);
                head(connection, "207 Multi-Status", body.len() as u64)?;
                connection.write_all(body.as_bytes())
            }
            "GET" if request.from_the_beginning => self.pass(served, connection),
            _ => head(connection, "501 Not Implemented", 0),
        }
    }

    /// Hands out the content, all of it or not the end.
    fn pass(&self, served: &Served, connection: &mut UnixStream) -> io::Result<()> {
        {
            let mut passed = lock(&served.passed);
            if matches!(*passed, Passed::Changed | Passed::Unreadable(_)) {
                return head(connection, "410 Gone", 0);
            }
            *passed = Passed::No;
        }
        let size = served.meta.len();
        head(connection, "200 OK", size)?;
        let whole = |sums: Sums| {
            let (sha256, md5) = sums.finish();
            *lock(&served.passed) = Passed::Whole(Content { size, sha256, md5 });
        };
        let (mut buffer, mut sums, mut at) = (vec![0; PART], Sums::default(), 0);
        if size == 0 {
            whole(Sums::default());
        }
        while at < size {
            if self.stop.check().is_err() || self.done.load(Ordering::SeqCst) {
                return Ok(());
            }
            let most = usize::try_from(size - at).unwrap_or(PART).min(PART);
            let got = match served.file.read_at(buffer.get_mut(..most).unwrap_or_default(), at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    *lock(&served.passed) = Passed::Unreadable(error.to_string());
                    return Ok(());
                }
                Ok(got) => got,
            };
            at += got as u64;
            // The end is kept back until it is known to be that.
            if got == 0 || at == size && !is_still(served)? {
                *lock(&served.passed) = Passed::Changed;
                return Ok(());
            }
            let part = buffer.get(..got).unwrap_or_default();
            sums.update(part);
            if at == size {
                whole(sums.clone());
            }
            connection.write_all(part)?;
        }
        Ok(())
    }
}

/// Whether the file is what it was when it was opened, as far as its size and times say.
fn is_still(served: &Served) -> io::Result<bool> {
    let stamp = |meta: &Metadata| (meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
    Ok(stamp(&served.file.metadata()?) == stamp(&served.meta))
}

/// One request.
struct Request {
    method: String,
    /// Below the root; nothing where it is no name.
    name: Option<Vec<u8>>,
    /// It does not ask for a part.
    from_the_beginning: bool,
}

impl Request {
    /// Nothing where the connection ends before it.
    fn read(connection: &mut UnixStream) -> io::Result<Option<Self>> {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() == HEAD {
                return Err(io::Error::other("a request that is too long"));
            }
            if connection.read(&mut byte)? == 0 {
                return Ok(None);
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head);
        let mut lines = head.lines();
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (method, target) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default());
        let (mut body, mut from_the_beginning) = (0, true);
        for (field, value) in lines.filter_map(|line| line.split_once(':')) {
            if field.eq_ignore_ascii_case("content-length") {
                body = value.trim().parse().unwrap_or(BODY).min(BODY);
            }
            from_the_beginning &= !field.eq_ignore_ascii_case("range");
        }
        io::copy(&mut connection.take(body), &mut io::sink())?;
        Ok(Some(Self { method, name: target.strip_prefix('/').and_then(unescaped), from_the_beginning }))
    }
}

/// The bytes that a part of a URL stands for.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        if *first == b'%' {
            let (digits, more) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = more;
        } else {
            bytes.push(*first);
        }
    }
    Some(bytes)
}

fn head(connection: &mut UnixStream, status: &str, length: u64) -> io::Result<()> {
    write!(connection, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n")
}

/// What a file is, as far as rclone looks at it.
fn properties(meta: &Metadata) -> String {
    let (size, modified) = (meta.len(), modified(meta));
    format!(
        "<?xml version=\"1.0\"?><d:multistatus xmlns:d=\"DAV:\"><d:response><d:href>/</d:href><d:propstat><d:prop><d:getcontentlength>{size}</d:getcontentlength><d:getlastmodified>{modified}</d:getlastmodified></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>"
    )
}

/// As HTTP writes a time, but for the parts of a second, which rclone reads, too. Years of another number of digits it would not: such a time
/// becomes the next one that it does.
fn modified(meta: &Metadata) -> String {
    const FIRST: i64 = -62_135_596_800;
    const LAST: i64 = 253_402_207_200;
    let (seconds, nanos) = (meta.mtime().clamp(FIRST, LAST), i32::try_from(meta.mtime_nsec()).unwrap_or_default());
    let time = Timestamp::from_second(seconds).unwrap_or_default();
    let whole = Offset::UTC.to_datetime(time).strftime("%a, %d %b %Y %H:%M:%S").to_string();
    format!("{whole}.{nanos:09} GMT")
}

#[cfg(test)]
mod tests;
