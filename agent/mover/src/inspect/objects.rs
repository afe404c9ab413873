//! All objects of a path as one listing shows them, without their names: some 30 bytes each, and 64 more where sums are compared.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use crate::digest::Digest;
use crate::error::Result;
use crate::format::entries::Entries;
use crate::name_set::key;
use crate::remote::{Index, Remote};
use crate::volume::entry::Location;

/// What a listing says of a size that the backend does not tell.
pub(super) const UNKNOWN: u64 = u64::MAX;

/// A number of objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Total {
    /// How many.
    pub objects: u64,
    /// Their sizes, as far as the backend tells them.
    pub bytes: u64,
}

impl Total {
    fn add(&mut self, size: u64) {
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(if size == UNKNOWN { 0 } else { size });
    }
}

/// What a listing showed.
#[derive(Debug, Default)]
pub(super) struct Objects {
    sizes: HashMap<u128, u64>,
    sums: Index,
}

impl Objects {
    /// Lists the path, with MD5 sums if `sums`.
    pub(super) fn list(remote: &Remote, sums: bool) -> Result<Self> {
        let mut objects = Self::default();
        remote.each_listed(sums, |object, size| {
            objects.sizes.insert(key(object.name), size);
            if sums {
                objects.sums.add(object);
            }
        })?;
        objects.sums.sort();
        Ok(objects)
    }

    /// The size of this one, if it is there.
    pub(super) fn size(&self, name: &[u8]) -> Option<u64> {
        self.sizes.get(&key(name)).copied()
    }

    /// The MD5 sum of this one, in hexadecimal, where the listing showed it.
    pub(super) fn md5(&self, name: &[u8]) -> Option<String> {
        self.sums.get(name).and_then(crate::remote::Object::md5)
    }

    /// Whether this one is there, and may have this size.
    pub(super) fn may_be(&self, name: &[u8], size: u64) -> bool {
        self.size(name).is_some_and(|there| there == size || there == UNKNOWN)
    }

    /// Takes this one away, and counts it; false if it is not there any more.
    pub(super) fn take(&mut self, name: &[u8], total: &mut Total) -> bool {
        let Some(size) = self.sizes.remove(&key(name)) else { return false };
        total.add(size);
        true
    }

    /// What has not been taken.
    pub(super) fn rest(&self) -> Total {
        let mut total = Total::default();
        for size in self.sizes.values() {
            total.add(*size);
        }
        total
    }

    /// Of `twins`, the contents whose objects have several sums: not all of these can be what the manifest says.
    pub(super) fn contradicted(&self, entries: &Entries, twins: &Twins) -> Result<HashSet<Digest>> {
        let (mut first, mut contradicted) = (HashMap::new(), HashSet::new());
        for entry in entries.read()?.filter(|_| !twins.0.is_empty()) {
            let entry = entry?;
            let Some(file) = entry.file().filter(|file| file.at != Location::Object && twins.0.contains(&file.sha256)) else { continue };
            let Some(md5) = self.sums.get(entry.path.as_bytes()).and_then(crate::remote::Object::md5) else { continue };
            if *first.entry(file.sha256).or_insert_with(|| md5.clone()) != md5 {
                contradicted.insert(file.sha256);
            }
        }
        Ok(contradicted)
    }
}

/// Contents that lie under several names of their own: the manifest has no MD5 sums that those of a listing could be held against, but content
/// that is the same has the same sum.
#[derive(Debug, Default)]
pub(super) struct Twins(HashSet<Digest>);

impl Twins {
    /// Those of a tree.
    pub(super) fn of(entries: &Entries) -> Result<Self> {
        let (mut seen, mut twins) = (HashSet::new(), HashSet::new());
        for entry in entries.read()? {
            let entry = entry?;
            let Some(file) = entry.file().filter(|file| file.at != Location::Object && file.size > 0) else { continue };
            if !seen.insert(key(&file.sha256.0)) {
                twins.insert(file.sha256);
            }
        }
        Ok(Self(twins))
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
