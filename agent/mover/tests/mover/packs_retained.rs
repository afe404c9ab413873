//! Retained revisions through rclone: each is restored, and a volume goes back and forth between them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use assert_fs::TempDir;
use jiff::{SignedDuration, Timestamp};
use scribe_mover::error::{Failure, Result};
use scribe_mover::format::documents::Control;
use scribe_mover::format::revision::Revision;
use scribe_mover::guard::Guard;
use scribe_mover::packs::commit::AnyCommit;
use scribe_mover::packs::manifest::Retained;
use scribe_mover::pull::{PullOptions, PullOutcome, Synced, Wanted, pull_wanted};
use scribe_mover::push::{PushOptions, push_packs};
use scribe_mover::remote::committed::read_any_commit;
use scribe_mover::remote::packed::read_packs_manifest;
use scribe_mover::report::{Outcome, Reason};
use scribe_mover::retention::Retention;
use scribe_mover::volume::path::RelPath;

use crate::packs_pull::{noise, options, overwrite};
use crate::packs_read::revision_at;
use crate::support::program::{inspect, mover, report};
use crate::support::tree::{assert_same_but_for_room, touch, write};
use crate::support::{Local, Site, done};

const BLOCK: usize = 16 << 10;

fn push(site: &Local, retention: Retention) -> Synced {
    push_packs(&site.remote(), &PushOptions { retention, ..site.push_options() }).unwrap()
}

fn pull(site: &Local, options: &PullOptions, wanted: &Wanted) -> Result<PullOutcome> {
    pull_wanted(&site.remote(), options, None, wanted)
}

fn revision(name: &str) -> Wanted {
    Wanted::Revision(Revision::parse(name).unwrap())
}

/// What the committed manifest retains.
fn retained(site: &Local) -> Vec<Retained> {
    let Control::Present(AnyCommit::Packs(commit)) = read_any_commit(&site.remote()).unwrap() else { panic!() };
    let manifest = read_packs_manifest(&site.remote(), &commit.statement.revision, &commit.manifest).unwrap();
    let Control::Present(manifest) = manifest else { panic!() };
    manifest.document.retained
}

fn copy(from: &Path, to: &Path) {
    assert!(std::process::Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap().success());
}

/// Seven pushes of which five are kept: each is restored into an empty volume, and into one that holds any other one.
#[test]
fn of_five_retained_revisions_each_is_restored() {
    let site = Local::new();
    let source = site.source.path();
    let mut pushed: Vec<(Synced, TempDir)> = Vec::new();
    for number in 0..7_u64 {
        if number == 0 {
            write(source, "db", noise(0, 40 * BLOCK));
        } else {
            overwrite(&source.join("db"), usize::try_from(number).unwrap() * 5 * BLOCK, &noise(number, 3 * BLOCK));
        }
        write(source, format!("of/{number}"), format!("{number} alone"));
        if number > 2 {
            fs::remove_file(source.join(format!("of/{}", number - 2))).unwrap();
        }
        let synced = push(&site, Retention::last(5));
        let packs = synced.packs.unwrap();
        assert!(packs.sent > 0 && packs.live <= packs.stored, "{packs:?}");
        let kept = TempDir::new_in("/dev/shm").unwrap();
        copy(source, kept.path());
        pushed.push((synced, kept));
    }
    let listed = retained(&site);
    let names: Vec<&str> = pushed.iter().rev().take(5).map(|(synced, _)| synced.revision.as_str()).collect();
    assert_eq!(listed.iter().map(|kept| kept.revision.as_str()).collect::<Vec<_>>(), names[1..]);
    for kept in &listed {
        let object = |name: &str| fs::read(site.bucket.path().join(name)).ok().map(Into::into);
        let of = revision_at(&site.remote(), (&kept.revision, &kept.manifest), &object).unwrap();
        assert!(of.needs.iter().all(|name| site.bucket.path().join(name).exists()));
        assert_eq!((Some(of.document.statement.entries), Some(of.document.statement.bytes)), (kept.entries, kept.bytes));
    }
    // Back, forth, over several and to the same.
    let mut applied = None;
    for at in [6, 2, 3, 6, 5, 2, 2, 4, 3, 6] {
        let (synced, expected) = &pushed[at];
        let fresh = TempDir::new_in("/dev/shm").unwrap();
        let pulled = done(pull(&site, &options(fresh.path(), false, None), &revision(&synced.revision)));
        assert_eq!((&pulled.revision, pulled.data_time, pulled.files), (&synced.revision, synced.data_time, synced.files));
        assert_same_but_for_room(expected.path(), fresh.path());
        let again = done(pull(&site, &options(site.dest.path(), true, applied.clone()), &revision(&synced.revision)));
        assert_same_but_for_room(expected.path(), site.dest.path());
        assert_eq!(again.changed, applied.as_ref() != Some(&synced.revision));
        applied = Some(synced.revision.clone());
    }
    // By a time: the one of then, also where it is between two.
    let as_of = |time: Timestamp| pull(&site, &options(site.dest.path(), false, None), &Wanted::AsOf(time));
    for (at, later) in [(2, 0), (4, 0), (4, 1), (6, 1_000_000)] {
        let pulled = done(as_of(pushed[at].0.data_time + SignedDuration::from_millis(later)));
        assert_eq!(pulled.revision, pushed[at].0.revision);
        assert_same_but_for_room(pushed[at].1.path(), site.dest.path());
    }
    // Not there any more, or never: both sides are named, and nothing is pulled.
    let missing = |outcome: Result<PullOutcome>, named: &[&str]| {
        let Failure { reason, message, .. } = outcome.unwrap_err();
        assert_eq!(reason, Reason::RevisionMissing);
        assert!(named.iter().all(|name| message.contains(name)), "{message}");
        assert_same_but_for_room(pushed[6].1.path(), site.dest.path());
    };
    let after = |at: usize| format!("the nearest one after it is {} of {}", pushed[at].0.revision, pushed[at].0.data_time);
    let before = |at: usize| format!("the nearest one before it is {} of {}", pushed[at].0.revision, pushed[at].0.data_time);
    missing(as_of(pushed[2].0.data_time - SignedDuration::from_millis(1)), &["there is none before it", &after(2)]);
    let by_name = |name: &str| pull(&site, &options(site.dest.path(), true, None), &revision(name));
    missing(by_name(&pushed[1].0.revision), &["there is none before it", &after(2)]);
    let other_push_of_4 = pushed[3].0.revision.rsplit_once('-').unwrap().0.to_owned() + "-zzzz";
    missing(by_name(&other_push_of_4), &[&before(3), &after(4)]);
    missing(by_name("20010101T000000Z-00000000-3-aaaa"), &["there is none before it", &after(2)]);
    missing(by_name("29990101T000000Z-00000000-3-aaaa"), &[&before(6), "there is none after it"]);

    // One path of an older one.
    let path = RelPath::new(b"of/1").unwrap();
    let single = pull_wanted(&site.remote(), &options(site.dest.path(), false, None), Some(&path), &revision(&pushed[2].0.revision));
    assert_eq!((done(single).files, fs::read(site.dest.path().join("of/1")).unwrap()), (1, b"1 alone".to_vec()));
    let none = pull_wanted(&site.remote(), &options(site.dest.path(), false, None), Some(&path), &revision(&pushed[4].0.revision));
    assert!(none.unwrap_err().message.contains(&format!("revision {} of", pushed[4].0.revision)));

    // What only older ones need, and the remote has lost.
    let manifest = site.bucket.path().join(format!(".scribe/manifests/{}.zst", pushed[3].0.revision));
    let bytes = fs::read(&manifest).unwrap();
    for damage in [None, Some(&bytes[..bytes.len() - 1])] {
        match damage {
            None => fs::remove_file(&manifest).unwrap(),
            Some(bytes) => fs::write(&manifest, bytes).unwrap(),
        }
        let failure = by_name(&pushed[3].0.revision).unwrap_err();
        assert!(failure.reason == Reason::RemoteInconsistent && failure.message.contains("nothing that is pushed"), "{failure}");
    }
    done(by_name(&pushed[2].0.revision));
}

/// Nothing of two revisions differs in size and time: no generation of either vouches for a file of the other.
#[test]
fn a_pull_back_trusts_no_size_and_no_time() {
    let site = Local::new();
    let source = site.source.path();
    let version = |seed: u64| {
        let late = if seed == 3 { 3 } else { 0 };
        for (name, length, seed) in [("large", 9 * BLOCK, seed), ("small", 100, seed), ("late", 150, late), ("same", 200, 0)] {
            write(source, name, noise(seed, length));
            touch(&source.join(name), 1_000, 0);
        }
    };
    let mut pushed = Vec::new();
    for seed in 1..=3 {
        version(seed);
        pushed.push(push(&site, Retention::last(3)));
    }
    let mut applied: Option<String> = None;
    for seed in [3, 1, 2, 1, 3, 2, 3] {
        let synced = &pushed[usize::try_from(seed).unwrap() - 1];
        let wanted = if seed == 3 { Wanted::Newest } else { revision(&synced.revision) };
        let pulled = done(pull(&site, &options(site.dest.path(), true, applied), &wanted));
        version(seed);
        assert_same_but_for_room(source, site.dest.path());
        assert!(pulled.changed);
        applied = Some(synced.revision.clone());
    }
    // Of one that was pulled meanwhile, nobody knows: a file that it alone has changed is read, too.
    for at in [0, 2] {
        done(pull(&site, &options(site.dest.path(), true, Some(pushed[0].revision.clone())), &revision(&pushed[at].revision)));
    }
    done(pull(&site, &options(site.dest.path(), true, Some(pushed[0].revision.clone())), &revision(&pushed[1].revision)));
    version(2);
    assert_same_but_for_room(source, site.dest.path());
    version(3);
    done(pull(&site, &options(site.dest.path(), true, None), &Wanted::Newest));
    // To the newest again by what is proven: what changed is not read.
    overwrite(&source.join("large"), 4 * BLOCK, &noise(4, BLOCK));
    touch(&source.join("large"), 2_000, 0);
    let newest = push(&site, Retention::last(4));
    done(pull(&site, &options(site.dest.path(), true, applied.clone()), &Wanted::Newest));
    let back = done(pull(&site, &options(site.dest.path(), true, Some(newest.revision)), &revision(&pushed[2].revision)));
    assert!(back.changed && back.hashed > 9 * BLOCK as u64, "{back:?}");
    assert_eq!(Some(&back.revision), applied.as_ref());
    let forth = done(pull(&site, &options(site.dest.path(), true, applied), &Wanted::Newest));
    assert_same_but_for_room(source, site.dest.path());
    assert!(forth.changed && forth.hashed < BLOCK as u64, "{forth:?}");
}

/// A revision that is too long ago to be among the ancestors by name is one all the same, because it is retained.
#[test]
fn a_retained_revision_is_a_proven_ancestor() {
    let site = Local::new();
    write(site.source.path(), "same", noise(1, 5 * BLOCK));
    // A run that is large enough to stay apart from the small ones after it.
    for _ in 0..1_200 {
        let name: String = std::iter::repeat_with(fastrand::alphanumeric).take(200).collect();
        symlink("to", site.source.path().join(name)).unwrap();
    }
    let first = push(&site, Retention::last(80));
    done(pull(&site, &options(site.dest.path(), true, None), &Wanted::Newest));
    for number in 0..66 {
        write(site.source.path(), "changes", number.to_string());
        push(&site, Retention::last(80));
    }
    let pulled = done(pull(&site, &options(site.dest.path(), true, Some(first.revision)), &Wanted::Newest));
    assert_same_but_for_room(site.source.path(), site.dest.path());
    assert_eq!(pulled.hashed, 0, "{pulled:?}");
}

/// Files that an older revision does not have are deletions like any other.
#[test]
fn the_guard_holds_for_a_pull_back() {
    let site = Local::new();
    write(site.source.path(), "first", "first");
    let first = push(&site, Retention::last(2));
    for number in 0..30 {
        write(site.source.path(), format!("f{number}"), "later");
    }
    push(&site, Retention::last(2));
    let guarded = |allowed: Option<String>| {
        let guard = Guard { percent: 90, floor: 10, allowed };
        pull(&site, &PullOptions { guard, ..options(site.dest.path(), true, None) }, &revision(&first.revision))
    };
    done(pull(&site, &options(site.dest.path(), true, None), &Wanted::Newest));
    let refused = guarded(None).unwrap_err();
    assert_eq!(refused.reason, Reason::DeletionGuard);
    assert_same_but_for_room(site.source.path(), site.dest.path());
    let token = refused.message.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').find(|word| guarded(Some((*word).into())).is_ok());
    assert!(token.is_some(), "{refused}");
    assert_eq!(fs::read_dir(site.dest.path()).unwrap().count(), 1);
}

#[test]
fn revisions_are_kept_shown_and_asked_for_by_hand() {
    let site = Site::with_bucket();
    write(site.source.path(), "f", "first");
    let push = |more: &[&str]| report(&mover(&site, "push", site.source.path(), more).output().unwrap());
    let pull = |more: &[&str]| report(&mover(&site, "pull", site.dest.path(), more).output().unwrap());
    let packs = ["--layout", "packs", "--retain", "last=2,daily=3,timeZone=Europe/Berlin"];
    let first = push(&packs);
    write(site.source.path(), "f", "second");
    let second = push(&packs);
    let [one, two] = [&first, &second].map(|report| report.revision.clone().unwrap());
    assert!(second.packs.is_some_and(|packs| packs.sent > 0 && packs.live < packs.stored), "{second:?}");
    let same = push(&packs);
    assert_eq!((same.changed, same.packs.unwrap().sent, same.packs.unwrap().stored), (false, 0, second.packs.unwrap().stored));

    let (code, text, _) = inspect(&site, "list", &[]);
    let row = format!("Retained       {one}  {}  1 entries  5 B", first.data_time.unwrap());
    assert!(code == Some(0) && text.contains(&row), "{text}");
    let (_, json, _) = inspect(&site, "list", &["--output", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((json["retained"][0]["entries"].as_u64(), json["retained"][0]["bytes"].as_u64()), (Some(1), Some(5)));

    let content = || fs::read_to_string(site.dest.path().join("f")).unwrap();
    let pulled = pull(&["--revision", &one]);
    assert_eq!((pulled.message, content()), (format!("Synced 1 files of revision {one} from {}.", site.name), "first".into()));
    let again = pull(&["--revision", &one, "--private-volume", "--applied-revision", &one]);
    assert_eq!((again.message, again.revision.as_ref()), (format!("The volume holds revision {one} already."), Some(&one)));
    // What another one that is applied holds does not stand for the one that is asked for.
    let other = pull(&["--revision", &one, "--private-volume", "--applied-revision", &two]);
    assert_eq!((other.revision.as_ref(), content()), (Some(&one), "first".into()));
    assert_eq!((pull(&[]).revision.as_ref(), content()), (Some(&two), "second".into()));
    assert_eq!((pull(&["--as-of", &first.data_time.unwrap().to_string()]).revision.as_ref(), content()), (Some(&one), "first".into()));
    assert_eq!((pull(&["--as-of", "2999-01-01T00:00:00Z", "--path", "f"]).revision.as_ref(), content()), (Some(&two), "second".into()));
    let early = pull(&["--as-of", "2001-01-01T00:00:00Z"]);
    assert_eq!((early.result, early.reason), (Outcome::Failed, Some(Reason::RevisionMissing)));

    // What cannot be meant is refused before anything is done.
    let usage = |verb: &str, volume: &Path, more: &[&str]| {
        let output = mover(&site, verb, volume, more).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (verb, more, said) in [
        ("push", ["--layout=packs", "--retain=last=4097"], "from 1 to 4096"),
        ("push", ["--layout=packs", "--retain=last=4096,daily=1"], "lower last"),
        ("pull", ["--revision=latest", "--report=/dev/null"], "that `mover list` shows"),
        ("pull", ["--as-of=yesterday", "--report=/dev/null"], "--as-of"),
        ("pull", ["--as-of=2026-01-01T00:00:00Z", &format!("--revision={one}")], "cannot be used with"),
    ] {
        let (code, message) = usage(verb, site.dest.path(), &more);
        assert!(code == Some(2) && message.contains(said), "{more:?}: {code:?} {message}");
    }
    let files = push(&["--retain", "last=2"]);
    assert!(files.message.contains("--retain is for layout Packs"), "{files:?}");
    let plain = pull(&["--layout", "plain", "--revision", &one]);
    assert!(plain.message.contains("has no revisions"), "{plain:?}");
}

/// A path of layout Files has the committed revision alone.
#[test]
fn a_path_of_layout_files_has_one_revision() {
    let site = Site::with_bucket();
    write(site.source.path(), "f", "first");
    let first = site.push();
    write(site.source.path(), "f", "second");
    let second = site.push();
    let pull = |wanted: &Wanted| pull_wanted(&site.remote(), &site.pull_options(), None, wanted);
    assert_eq!(done(pull(&revision(&second.revision))).revision, second.revision);
    assert_eq!(done(pull(&Wanted::AsOf(second.data_time))).revision, second.revision);
    for wanted in [revision(&first.revision), Wanted::AsOf(second.data_time - SignedDuration::from_millis(1))] {
        let failure = pull(&wanted).unwrap_err();
        assert!(failure.reason == Reason::RevisionMissing && failure.message.contains(&second.revision), "{failure}");
    }
    assert_eq!(fs::read(site.dest.path().join("f")).unwrap(), b"second");
}
