//! The variables that rclone is started with, from a mounted Secret or from a person's own environment. Nothing is known yet of what the
//! configuration says: rclone reads that. Values never reach a log, a message or a command line.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::error::{Failure, Result};
use crate::rclone::options::{is_ignored, is_refused};
use crate::rclone::private::Private;
use crate::report::Reason;

/// The key of the Secret that holds rclone's configuration.
pub(crate) const KEY: &str = "rclone.conf";

/// How often a Secret is read that becomes another one meanwhile.
const READS: usize = 4;

/// Folders of certificates, separated by colons.
const TRUSTED: &str = "SSL_CERT_DIR";

/// How systemd speaks with the mover, and not with what the mover starts.
const OURS: [&str; 4] = ["LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET"];

/// Where rclone's configuration is, and the variables that come with it.
#[derive(Clone, PartialEq, Eq)]
pub struct Variables {
    /// All of them, but for what the mover sets itself.
    pub(crate) given: BTreeMap<OsString, OsString>,
    /// What holds the configuration, in messages.
    pub(crate) secret: String,
    /// What holds the variables, in messages.
    pub(crate) holder: String,
    /// The lines of the file as they stand there.
    pub(crate) lines: Vec<String>,
    /// The file that rclone reads, where it is a mounted Secret's. A person's own is read where it is: rclone writes refreshed tokens there.
    pub(crate) private: Option<Private>,
    /// Certificates that rclone trusts beside those of the system.
    pub(crate) authority: Option<Private>,
}

impl Variables {
    /// Go, and so rclone, reads the certificates of all files in these folders, beside its own file of the system's.
    pub(crate) fn trust(&mut self, authority: Private) {
        let mut folders = OsString::from(authority.path().parent().unwrap_or(Path::new("/")));
        if let Some(others) = self.given.get(OsStr::new(TRUSTED)).filter(|others| !others.is_empty()) {
            folders.push(":");
            folders.push(others);
        }
        self.given.insert(TRUSTED.into(), folders);
        self.authority = Some(authority);
    }

    /// Those that are rclone's own, as text.
    pub(crate) fn of_rclone(&self) -> impl Iterator<Item = (String, String)> {
        let text = |text: &OsString| text.to_string_lossy().into_owned();
        // The one of them that is no option, but the path of the file.
        let of_rclone = |name: &str| name.starts_with("RCLONE_") && name != "RCLONE_CONFIG";
        self.given.iter().map(move |(name, value)| (text(name), text(value))).filter(move |(name, _)| of_rclone(name))
    }
}

/// Of the mounted Secret at `dir`, called `secret` in messages.
pub(crate) fn from_mount(dir: &Path, secret: Option<&str>, own: &[(OsString, OsString)]) -> Result<Variables> {
    let secret = secret.map_or_else(|| "the Secret of rcloneConfig".to_owned(), |name| format!("Secret {name:?}"));
    let files = read_keys(dir, &secret)?;
    if files.is_empty() {
        return Err(Failure::new(
            Reason::SecretMissing,
            format!("{secret} does not exist or is empty; create it with the key {KEY} holding the rclone configuration"),
        ));
    }
    let Some(conf) = files.get(KEY) else {
        let keys: Vec<&str> = files.keys().map(String::as_str).collect();
        return Err(invalid(&secret, &format!("has no key {KEY}; its keys are: {}", keys.join(", "))));
    };
    let mut given = passed(own);
    // Options are the Secret's to set. Those of the pod must not change what a transfer means, nor what sections there are.
    given.retain(|name, _| {
        let refused =
            name.to_str().is_some_and(|name| name.starts_with("RCLONE_CONFIG") || name.starts_with("RCLONE_") && is_refused(name));
        if refused {
            tracing::warn!(name = %name.to_string_lossy(), "this variable of the mover does not reach rclone");
        }
        !refused
    });
    let mut refused = Vec::new();
    for (name, value) in files.iter().filter(|(name, _)| name.starts_with("RCLONE_") && !is_ignored(name)) {
        if is_refused(name) {
            refused.push(name.as_str());
            continue;
        }
        let value = value.strip_suffix(b"\n").unwrap_or(value);
        if value.contains(&0) {
            return Err(invalid(&secret, &format!("key {name} is not text")));
        }
        given.insert(name.into(), OsString::from_vec(value.to_vec()));
    }
    if !refused.is_empty() {
        return Err(invalid(
            &secret,
            &format!("must not set {}: these change what is transferred, not how fast; remove them", refused.join(", ")),
        ));
    }
    let private = Private::new(conf)?;
    given.insert("RCLONE_CONFIG".into(), private.path().into());
    Ok(Variables { given, holder: format!("of {secret}"), secret, lines: lines(conf), private: Some(private), authority: None })
}

/// Of a person's own rclone setup, for use by hand.
pub(crate) fn from_process(own: &[(OsString, OsString)]) -> Result<Variables> {
    let mut given = passed(own);
    for name in given.keys().filter_map(|name| name.to_str()).filter(|name| name.starts_with("RCLONE_")) {
        if name != "RCLONE_CONFIG" && is_refused(name) {
            return Err(Failure::new(
                Reason::SecretInvalid,
                format!("{name} is set in the environment: it changes what is transferred; unset it"),
            ));
        }
    }
    let of = |name: &str| own.iter().find(|(key, _)| key == name).map(|(_, value)| PathBuf::from(value));
    let home = of("HOME");
    // In rclone's order. One that does not exist yet may be all in variables.
    let places = [
        of("XDG_CONFIG_HOME").map(|dir| dir.join("rclone/rclone.conf")),
        home.as_ref().map(|home| home.join(".config/rclone/rclone.conf")),
        home.as_ref().map(|home| home.join(".rclone.conf")),
    ];
    let there = places.iter().flatten().find(|place| place.exists()).cloned();
    let config = of("RCLONE_CONFIG").or(there).or_else(|| places.into_iter().flatten().next());
    let Some(config) = config else {
        return Err(Failure::new(Reason::SecretMissing, "no rclone configuration: set RCLONE_CONFIG or give --config-dir"));
    };
    let called = format!("rclone configuration {}", config.display());
    let conf = match std::fs::read(&config) {
        Ok(conf) => conf,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(invalid(&called, &format!("cannot be read: {error}"))),
    };
    given.insert("RCLONE_CONFIG".into(), config.into());
    Ok(Variables { given, secret: called, holder: "in the environment".to_owned(), lines: lines(&conf), private: None, authority: None })
}

/// Our own environment: where credentials are, whom to trust, which proxy to use, where to put temporary files.
fn passed(own: &[(OsString, OsString)]) -> BTreeMap<OsString, OsString> {
    let passes = |name: &OsString| name.to_str().is_none_or(|name| !OURS.contains(&name) && !is_ignored(name));
    own.iter().filter(|(name, _)| passes(name)).cloned().collect()
}

fn lines(conf: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(conf).trim_start_matches('\u{feff}').lines().map(|line| line.trim().to_owned()).collect()
}

pub(crate) fn invalid(secret: &str, what: &str) -> Failure {
    Failure::new(Reason::SecretInvalid, format!("{secret} {what}"))
}

/// All keys of one version of the Secret.
fn read_keys(dir: &Path, secret: &str) -> Result<BTreeMap<String, Vec<u8>>> {
    let unreadable = |error: io::Error| Failure::new(Reason::SecretInvalid, format!("cannot read the mounted Secret: {error}"));
    for _ in 0..READS {
        let version = version(dir).map_err(unreadable)?;
        let read = read_files(&version, version != dir);
        // The old version is removed as soon as there is another one.
        if self::version(dir).map_err(unreadable)? == version {
            return read.map_err(unreadable);
        }
    }
    Err(invalid(secret, "changes while it is read"))
}

/// The link of a Secret's mount that leads to its current version.
const CURRENT: &str = "..data";

/// Where the keys are: a Secret's mount keeps each version in a folder of its own, to which the link `..data` leads and which never changes.
/// What the link says is read at once: to follow it meets, at times, a version that has just gone. A folder without such a link is no mount of a
/// Secret, and holds the keys itself.
fn version(dir: &Path) -> io::Result<PathBuf> {
    match std::fs::read_link(dir.join(CURRENT)) {
        Ok(version) => Ok(dir.join(version)),
        // A folder of that name, and no link.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(dir.join(CURRENT)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(dir.to_owned()),
        Err(error) => Err(error),
    }
}

/// The files in a folder; none where a mount is not there at all, which is an optional Secret's.
fn read_files(dir: &Path, is_version: bool) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_version => return Ok(files),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let is_file = std::fs::metadata(entry.path()).is_ok_and(|meta| meta.is_file());
        if let (true, Some(name)) = (is_file, entry.file_name().to_str()) {
            files.insert(name.to_owned(), std::fs::read(entry.path())?);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use assert_fs::TempDir;
    use std::fs;

    /// As kubelet does: a folder for the version, to which the link is renamed; then the old one goes.
    fn publish(dir: &Path, version: &str) {
        let old = fs::read_link(dir.join("..data")).ok();
        fs::create_dir(dir.join(version)).unwrap();
        for key in [KEY, "RCLONE_CONFIG_PASS"] {
            fs::write(dir.join(version).join(key), version).unwrap();
        }
        std::os::unix::fs::symlink(version, dir.join("..data_tmp")).unwrap();
        fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
        if let Some(old) = old {
            fs::remove_dir_all(dir.join(old)).unwrap();
        }
    }

    #[test]
    fn the_keys_of_one_version_are_read_while_it_is_replaced() {
        let dir = TempDir::new().unwrap();
        publish(dir.path(), "..0");
        for key in [KEY, "RCLONE_CONFIG_PASS"] {
            std::os::unix::fs::symlink(format!("..data/{key}"), dir.path().join(key)).unwrap();
        }
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (1..500).for_each(|version| publish(dir.path(), &format!("..{version}")));
                done.store(true, std::sync::atomic::Ordering::SeqCst);
            });
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                match read_keys(dir.path(), "") {
                    Ok(keys) => assert!(keys.len() == 2 && keys[KEY] == keys["RCLONE_CONFIG_PASS"], "{keys:?}"),
                    Err(failure) => assert!(failure.message.contains("changes while it is read"), "{failure}"),
                }
            }
        });
        assert_eq!(read_keys(dir.path(), "").unwrap()[KEY], b"..499");
    }

    /// Which version is the current one is known at any moment: to take the mount itself for one would read keys of several versions.
    #[test]
    fn a_version_is_known_while_the_one_before_it_goes() {
        let dir = TempDir::new_in("/dev/shm").unwrap();
        publish(dir.path(), "..0");
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (1..3_000).for_each(|version| publish(dir.path(), &format!("..{version}")));
                done.store(true, std::sync::atomic::Ordering::SeqCst);
            });
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                assert_ne!(version(dir.path()).unwrap(), dir.path());
            }
        });
    }

    /// Where there is a link, the mount itself is no version: what hangs there by chance is not the Secret.
    #[test]
    fn a_link_to_nothing_is_no_secret_without_keys() {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join(KEY), "[s]").unwrap();
        assert_eq!(read_keys(dir.path(), "").unwrap().len(), 1, "a plain folder");
        std::os::unix::fs::symlink("..gone", dir.path().join("..data")).unwrap();
        let failure = read_keys(dir.path(), "").unwrap_err();
        assert!(failure.message.contains("cannot read the mounted Secret"), "{failure}");
        assert!(read_keys(&dir.path().join("none"), "").unwrap().is_empty());
    }
}
