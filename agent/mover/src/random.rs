//! Randomness from the kernel.

use crate::error::{Failure, Result};
use crate::report::Reason;

/// Eight random bytes from the kernel.
pub fn random() -> Result<u64> {
    let mut bytes = [0_u8; 8];
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = bytes.get_mut(filled..).unwrap_or_default();
        let got = rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())
            .map_err(|e| Failure::new(Reason::MoverFailed, format!("no random numbers: {e}")))?;
        filled += got;
    }
    Ok(u64::from_be_bytes(bytes))
}
