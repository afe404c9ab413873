//! The verbs of a remote path by rclone: one daemon for all of them, and a process for what is large.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::base::{Form, form, is_end};
use super::daemon::{Check, Daemon, Found, Fs, Kind, Links, Serving};
use super::lines::{self, Backend};
use super::process::{BULK_IDLE, CONTROL_IDLE, Rclone};
use crate::error::Failure;
use crate::report::Reason;
use crate::store::{
    Class, Condition, Conditional, Content, Features, Fetch, List, Listed, Names, Place, Put, Replacing, Result, Store, StoreError, Sum,
    Upload,
};

/// What rclone says of a path without a slash at its end, which is what overlays pass on.
const IS_A_FILE: &str = "is a file not a directory";

/// Files from this size on are read once where that is possible. Each costs a request more, and what is smaller is still in the page cache when
/// rclone reads it.
const ONCE: u64 = 32 << 20;

/// A path of a section.
#[derive(Debug)]
pub struct RcloneStore {
    rclone: Rclone,
    /// `section:path`, without a trailing slash.
    root: String,
    daemon: Daemon,
    /// What the backend can do: asked for by the first verb, which sets it up.
    backend: OnceLock<Backend>,
}

impl RcloneStore {
    /// The path `section:path`, by an rclone that was opened for the section.
    pub fn new((rclone, daemon): (Rclone, Daemon), root: &str) -> Self {
        Self { rclone, root: root.trim_end_matches('/').to_owned(), daemon, backend: OnceLock::new() }
    }

    fn fs(&self, place: Place) -> Fs {
        match place {
            Place::Path(below) => Fs::new(&self.root, &self.rclone.environment).below(below),
            Place::Section(below) => {
                let section = self.root.split(':').next().unwrap_or_default();
                Fs::new(section, &self.rclone.environment).below(below)
            }
        }
    }

    fn path(&self, below: &str) -> Fs {
        self.fs(Place::Path(below))
    }

    fn backend(&self) -> Result<&Backend> {
        if let Some(backend) = self.backend.get() {
            return Ok(backend);
        }
        // Nothing but the setting up of the backend can fail here, and what that says of a missing file is nothing about an object.
        let backend = self.daemon.features(&self.path("")).map_err(|error| match StoreError::from(error) {
            // So rclone says that what lies behind a section could not be asked whether it is a file. A command goes on, and says why.
            error if error.message.contains(IS_A_FILE) => {
                let args = ["lsjson".into(), "--no-mimetype".into(), "--no-modtime".into(), self.path("").plain().into()];
                match self.rclone.run(&args, CONTROL_IDLE) {
                    Err(why) if why.class != Class::NotFound => why,
                    _ => StoreError::new(Class::Configuration, error.message),
                }
            }
            error if matches!(error.class, Class::Other | Class::NotFound | Class::VolumeUnreadable | Class::SourceChanging) => {
                StoreError::new(Class::Configuration, error.message)
            }
            error => error,
        })?;
        Ok(self.backend.get_or_init(|| backend))
    }

    fn daemon(&self) -> Result<&Daemon> {
        self.backend()?;
        Ok(&self.daemon)
    }

    /// Something is said not to be there. What rclone remembers of folders may be outdated: the next look is one at the server.
    fn forget(&self, daemon: &Daemon) -> Result<()> {
        if self.kind() == Some("s3") {
            return Ok(());
        }
        Ok(daemon.forget()?)
    }

    /// A command of its own, for what rclone would build up whole in memory before it is seen.
    fn command(&self, mut args: Vec<OsString>, place: Place) -> Result<PathBuf> {
        args.push(self.fs(place).plain().into());
        let ran = self.rclone.run(&args, BULK_IDLE)?;
        // What is behind it could be anybody's: not to be written through, nor to be taken for a name that is free.
        ran.link.map_or(Ok(ran.stdout), |link| {
            let what = "is a symbolic link on the remote, and none is followed: remove it, or put what it leads to in its place";
            Err(StoreError::new(Class::Obstructed, format!("{link} {what}")))
        })
    }

    fn list_apart(&self, place: Place, what: List, each: &mut dyn FnMut(Listed)) -> Result<()> {
        let mut args = vec!["lsjson", "--no-mimetype", "-R", "--fast-list"];
        if !what.folders {
            args.push("--files-only");
        }
        // On S3, a listing has the time of the last write; any other time costs a request for each object.
        args.push(if what.times { "--use-server-modtime" } else { "--no-modtime" });
        if what.sums {
            args.extend(["--hash", "--hash-type", "md5"]);
        }
        let printed = self.command(args.into_iter().map(OsString::from).collect(), place)?;
        lines::listing(&printed, &self.root, each).map_err(|failure| match self.rclone.context.scratch.has_room() {
            Ok(()) => failure.into(),
            Err(full) => full.into(),
        })
    }
}

impl Store for RcloneStore {
    fn kind(&self) -> Option<&str> {
        self.rclone.environment.backend.as_deref()
    }

    fn features(&self) -> Result<Features> {
        // Of a chain that cannot be followed, the worst is assumed.
        let base = self.rclone.environment.base.as_deref();
        let noted_sums = base.is_none_or(|base| form(base) == Some(Form::Opaque));
        // Elsewhere rclone compares what it has sent with the sum of what it has read, by sums that a look afterwards would have to read it for.
        let sends = base == Some("s3") && matches!(self.kind(), Some("s3" | "crypt"));
        // A limit of its own for what is received would hold for what is handed to rclone here, too.
        let limit = self.rclone.environment.vars.get(OsStr::new("RCLONE_BWLIMIT"));
        let reads_once = (sends && !limit.is_some_and(|limit| limit.as_encoded_bytes().contains(&b':'))).then_some(ONCE);
        Ok(Features { noted_sums, reads_once, ..self.backend()?.features() })
    }

    fn replacing(&self) -> Result<Replacing> {
        let base = self.rclone.environment.base.as_deref();
        // A WebDAV upload that fails is followed by a DELETE of that name. A type that is not known may be any: a section of variables.
        let destroys = matches!(base, Some("webdav") | None);
        Ok(Replacing { destroys, renames: base != Some("s3") && self.backend()?.has("PartialUploads") })
    }

    fn read(&self, name: &str, most: u64) -> Result<Option<PathBuf>> {
        let (daemon, to) = (self.daemon()?, self.rclone.context.scratch.fresh("object"));
        let read = daemon.read(&self.path(""), name, &to, most).map_err(|error| {
            if error.class != Class::NoSpace {
                return error.into();
            }
            // Nothing but the temporary directory is written to.
            let said = format!("the mover's temporary directory is full: {}", error.message);
            StoreError::new(Class::NoSpace, said)
        });
        match read? {
            Found::Content => Ok(Some(to)),
            Found::Absent => {
                self.forget(daemon)?;
                Ok(None)
            }
        }
    }

    fn range(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        Ok(self.daemon()?.range(&self.path(""), name, range)?)
    }

    fn fetch(&self, from: &str, to: &Path, names: &Names, how: Fetch) -> Result<()> {
        Ok(self.daemon()?.fetch(&self.path(from), to, names, how)?)
    }

    fn put(&self, files: Vec<Upload>, to: &str, how: Put) -> Result<()> {
        let (daemon, place) = (self.daemon()?, self.path(to));
        match how {
            Put::Content => {
                let mut links = Links::new(&self.rclone.context.scratch)?;
                for Upload { name, file } in files {
                    links.add(name, file)?;
                }
                daemon.send(&links, &place).map_err(|error| match links.closed() {
                    Some(name) if error.class == Class::AccessDenied => {
                        StoreError::new(Class::SourceChanging, format!("{name} cannot be read any more"))
                    }
                    _ => error.into(),
                })?;
            }
            Put::Document { checked } => {
                for Upload { name, file } in files {
                    let Ok(name) = std::str::from_utf8(name) else {
                        return Err(Failure::new(Reason::MoverFailed, "the name of a control object is text").into());
                    };
                    daemon.write_file(&file, &place, name, if checked { Check::Rclone } else { Check::Ours })?;
                }
            }
        }
        Ok(())
    }

    fn put_if(&self, document: Upload, to: &str, condition: &Condition) -> Result<Conditional> {
        // Headers of the user's are for this upload, too, and would not be sent.
        let has_headers = self.rclone.environment.vars.contains_key(OsStr::new("RCLONE_HEADER_UPLOAD"));
        let (Some("s3"), Ok(name), false) = (self.kind(), std::str::from_utf8(document.name), has_headers) else {
            return Ok(Conditional::Unknown);
        };
        let header = match condition {
            Condition::Absent => ("If-None-Match", "*".to_owned()),
            Condition::Sum(md5) => ("If-Match", format!("\"{md5}\"")),
        };
        Ok(self.daemon()?.write_if(&document.file, &self.path(to), name, (header.0, &header.1))?)
    }

    fn put_once(&self, files: Vec<Upload>, to: &str) -> Result<Vec<Content>> {
        let (daemon, place) = (self.daemon()?, self.path(to));
        let serving = Serving::new(files, &self.rclone.context.scratch, &self.rclone.context.stop)?;
        serving.during(|| daemon.send_served(&serving, &place).map(drop))
    }

    fn copy(&self, from: &str, to: &str, names: &Names) -> Result<()> {
        let daemon = self.daemon()?;
        if !self.rclone.environment.base.as_deref().is_some_and(is_end) && self.backend()?.features().is_overlay {
            // What shows an object that is kept in several may leave some of an older one behind, and show neither then.
            daemon.delete(&self.path(to), names)?;
        }
        daemon.copy(&self.path(from), &self.path(to), names)?;
        // What it remembers of what it has copied is no look at what is there.
        self.forget(daemon)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        Ok(self.daemon()?.rename(&self.path(""), from, to)?)
    }

    fn delete(&self, names: &Names) -> Result<()> {
        self.daemon()?.delete(&self.path(""), names)?;
        Ok(())
    }

    fn list(&self, place: Place, what: List, each: &mut dyn FnMut(Listed)) -> Result<()> {
        if place == Place::Path("") && what.recursive && !what.few {
            return self.list_apart(place, what, each);
        }
        let daemon = self.daemon()?;
        let what = List { strict: what.strict && self.kind() == Some("crypt"), ..what };
        match daemon.list(&self.fs(place), what) {
            Ok(Some(listed)) => {
                listed.into_iter().for_each(each);
                Ok(())
            }
            Ok(None) => {
                self.forget(daemon)?;
                Err(StoreError::absence(Class::NotFound, "directory not found"))
            }
            Err(error) if error.kind == Kind::TooLong => self.list_apart(place, what, each),
            Err(error) => Err(error.into()),
        }
    }

    fn look(&self, names: &Names, sums: bool, each: &mut dyn FnMut(Listed)) -> Result<()> {
        self.daemon()?.look(&self.path(""), names, sums)?.into_iter().for_each(each);
        Ok(())
    }

    fn sums(&self, kind: Sum, names: &Names, each: &mut dyn FnMut(&[u8], &str)) -> Result<()> {
        // Not to standard output, which is lost where one of them cannot be read.
        let to = self.rclone.context.scratch.fresh("sums");
        let output = format!("--output-file={}", to.display());
        let (kind, flags): (&str, &[&str]) = match kind {
            Sum::Sha256 => ("sha256", &["--download", "--no-traverse", &output]),
            Sum::Md5 => ("md5", &["--no-traverse", &output]),
        };
        let list = self.rclone.context.scratch.list(names.iter().copied())?;
        let mut args: Vec<OsString> = vec!["hashsum".into(), kind.into(), "--files-from-raw".into(), list.clone().into()];
        args.extend(flags.iter().map(OsString::from));
        let ran = self.command(args, Place::Path(""));
        fs::remove_file(list).map_err(|e| Failure::scratch(&e))?;
        lines::sums(&to, each)?;
        ran.map(drop)
    }

    fn make(&self) -> Result<()> {
        Ok(self.daemon()?.mkdir(&self.path(""))?)
    }

    fn remove_empty_folders(&self, below: &str) -> Result<()> {
        Ok(self.daemon()?.rmdirs(&self.path(below), !below.is_empty())?)
    }
}
