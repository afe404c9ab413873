//! The names of verified content in the staging folder. In layout Files it is the hash, `ok/<sha256>`. In layout Packs, which names content by its
//! identity and the id of its file, ids that are near each other share a folder, `ok/<id / 4096>/<name>`: files that lie together in a tree have such
//! ids, and all that a pull does to them it does in the order of the tree or of ids. So one folder at a time is in use. The names of a million files in
//! one folder are scattered over all of it by their hashes, and it is read from the disk for each of them where memory does not hold it.

use std::ffi::OsString;
use std::io;

use rustix::fs::FileType;

use super::identity;
use super::own::{ours, remove};
use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::stop::Stop;
use crate::volume::beneath::Root;
use crate::volume::path::RelPath;

/// Ids that share a folder.
const IDS: u64 = 4096;
/// What the names of new blocks end in.
const BLOCKS: &str = ".blocks";

/// The name of this content.
pub(super) fn content(digest: &Digest) -> RelPath {
    let root = RelPath::root();
    let shard = identity::id(digest).map_or_else(|| root.clone(), |id| root.child(format!("{:x}", id / IDS)));
    shard.child(digest.hex())
}

/// The name of the new blocks of this content, see `packs::waiting`.
pub(super) fn blocks(digest: &Digest) -> RelPath {
    let content = content(digest);
    let name = format!("{}{BLOCKS}", digest.hex());
    content.parent().and_then(RelPath::new).unwrap_or_else(RelPath::root).child(name)
}

/// Makes the folder that this name is in, below `verified`. What else is there, a link say, stays, and nothing goes through it.
pub(super) fn make(verified: &Root, content: &RelPath) -> io::Result<()> {
    let Some(shard) = content.parent().and_then(RelPath::new).filter(|shard| !shard.is_root()) else { return Ok(()) };
    match verified.at(&shard)?.make_folder(0o700) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Of all that lies in `verified`, keeps files of content that is wanted (as a whole, or of `true` its new blocks), and removes the rest: also what
/// stands in the place of a folder, or is one that others may write to. What is wanted as another content of the same folder gets its name. Returns
/// how many files are kept.
pub(super) fn keep(verified: &Root, kept_as: impl Fn(&Digest, bool) -> Option<Digest>, stop: &Stop) -> Result<u64> {
    let kept_as = |path: &RelPath| {
        let name = std::str::from_utf8(path.name()).unwrap_or_default();
        let of_blocks = name.strip_suffix(BLOCKS);
        let named = |digest: &Digest| if of_blocks.is_some() { blocks(digest) } else { content(digest) };
        let digest = Digest::parse(of_blocks.unwrap_or(name)).filter(|digest| named(digest) == *path)?;
        Some(named(&kept_as(&digest, of_blocks.is_some())?)).filter(|to| to.parent() == path.parent())
    };
    let mut kept = 0;
    for name in names(verified, &RelPath::root())? {
        stop.check()?;
        let path = RelPath::root().child(&name);
        if kind(verified, &path)? == FileType::Directory && ours(verified, &path)?.is_some() {
            kept += keep_in(verified, &path, &kept_as, stop)?;
        } else {
            kept += keep_one(verified, &path, &kept_as)?;
        }
    }
    Ok(kept)
}

fn keep_in(verified: &Root, shard: &RelPath, kept_as: &dyn Fn(&RelPath) -> Option<RelPath>, stop: &Stop) -> Result<u64> {
    let mut kept = 0;
    for name in names(verified, shard)? {
        stop.check()?;
        kept += keep_one(verified, &shard.child(&name), kept_as)?;
    }
    if kept > 0 { Ok(kept) } else { remove(verified, shard).map(|()| 0) }
}

/// How many files are kept of this one.
fn keep_one(verified: &Root, path: &RelPath, kept_as: &dyn Fn(&RelPath) -> Option<RelPath>) -> Result<u64> {
    let Some(to) = kept_as(path).filter(|_| kind(verified, path).is_ok_and(|kind| kind == FileType::RegularFile)) else {
        return remove(verified, path).map(|()| 0);
    };
    let failed = |e: io::Error| Failure::volume("rename", &verified.shown(path), &e);
    if to == *path {
        return Ok(1);
    }
    // What has that name already is as good, or better.
    if verified.find(&to)?.is_some() {
        return remove(verified, path).map(|()| 0);
    }
    let rename = || verified.at(path)?.rename_to(&verified.at(&to)?);
    rename().map(|()| 1).map_err(failed)
}

fn names(verified: &Root, folder: &RelPath) -> Result<Vec<OsString>> {
    verified.names(folder).map_err(|e| Failure::volume("read", &verified.shown(folder), &e))
}

fn kind(verified: &Root, path: &RelPath) -> Result<FileType> {
    let look = || verified.hold(path)?.look();
    look().map(|seen| seen.kind).map_err(|e| Failure::volume("read", &verified.shown(path), &e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pull::identity::parts;
    use crate::pull::staging::Staging;
    use assert_fs::TempDir;
    use sha2::{Digest as _, Sha256};
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    /// As layout Packs names the content of the file of this id.
    fn packs(id: u64) -> Digest {
        let mut bytes = [7; 32];
        bytes[16..24].copy_from_slice(&id.to_be_bytes());
        bytes[24..].fill(0);
        Digest(bytes)
    }

    #[test]
    fn ids_near_each_other_share_a_folder_and_a_hash_has_none() {
        let shard = |id: u64| String::from_utf8(content(&packs(id)).parent().unwrap().to_vec()).unwrap();
        assert_eq!([0, 4095, 4096, 1 << 47].map(shard), ["0", "0", "1", "800000000"]);
        assert_eq!(content(&packs(5)).name(), packs(5).hex().as_bytes());
        let hash = Digest(Sha256::digest("a file of layout Files").into());
        assert_eq!(content(&hash).as_bytes(), hash.hex().as_bytes());
    }

    #[test]
    fn nothing_is_kept_but_what_is_wanted_under_its_name() {
        let (dir, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let root = Root::open(dir.path()).unwrap();
        let staging = Staging::open(&root).unwrap();
        let verified = staging.verified();
        let at = |path: &RelPath| verified.shown(path);
        let put = |id: u64| {
            let path = content(&packs(id));
            make(verified, &path).unwrap();
            fs::write(at(&path), "content").unwrap();
            path
        };
        let hash = Digest(Sha256::digest("content").into());
        fs::write(at(&content(&hash)), "content").unwrap();
        let (kept, records) = (put(1), blocks(&packs(4)));
        // Of what is made whole, of what is changed in place, and of what is not wanted.
        for id in [1, 4, 3] {
            fs::write(at(&blocks(&packs(id))), "records").unwrap();
        }
        put(4);
        let others = [2, 5000, 10_000, 20_000].map(put);
        // Of an older mover, and a name that is not its own folder's.
        fs::write(at(&RelPath::root().child(packs(1).hex())), "content").unwrap();
        fs::write(at(&RelPath::own("1").child(packs(1).hex())), "content").unwrap();
        // A link in the place of a file, and of a folder, and a folder that others may write to.
        fs::write(outside.path().join(packs(20_000).hex()), "outside").unwrap();
        fs::remove_file(at(&others[0])).unwrap();
        symlink(outside.path().join(packs(20_000).hex()), at(&others[0])).unwrap();
        let shard = |id: u64| at(&RelPath::new(content(&packs(id)).parent().unwrap()).unwrap());
        fs::remove_dir_all(shard(20_000)).unwrap();
        symlink(outside.path(), shard(20_000)).unwrap();
        fs::set_permissions(shard(10_000), fs::Permissions::from_mode(0o777)).unwrap();
        let wanted = [1, 2, 10_000, 20_000].map(packs);
        let wants = |digest: &Digest, of_blocks| if of_blocks { *digest == packs(4) } else { wanted.contains(digest) || *digest == hash };
        let kept_as = |digest: &Digest, of_blocks| wants(digest, of_blocks).then_some(*digest);
        assert_eq!(keep(verified, kept_as, &Stop::default()).unwrap(), 3);
        let mut left: Vec<_> = verified.files().map(|path| path.unwrap()).collect();
        left.sort();
        let mut expected = vec![kept, records, content(&hash)];
        expected.sort();
        assert_eq!(left, expected);
        let there: Vec<_> = fs::read_dir(at(&RelPath::root())).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(there.len(), 2, "{there:?}");
        assert_eq!(names_in(outside.path()), [packs(20_000).hex()]);
    }

    /// What was fetched of an older content of a file is most of the newer one.
    #[test]
    fn what_is_wanted_as_another_content_gets_its_name() {
        let dir = TempDir::new().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let staging = Staging::open(&root).unwrap();
        let verified = staging.verified();
        let newer = |id: u64| {
            let Digest(mut bytes) = packs(id);
            bytes[0] = 8;
            Digest(bytes)
        };
        let put = |digest: &Digest, what: &str| {
            make(verified, &content(digest)).unwrap();
            fs::write(verified.shown(&content(digest)), what).unwrap();
        };
        put(&packs(1), "older");
        put(&packs(2), "older");
        put(&newer(2), "newer");
        // No file goes to another folder.
        put(&packs(3), "older");
        let kept_as = |digest: &Digest, _| match parts(digest).1 {
            3 => Some(packs(9000)),
            id => Some(newer(id)),
        };
        assert_eq!(keep(verified, kept_as, &Stop::default()).unwrap(), 2);
        let left: BTreeMap<_, _> =
            verified.files().map(|path| path.unwrap()).map(|path| (fs::read_to_string(verified.shown(&path)).unwrap(), path)).collect();
        assert_eq!(left, BTreeMap::from([("older".into(), content(&newer(1))), ("newer".into(), content(&newer(2)))]));
    }

    #[test]
    fn nothing_is_made_through_a_link() {
        let (dir, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let root = Root::open(dir.path()).unwrap();
        let staging = Staging::open(&root).unwrap();
        symlink(outside.path(), staging.verified().shown(&RelPath::own("0"))).unwrap();
        let path = content(&packs(1));
        staging.make_shard(&path).unwrap();
        assert!(staging.verified().at(&path).is_err() && staging.verified().file_to_write(&path).is_err());
        assert!(names_in(outside.path()).is_empty());
    }

    fn names_in(dir: &Path) -> Vec<String> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}
