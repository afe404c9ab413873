//! The Secret: rclone's configuration and the user's tuning, read from the mounted files.
//!
//! Nothing of it is ever logged, copied or put on a command line. Imports `failure`, `report`.

use crate::failure::Failure;
use crate::report::Reason;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What rclone is started with.
#[derive(Debug, Default)]
pub(crate) struct Config {
    /// `RCLONE_CONFIG`; none to let rclone look in its own places.
    pub(crate) file: Option<PathBuf>,
    /// Environment of rclone.
    pub(crate) environment: BTreeMap<String, OsString>,
}

/// Settings of ours, where neither the Secret's keys nor the section say otherwise. Measured: a 128 MiB limit holds with them, and a
/// dead endpoint is noticed within seconds instead of minutes.
const DEFAULTS: &[(&str, &str)] = &[
    ("GOMEMLIMIT", "80MiB"),
    ("RCLONE_TRANSFERS", "4"),
    ("RCLONE_CHECKERS", "8"),
    ("RCLONE_BUFFER_SIZE", "1M"),
    ("RCLONE_S3_UPLOAD_CONCURRENCY", "2"),
    ("RCLONE_S3_CHUNK_SIZE", "5M"),
    ("RCLONE_MULTI_THREAD_STREAMS", "2"),
    ("RCLONE_RETRIES", "1"),
    ("RCLONE_LOW_LEVEL_RETRIES", "3"),
    ("RCLONE_CONTIMEOUT", "5s"),
    ("RCLONE_TIMEOUT", "20s"),
];

/// Keys that would change what a transfer means: which files are moved, or whether any are.
const REFUSED: &[&str] = &[
    "RCLONE_DRY_RUN",
    "RCLONE_INTERACTIVE",
    "RCLONE_FILTER",
    "RCLONE_INCLUDE",
    "RCLONE_EXCLUDE",
    "RCLONE_FILES_FROM",
    "RCLONE_MIN_",
    "RCLONE_MAX_SIZE",
    "RCLONE_MAX_AGE",
    "RCLONE_MAX_DEPTH",
    "RCLONE_MAX_TRANSFER",
    "RCLONE_MAX_DELETE",
    "RCLONE_MAX_DURATION",
    "RCLONE_BACKUP_DIR",
    "RCLONE_SUFFIX",
    "RCLONE_COMPARE_DEST",
    "RCLONE_COPY_DEST",
    "RCLONE_IGNORE_",
    "RCLONE_IMMUTABLE",
    "RCLONE_UPDATE",
    "RCLONE_CONFIG",
    "RCLONE_LINKS",
    "RCLONE_COPY_LINKS",
    "RCLONE_LOG_",
    "RCLONE_DUMP",
    "RCLONE_METADATA",
    "RCLONE_ERROR_ON_NO_TRANSFER",
    "RCLONE_VERBOSE",
    "RCLONE_QUIET",
    "RCLONE_USE_JSON_LOG",
];

/// Reads the mounted Secret and makes sure that it has the section.
pub(crate) fn read(dir: Option<&Path>, secret: &str, section: &str) -> Result<Config, Failure> {
    let Some(dir) = dir else {
        let mut config = Config::default();
        for key in ["RCLONE_CONFIG", "HOME", "XDG_CONFIG_HOME"] {
            config.environment.extend(std::env::var_os(key).map(|value| (key.to_owned(), value)));
        }
        add_defaults(&mut config, "");
        return Ok(config);
    };
    let keys = keys(dir)?;
    if keys.is_empty() {
        return Err(Failure::new(
            Reason::SecretMissing,
            format!(
                "Secret {secret:?} does not exist or is empty: create it with the key rclone.conf, or correct spec.rclone.rcloneConfig"
            ),
        ));
    }
    let file = dir.join("rclone.conf");
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(_) if !keys.contains(&"rclone.conf".to_owned()) => {
            let there = keys.join(", ");
            return Err(Failure::new(Reason::SecretInvalid, format!("Secret {secret:?} has no key rclone.conf; it has: {there}")));
        }
        Err(error) => return Err(Failure::new(Reason::SecretInvalid, format!("Secret {secret:?}: rclone.conf cannot be read: {error}"))),
    };
    let sections = sections(&text);
    if !sections.contains(&section) {
        let there = if sections.is_empty() { "none".to_owned() } else { sections.join(", ") };
        return Err(Failure::new(
            Reason::SecretInvalid,
            format!(
                "rclone.conf of Secret {secret:?} has no section {section:?}; it has: {there}. Correct spec.rclone.rcloneConfigSection or the Secret"
            ),
        ));
    }
    let mut config = Config { file: Some(file), environment: BTreeMap::new() };
    for key in keys.iter().filter(|key| key.starts_with("RCLONE_")) {
        if REFUSED.iter().any(|refused| key.starts_with(refused)) {
            return Err(Failure::new(
                Reason::SecretInvalid,
                format!("Secret {secret:?} has the key {key}, which would change what is replicated: remove it"),
            ));
        }
        let value =
            std::fs::read_to_string(dir.join(key)).map_err(|e| Failure::internal(&format!("reading the key {key} of the Secret"), e))?;
        config.environment.insert(key.clone(), value.trim_end_matches('\n').into());
    }
    add_defaults(&mut config, section_body(&text, section));
    Ok(config)
}

/// The Secret's keys: regular entries of the mount, but for the `..data` links of the kubelet.
fn keys(dir: &Path) -> Result<Vec<String>, Failure> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::internal("reading the mounted Secret", error)),
    };
    let mut keys = Vec::new();
    for entry in entries {
        let name = entry.map_err(|e| Failure::internal("reading the mounted Secret", e))?.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") {
            keys.push(name.into_owned());
        }
    }
    keys.sort();
    Ok(keys)
}

fn section_name(line: &str) -> Option<&str> {
    line.trim().strip_prefix('[')?.strip_suffix(']').map(str::trim)
}

fn sections(text: &str) -> Vec<&str> {
    text.lines().filter_map(section_name).collect()
}

fn section_body<'a>(text: &'a str, section: &str) -> &'a str {
    let mut offset = 0;
    let mut start = None;
    for line in text.split_inclusive('\n') {
        if let Some(name) = section_name(line) {
            match start {
                Some(start) => return &text[start..offset],
                None if name == section => start = Some(offset + line.len()),
                None => {}
            }
        }
        offset += line.len();
    }
    start.map_or("", |start| &text[start..])
}

/// The environment outranks rclone.conf, so a backend option of ours stays away where the section has it.
fn add_defaults(config: &mut Config, body: &str) {
    for (key, value) in DEFAULTS {
        let option = key.strip_prefix("RCLONE_S3_").map(str::to_lowercase);
        let in_section = option.is_some_and(|option| body.lines().any(|l| l.split('=').next().is_some_and(|k| k.trim() == option)));
        if !in_section {
            config.environment.entry((*key).to_owned()).or_insert_with(|| value.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assert_fs::TempDir;

    fn secret(keys: &[(&str, &str)]) -> TempDir {
        let dir = TempDir::new().unwrap();
        for (key, value) in keys {
            std::fs::write(dir.path().join(key), value).unwrap();
        }
        dir
    }

    #[test]
    fn what_is_missing_is_named() {
        let reason = |keys: &[(&str, &str)]| read(Some(secret(keys).path()), "s", "aws").map_err(|f| (f.reason, f.message)).unwrap_err();
        assert_eq!(reason(&[]).0, Reason::SecretMissing);
        let (why, message) = reason(&[("rclone.cfg", "")]);
        assert!(why == Reason::SecretInvalid && message.contains("rclone.cfg"), "{message}");
        let (why, message) = reason(&[("rclone.conf", "[other]\ntype = s3\n")]);
        assert!(why == Reason::SecretInvalid && message.contains("other"), "{message}");
        let (why, message) = reason(&[("rclone.conf", "[aws]\n"), ("RCLONE_DRY_RUN", "true")]);
        assert!(why == Reason::SecretInvalid && message.contains("RCLONE_DRY_RUN"), "{message}");
    }

    #[test]
    fn the_users_tuning_stands() {
        let dir = secret(&[
            ("rclone.conf", "[a]\nchunk_size = 9M\n[aws]\nchunk_size=7M\n[b]\nupload_concurrency=1\n"),
            ("RCLONE_TRANSFERS", "9\n"),
        ]);
        let config = read(Some(dir.path()), "s", "aws").unwrap();
        assert_eq!(config.environment["RCLONE_TRANSFERS"], "9");
        assert!(!config.environment.contains_key("RCLONE_S3_CHUNK_SIZE"));
        assert_eq!(config.environment["RCLONE_S3_UPLOAD_CONCURRENCY"], "2");
    }
}
