//! Names of Kubernetes objects, where a user writes one outside the API server's own validation.

/// The longest name that an object can have, in bytes.
const LONGEST: usize = 253;

/// Checks the name of an object such as a ServiceAccount: a DNS subdomain.
///
/// # Errors
/// A sentence that says what is wrong and what to write.
pub fn check(name: &str) -> Result<(), String> {
    let expected = "write lower case letters, digits, '-' and '.', beginning and ending in a letter or digit";
    let end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    match () {
        () if name.is_empty() => Err("the name is empty: write one, or leave the field out".to_owned()),
        () if name.trim() != name => Err(format!("{name:?} begins or ends with a blank: write {:?}", name.trim())),
        () if name.len() > LONGEST => Err(format!("{name:?} is longer than {LONGEST} characters")),
        () if name.split('.').all(|label| label.starts_with(end) && label.ends_with(end) && label.chars().all(|c| end(c) || c == '-')) => {
            Ok(())
        }
        () => Err(format!("{name:?} is no name of an object: {expected}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_api_server_takes_is_a_name() {
        for good in ["scribe-mover", "a", "0", "team.scribe-mover", &"a".repeat(253)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, said) in [
            ("", "leave the field out"),
            ("  ", "begins or ends with a blank"),
            ("scribe-mover ", "ends with a blank: write \"scribe-mover\""),
            ("Scribe", "lower case"),
            ("a b", "lower case"),
            ("a_b", "lower case"),
            ("-a", "lower case"),
            ("a-", "lower case"),
            ("a..b", "lower case"),
            (&"a".repeat(254), "longer than 253"),
        ] {
            let error = check(bad).unwrap_err();
            assert!(error.contains(said), "{bad}: {error}");
        }
    }
}
