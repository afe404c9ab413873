//! Cuts secrets out of text that leaves the mover: what an rclone configuration says in confidence, and what a URL says beside its place.
//!
//! rclone quotes its options in errors: whole URLs, and commands with their arguments. Knows nothing of where the text goes.

use std::fmt::{self, Write as _};

/// Shorter values would be found in the middle of ordinary words, and are no secrets worth the name.
const SHORTEST: usize = 6;

/// Options that say how or where, and which a person has to see to correct them.
const HARMLESS: &[&str] = &[
    "type",
    "provider",
    "vendor",
    "endpoint",
    "region",
    "location",
    "location_constraint",
    "storage_class",
    "acl",
    "host",
    "port",
    "user",
    "username",
    "account",
    "domain",
    "tenant",
    "url",
    "remote",
    "upstreams",
    "server_side_encryption",
    "description",
    "encoding",
    "shell_type",
    "root_folder_id",
];
/// Options that hold a URL, or a part of one.
const PLACES: &[&str] = &["url", "endpoint", "host"];
/// The ends of names of options that hold a path, a figure or a choice.
const HARMLESS_ENDS: &[&str] = &["_file", "_path", "_dir", "_size", "_cutoff", "_concurrency", "_type", "_policy", "_acl"];
/// Whatever the end: a name with one of these is that of a secret.
const SECRET: &[&str] = &["pass", "secret", "token", "key", "sas", "auth", "cookie", "credential", "private", "connection_string"];

/// The secrets to cut out, and what is put in their place.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Redaction {
    /// The longest first: one may be a part of another.
    secrets: Vec<(String, String)>,
    /// Those of the configuration, to tell the number of one.
    lines: Vec<String>,
}

impl fmt::Debug for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redaction").field("secrets", &self.secrets.len()).finish_non_exhaustive()
    }
}

/// What a mark begins with.
const MARK: &str = "<value of ";

/// What stands for the value of this option or variable.
pub(crate) fn mark(name: &str) -> String {
    format!("{MARK}{name}>")
}

/// Whether the value of this option is a command line.
pub(crate) fn is_command(option: &str) -> bool {
    option == "ssh" || option.ends_with("_ssh") || option.contains("command")
}

impl Redaction {
    /// Of these options: the name to show, the name of the option itself in lower case, the value.
    pub(crate) fn new<'a>(options: impl Iterator<Item = (&'a str, String, &'a str)>) -> Self {
        let mut secrets = Vec::new();
        for (name, option, value) in options {
            let mut add = |value: &str| {
                let value = value.trim();
                if value.chars().count() >= SHORTEST {
                    secrets.push((value.to_owned(), mark(name)));
                }
            };
            url_secrets(value, &mut add);
            if is_harmless(&option) {
                connection_secrets(value, &mut add);
                if PLACES.iter().any(|place| option == *place || option.ends_with(&format!("_{place}"))) && !value.contains("://") {
                    // Somebody has forgotten the scheme.
                    login_secrets(value, &mut add);
                }
                continue;
            }
            // A URL is cut where it is quoted; its host may be shown.
            let is_url = |part: &str| part.contains("://") && !part.trim().contains(char::is_whitespace);
            [value].into_iter().chain(value.lines()).filter(|part| !is_url(part)).for_each(|part| add(&cut_urls(part)));
            json_strings(value, &mut add);
            if is_command(&option) {
                // The program is what a message has to name; its arguments are none of the reader's business.
                value.split_whitespace().skip(1).for_each(&mut add);
            }
        }
        // As Go quotes it, and as it stands in a URL.
        let written: Vec<(String, String)> = secrets
            .iter()
            .flat_map(|(value, mark)| [quoted(value), percent_encoded(value)].map(|written| (written, mark.clone())))
            .filter(|(written, _)| secrets.iter().all(|(value, _)| value != written))
            .collect();
        secrets.extend(written);
        secrets.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.cmp(b)));
        secrets.dedup_by(|a, b| a.0 == b.0);
        Self { secrets, lines: Vec::new() }
    }

    /// With these lines of the configuration, of which no message shows one that rclone cannot read.
    pub(crate) fn with_lines(self, lines: &[String]) -> Self {
        Self { lines: lines.to_vec(), ..self }
    }

    /// The text with the number of such a line in the place of the line.
    fn cut_lines(&self, text: &str) -> String {
        let mut parts = text.split(UNREAD);
        let mut cut = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (line, after) = part.split_at(part.find('\n').unwrap_or(part.len()));
            match self.lines.iter().position(|known| known == line.trim()) {
                // Writing to a String cannot fail.
                Some(number) => drop(write!(cut, "could not parse line {}", number + 1)),
                None => cut.push_str("could not parse a line"),
            }
            cut.push_str(after);
        }
        cut
    }

    /// The text without secrets.
    pub fn apply(&self, text: &str) -> String {
        // First, as in the secrets themselves: what stands in a query has no end of its own.
        let text = cut_urls(&self.cut_lines(text));
        let (mut safe, mut rest) = (String::with_capacity(text.len()), text.as_str());
        // In one pass: a mark must stay as it is, whatever word in it is the value of another option.
        while let Some(next) = rest.chars().next() {
            let marked = rest.strip_prefix(MARK).and_then(|name| name.find('>')).map(|end| MARK.len() + end + 1);
            if let Some((secret, mark)) = self.secrets.iter().find(|(secret, _)| marked.is_none() && rest.starts_with(secret.as_str())) {
                safe.push_str(mark);
                rest = rest.get(secret.len()..).unwrap_or_default();
            } else {
                let (kept, after) = rest.split_at(marked.unwrap_or(next.len_utf8()));
                safe.push_str(kept);
                rest = after;
            }
        }
        safe
    }
}

/// What rclone says before it quotes a line of its configuration that it cannot read, which may be a part of a key.
const UNREAD: &str = "could not parse line: ";

/// Whether a variable of this name, in lower case, holds a secret, of whatever program.
pub(crate) fn is_secret(name: &str) -> bool {
    SECRET.iter().any(|word| name.contains(word)) && !is_harmless(name)
}

fn is_harmless(option: &str) -> bool {
    let option = option.trim_start_matches("global.").trim_start_matches("override.");
    // The name of a variable begins with the backend's or the section's.
    let ends = |name: &&str| option.strip_suffix(*name).is_some_and(|before| before.ends_with('_'));
    HARMLESS.contains(&option)
        || option.ends_with("_file")
        || (HARMLESS.iter().any(ends) || HARMLESS_ENDS.iter().any(|end| option.ends_with(end)))
            && !SECRET.iter().any(|word| option.contains(word))
}

/// Where a URL begins and ends in a text, from behind `://`.
fn url_end(text: &str) -> usize {
    text.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '\\')).unwrap_or(text.len())
}

/// The length of what stands before the host of a URL, with its `@`.
fn userinfo(url: &str) -> usize {
    let authority = url.split(['/', '?', '#']).next().unwrap_or_default();
    if let Some(at) = authority.rfind('@') {
        return at + 1;
    }
    // A password with one of these characters in it: what stands behind the colon is no port.
    let port = authority.split_once(':').map_or("", |(_, port)| port);
    if authority.starts_with('[') || port.bytes().all(|b| b.is_ascii_digit()) {
        return 0;
    }
    url.rfind('@').map_or(0, |at| at + 1)
}

/// Cuts user, password, path, query and fragment of every URL: its host is left.
fn cut_urls(text: &str) -> String {
    let mut cut = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("://") {
        cut.push_str(before);
        cut.push_str("://");
        let (url, after) = behind.split_at(url_end(behind));
        let (user, place) = url.split_at(userinfo(url));
        if !user.is_empty() {
            cut.push_str("…@");
        }
        // A path may hold a token as well as a query: links that share a folder are made so.
        match place.find(['/', '?', '#']).map(|at| place.split_at(at)) {
            Some((host, behind)) => {
                cut.push_str(host);
                cut.push_str(if behind == "/" { "/" } else { "/…" });
            }
            None => cut.push_str(place),
        }
        rest = after;
    }
    cut + rest
}

/// What a URL in an option says beside its place, by itself too: a library may take it apart before it complains.
fn url_secrets(value: &str, add: &mut impl FnMut(&str)) {
    for behind in value.split("://").skip(1) {
        // A blank in it makes it none, and rclone quotes it all the same.
        login_secrets(behind.lines().next().unwrap_or_default(), add);
        let url = behind.split(|c: char| c.is_whitespace()).next().unwrap_or_default();
        login_secrets(url, add);
        let (_, place) = url.split_at(userinfo(url));
        if let Some((_, query)) = place.split_once(['?', '#']) {
            add(query);
            query.split('&').filter_map(|pair| pair.split_once('=')).for_each(|(_, value)| add(value));
        }
    }
}

/// The password of `user:password@host/path`.
fn login_secrets(url: &str, add: &mut impl FnMut(&str)) {
    let user = url.split_at(userinfo(url)).0;
    if let Some((_, password)) = user.trim_end_matches('@').split_once(':') {
        add(password);
        // A library cuts it where a user ends, and where a URL does.
        password.split([' ', '/', '?', '#']).for_each(add);
    }
}

/// The options of a connection string, as in `remote = :s3,secret_access_key=…:bucket`.
fn connection_secrets(value: &str, add: &mut impl FnMut(&str)) {
    // A separator inside quotes is none; which of them quote, and whether a blank separates, depends on where the string stands, so all are
    // taken for it in turn.
    let separators: [&[char]; 2] = [&[',', ':', ' '], &[',', ':']];
    for (quote, separators) in [None, Some('\''), Some('"')].into_iter().flat_map(|quote| separators.map(|of| (quote, of))) {
        let mut inside = false;
        let pairs = value.split(|c: char| {
            inside ^= Some(c) == quote;
            !inside && separators.contains(&c)
        });
        for (option, value) in pairs.filter_map(|pair| pair.split_once('=')) {
            if !is_harmless(&option.trim_matches(['"', '\'']).to_lowercase()) {
                let value = value.trim_matches(['"', '\'']);
                add(value);
                // A list of remotes is cut at blanks.
                value.split_whitespace().map(|part| part.trim_matches(['"', '\''])).for_each(&mut *add);
            }
        }
    }
}

/// The strings that follow a colon: of JSON, whole or cut.
fn json_strings(value: &str, add: &mut impl FnMut(&str)) {
    let mut before = "";
    for part in value.split('"') {
        // The type of a token is a word of every other message.
        if before.trim_end().ends_with(':') && !part.eq_ignore_ascii_case("bearer") {
            add(part);
        }
        before = part;
    }
}

fn quoted(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\t', "\\t")
}

fn percent_encoded(value: &str) -> String {
    value.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("pass", "HUNTER2", "bad HUNTER2!", "bad <value of pass>!")]
    #[case("key", "abc", "abc", "abc")]
    #[case("region", "eu-central-1", "in eu-central-1", "in eu-central-1")]
    #[case("key_file", "/etc/id_ed25519", "open /etc/id_ed25519: no", "open /etc/id_ed25519: no")]
    #[case("shell_key_path", "HUNTER2", "HUNTER2", "<value of shell_key_path>")]
    #[case(
        "bearer_token_command",
        "/bin/false --password HUNTER2",
        "using \"/bin/false --password HUNTER2\"; /bin/false said HUNTER2",
        "using \"<value of bearer_token_command>\"; /bin/false said <value of bearer_token_command>"
    )]
    #[case("ssh", "/bin/no -p HUNTER2 u@h", "fork/exec /bin/no: no such", "fork/exec /bin/no: no such")]
    #[case(
        "sas_url",
        "http://h:x/c?sv=2020&sig=HUNTER2SIG",
        "parse \"http://h:x/c?sv=2020&sig=HUNTER2SIG\": port; sig HUNTER2SIG",
        "parse \"http://h:x/…\": port; sig <value of sas_url>"
    )]
    #[case("url", "http://u:HUNTER2@h:1/d", "Get \"http://u:HUNTER2@h:1/d/a@b\": refused", "Get \"http://…@h:1/…\": refused")]
    #[case("url", "http://u:pa/HUNTER2@h/d", "parse http://u:pa/HUNTER2@h/d: port", "parse http://…@h/… port")]
    #[case("url", "https://h/d?token=T", "Propfind \"https://h/d?token=T/p/commit.json\": x", "Propfind \"https://h/…\": x")]
    #[case("url", "https://[::1]:80/d", "https://[::1]:80/a@b", "https://[::1]:80/…")]
    #[case(
        "url",
        "http://us er:HUNTER2@h",
        "parse \"http://us er:HUNTER2@h\": invalid userinfo",
        "parse \"http://us er:<value of url>@h\": invalid userinfo"
    )]
    #[case("url", "http://u:HUN TER222@h", "parse \"http://u:HUN TER222@h\": x", "parse \"http://u:<value of url>@h\": x")]
    #[case("url", "u:HUNTER2@h/dav", "Propfind \"u:HUNTER2@h/dav\": unsupported", "Propfind \"u:<value of url>@h/dav\": unsupported")]
    #[case("endpoint", "here.example:9000", "dial here.example:9000", "dial here.example:9000")]
    #[case("upstreams", r#""b=:x,pass='HUNTER,HUNTER2':y""#, "bad pass 'HUNTER,HUNTER2'", "bad pass '<value of upstreams>'")]
    #[case("url", "https://h/HUNTER2TOKEN/dav", "Get \"https://h/HUNTER2TOKEN/dav/x\": no", "Get \"https://h/…\": no")]
    #[case("token", r#"{"access_token":"HUNTER2"}"#, "Bearer HUNTER2", "Bearer <value of token>")]
    #[case("token", r#"{"a":"b"}"#, r#"parse "{\"a\":\"b\"}""#, "parse \"<value of token>\"")]
    #[case("key_pem", "-----BEGIN\nHUNTER2\n", "HUNTER2", "<value of key_pem>")]
    #[case("remote", ":s3,endpoint=here.example,secret_access_key=HUNTER2:b", "here.example HUNTER2", "here.example <value of remote>")]
    #[case("upstreams", ":sftp,pass='my HUNTER2':x /srv", "no section HUNTER2'", "no section <value of upstreams>'")]
    #[case("upstreams", ":s3,secret=my HUNTER2,endpoint=e:b", "no section HUNTER2", "no section <value of upstreams>")]
    #[case("pass", "a b/HUNTER2", "open a%20b%2FHUNTER2", "open <value of pass>")]
    fn secrets_are_cut_and_the_rest_stays(#[case] name: &str, #[case] value: &str, #[case] text: &str, #[case] expected: &str) {
        let redaction = Redaction::new([(name, name.to_owned(), value)].into_iter());
        assert!(!format!("{redaction:?}").contains("HUNTER2"));
        assert_eq!(redaction.apply(text), expected);
    }

    #[test]
    fn a_line_that_rclone_cannot_read_is_a_number() {
        let none = Redaction::new(std::iter::empty());
        let redaction = none.clone().with_lines(&["[s3]".to_owned(), "HUNT http://u:p@h".to_owned()]);
        let text = "x: could not parse line: HUNT http://u:p@h\ngoroutine 1";
        assert_eq!(redaction.apply(text), "x: could not parse line 2\ngoroutine 1");
        assert_eq!(none.apply(text), "x: could not parse a line\ngoroutine 1");
    }

    #[rstest]
    #[case("aws_secret_access_key", true)]
    #[case("aws_session_token", true)]
    #[case("aws_web_identity_token_file", false)]
    #[case("home", false)]
    #[case("path", false)]
    fn what_holds_a_secret_is_known_by_its_name(#[case] name: &str, #[case] secret: bool) {
        assert_eq!(is_secret(name), secret);
    }

    #[test]
    fn the_longer_of_two_secrets_goes_first() {
        let options = [("pass", "pass".to_owned(), "HUNTER2"), ("key", "key".to_owned(), "HUNTER2-and-more")];
        assert_eq!(Redaction::new(options.into_iter()).apply("HUNTER2-and-more"), "<value of key>");
    }

    #[test]
    fn a_mark_stays_whole_even_if_it_is_read_again() {
        let options = [("bearer_token", "bearer_token".to_owned(), "HUNTER2"), ("pass", "pass".to_owned(), "bearer")];
        let redaction = Redaction::new(options.into_iter());
        let once = redaction.apply("HUNTER2 bearer");
        assert_eq!((once.as_str(), redaction.apply(&once).as_str()), ("<value of bearer_token> <value of pass>", once.as_str()));
    }
}
