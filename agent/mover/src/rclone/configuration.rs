//! The options of remotes as rclone sees them: what follows a remote's name, variables, and the file, in rclone's order. rclone reads the
//! file and composes its values; which of these come first, and what a section has from another one, it does not say. Nothing else in the
//! mover looks into the configuration. Pure.

use std::collections::BTreeMap;

use crate::rclone::target::Remote;
use crate::rclone::variables::Variables;

/// The sections of a configuration, by name, with their options.
pub(crate) type Sections = BTreeMap<String, BTreeMap<String, String>>;

/// A chain of sections that is longer is a circle.
pub(crate) const DEEPEST: usize = 16;

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
    /// Whether all that rclone may do with it is known: it is not inherited, and no two variables set it.
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
    pub value: &'a str,
}

impl Configuration {
    pub(crate) fn new(sections: Sections, variables: &Variables) -> Self {
        Self { sections, variables: variables.of_rclone().collect() }
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
        self.sections.get(section).cloned().unwrap_or_default()
    }

    /// All that the file says.
    pub(crate) fn written(&self) -> Vec<Written<'_>> {
        self.sections
            .iter()
            .flat_map(|(section, options)| options.iter().map(move |(option, value)| Written { section, option, value }))
            .collect()
    }

    /// Whether any section has this option, in the file or by a variable.
    pub(crate) fn sets(&self, option: &str) -> bool {
        self.values(option).next().is_some()
    }

    /// Whether any section, or backend, has this option and says yes to it; in the file, by a variable, or behind a name.
    pub(crate) fn asks(&self, option: &str) -> bool {
        let end = format!("_{}", option.to_uppercase());
        let of_backends = self.variables.iter().filter(|(name, _)| name.ends_with(&end)).map(|(_, value)| value.as_str());
        let says_yes = |value: &str| !["", "0", "f", "false"].contains(&value.trim().to_lowercase().as_str());
        let behind_a_name = format!(",{option}");
        let mut values = self.sections.values().flat_map(BTreeMap::values).chain(self.variables.values());
        self.values(option).chain(of_backends).any(says_yes) || values.any(|value| value.contains(&behind_a_name))
    }

    /// What sections have as this option, whichever they are.
    fn values<'a>(&'a self, option: &str) -> impl Iterator<Item = &'a str> {
        let end = format!("_{}", option.to_uppercase().replace('-', "_"));
        let of_variables = self.variables.iter().filter(move |(name, _)| name.starts_with("RCLONE_CONFIG_") && name.ends_with(&end));
        let of_file: Vec<&str> = self.sections.values().filter_map(|options| options.get(option)).map(String::as_str).collect();
        of_file.into_iter().chain(of_variables.map(|(_, value)| value.as_str()))
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
        if let Some(text) = options.get(name) {
            return Some(Value { text: text.clone(), certain: true }).filter(|value| !value.text.is_empty());
        }
        let inherited = self.of_file(section.rsplit_once('.')?.0, name)?;
        Some(Value { certain: false, ..inherited })
    }
}

/// The variable of an option of a section; rclone keeps the dashes of the section's name.
fn variable_of_section(section: &str, option: &str) -> String {
    format!("RCLONE_CONFIG_{section}_{}", option.replace('-', "_")).to_uppercase()
}

/// What rclone's `config/dump` says of a file of plain lines.
#[cfg(test)]
pub(crate) fn plain(text: &str) -> Sections {
    let (mut sections, mut section) = (Sections::new(), String::new());
    for line in text.lines() {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(name) => {
                section = name.to_owned();
                sections.entry(section.clone()).or_default();
            }
            None => {
                let pair = line.split_once('=').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
                sections.entry(section.clone()).or_default().extend(pair);
            }
        }
    }
    sections
}

/// These sections, with these variables.
#[cfg(test)]
pub(crate) fn of_lines(text: &str, vars: &[(&str, &str)]) -> Configuration {
    let given = vars.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let variables = Variables { given, secret: String::new(), holder: String::new(), lines: Vec::new(), private: None, authority: None };
    Configuration::new(plain(text), &variables)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const CONF: &str =
        "[my-s3]\ntype = alias\nremote = /file\nempty =\n[a]\nremote = all\n[a.b]\ntype = crypt\n[n.o]\ny = 1\nenv_auth = false\n";

    fn option(vars: &[(&str, &str)], remote: &Remote, kind: &str, name: &str) -> Option<(String, bool)> {
        let value = of_lines(CONF, vars).option(remote, kind, name);
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
    #[case("a", "remote", Some(("all", true)))]
    #[case("a.b", "type", Some(("crypt", true)))]
    #[case("a.b", "remote", Some(("all", false)))]
    #[case("a.c", "remote", None)]
    #[case("n.o", "remote", None)]
    fn a_value_of_the_file_may_come_from_others(#[case] section: &str, #[case] name: &str, #[case] expected: Option<(&str, bool)>) {
        let found = option(&[], &Remote::of_section(section), "crypt", name);
        assert_eq!(found.as_ref().map(|(text, certain)| (text.as_str(), *certain)), expected);
    }

    #[rstest]
    #[case("[x]\nenv_auth = true\n", &[], true)]
    #[case("[x]\nenv_auth = false\n", &[], false)]
    #[case("[x]\nremote = :s3,env_auth:b\n", &[], true)]
    #[case("", &[("RCLONE_S3_ENV_AUTH", "1")], true)]
    #[case("", &[("RCLONE_CONFIG_X_ENV_AUTH", "TRUE")], true)]
    #[case("", &[("RCLONE_CONFIG_X_ENV_AUTH", "false")], false)]
    #[case("[x]\ny = env_auth\n", &[], false)]
    fn what_asks_for_something_is_found(#[case] conf: &str, #[case] vars: &[(&str, &str)], #[case] asks: bool) {
        assert_eq!(of_lines(conf, vars).asks("env_auth"), asks);
    }
}
