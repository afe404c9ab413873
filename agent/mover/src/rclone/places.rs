//! Checks before rclone runs where a section leads: not to nothing, not to the mover's own memory or working directory, and for a push not
//! to a union that may put new content of a file into another upstream than the old. Pure.
//!
//! rclone takes a missing `remote` and a relative path for its working directory, and what does not exist for an empty remote: a push would
//! succeed, and a pull would wait for the first push for ever.

use std::collections::BTreeMap;
use std::ffi::OsString;

use crate::error::{Failure, Result};
use crate::rclone::base::{DEEPEST, Sections};
use crate::rclone::ini::parse_ini;
use crate::rclone::options::Direction;
use crate::report::Reason;

/// Backends that show what another remote holds.
const INDIRECT: [&str; 6] = ["alias", "crypt", "chunker", "compress", "hasher", "cache"];
/// Backends that show several others as one.
const JOINED: [&str; 2] = ["combine", "union"];
/// What may follow an upstream of a union.
const MODES: [&str; 3] = [":ro", ":nc", ":writeback"];
/// Those of them in which rclone creates nothing.
const NOT_CREATABLE: [&str; 2] = [":ro", ":nc"];
/// The policies by which a union creates a file where it has created it before. The others go by free space, number of files or chance.
const STEADY: [&str; 4] = ["all", "epall", "ff", "epff"];
const MEMORY: &str = "memory is no remote: what it holds is lost when the mover ends";

/// The sections of a configuration, with the variables that define or change them.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Places {
    /// What holds the configuration, in messages.
    secret: String,
    sections: Sections,
    variables: BTreeMap<String, String>,
}

/// What a `remote` or an upstream names.
#[derive(Debug, PartialEq, Eq)]
enum Target<'a> {
    /// A path of the machine that rclone runs on.
    Folder(&'a str),
    /// A path of another section, and what follows that one's name: options of its own.
    Section(&'a str, &'a str, &'a str),
    /// A path of a backend that is written out.
    Backend(&'a str, &'a str),
}

/// A chain of sections that is being followed.
#[derive(Clone, Copy)]
struct Walk {
    direction: Direction,
    /// How many more sections it may have.
    steps: usize,
}

impl Places {
    pub(crate) fn new(secret: &str, conf: &str, vars: &BTreeMap<OsString, OsString>) -> Self {
        let variables = vars.iter().filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value.to_str()?.trim().to_owned())));
        Self {
            secret: secret.to_owned(),
            sections: parse_ini(conf),
            variables: variables.filter(|(name, _)| name.starts_with("RCLONE_")).collect(),
        }
    }

    /// That `section:path` leads to a remote.
    pub(crate) fn check(&self, section: &str, path: &str, direction: Direction) -> Result<()> {
        self.check_section(section, path, None, Walk { direction, steps: DEEPEST })
    }

    /// `named_by` is the option that leads here, with its section.
    fn check_section(&self, section: &str, path: &str, named_by: Option<(&str, &str)>, walk: Walk) -> Result<()> {
        let (Some(kind), Some(steps)) = (self.option(section, "", "type"), walk.steps.checked_sub(1)) else {
            return Ok(());
        };
        let walk = Walk { steps, ..walk };
        match kind {
            "local" => self.check_folder(section, path, named_by),
            "memory" => Err(self.wrong("type", section, MEMORY)),
            _ if INDIRECT.contains(&kind) => match self.option(section, kind, "remote") {
                Some(remote) => self.check_target(("remote", section), remote.trim_matches(['"', '\'']), path, walk),
                None => Err(self.wrong("remote", section, &format!("a section of type {kind} needs it"))),
            },
            _ if JOINED.contains(&kind) => match self.option(section, kind, "upstreams") {
                Some(upstreams) => self.check_upstreams(section, kind, &fields(upstreams), path, walk),
                None => Err(self.wrong("upstreams", section, &format!("a section of type {kind} needs it"))),
            },
            _ => Ok(()),
        }
    }

    fn check_upstreams(&self, section: &str, kind: &str, upstreams: &[String], path: &str, walk: Walk) -> Result<()> {
        let option = ("upstreams", section);
        if kind == "union" {
            let creates = |upstream: &&String| !NOT_CREATABLE.iter().any(|mode| upstream.ends_with(mode));
            let is_steady = |policy: &str| STEADY.contains(&policy.to_lowercase().as_str());
            if walk.direction == Direction::Push
                && upstreams.iter().filter(creates).count() > 1
                && !self.option(section, kind, "create_policy").is_some_and(is_steady)
            {
                let why =
                    "by others than all, epall, ff and epff, a file may be created again in another upstream, and the old one be read";
                return Err(self.wrong("create_policy", section, why));
            }
            return upstreams.iter().try_for_each(|upstream| {
                let upstream = MODES.iter().find_map(|mode| upstream.strip_suffix(mode)).unwrap_or(upstream);
                self.check_target(option, upstream, path, walk)
            });
        }
        let path = path.trim_start_matches('/');
        let mut names = Vec::new();
        for (name, remote) in upstreams.iter().filter_map(|upstream| upstream.split_once('=')) {
            match path.strip_prefix(name) {
                Some(below) if below.is_empty() || below.starts_with('/') => {
                    return self.check_target(option, remote, below.trim_start_matches('/'), walk);
                }
                // Something that is misplaced may be confidential.
                _ if name.chars().all(|c| c.is_alphanumeric() || " _-.".contains(c)) => names.push(name),
                _ => {}
            }
        }
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Err(self.wrong("upstreams", section, &format!("the path {path} begins with none of its names, which are: {names}")))
    }

    /// `path` lies below what `option` of a section leads to.
    fn check_target(&self, option: (&str, &str), target: &str, path: &str, walk: Walk) -> Result<()> {
        let below = |folder: &str| match (folder, path) {
            ("", path) => path.to_owned(),
            (folder, "") => folder.to_owned(),
            (folder, path) => format!("{}/{}", folder.trim_end_matches('/'), path.trim_start_matches('/')),
        };
        match target_of(target) {
            Target::Folder(folder) => self.check_folder(option.1, folder, Some(option)),
            Target::Backend("local", folder) => self.check_folder(option.1, &below(folder), Some(option)),
            Target::Backend("memory", _) => Err(self.wrong(option.0, option.1, MEMORY)),
            Target::Backend(..) => Ok(()),
            // They decide instead of the section.
            Target::Section(_, _, own)
                if ["type=", "remote=", "upstreams=", "create_policy="].iter().any(|option| own.contains(option)) =>
            {
                Ok(())
            }
            Target::Section(name, _, _) if self.option(name, "", "type").is_none() => {
                Err(self.wrong(option.0, option.1, &format!("it names the section [{name}], which does not exist or has no type")))
            }
            Target::Section(name, folder, _) => self.check_section(name, &below(folder), Some(option), walk),
        }
    }

    fn check_folder(&self, section: &str, path: &str, named_by: Option<(&str, &str)>) -> Result<()> {
        if path.starts_with('/') {
            return Ok(());
        }
        Err(match named_by {
            Some((option, of)) => self.wrong(option, of, "it leads to a folder in the mover's working directory"),
            None => self.failure(&format!(
                "has a section [{section}] of type local in its rclone.conf: {path} must begin with a slash, or it lies in the mover's \
                 working directory"
            )),
        })
    }

    /// In rclone's order: the section's own variable, that of the backend, the file.
    fn option(&self, section: &str, backend: &str, name: &str) -> Option<&str> {
        let variable = |of: &str| {
            let name = format!("RCLONE_{of}_{name}").to_uppercase().replace('-', "_");
            self.variables.get(&name).filter(|value| !value.is_empty())
        };
        let of_backend = || Some(backend).filter(|backend| !backend.is_empty()).and_then(variable);
        let of_file = || self.sections.get(section)?.get(name).filter(|value| !value.is_empty());
        variable(&format!("CONFIG_{section}")).or_else(of_backend).or_else(of_file).map(String::as_str)
    }

    fn wrong(&self, option: &str, section: &str, why: &str) -> Failure {
        self.failure(&format!("needs another option {option} in section [{section}] of its rclone.conf: {why}"))
    }

    fn failure(&self, what: &str) -> Failure {
        Failure::new(Reason::SecretInvalid, format!("{} {what}", self.secret))
    }
}

/// Reads `section:path`, `section,option=value:path`, `:backend,option=value:path`, or a path.
fn target_of(text: &str) -> Target<'_> {
    let written_out = text.strip_prefix(':');
    let rest = written_out.unwrap_or(text);
    let Some((end, ':' | ',')) = rest.char_indices().find(|(_, c)| [':', ',', '/'].contains(c)) else {
        return Target::Folder(text);
    };
    let (name, rest) = rest.split_at(end);
    let mut quote = None;
    let colon = rest.find(|c| match quote {
        Some(open) => {
            quote = Some(open).filter(|open| *open != c);
            false
        }
        None => {
            quote = Some(c).filter(|c| ['"', '\''].contains(c));
            c == ':'
        }
    });
    let (options, path) = colon.map_or((rest, ""), |at| rest.split_at(at));
    let path = path.strip_prefix(':').unwrap_or(path);
    if written_out.is_some() { Target::Backend(name, path) } else { Target::Section(name, path, options) }
}

/// What stands between spaces. One in quotes may contain spaces, and quotes that are doubled.
fn fields(text: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let Some(field) = fields.last_mut() else { break };
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted || field.is_empty() => quoted = !quoted,
            c if c.is_whitespace() && !quoted => fields.push(String::new()),
            c => field.push(c),
        }
    }
    fields.retain(|field| !field.is_empty());
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const CONF: &str = "\
[abs]
type = alias
remote = /srv
[dir]
type = local
[s3]
type = s3
[round]
type = alias
remote = round:x
[mem]
type = memory
[up]
type = combine
upstreams = \"a b=dir:/x y\" c=mem: d=s3:bucket
[below]
type = hasher
remote = up:d/more
[enc]
type = crypt
remote = dir:
[odd]
type = union
upstreams = s3:x:ro s3,env_auth=true:y /z:nc
[free]
type = union
upstreams = s3:x /z:writeback
[made]
type = alias
remote = free,create_policy=all:
[steady]
type = union
create_policy = EPall
upstreams = s3:x /z
[var]
type = crypt
[quoted]
type = alias
remote = s3,endpoint=\"http://h:1\":b
[tuned]
type = alias
remote = mem,description='a:b':x
[other]
type = alias
remote = var,remote='s3:x':y
";

    fn check(conf: &str, vars: &[(&str, &str)], section: &str, path: &str) -> Option<String> {
        let vars = vars.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let failure = Places::new("Secret \"creds\"", conf, &vars).check(section, path, Direction::Push).err()?;
        assert_eq!(failure.reason, Reason::SecretInvalid);
        Some(failure.message)
    }

    #[rstest]
    #[case("abs", "x", None)]
    #[case("dir", "/srv", None)]
    #[case("dir", "srv", Some("[dir]"))]
    #[case("s3", "bucket/x", None)]
    #[case("round", "x", None)]
    #[case("mem", "x", Some("type in section [mem]"))]
    #[case("up", "a b/x", None)]
    #[case("up", "d", None)]
    #[case("up", "c/x", Some("type in section [mem]"))]
    #[case("up", "da/x", Some("are: a b, c, d"))]
    #[case("below", "x", None)]
    #[case("enc", "x", Some("remote in section [enc]"))]
    #[case("enc", "/x", None)]
    #[case("odd", "x", None)]
    #[case("free", "x", Some("create_policy in section [free]"))]
    #[case("made", "x", None)]
    #[case("steady", "x", None)]
    #[case("var", "x", Some("remote in section [var]"))]
    #[case("quoted", "x", None)]
    #[case("tuned", "x", Some("type in section [mem]"))]
    #[case("other", "x", None)]
    #[case("unknown", "x", None)]
    fn a_section_leads_to_a_remote(#[case] section: &str, #[case] path: &str, #[case] words: Option<&str>) {
        let refused = check(CONF, &[], section, path);
        assert_eq!(refused.is_some(), words.is_some(), "{refused:?}");
        assert!(refused.is_none_or(|message| words.is_some_and(|words| message.contains(words))));
    }

    #[rstest]
    #[case(&[("RCLONE_CONFIG_VAR_REMOTE", "s3:x")], None)]
    #[case(&[("RCLONE_CRYPT_REMOTE", "s3:x")], None)]
    #[case(&[("RCLONE_CONFIG_VAR_REMOTE", "more-here:x"), ("RCLONE_CONFIG_MORE_HERE_TYPE", "s3")], None)]
    #[case(&[("RCLONE_CONFIG_VAR_REMOTE", "mem:x")], Some("[mem]"))]
    #[case(&[("RCLONE_CONFIG_VAR_TYPE", "s3")], None)]
    fn a_variable_comes_before_the_file(#[case] vars: &[(&str, &str)], #[case] words: Option<&str>) {
        let refused = check(CONF, vars, "var", "x");
        assert_eq!(refused.is_some(), words.is_some(), "{refused:?}");
        assert!(refused.is_none_or(|message| words.is_some_and(|words| message.contains(words))));
    }

    #[test]
    fn no_value_of_an_option_is_shown() {
        let conf = "[al]\ntype = alias\nremote = :memory,password='HUNTER2:':HUNTER2\n[rel]\ntype = alias\nremote = HUNTER2/x\n\
            [up]\ntype = combine\nupstreams = :webdav,url=http://h,pass=HUNTER2:x http://HUNTER2:HUNTER2@h/?a=b\n";
        for section in ["al", "rel", "up"] {
            let message = check(conf, &[], section, "x").unwrap();
            assert!(message.contains(" in section") && !message.contains("HUNTER2"), "{message}");
        }
    }
}
