//! Reads what a `remote` or an upstream names, by the grammar of rclone's connection strings. Pure.

use std::collections::BTreeMap;

/// A remote as it is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remote {
    /// Of a section; or of a backend that is written out, behind a colon.
    pub name: String,
    /// Options that follow the name: they come before all others.
    pub options: BTreeMap<String, String>,
}

/// What a value leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A path of the machine that rclone runs on.
    Folder(String),
    /// A path of a remote.
    Remote(Remote, String),
}

impl Remote {
    pub(crate) fn of_section(name: &str) -> Self {
        Self { name: name.to_owned(), options: BTreeMap::new() }
    }

    /// The backend, where it is written out.
    pub(crate) fn written_out(&self) -> Option<&str> {
        self.name.strip_prefix(':')
    }
}

/// Reads `section:path`, `section,option=value:path`, `:backend,option=value:path`, or a path. Nothing where rclone refuses it.
pub(crate) fn target_of(text: &str) -> Option<Target> {
    if !text.contains(':') {
        return Some(Target::Folder(text.to_owned()));
    }
    let named = text.strip_prefix(':').unwrap_or(text);
    let end = text.len() - named.len() + named.find([':', ',', '/', '\\'])?;
    let (name, mut rest) = text.split_at(end);
    if rest.starts_with(['/', '\\']) {
        return (named == text).then(|| Target::Folder(text.to_owned()));
    }
    if !is_name(name.strip_prefix(':').unwrap_or(name)) {
        return None;
    }
    let mut remote = Remote::of_section(name);
    loop {
        if let Some(path) = rest.strip_prefix(':') {
            return Some(Target::Remote(remote, path.to_owned()));
        }
        let pair = rest.strip_prefix(',')?;
        let (option, behind) = pair.split_at(pair.find([':', ',', '='])?);
        if option.is_empty() || !option.chars().all(|c| c.is_ascii_alphanumeric() || ['_', '.'].contains(&c)) {
            return None;
        }
        let (value, behind) = behind.strip_prefix('=').map_or_else(|| Some(("true".to_owned(), behind)), value)?;
        remote.options.insert(option.to_owned(), value);
        rest = behind;
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(['-', ' '])
        && !name.ends_with(' ')
        && name.chars().all(|c| c.is_alphanumeric() || "_-.+@ ".contains(c))
}

/// A value, and what follows it. In quotes, a quote is written twice.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quote) = text.chars().next().filter(|c| ['"', '\''].contains(c)) else {
        let (value, behind) = text.split_at(text.find([':', ','])?);
        return Some((value.to_owned(), behind));
    };
    let (mut value, mut rest) = (String::new(), text.strip_prefix(quote)?);
    loop {
        let (part, behind) = rest.split_once(quote)?;
        value.push_str(part);
        let Some(more) = behind.strip_prefix(quote) else {
            return Some((value, behind));
        };
        value.push(quote);
        rest = more;
    }
}

/// One of several remotes that a section shows as one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Upstream {
    /// The folder that it is shown as, by `combine`.
    pub name: String,
    pub target: String,
    /// What `union` may do there, with its colon; empty for all.
    pub mode: &'static str,
}

/// What may follow an upstream of a union.
const MODES: [&str; 3] = [":ro", ":nc", ":writeback"];

/// The upstreams of a section of type `kind`.
pub(crate) fn upstreams_of(kind: &str, text: &str) -> Vec<Upstream> {
    let read = |field: String| {
        if kind == "combine" {
            let (name, target) = field.split_once('=').unwrap_or(("", &field));
            return Upstream { name: name.to_owned(), target: target.to_owned(), mode: "" };
        }
        let (target, mode) = MODES.into_iter().find_map(|mode| Some((field.strip_suffix(mode)?, mode))).unwrap_or((&field, ""));
        Upstream { name: String::new(), target: target.to_owned(), mode }
    };
    fields(text).into_iter().map(read).collect()
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

    /// Name, options, path.
    type Read = (&'static str, Vec<(&'static str, &'static str)>, &'static str);

    #[rstest]
    #[case("a b-c.d:x:y", Some(("a b-c.d", vec![], "x:y")))]
    #[case("é+@:", Some(("é+@", vec![], "")))]
    #[case("a,b=c,d,e='x:''y,':z", Some(("a", vec![("b", "c"), ("d", "true"), ("e", "x:'y,")], "z")))]
    #[case(":s3,global.x=\"1\":b", Some((":s3", vec![("global.x", "1")], "b")))]
    #[case("a,b=c'd':", Some(("a", vec![("b", "c'd'")], "")))]
    #[case("pass=x:y", None)]
    #[case("a ,x:", None)]
    #[case("-a:", None)]
    #[case("\"a:x\"", None)]
    #[case("a,b='c:x", None)]
    #[case("a,b='c'd:x", None)]
    #[case("a,b-c=d:x", None)]
    #[case("a,:x", None)]
    #[case("::", None)]
    #[case(":a/b:", None)]
    fn a_connection_string_is_read(#[case] text: &str, #[case] expected: Option<Read>) {
        let expected = expected.map(|(name, options, path)| {
            let options = options.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            Target::Remote(Remote { name: name.to_owned(), options }, path.to_owned())
        });
        assert_eq!(target_of(text), expected);
    }

    #[rstest]
    fn a_path_is_read(#[values("a", "/a:b", "a/b:c", "\"/a\"", "a,b")] text: &str) {
        assert_eq!(target_of(text), Some(Target::Folder(text.to_owned())));
    }

    #[test]
    fn upstreams_are_read() {
        let union = upstreams_of("union", "a:x:ro  \"b c:y z\" d:writeback");
        let expected = [("a:x", ":ro"), ("b c:y z", ""), ("d", ":writeback")];
        assert!(union.iter().map(|upstream| (upstream.target.as_str(), upstream.mode)).eq(expected), "{union:?}");
        let combine = upstreams_of("combine", "a=:s3,b=c:x d");
        let expected = [("a", ":s3,b=c:x"), ("", "d")];
        assert!(combine.iter().map(|upstream| (upstream.name.as_str(), upstream.target.as_str())).eq(expected), "{combine:?}");
    }
}
