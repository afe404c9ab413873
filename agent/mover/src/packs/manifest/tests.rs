use super::*;
use crate::format::documents::ManifestRef;
use crate::format::manifest as files;
use crate::packs::commit::tests::statement;
use crate::packs::id::ObjectId;
use crate::packs::limits::{ANCESTORS, DEAD, INLINE, RUNS};
use crate::packs::run::Run;
use crate::packs::run::tests::{Model, path, read, write};
use crate::packs::salt::Salt;
use crate::packs::size::BlockSize;

const REVISION: &str = "20261123T042858Z-1c9a77e0-17-5f2e";

fn older(generation: u64) -> String {
    format!("20261123T032858Z-1c9a77e0-{generation}-0a91")
}

pub(crate) fn empty(revision: &str) -> Document {
    Document {
        format: FORMAT,
        revision: revision.into(),
        needs: Vec::new(),
        statement: statement(revision),
        signature: None,
        salt: Salt([1; 16]),
        block_size: 16384,
        next_file: 1,
        ancestors: Vec::new(),
        runs: Vec::new(),
        totals: Totals::default(),
        clock: clock(),
        retained: Vec::new(),
        dead_packs: Vec::new(),
        dead_runs: Vec::new(),
        dead_manifests: Vec::new(),
        due: Vec::new(),
    }
}

/// Some hours of pushes.
fn clock() -> PushClock {
    let meter = |counted| Meter { counted, owed: 1 };
    PushClock { at: jiff::Timestamp::UNIX_EPOCH, full: meter(90_000_000), brief: meter(3_600_000), age: meter(90_000_000) }
}

const READ: Reading = Reading { full: 90_000_000, brief: 3_600_000, age: 90_000_000 };

fn id(number: u32) -> ObjectId {
    ObjectId { push: 7, number }
}

/// One that has some of everything, two of its runs inline.
fn manifest() -> (Manifest, Vec<Model>) {
    let entry = |name: &[u8]| Model { entries: [(path(name), None)].into(), ..Model::default() };
    let models = vec![entry(b"a"), entry(b"b"), entry(b"c")];
    let mut inline = Vec::new();
    let mut document = empty(REVISION);
    for (number, model) in (1..).zip(&models) {
        let (bytes, of) = write(model);
        document.runs.push(RunRef { id: id(number), first: number.into(), last: number.into(), inline: number > 1, ..of });
        if number > 1 {
            inline.push(bytes);
        }
    }
    document.ancestors = vec![older(16), older(3)];
    let kept = Retained {
        revision: older(9),
        data_time: document.statement.data_time,
        committed: Reading::default(),
        manifest: ManifestRef { size: 1000, sha256: "x".into() },
        entries: Some(7),
        bytes: Some(8),
    };
    document.retained = vec![kept];
    document.dead_packs = vec![DeadObject { id: id(1), size: 100, born: 2, died: 17, since: None }];
    document.dead_runs = vec![DeadObject { id: id(9), size: 100, born: 2, died: 3, since: Some(READ) }];
    document.dead_manifests = vec![DeadManifest { revision: older(8), size: 900, since: READ }];
    (Manifest { document, inline }, models)
}

fn refused(bytes: &[u8]) -> String {
    let failure = Manifest::read(bytes, REVISION).unwrap_err();
    assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
    failure.message
}

#[test]
fn everything_comes_back_with_the_runs_that_stand_in_it() {
    let (manifest, models) = manifest();
    let bytes = manifest.write().unwrap();
    let back = Manifest::read(&*bytes, REVISION).unwrap();
    assert_eq!(back, manifest);
    let runs: Vec<_> = back.runs().map(|(of, bytes)| (of.id.number, bytes.map(|bytes| read(bytes, of).unwrap()))).collect();
    assert_eq!(runs, [(1, None), (2, Some(models[1].clone())), (3, Some(models[2].clone()))]);
    assert_eq!(manifest.write().unwrap(), bytes);
    assert!(back.document.dead_packs[0].is_needed_by(9) && !back.document.dead_runs[0].is_needed_by(9));
}

/// Without a commit, a manifest shows by itself that it is whole.
#[test]
fn an_altered_manifest_is_refused() {
    let (manifest, _) = manifest();
    let bytes = manifest.write().unwrap();
    for at in 0..bytes.len() {
        refused(&bytes[..at]);
        let mut flipped = bytes.clone();
        flipped[at] ^= 4;
        if let Ok(same) = Manifest::read(&*flipped, REVISION) {
            // The window size of the header, or a bit without a meaning.
            assert_eq!(same, manifest, "flipped at {at}");
        }
    }
    assert!(Manifest::read(&*bytes, &older(16)).unwrap_err().message.contains("it is that of"));
    let plain = zstd::decode_all(&*bytes).unwrap();
    let zst = |plain: &[u8]| zstd::encode_all(plain, 1).unwrap();
    for (at, byte) in plain.iter().enumerate().filter(|(at, _)| *at < plain.len() - manifest.inline[0].len() - manifest.inline[1].len()) {
        let mut flipped = plain.clone();
        flipped[at] = byte ^ 1;
        assert!(Manifest::read(&*zst(&flipped), REVISION).is_err(), "flipped at {at} before it was compressed");
    }
    refused(&zst(&[&plain[..], b"x"].concat()));
    refused(&zst(&plain[..plain.len() - 1]));
    let mut flipped = plain.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let read = Manifest::read(&*zst(&flipped), REVISION).unwrap();
    let (of, bytes) = read.runs().last().unwrap();
    assert!(Run::open(bytes.unwrap(), of, BlockSize::of_volume(0)).is_err(), "an inline run is pinned by its own hash");
}

#[test]
fn an_older_mover_refuses_it_in_words_and_this_one_what_is_newer() {
    let (manifest, _) = manifest();
    let Err(failure) = files::read(&*manifest.write().unwrap(), REVISION) else { panic!() };
    assert!(failure.message.contains("is in format 2, this program supports format 1"), "{failure}");
    let sealed = |text: &str| {
        let sum = Digest(Sha256::digest(text).into()).hex();
        zstd::encode_all(format!("{text}{{\"sha256\":\"{sum}\"}}\n").as_bytes(), 1).unwrap()
    };
    let failure = Manifest::read(&*sealed("{\"format\":3}\n"), REVISION).unwrap_err();
    assert!(failure.message.contains("is in format 3, this program supports formats 1 and 2"), "{failure}");
    let failure = Manifest::read(&*sealed("{\"format\":2,\"needs\":[\"cuts by content\"],\"runs\":7}\n"), REVISION).unwrap_err();
    assert!(failure.message.contains("needs the feature \"cuts by content\""), "{failure}");
    assert_eq!(failure.reason, Reason::MoverFailed);
    assert!(refused(&sealed("{\"format\":2}\n")).contains("missing field"));
    // Members that it does not know are ignored.
    let text = serde_json::to_string(&empty(REVISION)).unwrap().replacen('{', "{\"new\":[1],", 1) + "\n";
    assert_eq!(Manifest::read(&*sealed(&text), REVISION).unwrap().document, empty(REVISION));
}

/// A way to damage a document.
type Damage = fn(&mut Document);

#[test]
fn what_no_push_says_is_refused() {
    let cases: &[(&str, Damage)] = &[
        ("two revisions", |document| document.statement.revision = older(17)),
        ("size, 16385", |document| document.block_size += 1),
        ("ids of files", |document| document.next_file = u64::MAX),
        ("more than the 536870912 that", |document| document.totals.blocks = 3_000_000_000),
        ("packs, more than", |document| document.totals.packs = u64::MAX),
        ("entries, more than", |document| document.statement.entries = 2_000_000_000),
        ("impossible totals", |document| document.statement.files = 2),
        ("impossible totals", |document| document.statement.bytes = u64::MAX),
        ("impossible totals", |document| document.totals.live = 1),
        ("impossible totals", |document| document.totals.blocks = 1),
        ("impossible totals", |document| document.totals.pack_bytes = 1),
        ("impossible size", |document| document.runs[0].size = 1),
        ("impossible size", |document| document.runs[0].size = u64::MAX),
        ("impossible size", |document| (document.runs[0].size, document.runs[0].tail) = (1 << 40, 1 << 40)),
        ("impossible generations", |document| document.runs[0].first = 0),
        ("impossible generations", |document| document.runs[1].first = 1),
        ("impossible generations", |document| document.runs[2].last = 2),
        ("impossible generations", |document| document.runs[2].last = 18),
        ("twice", |document| document.runs[2].id = id(1)),
        ("inline runs of", |document| document.runs[2].size = INLINE),
        ("rows, more than", |document| document.runs[0].counts.blocks = u64::MAX),
        ("impossible ancestors", |document| document.ancestors[0] = older(17)),
        ("impossible ancestors", |document| document.ancestors.reverse()),
        ("impossible ancestors", |document| document.ancestors[0] = "x".into()),
        ("impossible ancestors", |document| document.ancestors[0] = "20261123T032858Z-00000001-16-0a91".into()),
        ("impossible retained", |document| document.retained[0].revision = REVISION.into()),
        ("manifest of an impossible size", |document| document.retained[0].manifest.size = u64::MAX),
        ("time that has not come", |document| document.retained[0].committed.full = 90_000_001),
        ("time that has not come", |document| document.dead_packs[0].since = Some(Reading { brief: 3_600_001, ..READ })),
        ("time that has not come", |document| document.clock.age.counted -= 1),
        ("dead packs", |document| document.dead_packs[0].died = 2),
        ("dead packs", |document| document.dead_packs[0].died = 18),
        ("dead packs", |document| document.dead_packs.push(document.dead_packs[0])),
        ("a run that is dead", |document| document.dead_runs[0].id = id(2)),
        ("dead manifests", |document| document.dead_manifests[0].revision = older(9)),
        ("dead manifests", |document| document.dead_manifests[0].revision = "../x".into()),
        ("due", |document| document.due = vec!["../commit.json".into()]),
        ("due", |document| document.due = vec![id(2).run()]),
        ("due", |document| document.due = vec![format!("manifests/{REVISION}.zst")]),
    ];
    let (manifest, _) = manifest();
    for (what, damage) in cases {
        let mut manifest = manifest.clone();
        damage(&mut manifest.document);
        let failure = manifest.write().unwrap_err();
        assert!(failure.message.contains(what), "{what}: {failure}");
        // A reader says so before it reads what comes after.
        let text = serde_json::to_string(&manifest.document).unwrap() + "\n";
        let sum = Digest(Sha256::digest(&text).into()).hex();
        let plain = format!("{text}{{\"sha256\":\"{sum}\"}}\n");
        let failure = Manifest::read(&*zstd::encode_all(plain.as_bytes(), 1).unwrap(), REVISION).unwrap_err();
        assert!(failure.message.contains(what) || failure.message.contains("it is that of"), "{what}: {failure}");
        assert_eq!(failure.reason, Reason::RemoteInconsistent);
    }
}

/// What would fill the memory.
#[test]
fn nothing_is_without_bounds() {
    let zst = |plain: &[u8]| zstd::encode_all(plain, 1).unwrap();
    assert!(refused(&zst(&vec![b' '; DOCUMENT + 1])).contains("endless"));
    let (manifest, _) = manifest();
    let with = |damage: fn(&mut Document)| {
        let mut document = manifest.document.clone();
        damage(&mut document);
        let text = serde_json::to_string(&document).unwrap() + "\n";
        let sum = Digest(Sha256::digest(&text).into()).hex();
        refused(&zst(format!("{text}{{\"sha256\":\"{sum}\"}}\n").as_bytes()))
    };
    assert!(with(|document| document.ancestors = vec![String::new(); ANCESTORS + 1]).contains("a list of more than"));
    assert!(with(|document| document.runs = vec![document.runs[0].clone(); RUNS + 1]).contains("a list of more than"));
    assert!(with(|document| document.dead_packs = vec![document.dead_packs[0]; DEAD + 1]).contains("a list of more than"));
    let (window, text) = (27, [b' '; 100]);
    let mut large = zstd::Encoder::new(Vec::new(), 1).unwrap();
    large.window_log(window).unwrap();
    large.write_all(&text).unwrap();
    refused(&large.finish().unwrap());
    let deep = format!("{{\"format\":2,\"new\":{}", "[".repeat(100_000)) + "\n";
    refused(&zst(deep.as_bytes()));
}

#[test]
fn a_revision_names_the_nearest_ancestors_and_some_of_the_others() {
    let generations = |document: &Document| -> Vec<u64> {
        let parse = |name: &String| crate::format::revision::Revision::parse(name).unwrap().generation();
        document.ancestors.iter().map(parse).collect()
    };
    let next = |last: &Document, generation| Document { ancestors: last.ancestors_of_next(), ..empty(&older(generation)) };
    let expected = |generation: u64| -> Vec<u64> {
        let near = generation.saturating_sub(64).max(1)..generation;
        near.clone().rev().chain((1..near.start).rev().filter(|far| far % 64 == 0)).take(ANCESTORS).collect()
    };
    let mut last = empty(&older(1));
    for generation in 2..=300 {
        last = next(&last, generation);
        assert_eq!(generations(&last), expected(generation));
    }
    // After years.
    last = Document { ancestors: expected(70_000).into_iter().map(older).collect(), ..empty(&older(70_000)) };
    for generation in 70_001..70_200 {
        last = next(&last, generation);
        assert_eq!(generations(&last), expected(generation));
    }
    let size = Manifest { document: last, inline: Vec::new() }.write().unwrap().len();
    assert!(size < 16 << 10, "{size}");
}
