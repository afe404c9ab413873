//! What one answer of a remote does not prove: a request that gives nothing, and a listing that fails.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use jiff::SignedDuration;
use rstest::rstest;
use scribe_mover::digest::Digest;
use scribe_mover::format::documents::{Control, Owner, seal};
use scribe_mover::inspect::Checked;
use scribe_mover::packs::checkpoint::{self, Checkpoint, UNUSED};
use scribe_mover::packs::id::ObjectId;
use scribe_mover::packs::run::{Counts, RunRef};
use scribe_mover::packs::salt::Salt;
use scribe_mover::push::{PushOptions, Sizes, push_packs};
use scribe_mover::report::Reason;

use crate::broken::{in_folder, retaining, two_revisions};
use crate::checking::{alter, alter_in, faults, looked, two_packs};
use crate::keeping::noise;
use crate::memory::{Before, Objects};
use crate::support::{committed, fresh, options, push, remote};

const BLOCK: usize = 16384;

/// The next read of this object does not find it.
fn absent_once(name: String) -> Before {
    Arc::new(move |read, objects| {
        let name = name.clone();
        if read != name {
            objects.before_get = Some(absent_once(name));
        } else if let Some(bytes) = objects.all.remove(&name) {
            objects.before_get = Some(Arc::new(move |_, objects| drop(objects.all.insert(name.clone(), Arc::clone(&bytes)))));
        }
    })
}

/// Of the newest revision, and of one that is retained alone.
#[rstest]
fn a_pack_that_one_request_does_not_give_is_no_lost_one(#[values(false, true)] is_check: bool) {
    let (objects, dir, _) = two_revisions();
    fs::write(dir.path().join("large"), noise(2, 9 * BLOCK)).unwrap();
    retaining(&objects, &dir, 15, false).unwrap();
    objects.lock().unwrap().no_sums = true;
    let packs = in_folder(&objects, ".scribe/packs/");
    // A push reads those of the newest revision, and a check all of them.
    let newest = committed(&objects).unwrap().unwrap().document.totals.packs;
    assert!(newest < packs.len() as u64, "{newest}");
    let mut met = 0;
    for (pack, later) in packs.iter().zip(20..) {
        objects.lock().unwrap().before_get = Some(absent_once(pack.clone()));
        if is_check {
            let looked = looked(&objects, true);
            assert_eq!(faults(&looked), [], "{pack}");
            assert!(Checked::Looked(Box::new(looked)).is_whole(), "{pack}");
        } else {
            let verified = retaining(&objects, &dir, later, true).unwrap();
            assert_eq!((verified.changed, &verified.broken), (false, &Vec::new()), "{pack}");
        }
        assert!(objects.lock().unwrap().all.contains_key(pack));
        met += u64::from(objects.lock().unwrap().before_get.take().is_none());
    }
    assert_eq!(met, if is_check { packs.len() as u64 } else { newest });
}

/// Sizes would acquit it.
#[rstest]
fn an_altered_pack_is_not_acquitted_by_a_listing_that_fails(#[values(0, 1)] listings: usize, #[values(false, true)] verify_now: bool) {
    let (objects, dir, [first, _]) = two_packs();
    alter(&objects, &first);
    let verify = |later| {
        let options = PushOptions { verify_now, verify_interval: SignedDuration::ZERO, ..options(dir.path(), later) };
        push_packs(&remote(&objects), &options)
    };
    let before = objects.lock().unwrap().all.clone();
    objects.lock().unwrap().unlistable = Some(listings);
    let failure = verify(20).unwrap_err();
    assert!(failure.message.contains("this listing fails"), "{failure}");
    assert_eq!(objects.lock().unwrap().all, before);
    assert!(verify(30).unwrap().changed);
    assert_eq!(faults(&looked(&objects, true)), []);
}

/// One byte of a pack is another when the manifest is written. `then` happens at that moment, too.
fn alter_before_manifest(then: fn(&mut Objects)) -> Before {
    Arc::new(move |name, objects| {
        if name.starts_with(".scribe/manifests/") {
            let pack = objects.all.keys().find(|name| name.starts_with(".scribe/packs/")).unwrap().clone();
            alter_in(objects, &pack);
            then(objects);
        }
    })
}

#[test]
fn what_was_sent_is_held_against_its_sums_where_the_first_listing_fails() {
    let (objects, dir) = fresh();
    fs::write(dir.path().join("large"), noise(1, 3 * BLOCK)).unwrap();
    objects.lock().unwrap().before = Some(alter_before_manifest(|objects| objects.unlistable = Some(0)));
    let failure = push(&objects, dir.path(), 0).unwrap_err();
    assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
    assert!(failure.message.contains("was sent, and is not listed as it was sent"), "{failure}");
    objects.lock().unwrap().before = None;
    assert!(push(&objects, dir.path(), 10).unwrap().changed);
    assert!(committed(&objects).unwrap().is_some());
}

#[test]
fn what_was_sent_is_held_against_its_sums_however_much_it_is() {
    const PACKS: u64 = 10_001;
    let (objects, dir) = fresh();
    // Blocks of next to nothing, one in each pack.
    let file = File::create(dir.path().join("large")).unwrap();
    for block in 0..PACKS {
        file.write_all_at(&(block + 1).to_be_bytes(), block * BLOCK as u64).unwrap();
    }
    file.set_len(PACKS * BLOCK as u64).unwrap();
    objects.lock().unwrap().before = Some(alter_before_manifest(|_| {}));
    let sizes = Sizes { pack: Some(40), ..Sizes::default() };
    let failure = push_packs(&remote(&objects), &PushOptions { sizes, ..options(dir.path(), 0) }).unwrap_err();
    let sent = objects.lock().unwrap().names.keys().filter(|name| name.starts_with(".scribe/packs/")).count();
    assert!(sent as u64 >= PACKS, "{sent}");
    assert!(failure.message.contains("was sent, and is not listed as it was sent"), "{failure}");
}

/// It would be written, the one before deleted, and the next push could go on with neither.
#[test]
fn a_checkpoint_that_names_as_much_as_it_may_is_read() {
    let id = ObjectId { push: u64::MAX, number: u32::MAX };
    let counts = Counts { entries: u64::MAX >> 36, blocks: u64::MAX >> 35, packs: 1 << 21 };
    let most = u64::MAX >> 1;
    let run = RunRef { id, size: most, tail: 1 << 24, sha256: Digest([7; 32]), first: 1, last: most, counts, inline: false };
    let written = Checkpoint {
        format: 2,
        revision: format!("20261123T042858Z-1c9a77e0-{most}-5f2e"),
        owner: Owner { namespace: "n".repeat(63), name: "o".repeat(253), uid: "u".repeat(128) },
        number: u64::MAX,
        salt: Salt([0xff; 16]),
        block_size: 16 << 20,
        next_file: 1 << 47,
        run,
        unused: vec![id; UNUSED],
    };
    let (objects, _dir) = fresh();
    objects.lock().unwrap().all.insert(format!(".scribe/{}", id.checkpoint()), seal(&written).unwrap().into());
    let read = remote(&objects).read_document(&id.checkpoint(), checkpoint::read).unwrap();
    assert!(read == Control::Present(written), "{read:?}");
}
