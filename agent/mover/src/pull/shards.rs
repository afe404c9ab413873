//! The names of verified content in the staging folder. In layout Files it is the hash, `ok/<sha256>`. In layout Packs, which names content by its
//! identity and the id of its file, ids that are near each other share a folder, `ok/<id / 4096>/<name>`: files that lie together in a tree have such
//! ids, and all that a pull does to them it does in the order of the tree or of ids. So one folder at a time is in use. The names of a million files in
//! one folder are scattered over all of it by their hashes, and it is read from the disk for each of them where memory does not hold it.

use std::ffi::OsString;
use std::io;

use rustix::fs::FileType;

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
    let shard = id(digest).map_or_else(|| root.clone(), |id| root.child(format!("{:x}", id / IDS)));
    shard.child(digest.hex())
}

/// The name of the new blocks of this content, see `packs::waiting`.
pub(super) fn blocks(digest: &Digest) -> RelPath {
    let content = content(digest);
    let name = format!("{}{BLOCKS}", digest.hex());
    content.parent().and_then(RelPath::new).unwrap_or_else(RelPath::root).child(name)
}

/// The id of the file whose content this names; `None` of a sha256: what ends in eight bytes of zero is none that anybody has found.
fn id(digest: &Digest) -> Option<u64> {
    let (_, rest) = digest.0.split_at(16);
    let (id, zeros) = rest.split_first_chunk::<8>()?;
    zeros.iter().all(|byte| *byte == 0).then(|| u64::from_be_bytes(*id))
}

/// Makes the folder that this name is in, below `verified`. What else is there, a link say, stays, and nothing goes through it.
pub(super) fn make(verified: &Root, content: &RelPath) -> io::Result<()> {
    let Some(shard) = content.parent().and_then(RelPath::new).filter(|shard| !shard.is_root()) else { return Ok(()) };
    match verified.at(&shard)?.make_folder(0o700) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Of all that lies in `verified`, keeps files of content that is wanted, under its name, and removes the rest: also what stands in the place of a
/// folder, or is one that others may write to.
pub(super) fn keep(verified: &Root, wants: impl Fn(&Digest) -> bool, stop: &Stop) -> Result<()> {
    let wanted = |path: &RelPath| {
        let name = std::str::from_utf8(path.name()).unwrap_or_default();
        let digest = Digest::parse(name.strip_suffix(BLOCKS).unwrap_or(name));
        digest.is_some_and(|digest| (content(&digest) == *path || blocks(&digest) == *path) && wants(&digest))
    };
    for name in names(verified, &RelPath::root())? {
        stop.check()?;
        let path = RelPath::root().child(&name);
        match kind(verified, &path)? {
            FileType::RegularFile if wanted(&path) => {}
            FileType::Directory if ours(verified, &path)?.is_some() => keep_in(verified, &path, &wanted, stop)?,
            _ => remove(verified, &path)?,
        }
    }
    Ok(())
}

fn keep_in(verified: &Root, shard: &RelPath, wanted: &dyn Fn(&RelPath) -> bool, stop: &Stop) -> Result<()> {
    let mut kept = false;
    for name in names(verified, shard)? {
        stop.check()?;
        let path = shard.child(&name);
        if wanted(&path) && kind(verified, &path)? == FileType::RegularFile {
            kept = true;
        } else {
            remove(verified, &path)?;
        }
    }
    if kept { Ok(()) } else { remove(verified, shard) }
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
    use crate::pull::staging::Staging;
    use assert_fs::TempDir;
    use sha2::{Digest as _, Sha256};
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
        let (kept, records) = (put(1), blocks(&packs(1)));
        fs::write(at(&records), "records").unwrap();
        fs::write(at(&blocks(&packs(3))), "records").unwrap();
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
        keep(verified, |digest| wanted.contains(digest) || *digest == hash, &Stop::default()).unwrap();
        let mut left: Vec<_> = verified.files().map(|path| path.unwrap()).collect();
        left.sort();
        let mut expected = vec![kept, records, content(&hash)];
        expected.sort();
        assert_eq!(left, expected);
        let there: Vec<_> = fs::read_dir(at(&RelPath::root())).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(there.len(), 2, "{there:?}");
        assert_eq!(names_in(outside.path()), [packs(20_000).hex()]);
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
