//! What stays of older revisions, what goes, and what is brought back: packs that are lost, dead, or nearly so.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Cursor;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, Mutex};

use scribe_mover::digest::Digest;
use scribe_mover::format::documents::{Control, ManifestRef, seal};
use scribe_mover::packs::commit::AnyCommit;
use scribe_mover::packs::manifest::{Manifest, Reading, Retained};
use scribe_mover::packs::node::Kind;
use scribe_mover::packs::run::{Entries, Packs, References, RunRef, RunWriter};
use scribe_mover::push::{PushOptions, push_packs};
use scribe_mover::remote::committed::read_any_commit;
use scribe_mover::remote::packed::{Extent, open_map, read_packs_manifest};
use scribe_mover::retention::Retention;
use scribe_mover::volume::entry::{Hints, Time};
use scribe_mover::volume::exclude::Exclude;
use sha2::{Digest as _, Sha256};

use crate::memory::Objects;
use crate::read::{Tree, committed_at, volume};
use crate::support::{committed, fresh, options, push, remote};

const BLOCK: usize = 16384;

/// Content that does not compress, the same for each number.
pub fn noise(number: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(number).fill(&mut bytes);
    bytes
}

fn packs(objects: &Arc<Mutex<Objects>>) -> BTreeSet<String> {
    objects.lock().unwrap().all.keys().filter(|name| name.starts_with(".scribe/packs/")).cloned().collect()
}

#[test]
fn packs_that_are_lost_or_damaged_are_sent_again_from_the_volume() {
    let (objects, dir) = fresh();
    fs::write(dir.path().join("large"), noise(1, 9 * BLOCK + 5)).unwrap();
    for number in 0..40 {
        fs::write(dir.path().join(format!("small{number}")), format!("{number} is small")).unwrap();
    }
    push(&objects, dir.path(), 0).unwrap();
    File::options().write(true).open(dir.path().join("large")).unwrap().write_all_at(b"other", 3 * BLOCK as u64).unwrap();
    push(&objects, dir.path(), 10).unwrap();
    let all = packs(&objects);
    assert_eq!(all.len(), 2);
    let damages: [fn(&mut Objects, &str); 2] = [
        |objects, name| drop(objects.all.remove(name)),
        |objects, name| {
            let mut bytes = objects.all[name].to_vec();
            bytes[7] ^= 1;
            objects.all.insert(name.to_owned(), bytes.into());
        },
    ];
    let mut later = 20;
    for damage in damages {
        for name in packs(&objects) {
            let whole = objects.lock().unwrap().clone();
            damage(&mut objects.lock().unwrap(), &name);
            // One that does not look sees nothing of it, and one that does tells.
            assert!(!push(&objects, dir.path(), later).unwrap().changed);
            let verified = push_packs(&remote(&objects), &PushOptions { verify_now: true, ..options(dir.path(), later) }).unwrap();
            assert!(verified.changed && verified.transferred > 0, "{name}");
            let read = committed_at(&remote(&objects), &|object| objects.lock().unwrap().all.get(object).cloned());
            assert_eq!(read.unwrap().unwrap().tree, volume(dir.path(), &Exclude::default()));
            *objects.lock().unwrap() = whole;
            later += 10;
        }
    }
    // What one listing does not show is not lost, and after two it is.
    for (listings, changed) in [(0, false), (1, false), (2, true)] {
        let name = packs(&objects).into_iter().next().unwrap();
        objects.lock().unwrap().unlisted = (listings > 0).then_some((name, listings));
        let verified = push_packs(&remote(&objects), &PushOptions { verify_now: true, ..options(dir.path(), later) }).unwrap();
        assert_eq!(verified.changed, changed, "{listings}");
    }
}

/// Writes the committed manifest anew, as `change` makes it.
pub fn forge(objects: &Arc<Mutex<Objects>>, change: impl FnOnce(&mut Manifest)) {
    let remote = remote(objects);
    let Control::Present(AnyCommit::Packs(mut commit)) = read_any_commit(&remote).unwrap() else { panic!() };
    let revision = commit.statement.revision.clone();
    let Control::Present(mut manifest) = read_packs_manifest(&remote, &revision, &commit.manifest).unwrap() else { panic!() };
    change(&mut manifest);
    let bytes = manifest.write().unwrap();
    commit.manifest = ManifestRef { size: bytes.len() as u64, sha256: Digest(Sha256::digest(&bytes).into()).hex() };
    let mut objects = objects.lock().unwrap();
    objects.all.insert(format!(".scribe/manifests/{revision}.zst"), bytes.into());
    objects.all.insert(".scribe/commit.json".into(), seal(&*commit).unwrap().into());
}

/// Writes the committed map anew, with these hints for a file.
fn forge_hints(objects: &Arc<Mutex<Objects>>, path: &Path, name: &str) {
    let remote = remote(objects);
    forge(objects, |manifest| {
        let map = open_map(&remote, manifest, Extent::All).unwrap();
        let mut writer = RunWriter::new(Vec::new(), Cursor::new(Vec::new()), manifest.document.block().unwrap());
        for row in map.rows::<Entries>() {
            let (of, mut node) = row.unwrap();
            if let (Kind::File(file), true) = (&mut node.kind, of.to_string() == name) {
                let meta = fs::metadata(path).unwrap();
                let ctime = Time { secs: meta.ctime(), nanos: meta.ctime_nsec().try_into().unwrap() };
                file.hints = Some(Hints { ctime, inode: meta.ino() });
                node.meta.mtime = Time { secs: meta.mtime(), nanos: meta.mtime_nsec().try_into().unwrap() };
            }
            writer.entry(&of, Some(&node)).unwrap();
        }
        map.rows::<References>().for_each(|row| row.and_then(|(key, of)| writer.block(key, Some(&of))).unwrap());
        map.rows::<Packs>().for_each(|row| row.and_then(|(id, row)| writer.pack(id, Some(&row))).unwrap());
        let (bytes, written) = writer.finish().unwrap();
        let old = &manifest.document.runs[0];
        manifest.document.runs = vec![RunRef { inline: true, ..written.named(old.id, old.first, old.last) }];
        manifest.inline = vec![bytes];
    });
}

/// A revision that another version of this program has kept stays as long as the rules say, for longer than any grace, and then goes.
#[test]
fn what_another_version_retains_is_kept_by_the_rules() {
    let (objects, dir) = fresh();
    let path = dir.path().join("large");
    fs::write(&path, noise(1, 9 * BLOCK)).unwrap();
    push(&objects, dir.path(), 0).unwrap();
    let (tree, kept) = (volume(dir.path(), &Exclude::default()), objects.lock().unwrap().all[".scribe/commit.json"].clone());
    let first = committed(&objects).unwrap().unwrap();
    fs::write(&path, noise(2, 9 * BLOCK)).unwrap();
    push(&objects, dir.path(), 100).unwrap();
    forge(&objects, |forged| {
        let dead = forged.document.dead_manifests.pop().unwrap();
        assert_eq!(dead.revision, first.commit.statement.revision);
        let (data_time, committed, manifest) = (first.commit.statement.data_time, Reading::default(), first.commit.manifest.clone());
        forged.document.retained = vec![Retained { revision: dead.revision, data_time, committed, manifest, entries: None, bytes: None }];
    });
    let pushes = |numbers: std::ops::Range<u64>, last: usize| {
        for number in numbers {
            fs::write(&path, noise(2 + number, 9 * BLOCK)).unwrap();
            let options = options(dir.path(), 100 + 25 * 3600 * i64::try_from(number).unwrap());
            push_packs(&remote(&objects), &PushOptions { retention: Retention::last(last), ..options }).unwrap();
        }
    };
    pushes(1..8, 9);
    let mut then = objects.lock().unwrap().clone();
    then.all.insert(".scribe/commit.json".into(), kept);
    let then = Arc::new(Mutex::new(then));
    let read = committed_at(&remote(&then), &|name| then.lock().unwrap().all.get(name).cloned());
    assert_eq!(read.unwrap().unwrap().tree, tree);
    pushes(8..14, 8);
    let manifest = format!(".scribe/manifests/{}.zst", first.commit.statement.revision);
    assert!(!objects.lock().unwrap().all.contains_key(&manifest), "a revision that is not kept any more goes");
    assert!(packs(&objects).len() < 14, "and so does what it alone needs");
}

/// Blocks that are to be moved, and are others on the volume by now although no time shows it: the file is read again.
#[test]
fn what_the_volume_has_not_any_more_is_not_moved() {
    let (objects, dir) = fresh();
    let path = dir.path().join("large");
    fs::write(&path, noise(1, 9 * BLOCK)).unwrap();
    push(&objects, dir.path(), 0).unwrap();
    File::options().write(true).open(&path).unwrap().write_all_at(b"other", 3 * BLOCK as u64).unwrap();
    forge_hints(&objects, &path, "large");
    assert!(!push(&objects, dir.path(), 10).unwrap().changed, "no time shows it");
    let lost = packs(&objects).into_iter().next().unwrap();
    objects.lock().unwrap().all.remove(&lost);
    push_packs(&remote(&objects), &PushOptions { verify_now: true, ..options(dir.path(), 20) }).unwrap();
    let read = committed_at(&remote(&objects), &|name| objects.lock().unwrap().all.get(name).cloned());
    assert_eq!(read.unwrap().unwrap().tree, volume(dir.path(), &Exclude::default()));
}

/// A path that is pushed to every ten minutes: nothing that was committed within the hour loses anything, and what is older goes, so that
/// the path does not grow for ever.
#[test]
fn older_revisions_stay_readable_for_their_grace_and_then_go() {
    const BLOCKS: usize = 64;
    let (objects, dir) = fresh();
    let path = dir.path().join("database");
    fs::write(&path, noise(0, BLOCKS * BLOCK)).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    let mut revisions: Vec<(usize, Arc<[u8]>, Tree)> = Vec::new();
    let (mut rng, mut most) = (fastrand::Rng::with_seed(7), 0);
    let mut born = [1; BLOCKS];
    for number in 0..220_usize {
        for _ in 0..6 {
            let block = rng.usize(..BLOCKS);
            file.write_all_at(&noise(rng.u64(..), BLOCK), (block * BLOCK) as u64).unwrap();
            born[block] = number + 1;
        }
        push(&objects, dir.path(), 600 * i64::try_from(number).unwrap()).unwrap();
        if number % 10 == 0 {
            let read = committed(&objects).unwrap().unwrap();
            assert_eq!(read.tree, volume(dir.path(), &Exclude::default()));
            // Whatever was moved meanwhile.
            assert_eq!(read.born["database"], born.map(|born| born as u64));
        }
        let commit = Arc::clone(&objects.lock().unwrap().all[".scribe/commit.json"]);
        revisions.push((number, commit, volume(dir.path(), &Exclude::default())));
        // Of one that has been replaced for less than an hour, a reader may still need everything.
        for (_, commit, tree) in revisions.iter().rev().skip(5).take(usize::from(number % 4 == 0)) {
            let mut then = objects.lock().unwrap().clone();
            then.all.insert(".scribe/commit.json".into(), Arc::clone(commit));
            let then = Arc::new(Mutex::new(then));
            let read = committed_at(&remote(&then), &|name| then.lock().unwrap().all.get(name).cloned());
            assert!(read.is_ok_and(|read| read.unwrap().tree == *tree), "a revision of the last hour cannot be read after push {number}");
        }
        most = most.max(objects.lock().unwrap().all.values().map(|object| object.len()).sum());
    }
    // Live bytes and half of that, as many dead ones and those of an hour; manifests of a day.
    assert!(most < 5 * BLOCKS * BLOCK, "{most}");
    assert!(packs(&objects).len() < 60, "{}", packs(&objects).len());
    let manifests = objects.lock().unwrap().all.keys().filter(|name| name.contains("/manifests/")).count();
    assert!((100..160).contains(&manifests), "{manifests}");
}
