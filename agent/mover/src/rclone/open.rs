//! Starts rclone for a section, and asks it for its configuration before anything else: what that says is checked, and kept out of messages.

use std::ffi::OsStr;

use crate::error::{Failure, Result};
use crate::rclone::configuration::Sections;
use crate::rclone::daemon::{Daemon, Kind};
use crate::rclone::environment::Environment;
use crate::rclone::process::{CONTROL_IDLE, Rclone};
use crate::rclone::variables::{KEY, invalid};
use crate::rclone::version::Version;
use crate::report::Reason;
use crate::store::StoreError;

/// How often it is started: once more if the configuration sets what a variable of ours would come before, and again if it is another one
/// by then.
const STARTS: usize = 4;

/// What rclone says of a file that it cannot decrypt, with a wrong password or without one.
const ENCRYPTED: &str = "unable to decrypt configuration";
/// Before what it says.
const PANIC: &str = "panic received: fatal error: ";

/// A daemon whose environment, which `rclone` has then, is complete for this section.
pub fn open(mut rclone: Rclone, section: &str) -> Result<(Rclone, Daemon)> {
    for _ in 0..STARTS {
        let mut daemon = Daemon::start(&rclone).map_err(|failure| or_too_old(&rclone, failure))?;
        if let Some(version) = daemon.version().map_err(StoreError::from)?.and_then(|numbers| Version::of(&numbers)) {
            version.check("")?;
        }
        let environment = rclone.environment.with_sections(sections(&daemon, &rclone.environment)?, section)?;
        let is_complete = environment.vars == rclone.environment.vars;
        rclone.environment = environment;
        if is_complete {
            daemon.know(&rclone.environment);
            return Ok((rclone, daemon));
        }
    }
    Err(invalid(rclone.environment.secret(), "changes while it is read"))
}

/// The configuration as rclone reads it.
fn sections(daemon: &Daemon, environment: &Environment) -> Result<Sections> {
    daemon.config_dump().map(|dump| dump.0).map_err(|error| {
        let Kind::Answered(answer) = &error.kind else {
            return StoreError::from(error).into();
        };
        let said = answer.error.strip_prefix(PANIC).unwrap_or(&answer.error);
        // A mounted Secret's is read from a copy, whose path says nothing.
        let said = environment
            .vars
            .get(OsStr::new("RCLONE_CONFIG"))
            .map_or_else(|| said.to_owned(), |path| said.replace(&*path.to_string_lossy(), KEY));
        let what = if said.contains(ENCRYPTED) {
            format!("has an encrypted {KEY}, which needs its password as RCLONE_CONFIG_PASS, a key of the Secret or a variable: {said}")
        } else {
            format!("has a {KEY} that rclone cannot read: {said}")
        };
        invalid(environment.secret(), &what)
    })
}

/// One that is too old may not even start.
fn or_too_old(rclone: &Rclone, failure: Failure) -> Failure {
    if failure.reason != Reason::MoverFailed {
        return failure;
    }
    let printed = rclone.run(&["version".into()], CONTROL_IDLE).ok().and_then(|finished| std::fs::read_to_string(finished.stdout).ok());
    let checked = printed.and_then(|text| Version::printed(&text)).map(|version| version.check(&format!(" ({})", failure.message)));
    checked.and_then(std::result::Result::err).unwrap_or(failure)
}
