//! What is stored on the remote: names, revisions, documents, manifests. `docs/remote-format.md` describes it.

pub mod documents;
pub mod entries;
pub(crate) mod lines;
pub mod manifest;
pub mod names;
pub mod revision;
