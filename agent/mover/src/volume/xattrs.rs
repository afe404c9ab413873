//! Extended attributes of an entry: which of them are the user's data, and how they are read.
//!
//! POSIX ACLs and file capabilities are attributes like others to the kernel, only with rules of their own about who may
//! set them and what clears them.

use std::io;

use rustix::io::Errno;

use crate::volume::beneath::Held;

/// The ACL of an entry.
pub const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
/// The ACL that what is made in a directory begins with.
pub const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";
/// What a program may do that others may not.
pub const CAPABILITY: &[u8] = b"security.capability";

/// The largest list, and the largest value, that Linux knows.
const LARGEST: usize = 65536;
/// Bytes of all of one entry together that are read: more than a manifest holds of one.
const MOST: usize = 2 << 20;
/// Holds the names of nearly every entry, and most values, at the first try.
const USUAL: usize = 1024;

/// What an attribute is, as far as restoring it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttributeKind {
    /// `user.*`: set by anyone who may write to the file.
    User,
    /// `trusted.*`: seen and set only with CAP_SYS_ADMIN.
    Trusted,
    /// A POSIX ACL.
    Acl,
    /// A file capability: set with CAP_SETFCAP, cleared by a change of owner.
    Capability,
}

impl AttributeKind {
    /// Whether it stands for itself alone: mode and owner have no part in it.
    pub fn is_plain(self) -> bool {
        matches!(self, Self::User | Self::Trusted)
    }

    /// The kind of the attribute `name`; `None` if it is not replicated.
    pub fn of(name: &[u8]) -> Option<Self> {
        match name {
            ACL_ACCESS | ACL_DEFAULT => Some(Self::Acl),
            CAPABILITY => Some(Self::Capability),
            _ if name.starts_with(b"user.") => Some(Self::User),
            _ if name.starts_with(b"trusted.") => Some(Self::Trusted),
            _ => None,
        }
    }
}

/// One attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attribute {
    /// Its full name, `user.` and the like included: any bytes but NUL.
    pub name: Box<[u8]>,
    /// Its value, perhaps empty.
    pub value: Box<[u8]>,
}

/// The replicated attributes of an entry, by name. Most entries have none, and those take no memory of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(Box<[Attribute]>);

impl Attributes {
    /// Sorts them; of two with one name the first counts.
    pub fn new(mut attributes: Vec<Attribute>) -> Self {
        attributes.sort_by(|a, b| a.name.cmp(&b.name));
        attributes.dedup_by(|b, a| a.name == b.name);
        Self(attributes.into())
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Attribute> {
        self.0.iter()
    }

    /// The memory that they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.iter().map(|attribute| attribute.name.len() + attribute.value.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of one kind.
    pub fn of_kind(&self, kind: AttributeKind) -> impl Iterator<Item = &Attribute> {
        self.iter().filter(move |attribute| AttributeKind::of(&attribute.name) == Some(kind))
    }

    /// The value of the attribute `name`.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let at = self.0.binary_search_by(|attribute| (*attribute.name).cmp(name)).ok()?;
        self.0.get(at).map(|attribute| &*attribute.value)
    }
}

/// What an entry has.
#[derive(Debug, Default)]
pub struct ReadAttributes {
    /// What is replicated.
    pub attributes: Attributes,
    /// Whether there are others that are lost: those of one kind of file system only, such as NFSv4 ACLs.
    pub others: bool,
}

/// Reads the attributes of an entry. A file system without any has none.
///
/// Labels that a site gives its files by itself (`security.*`: SELinux, IMA, Smack) are left out: at another site they would be wrong.
pub fn read(entry: &Held) -> io::Result<ReadAttributes> {
    let mut seen = ReadAttributes::default();
    let (mut attributes, mut room) = (Vec::new(), MOST);
    for name in list(entry)?.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if AttributeKind::of(name).is_none() {
            seen.others |= !name.starts_with(b"security.");
        } else if let Some(value) = value(entry, name)? {
            room = room.checked_sub(name.len() + value.len()).ok_or_else(too_many)?;
            attributes.push(Attribute { name: name.into(), value });
        }
    }
    seen.attributes = Attributes::new(attributes);
    Ok(seen)
}

fn too_many() -> io::Error {
    let what = "it has more extended attributes than can be replicated, a megabyte: remove some of them";
    io::Error::new(io::ErrorKind::FileTooLarge, what)
}

/// The names, each with a NUL behind it.
fn list(entry: &Held) -> io::Result<Vec<u8>> {
    let mut buffer = [0; USUAL];
    match entry.list_attributes(&mut buffer) {
        Ok(length) => return Ok(buffer.get(..length).unwrap_or_default().to_vec()),
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Err(Errno::RANGE) => {}
        Err(error) => return Err(error.into()),
    }
    let mut names = vec![0; LARGEST];
    let length = entry.list_attributes(&mut names)?;
    names.truncate(length);
    Ok(names)
}

/// `None` if it went away since it was listed.
fn value(entry: &Held, name: &[u8]) -> io::Result<Option<Box<[u8]>>> {
    let mut buffer = [0; USUAL];
    match entry.attribute(name, &mut buffer) {
        Ok(length) => return Ok(Some(buffer.get(..length).unwrap_or_default().into())),
        Err(Errno::NODATA) => return Ok(None),
        Err(Errno::RANGE) => {}
        Err(error) => return Err(error.into()),
    }
    let mut value = vec![0; LARGEST];
    match entry.attribute(name, &mut value) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value.into()))
        }
        Err(Errno::NODATA) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assert_fs::TempDir;
    use rustix::fs::{XattrFlags, setxattr};

    #[test]
    fn labels_of_the_site_are_left_out_and_foreign_ones_noticed() {
        for (name, kind) in [
            ("user.x", Some(AttributeKind::User)),
            ("trusted.overlay.opaque", Some(AttributeKind::Trusted)),
            ("security.capability", Some(AttributeKind::Capability)),
            ("system.posix_acl_default", Some(AttributeKind::Acl)),
            ("security.selinux", None),
            ("security.ima", None),
            ("system.nfs4_acl", None),
            ("btrfs.compression", None),
        ] {
            assert_eq!(AttributeKind::of(name.as_bytes()), kind, "{name}");
        }
    }

    #[test]
    fn long_lists_and_odd_names_are_read_whole() {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("a");
        std::fs::write(&file, "a").unwrap();
        let mut wanted = Vec::new();
        for number in 0..24 {
            let name = format!("user.{number:0100}");
            setxattr(&file, &name, b"", XattrFlags::empty()).unwrap();
            wanted.push(Attribute { name: name.into_bytes().into(), value: Box::default() });
        }
        let (name, value) = (b"user.\xff \n".as_slice(), b"\0\xfe".as_slice());
        setxattr(&file, name, value, XattrFlags::empty()).unwrap();
        wanted.push(Attribute { name: name.into(), value: value.into() });
        let root = crate::volume::beneath::Root::open(dir.path()).unwrap();
        let seen = read(&root.hold(&crate::volume::path::RelPath::own("a")).unwrap()).unwrap();
        assert_eq!(seen.attributes, Attributes::new(wanted));
        assert_eq!(seen.attributes.get(b"user.\xff \n"), Some(&b"\0\xfe"[..]));
        assert!(!seen.others);
    }
}
