//! A pull of layout Packs that dies at any change of the volume: of a private one's files each block is an old or a new one, of a user's each
//! file, and the next pull ends right without fetching a block that had come before anything was changed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use assert_fs::TempDir;
use scribe_mover::pull::{PullOptions, pull};

use crate::support::packed::{BLOCK, Packs, send};
use crate::support::program::{example, mover};
use crate::support::tree::{assert_same_but_for_room, write};
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

fn crashes(private: bool) {
    let site = Site::with_bucket();
    let (source, mut packs, before) = (site.source.path(), Packs::new(), TempDir::new().unwrap());
    old_tree(source);
    send(&site.remote(), &packs.push(source));
    let options = |volume: &Path| PullOptions { volume: volume.into(), ..site.pull_options() };
    done(pull(&site.remote(), &options(before.path())));
    let old = contents(source);
    new_tree(source);
    send(&site.remote(), &packs.push(source));
    let new = contents(source);
    let mut steps = BTreeMap::<String, usize>::new();
    for n in 1.. {
        let round = Site::at(&site.server, &site.name);
        let dest = round.dest.path();
        assert!(Command::new("cp").arg("-a").arg(before.path().join(".")).arg(dest).status().unwrap().success());
        let more: &[&str] = if private { &["--private-volume", "--report", "/dev/null"] } else { &["--report", "/dev/null"] };
        let mover = mover(&round, "pull", dest, more);
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
        round.proxy.take();
        done(pull(&round.remote(), &PullOptions { private, ..options(dest) }));
        let fetched: Vec<_> = round.proxy.take().into_iter().filter(|request| request.target.contains("/packs/")).collect();
        assert!(live == old || fetched.is_empty(), "killed before {step} (change {n}): {} was there", fetched[0].target);
        assert_same_but_for_room(source, dest);
        assert!(!dest.join(".scribe-staging").exists());
    }
    println!("killed before {steps:?}");
}

#[test]
fn a_private_volume_is_completed_after_a_crash_at_any_step() {
    crashes(true);
}

#[test]
fn a_users_volume_has_whole_files_after_a_crash_at_any_step() {
    crashes(false);
}
