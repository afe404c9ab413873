//! A file system in user space (FUSE) that passes everything on to a folder, tells what it was asked, and refuses what a test's rule says: so behave
//! servers of a network and their quotas, which no file system of the kernel does at will. Needs root.
//!
//! It speaks version 7.31 of the kernel's protocol (`linux/fuse.h`), where the numbers of requests and the places of their members are from.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use assert_fs::TempDir;
use rustix::fs::{AtFlags, CWD, FallocateFlags, FileType, Mode, Timespec, Timestamps, UTIME_OMIT, fallocate, mknodat, statvfs, utimensat};
use rustix::io::Errno;

/// What it is asked to do to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    OpenToWrite,
    Read,
    /// From where.
    Write(u64),
    /// From and to which size.
    Resize(u64, u64),
    SetOwner,
    Sync,
    /// To give room or to take it.
    Allocate,
    Rename,
    Remove,
}

/// Which error it answers, if any, of a file whose metadata in the folder is this.
pub(crate) type Rule = Box<dyn FnMut(&Path, Ask, &Metadata) -> Option<Errno> + Send>;

struct Told {
    rule: Rule,
    asked: Vec<(PathBuf, Ask)>,
    /// To whom all belongs, if not to its owner.
    owner: Option<u32>,
}

/// See the module. It ends when this is dropped.
pub(crate) struct UserSpace {
    mount: TempDir,
    told: Arc<Mutex<Told>>,
    _folder: Arc<TempDir>,
}

impl UserSpace {
    pub(crate) fn new() -> Self {
        let (mount, folder) = (TempDir::new().unwrap(), Arc::new(TempDir::new().unwrap()));
        let device = File::options().read(true).write(true).open("/dev/fuse").unwrap();
        let options = "fd=0,rootmode=40000,user_id=0,group_id=0,allow_other";
        let mut command = Command::new("mount");
        command.args(["-i", "-t", "fuse", "-o", options, "told"]).arg(mount.path()).stdin(Stdio::from(device.try_clone().unwrap()));
        let mounted = command.output().unwrap();
        assert!(mounted.status.success(), "this needs root: {}", String::from_utf8_lossy(&mounted.stderr));
        let told = Arc::new(Mutex::new(Told { rule: Box::new(|_, _, _| None), asked: Vec::new(), owner: None }));
        let mut server = Server {
            device,
            told: Arc::clone(&told),
            folder: Arc::clone(&folder),
            // What is never looked up has no number; 1 is the root.
            paths: HashMap::from([(1, PathBuf::new())]),
            files: HashMap::new(),
            next: 2,
        };
        std::thread::spawn(move || server.serve());
        Self { mount, told, _folder: folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.mount.path()
    }

    /// Answers as this rule says from now on, and forgets what it was asked before.
    pub(crate) fn rule(&self, rule: impl FnMut(&Path, Ask, &Metadata) -> Option<Errno> + Send + 'static) {
        self.take();
        self.told.lock().unwrap().rule = Box::new(rule);
    }

    /// Shows everything as this user's, whoever owns it.
    pub(crate) fn belongs_to(&self, owner: u32) {
        self.told.lock().unwrap().owner = Some(owner);
    }

    /// What it was asked since, in order.
    pub(crate) fn take(&self) -> Vec<(PathBuf, Ask)> {
        std::mem::take(&mut self.told.lock().unwrap().asked)
    }
}

impl Drop for UserSpace {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.mount.path()).status();
    }
}

struct Server {
    device: File,
    told: Arc<Mutex<Told>>,
    folder: Arc<TempDir>,
    paths: HashMap<u64, PathBuf>,
    files: HashMap<u64, File>,
    next: u64,
}

/// The bytes of a request behind its header.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.0[at..at + 4].try_into().unwrap())
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().unwrap())
    }

    /// Names, each with a NUL behind it.
    fn names(&self, at: usize) -> Vec<&'a OsStr> {
        self.0[at..].split(|byte| *byte == 0).map(OsStr::from_bytes).collect()
    }
}

type Answer = io::Result<Vec<u8>>;

impl Server {
    fn serve(&mut self) {
        let mut buffer = vec![0; 256 << 10];
        // The read fails once nothing is mounted any more.
        while let Ok(length) = self.device.read(&mut buffer) {
            let number = |at: usize| u64::from_le_bytes(buffer[at..at + 8].try_into().unwrap());
            let (code, id, node) = (u32::from_le_bytes(buffer[4..8].try_into().unwrap()), number(8), number(16));
            // FORGET, INTERRUPT and BATCH_FORGET have no answer.
            if [2, 36, 42].contains(&code) {
                continue;
            }
            let (error, bytes) = match self.answer(code, node, &Body(&buffer[40..length])) {
                Ok(bytes) => (0, bytes),
                Err(error) => (-error.raw_os_error().unwrap_or(5), Vec::new()),
            };
            let length = u32::try_from(16 + bytes.len()).unwrap();
            let answer = [&length.to_le_bytes()[..], &error.to_le_bytes(), &id.to_le_bytes(), &bytes].concat();
            // Who had asked may be gone.
            let _ = self.device.write(&answer);
        }
    }

    fn real(&self, path: &Path) -> PathBuf {
        if path.as_os_str().is_empty() { self.folder.path().into() } else { self.folder.path().join(path) }
    }

    fn below(&self, node: u64, name: &OsStr) -> PathBuf {
        self.paths[&node].join(name)
    }

    fn ask(&self, path: &Path, ask: Ask) -> io::Result<()> {
        let mut told = self.told.lock().unwrap();
        told.asked.push((path.into(), ask));
        let meta = self.real(path).symlink_metadata()?;
        (told.rule)(path, ask, &meta).map_or(Ok(()), |errno| Err(errno.into()))
    }

    fn keep(&mut self, file: File) -> Vec<u8> {
        self.next += 1;
        self.files.insert(self.next, file);
        // DIRECT_IO: whatever is read or written comes here.
        [&self.next.to_le_bytes()[..], &1_u64.to_le_bytes()].concat()
    }

    fn entry(&mut self, path: PathBuf) -> Answer {
        let attributes = self.attributes(&path)?;
        let known = self.paths.iter().find(|(_, known)| **known == path).map(|(node, _)| *node);
        let node = known.unwrap_or_else(|| {
            self.next += 1;
            self.paths.insert(self.next, path);
            self.next
        });
        Ok([&node.to_le_bytes()[..], &[0; 32], &attributes].concat())
    }

    fn attributes(&self, path: &Path) -> Answer {
        Ok(self.attributes_of(&self.real(path).symlink_metadata()?))
    }

    fn attributes_of(&self, meta: &Metadata) -> Vec<u8> {
        let owner = self.told.lock().unwrap().owner.unwrap_or(meta.uid());
        let large = [meta.ino(), meta.size(), meta.blocks()].map(u64::to_le_bytes).concat();
        let times = [meta.atime(), meta.mtime(), meta.ctime()].map(i64::to_le_bytes).concat();
        let parts =
            [meta.atime_nsec(), meta.mtime_nsec(), meta.ctime_nsec()].map(|part| i32::try_from(part).unwrap().to_le_bytes()).concat();
        let links = u32::try_from(meta.nlink()).unwrap();
        let small = [meta.mode(), links, owner, meta.gid(), 0, 4096, 0].map(u32::to_le_bytes).concat();
        [large, times, parts, small].concat()
    }

    #[allow(clippy::too_many_lines, reason = "a line or two for each kind of request")]
    fn answer(&mut self, code: u32, node: u64, body: &Body) -> Answer {
        // One that was removed, and is still open.
        let path = self.paths.get(&node).map_or_else(|| "it is gone".into(), PathBuf::clone);
        let real = self.real(&path);
        let nothing = |done: io::Result<()>| done.map(|()| Vec::new());
        match code {
            // LOOKUP, GETATTR, SETATTR, READLINK
            1 => self.entry(self.below(node, body.names(0)[0])),
            3 => {
                let open = (body.u32(0) & 1 != 0).then(|| self.files.get(&body.u64(8))).flatten();
                let meta = open.map_or_else(|| real.symlink_metadata(), File::metadata)?;
                Ok([&[0; 16][..], &self.attributes_of(&meta)].concat())
            }
            4 => {
                self.set(&path, body)?;
                Ok([&[0; 16][..], &self.attributes(&path)?].concat())
            }
            5 => Ok(fs::read_link(real)?.as_os_str().as_bytes().to_vec()),
            // SYMLINK, MKNOD, MKDIR
            6 => {
                let names = body.names(0);
                let new = self.below(node, names[0]);
                symlink(names[1], self.real(&new))?;
                self.entry(new)
            }
            8 => {
                let new = self.below(node, body.names(16)[0]);
                mknodat(CWD, self.real(&new), FileType::from_raw_mode(body.u32(0)), Mode::from_raw_mode(body.u32(0)), 0)?;
                self.entry(new)
            }
            9 => {
                let new = self.below(node, body.names(8)[0]);
                fs::create_dir(self.real(&new))?;
                fs::set_permissions(self.real(&new), Permissions::from_mode(body.u32(0) & 0o7777))?;
                self.entry(new)
            }
            // UNLINK, RMDIR
            10 | 11 => {
                let old = self.below(node, body.names(0)[0]);
                self.ask(&old, Ask::Remove)?;
                nothing(if code == 10 { fs::remove_file(self.real(&old)) } else { fs::remove_dir(self.real(&old)) })?;
                self.paths.retain(|_, path| *path != old);
                Ok(Vec::new())
            }
            // RENAME, RENAME2, LINK
            12 | 45 => {
                let names = body.names(if code == 12 { 8 } else { 16 });
                let (from, to) = (self.below(node, names[0]), self.below(body.u64(0), names[1]));
                self.ask(&from, Ask::Rename)?;
                fs::rename(self.real(&from), self.real(&to))?;
                self.paths.retain(|_, path| *path != to);
                for path in self.paths.values_mut() {
                    if let Ok(below) = path.strip_prefix(&from) {
                        *path = if below.as_os_str().is_empty() { to.clone() } else { to.join(below) };
                    }
                }
                Ok(Vec::new())
            }
            13 => {
                let new = self.below(node, body.names(8)[0]);
                fs::hard_link(self.real(&self.paths[&body.u64(0)]), self.real(&new))?;
                self.entry(new)
            }
            // OPEN, READ, WRITE
            14 => {
                let writes = body.u32(0) & 3 != 0;
                if writes {
                    self.ask(&path, Ask::OpenToWrite)?;
                }
                let file = File::options().read(true).write(writes).open(real)?;
                Ok(self.keep(file))
            }
            15 => {
                self.ask(&path, Ask::Read)?;
                let mut bytes = vec![0; body.u32(16) as usize];
                let read = self.files[&body.u64(0)].read_at(&mut bytes, body.u64(8))?;
                bytes.truncate(read);
                Ok(bytes)
            }
            16 => {
                self.ask(&path, Ask::Write(body.u64(8)))?;
                let length = body.u32(16);
                self.files[&body.u64(0)].write_all_at(&body.0[40..][..length as usize], body.u64(8))?;
                Ok([length, 0].map(u32::to_le_bytes).concat())
            }
            // STATFS
            17 => {
                let stat = statvfs(real)?;
                let rooms = [stat.f_blocks, stat.f_bfree, stat.f_bavail, stat.f_files, stat.f_ffree].map(u64::to_le_bytes).concat();
                let frame = u32::try_from(stat.f_frsize).unwrap();
                Ok([&rooms[..], &[frame, 255, frame, 0].map(u32::to_le_bytes).concat(), &[0; 24]].concat())
            }
            // RELEASE, FSYNC, FLUSH, RELEASEDIR, FSYNCDIR
            18 => {
                self.files.remove(&body.u64(0));
                Ok(Vec::new())
            }
            20 => nothing(self.ask(&path, Ask::Sync)),
            25 | 29 | 30 => Ok(Vec::new()),
            // INIT
            26 => {
                let first = [7, 31, 128 << 10, 1 << 5].map(u32::to_le_bytes).concat();
                Ok([&first[..], &[0; 4], &(128_u32 << 10).to_le_bytes(), &1_u32.to_le_bytes(), &[0; 36]].concat())
            }
            // OPENDIR, READDIR
            27 => Ok(vec![0; 16]),
            28 => Ok(names(&real, body.u64(8), body.u32(16) as usize)?),
            // CREATE
            35 => {
                let new = self.below(node, body.names(16)[0]);
                let mut options = File::options();
                options.read(true).write(true).create_new(true).mode(body.u32(4) & 0o7777);
                let file = options.open(self.real(&new))?;
                let entry = self.entry(new)?;
                Ok([entry, self.keep(file)].concat())
            }
            // FALLOCATE
            43 => {
                self.ask(&path, Ask::Allocate)?;
                let mode = FallocateFlags::from_bits_retain(body.u32(24));
                fallocate(&self.files[&body.u64(0)], mode, body.u64(8), body.u64(16))?;
                Ok(Vec::new())
            }
            _ => Err(Errno::NOSYS.into()),
        }
    }

    fn set(&self, path: &Path, body: &Body) -> io::Result<()> {
        let (valid, real) = (body.u32(0), self.real(path));
        if valid & 1 != 0 {
            fs::set_permissions(&real, Permissions::from_mode(body.u32(68) & 0o7777))?;
        }
        if valid & 6 != 0 {
            self.ask(path, Ask::SetOwner)?;
            let id = |flag: u32, at: usize| (valid & flag != 0).then(|| body.u32(at));
            lchown(&real, id(2, 76), id(4, 80))?;
        }
        if valid & 8 != 0 {
            self.ask(path, Ask::Resize(real.metadata()?.len(), body.u64(16)))?;
            File::options().write(true).open(&real)?.set_len(body.u64(16))?;
        }
        if valid & 0x30 != 0 {
            let time = |flag: u32, secs: usize, nanos: usize| {
                let nanos = if valid & flag != 0 { i64::from(body.u32(nanos)) } else { UTIME_OMIT };
                Timespec { tv_sec: body.u64(secs).cast_signed(), tv_nsec: nanos }
            };
            let times = Timestamps { last_access: time(16, 32, 56), last_modification: time(32, 40, 60) };
            utimensat(CWD, &real, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }
}

/// The names in a folder from one of this number on, as many as go into so many bytes.
fn names(folder: &Path, from: u64, room: usize) -> Answer {
    let mut all: Vec<_> = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<_>>()?;
    all.sort();
    let mut bytes = Vec::new();
    for (number, name) in (1_u64..).zip(all).skip(usize::try_from(from).unwrap()) {
        let length = u32::try_from(name.len()).unwrap();
        // Which inode and what type it is, who wants to know asks of itself.
        let mut entry = [&u64::MAX.to_le_bytes()[..], &number.to_le_bytes(), &length.to_le_bytes(), &[0; 4], name.as_bytes()].concat();
        entry.resize(entry.len().next_multiple_of(8), 0);
        if bytes.len() + entry.len() > room {
            break;
        }
        bytes.extend(entry);
    }
    Ok(bytes)
}
