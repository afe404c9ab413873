//! Absence is a claim that needs two witnesses: what no read found and no listing shows is absent, and an empty path is believed only
//! of a server that knows at least its own root.
//!
//! A 404 of any web server, of a proxy in front of a bucket, or of a server that has just started reads as "no such object"; so does
//! a missing key file. What is concluded from absence (a first push, waiting for one, pushing everything anew) must not rest on that.

use super::{Listing, Remote};
use crate::error::{Failure, Result};
use crate::format::names::{CLAIM, COMMIT, CONTROL_DIR};
use crate::random::random;
use crate::report::Reason;
use crate::store::{self, Class, List, Place, StoreError};

/// Backends whose root is a folder of another remote, which the first push makes.
const INDIRECT: [&str; 8] = ["alias", "crypt", "chunker", "compress", "hasher", "union", "combine", "cache"];

/// Whether a listing of the whole path shows this control object.
pub fn shows(listing: &Listing, name: &str) -> bool {
    listing.contains_key(format!("{CONTROL_DIR}/{name}").as_bytes())
}

/// A read did not find what a listing of the same run shows.
pub fn contradiction(remote: &Remote, name: &str) -> Failure {
    Failure::new(
        Reason::RemoteInconsistent,
        format!(
            "{} lists {CONTROL_DIR}/{name}, but reports that it does not exist when it is read; nothing was changed, and the next attempt checks again",
            remote.name()
        ),
    )
}

/// A read gives what listings of the same run do not show as it was written.
pub fn unlisted(remote: &Remote, name: &str) -> Failure {
    Failure::new(
        Reason::RemoteInconsistent,
        format!(
            "{} does not list {CONTROL_DIR}/{name} as it was written, but gives it when it is read; nothing was changed, and the next attempt checks again",
            remote.name()
        ),
    )
}

/// Backends that speak HTTP to a server of the user's choice, and whose listing of a folder that does not exist is a failure.
const OF_HTTP: [&str; 2] = ["s3", "webdav"];

/// Backends whose paths begin with the name of a bucket or container, and whose root is the list of these.
const OF_BUCKETS: [&str; 7] = ["s3", "google cloud storage", "azureblob", "b2", "swift", "oracleobjectstorage", "qingstor"];

/// Whether the answer is that of some other kind of server.
fn speaks_another_protocol(error: &StoreError) -> bool {
    ["deserialization failed", "failed to decode response body", "StatusCode: 404", "404 Not Found", "stopped after 10 redirects"]
        .iter()
        .any(|words| error.message.contains(words))
}

/// Whether this is how a web server refuses what it does not know: with a bare status. An S3 server names itself, or the error, in
/// words of its own; a WebDAV server knows PROPFIND.
fn is_bare_refusal(error: &StoreError) -> bool {
    let says = |words: &str| error.message.contains(words);
    let of_s3 = ["MethodNotAllowed: Method Not Allowed", "BadRequest: Bad Request", "NotFound: Not Found"];
    let of_webdav = [": 405 Method Not Allowed", ": 400 Bad Request"];
    says("stopped after 10 redirects")
        || of_s3.iter().any(|words| says(&format!("RequestID: , HostID: , api error {words}")))
        || of_webdav.iter().any(|words| says(words))
}

impl Remote {
    /// Makes sure that an empty path is one of a server that is really there: the root of a remote always exists.
    pub fn confirm_root(&self) -> Result<()> {
        match self.list_root() {
            // There are servers that answer 404 to a key that they do not know. Then the path, too, was not found for that alone.
            Err(error) if error.class == Class::AccessDenied && error.message.contains("StatusCode: 404") => Err(error.into()),
            Err(error) if error.class != Class::BucketMissing && (error.is_absence() || speaks_another_protocol(&error)) => {
                if self.leads_elsewhere() || self.features()?.is_overlay {
                    return Ok(());
                }
                Err(self.wrong_server("it has neither that path nor a root"))
            }
            // A key may be confined to one bucket or folder, and not every server lists its buckets. Such an answer is one of the right server.
            Err(error)
                if !matches!(error.class, Class::AccessDenied | Class::BucketMissing | Class::Other)
                    && !error.message.contains("api error NotImplemented") =>
            {
                Err(error.into())
            }
            Ok(true) if self.knows_everything()? => Err(self.wrong_server("it answers as if every path existed, and lists none")),
            _ => Ok(()),
        }
    }

    /// Makes sure that an empty path is not one whose names, and all others of the section, are encrypted with another password.
    pub fn confirm_password(&self) -> Result<()> {
        if self.backend() != Some("crypt") || !self.list_root()? {
            return Ok(());
        }
        let strict = List { folders: true, strict: true, ..List::default() };
        match self.store.list(Place::Section(""), strict, &mut |_| {}) {
            Err(error) if error.class == Class::Other => Err(Failure::new(
                Reason::SecretInvalid,
                format!(
                    "nothing that lies below section {} can be decrypted: correct its options password and password2, which have to be those of the source ({})",
                    self.section(),
                    error.message
                ),
            )),
            Err(error) if !error.is_absence() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// What a read or listing that failed comes to: where the root is refused in the same bare way, this is no server of the type.
    pub(super) fn explain(&self, error: StoreError) -> Failure {
        if !is_bare_refusal(&error) || self.leads_elsewhere() {
            return error.into();
        }
        match self.list_root() {
            Err(root) if is_bare_refusal(&root) => self.wrong_server(&error.message),
            Err(root) if root.class == Class::Mover => root.into(),
            _ => error.into(),
        }
    }

    /// Lists the root of the section; whether it is empty.
    fn list_root(&self) -> store::Result<bool> {
        let (mut empty, mut listed) = (true, false);
        let bucket = self.bucket();
        self.store.list(Place::Section(""), List { folders: true, ..List::default() }, &mut |found| {
            empty = false;
            listed |= Some(found.name.trim_end_matches('/')) == bucket;
        })?;
        if bucket.is_some() {
            self.bucket_listed.get_or_init(|| listed);
        }
        Ok(empty)
    }

    /// The name of the bucket that the path lies in, where the backend has such.
    pub fn bucket(&self) -> Option<&str> {
        let path = self.name().get(self.section().len() + 1..).filter(|_| self.backend().is_some_and(|b| OF_BUCKETS.contains(&b)))?;
        path.trim_start_matches('/').split('/').next().filter(|bucket| !bucket.is_empty())
    }

    /// Whether the section lists the bucket of the path; unknown where its root was not listed, because that was not necessary or is not
    /// allowed. A bucket of another account is not listed either. Costs no request: [`Self::confirm_root`] lists that root in any case.
    pub fn has_bucket(&self) -> Option<bool> {
        self.bucket_listed.get().copied()
    }

    /// Whether the server lists even what cannot exist. Asked only where its root is empty.
    fn knows_everything(&self) -> Result<bool> {
        if !self.backend().is_some_and(|backend| OF_HTTP.contains(&backend)) {
            return Ok(false);
        }
        let place = format!("scribe-agent-{:016x}/", random()?);
        match self.store.list(Place::Section(&place), List { folders: true, ..List::default() }, &mut |_| {}) {
            Err(error) if error.class == Class::Mover => Err(error.into()),
            // Whatever is wrong with it, it is no success.
            listed => Ok(listed.is_ok()),
        }
    }

    fn backend(&self) -> Option<&str> {
        self.store.kind()
    }

    /// Whether the section is, or may be, a view of another one.
    fn leads_elsewhere(&self) -> bool {
        self.backend().is_none_or(|backend| INDIRECT.contains(&backend))
    }

    fn wrong_server(&self, why: &str) -> Failure {
        let backend = self.backend().unwrap_or_default();
        let option = match backend {
            "s3" => "endpoint",
            "webdav" | "http" => "url",
            "sftp" | "ftp" | "smb" => "host",
            _ => "endpoint, url or host",
        };
        Failure::new(
            Reason::SecretInvalid,
            format!(
                "what answers for {} is not a server of type {backend} ({why}). Correct the option {option} of section {} in rclone.conf",
                self.name(),
                self.section()
            ),
        )
    }

    /// The path above this one that belongs to another replication, if there is one. A key that may not look there is no obstacle.
    pub fn owner_above(&self) -> Result<Option<String>> {
        let section = self.section();
        let path = self.name().get(section.len() + 1..).unwrap_or_default();
        let folders = path.match_indices('/').rev().filter_map(|(end, _)| path.get(..end).filter(|above| !above.is_empty()));
        // The root of a view of another section may be a folder there. Elsewhere it is a server's own, or the list of its buckets.
        let root = self.leads_elsewhere().then_some("");
        for above in folders.chain(root) {
            let place = format!("{section}:{above}");
            let control = if above.is_empty() { format!("{CONTROL_DIR}/") } else { format!("{above}/{CONTROL_DIR}/") };
            match self.names_in(Place::Section(&control)) {
                Ok(names) if names.iter().any(|name| name == COMMIT || name == CLAIM) => return Ok(Some(place)),
                Ok(_) => {}
                // A view of all buckets of a server asks it for a bucket whose name not every server finds worth a "no such bucket".
                Err(error) if error.class == Class::AccessDenied || above.is_empty() && error.class == Class::Other => {
                    let why = error.message;
                    tracing::info!(place, why, "it is not known whether another replication owns a path above this one");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    fn section(&self) -> &str {
        self.name().split(':').next().unwrap_or_default()
    }
}
