//! Absence is a claim that needs two witnesses: what no read found and no listing shows is absent, and an empty path is believed only
//! of a server that knows at least its own root.
//!
//! A 404 of any web server, of a proxy in front of a bucket, or of a server that has just started reads as "no such object"; so does
//! a missing key file. What is concluded from absence (a first push, waiting for one, pushing everything anew) must not rest on that.

use super::{Listing, Remote};
use crate::failure::{Failure, Result};
use crate::names::{CLAIM, COMMIT, CONTROL_DIR};
use crate::rclone::{CONTROL_IDLE, Class, Trouble};
use crate::report::Reason;

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
            "{} lists {CONTROL_DIR}/{name} and answers that it does not exist when it is read; nothing was changed, and the next attempt looks again",
            remote.name()
        ),
    )
}

/// Whether the answer is that of some other kind of server.
fn speaks_another_protocol(trouble: &Trouble) -> bool {
    ["deserialization failed", "failed to decode response body", "StatusCode: 404", "404 Not Found"]
        .iter()
        .any(|words| trouble.message.contains(words))
}

impl Remote {
    /// Makes sure that an empty path is one of a server that is really there: the root of a remote always exists.
    pub fn confirm_root(&self) -> Result<()> {
        let section = self.section();
        let answer = self
            .rclone
            .run(&["lsjson".into(), "--no-mimetype".into(), "--no-modtime".into(), format!("{section}:").into()], CONTROL_IDLE)?;
        match answer {
            Err(trouble) if trouble.class != Class::BucketMissing && (trouble.is_absence() || speaks_another_protocol(&trouble)) => {
                let backend = self.rclone.environment.backend.as_deref();
                if backend.is_none_or(|backend| INDIRECT.contains(&backend)) || self.feature("Overlay")? {
                    return Ok(());
                }
                Err(Failure::new(
                    Reason::SecretInvalid,
                    format!(
                        "the server of section {section} knows neither {} nor any root of its own: it is not a server of type {}. Correct the option endpoint, url or host of that section in rclone.conf",
                        self.name(),
                        backend.unwrap_or_default()
                    ),
                ))
            }
            // A key may be confined to one bucket or folder, and not every server lists its buckets. Such an answer is one of the right server.
            Err(trouble)
                if !matches!(trouble.class, Class::AccessDenied | Class::BucketMissing | Class::Other)
                    && !trouble.message.contains("api error NotImplemented") =>
            {
                Err(trouble.into())
            }
            _ => Ok(()),
        }
    }

    /// The path above this one that belongs to another replication, if there is one. A key that may not look there is no obstacle.
    pub fn owner_above(&self) -> Result<Option<String>> {
        let section = self.section();
        let path = self.name().get(section.len() + 1..).unwrap_or_default();
        for (end, _) in path.match_indices('/').rev() {
            let Some(above) = path.get(..end).filter(|above| !above.is_empty()) else { continue };
            match self.names_in(format!("{section}:{above}/{CONTROL_DIR}/").into())? {
                Ok(names) if names.iter().any(|name| name == COMMIT || name == CLAIM) => return Ok(Some(format!("{section}:{above}"))),
                Ok(_) => {}
                Err(trouble) if trouble.class == Class::AccessDenied => {
                    tracing::info!(path = above, "these credentials do not show whether another replication owns a path above this one");
                }
                Err(trouble) => return Err(trouble.into()),
            }
        }
        Ok(None)
    }

    fn section(&self) -> &str {
        self.name().split(':').next().unwrap_or_default()
    }
}
