//! Decides what entries the volume is to hold after a pull of layout Plain, before anything of it is fetched. Pure, except for a check of names
//! that only the facl has.
//!
//! Neither of the two sources says all: a listing of a backend without folders of its own (S3) has no empty directories, and getfacl does
//! not say which of its entries are directories.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::super::names::{self, Alike, Wanted};
use super::facl::Access;
use super::listing::{FACLS, Listing};
use crate::error::Result;
use crate::guard::{Count, NamesSum};
use crate::volume::entry::Kind;
use crate::volume::path::RelPath;
use crate::volume::walk::{Found, FoundKind};
use crate::volume::xattrs::ACL_DEFAULT;
use crate::volume::{LOST_AND_FOUND, STAGING_DIR};

/// The type of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A listed file.
    File,
    /// A directory.
    Dir,
    /// What the volume has that no remote of this kind can say anything about: a link, a pipe.
    Stays(Kind),
}

/// All entries, in path order, the root included.
pub(super) type Tree = BTreeMap<RelPath, Shape>;

/// The listed files and directories, those of `named` (see [`named`]), the directories that all of these need, and links and pipes that the
/// volume has elsewhere.
pub(super) fn shape(found: &[Found], listing: &Listing, named: Vec<RelPath>) -> Tree {
    let mut tree: Tree = listing.files.keys().map(|path| (path.clone(), Shape::File)).collect();
    tree.insert(RelPath::root(), Shape::Dir);
    for path in listing.files.keys() {
        add_ancestors(&mut tree, path);
    }
    for path in listing.dirs.iter().cloned().chain(named) {
        add_ancestors(&mut tree, &path);
        tree.entry(path).or_insert(Shape::Dir);
    }
    for found in found {
        let kind = match &found.kind {
            FoundKind::Symlink(target) => Kind::Symlink(target.clone()),
            FoundKind::Fifo => Kind::Fifo,
            FoundKind::Dir | FoundKind::File(_) => continue,
        };
        let under_a_file = found.path.ancestors().any(|dir| tree.get(&dir) == Some(&Shape::File));
        if !under_a_file && !tree.contains_key(&found.path) {
            add_ancestors(&mut tree, &found.path);
            tree.insert(found.path.clone(), Shape::Stays(kind));
        }
    }
    tree
}

/// Names of the tree and of the volume that are alike.
pub(super) fn alike(found: &[Found], tree: &Tree) -> Alike {
    let mut alike = Alike::default();
    let all: BTreeSet<&RelPath> = found.iter().map(|found| &found.path).chain(tree.keys()).collect();
    for path in all {
        alike.add(path);
    }
    alike
}

impl names::Tree for Tree {
    fn names(&self) -> Result<impl Iterator<Item = Result<Wanted>>> {
        Ok(self.iter().map(|(path, shape)| Ok(Wanted { path: path.clone(), is_dir: *shape == Shape::Dir })))
    }
}

fn add_ancestors(tree: &mut Tree, path: &RelPath) {
    for dir in path.ancestors() {
        // Those above a known one are known.
        if tree.contains_key(&dir) {
            return;
        }
        tree.insert(dir, Shape::Dir);
    }
}

/// What the volume has under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum There {
    /// Nothing.
    Nothing,
    /// A directory.
    Dir,
    /// A file, link or pipe.
    Other,
    /// A socket or a device, which is none of ours.
    LeftOut,
}

/// Directories of the facl that no listing shows.
///
/// An entry that is no listed file is a directory, a link's target, a pipe, a socket, or a file that was gone before it was sent. It is surely
/// a directory where it has a default ACL, or where the facl has entries below it. Where the backend keeps folders (`folders`), the others are
/// none: a directory would be listed. Where it does not, one is taken for a directory that may be searched by its owner, unless it is called
/// like a socket or the volume has something else there. A directory too many does less harm than one that a program waits for.
pub(super) fn named(
    access: &HashMap<RelPath, Access>,
    listing: &Listing,
    folders: bool,
    mut there: impl FnMut(&RelPath) -> There,
) -> Vec<RelPath> {
    let above: HashSet<RelPath> = access.keys().flat_map(RelPath::ancestors).collect();
    let none_of_its = |path: &RelPath| {
        path.is_root()
            || [LOST_AND_FOUND, STAGING_DIR].iter().any(|name| path.first() == name.as_bytes())
            || FACLS.iter().any(|name| path.as_bytes() == name.as_bytes())
            || listing.files.contains_key(path)
            || listing.dirs.contains(path)
            || path.ancestors().any(|dir| listing.files.contains_key(&dir))
    };
    let named = access.iter().filter(|(path, access)| {
        if none_of_its(path) {
            return false;
        }
        let surely = above.contains(path) || access.acls.iter().any(|acl| &*acl.name == ACL_DEFAULT);
        match there(path) {
            There::LeftOut => false,
            _ if surely => true,
            _ if folders => false,
            There::Dir => true,
            There::Other => false,
            There::Nothing => access.mode & 0o100 != 0 && !like_a_socket(path),
        }
    });
    named.map(|(path, _)| path.clone()).collect()
}

/// `mysqld.sock`, `.s.PGSQL.5432`, `S.gpg-agent`: names that programs give to their sockets.
fn like_a_socket(path: &RelPath) -> bool {
    let name = path.as_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    [&b".sock"[..], b".socket", b".ipc"].iter().any(|end| name.ends_with(end))
        || [&b".s."[..], b"S."].iter().any(|begin| name.starts_with(begin))
}

/// For the deletion guard: what is on the volume, what of it has no successor of its type, and what there is to be.
pub(super) fn counts(found: &[Found], tree: &Tree) -> ([Count; 3], NamesSum) {
    let ([mut before, mut gone, mut after], mut names) = ([Count::default(); 3], NamesSum::default());
    for found in found.iter().filter(|found| !found.path.is_root()) {
        let is_file = matches!(found.kind, FoundKind::File(_));
        before.add(is_file);
        let stays = matches!(
            (tree.get(&found.path), &found.kind),
            (Some(Shape::File), FoundKind::File(_)) | (Some(Shape::Dir), FoundKind::Dir) | (Some(Shape::Stays(_)), _)
        );
        if !stays {
            gone.add(is_file);
            names.add(found.path.as_bytes());
        }
    }
    for (path, shape) in tree {
        if !path.is_root() {
            after.add(*shape == Shape::File);
        }
    }
    ([before, gone, after], names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::Detail;
    use crate::volume::entry::{Hints, Meta, Time};
    use crate::volume::xattrs::Attribute;

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    fn listing(files: &[&str], dirs: &[&str]) -> Listing {
        let details = |names: &[&str], is_dir| names.iter().map(|name| Detail::example(name, is_dir, 1)).collect::<Vec<_>>();
        Listing::of([details(files, false), details(dirs, true)].concat(), 4000).unwrap()
    }

    fn found(name: &str, kind: FoundKind) -> Found {
        let hints = Hints { ctime: Time::default(), inode: 1 };
        Found { path: path(name), kind, meta: Meta::default(), hints, links: 1, device: (8, 1), sparse: false, fixed: false }
    }

    fn facl(entries: &[(&str, u32)]) -> HashMap<RelPath, Access> {
        entries.iter().map(|(name, mode)| (path(name), Access { mode: *mode, ..Access::default() })).collect()
    }

    fn names(mut paths: Vec<RelPath>) -> Vec<String> {
        paths.sort();
        paths.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn empty_directories_are_part_of_the_tree_and_so_is_what_holds_them() {
        let tree = shape(&[], &listing(&["a/b/c", "d"], &["e/f", "a"]), vec![path("g/h")]);
        let dirs: Vec<_> = tree.iter().filter(|(_, shape)| **shape == Shape::Dir).map(|(path, _)| path.to_string()).collect();
        assert_eq!(dirs[1..], ["a", "a/b", "e", "e/f", "g", "g/h"]);
    }

    #[test]
    fn links_and_pipes_stay_where_nothing_else_comes() {
        let link = || FoundKind::Symlink((*b"x").into());
        let there =
            [found("a", link()), found("dir", link()), found("f/l", link()), found("k/p", FoundKind::Fifo), found("old", FoundKind::Dir)];
        let tree = shape(&there, &listing(&["a", "f"], &["dir"]), vec![]);
        let stay: Vec<_> = tree.iter().filter(|(_, shape)| matches!(shape, Shape::Stays(_))).map(|(path, _)| path.to_string()).collect();
        assert_eq!(stay, ["k/p"]);
        assert_eq!(tree.get(&path("k")), Some(&Shape::Dir));
        let ([before, gone, after], _) = counts(&there, &tree);
        assert_eq!((before.all, gone.all, after), (5, 4, Count { files: 2, all: 5 }));
    }

    #[test]
    fn a_facl_lists_directories_as_far_as_it_can() {
        let mut access = facl(&[
            ("", 0o755),
            ("a", 0o755),
            ("listed", 0o700),
            ("pg_notify", 0o700),
            ("up/load", 0o777),
            ("up", 0o600),
            ("pipe", 0o644),
            ("run/mysqld.sock", 0o777),
            ("run/.s.PGSQL.5432", 0o777),
            ("script", 0o755),
            ("kept", 0o600),
            ("live", 0o755),
            ("default", 0o600),
            ("lost+found", 0o700),
            ("permissions.facl", 0o755),
            ("a/below-a-file", 0o755),
        ]);
        let default = Attribute { name: (*ACL_DEFAULT).into(), value: Box::default() };
        access.get_mut(&path("default")).unwrap().acls.push(default);
        let there = |path: &RelPath| match path.as_bytes() {
            b"script" => There::Other,
            b"kept" => There::Dir,
            b"live" => There::LeftOut,
            _ => There::Nothing,
        };
        let listing = listing(&["a"], &["listed"]);
        let s3 = names(named(&access, &listing, false, there));
        assert_eq!(s3, ["default", "kept", "pg_notify", "up", "up/load"]);
        let with_folders = names(named(&access, &listing, true, there));
        assert_eq!(with_folders, ["default", "up"], "an empty directory would be listed");
    }
}
