use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use assert_fs::TempDir;
use sha2::{Digest as _, Sha256};

use super::super::waiting::append;
use super::resume;
use super::row::{Comes, FORMAT, Head, Name, Row};
use crate::digest::Digest;
use crate::format::lines::LinesWriter;
use crate::format::manifest::encode;
use crate::packs::reference::Form;
use crate::packs::salt::Salt;
use crate::pull::prepare::Lies;
use crate::pull::staging::Staging;
use crate::pull::standing::Holds;
use crate::report::Reason;
use crate::stop::Stop;
use crate::store::progress::Progress;
use crate::volume::beneath::Root;
use crate::volume::entry::{Entry, Kind, Meta};
use crate::volume::path::RelPath;

const REVISION: &str = "20261123T042858Z-1c9a77e0-17-5f2e";
const BLOCK: usize = 16 << 10;
const CONTENT: Digest = Digest([7; 32]);
const SALT: Salt = Salt([9; 16]);

fn name(path: &str) -> Name {
    Name(RelPath::new(path.as_bytes()).unwrap())
}

fn head() -> Row {
    let skipped = std::collections::BTreeMap::new();
    let head = Head { format: FORMAT, revision: REVISION.into(), block: 16384, salt: SALT, merges: false, changed: true, lost: 1, skipped };
    Row::Head(Box::new(head))
}

fn meta(path: &str, mode: u32) -> Row {
    let meta = Meta { mode, uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw(), ..Meta::default() };
    Row::Meta(Box::new(encode(&Entry { path: RelPath::new(path.as_bytes()).unwrap(), meta, kind: Kind::Dir })))
}

fn lines<T: serde::Serialize>(rows: &[T]) -> Vec<u8> {
    let mut lines = LinesWriter::new(Vec::new()).unwrap();
    for row in rows {
        lines.push(row).unwrap();
    }
    lines.finish().unwrap()
}

/// What the next pull does first.
fn resumed(volume: &Volume) -> crate::error::Result<()> {
    resume(&volume.root, &Progress::default(), &Stop::default())
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let seal = Sha256::digest(&bytes);
    bytes.extend(seal);
    bytes
}

/// A volume on which a pull was interrupted that changes `db`, puts `new` in place, and removes `old` and `gone`.
struct Volume {
    dir: TempDir,
    outside: TempDir,
    root: Root,
}

impl Volume {
    fn new() -> Self {
        let (dir, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let root = Root::open(dir.path()).unwrap();
        let staging = Staging::open(&root).unwrap();
        let log = staging.verified().at(&Staging::blocks(&CONTENT)).unwrap().make_file().unwrap();
        let plain = vec![2; BLOCK];
        append(&log, 0, &SALT, (1, &SALT.hash(&plain)), (Form::Raw, &plain)).unwrap();
        fs::write(staging.temporary().shown(&RelPath::own("0")), "new").unwrap();
        fs::create_dir(staging.temporary().shown(&RelPath::own("1"))).unwrap();
        fs::write(dir.path().join("db"), vec![1; 3 * BLOCK]).unwrap();
        fs::write(dir.path().join("gone"), "gone").unwrap();
        fs::write(dir.path().join("old"), "old").unwrap();
        fs::write(outside.path().join("file"), "outside").unwrap();
        symlink(outside.path(), dir.path().join("link")).unwrap();
        symlink(outside.path().join("file"), dir.path().join("link to a file")).unwrap();
        Self { dir, outside, root }
    }

    fn rows() -> Vec<Row> {
        vec![
            head(),
            Row::Clear(name("old"), false),
            Row::File(name("db"), 2 * BLOCK as u64 + 10, CONTENT),
            Row::Zero(0, 1),
            Row::Resize,
            Row::Copy(1, 2),
            Row::Put(name("new"), Lies::Numbered(0), Comes::File(3)),
            Row::Put(name("old"), Lies::Numbered(1), Comes::Folder),
            Row::Remove(name("gone")),
            meta("old", 0o750),
        ]
    }

    fn journal(&self) -> std::path::PathBuf {
        self.dir.path().join(".scribe-staging/journal")
    }

    fn put(&self, journal: &[u8]) {
        fs::write(self.journal(), journal).unwrap();
    }

    /// Everything but the staging folder.
    fn live(&self) -> Vec<(String, Vec<u8>)> {
        live(self.dir.path())
    }

    fn is_done(&self) -> bool {
        let db = [vec![0; BLOCK], vec![2; BLOCK], vec![1; 10]].concat();
        let names = ["db", "link", "link to a file", "new", "old"];
        let there = self.live();
        there.iter().map(|(name, _)| name.as_str()).eq(names) && fs::read(self.dir.path().join("db")).unwrap() == db
    }
}

fn live(root: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = walkdir::WalkDir::new(root).min_depth(1).sort_by_file_name().into_iter();
    let entries = entries.filter_entry(|entry| entry.file_name() != ".scribe-staging").map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let content = if entry.file_type().is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() };
            (entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned(), content)
        })
        .collect()
}

#[test]
fn what_a_journal_says_is_done_once_more_wherever_it_ended() {
    let rows = Volume::rows().len();
    for done in 0..=rows {
        let volume = Volume::new();
        // As far as that, as a pull that was killed then has done it.
        let first = Volume::rows().into_iter().take(done.max(1)).collect::<Vec<_>>();
        volume.put(&sealed(lines(&first)));
        let staging = Staging::left(&volume.root).unwrap().unwrap();
        super::carry_out(&volume.root, &staging, &Stop::default()).unwrap();
        volume.put(&sealed(lines(&Volume::rows())));
        resumed(&volume).unwrap();
        assert!(volume.is_done(), "{done}: {:?}", volume.live().iter().map(|(name, _)| name).collect::<Vec<_>>());
        let holds = Holds::of(&volume.root).unwrap().unwrap();
        assert_eq!((holds.revision.as_deref(), holds.brought.unwrap().deleted), (Some(REVISION), 1));
        assert!(!volume.journal().exists() && fs::read_dir(volume.dir.path().join(".scribe-staging/ok")).unwrap().next().is_none());
    }
}

#[test]
fn a_journal_that_is_not_all_there_or_does_not_fit_changes_nothing() {
    let good = lines(&Volume::rows());
    let with = |change: &dyn Fn(&mut Vec<Row>)| {
        let mut rows = Volume::rows();
        change(&mut rows);
        sealed(lines(&rows))
    };
    let with_head = |change: &dyn Fn(&mut Head)| {
        with(&|rows| {
            if let Row::Head(head) = &mut rows[0] {
                change(head);
            }
        })
    };
    let raw = |line: &str| {
        let mut lines = LinesWriter::new(Vec::new()).unwrap();
        lines.push(&head()).unwrap();
        lines.push(&Row::Remove(name("gone"))).unwrap();
        lines.push(&serde_json::from_str::<serde_json::Value>(line).unwrap()).unwrap();
        sealed(lines.finish().unwrap())
    };
    let hex = |path: &str| crate::digest::hex(path.as_bytes());
    let put = |path: &str| format!("{{\"put\":[\"{}\",{{\"numbered\":0}},{{\"file\":3}}]}}", hex(path));
    let number = good.len();
    let bomb = zstd::encode_all(&vec![b'['; 64 << 20][..], 1).unwrap();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("without a seal", good.clone()),
        ("cut", sealed(good[..number / 2].to_vec())),
        ("cut behind its seal was made", sealed(good.clone())[..number].to_vec()),
        ("one byte is another", {
            let mut bytes = sealed(good.clone());
            bytes[number / 2] ^= 1;
            bytes
        }),
        ("whole, with the seal of another", [&good[..], &Sha256::digest(b"another")].concat()),
        ("no lines", sealed(b"nothing of ours".to_vec())),
        ("a line without end", sealed(bomb)),
        ("no head", sealed(lines(&Volume::rows()[1..]))),
        ("two heads", with(&|rows| rows.push(head()))),
        ("a later format", with_head(&|head| head.format = FORMAT + 1)),
        ("an older format, which names other places", with_head(&|head| head.format = FORMAT - 1)),
        ("another block", with_head(&|head| head.block = 3)),
        ("no revision", with_head(&|head| head.revision = "../x".into())),
        ("names for one another", with_head(&|head| head.merges = true)),
        ("above the volume", raw(&put("../file"))),
        ("above the volume again", raw(&put("x/../../file"))),
        ("an absolute path", raw(&put("/etc/passwd"))),
        ("the staging folder", raw(&put(".scribe-staging/x"))),
        ("the root", raw(&put(""))),
        ("to be removed above", raw(&format!("{{\"remove\":\"{}\"}}", hex("../file")))),
        ("to be cleared above", raw(&format!("{{\"clear\":[\"{}\",false]}}", hex("..")))),
        ("no step", raw("{\"format\":[1,2]}")),
        ("a digest that is a path", raw(&format!("{{\"put\":[\"{}\",{{\"content\":\"../../../../etc/passwd\"}},\"other\"]}}", hex("x")))),
        ("metadata of nothing", raw("{\"meta\":{\"p\":\"../x\",\"t\":\"d\"}}")),
        ("a file behind a link", with(&|rows| rows[2] = Row::File(name("link/file"), 2 * BLOCK as u64 + 10, CONTENT))),
        ("a link to a file", with(&|rows| rows[2] = Row::File(name("link to a file"), 2 * BLOCK as u64 + 10, CONTENT))),
        ("a file that is a folder", with(&|rows| rows[2] = Row::File(name("nothing"), 2 * BLOCK as u64 + 10, CONTENT))),
        ("blocks of no file", with(&|rows| drop(rows.remove(2)))),
        ("blocks that its size does not have", with(&|rows| rows[2] = Row::File(name("db"), BLOCK as u64 + 5, CONTENT))),
        ("an absurd size", with(&|rows| rows[2] = Row::File(name("db"), u64::MAX, CONTENT))),
        ("an absurd block", with(&|rows| rows[3] = Row::Zero(0, u64::MAX))),
        (
            "more blocks than can wait",
            with(&|rows| {
                rows[2] = Row::File(name("db"), 1 << 62, CONTENT);
                rows[5] = Row::Copy(0, 1 << 47);
            }),
        ),
        ("a block that does not wait", with(&|rows| rows[5] = Row::Copy(0, 2))),
        ("a block under another salt", with_head(&|head| head.salt = Salt([8; 16]))),
        ("a block behind the end", with(&|rows| rows[5] = Row::Copy(1, 4))),
        ("blocks that end before they begin", with(&|rows| rows[5] = Row::Copy(2, 1))),
        ("blocks that are not there", with(&|rows| rows[2] = Row::File(name("db"), 2 * BLOCK as u64 + 10, Digest([8; 32])))),
        ("what is neither ready nor there", with(&|rows| rows[6] = Row::Put(name("other"), Lies::Numbered(9), Comes::File(3)))),
        ("what is ready as something else", with(&|rows| rows[6] = Row::Put(name("new"), Lies::Numbered(0), Comes::Folder))),
    ];
    for (what, journal) in cases {
        let volume = Volume::new();
        let (before, outside) = (volume.live(), live(volume.outside.path()));
        volume.put(&journal);
        resumed(&volume).unwrap_or_else(|failure| panic!("{what}: {failure}"));
        assert!(volume.live() == before, "{what} changed the volume");
        assert_eq!(live(volume.outside.path()), outside, "{what}");
        assert!(!volume.journal().exists() && Holds::of(&volume.root).unwrap().is_none(), "{what}");
    }
}

/// What somebody has put into a folder that goes is there at the next pull, too, and at each one after it: all of the volume is compared instead.
#[test]
fn what_keeps_a_folder_there_does_not_keep_the_journal() {
    let volume = Volume::new();
    let anothers = volume.dir.path().join("goes/another's");
    fs::create_dir(volume.dir.path().join("goes")).unwrap();
    fs::write(&anothers, "x").unwrap();
    volume.put(&sealed(lines(&[head(), Row::Clear(name("goes"), true)])));
    resumed(&volume).unwrap();
    assert!(!volume.journal().exists() && Holds::of(&volume.root).unwrap().is_none() && anothers.exists());
}

/// A stop in the middle leaves the journal for the next pull: at any step before all is done, which each counts as progress.
#[test]
fn what_is_stopped_goes_on_with_the_next_pull() {
    let mut stopped = 0;
    for steps in 1.. {
        let (volume, stop) = (Volume::new(), Stop::default());
        volume.put(&sealed(lines(&Volume::rows())));
        stop.request_after(steps);
        let outcome = resume(&volume.root, &Progress::default(), &stop);
        if !stop.requested() {
            outcome.unwrap();
            assert!(volume.is_done());
            break;
        }
        assert_eq!(outcome.unwrap_err().reason, Reason::MoverKilled, "{steps}");
        // What is left to do is known, or all is done.
        let holds = Holds::of(&volume.root).unwrap();
        assert!(volume.journal().exists() || holds.is_some_and(|holds| holds.brought.is_some()), "{steps}");
        stopped += 1;
        resumed(&volume).unwrap();
        assert!(volume.is_done(), "{steps}");
    }
    // It looks at each row twice, to see whether it fits and to do it.
    assert!(stopped >= 2 * (Volume::rows().len() - 1), "{stopped}");
}

/// In the pull that wrote it nothing is stopped, and its steps count: a mover that applies for long is none that hangs.
#[test]
fn what_was_begun_is_not_stopped_and_shows_progress() {
    let (volume, stop) = (Volume::new(), Stop::default());
    volume.put(&sealed(lines(&Volume::rows())));
    stop.request();
    let staging = Staging::left(&volume.root).unwrap().unwrap();
    super::carry_out(&volume.root, &staging, &stop).unwrap();
    assert!(volume.is_done() && stop.steps() >= Volume::rows().len() as u64 - 1, "{}", stop.steps());
}

/// What is larger than any journal is not read to its end, and neither is what is no file.
#[test]
fn what_is_no_journal_is_not_read() {
    let volume = Volume::new();
    fs::File::create(volume.journal()).unwrap().set_len(1 << 40).unwrap();
    let before = volume.live();
    resumed(&volume).unwrap();
    assert!(!volume.journal().exists() && volume.live() == before);
    rustix::fs::mknodat(rustix::fs::CWD, volume.journal(), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    resumed(&volume).unwrap();
    assert!(!volume.journal().exists());
    fs::write(volume.outside.path().join("journal"), sealed(lines(&Volume::rows()))).unwrap();
    symlink(volume.outside.path().join("journal"), volume.journal()).unwrap();
    resumed(&volume).unwrap();
    assert!(!volume.journal().exists() && volume.outside.path().join("journal").exists() && volume.live() == before);
}

/// A step that leads through a link fails where it is taken, too: something may have become one since it was looked at.
#[test]
fn no_step_is_taken_through_a_link() {
    let through = [
        Row::Clear(name("link/file"), false),
        Row::Remove(name("link/file")),
        Row::File(name("link/file"), 1, CONTENT),
        Row::Put(name("link/file"), Lies::Numbered(0), Comes::File(3)),
        meta("link/file", 0o777),
    ];
    for row in through {
        let volume = Volume::new();
        volume.put(&sealed(lines(&[head(), row])));
        let staging = Staging::left(&volume.root).unwrap().unwrap();
        let done = super::carry_out(&volume.root, &staging, &Stop::default());
        assert_eq!(live(volume.outside.path()), [("file".to_owned(), b"outside".to_vec())], "{done:?}");
        assert!(done.is_ok() || done.unwrap_err().reason == Reason::VolumeUnreadable);
    }
}

/// In a folder that others may write to, a journal may be theirs.
#[test]
fn a_journal_in_a_folder_that_is_not_ours_alone_is_none() {
    let volume = Volume::new();
    volume.put(&sealed(lines(&Volume::rows())));
    fs::set_permissions(volume.dir.path().join(".scribe-staging"), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let before = volume.live();
    resumed(&volume).unwrap();
    assert!(volume.live() == before && volume.journal().exists());
}

#[test]
fn a_row_is_as_long_as_a_line_may_be_and_no_longer() {
    let volume = Volume::new();
    let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
    zstd.write_all(&serde_json::to_vec(&head()).unwrap()).unwrap();
    zstd.write_all(b"\n").unwrap();
    for _ in 0..64 {
        zstd.write_all(&vec![b' '; 1 << 20]).unwrap();
    }
    volume.put(&sealed(zstd.finish().unwrap()));
    let before = volume.live();
    resumed(&volume).unwrap();
    assert!(!volume.journal().exists() && volume.live() == before);
}
