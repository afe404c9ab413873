//! A volume, or a folder of one, that takes names for one that differ in case alone: nothing is lost on it, and nothing is changed by a tree
//! that it cannot hold. Needs root and FUSE.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use assert_fs::TempDir;
use rstest::rstest;
use scribe_mover::error::Result;
use scribe_mover::pull::{PullOptions, PullOutcome, pull, pull_plain};
use scribe_mover::report::Reason;

use crate::support::proxy::Action;
use crate::support::tree::{snapshot, write};
use crate::support::{Layout, Local, Site, done, guard};

/// Such a volume, and what it keeps its files in.
struct Merging {
    kept: TempDir,
    mount: TempDir,
    server: Child,
}

impl Merging {
    /// One that merges names everywhere, or in these folders alone.
    fn new(folders: &[&str]) -> Self {
        Self::with(folders, false)
    }

    /// The same, where what is made in such a folder is one, too, and nothing else.
    fn with(folders: &[&str], inherited: bool) -> Self {
        let (kept, mount) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        for folder in folders {
            fs::create_dir_all(kept.path().join(folder)).unwrap();
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mover/support/merging.py");
        let mut command = Command::new("python3");
        command.env_remove("INHERITED").envs(inherited.then_some(("INHERITED", "1")));
        command.arg(script).args([kept.path(), mount.path()]).args(folders);
        let mut server = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "mounted\n", "this needs root and /dev/fuse");
        Self { kept, mount, server }
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let names = fs::read_dir(self.kept.path().join(folder)).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Merging {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.mount.path()).status();
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn try_pull(site: &Local, volume: &Merging) -> Result<PullOutcome> {
    let options = PullOptions { volume: volume.mount.path().into(), applied: None, private: false, guard: guard() };
    pull(&site.remote(), &options)
}

fn push((site, layout): (&Local, Layout), files: &[&str]) {
    for name in files {
        write(site.source.path(), name, format!("content of {name}"));
    }
    layout.push(&site.remote(), &site.push_options()).unwrap();
}

fn is_refused(site: &Local, volume: &Merging, name: &str) {
    let before = snapshot(volume.kept.path());
    let failure = try_pull(site, volume).unwrap_err();
    assert_eq!(failure.reason, Reason::NamesCollide, "{failure}");
    assert!(failure.message.to_lowercase().contains(name), "{failure}");
    let unchanged =
        |tree: std::collections::BTreeMap<Vec<u8>, String>| tree.into_iter().filter(|(name, _)| !name.is_empty()).collect::<Vec<_>>();
    assert_eq!(unchanged(snapshot(volume.kept.path())), unchanged(before));
}

/// What is there of the two names: nothing, either of them, or something else that both could meet.
#[rstest]
#[case::everywhere(&[], "")]
#[case::everywhere_below(&[], "d/")]
#[case::in_a_folder(&["d"], "d/")]
#[case::in_a_folder_below(&["d"], "d/e/f/")]
fn names_that_are_one_on_the_volume_are_refused(
    #[case] folders: &[&str],
    #[case] dir: &str,
    #[values(
        (Layout::Files, ""),
        (Layout::Files, "Makefile"),
        (Layout::Files, "makefile"),
        (Layout::Files, "MAKEFILE"),
        (Layout::Packs, ""),
        (Layout::Packs, "makefile")
    )]
    (layout, there): (Layout, &str),
) {
    let (site, volume) = (Local::new(), Merging::new(folders));
    push((&site, layout), &["kept", "d/kept"]);
    done(try_pull(&site, &volume));
    if !there.is_empty() {
        write(volume.kept.path(), format!("{dir}{there}"), "what was there");
    }
    push((&site, layout), &[&format!("{dir}Makefile"), &format!("{dir}makefile")]);
    is_refused(&site, &volume, &format!("{dir}makefile"));
}

/// Folders are one as well, and with them what they hold.
#[rstest]
fn folders_that_are_one_on_the_volume_are_refused(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let (site, volume) = (Local::new(), Merging::new(&["d"]));
    push((&site, layout), &["d/Src/a", "d/src/b"]);
    is_refused(&site, &volume, "d/src");
}

/// A rename at the source that changes case alone: the old name goes first, or the new file would go with it.
#[rstest]
fn a_name_that_changes_case_alone_is_not_lost(
    #[values(&["d"][..], &[])] folders: &[&str],
    #[values("d/Makefile", "d/Dir/in")] name: &str,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let (site, volume) = (Local::new(), Merging::new(folders));
    push((&site, layout), &[name]);
    done(try_pull(&site, &volume));
    let top = site.source.path().join(PathBuf::from(name).iter().take(2).collect::<PathBuf>());
    let renamed = top.with_file_name(top.file_name().unwrap().to_ascii_lowercase());
    fs::rename(&top, &renamed).unwrap();
    push((&site, layout), &[]);
    done(try_pull(&site, &volume));
    assert_eq!(volume.names("d"), [renamed.file_name().unwrap().to_str().unwrap()]);
    assert!(!try_pull(&site, &volume).map(|outcome| done(Ok(outcome))).unwrap().changed);
}

/// A new folder is made elsewhere and moved there: it does not become one that merges names by that, unless the volume says so.
#[rstest]
fn a_new_folder_in_one_that_merges_names_is_none(
    #[values("d/new/", "d/new/deeper/")] dir: &str,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let (site, volume) = (Local::new(), Merging::with(&["d"], true));
    push((&site, layout), &["d/x", "kept"]);
    done(try_pull(&site, &volume));
    push((&site, layout), &[&format!("{dir}Makefile"), &format!("{dir}makefile")]);
    done(try_pull(&site, &volume));
    assert_eq!(volume.names(dir), ["Makefile", "makefile"]);
    assert_eq!(volume.names("d"), ["new", "x"]);
    assert!(!try_pull(&site, &volume).map(|outcome| done(Ok(outcome))).unwrap().changed);
    push((&site, layout), &["d/X"]);
    is_refused(&site, &volume, "d/x");
}

/// A folder that changes case alone has to go before the new one comes: what keeps it there is named before anything is changed.
#[rstest]
fn a_socket_in_a_folder_that_changes_case_is_named(
    #[values(&["d"][..], &[])] folders: &[&str],
    #[values("d/Dir", "d/Dir/sub")] holds: &str,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let (site, volume) = (Local::new(), Merging::new(folders));
    push((&site, layout), &["d/Dir/sub/in", "d/other"]);
    done(try_pull(&site, &volume));
    fs::rename(site.source.path().join("d/Dir"), site.source.path().join("d/dir")).unwrap();
    push((&site, layout), &["d/other", "d/zz"]);
    let _listening = UnixListener::bind(volume.kept.path().join(holds).join("socket")).unwrap();
    let before = snapshot(volume.kept.path());
    let failure = try_pull(&site, &volume).unwrap_err();
    assert_eq!(failure.reason, Reason::VolumeUnreadable, "{failure}");
    assert!(failure.message.contains(&format!("{holds}/socket is a socket")), "{failure}");
    let live =
        |tree: std::collections::BTreeMap<Vec<u8>, String>| tree.into_iter().filter(|(name, _)| !name.is_empty()).collect::<Vec<_>>();
    assert_eq!(live(snapshot(volume.kept.path())), live(before));
}

/// Where the volume keeps them apart, they are pulled, in a folder beside one that does not too.
#[rstest]
fn names_that_are_two_on_the_volume_are_pulled(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let (site, volume) = (Local::new(), Merging::new(&["d"]));
    push((&site, layout), &["e/Makefile", "d/x"]);
    done(try_pull(&site, &volume));
    push((&site, layout), &["e/makefile", "new/A", "new/a", "e/new/A", "e/new/a"]);
    done(try_pull(&site, &volume));
    assert_eq!(volume.names("e"), ["Makefile", "makefile", "new"]);
    assert_eq!((volume.names("e/new"), volume.names("new")), (vec!["A".into(), "a".into()], vec!["A".into(), "a".into()]));
    assert_eq!(volume.names(""), ["d", "e", "new"]);
}

/// A path that others wrote, too: before anything of it is fetched, and the staging folder goes again.
#[rstest]
fn a_plain_pull_refuses_them_before_it_fetches_anything(#[values(&[][..], &["d"])] folders: &[&str]) {
    let (site, volume) = (Site::with_bucket(), Merging::new(folders));
    for name in ["d/Makefile", "d/makefile", "other"] {
        site.meddle("rcat", name, name.as_bytes());
    }
    let (asked, seen) = std::sync::mpsc::channel();
    site.proxy.rule(move |request| {
        if request.is("GET", "path/other") {
            asked.send(()).unwrap();
        }
        Action::Pass
    });
    let mut options = site.pull_options();
    (options.volume, options.private) = (volume.mount.path().into(), false);
    let failure = pull_plain(&site.remote(), &options).unwrap_err();
    assert_eq!(failure.reason, Reason::NamesCollide, "{failure}");
    assert!(seen.try_recv().is_err(), "something was fetched");
    assert_eq!(volume.names(""), folders);
}
