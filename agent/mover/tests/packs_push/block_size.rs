//! How large blocks are is chosen by the first push that has any.

use std::fs::{self, File};
use std::io::Cursor;

use scribe_mover::guard::Guard;
use scribe_mover::packs::id::ObjectId;
use scribe_mover::packs::node::Kind;
use scribe_mover::packs::run::{Entries, RunRef, RunWriter};
use scribe_mover::packs::salt::ContentHash;
use scribe_mover::packs::size::BlockSize;
use scribe_mover::pull::{PullOptions, PullOutcome, pull};
use scribe_mover::push::push_packs;
use scribe_mover::remote::packed::{Extent, open_map};
use scribe_mover::retention::Retention;

use crate::keeping::{forge, noise};
use crate::read::committed_at;
use crate::support::{committed, fresh, options, push, remote};
use crate::switching::{Shared, tree};

/// The committed revision, which has no block, with blocks of another size.
fn forge_blocks(objects: &Shared, bytes: u32) {
    let remote = remote(objects);
    let block = BlockSize::new(bytes).unwrap();
    forge(objects, |manifest| {
        let map = open_map(&remote, manifest, Extent::All).unwrap();
        let mut writer = RunWriter::new(Vec::new(), Cursor::new(Vec::new()), block);
        for row in map.rows::<Entries>() {
            let (path, mut node) = row.unwrap();
            if let Kind::File(file) = &mut node.kind {
                file.content = ContentHash::new(file.size, block).end();
            }
            writer.entry(&path, Some(&node)).unwrap();
        }
        let (bytes, written) = writer.finish().unwrap();
        let last = manifest.document.runs.last().unwrap().last;
        manifest.document.runs = vec![RunRef { inline: true, ..written.named(ObjectId::first().unwrap(), 1, last) }];
        manifest.document.block_size = block.bytes();
        manifest.inline = vec![bytes];
    });
}

fn block_size(objects: &Shared) -> u32 {
    committed(objects).unwrap().unwrap().document.block_size
}

#[test]
fn a_volume_that_was_pushed_empty_has_blocks_by_its_first_content() {
    let (objects, dir) = fresh();
    fs::write(dir.path().join("stays"), "").unwrap();
    File::create(dir.path().join("hole")).unwrap().set_len(100_000).unwrap();
    push(&objects, dir.path(), 0).unwrap();
    assert_eq!(committed(&objects).unwrap().unwrap().document.totals.blocks, 0);
    forge_blocks(&objects, 1 << 20);
    let (empty, empty_commit) = (tree(dir.path()), objects.lock().unwrap().all[".scribe/commit.json"].clone());
    assert_eq!(committed(&objects).unwrap().unwrap().tree, empty);
    let to = assert_fs::TempDir::new_in("/dev/shm").unwrap();
    let mut applied = None;
    let mut pulled = || {
        let guard = Guard { percent: 100, floor: 1_000_000, allowed: None };
        let options = PullOptions { volume: to.path().into(), applied: applied.clone(), private: true, guard };
        let PullOutcome::Done(done) = pull(&remote(&objects), &options).unwrap() else { panic!("nothing to pull") };
        applied = Some(done.revision);
        tree(to.path())
    };
    assert_eq!(pulled(), empty);

    let mut seconds = 100;
    let mut pushed = |last| {
        seconds += 100;
        let mut options = options(dir.path(), seconds);
        options.retention = Retention::last(last);
        push_packs(&remote(&objects), &options).unwrap()
    };
    fs::write(dir.path().join("large"), noise(1, 100_000)).unwrap();
    pushed(3);
    assert_eq!((block_size(&objects), pulled()), (16 << 10, tree(dir.path())));
    // From then on they stay as they are, and what was retained is whole with those that it had.
    fs::write(dir.path().join("large"), noise(2, 100_000)).unwrap();
    pushed(3);
    assert_eq!((block_size(&objects), pulled()), (16 << 10, tree(dir.path())));
    let mut then = objects.lock().unwrap().clone();
    then.all.insert(".scribe/commit.json".into(), empty_commit);
    let then = Shared::new(then.into());
    let read = committed_at(&remote(&then), &|name| then.lock().unwrap().all.get(name).cloned()).unwrap().unwrap();
    assert_eq!((read.document.block_size, read.tree), (1 << 20, empty));
}
