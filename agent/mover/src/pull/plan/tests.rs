use super::*;
use crate::pull::compare::{Content, compare};
use crate::volume::entry::{FileEntry, Hints, Meta, Time};
use crate::volume::merge_join::join;

const TIME: Time = Time { secs: 7, nanos: 7 };

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

fn meta() -> Meta {
    Meta { mode: 0o644, mtime: TIME, ..Meta::default() }
}

fn entry(name: &str, kind: Kind) -> Entry {
    Entry { path: path(name), meta: meta(), kind }
}

fn file(name: &str, changed: u64, link: Option<&str>) -> Entry {
    let file = FileEntry {
        size: 3,
        sha256: Digest([1; 32]),
        at: Location::Own,
        changed,
        link: link.map(path),
        holes: Box::default(),
        hints: None,
    };
    entry(name, Kind::File(file))
}

fn found(name: &str, kind: FoundKind, inode: u64, links: u64) -> Found {
    Found { path: path(name), kind, meta: meta(), hints: Hints { ctime: TIME, inode }, links, device: (8, 1), sparse: false, fixed: false }
}

fn root() -> Found {
    found("", FoundKind::Dir, 1, 2)
}

/// A plan for these entries and this volume; `wrong` are the files whose content is not the committed one.
fn planned(entries: &[Entry], there: &[Found], wrong: &[&str]) -> PullPlan {
    let mut facts = Differences::default();
    let stream = || entries.iter().cloned().map(Ok);
    for pair in join(stream(), there.iter().cloned().map(Ok)) {
        let (entry, found) = pair.unwrap();
        let right = entry.as_ref().is_none_or(|entry| !wrong.iter().any(|name| entry.path == path(name)));
        facts.add(entry.as_ref(), found.as_ref(), right);
    }
    plan(stream(), facts).unwrap()
}

fn keep_all(entries: &[Entry]) -> Vec<Action> {
    vec![Action::Keep; entries.len()]
}

#[test]
fn content_is_believed_only_when_nothing_changed_since_the_applied_revision() {
    let wanted = file("a", 3, None);
    let there = found("a", FoundKind::File(3), 2, 1);
    let touched = Found { meta: Meta { mtime: Time::default(), ..meta() }, ..there.clone() };
    let of = |there: Option<&Found>, included| compare(&wanted, there, included);
    assert_eq!(of(Some(&there), Some(true)), Content::Right);
    assert_eq!(of(Some(&there), Some(false)), Content::Unsure, "the same times prove nothing across an edit");
    assert_eq!(of(Some(&there), None), Content::Unsure);
    assert_eq!(of(Some(&touched), Some(false)), Content::Wrong);
    assert_eq!(of(Some(&touched), Some(true)), Content::Unsure);
    assert_eq!(of(None, Some(true)), Content::Wrong);
}

#[test]
fn a_tree_in_place_needs_nothing() {
    let entries = [entry("", Kind::Dir), file("a", 1, None), file("b", 1, Some("a"))];
    let there = [root(), found("a", FoundKind::File(3), 2, 2), found("b", FoundKind::File(3), 2, 2)];
    assert_eq!(planned(&entries, &there, &[]), PullPlan { before: Count::of_files(2), actions: keep_all(&entries), ..PullPlan::default() });
}

#[test]
fn names_that_share_an_inode_wrongly_are_put_apart() {
    let entries = [entry("", Kind::Dir), file("a", 1, None), file("b", 1, None)];
    let there = [root(), found("a", FoundKind::File(3), 2, 2), found("b", FoundKind::File(3), 2, 2)];
    let plan = planned(&entries, &there, &[]);
    assert_eq!(plan.actions, [Action::Keep, Action::PutFile, Action::PutFile]);
    assert_eq!(plan.shared_content(), HashMap::from([(Digest([1; 32]), 2)]));
    let fetches: Vec<_> = plan.fetches(entries.iter().cloned().map(Ok)).map(|fetch| fetch.unwrap().1.path).collect();
    assert_eq!(fetches, [path("a")], "one for both");
    assert!(plan.wants(&Digest([1; 32])) && !plan.wants(&Digest([2; 32])));
}

#[test]
fn names_that_should_share_an_inode_are_linked() {
    let entries = [entry("", Kind::Dir), file("a", 1, None), file("b", 1, Some("a"))];
    let there = [root(), found("a", FoundKind::File(3), 2, 1), found("b", FoundKind::File(3), 3, 1)];
    assert_eq!(planned(&entries, &there, &[]).actions, [Action::Keep, Action::Keep, Action::Link]);
    assert_eq!(planned(&entries, &there, &["a"]).actions, [Action::Keep, Action::PutFile, Action::Link]);
    let together = [root(), found("a", FoundKind::File(3), 2, 2), found("b", FoundKind::File(3), 2, 2)];
    assert_eq!(planned(&entries, &together, &["a"]).actions, [Action::Keep, Action::PutFile, Action::Link]);
}

#[test]
fn metadata_and_targets_are_not_content() {
    let link = |target: &[u8]| Kind::Symlink(target.into());
    let entries = [entry("", Kind::Dir), file("a", 1, None), entry("l", link(b"x")), entry("m", link(b"y")), entry("p", Kind::Fifo)];
    let mut there = vec![
        root(),
        found("a", FoundKind::File(3), 2, 1),
        found("l", FoundKind::Symlink((*b"x").into()), 3, 1),
        found("m", FoundKind::Symlink((*b"other").into()), 4, 1),
    ];
    there[1].meta.mode = 0o600;
    let plan = planned(&entries, &there, &[]);
    assert_eq!(plan.actions, [Action::Keep, Action::Meta, Action::Keep, Action::PutSymlink, Action::PutFifo]);
    assert!(!plan.is_metadata_alone());
    assert!(planned(&entries[..2], &there[..2], &[]).is_metadata_alone());
}

#[test]
fn the_other_names_of_a_file_that_is_left_out_are_made_without_it() {
    let entries = [entry("", Kind::Dir), file("a", 1, None), file("b", 1, Some("a")), file("c", 1, Some("a"))];
    let mut facts = Differences::default();
    facts.add(entries.first(), Some(&root()), true);
    facts.leave_out(&entries[1]);
    facts.add(entries.get(2), None, false);
    facts.add(entries.get(3), Some(&found("c", FoundKind::File(3), 4, 1)), true);
    assert_eq!(facts.left_out(), 1);
    let plan = plan(entries.iter().cloned().map(Ok), facts).unwrap();
    assert_eq!(plan.actions, [Action::Keep, Action::Keep, Action::PutFile, Action::Keep]);

    let mut facts = Differences::default();
    facts.add(entries.first(), Some(&root()), true);
    facts.add(entries.get(1), None, false);
    facts.leave_out(&entries[2]);
    let plan = super::plan(entries[..3].iter().cloned().map(Ok), facts).unwrap();
    assert_eq!(plan.actions, [Action::Keep, Action::PutFile, Action::Keep]);
}

/// A file whose first name is left out becomes several, of one content; of all others, a million say, the plan keeps nothing.
#[test]
fn content_that_is_listed_elsewhere_is_kept_only_where_files_may_share_it() {
    let entries = [entry("", Kind::Dir), file("a", 1, None), file("b", 1, Some("a")), file("c", 1, Some("a")), file("d", 2, None)];
    let mut facts = Differences::default().unlisted();
    facts.add(entries.first(), Some(&root()), true);
    facts.leave_out(&entries[1]);
    entries[2..].iter().for_each(|entry| facts.add(Some(entry), None, false));
    let plan = plan(entries.iter().cloned().map(Ok), facts).unwrap();
    assert_eq!(plan.actions, [Action::Keep, Action::Keep, Action::PutFile, Action::PutFile, Action::PutFile]);
    assert_eq!(plan.shared_content(), HashMap::from([(Digest([1; 32]), 2)]));
    assert_eq!(plan.wanted.len(), 2);
}

#[test]
fn entries_of_every_type_are_counted_but_the_root() {
    let link = |target: &[u8]| FoundKind::Symlink(target.into());
    let there = [root(), found("d", FoundKind::Dir, 2, 2), found("l", link(b"x"), 3, 1), found("p", FoundKind::Fifo, 4, 1)];
    let emptied = planned(&[entry("", Kind::Dir)], &there, &[]);
    assert_eq!((emptied.before, emptied.lost), (Count { files: 0, all: 3 }, Count { files: 0, all: 3 }));
    let entries = [entry("", Kind::Dir), entry("d", Kind::Symlink((*b"l").into())), entry("l", Kind::Symlink((*b"y").into()))];
    assert_eq!(planned(&entries, &there, &[]).lost, Count { files: 0, all: 2 }, "another target is no removal");
}

#[test]
fn what_stands_in_the_way_goes_first_and_the_rest_last() {
    let entries = [entry("", Kind::Dir), file("d", 1, None), entry("f", Kind::Dir)];
    let there = [
        root(),
        found("d", FoundKind::Dir, 2, 2),
        found("d/x", FoundKind::File(3), 3, 1),
        found("f", FoundKind::File(3), 4, 1),
        found("z", FoundKind::Dir, 5, 2),
        found("z/y", FoundKind::File(3), 6, 1),
    ];
    let plan = planned(&entries, &there, &["d"]);
    assert_eq!(plan.early, [path("f"), path("d/x"), path("d")]);
    assert_eq!(plan.actions, [Action::Keep, Action::PutFile, Action::MakeDir]);
    assert_eq!(plan.late, [path("z/y"), path("z")]);
    assert_eq!((plan.before, plan.lost), (Count { files: 3, all: 5 }, Count { files: 3, all: 5 }));
}
