//! The planner against small trees.

use super::*;
use crate::format::entries::tests::{all, tree as stored};
use crate::name_set::ContentSet;
use crate::push::object_names::emptied;
use crate::volume::entry::Meta;

fn entry(path: &str, kind: Kind) -> Entry {
    let meta = Meta { mode: 0o644, ..Meta::default() };
    Entry { path: RelPath::new(path.as_bytes()).unwrap(), meta, kind }
}

fn file(path: &str, content: u8) -> Entry {
    let file =
        FileEntry { size: 1, sha256: Digest([content; 32]), at: Location::Own, changed: 1, link: None, holes: Box::default(), hints: None };
    entry(path, Kind::File(file))
}

fn tree(entries: impl IntoIterator<Item = Entry>) -> Vec<Entry> {
    let mut tree = vec![entry("", Kind::Dir)];
    tree.extend(entries);
    tree
}

/// A plan, with its lists read.
struct Read {
    entries: Vec<Entry>,
    differs: bool,
    own: Vec<String>,
    staged: Vec<String>,
    objects: usize,
    lost_objects: usize,
    gone: Vec<String>,
    files: (u64, u64),
    all: (u64, u64),
}

fn read(plan: &PushPlan) -> Read {
    let paths = |uploads: &Spill<Upload>| uploads.read().unwrap().map(|upload| upload.unwrap().path.to_string()).collect();
    let mut gone: Vec<String> = plan.gone.read().unwrap().map(|name| String::from_utf8(name.unwrap().to_vec()).unwrap()).collect();
    gone.sort();
    Read {
        entries: all(&plan.entries),
        differs: plan.differs,
        own: paths(&plan.own),
        staged: paths(&plan.staged),
        objects: plan.objects.len(),
        lost_objects: plan.lost_objects.len(),
        gone,
        files: (plan.before.files, plan.lost.files),
        all: (plan.before.all, plan.lost.all),
    }
}

fn with(old: &[Entry], listing: Option<&Listing>, ours: &[&str], new: &[Entry]) -> Read {
    with_altered(old, listing, ours, new, &[])
}

fn with_altered(old: &[Entry], listing: Option<&Listing>, ours: &[&str], new: &[Entry], altered: &[&str]) -> Read {
    let scratch = Scratch::new().unwrap();
    let (old, new, ours, there) = (stored(&scratch, old), stored(&scratch, new), names_of(ours), ContentSet::default());
    let altered = names_of(altered);
    let state = RemoteState {
        committed: Some(&old),
        listing,
        strays: Strays::Named(&ours),
        there: &there,
        folders: true,
        refuses_long_names: false,
        altered: &altered,
        collisions: None,
        unreadable: None,
        exclude: &Exclude::default(),
    };
    read(&plan(state, &new, 2, "r", &scratch).unwrap())
}

fn names_of(names: &[&str]) -> NameSet {
    let mut set = NameSet::default();
    for name in names {
        set.insert(name.as_bytes());
    }
    set
}

fn listing_of(objects: &[(&str, u64)]) -> Listing {
    objects.iter().map(|(name, size)| (name.as_bytes().into(), *size)).collect()
}

fn against(old: &[Entry], new: &[Entry]) -> Read {
    with(old, None, &[], new)
}

fn same(old: &[Entry], new: &[Entry]) -> bool {
    let scratch = Scratch::new().unwrap();
    unchanged(&stored(&scratch, old), &stored(&scratch, new), &Exclude::default()).unwrap()
}

#[test]
fn an_unchanged_tree_needs_nothing() {
    let old = tree([file("a", 1), file("b", 2)]);
    assert!(same(&old, &old));
    assert!(!same(&old, &tree([file("a", 1), file("b", 3)])) && !same(&old, &old[..2]) && !same(&old[..2], &old));
    let plan = against(&old, &old);
    assert!(!plan.differs && plan.own.is_empty() && plan.staged.is_empty() && plan.objects == 0 && plan.gone.is_empty());
    assert_eq!((plan.entries, plan.files), (old, (2, 0)));
}

#[test]
fn new_names_go_in_place_and_replaced_ones_are_staged() {
    let plan = against(&tree([file("a", 1), file("b", 1), file("c", 1)]), &tree([file("a", 1), file("b", 2), file("d", 2)]));
    assert_eq!((plan.own, plan.staged, plan.gone), (vec!["d".into()], vec!["b".into()], vec!["c".to_owned()]));
    let generations: Vec<_> = plan.entries.iter().filter_map(Entry::file).map(|f| f.changed).collect();
    assert_eq!(generations, [1, 2, 2]);
    assert_eq!(plan.files, (3, 1));
}

#[test]
fn a_change_of_metadata_alone_sends_no_content() {
    let mut new = tree([file("a", 1)]);
    new[1].meta.mode = 0o600;
    let plan = against(&tree([file("a", 1)]), &new);
    assert!(plan.differs && plan.own.is_empty() && plan.staged.is_empty() && plan.gone.is_empty());
}

#[test]
fn what_stands_in_the_way_of_the_old_tree_is_staged() {
    let file_to_dir = against(&tree([file("a", 1)]), &tree([entry("a", Kind::Dir), file("a/b", 2), file("ab", 2)]));
    assert_eq!((file_to_dir.staged, file_to_dir.own), (vec!["a/b".into()], vec!["ab".to_owned()]));
    assert_eq!((file_to_dir.gone, file_to_dir.files), (vec!["a".to_owned()], (1, 1)));
    let dir_to_file = against(&tree([entry("a", Kind::Dir), file("a/b", 2)]), &tree([file("a", 1)]));
    assert_eq!((dir_to_file.staged, dir_to_file.gone), (vec!["a".into()], vec!["a/b".to_owned()]));
}

#[test]
fn entries_of_every_type_are_counted_but_the_root() {
    let link = |name, target: &[u8]| entry(name, Kind::Symlink(target.into()));
    let old = tree([entry("d", Kind::Dir), link("d/l", b"x"), link("m", b"x"), file("n", 1), entry("p", Kind::Fifo)]);
    let emptied = against(&old, &tree([]));
    assert_eq!((emptied.files, emptied.all), ((1, 1), (5, 5)));
    let changed = against(&old, &tree([entry("d", Kind::Dir), link("m", b"y"), link("n", b"x")]));
    assert_eq!((changed.files, changed.all), ((1, 1), (5, 3)), "another target is a change, another type a removal");
}

#[test]
fn untrusted_names_share_objects_and_drop_them_when_unused() {
    let old = against(&tree([]), &tree([file("a\n", 1), file("b\n", 1)]));
    assert_eq!((old.objects, old.own.len()), (1, 0));
    let one_left = against(&old.entries, &tree([file("b\n", 1)]));
    assert!(one_left.differs && one_left.objects == 0 && one_left.gone.is_empty());
    let none_left = against(&old.entries, &tree([file("b", 1)]));
    assert_eq!((none_left.own, none_left.gone), (vec!["b".into()], vec![format!(".scribe/objects/{}", "01".repeat(32))]));
}

#[test]
fn folders_that_nothing_is_left_in_are_listed() {
    let names = |names: &[&str]| names.iter().map(|name| Ok(name.as_bytes().into())).collect::<Vec<_>>().into_iter();
    let gone = names(&["a/b/c/x", "a/b/y", "d/e/f/x", "top", "g/x", ".scribe/objects/1"]);
    let kept = names(&["a-", "a/bc", "d/e-", "d/z/x", "g"]);
    assert_eq!(emptied(gone, kept).unwrap().into_iter().collect::<Vec<_>>(), [".scribe", "a/b", "d/e", "g"]);
}

#[test]
fn a_listing_repairs_what_is_lost_by_way_of_the_staged_folder() {
    let old = tree([file("a", 1), file("b", 1), file("c", 1), file("o\n", 3)]);
    let mut old = against(&tree([]), &old).entries;
    old[0] = entry("", Kind::Dir);
    let listing = listing_of(&[("a", 1), ("b", 7), ("x", 1), (".scribe/commit.json", 9), (".scribe/objects/ff", 1)]);
    let plan = with(&old, Some(&listing), &[], &old);
    assert!(!plan.differs);
    assert_eq!(
        (plan.own, plan.staged, plan.objects),
        (vec![], vec!["b".to_owned(), "c".into()], 0),
        "nothing committed is written in place"
    );
    assert_eq!((plan.lost_objects, plan.gone, plan.files), (1, vec![".scribe/objects/ff".to_owned()], (4, 0)));
}

/// Under a name that the remote takes for another one, it would take the place of that.
#[test]
fn an_unusual_name_is_never_written_in_place_beside_a_committed_tree() {
    let (old, new) = (tree([file("a", 1), file("b!", 1)]), tree([file("a", 1), file("b!", 1), file("c!", 1), file("d", 1)]));
    let plan = against(&old, &new);
    assert_eq!((plan.own, plan.staged), (vec!["d".to_owned()], vec!["c!".to_owned()]));

    let listing = listing_of(&[("a", 1), (".scribe/commit.json", 9)]);
    let lost = with(&old, Some(&listing), &[], &old);
    assert_eq!((lost.differs, lost.staged), (true, vec!["b!".to_owned()]), "only a new revision can say where it is");
    let altered = with_altered(&old, Some(&listing), &[], &old, &["b!"]);
    assert_eq!((altered.differs, altered.staged, altered.objects, altered.gone), (true, vec![], 1, vec![]));
    assert_eq!(altered.entries[2].file().map(|file| (file.at, file.changed)), Some((Location::Object, 1)));
}

/// What no tree of ours names is left alone, and what goes is counted.
#[test]
fn of_what_no_manifest_holds_only_what_a_dead_push_named_goes() {
    let old = tree([file("a", 1)]);
    let listing = listing_of(&[("a", 1), ("dead", 1), ("dead.0a1b2c3d.partial", 1), ("photo", 1), ("photo.0a1b2c3d.partial", 1)]);
    let plan = with(&old, Some(&listing), &["a", "dead"], &old);
    assert_eq!((plan.gone, plan.files), (vec!["dead".to_owned(), "dead.0a1b2c3d.partial".into()], (3, 2)));
    // A name that has come back is no deletion.
    let plan = with(&old, Some(&listing), &["a", "dead"], &tree([file("a", 1), file("dead", 2)]));
    assert_eq!((plan.gone, plan.files), (vec!["dead.0a1b2c3d.partial".to_owned()], (2, 1)));
}

#[test]
fn what_a_path_without_a_manifest_holds_is_not_written_over_before_the_commit() {
    let scratch = Scratch::new().unwrap();
    let listing = listing_of(&[("a", 1), ("x", 1), ("f", 1), ("d/below", 1), ("sent", 1), (".scribe/claim.json", 1)]);
    let new = tree([file("a", 1), file("d", 1), entry("f", Kind::Dir), file("f/x", 1), file("new", 1), file("sent", 5)]);
    let (new, mut there) = (stored(&scratch, &new), ContentSet::default());
    there.insert(b"sent", Digest([5; 32]));
    let state = RemoteState {
        committed: None,
        listing: Some(&listing),
        strays: Strays::All,
        there: &there,
        folders: true,
        refuses_long_names: false,
        altered: &NameSet::default(),
        collisions: None,
        unreadable: None,
        exclude: &Exclude::default(),
    };
    let plan = read(&plan(state, &new, 1, "r", &scratch).unwrap());
    assert_eq!((plan.own, plan.staged), (vec!["new".to_owned()], vec!["a".to_owned(), "d".into(), "f/x".into()]));
    assert_eq!((plan.gone, plan.files, plan.differs), (vec!["d/below".to_owned(), "f".into(), "x".into()], (5, 3), true));
}
