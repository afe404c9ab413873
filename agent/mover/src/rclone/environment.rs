//! Reads the rclone configuration that a Secret (or the user's own rclone setup) provides, says precisely what is
//! wrong with it, and makes rclone's environment of it. Values never reach a log, a message or a command line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::error::{Failure, Result};
use crate::rclone::base::base;
use crate::rclone::configuration::Configuration;
use crate::rclone::ini::{Sections, parse_ini};
use crate::rclone::options::{Direction, FORCED, is_refused, tuning};
use crate::rclone::places;
use crate::rclone::redaction::{Redaction, is_command, mark};
use crate::rclone::refusal::refuse_options;
use crate::rclone::target::Remote;
use crate::report::Reason;

/// The key of the Secret that holds rclone's configuration.
const KEY: &str = "rclone.conf";

/// What rclone is started with.
#[derive(Clone, PartialEq, Eq)]
pub struct Environment {
    /// The whole environment of the child.
    pub vars: BTreeMap<OsString, OsString>,
    /// The `type` of the remote's section, where it can be read.
    pub backend: Option<String>,
    /// The `type` at the end of the chain of sections, where it can be followed.
    pub base: Option<String>,
    /// The options of the remote's section, where they can be read.
    section: BTreeMap<String, String>,
    configuration: Configuration,
    /// What holds the configuration, in messages.
    secret: String,
    redaction: Redaction,
}

impl Environment {
    /// The text without the secrets that the configuration holds: for everything that leaves the mover.
    pub fn redact(&self, text: &str) -> String {
        self.redaction.apply(text)
    }

    /// Makes sure, before anything runs, that this path of this section lies on a remote.
    pub fn check_place(&self, section: &str, path: &str, direction: Direction) -> Result<()> {
        places::check(&self.configuration, &self.secret, section, path, direction).map_err(|failure| redacted(failure, &self.redaction))
    }

    pub(crate) fn redaction(&self) -> &Redaction {
        &self.redaction
    }

    /// The names of those options of the section, and of those variables, that this message is about: it names the path or the program
    /// that is their value, or has a mark in the place of it.
    pub fn options_named_in(&self, message: &str) -> Vec<String> {
        let named = |value: &str| value.starts_with('/') && value.len() > 1 && message.contains(value);
        let program = |name: &str, value: &str| {
            let program = value.split_whitespace().next().unwrap_or_default().trim_matches('"');
            is_command(name) && (named(program) || !program.is_empty() && message.contains(&format!("exec: \"{program}\"")))
        };
        let options = self.section.iter().filter(|(name, value)| named(value) || program(name, value) || message.contains(&mark(name)));
        let options = options.map(|(name, _)| format!("option {name}"));
        let variables = self.vars.iter().filter(|(name, _)| name.as_bytes().starts_with(b"RCLONE_") && name.as_bytes() != b"RCLONE_CONFIG");
        let variables = variables
            .filter(|(name, value)| {
                let name = name.to_string_lossy();
                value.to_str().is_some_and(|value| named(value) || program(&name.to_lowercase(), value)) || message.contains(&mark(&name))
            })
            .map(|(name, _)| format!("variable {}", name.to_string_lossy()));
        options.chain(variables).collect()
    }

    /// Adds our own settings, except what the Secret or the section sets already.
    #[must_use]
    pub fn tuned(mut self, limit: Option<u64>, direction: Direction) -> Self {
        self.vars.extend(FORCED.map(|(name, value)| (name.into(), value.into())));
        for (name, option, value) in tuning(limit, direction) {
            let global = name.strip_prefix("RCLONE_").unwrap_or(name).to_lowercase();
            let in_section = self.section.contains_key(option)
                || ["global.", "override."].iter().any(|prefix| self.section.contains_key(&format!("{prefix}{global}")));
            if !in_section && !self.vars.keys().any(|key| key.as_bytes() == name.as_bytes()) {
                self.vars.insert(name.into(), value.into());
            }
        }
        self
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may be credentials.
        f.debug_struct("Environment").field("names", &self.vars.keys()).field("backend", &self.backend).finish_non_exhaustive()
    }
}

/// The environment for `section` from the mounted Secret at `dir`, called `secret` in messages.
pub fn from_mount(dir: &Path, secret: Option<&str>, section: &str, own: &[(OsString, OsString)]) -> Result<Environment> {
    let secret = secret.map_or_else(|| "the Secret of rcloneConfig".to_owned(), |name| format!("Secret {name:?}"));
    let files = read_keys(dir)?;
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
    let mut vars = inherited(own);
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
        vars.insert(name.into(), OsString::from_vec(value.to_vec()));
    }
    if !refused.is_empty() {
        return Err(invalid(
            &secret,
            &format!("must not set {}: these change what is transferred, not how fast; remove them", refused.join(", ")),
        ));
    }
    vars.insert("RCLONE_CONFIG".into(), dir.join(KEY).into());
    environment(&secret, conf, section, vars)
}

/// The environment of a person's own rclone setup, for use by hand.
pub fn from_process(section: &str, own: &[(OsString, OsString)]) -> Result<Environment> {
    let mut vars = inherited(own);
    for (name, value) in own {
        let Some(text) = name.to_str().filter(|name| name.starts_with("RCLONE_")) else {
            continue;
        };
        if text != "RCLONE_CONFIG" && is_refused(text) {
            return Err(Failure::new(
                Reason::SecretInvalid,
                format!("{text} is set in the environment: it changes what is transferred; unset it"),
            ));
        }
        vars.insert(name.clone(), value.clone());
    }
    let of = |name: &str| own.iter().find(|(key, _)| key == name).map(|(_, value)| PathBuf::from(value));
    let config = of("RCLONE_CONFIG")
        .or_else(|| of("XDG_CONFIG_HOME").map(|dir| dir.join("rclone/rclone.conf")))
        .or_else(|| of("HOME").map(|home| home.join(".config/rclone/rclone.conf")));
    let Some(config) = config else {
        return Err(Failure::new(Reason::SecretMissing, "no rclone configuration: set RCLONE_CONFIG or give --config-dir"));
    };
    let called = format!("rclone configuration {}", config.display());
    let conf = match std::fs::read(&config) {
        Ok(conf) => conf,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(invalid(&called, &format!("cannot be read: {error}"))),
    };
    vars.insert("RCLONE_CONFIG".into(), config.into());
    environment(&called, &conf, section, vars)
}

/// The environment of these variables, for `section` of this configuration.
fn environment(secret: &str, conf: &[u8], section: &str, vars: BTreeMap<OsString, OsString>) -> Result<Environment> {
    let configuration = Configuration::new(sections(secret, conf)?, &vars);
    let redaction = redaction(&configuration);
    let backend = section_type(secret, &configuration, section)
        .and_then(|backend| refuse_options(&configuration, secret).map(|()| backend))
        .map_err(|failure| redacted(failure, &redaction))?;
    Ok(Environment {
        base: base(&configuration, section),
        backend: Some(backend),
        section: configuration.of_section(section),
        secret: secret.to_owned(),
        configuration,
        redaction,
        vars,
    })
}

/// What no message may say: of every section, because a section may lead to another, and of the variables.
fn redaction(configuration: &Configuration) -> Redaction {
    let written = configuration.written();
    let options = written.iter().map(|written| (written.option, written.option.to_lowercase(), written.value.as_str()));
    // Of the others, the URL of a proxy may have a password, and is cut like all URLs.
    let option = |name: &str| name.trim_start_matches("RCLONE_").trim_start_matches("CONFIG_").to_lowercase();
    let variables = configuration.variables().map(|(name, value)| (name, option(name), value));
    Redaction::new(options.chain(variables))
}

fn redacted(mut failure: Failure, redaction: &Redaction) -> Failure {
    failure.message = redaction.apply(&failure.message);
    failure
}

fn invalid(secret: &str, what: &str) -> Failure {
    Failure::new(Reason::SecretInvalid, format!("{secret} {what}"))
}

fn read_keys(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let unreadable = |error: io::Error| Failure::new(Reason::SecretInvalid, format!("cannot read the mounted Secret: {error}"));
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
            files.insert(name.to_owned(), std::fs::read(entry.path()).map_err(unreadable)?);
        }
    }
    Ok(files)
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
    own.iter().filter(|(name, _)| NAMES.iter().any(|known| name == known)).cloned().collect()
}

/// The sections of the file.
fn sections(secret: &str, conf: &[u8]) -> Result<Sections> {
    let Ok(text) = std::str::from_utf8(conf) else {
        return Err(invalid(secret, &format!("has a {KEY} that is not text")));
    };
    if text.lines().any(|line| line.trim_start_matches('\u{feff}').trim().starts_with("RCLONE_ENCRYPT_")) {
        // What cannot be read here could neither be checked nor kept out of messages.
        return Err(invalid(
            secret,
            &format!(
                "has an encrypted {KEY}, which is not supported: store what `rclone config show` prints instead, and remove the password"
            ),
        ));
    }
    parse_ini(text).map_err(|number| {
        invalid(
            secret,
            &format!(
                "has a {KEY} whose line {number} is neither a section nor `option = value`; write a value on one line, after the name of its option"
            ),
        )
    })
}

/// The type of `section`, or a failure that lists the sections there are.
fn section_type(secret: &str, configuration: &Configuration, section: &str) -> Result<String> {
    if let Some(kind) = configuration.kind(&Remote::of_section(section)) {
        return Ok(kind.text);
    }
    if configuration.mentions(section) {
        return Err(invalid(secret, &format!("has a section [{section}] without a type")));
    }
    let names: Vec<String> = configuration.sections().map(|name| format!("[{name}]")).collect();
    let there = if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
    Err(invalid(secret, &format!("has no section [{section}] in its rclone configuration; {there}")))
}

#[cfg(test)]
mod tests;
