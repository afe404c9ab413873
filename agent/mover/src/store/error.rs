//! Why a verb failed: classified once, where the answer came from.

use std::fmt;

use crate::error::Failure;
use crate::report::Reason;

/// What kind of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The remote refused the credentials.
    AccessDenied,
    /// The bucket does not exist.
    BucketMissing,
    /// An object or a folder does not exist.
    NotFound,
    /// Objects are files of a file system, and a folder is in the way of one, or a file in the way of a folder.
    Obstructed,
    /// The remote does not take a name of that length.
    NameTooLong,
    /// The remote asked for a slower pace.
    Throttled,
    /// No answer, or a server error that passes.
    Unreachable,
    /// No space left on either side.
    NoSpace,
    /// What was sent is not what was read before: nearly always because the file changed in between.
    SourceChanging,
    /// A file of the volume could not be read or written.
    VolumeUnreadable,
    /// The configuration is unusable.
    Configuration,
    /// An object is not what a wrapping backend (crypt, compress) has written, or not with this password.
    Undecipherable,
    /// An object is larger than was asked for.
    TooLarge,
    /// Killed from outside.
    Killed,
    /// Of the mover itself, such as a full temporary directory, or a stop.
    Mover,
    /// None of these.
    Other,
}

impl Class {
    /// The reason a failure of this kind is reported with.
    pub fn reason(self) -> Reason {
        match self {
            Self::AccessDenied => Reason::AccessDenied,
            Self::BucketMissing => Reason::BucketMissing,
            Self::Throttled => Reason::Throttled,
            Self::Unreachable => Reason::Unreachable,
            Self::NoSpace => Reason::NoSpace,
            Self::SourceChanging => Reason::SourceChanging,
            Self::VolumeUnreadable => Reason::VolumeUnreadable,
            // Where nothing else could be read, either: see the reading of control objects.
            Self::Configuration | Self::Undecipherable => Reason::SecretInvalid,
            Self::NotFound | Self::Obstructed | Self::NameTooLong | Self::TooLarge => Reason::RemoteInconsistent,
            Self::Killed | Self::Mover | Self::Other => Reason::MoverFailed,
        }
    }
}

/// Why a verb failed.
#[derive(Clone, Debug)]
pub struct StoreError {
    /// The kind of error.
    pub class: Class,
    /// For a person, without secrets.
    pub message: String,
    absence: bool,
    /// The mover's own.
    failure: Option<Failure>,
}

impl StoreError {
    /// An error of the remote, or with it.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), absence: false, failure: None }
    }

    /// That the one object or folder that was asked for does not exist, by an answer that says so and nothing else.
    pub fn absence(class: Class, message: impl Into<String>) -> Self {
        Self { absence: true, ..Self::new(class, message) }
    }

    /// Whether the answer was that the object or folder does not exist. That alone proves nothing, see [`crate::remote`].
    pub fn is_absence(&self) -> bool {
        self.absence
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        Self { failure: Some(failure.clone()), ..Self::new(Class::Mover, failure.message) }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let Some(failure) = error.failure else {
            let remedy = remedy(&error.message).map_or_else(String::new, |remedy| format!(" ({remedy})"));
            return Failure::new(error.class.reason(), error.message + &remedy);
        };
        failure
    }
}

/// What to do about mistakes whose message says only what a server or a library has to say of them: it is in lower case here.
const REMEDIES: &[(&str, &str)] = &[
    ("x509: certificate signed by unknown authority", "name the authority of its certificate in customCA"),
    ("x509: certificate is valid for", "write the endpoint or url with a name that its certificate has"),
    ("x509: cannot validate certificate", "write the endpoint or url with a name that its certificate has"),
    ("x509: certificate has expired", "renew the server's certificate, or set the clock of the node"),
    ("http: server gave http response to https client", "the server does not speak TLS there: write http:// in the endpoint or url"),
    ("client sent an http request to an https server", "the server speaks TLS there: write https:// in the endpoint or url"),
    ("invalidbucketname", "no bucket of this server can have that name: correct rcloneDestPath"),
];

fn remedy(message: &str) -> Option<&'static str> {
    let message = message.to_lowercase();
    REMEDIES.iter().find(|(said, _)| message.contains(said)).map(|(_, remedy)| *remedy)
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.class, self.message)
    }
}

impl std::error::Error for StoreError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_the_mover_stays_what_it_is() {
        let full = Failure::scratch(&std::io::Error::from_raw_os_error(28));
        let error = StoreError::from(full.clone());
        assert_eq!((error.class, Failure::from(error)), (Class::Mover, full));
        assert_eq!(Failure::from(StoreError::new(Class::Throttled, "slow")), Failure::new(Reason::Throttled, "slow"));
    }

    #[test]
    fn what_a_library_says_of_a_mistake_comes_with_what_to_do() {
        let said = "Get \"https://s3:9000/\": tls: failed to verify certificate: x509: certificate signed by unknown authority";
        let failure = Failure::from(StoreError::new(Class::Unreachable, said));
        assert_eq!(failure.message, format!("{said} (name the authority of its certificate in customCA)"));
    }
}
