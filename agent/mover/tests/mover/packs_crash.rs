//! A pull of layout Packs that dies at any change of the volume: of a private one's files each block is an old or a new one, of a user's each
//! file, and the next pull ends right without fetching a block that had come before anything was changed. Of a private one it needs no remote to
//! make the volume whole again, and says which revision that is.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use assert_fs::TempDir;
use scribe_mover::pull::{PullOptions, pull};
use scribe_mover::report::Reason;

use crate::space::Small;
use crate::support::liar::{Deed, always};
use crate::support::packed::{BLOCK, Packs, send};
use crate::support::program::{example, mover};
use crate::support::tree::{assert_same_but_for_room, touch, without_room, write};
use crate::support::{Site, done};

fn noise(seed: u64, blocks: usize) -> Vec<u8> {
    let mut content = vec![0; blocks * BLOCK];
    fastrand::Rng::with_seed(seed).fill(&mut content);
    content
}

fn old_tree(root: &Path) {
    fs::write(root.join("db"), noise(1, 6)).unwrap();
    fs::write(root.join("shorter"), noise(2, 3)).unwrap();
    for name in ["small", "goes", "file becomes folder"] {
        write(root, name, format!("old {name}"));
    }
}

fn new_tree(root: &Path) {
    let db = File::options().write(true).open(root.join("db")).unwrap();
    db.write_all_at(&noise(3, 1), BLOCK as u64).unwrap();
    db.write_all_at(&vec![0; BLOCK], 3 * BLOCK as u64).unwrap();
    db.write_all_at(&noise(4, 2), 6 * BLOCK as u64).unwrap();
    File::options().write(true).open(root.join("shorter")).unwrap().set_len(BLOCK as u64 + 5).unwrap();
    fs::remove_file(root.join("goes")).unwrap();
    fs::remove_file(root.join("file becomes folder")).unwrap();
    for name in ["small", "file becomes folder/b", "new"] {
        write(root, name, format!("new {name}"));
    }
    fs::hard_link(root.join("db"), root.join("db too")).unwrap();
}

/// Blocks of every file by its name; staging left out.
fn contents(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = walkdir::WalkDir::new(root).into_iter().filter_entry(|entry| entry.file_name() != ".scribe-staging");
    let files = entries.map(|entry| entry.unwrap()).filter(|entry| entry.file_type().is_file());
    files.map(|file| (file.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned(), fs::read(file.path()).unwrap())).collect()
}

/// Whether each block of `live` is one of `old` or of `new`, or zero as what is not written yet.
fn is_mix(live: &[u8], old: &[u8], new: &[u8]) -> bool {
    let padded = |of: &[u8], number: usize| {
        let from = of.len().min(number * BLOCK);
        let mut block = of[from..of.len().min(from + BLOCK)].to_vec();
        block.resize(BLOCK, 0);
        block
    };
    (0..live.len().div_ceil(BLOCK)).all(|number| {
        let block = padded(live, number);
        let length = (live.len() - number * BLOCK).min(BLOCK);
        [padded(old, number), padded(new, number), vec![0; BLOCK]].iter().any(|known| known[..length] == block[..length])
    })
}

/// What a volume holds beside the staging folder.
fn held(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let copy = TempDir::new().unwrap();
    let cp = |to: &Path| Command::new("cp").arg("-a").arg(root.join(".")).arg(to).status().unwrap();
    assert!(cp(copy.path()).success());
    // Names of a file may lie there, too.
    let _ = fs::remove_dir_all(copy.path().join(".scribe-staging"));
    let mut held = without_room(copy.path());
    held.insert(Vec::new(), without_room(root).remove(&b""[..]).unwrap());
    held
}

/// A pull that does not reach its remote leaves one revision, whole, and says which.
fn offline(site: &Site, options: &PullOptions, [old, new]: [&(String, BTreeMap<Vec<u8>, String>); 2], moment: &str) {
    let failure = pull(&site.lying(always(|_| true, || Deed::Die)), options).unwrap_err();
    let now = held(&options.volume);
    let whole = |(revision, _): &(String, _)| failure.message.contains(&format!("all of revision {revision}"));
    if whole(new) {
        assert_eq!(now, new.1, "{moment}");
        return;
    }
    // At the very end, nothing is known any more, and at the very beginning, nothing yet.
    let unknown = failure.message.contains("No change of the volume was on its way") || !options.volume.join(".scribe-staging").exists();
    assert!(whole(old) || failure.message.contains("Nothing of the volume was changed") || unknown, "{moment}: {failure}");
    let same = |(_, other): &(_, BTreeMap<Vec<u8>, String>)| now.iter().filter(|(path, _)| !path.is_empty()).eq(other.iter().skip(1));
    assert!(same(old) || unknown && same(new), "{moment}: {failure}: {now:?}");
}

fn crashes(private: bool, known: bool) {
    let site = Site::with_bucket();
    let (source, mut packs, before) = (site.source.path(), Packs::new(), TempDir::new().unwrap());
    old_tree(source);
    send(&site.remote(), &packs.push(source));
    let options = |volume: &Path| PullOptions { volume: volume.into(), ..site.pull_options() };
    done(pull(&site.remote(), &options(before.path())));
    let (old, first) = (contents(source), (packs.revision(), held(source)));
    new_tree(source);
    send(&site.remote(), &packs.push(source));
    let (new, second) = (contents(source), (packs.revision(), held(source)));
    let applied = Some(&first.0).filter(|_| known);
    let mut steps = BTreeMap::<String, usize>::new();
    for n in 1.. {
        let round = Site::at(&site.server, &site.name);
        let dest = round.dest.path();
        assert!(Command::new("cp").arg("-a").arg(before.path().join(".")).arg(dest).status().unwrap().success());
        let more: &[&str] = if private { &["--private-volume"] } else { &[] };
        let revision: Vec<&str> = applied.into_iter().flat_map(|applied| ["--applied-revision", applied]).collect();
        let mover = mover(&round, "pull", dest, &[more, &revision, &["--report", "/dev/null"]].concat());
        let mut crash = Command::new(example("crash"));
        crash.arg(n.to_string()).arg(dest).arg(mover.get_program()).args(mover.get_args()).env("TMPDIR", round.scratch.path());
        let output = crash.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let Some(step) = said.lines().last().unwrap_or_default().strip_prefix("killed before ") else {
            assert!(said.ends_with("ended 0\n"), "{said} {}", String::from_utf8_lossy(&output.stderr));
            assert_same_but_for_room(source, dest);
            assert!(n > 30, "{n}");
            break;
        };
        *steps.entry(step.split(' ').next().unwrap().to_owned()).or_default() += 1;
        let live = contents(dest);
        for (name, content) in &live {
            let (old, new) = (old.get(name).cloned().unwrap_or_default(), new.get(name).cloned().unwrap_or_default());
            let fine = if private { is_mix(content, &old, &new) } else { [&old, &new].contains(&content) };
            assert!(fine, "killed before {step} (change {n}): {name} holds neither");
        }
        let options = PullOptions { private, applied: applied.cloned(), ..options(dest) };
        if private {
            offline(&round, &options, [&first, &second], &format!("killed before {step} (change {n})"));
        }
        round.proxy.take();
        done(pull(&round.remote(), &options));
        let fetched: Vec<_> = round.proxy.take().into_iter().filter(|request| request.target.contains("/packs/")).collect();
        assert!(live == old || fetched.is_empty(), "killed before {step} (change {n}): {} was there", fetched[0].target);
        assert_same_but_for_room(source, dest);
        assert!(!dest.join(".scribe-staging").exists());
    }
    println!("killed before {steps:?}");
}

/// Kills a pull into `volume` right before it makes such a call.
pub(crate) fn killed_before(site: &Site, volume: &Path, call: &str) {
    let mover = mover(site, "pull", volume, &["--private-volume", "--report", "/dev/null"]);
    let mut crash = Command::new(example("crash"));
    crash.arg(call).arg(volume).arg(mover.get_program()).args(mover.get_args()).env("TMPDIR", site.scratch.path());
    let said = String::from_utf8(crash.output().unwrap().stdout).unwrap();
    assert!(said.ends_with(&format!("killed before {call}\n")), "{said}");
}

/// What was killed in the middle of a file waits for room, and is finished as soon as there is some, without the remote.
#[test]
fn a_full_disk_keeps_what_was_begun_for_the_next_pull() {
    let (site, small, mut packs) = (Site::with_bucket(), Small::new(8), Packs::new());
    let source = site.source.path();
    write(source, "db", vec![0; 64 * BLOCK]);
    send(&site.remote(), &packs.push(source));
    let options = PullOptions { volume: small.path().into(), ..site.pull_options() };
    done(pull(&site.remote(), &options));
    write(source, "db", noise(5, 64));
    write(source, "new", "new");
    send(&site.remote(), &packs.push(source));
    killed_before(&site, small.path(), "write db");
    let filler = small.path().join(".scribe-staging/filler");
    // Until nothing fits.
    assert!(fs::write(&filler, vec![1; 9 << 20]).is_err());
    for _ in 0..2 {
        site.proxy.take();
        let failure = pull(&site.remote(), &options).unwrap_err();
        assert_eq!((failure.reason, site.proxy.take().len()), (Reason::NoSpace, 0), "{failure}");
        assert!(failure.message.contains("mix of two revisions until a pull finishes"), "{failure}");
    }
    fs::remove_file(&filler).unwrap();
    let failure = pull(&site.lying(always(|_| true, || Deed::Die)), &options).unwrap_err();
    assert!(failure.message.contains(&format!("all of revision {}", packs.revision())), "{failure}");
    assert_eq!(held(small.path()), held(source));
    let pulled = done(pull(&site.remote(), &options));
    assert_eq!((pulled.changed, pulled.transferred, pulled.hashed, site.proxy.take().len()), (true, 0, 0, 1));
    assert_same_but_for_room(source, small.path());
}

/// A pull that goes on with what another one had begun may be stopped, at any row and at once: the volume was a mix before.
#[test]
fn what_is_finished_may_be_stopped_and_is_finished_by_the_next_pull() {
    let (site, mut packs) = (Site::with_bucket(), Packs::new());
    let (source, dest) = (site.source.path(), site.dest.path());
    old_tree(source);
    send(&site.remote(), &packs.push(source));
    done(pull(&site.remote(), &site.pull_options()));
    new_tree(source);
    send(&site.remote(), &packs.push(source));
    killed_before(&site, dest, "write db");
    for steps in [1, 10, 20] {
        let remote = site.remote();
        remote.context.stop.request_after(steps);
        site.proxy.take();
        let failure = pull(&remote, &site.pull_options()).unwrap_err();
        assert_eq!((failure.reason, site.proxy.take().len()), (Reason::MoverKilled, 0), "{failure}");
        assert!(failure.message.contains("mix of two revisions until a pull finishes"), "{failure}");
    }
    done(pull(&site.remote(), &site.pull_options()));
    assert_same_but_for_room(source, dest);
}

/// Before the volume is changed, no more than the new blocks and a few bytes for each was written, however much the volume holds: with the change
/// itself, a pull writes twice what changes.
#[test]
fn what_is_written_beforehand_is_as_large_as_the_change() {
    let (site, mut packs) = (Site::with_bucket(), Packs::new());
    let (source, dest) = (site.source.path(), site.dest.path());
    write(source, "db", noise(1, 300));
    for n in 0..1000 {
        write(source, format!("{}/{n}", n % 50), "stays");
    }
    send(&site.remote(), &packs.push(source));
    done(pull(&site.remote(), &site.pull_options()));
    let db = File::options().write(true).open(source.join("db")).unwrap();
    for block in 0..40 {
        db.write_all_at(&noise(2 + block, 1), block * 7 * BLOCK as u64).unwrap();
    }
    send(&site.remote(), &packs.push(source));
    killed_before(&site, dest, "unlink .scribe-staging/holds");
    let all = walkdir::WalkDir::new(dest.join(".scribe-staging")).into_iter().map(|entry| entry.unwrap().metadata().unwrap());
    let written: u64 = all.filter(std::fs::Metadata::is_file).map(|meta| meta.blocks() * 512).sum();
    assert!((40 * BLOCK as u64..44 * BLOCK as u64).contains(&written), "{written}");
    let journal = fs::metadata(dest.join(".scribe-staging/journal")).unwrap().len();
    assert!(journal < 2048, "{journal}");
    done(pull(&site.remote(), &site.pull_options()));
    assert_same_but_for_room(source, dest);
}

/// What was finished is no reason to believe in the path's history: another one may be committed by the next pull.
#[test]
fn what_was_finished_is_compared_with_a_path_that_was_restored() {
    for finished in [true, false] {
        let (site, mut packs) = (Site::with_bucket(), Packs::new());
        let (source, dest) = (site.source.path(), site.dest.path());
        let db = source.join("db");
        for name in ["db", "other"] {
            fs::write(source.join(name), noise(1, 5)).unwrap();
            touch(&source.join(name), 7, 7);
        }
        send(&site.remote(), &packs.push(source));
        let (first, mut restored) = (packs.revision(), packs.clone());
        done(pull(&site.remote(), &site.pull_options()));
        // Of the same size and time, as a database that writes through a mapping leaves it.
        let edit = |path: &Path, seed| {
            File::options().write(true).open(path).unwrap().write_all_at(&noise(seed, 1), BLOCK as u64).unwrap();
            touch(path, 7, 7);
        };
        edit(&db, 2);
        send(&site.remote(), &packs.push(source));
        killed_before(&site, dest, if finished { "unlink .scribe-staging/journal" } else { "unlink .scribe-staging/holds" });
        if finished {
            pull(&site.lying(always(|_| true, || Deed::Die)), &site.pull_options()).unwrap_err();
        }
        // The bucket is put back, and goes on from there.
        fs::write(&db, noise(1, 5)).unwrap();
        touch(&db, 7, 7);
        edit(&source.join("other"), 3);
        send(&site.remote(), &restored.push(source));
        done(pull(&site.remote(), &PullOptions { applied: Some(first), ..site.pull_options() }));
        assert_same_but_for_room(source, dest);
    }
}

#[test]
fn a_private_volume_is_completed_after_a_crash_at_any_step() {
    crashes(true, false);
}

#[test]
fn a_private_volume_that_is_known_is_completed_after_a_crash_at_any_step() {
    crashes(true, true);
}

#[test]
fn a_users_volume_has_whole_files_after_a_crash_at_any_step() {
    crashes(false, false);
}
