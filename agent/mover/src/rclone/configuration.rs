//! The options of remotes as rclone sees them: what follows a remote's name, variables, and the file, in rclone's order. Nothing else in the
//! mover reads the configuration. Pure.

use std::collections::BTreeMap;
use std::ffi::OsString;

use crate::rclone::ini::{DEFAULT, Sections};
use crate::rclone::target::Remote;

/// A chain of sections that is longer is a circle.
pub(crate) const DEEPEST: usize = 16;
/// How often a reference in a value is replaced, and how long the value may become.
const REFERENCES: usize = 200;
const LONGEST: usize = 64 << 10;

/// The sections of a file, with the variables that define or change them.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Configuration {
    sections: Sections,
    variables: BTreeMap<String, String>,
}

/// The value of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value {
    pub text: String,
    /// Whether all that rclone may do with it is known: it is neither inherited nor composed of others, and no two variables set it.
    pub certain: bool,
}

impl Value {
    /// Where what is not certain is the same as what is not known.
    pub(crate) fn certain(self) -> Option<String> {
        Some(self.text).filter(|_| self.certain)
    }
}

/// What one line of the file says.
pub(crate) struct Written<'a> {
    pub section: &'a str,
    pub option: &'a str,
    /// As it stands there, or as rclone reads it.
    pub value: String,
}

impl Configuration {
    pub(crate) fn new(sections: Sections, vars: &BTreeMap<OsString, OsString>) -> Self {
        let text = |text: &OsString| text.to_string_lossy().into_owned();
        let variables = vars.iter().map(|(name, value)| (text(name), text(value)));
        // The one of them that is no option, but the path of the file.
        let variables = variables.filter(|(name, _)| name.starts_with("RCLONE_") && name != "RCLONE_CONFIG");
        Self { sections, variables: variables.collect() }
    }

    pub(crate) fn sections(&self) -> impl Iterator<Item = &str> {
        self.sections.keys().map(String::as_str)
    }

    /// Whether the file or a variable defines anything of this section.
    pub(crate) fn mentions(&self, section: &str) -> bool {
        let variable = variable_of_section(section, "");
        self.sections.contains_key(section) || self.variables.keys().any(|name| name.starts_with(&variable))
    }

    /// What the file says of this section.
    pub(crate) fn of_section(&self, section: &str) -> BTreeMap<String, String> {
        let Some(options) = self.sections.get(section) else {
            return BTreeMap::new();
        };
        options.iter().map(|(name, value)| (name.clone(), self.composed(options, value))).collect()
    }

    /// All that the file says.
    pub(crate) fn written(&self) -> Vec<Written<'_>> {
        let mut written = Vec::new();
        for (section, options) in &self.sections {
            for (option, value) in options {
                let composed = Some(self.composed(options, value)).filter(|composed| composed != value);
                written.extend([Some(value.clone()), composed].into_iter().flatten().map(|value| Written { section, option, value }));
            }
        }
        written
    }

    /// All variables with an option of rclone's.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The backend that a remote is of.
    pub(crate) fn kind(&self, remote: &Remote) -> Option<Value> {
        match remote.written_out() {
            Some(backend) => Some(Value { text: backend.to_owned(), certain: true }),
            None => self.option(remote, "", "type"),
        }
    }

    /// An option of a remote of type `kind`. It may be empty where a variable, or what follows the remote's name, says so.
    pub(crate) fn option(&self, remote: &Remote, kind: &str, name: &str) -> Option<Value> {
        let known = |text: &String| Value { text: text.clone(), certain: true };
        if let Some(own) = remote.options.get(name) {
            return Some(known(own));
        }
        let of_section = self.variables.get(&variable_of_section(&remote.name, name));
        let of_backend = self.variables.get(&format!("RCLONE_{kind}_{name}").to_uppercase().replace('-', "_"));
        match (of_backend.filter(|_| !kind.is_empty()), of_section) {
            // rclone takes the backend's for a flag of the command, unless it is the same as the default.
            (Some(value), Some(other)) => {
                let text = if value.is_empty() { other } else { value };
                Some(Value { text: text.clone(), certain: value == other })
            }
            (Some(value), None) | (None, Some(value)) => Some(known(value)),
            (None, None) => self.of_file(&remote.name, name),
        }
    }

    /// A section has what it does not say itself from the one whose name stands before its last dot.
    fn of_file(&self, section: &str, name: &str) -> Option<Value> {
        let options = self.sections.get(section)?;
        if let Some(value) = options.get(name) {
            let text = self.composed(options, value);
            return Some(Value { text, certain: !value.contains("%(") }).filter(|value| !value.text.is_empty());
        }
        let inherited = self.of_file(section.rsplit_once('.')?.0, name)?;
        Some(Value { certain: false, ..inherited })
    }

    /// The value with `%(name)s` replaced by another option, of those before the first section or of the same one.
    fn composed(&self, options: &BTreeMap<String, String>, value: &str) -> String {
        let mut text = value.to_owned();
        for _ in 0..REFERENCES {
            let Some(reference) = reference(&text) else { break };
            // So rclone finds the name; it cuts an `s` at its end off too.
            let name = reference.trim_start_matches(['%', '(']).trim_end_matches([')', 's']);
            let of_default = self.sections.get(DEFAULT).and_then(|options| options.get(name));
            let next = text.replace(&reference, of_default.or_else(|| options.get(name)).map_or("", String::as_str));
            if next.len() > LONGEST {
                break;
            }
            text = next;
        }
        text
    }
}

/// The variable of an option of a section; rclone keeps the dashes of the section's name.
fn variable_of_section(section: &str, option: &str) -> String {
    format!("RCLONE_CONFIG_{section}_{}", option.replace('-', "_")).to_uppercase()
}

/// The first `%(name)s` in a text.
fn reference(text: &str) -> Option<String> {
    text.split("%(").skip(1).find_map(|behind| {
        let (name, after) = behind.split_once(')')?;
        (!name.is_empty() && after.starts_with('s')).then(|| format!("%({name})s"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rclone::ini::parse_ini;
    use rstest::rstest;

    const CONF: &str = "w = all\n[my-s3]\ntype = alias\nremote = /file\nempty =\n[a]\nremote = %(w)s%(x)s%(none)s%(xs)s\nx = mine\nw = 2\n\
        [a.b]\ntype = crypt\n[n.o]\ny = 1\n[loop]\nremote = %(remote)s%(remote)s\n";

    fn option(vars: &[(&str, &str)], remote: &Remote, kind: &str, name: &str) -> Option<(String, bool)> {
        let vars = vars.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let value = Configuration::new(parse_ini(CONF).unwrap(), &vars).option(remote, kind, name);
        value.map(|value| (value.text, value.certain))
    }

    const SECTION: (&str, &str) = ("RCLONE_CONFIG_MY-S3_REMOTE", "/section");
    const BACKEND: (&str, &str) = ("RCLONE_ALIAS_REMOTE", "/backend");

    #[rstest]
    #[case(&[], Some(("/file", true)))]
    #[case(&[SECTION], Some(("/section", true)))]
    #[case(&[BACKEND], Some(("/backend", true)))]
    #[case(&[SECTION, BACKEND], Some(("/backend", false)))]
    #[case(&[SECTION, ("RCLONE_ALIAS_REMOTE", "")], Some(("/section", false)))]
    #[case(&[("RCLONE_CONFIG_MY-S3_REMOTE", "")], Some(("", true)))]
    #[case(&[("RCLONE_CONFIG_MY-S3_REMOTE", " /x")], Some((" /x", true)))]
    #[case(&[("RCLONE_CONFIG_MY_S3_REMOTE", "/other")], Some(("/file", true)))]
    fn variables_come_before_the_file(#[case] vars: &[(&str, &str)], #[case] expected: Option<(&str, bool)>) {
        let found = option(vars, &Remote::of_section("my-s3"), "alias", "remote");
        assert_eq!(found.as_ref().map(|(text, certain)| (text.as_str(), *certain)), expected);
    }

    #[test]
    fn what_follows_the_name_comes_first() {
        let options = BTreeMap::from([("remote".to_owned(), "/own".to_owned())]);
        let remote = Remote { name: "my-s3".into(), options };
        assert_eq!(option(&[SECTION, BACKEND], &remote, "alias", "remote"), Some(("/own".into(), true)));
    }

    #[rstest]
    #[case("my-s3", "empty", None)]
    #[case("a", "remote", Some(("allminemine", false)))]
    #[case("a.b", "type", Some(("crypt", true)))]
    #[case("a.b", "remote", Some(("allminemine", false)))]
    #[case("a.c", "remote", None)]
    #[case("n.o", "remote", None)]
    fn a_value_of_the_file_may_come_from_others(#[case] section: &str, #[case] name: &str, #[case] expected: Option<(&str, bool)>) {
        let found = option(&[], &Remote::of_section(section), "crypt", name);
        assert_eq!(found.as_ref().map(|(text, certain)| (text.as_str(), *certain)), expected);
    }

    #[test]
    fn a_value_that_refers_to_itself_has_an_end() {
        assert!(option(&[], &Remote::of_section("loop"), "crypt", "remote").unwrap().0.len() <= LONGEST);
    }
}
