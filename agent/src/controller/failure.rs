//! Why a reconcile failed. The next one follows with a growing delay.

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The API server could not be read.
    #[error("reading {what} from the API server: {error}")]
    Read {
        /// What was to be read.
        what: &'static str,
        /// The answer.
        #[source]
        error: kube::Error,
    },
    /// The API server did not take a write.
    #[error("writing to the API server: {0}")]
    Write(#[source] kube::Error),
    /// Writes meet with conflicts again and again.
    #[error("the API server reported a conflict {0} times in a row")]
    Conflict(i64),
    /// A child's name is taken.
    #[error("a child cannot be created yet because its name is taken: {0}")]
    Taken(String),
    /// The API server will not take a status as it is.
    #[error("the API server rejected the request: {0}")]
    Refused(String),
}
