//! The objects of this layout by their names in our own folder, commit and claim aside.

use crate::format::revision::Revision;
use crate::packs::id::ObjectId;

/// What an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// Blocks.
    Pack(ObjectId),
    /// A part of the map.
    Run(ObjectId),
    /// What a push has sent so far.
    Checkpoint(ObjectId),
    /// A manifest.
    Manifest(Revision),
}

impl Object {
    /// What an object of this name is; `None` if it is none of this layout.
    pub fn parse(name: &str) -> Option<Self> {
        let (folder, name) = name.split_once('/')?;
        match folder {
            "packs" => ObjectId::parse(name).map(Self::Pack),
            "runs" => ObjectId::parse(name).map(Self::Run),
            "checkpoints" => ObjectId::parse(name).map(Self::Checkpoint),
            "manifests" => Revision::parse(name.strip_suffix(".zst")?).map(Self::Manifest),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_push_writes_is_an_object() {
        let id = ObjectId { push: 1, number: 2 };
        assert_eq!(Object::parse(&id.pack()), Some(Object::Pack(id)));
        assert_eq!(Object::parse(&id.run()), Some(Object::Run(id)));
        assert_eq!(Object::parse(&id.checkpoint()), Some(Object::Checkpoint(id)));
        let revision = Revision::parse("20261123T042858Z-1c9a77e0-17-5f2e").unwrap();
        assert_eq!(Object::parse(&crate::format::names::manifest(&revision)), Some(Object::Manifest(revision)));
        for name in ["packs/x", "packs/../commit.json", "runs/0", "manifests/x.zst", "commit.json", "staged/0000000000000001000000aa", ""] {
            assert_eq!(Object::parse(name), None, "{name}");
        }
    }
}
