//! Certificates of the user's own (`customCA`) that rclone trusts beside those of the system. As the configuration, they are a copy: a sync
//! works with what was there when it began.

use std::io;
use std::path::Path;

use crate::error::{Failure, Result};
use crate::rclone::private::Private;
use crate::report::Reason;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// A copy of the file, in a folder where nothing else is. `name` says in messages what holds it.
pub(crate) fn read(file: &Path, name: &str) -> Result<Private> {
    let invalid = |what: &str| Failure::new(Reason::SecretInvalid, format!("customCA: {what}"));
    let content = match std::fs::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(invalid(&format!("there is no {name}: create it, or correct the names in customCA")));
        }
        content => content.map_err(|error| invalid(&format!("cannot read {name}: {error}")))?,
    };
    if content.iter().all(u8::is_ascii_whitespace) {
        return Err(invalid(&format!("{name} is empty: it has to hold one or more certificates in PEM ({BEGIN})")));
    }
    if !holds_certificates(&String::from_utf8_lossy(&content)) {
        return Err(invalid(&format!("{name} holds no certificate in PEM, or half of one: it begins with {BEGIN} and ends with {END}")));
    }
    Private::new(&content)
}

/// At least one, and each with an end: Go leaves out what it cannot read.
fn holds_certificates(text: &str) -> bool {
    let mut blocks = text.split(BEGIN).skip(1).peekable();
    let base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=') || c.is_whitespace();
    let is_whole = |block: &str| block.split_once(END).is_some_and(|(body, _)| !body.trim().is_empty() && body.chars().all(base64));
    blocks.peek().is_some() && blocks.all(is_whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(&format!("{BEGIN}\nMIIB+/=\n{END}\n"), true)]
    #[case(&format!("# the first\n{BEGIN}\nMIIB\n{END}\n# another\n{BEGIN}\r\nMIIC\r\n{END}"), true)]
    #[case("MIIB", false)]
    #[case(&format!("{BEGIN}\n{END}\n"), false)]
    #[case(&format!("{BEGIN}\nMIIB\n"), false)]
    #[case(&format!("{BEGIN}\nMIIB\n{END}\n{BEGIN}\nMIIC\n"), false)]
    #[case(&format!("{BEGIN}\nnot a {{certificate}}\n{END}\n"), false)]
    #[case("-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n", false)]
    fn certificates_are_recognised(#[case] text: &str, #[case] are_there: bool) {
        assert_eq!(holds_certificates(text), are_there);
    }
}
