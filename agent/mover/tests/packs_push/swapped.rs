//! A path that becomes another one between any two reads of a pull: because pushes and the grace of what is dead have passed a slow reader, or
//! because somebody exchanges an object.

use std::sync::{Arc, Mutex};

use assert_fs::TempDir;
use scribe_mover::pull::pull;
use scribe_mover::report::Reason;
use scribe_mover::volume::exclude::Exclude;

use crate::behind::{copy, many_names, options, pulled};
use crate::edits::Edit;
use crate::memory::{Before, Objects};
use crate::read::{Tree, revision_at, volume};
use crate::support::{committed, fresh, push, remote};

const BLOCK: u32 = 16 << 10;
/// Names of which the run is so large that it is an object of its own.
const MANY: usize = 1_500;

fn edit(objects: &Arc<Mutex<Objects>>, volume: &std::path::Path, number: u8) -> String {
    for name in 0..2 {
        Edit::Patch { name, at: u32::from(number) * BLOCK, length: 40_000, seed: number }.apply(volume);
    }
    Edit::Zero { name: 0, at: u32::from(number + 9) * BLOCK, length: BLOCK }.apply(volume);
    push(objects, volume, 200 * i64::from(number)).unwrap().revision
}

/// Calls `deed` right before the read of this number, counted from 1, with the name that is read.
fn before_read(number: usize, deed: impl Fn(&str, &mut Objects) + Send + Sync + 'static) -> Before {
    fn nth(left: usize, deed: Before) -> Before {
        Arc::new(move |name, objects| {
            if left <= 1 {
                deed(name, objects);
            } else {
                objects.before_get = Some(nth(left - 1, Arc::clone(&deed)));
            }
        })
    }
    nth(number, Arc::new(deed))
}

/// A path of two revisions, its source, and a volume that holds the first one.
struct Path {
    objects: Arc<Mutex<Objects>>,
    source: TempDir,
    held: String,
    site: TempDir,
}

fn path(names: usize) -> Path {
    let (objects, source) = fresh();
    many_names(source.path(), names);
    for name in 0..2 {
        Edit::Write { name, size: 20 * BLOCK, seed: name }.apply(source.path());
    }
    let held = push(&objects, source.path(), 0).unwrap().revision;
    let site = copy(source.path());
    edit(&objects, source.path(), 1);
    Path { objects, source, held, site }
}

#[test]
fn a_reader_that_pushes_and_the_grace_have_passed_goes_on_with_the_newest() {
    let Path { objects, source, held, site } = path(MANY);
    let then = objects.lock().unwrap().clone();
    for number in 2..6 {
        edit(&objects, source.path(), number);
    }
    // Long after: nothing is there but what the newest needs.
    let commit = committed(&objects).unwrap().unwrap().commit;
    let object = |name: &str| objects.lock().unwrap().all.get(name).cloned();
    let needs = revision_at(&remote(&objects), (&commit.statement.revision, &commit.manifest), &object).unwrap().needs;
    objects.lock().unwrap().all.retain(|name, _| name == ".scribe/commit.json" || needs.contains(name));
    let later = objects.lock().unwrap().all.clone();
    let expected = volume(source.path(), &Exclude::default());
    for known in [Some(held), None] {
        let mut met = 0;
        for read in 1.. {
            let dest = if known.is_some() { copy(site.path()) } else { TempDir::new_in("/dev/shm").unwrap() };
            let later = later.clone();
            let objects = Arc::new(Mutex::new(then.clone()));
            objects.lock().unwrap().before_get = Some(before_read(read, move |_, objects| objects.all.clone_from(&later)));
            let synced = pulled(pull(&remote(&objects), &options(dest.path(), known.clone())));
            if objects.lock().unwrap().before_get.is_some() {
                break;
            }
            met += usize::from(volume(dest.path(), &Exclude::default()) == expected);
            // Whatever it is, it is one revision, and the next pull leaves the newest.
            pulled(pull(&remote(&objects), &options(dest.path(), Some(synced.revision))));
            assert!(volume(dest.path(), &Exclude::default()) == expected, "read {read}");
        }
        assert!(met > 2, "{met}");
    }
}

/// What a volume holds: of its root, a staging folder changes the time.
fn below(root: &std::path::Path) -> Tree {
    let mut tree = volume(root, &Exclude::default());
    tree.pop_first();
    tree
}

type Forge = fn(&str, &mut Objects);

/// A copy of another object of its folder in the place of this one.
fn another(name: &str, objects: &mut Objects) {
    let folder = |name: &str| name.rsplit_once('/').unwrap().0.to_owned();
    let other = objects.all.iter().find(|(other, _)| *other != name && folder(other) == folder(name));
    if let Some(other) = other.map(|(_, content)| Arc::clone(content)) {
        objects.all.insert(name.to_owned(), other);
    }
}

fn cut(name: &str, objects: &mut Objects) {
    let half = objects.all[name][..objects.all[name].len() / 2].into();
    objects.all.insert(name.to_owned(), half);
}

/// One bit of each part of it is another.
fn bits(name: &str, objects: &mut Objects) {
    let mut content = objects.all[name].to_vec();
    content.iter_mut().step_by(70_000).for_each(|byte| *byte ^= 1);
    objects.all.insert(name.to_owned(), content.into());
}

/// Exchanges each object before each read of it: how many failures named one of these.
fn exchanged(Path { objects, held, site, source }: &Path, known: bool, forge: Forge, refused: &mut [(&str, usize)]) {
    let (then, expected) = (objects.lock().unwrap().clone(), volume(source.path(), &Exclude::default()));
    for read in 1.. {
        let (dest, applied) = if known { (copy(site.path()), Some(held.clone())) } else { (TempDir::new_in("/dev/shm").unwrap(), None) };
        let (before, objects) = (below(dest.path()), Arc::new(Mutex::new(then.clone())));
        let forged = Arc::new(Mutex::new(String::new()));
        let note = Arc::clone(&forged);
        objects.lock().unwrap().before_get = Some(before_read(read, move |name, objects| {
            name.clone_into(&mut note.lock().unwrap());
            if objects.all.contains_key(name) {
                forge(name, objects);
            }
        }));
        let outcome = pull(&remote(&objects), &options(dest.path(), applied.clone()));
        let forged = forged.lock().unwrap().clone();
        if forged.is_empty() {
            pulled(outcome);
            break;
        }
        if let Err(failure) = outcome {
            let name = forged.rsplit('/').next().unwrap().trim_end_matches(".zst");
            assert!(failure.reason == Reason::RemoteInconsistent && failure.message.contains(name), "{forged}: {failure}");
            assert!(below(dest.path()) == before, "{forged}: {failure}");
            refused.iter_mut().filter(|(kind, _)| forged.contains(kind)).for_each(|(_, count)| *count += 1);
            objects.lock().unwrap().all.clone_from(&then.all);
            pulled(pull(&remote(&objects), &options(dest.path(), applied)));
        }
        assert!(volume(dest.path(), &Exclude::default()) == expected, "{forged}");
    }
}

/// It is named, the volume stays as it was, and the next pull of what was there is as any other.
#[test]
fn an_object_that_is_exchanged_under_a_pull_is_named_and_changes_nothing() {
    let path = path(MANY);
    let mut refused = ["runs/", "manifests/", "packs/"].map(|kind| (kind, 0));
    for (known, forge) in [(true, another as Forge), (true, cut), (true, bits), (false, bits)] {
        exchanged(&path, known, forge, &mut refused);
    }
    assert!(refused.iter().all(|(_, count)| *count > 1), "{refused:?}");
}

/// A run that is read part by part may be exchanged between two of them.
#[test]
fn a_run_that_is_exchanged_between_two_parts_of_it_is_named() {
    let path = path(6_500);
    let largest = path.objects.lock().unwrap().all.iter().filter(|(name, _)| name.contains("runs/")).map(|(_, run)| run.len()).max();
    assert!(largest.unwrap() > 1 << 20, "{largest:?}");
    let mut refused = [("runs/", 0)];
    exchanged(&path, true, bits, &mut refused);
    assert!(refused[0].1 > 1, "{refused:?}");
}
