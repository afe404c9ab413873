//! What goes on in another thread beside a test ends with it.

use std::sync::atomic::{AtomicBool, Ordering};

/// Sets a flag when dropped, also where a check fails: the test would never end, and so not show what failed, if nothing stopped the other thread.
pub(crate) struct AtDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for AtDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
