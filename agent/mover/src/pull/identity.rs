//! What names the content of a file of layout Packs in the tree that a pull compares a volume with: the identity of the content, and the id that the
//! map knows its file by. It ends in eight bytes of zero, as no sha256 does that anybody has found.

use crate::digest::Digest;
use crate::packs::salt::Hash;

/// That of a content that is not empty.
pub(super) fn of(content: &Hash, id: u64) -> Digest {
    let mut bytes = [0; 32];
    let (first, rest) = bytes.split_at_mut(16);
    first.copy_from_slice(&content.0);
    if let Some(place) = rest.first_chunk_mut::<8>() {
        *place = id.to_be_bytes();
    }
    Digest(bytes)
}

/// Identity and file id of a content that is not empty, by what names it.
pub(super) fn parts(digest: &Digest) -> (Hash, u64) {
    let (mut content, mut id) = ([0; 16], [0; 8]);
    let (first, rest) = digest.0.split_at(16);
    content.copy_from_slice(first);
    id.copy_from_slice(rest.split_at(8).0);
    (Hash(content), u64::from_be_bytes(id))
}

/// The file id in what may be a sha256, too, which has none.
pub(super) fn id(digest: &Digest) -> Option<u64> {
    digest.0.ends_with(&[0; 8]).then(|| parts(digest).1)
}
