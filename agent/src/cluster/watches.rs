//! Which watches fail for so long that users have to know: what they do not bring is never noticed, whichever object it is about.

use super::refusal::COMPLETE_ROLE;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The watches that fail, shared by all of them.
#[derive(Clone, Debug, Default)]
pub struct Watches {
    /// By kind, what is reported.
    failing: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Watches {
    /// The watch of `kind` fails; `forbidden` where the Role does not allow it.
    pub fn fail(&self, kind: &str, error: &str, forbidden: bool) {
        let error = error.trim();
        let text = if forbidden {
            format!("The agent lacks a permission to watch {kind}: {error} ({COMPLETE_ROLE})")
        } else {
            format!("The agent cannot watch {kind}, and does not notice what becomes of them: {error}")
        };
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).insert(kind.to_owned(), text);
    }

    /// The watch of `kind` works.
    pub fn works(&self, kind: &str) {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).remove(kind);
    }

    /// What fails, each as a sentence.
    pub fn troubles(&self) -> Vec<String> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
