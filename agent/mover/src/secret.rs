//! Reads the rclone configuration that a Secret (or the user's own rclone setup) provides, says precisely what is
//! wrong with it, and makes rclone's environment of it. Values never reach a log, a message or a command line.
//!
//! Imports [`crate::failure`].

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};
use crate::report::Reason;

/// The key of the Secret that holds rclone's configuration.
const KEY: &str = "rclone.conf";

/// Our tuning, measured to work within 128 MiB and to fail fast, with the option of the remote that overrides it.
const TUNING: [(&str, &str, &str); 12] = [
    ("RCLONE_TRANSFERS", "", "4"),
    ("RCLONE_CHECKERS", "", "8"),
    ("RCLONE_BUFFER_SIZE", "", "1M"),
    ("RCLONE_MULTI_THREAD_STREAMS", "", "2"),
    ("RCLONE_RETRIES", "", "1"),
    ("RCLONE_LOW_LEVEL_RETRIES", "", "3"),
    ("RCLONE_CONTIMEOUT", "", "5s"),
    ("RCLONE_TIMEOUT", "", "20s"),
    ("RCLONE_S3_UPLOAD_CONCURRENCY", "upload_concurrency", "2"),
    ("RCLONE_S3_CHUNK_SIZE", "chunk_size", "5M"),
    // Ours is sha256; another pass over every large file would only be read again.
    ("RCLONE_S3_DISABLE_CHECKSUM", "disable_checksum", "true"),
    ("GOMEMLIMIT", "", "80MiB"),
];

/// Options that change which files a transfer covers, what it does to them, or what reaches our log parser.
const REFUSED: &[&str] = &[
    "DRY_RUN",
    "INTERACTIVE",
    "CONFIG",
    "CONFIG_DIR",
    "UPDATE",
    "SIZE_ONLY",
    "IMMUTABLE",
    "INPLACE",
    "PARTIAL_SUFFIX",
    "LINKS",
    "COPY_LINKS",
    "SKIP_LINKS",
    "NAME_TRANSFORM",
    "BACKUP_DIR",
    "COMPARE_DEST",
    "COPY_DEST",
    "HASH_FILTER",
    "CUTOFF_MODE",
    "FIX_CASE",
    "NO_TRAVERSE",
    "NO_CHECK_DEST",
    "NO_UNICODE_NORMALIZATION",
    "ERROR_ON_NO_TRANSFER",
    "TRACK_RENAMES",
    "USE_JSON_LOG",
    "QUIET",
    "VERBOSE",
    "PROGRESS",
    "DEFAULT_TIME",
    "SYSLOG",
    "HUMAN_READABLE",
    "S3_VERSIONS",
    "S3_VERSION_AT",
    "S3_VERSION_DELETED",
    "S3_DECOMPRESS",
    "S3_DIRECTORY_MARKERS",
    "S3_NO_HEAD_OBJECT",
    "TEMP_DIR",
    "CACHE_DIR",
];
const REFUSED_PREFIXES: &[&str] = &[
    "FILTER",
    "INCLUDE",
    "EXCLUDE",
    "FILES_FROM",
    "MIN_",
    "MAX_AGE",
    "MAX_SIZE",
    "MAX_DEPTH",
    "MAX_DELETE",
    "MAX_TRANSFER",
    "MAX_DURATION",
    "IGNORE_",
    "DELETE_",
    "SUFFIX",
    "METADATA",
    "RC",
    "LOG_",
    "STATS",
    "DUMP",
    "LOCAL_",
    "TRACK_RENAMES_",
    "MULTI_THREAD_CHUNK",
    "OVERRIDE",
];

/// What rclone is started with.
#[derive(Clone, PartialEq, Eq)]
pub struct Environment {
    /// The whole environment of the child.
    pub vars: BTreeMap<OsString, OsString>,
    /// The `type` of the remote's section, where it can be read.
    pub backend: Option<String>,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may be credentials.
        f.debug_struct("Environment")
            .field("names", &self.vars.keys())
            .field("backend", &self.backend)
            .finish()
    }
}

/// The environment for `section` from the mounted Secret at `dir`, called `secret` in messages.
pub fn from_mount(
    dir: &Path,
    secret: Option<&str>,
    section: &str,
    own: &[(OsString, OsString)],
) -> Result<Environment> {
    let secret = secret.map_or_else(
        || "the Secret of rcloneConfig".to_owned(),
        |name| format!("Secret {name:?}"),
    );
    let files = read_keys(dir)?;
    if files.is_empty() {
        return Err(Failure::new(
            Reason::SecretMissing,
            format!(
                "{secret} does not exist or is empty; create it with the key {KEY} holding the rclone configuration"
            ),
        ));
    }
    let Some(conf) = files.get(KEY) else {
        let keys: Vec<&str> = files.keys().map(String::as_str).collect();
        return Err(invalid(
            &secret,
            &format!("has no key {KEY}; its keys are: {}", keys.join(", ")),
        ));
    };
    let mut vars = inherited(own);
    let mut keys = BTreeSet::new();
    let mut refused = Vec::new();
    for (name, value) in files.iter().filter(|(name, _)| name.starts_with("RCLONE_")) {
        if is_refused(name) {
            refused.push(name.as_str());
            continue;
        }
        let value = value.strip_suffix(b"\n").unwrap_or(value);
        if value.contains(&0) {
            return Err(invalid(&secret, &format!("key {name} is not text")));
        }
        keys.insert(name.clone());
        vars.insert(name.into(), OsString::from_vec(value.to_vec()));
    }
    if !refused.is_empty() {
        return Err(invalid(
            &secret,
            &format!(
                "must not set {}: these change what is transferred, not how fast; remove them",
                refused.join(", ")
            ),
        ));
    }
    vars.insert("RCLONE_CONFIG".into(), dir.join(KEY).into());
    let options = section_options(&secret, conf, section, &keys)?;
    Ok(finish(vars, options))
}

/// The environment of a person's own rclone setup, for use by hand.
pub fn from_process(section: &str, own: &[(OsString, OsString)]) -> Result<Environment> {
    let mut vars = inherited(own);
    let mut keys = BTreeSet::new();
    for (name, value) in own {
        let Some(text) = name.to_str().filter(|name| name.starts_with("RCLONE_")) else {
            continue;
        };
        if text != "RCLONE_CONFIG" && is_refused(text) {
            return Err(Failure::new(
                Reason::SecretInvalid,
                format!(
                    "{text} is set in the environment: it changes what is transferred; unset it"
                ),
            ));
        }
        keys.insert(text.to_owned());
        vars.insert(name.clone(), value.clone());
    }
    let of = |name: &str| {
        own.iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| PathBuf::from(value))
    };
    let config = of("RCLONE_CONFIG")
        .or_else(|| of("XDG_CONFIG_HOME").map(|dir| dir.join("rclone/rclone.conf")))
        .or_else(|| of("HOME").map(|home| home.join(".config/rclone/rclone.conf")));
    let Some(config) = config else {
        return Err(Failure::new(
            Reason::SecretMissing,
            "no rclone configuration: set RCLONE_CONFIG or give --config-dir",
        ));
    };
    let called = format!("rclone configuration {}", config.display());
    let conf = match std::fs::read(&config) {
        Ok(conf) => conf,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(invalid(&called, &format!("cannot be read: {error}"))),
    };
    vars.insert("RCLONE_CONFIG".into(), config.into());
    let options = section_options(&called, &conf, section, &keys)?;
    Ok(finish(vars, options))
}

fn invalid(secret: &str, what: &str) -> Failure {
    Failure::new(Reason::SecretInvalid, format!("{secret} {what}"))
}

fn read_keys(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let unreadable = |error: io::Error| {
        Failure::new(
            Reason::SecretInvalid,
            format!("cannot read the mounted Secret: {error}"),
        )
    };
    let mut files = BTreeMap::new();
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        Err(error) => return Err(unreadable(error)),
    };
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        // A Secret mount keeps its versions in folders that begin with two dots, and keys are links into them.
        let is_file = std::fs::metadata(entry.path()).is_ok_and(|meta| meta.is_file());
        if let (true, Some(name)) = (is_file, entry.file_name().to_str()) {
            files.insert(
                name.to_owned(),
                std::fs::read(entry.path()).map_err(unreadable)?,
            );
        }
    }
    Ok(files)
}

fn is_refused(name: &str) -> bool {
    let option = name.strip_prefix("RCLONE_").unwrap_or(name);
    // RCLONE_CONFIG_<REMOTE>_<OPTION> defines a remote and RCLONE_CONFIG_PASS opens the file: both are how, not what.
    if option.starts_with("CONFIG_") && option != "CONFIG_DIR" {
        return false;
    }
    REFUSED.contains(&option)
        || REFUSED_PREFIXES
            .iter()
            .any(|prefix| match prefix.strip_suffix('_') {
                Some(_) => option.starts_with(prefix),
                None => {
                    option == *prefix
                        || option
                            .strip_prefix(prefix)
                            .is_some_and(|rest| rest.starts_with('_'))
                }
            })
}

/// What a child may know of our own environment: where to put temporary files, whom to trust, and which proxy to use.
fn inherited(own: &[(OsString, OsString)]) -> BTreeMap<OsString, OsString> {
    const NAMES: [&str; 10] = [
        "PATH",
        "TMPDIR",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
    ];
    own.iter()
        .filter(|(name, _)| NAMES.iter().any(|known| name == known))
        .cloned()
        .collect()
}

/// The options of `section`, or a failure that lists the sections there are. `None`: encrypted, so rclone alone can tell.
fn section_options(
    secret: &str,
    conf: &[u8],
    section: &str,
    keys: &BTreeSet<String>,
) -> Result<Option<BTreeMap<String, String>>> {
    let Ok(text) = std::str::from_utf8(conf) else {
        return Err(invalid(secret, &format!("has a {KEY} that is not text")));
    };
    if text.lines().any(|line| line.starts_with("RCLONE_ENCRYPT_")) {
        return Ok(None);
    }
    let mut sections = parse_ini(text);
    let variable = format!(
        "RCLONE_CONFIG_{}_",
        section.to_uppercase().replace('-', "_")
    );
    if keys.iter().any(|key| key.starts_with(&variable)) {
        return Ok(sections.remove(section));
    }
    let names: Vec<String> = sections.keys().map(|name| format!("[{name}]")).collect();
    let Some(options) = sections.remove(section) else {
        let there = if names.is_empty() {
            "it has none".to_owned()
        } else {
            format!("it has {}", names.join(", "))
        };
        return Err(invalid(
            secret,
            &format!("has no section [{section}] in its rclone configuration; {there}"),
        ));
    };
    if !options.contains_key("type") {
        return Err(invalid(
            secret,
            &format!("has a section [{section}] without a type"),
        ));
    }
    Ok(Some(options))
}

fn parse_ini(text: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut sections: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut current = None;
    for line in text.trim_start_matches('\u{feff}').lines().map(str::trim) {
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            sections.entry(name.to_owned()).or_default();
            current = Some(name.to_owned());
        } else if let (Some(section), Some((key, value))) = (&current, line.split_once('=')) {
            sections
                .entry(section.clone())
                .or_default()
                .insert(key.trim().to_owned(), value.trim().to_owned());
        }
    }
    sections
}

fn finish(
    mut vars: BTreeMap<OsString, OsString>,
    options: Option<BTreeMap<String, String>>,
) -> Environment {
    let options = options.unwrap_or_default();
    for (name, option, value) in TUNING {
        let global = name.strip_prefix("RCLONE_").unwrap_or(name).to_lowercase();
        let in_section = options.contains_key(option)
            || ["global.", "override."]
                .iter()
                .any(|prefix| options.contains_key(&format!("{prefix}{global}")));
        if !in_section && !vars.keys().any(|key| key.as_bytes() == name.as_bytes()) {
            vars.insert(name.into(), value.into());
        }
    }
    let backend = options.get("type").cloned();
    Environment { vars, backend }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assert_fs::TempDir;
    use rstest::rstest;

    const CONF: &str =
        "# c\n[s3]\ntype = s3\nchunk_size = 16M\n\n[other]\ntype=sftp\n[bad]\nx = y\n";

    fn mount(files: &[(&str, &str)]) -> TempDir {
        let dir = TempDir::new().unwrap();
        for (name, content) in files {
            std::fs::write(dir.path().join(name), content).unwrap();
        }
        dir
    }

    fn read(files: &[(&str, &str)], section: &str) -> Result<Environment> {
        from_mount(
            mount(files).path(),
            Some("creds"),
            section,
            &[
                ("HOME".into(), "/root".into()),
                ("TMPDIR".into(), "/t".into()),
            ],
        )
    }

    #[test]
    fn a_missing_or_empty_secret_is_named() {
        let missing = from_mount(Path::new("/nonexistent"), Some("creds"), "s3", &[]).unwrap_err();
        assert_eq!(missing.reason, Reason::SecretMissing);
        assert!(missing.message.contains("creds"));
        assert_eq!(read(&[], "s3").unwrap_err().reason, Reason::SecretMissing);
    }

    #[rstest]
    #[case(&[("other.conf", "x"), ("a", "b")], "s3", "a, other.conf")]
    #[case(&[(KEY, CONF)], "s4", "it has [bad], [other], [s3]")]
    #[case(&[(KEY, "")], "s4", "it has none")]
    #[case(&[(KEY, CONF)], "bad", "without a type")]
    #[case(&[(KEY, CONF), ("RCLONE_DRY_RUN", "true"), ("RCLONE_MAX_SIZE", "1k")], "s3", "RCLONE_DRY_RUN, RCLONE_MAX_SIZE")]
    fn an_unusable_secret_is_told_precisely(
        #[case] files: &[(&str, &str)],
        #[case] section: &str,
        #[case] words: &str,
    ) {
        let failure = read(files, section).unwrap_err();
        assert_eq!(failure.reason, Reason::SecretInvalid);
        assert!(
            failure.message.contains(words) && failure.message.contains("creds"),
            "{failure}"
        );
    }

    #[test]
    fn tuning_of_the_user_wins_and_nothing_else_leaks_in() {
        let env = read(
            &[(KEY, CONF), ("RCLONE_TRANSFERS", "9\n"), ("ca.crt", "x")],
            "s3",
        )
        .unwrap();
        let var = |name: &str| {
            env.vars
                .get(&OsString::from(name))
                .map(|v| v.to_str().unwrap().to_owned())
        };
        assert_eq!(var("RCLONE_TRANSFERS").as_deref(), Some("9"));
        assert_eq!(var("RCLONE_S3_CHUNK_SIZE"), None, "set in the section");
        assert_eq!(var("RCLONE_S3_UPLOAD_CONCURRENCY").as_deref(), Some("2"));
        assert_eq!((var("HOME"), var("TMPDIR").as_deref()), (None, Some("/t")));
        assert_eq!(env.backend.as_deref(), Some("s3"));
    }

    #[rstest]
    #[case("RCLONE_TRANSFERS", false)]
    #[case("RCLONE_BWLIMIT", false)]
    #[case("RCLONE_S3_ENDPOINT", false)]
    #[case("RCLONE_CONFIG_X_TYPE", false)]
    #[case("RCLONE_CONFIG_PASS", false)]
    #[case("RCLONE_MAX_BUFFER_MEMORY", false)]
    #[case("RCLONE_INCLUDE_FROM", true)]
    #[case("RCLONE_EXCLUDE", true)]
    #[case("RCLONE_MIN_AGE", true)]
    #[case("RCLONE_IGNORE_EXISTING", true)]
    #[case("RCLONE_RC_ADDR", true)]
    #[case("RCLONE_CONFIG", true)]
    #[case("RCLONE_CONFIG_DIR", true)]
    #[case("RCLONE_DUMP", true)]
    fn what_changes_a_transfers_meaning_is_refused(#[case] name: &str, #[case] refused: bool) {
        assert_eq!(is_refused(name), refused);
    }
}
