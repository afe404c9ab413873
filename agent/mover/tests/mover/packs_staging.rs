//! What a pull of layout Packs has fetched waits in folders of the staging folder that hold files which lie together in the tree: a folder with a
//! million names would be read again and again. The next pull finds it there, and nothing else that lies beside it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use assert_fs::TempDir;
use scribe_mover::pull::pull;
use scribe_mover::push::push_packs;
use scribe_mover::report::Reason;

use crate::packs_pull::{noise, overwrite};
use crate::support::liar::{Deed, Verb, always, both};
use crate::support::packed::BLOCK;
use crate::support::tree::{assert_same, assert_same_but_for_room, write};
use crate::support::{Site, done};

/// More than share a folder.
const FILES: usize = 4200;

/// The files that wait below `.scribe-staging/ok`, by their names there.
fn staged(volume: &Path) -> BTreeMap<String, Vec<u8>> {
    let ok = volume.join(".scribe-staging/ok");
    let files = walkdir::WalkDir::new(&ok).into_iter().filter_map(Result::ok).filter(|entry| entry.file_type().is_file());
    files.map(|file| (file.path().strip_prefix(&ok).unwrap().to_str().unwrap().to_owned(), fs::read(file.path()).unwrap())).collect()
}

fn pushed() -> Site {
    let site = Site::with_bucket();
    for number in 0..FILES {
        write(site.source.path(), format!("{:03}/{number}", number / 100), format!("this is file {number}"));
    }
    push_packs(&site.remote(), &site.push_options()).unwrap();
    site
}

/// Stops pulls later and later, until one of them has fetched everything.
fn stopped_before_the_first_change(site: &Site, dest: &Path) {
    let mut steps = 4 * FILES as u64;
    while staged(dest).values().filter(|content| content.starts_with(b"this is")).count() < FILES {
        let remote = site.remote();
        remote.context.stop.request_after(steps);
        assert_eq!(pull(&remote, &site.pull_options()).unwrap_err().reason, Reason::MoverKilled);
        steps += FILES as u64 / 2;
    }
    assert!(!dest.join("000").exists());
}

#[test]
fn a_killed_pull_finds_what_it_has_fetched_in_small_folders() {
    let site = pushed();
    let dest = site.dest.path();
    stopped_before_the_first_change(&site, dest);
    let mut folders = BTreeMap::<String, Vec<usize>>::new();
    for (name, content) in staged(dest) {
        let number = String::from_utf8(content).unwrap().rsplit(' ').next().unwrap().parse().unwrap();
        folders.entry(name.split_once('/').unwrap().0.to_owned()).or_default().push(number);
    }
    assert!(folders.len() == 2 && folders.values().all(|files| files.len() <= 4096), "{:?}", folders.keys());
    for files in folders.values_mut() {
        files.sort_unstable();
        assert!(files.last().unwrap() - files[0] < files.len(), "files of a folder of the tree lie apart");
    }
    // What an older mover has left, and what lies in the way.
    let (ok, outside) = (dest.join(".scribe-staging/ok"), TempDir::new().unwrap());
    let first = staged(dest).into_keys().next().unwrap();
    fs::write(ok.join(first.split_once('/').unwrap().1), "an older one's").unwrap();
    write(outside.path(), "file", "outside");
    symlink(outside.path(), ok.join("7f")).unwrap();
    symlink(outside.path().join("file"), ok.join("1/link")).unwrap();
    site.proxy.take();
    done(pull(&site.remote(), &site.pull_options()));
    let fetched: Vec<_> = site.proxy.take().into_iter().filter(|request| request.target.contains("/packs/")).collect();
    assert!(fetched.is_empty(), "{fetched:?}");
    assert_same(site.source.path(), dest);
    assert!(!dest.join(".scribe-staging").exists() && fs::read(outside.path().join("file")).unwrap() == b"outside");
}

/// A link in the place of such a folder leads nowhere, and a folder that others may write to is not taken over.
#[test]
fn what_stands_in_the_place_of_a_folder_goes() {
    let site = pushed();
    let (dest, outside) = (site.dest.path(), TempDir::new().unwrap());
    stopped_before_the_first_change(&site, dest);
    let ok = dest.join(".scribe-staging/ok");
    let folder = |name: &str| ok.join(name);
    fs::rename(folder("0"), outside.path().join("0")).unwrap();
    symlink(outside.path().join("0"), folder("0")).unwrap();
    fs::set_permissions(folder("1"), fs::Permissions::from_mode(0o777)).unwrap();
    let there = |at: &Path| walkdir::WalkDir::new(at).into_iter().filter(|entry| entry.as_ref().unwrap().file_type().is_file()).count();
    let (before, mtime) = (there(outside.path()), fs::metadata(outside.path().join("0")).unwrap().modified().unwrap());
    site.proxy.take();
    done(pull(&site.remote(), &site.pull_options()));
    assert!(site.proxy.take().iter().any(|request| request.target.contains("/packs/")), "nothing of either is taken for fetched");
    assert_same(site.source.path(), dest);
    let after = fs::metadata(outside.path().join("0")).unwrap().modified().unwrap();
    assert_eq!((there(outside.path()), after), (before, mtime));
}

/// Names of a file whose first one this volume cannot have are files of their own there, and both change in place: what waits for either is the same.
#[test]
fn two_files_of_one_content_change_in_place() {
    let site = Site::with_bucket();
    let (source, dest) = (site.source.path(), site.dest.path());
    fs::write(source.join("lost+found"), noise(1, 8 * BLOCK)).unwrap();
    for name in ["y", "z"] {
        fs::hard_link(source.join("lost+found"), source.join(name)).unwrap();
    }
    fs::create_dir(dest.join("lost+found")).unwrap();
    push_packs(&site.remote(), &site.push_options()).unwrap();
    done(pull(&site.remote(), &site.pull_options()));
    // The first record is short, and those behind it are long.
    overwrite(&source.join("y"), BLOCK, &vec![7; BLOCK]);
    for block in [3, 5, 6] {
        overwrite(&source.join("y"), block * BLOCK, &noise(block as u64, BLOCK));
    }
    push_packs(&site.remote(), &site.push_options()).unwrap();
    done(pull(&site.remote(), &site.pull_options()));
    for name in ["y", "z"] {
        assert!(fs::read(dest.join(name)).unwrap() == fs::read(source.join("y")).unwrap(), "{name}");
    }
}

/// Pushes a file of so many blocks, and then small ones, until the pack of such a one comes after that of the large one, as packs are fetched. Returns
/// the name of that file and where its pack is.
fn large_and_small(site: &Site, blocks: usize) -> (String, PathBuf) {
    let last = || fs::read_dir(site.object(".scribe/packs")).unwrap().map(|pack| pack.unwrap().path()).max().unwrap();
    fs::write(site.source.path().join("large"), noise(1, blocks * BLOCK)).unwrap();
    push_packs(&site.remote(), &site.push_options()).unwrap();
    let first = last();
    for number in 2.. {
        let name = format!("small {number}");
        fs::write(site.source.path().join(&name), noise(number, BLOCK)).unwrap();
        push_packs(&site.remote(), &site.push_options()).unwrap();
        if last() != first {
            return (name, last());
        }
    }
    unreachable!()
}

/// Blocks of a pack that came before one of its ranges was lost are not put in place once more when all of it comes.
#[test]
fn what_came_before_a_range_is_lost_is_kept_once() {
    let site = Site::with_bucket();
    let dest = site.dest.path();
    let (small, second) = large_and_small(&site, 256);
    done(pull(&site.remote(), &site.pull_options()));
    // Two blocks of the first pack are needed then, far from each other, and all of the second one.
    let spoil = || {
        for (name, at) in [("large", 0), ("large", 128 * BLOCK), (&*small, 0)] {
            overwrite(&dest.join(name), at, b"spoiled");
        }
    };
    spoil();
    let ranges = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ranges);
    let counting = move |verb: &Verb| {
        counted.fetch_add(usize::from(matches!(verb, Verb::Range)), Ordering::Relaxed);
        Deed::Pass
    };
    done(pull(&site.lying(Box::new(counting)), &site.pull_options()));
    spoil();
    let last = ranges.load(Ordering::Relaxed);
    let is_last = move |verb: &Verb| matches!(verb, Verb::Range) && ranges.fetch_sub(1, Ordering::Relaxed) == 1;
    let lost = always(is_last, || Deed::Absent);
    let gone = always(
        |verb| matches!(verb, Verb::Fetch(_)),
        move || {
            let second = second.clone();
            Deed::before(move || drop(fs::remove_file(second)))
        },
    );
    assert!(last >= 2, "{last}");
    pull(&site.lying(both(lost, gone)), &site.pull_options()).unwrap_err();
    let records: Vec<usize> = staged(dest).values().map(Vec::len).filter(|length| *length > 0).collect();
    assert_eq!(records, [2 * (48 + BLOCK)]);
}

/// A file that changes while a slow line brings it is not fetched from the beginning each time.
#[test]
fn what_was_fetched_of_an_older_content_counts_for_the_newer() {
    let site = Site::with_bucket();
    let (source, dest) = (site.source.path(), site.dest.path());
    let (_, second) = large_and_small(&site, 100);
    let away = site.secret.path().join("away");
    fs::rename(&second, &away).unwrap();
    pull(&site.remote(), &site.pull_options()).unwrap_err();
    fs::rename(&away, &second).unwrap();
    overwrite(&source.join("large"), 5 * BLOCK, &noise(3, BLOCK));
    // What became zero in it since must not stay.
    overwrite(&source.join("large"), 7 * BLOCK, &[0; BLOCK]);
    push_packs(&site.remote(), &site.push_options()).unwrap();
    let pulled = done(pull(&site.remote(), &site.pull_options()));
    assert!(pulled.transferred < 4 * BLOCK as u64, "{pulled:?}");
    assert_same_but_for_room(source, dest);
}
