//! How places are written in calls: always with a slash at the end, because without one rclone first asks whether it is a file, and takes a
//! refusal for a yes.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use super::error::{CallError, SERVED};
use super::served::URL;
use crate::rclone::environment::Environment;

/// Of a section of type s3: reads, writes and deletes by name without asking first. As options in the section's own name, and of that type
/// alone: what shows the objects of another one (crypt, union) needs to ask.
const BLIND: &str = ",no_head=true,no_head_object=true,no_check_bucket=true";

/// A folder of a remote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fs {
    section: String,
    /// Empty, or with a slash at its end.
    path: String,
    is_s3: bool,
}

impl Fs {
    /// The folder `root`, written `section:path`, of this configuration.
    pub fn new(root: &str, environment: &Environment) -> Self {
        let (section, path) = root.split_once(':').unwrap_or((root, ""));
        let fs = Self { section: section.to_owned(), path: String::new(), is_s3: environment.backend.as_deref() == Some("s3") };
        fs.below(path)
    }

    /// A folder in it.
    #[must_use]
    pub fn below(&self, folder: &str) -> Self {
        let slash = if folder.is_empty() || folder.ends_with('/') { "" } else { "/" };
        Self { path: format!("{}{folder}{slash}", self.path), ..self.clone() }
    }

    /// As the configuration has it.
    pub(in crate::rclone) fn plain(&self) -> String {
        format!("{}:{}", self.section, self.path)
    }

    /// For listings, and looks at single objects: with the time of the last write, because any other costs a request for each object on S3.
    pub(super) fn listed(&self) -> String {
        self.set_up_apart("listing", "override.use_server_modtime=true", "")
    }

    /// The same; a name that cannot be decrypted is an error. For sections of type crypt.
    pub(super) fn listed_strictly(&self) -> String {
        self.set_up_apart("strict listing", "strict_names=true", "")
    }

    /// For copies within the remote, during which a server may say nothing for as long as this.
    pub(super) fn copied(&self, silence: Option<Duration>) -> String {
        let patient = silence.map_or_else(String::new, |silence| format!("override.timeout={}s", silence.as_secs()));
        self.set_up_apart("copying", &patient, self.blindness())
    }

    /// A backend is set up by the first call that names it, with the `_config` of that call, and keeps that: what one kind of call needs
    /// must reach no other. Two names that differ in `override` alone are the same backend to rclone, and in a description they are not.
    fn set_up_apart(&self, description: &str, options: &str, blind: &str) -> String {
        let comma = if options.is_empty() { "" } else { "," };
        format!("{},description={description}{comma}{options}{blind}:{}", self.section, self.path)
    }

    /// With as few requests as the backend allows. Not for [`super::Daemon::mkdir`], which then does nothing at all.
    pub(super) fn blind(&self) -> String {
        format!("{}{}:{}", self.section, self.blindness(), self.path)
    }

    fn blindness(&self) -> &'static str {
        if self.is_s3 { BLIND } else { "" }
    }

    /// As the target of a GET, with the name of an object. rclone takes everything up to the first closing bracket for the place, however
    /// it is written.
    pub(super) fn target(&self, name: &str) -> Option<String> {
        let place = self.blind();
        (!place.contains(']')).then(|| format!("/[{}]/{}", escaped(&place), escaped(name)))
    }
}

/// What is served at this socket. It is waited for as long as it takes, because rclone does not read on while a remote is slow; and what the
/// Secret may set for other WebDAV servers is not for this one, nor is a proxy that all of rclone is to use.
pub(super) fn served(socket: &Path) -> Option<String> {
    let socket = socket.to_str()?.replace('"', "\"\"");
    let not_ours = "user=\"\",pass=\"\",bearer_token=\"\",bearer_token_command=\"\",headers=\"\",encoding=None,pacer_min_sleep=0s";
    Some(format!("{SERVED}url=\"{URL}\",vendor=other,{not_ours},override.timeout=0s,override.http_proxy=\"\",unix_socket=\"{socket}\":"))
}

/// For a URL; slashes are its own.
fn escaped(text: &str) -> String {
    let mut url = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
            url.push(char::from(byte));
        } else {
            // Writing to a text does not fail.
            let _ = write!(url, "%{byte:02X}");
        }
    }
    url
}

/// A folder here. Absolute, so that no colon in it is taken for a section's.
pub(super) fn local(method: &str, dir: &Path) -> Result<String, CallError> {
    let absolute = std::path::absolute(dir).map_err(|error| CallError::refused(method, &format!("{}: {error}", dir.display())))?;
    let Some(text) = absolute.to_str() else {
        return Err(CallError::refused(method, &format!("the path {} is not text", dir.display())));
    };
    Ok(format!("{}/", text.trim_end_matches('/')))
}

/// A folder of links, which are followed.
pub(super) fn links(dir: &str) -> String {
    format!(":local,copy_links=true:{dir}")
}

/// The folder of what this process has open.
pub(super) fn descriptors() -> String {
    links(&format!("/proc/{}/fd/", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_end_in_a_slash_and_only_s3_is_told_not_to_ask() {
        let fs = |path: &str, is_s3| Fs { section: "a b".into(), path: String::new(), is_s3 }.below(path);
        assert_eq!(
            (fs("", true).plain(), fs("b/p", true).plain(), fs("/x/", false).plain()),
            ("a b:".into(), "a b:b/p/".into(), "a b:/x/".into())
        );
        assert_eq!(fs("b", true).below("c").blind(), "a b,no_head=true,no_head_object=true,no_check_bucket=true:b/c/");
        assert_eq!(fs("b", false).blind(), "a b:b/");
        for is_s3 in [true, false] {
            // One that does not look knows neither size nor time of an object.
            assert_eq!(fs("b", is_s3).listed(), "a b,description=listing,override.use_server_modtime=true:b/");
        }
        assert_eq!(fs("b", false).copied(None), "a b,description=copying:b/");
        assert_eq!(fs("", true).copied(Some(Duration::from_secs(9))), format!("a b,description=copying,override.timeout=9s{BLIND}:"));
        assert_eq!(fs("b[", false).target("ä?/]").unwrap(), "/[a%20b%3Ab%5B/]/%C3%A4%3F/%5D");
        assert_eq!(fs("b]", false).target("x"), None);
        assert_eq!(local("m", Path::new("/a")).unwrap(), "/a/");
        assert_eq!(local("m", Path::new("/")).unwrap(), "/");
    }
}
