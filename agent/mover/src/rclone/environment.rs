//! What rclone is started with: the user's variables and ours. Once rclone has read its configuration, also what that says of a section, or
//! precisely what is wrong with it. Values never reach a log, a message or a command line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use crate::error::{Failure, Result};
use crate::rclone::authority;
use crate::rclone::base::base;
use crate::rclone::configuration::{Configuration, Sections};
use crate::rclone::options::{ASKS_METADATA, Direction, FORCED, NO_METADATA, Setting, tuning};
use crate::rclone::places;
use crate::rclone::redaction::{Redaction, is_command, is_secret, mark};
use crate::rclone::refusal::refuse_options;
use crate::rclone::target::Remote;
use crate::rclone::variables::{self, Variables, invalid};

/// What rclone is started with.
#[derive(Clone, PartialEq, Eq)]
pub struct Environment {
    /// The whole environment of the child.
    pub vars: BTreeMap<OsString, OsString>,
    /// The `type` of the remote's section.
    pub backend: Option<String>,
    /// The `type` at the end of the chain of sections, where it can be followed.
    pub base: Option<String>,
    /// What the user sets of that.
    user: Variables,
    /// For how much memory, and for which direction, we add ours.
    tuning: Option<(Option<u64>, Direction)>,
    /// The options of the remote's section.
    section: BTreeMap<String, String>,
    configuration: Configuration,
    redaction: Redaction,
}

/// The variables of the mounted Secret at `dir`, called `secret` in messages, and of our own environment.
pub fn from_mount(dir: &Path, secret: Option<&str>, own: &[(OsString, OsString)]) -> Result<Environment> {
    variables::from_mount(dir, secret, own).map(Environment::from)
}

/// Those of a person's own rclone setup, for use by hand.
pub fn from_process(own: &[(OsString, OsString)]) -> Result<Environment> {
    variables::from_process(own).map(Environment::from)
}

impl From<Variables> for Environment {
    /// Before the configuration was read.
    fn from(user: Variables) -> Self {
        let configuration = Configuration::new(Sections::new(), &user);
        let redaction = redaction(&configuration, &user);
        let (vars, section) = (BTreeMap::new(), BTreeMap::new());
        Self { vars, backend: None, base: None, tuning: None, section, configuration, redaction, user }.completed()
    }
}

impl Environment {
    /// With what rclone has read, for this section.
    pub(crate) fn with_sections(&self, sections: Sections, section: &str) -> Result<Self> {
        let configuration = Configuration::new(sections, &self.user);
        let redaction = redaction(&configuration, &self.user);
        let backend = section_type(&self.user.secret, &configuration, section)
            .and_then(|backend| refuse_options(&configuration, &self.user.secret).map(|()| backend))
            .map_err(|failure| redacted(failure, &redaction))?;
        let (base, section) = (base(&configuration, section), configuration.of_section(section));
        Ok(Self { backend: Some(backend), base, section, configuration, redaction, ..self.clone() }.completed())
    }

    /// The text without the secrets that the configuration holds: for everything that leaves the mover.
    pub fn redact(&self, text: &str) -> String {
        self.redaction.apply(text)
    }

    /// Makes sure, before anything runs, that this path of this section lies on a remote, and not in this volume, if there is one.
    pub fn check_place(&self, remote: (&str, &str), volume: Option<&Path>, direction: Direction) -> Result<()> {
        let checked = places::check(&self.configuration, &self.user.secret, remote, volume, direction);
        checked.map_err(|failure| redacted(failure, &self.redaction))
    }

    pub(crate) fn redaction(&self) -> &Redaction {
        &self.redaction
    }

    /// What holds the configuration, in messages.
    pub(crate) fn secret(&self) -> &str {
        &self.user.secret
    }

    /// The user's variables whose values rclone does not understand, by what it says of them; and where they are to be corrected.
    pub(crate) fn misunderstood(&self, said: &str) -> Option<String> {
        let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || ['-', '_'].contains(&c));
        let is_named = |word: &str| said.match_indices(word).any(|(at, _)| said.get(at + word.len()..).is_some_and(ends));
        let names = self.user.of_rclone().map(|(name, _)| name).filter(|name| {
            let option = name.trim_start_matches("RCLONE_").to_lowercase();
            is_named(name) || said.contains(&format!("{option:?}")) || is_named(&format!("--{}", option.replace('_', "-")))
        });
        let names: Vec<String> = names.collect();
        (!names.is_empty()).then(|| format!("{} {}", names.join(" and "), self.user.holder))
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
        let of_rclone = self.user.of_rclone().filter(|(name, value)| named(value) || program(&name.to_lowercase(), value));
        let marked = self.user.given.keys().map(|name| name.to_string_lossy().into_owned()).filter(|name| message.contains(&mark(name)));
        let mut variables: Vec<String> = of_rclone.map(|(name, _)| name).chain(marked).collect();
        variables.sort();
        variables.dedup();
        options.chain(variables.into_iter().map(|name| format!("variable {name}"))).collect()
    }

    /// Adds our own settings, except what the user sets already.
    #[must_use]
    pub fn tuned(self, limit: Option<u64>, direction: Direction) -> Self {
        Self { tuning: Some((limit, direction)), ..self }.completed()
    }

    /// Trusts the certificates in this file as well; `name` says in messages what holds it.
    pub fn trusting(mut self, file: &Path, name: &str) -> Result<Self> {
        self.user.trust(authority::read(file, name)?);
        Ok(self.completed())
    }

    /// Makes sure that certificates which are to be trusted are: with this option rclone trusts no others than those that it names.
    pub fn check_trust(&self) -> Result<()> {
        let overruled = self.user.authority.is_some() && self.is_set(&("RCLONE_CA_CERT", "", String::new()));
        if !overruled {
            return Ok(());
        }
        let what = "sets ca_cert (RCLONE_CA_CERT), with which rclone would not trust customCA: remove one of the two";
        Err(invalid(&self.user.secret, what))
    }

    /// The user's variables, and ours.
    fn completed(mut self) -> Self {
        self.vars.clone_from(&self.user.given);
        let ours = self.tuning.map(|(limit, direction)| tuning(limit, direction)).unwrap_or_default();
        let ours = ours.into_iter().filter(|setting| !self.is_set(setting)).map(|(name, _, value)| (name.into(), value.into()));
        let ours: Vec<(OsString, OsString)> = ours.collect();
        self.vars.extend(ours);
        if !self.vars.keys().any(|name| name == NO_METADATA.0) && !self.configuration.asks(ASKS_METADATA) {
            self.vars.insert(NO_METADATA.0.into(), NO_METADATA.1.into());
        }
        self.vars.extend(FORCED.map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Whether the user sets this, for whichever remote: our variable would come before what a section says, and a section may lead to others.
    fn is_set(&self, (name, option, _): &Setting) -> bool {
        let global = name.strip_prefix("RCLONE_").unwrap_or(name).to_lowercase();
        self.user.given.keys().any(|key| key == name)
            || !option.is_empty() && self.configuration.sets(option)
            || ["global.", "override."].iter().any(|prefix| self.configuration.sets(&format!("{prefix}{global}")))
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may be credentials.
        f.debug_struct("Environment").field("names", &self.vars.keys()).field("backend", &self.backend).finish_non_exhaustive()
    }
}

/// What no message may say: of every section, because a section may lead to another, and of the variables.
fn redaction(configuration: &Configuration, user: &Variables) -> Redaction {
    let written = configuration.written();
    let options = written.iter().map(|written| (written.option, written.option.to_lowercase(), written.value));
    // Of the others, the URL of a proxy may have a password, and is cut like all URLs.
    let option = |name: &str| name.trim_start_matches("RCLONE_").trim_start_matches("CONFIG_").to_lowercase();
    let variables = configuration.variables().map(|(name, value)| (name, option(name), value));
    // What other programs are given has values that are ordinary words.
    let others = user.given.iter().filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)));
    let others = others.filter(|(name, _)| !name.starts_with("RCLONE_")).filter_map(|(name, value)| {
        let option = name.to_lowercase();
        let is_url = value.contains("://");
        is_secret(&option).then_some(option).or_else(|| is_url.then(|| "url".to_owned())).map(|option| (name, option, value))
    });
    Redaction::new(options.chain(variables).chain(others)).with_lines(&user.lines)
}

fn redacted(mut failure: Failure, redaction: &Redaction) -> Failure {
    failure.message = redaction.apply(&failure.message);
    failure
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
