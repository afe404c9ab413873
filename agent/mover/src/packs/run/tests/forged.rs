//! Runs that no writer wrote, with every hash right: what somebody may put into a bucket who knows the format.

use super::*;
use crate::packs::limits::LARGEST_ROW;
use crate::packs::run::index::{Index, Of};
use crate::packs::run::window::Window;

/// The plain windows of a run, which somebody may have written who knows the format, with rows as they are said to be.
#[derive(Clone, Debug)]
struct Forged {
    entries: Vec<u8>,
    hashes: Vec<u8>,
    places: Vec<u8>,
    packs: Vec<u8>,
    counts: Counts,
    first: (RelPath, RefKey, ObjectId),
}

impl Forged {
    fn of(model: &Model) -> Option<Self> {
        let (bytes, of) = write(model);
        let run = Run::open(&bytes, &of, block()).unwrap();
        let plain = |window: Option<&Window>| Some(run.window(window?).unwrap());
        let index = &run.index;
        Some(Self {
            entries: plain(index.entries.first().map(|of| &of.window))?,
            hashes: plain(index.hashes.first().map(|of| &of.window))?,
            places: plain(index.places.first())?,
            packs: plain(index.packs.first().map(|of| &of.window))?,
            counts: of.counts,
            first: (index.entries[0].first.clone(), index.hashes[0].first, index.packs[0].first),
        })
    }

    /// The run, every hash of it right.
    fn sealed(&self) -> (Vec<u8>, RunRef) {
        let mut bytes = Vec::new();
        let mut index = Index::new(block());
        let mut window = |plain: &[u8]| {
            let window = Window::write(plain, bytes.len() as u64, &mut bytes).unwrap();
            assert_eq!(window.end(), bytes.len() as u64);
            window
        };
        index.entries.push(Of { window: window(&self.entries), rows: self.counts.entries, first: self.first.0.clone() });
        index.hashes.push(Of { window: window(&self.hashes), rows: self.counts.blocks, first: self.first.1 });
        index.places.push(window(&self.places));
        index.packs.push(Of { window: window(&self.packs), rows: self.counts.packs, first: self.first.2 });
        let (tail, written) = index.tail(bytes.len() as u64).unwrap();
        bytes.extend_from_slice(&tail);
        (bytes, written.named(ID, 1, 1))
    }

    fn read(&self) -> Result<Model> {
        let (bytes, of) = self.sealed();
        read(&bytes, &of)
    }
}

/// How to alter bytes.
fn altered(bytes: &[u8], (at, other, how): (prop::sample::Index, prop::sample::Index, u8)) -> Vec<u8> {
    let (at, other) = (at.index(bytes.len()), other.index(bytes.len()));
    let mut altered = bytes.to_vec();
    match how % 5 {
        0 => altered[at] ^= 1 << (how % 8),
        1 => altered.truncate(at.max(1)),
        2 => altered = [&bytes[..at], &bytes[other..]].concat(),
        3 => drop(altered.splice(at..=at, [0xff; 9].into_iter().chain([1]))),
        _ => altered[at] = how,
    }
    if altered.is_empty() { vec![0] } else { altered }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Rows come in order and whole, or not at all, whatever stands in a window whose hash is right. A `BTreeMap` would not show two rows of
    /// one key, so that their number is compared.
    #[test]
    fn what_no_writer_wrote_is_read_within_bounds(
        model in model().prop_filter("all sections", |model| Forged::of(model).is_some()), which in 0..4_usize, how: (prop::sample::Index, prop::sample::Index, u8),
    ) {
        let mut forged = Forged::of(&model).unwrap();
        let window = [&mut forged.entries, &mut forged.hashes, &mut forged.places, &mut forged.packs].into_iter().nth(which).unwrap();
        *window = altered(window, how);
        match forged.read() {
            Ok(read) => {
                let rows = [read.entries.len(), read.blocks.len(), read.packs.len()].map(|rows| rows as u64);
                prop_assert_eq!(rows, [forged.counts.entries, forged.counts.blocks, forged.counts.packs]);
                // Whatever is taken for a map is one that could have been written.
                let (bytes, of) = write(&read);
                prop_assert_eq!(self::read(&bytes, &of).unwrap(), read);
            }
            Err(failure) => prop_assert_eq!(failure.reason, Reason::RemoteInconsistent),
        }
    }

    #[test]
    fn no_bytes_at_all_make_it_panic(windows in [vec(any::<u8>(), 1..60), vec(any::<u8>(), 1..60), vec(any::<u8>(), 1..60), vec(any::<u8>(), 1..60)]) {
        let [entries, hashes, places, packs] = windows;
        let counts = Counts { entries: 1, blocks: 2, packs: 1 };
        let forged = Forged { entries, hashes, places, packs, counts, first: (path(b"a"), RefKey { file: 0, block: 0 }, ID) };
        if let Err(failure) = forged.read() {
            prop_assert_eq!(failure.reason, Reason::RemoteInconsistent);
        }
    }
}

fn sample() -> Forged {
    let dir = Node { meta: Meta::default(), kind: Kind::Dir };
    let place = Place { offset: 0, stored: 10, form: Form::Zstd, plain: 16384, part: None, born: 1 };
    let of = BlockRef { hash: Hash([5; 16]), pack: ID, place };
    let mut model = Model::default();
    model.entries.insert(path(b"a"), Some(dir.clone()));
    model.entries.insert(path(b"b"), Some(dir));
    model.blocks.insert(RefKey { file: 0, block: 0 }, Some(of));
    model.blocks.insert(RefKey { file: 0, block: 1 }, None);
    model.packs.insert(ID, Some(PackRow { size: 1000, md5: [1; 16], live: 10, blocks: 1, born: 1 }));
    let forged = Forged::of(&model).unwrap();
    assert_eq!(forged.read().unwrap(), model);
    forged
}

/// The failure of a run, which is opened only if `opens`.
fn refused(bytes: &Vec<u8>, of: &RunRef) -> String {
    let failure = read(bytes, of).unwrap_err();
    assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
    failure.message
}

#[test]
fn a_window_has_nothing_behind_its_rows() {
    let more: [fn(&mut Forged) -> &mut Vec<u8>; 4] =
        [|forged| &mut forged.entries, |forged| &mut forged.hashes, |forged| &mut forged.places, |forged| &mut forged.packs];
    for window in more {
        let mut forged = sample();
        window(&mut forged).push(0);
        let (bytes, of) = forged.sealed();
        assert!(refused(&bytes, &of).contains("more bytes than rows"));
    }
}

/// One that is whole, and not the one that the manifest names.
#[test]
fn another_run_is_refused() {
    let (named, mut other) = (sample(), sample());
    let at = other.hashes.len() - 16;
    other.hashes[at..].fill(6);
    let ((_, of), (bytes, its_own)) = (named.sealed(), other.sealed());
    assert_eq!((of.size, of.tail, of.counts), (its_own.size, its_own.tail, its_own.counts));
    assert!(read(&bytes, &its_own).is_ok());
    assert!(refused(&bytes, &of).contains("its sum is another one"));
}

#[test]
fn two_rows_of_one_key_are_refused() {
    let forged = sample();
    // The second row: shares 0 bytes, 1 more, "b".
    let at = forged.entries.windows(3).position(|three| three == [0, 1, b'b']).unwrap();
    for (name, two) in [(b'a', "out of order"), (b'A', "out of order")] {
        let mut forged = forged.clone();
        forged.entries[at + 2] = name;
        let (bytes, of) = forged.sealed();
        assert!(refused(&bytes, &of).contains(two));
    }
    let mut first = forged.clone();
    first.first.0 = path(b"A");
    let (bytes, of) = first.sealed();
    assert!(refused(&bytes, &of).contains("another row than the index says"));
}

#[test]
fn names_that_no_push_records_are_refused() {
    for (name, what) in [(&b".."[..], "impossible path"), (b"/x", "impossible path"), (b".scribe-staging", "pulls keep for themselves")] {
        let mut forged = sample();
        let at = forged.entries.windows(3).position(|three| three == [0, 1, b'b']).unwrap();
        forged.entries.splice(at..at + 3, [0, name.len().try_into().unwrap()].into_iter().chain(name.iter().copied()));
        forged.entries[0] += u8::try_from(name.len() - 1).unwrap();
        let (bytes, of) = forged.sealed();
        assert!(refused(&bytes, &of).contains(what), "{name:?}");
    }
}

/// Lengths that the index claims, under hashes that are right: known to be impossible before anything is unpacked.
#[test]
fn a_window_has_the_length_that_it_may_have() {
    let forge = |plain: &[u8], rows, claims: u32| {
        let (mut bytes, mut index) = (Vec::new(), Index::new(block()));
        let mut window = Window::write(plain, 0, &mut bytes).unwrap();
        if claims > 0 {
            window.plain = claims;
        }
        index.entries.push(Of { window, rows, first: path(b"a") });
        let (tail, written) = index.tail(bytes.len() as u64).unwrap();
        bytes.extend_from_slice(&tail);
        (bytes, written.named(ID, 1, 1))
    };
    let window = u32::try_from(WINDOW).unwrap();
    let row = u32::try_from(LARGEST_ROW).unwrap();
    let bomb = vec![0; 64 << 20];
    for (plain, rows, claims) in [
        (&bomb[..], 2, 0),
        (&bomb, 1, 0),
        (&bomb, 2, window + 1),
        (&bomb, 1, row + 1),
        (&bomb, 0, window),
        (&bomb, (1 << 16) + 1, window),
        (&bomb[..100], 1, u32::MAX),
    ] {
        let (bytes, of) = forge(plain, rows, claims);
        assert!(refused(&bytes, &of).contains("impossible length"), "{rows} {claims}");
    }
    // A length that may be, and is not that of the content.
    for (plain, claims) in [(&bomb[..], window), (&bomb[..100], 99), (&bomb[..100], 101)] {
        let (bytes, of) = forge(plain, 2, claims);
        let message = refused(&bytes, &of);
        assert!(!message.contains("impossible length"), "{message}");
    }
}
