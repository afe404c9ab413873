//! Refuses a configuration that would change the meaning of a transfer, wherever it says so: a section may lead to another in many ways. Pure.

use crate::error::{Failure, Result};
use crate::rclone::configuration::Configuration;
use crate::rclone::options::{is_refused_option, refused_in_value};
use crate::report::Reason;

/// Looks at every name and every value that reaches rclone; the names of variables are looked at where they are read.
pub(crate) fn refuse_options(configuration: &Configuration, secret: &str) -> Result<()> {
    let refuse = |refused: Option<&str>, place: &dyn Fn() -> String| match refused {
        None => Ok(()),
        Some(refused) => Err(Failure::new(
            Reason::SecretInvalid,
            format!("{secret} must not set {refused} in {}: these change what is transferred, not how fast; remove them", place()),
        )),
    };
    for section in configuration.sections() {
        refuse(refused_in_value("remote", section), &|| "the name of a section of its rclone configuration".to_owned())?;
    }
    for written in configuration.written() {
        let (section, option) = (written.section, written.option);
        let of_section = || format!("section [{section}] of its rclone configuration");
        refuse(Some(option).filter(|option| is_refused_option(option)), &of_section)?;
        refuse(refused_in_value("remote", option), &of_section)?;
        refuse(refused_in_value(option, written.value), &|| format!("option {option} of {}", of_section()))?;
    }
    for (name, value) in configuration.variables() {
        refuse(refused_in_value(&name.to_lowercase(), value), &|| format!("variable {name}"))?;
    }
    Ok(())
}
