//! What a listing reports of many objects beside their sizes, kept small: 64 bytes each, whatever their names.

use jiff::Timestamp;

use crate::digest::{hex, unhex};
use crate::name_set::key;

/// What a listing reports of an object.
#[derive(Clone, Copy, Debug)]
pub struct ListedObject<'a> {
    /// Below the path.
    pub name: &'a [u8],
    /// When it was written; on backends that keep a file's own time, that time.
    pub written: Option<Timestamp>,
    /// The MD5 sum in hexadecimal, where the backend knows it.
    pub md5: Option<&'a str>,
}

/// The same, of many.
#[derive(Debug, Default)]
pub struct Index(Vec<Object>);

/// One object of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// A million names take more room than all the rest. No two have the same 128 bits of sha256.
    name: u128,
    /// See [`ListedObject::written`].
    pub written: Option<Timestamp>,
    md5: Option<[u8; 16]>,
}

impl Object {
    /// See [`ListedObject::md5`].
    pub fn md5(&self) -> Option<String> {
        self.md5.map(|sum| hex(&sum))
    }
}

impl Index {
    /// Adds one; all of them before the first is looked for.
    pub fn add(&mut self, listed: ListedObject) {
        let md5 = listed.md5.and_then(unhex).and_then(|sum| sum.try_into().ok());
        self.0.push(Object { name: key(listed.name), written: listed.written, md5 });
    }

    /// Makes it ready to be searched.
    pub fn sort(&mut self) {
        self.0.sort_unstable_by_key(|object| object.name);
    }

    /// What was listed of this one.
    pub fn get(&self, name: &[u8]) -> Option<&Object> {
        self.0.binary_search_by_key(&key(name), |object| object.name).ok().and_then(|at| self.0.get(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_listed_is_found() {
        let mut index = Index::default();
        let sum = |n: usize| format!("{n:032x}");
        for n in 0..1000 {
            let (name, md5) = (n.to_string(), sum(n));
            index.add(ListedObject { name: name.as_bytes(), written: None, md5: (n > 0).then_some(md5.as_str()) });
        }
        index.sort();
        for n in 0..1000 {
            assert_eq!(index.get(n.to_string().as_bytes()).unwrap().md5(), (n > 0).then(|| sum(n)));
        }
        assert_eq!(index.get(b"1000"), None);
    }

    #[test]
    fn a_million_fit_into_64_mb() {
        assert_eq!(size_of::<Object>(), 64);
    }
}
