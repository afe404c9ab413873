use super::*;
use crate::format::entries::tests::all;
use crate::push::hints::RACY;
use assert_fs::TempDir;
use jiff::SignedDuration;

struct Volume {
    dir: TempDir,
    hasher: Hasher,
    scratch: Scratch,
    stop: Stop,
    exclude: Exclude,
}

impl Volume {
    fn new() -> Self {
        let (hasher, scratch, stop) = (Hasher::default(), Scratch::new().unwrap(), Stop::default());
        Self { dir: TempDir::new().unwrap(), hasher, scratch, stop, exclude: Exclude::default() }
    }

    fn try_look(&self, known: &Known) -> Result<Tree> {
        let root = Root::open(self.dir.path())?;
        let Self { hasher, scratch, stop, exclude, .. } = self;
        observe(ObserveContext { root: &root, exclude, hasher, scratch, stop }, known)
    }

    fn look(&self, known: &Known) -> Tree {
        self.try_look(known).unwrap()
    }
}

#[test]
fn a_second_look_reads_nothing_and_sees_the_same() {
    let volume = Volume::new();
    let file = |name: &str| volume.dir.path().join(name);
    std::fs::write(file("a"), "aaaa").unwrap();
    std::fs::hard_link(file("a"), file("b")).unwrap();
    let first = volume.look(&Known::default());
    assert_eq!(volume.hasher.bytes_read(), 4, "one inode is read once");
    let entries = all(&first.entries);
    assert_eq!(entries[2].file().unwrap().link, Some(entries[1].path.clone()));
    let second = volume.look(&Known::of(&first.entries));
    assert_eq!((volume.hasher.bytes_read(), all(&second.entries)), (4, entries));
    assert_eq!(differing(&first.entries, &second.entries, &volume.exclude).unwrap(), []);
    std::fs::write(file("a"), "bbbb").unwrap();
    std::fs::write(file("c"), "").unwrap();
    let third = volume.look(&Known::of(&first.entries));
    assert_eq!(volume.hasher.bytes_read(), 8);
    let moved: Vec<String> =
        differing(&first.entries, &third.entries, &volume.exclude).unwrap().iter().map(|moved| moved.path.to_string()).collect();
    assert_eq!(moved[1..], ["a", "b", "c"], "and the directory that holds them");
}

/// As a share whose server does not number its files.
#[test]
fn inode_numbers_that_do_not_stay_are_no_change_and_vouch_for_nothing() {
    let volume = Volume::new();
    for name in ["a", "b"] {
        std::fs::write(volume.dir.path().join(name), name).unwrap();
    }
    let first = volume.look(&Known::default());
    let mut numbered = EntriesWriter::new(&volume.scratch, "numbered").unwrap();
    for mut entry in all(&first.entries) {
        if let Kind::File(FileEntry { hints: Some(hints), .. }) = &mut entry.kind {
            hints.inode += 1;
        }
        numbered.push(&entry).unwrap();
    }
    let numbered = numbered.finish().unwrap();
    let second = volume.look(&Known::of(&numbered));
    assert_eq!(volume.hasher.bytes_read(), 4, "all was read again");
    assert_eq!(differing(&numbered, &second.entries, &volume.exclude).unwrap(), []);
    std::fs::write(volume.dir.path().join("b"), "c").unwrap();
    assert_eq!(differing(&numbered, &volume.look(&Known::of(&numbered)).entries, &volume.exclude).unwrap().len(), 1);
}

#[test]
fn what_hints_do_not_vouch_for_is_read() {
    let volume = Volume::new();
    for name in ["a", "b"] {
        std::fs::write(volume.dir.path().join(name), name).unwrap();
    }
    let tree = volume.look(&Known::default());
    let entries = all(&tree.entries);
    let ctime = entries[1].file().unwrap().hints.unwrap().ctime.secs;
    let at = |after: i64| Timestamp::from_second(ctime + after).unwrap();
    let read = |known: &Known| {
        let before = volume.hasher.bytes_read();
        volume.look(known);
        volume.hasher.bytes_read() - before
    };
    let (none, all) = (Rehash::of_all(at(0)), Rehash::new(at(0), SignedDuration::ZERO, at(0), true));
    assert_eq!(read(&Known::of_committed(&tree.entries, at(RACY), &none)), 2, "too young");
    assert_eq!(read(&Known::of_committed(&tree.entries, at(RACY + 2), &none)), 0);
    assert_eq!(read(&Known::of_committed(&tree.entries, at(RACY + 2), &all)), 2, "due");
    assert_eq!(read(&Known::of_sent(&tree.entries, at(RACY), 0, None)), 2, "sent, and too young");
    assert_eq!(read(&Known::of_sent(&tree.entries, at(RACY + 2), 0, None)), 0);
    assert_eq!(read(&Known::of_sent(&tree.entries, at(RACY), 1, None)), 0, "not sent");
    let listing = Listing::from([(Box::from(&b"a"[..]), 1)]);
    assert_eq!(read(&Known::of_sent(&tree.entries, at(RACY), 1, Some(&listing))), 1, "sent because it was lost");
    assert_eq!(read(&Known::but(&tree.entries, &HashSet::from([entries[1].path.clone()]))), 1);
}

#[test]
fn a_volume_in_mid_pull_is_not_pushed() {
    let volume = Volume::new();
    std::fs::create_dir(volume.dir.path().join(".scribe-staging")).unwrap();
    let failure = volume.try_look(&Known::default()).unwrap_err();
    assert_eq!(failure.reason, Reason::SourceChanging);
}

#[test]
fn a_large_file_that_has_another_size_is_left_to_be_read_as_it_is_sent() {
    let volume = Volume::new();
    let file = |name: &str| volume.dir.path().join(name);
    for (name, content) in [("a", "aaaa"), ("b", "bb"), ("linked", "lllll"), ("odd\nname", "ooooo"), ("same", "ssss")] {
        std::fs::write(file(name), content).unwrap();
    }
    std::fs::hard_link(file("linked"), file("linked too")).unwrap();
    let before = volume.look(&Known::default());
    let unread = |tree: &Tree| -> Vec<String> {
        let entries = all(&tree.entries).into_iter();
        entries.filter(|entry| entry.file().is_some_and(|file| file.sha256 == Digest::UNREAD)).map(|entry| entry.path.to_string()).collect()
    };
    let first = volume.look(&Known::default().reading_later(Some(4)));
    assert_eq!((unread(&first), first.entries.totals().unread), (vec!["a".to_owned(), "same".to_owned()], 2));
    std::fs::write(file("a"), "aaaaa").unwrap();
    std::fs::write(file("same"), "SSSS").unwrap();
    let at = before.began;
    for known in [Known::of_sizes(&before.entries), Known::of_committed(&before.entries, at, &Rehash::of_all(at))] {
        assert_eq!(unread(&volume.look(&known.reading_later(Some(4)))), ["a"]);
        assert_eq!(unread(&volume.look(&known.reading_later(Some(6)))), Vec::<String>::new());
        assert_eq!(unread(&volume.look(&known)), Vec::<String>::new());
    }

    // That it was not read vouches for nothing, and what is read then is no change.
    let later = volume.look(&Known::of_sizes(&before.entries).reading_later(Some(4)));
    let read = volume.hasher.bytes_read();
    let again = volume.look(&Known::of(&later.entries));
    assert_eq!((volume.hasher.bytes_read() - read, unread(&again)), (5, Vec::new()));
    assert_eq!(differing(&later.entries, &again.entries, &volume.exclude).unwrap(), []);
    std::fs::write(file("a"), "other").unwrap();
    assert_eq!(differing(&later.entries, &volume.look(&Known::default()).entries, &volume.exclude).unwrap().len(), 1);
}
