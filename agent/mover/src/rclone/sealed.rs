//! A configuration that cannot change any more: what rclone reads is what was checked. rclone reads its file again whenever that has
//! changed, and each of its processes does so for itself, while a mounted Secret may be replaced at any moment.
//!
//! In memory, because a temporary directory may lie on a disk, and a Secret does not.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;

/// Clones are the same file.
#[derive(Clone, Debug)]
pub(crate) struct Sealed(Arc<File>);

impl Sealed {
    /// With this content.
    pub(crate) fn new(content: &[u8]) -> io::Result<Self> {
        let mut file = File::from(memory()?);
        file.write_all(content)?;
        fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok(Self(Arc::new(file)))
    }

    /// Where this process, and those that it starts, find it, as long as it is kept.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }
}

impl PartialEq for Sealed {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Sealed {}

/// A machine may refuse memory that could be made executable, and kernels before 6.3 do not know how to say that it cannot.
fn memory() -> rustix::io::Result<OwnedFd> {
    let (name, flags) = ("rclone.conf", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING);
    match memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create(name, flags),
        created => created,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_can_change_it() {
        let sealed = Sealed::new(b"[a]\n").unwrap();
        assert_eq!(std::fs::read(sealed.path()).unwrap(), b"[a]\n");
        let opened = File::options().append(true).open(sealed.path());
        opened.and_then(|mut file| file.write_all(b"x")).unwrap_err();
        File::options().write(true).truncate(true).open(sealed.path()).unwrap_err();
        assert_eq!(std::fs::read(sealed.clone().path()).unwrap(), b"[a]\n");
    }
}
