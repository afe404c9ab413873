//! A volume in layers (overlayfs): files have other devices than their folders, and a file that is written to, or gets other metadata, becomes
//! another inode, apart from the names that it shared one with. Needs root.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use assert_fs::TempDir;
use rstest::rstest;
use scribe_mover::pull::{PullOptions, Synced, pull};
use scribe_mover::push::PushOptions;

use crate::support::tree::{assert_same, write};
use crate::support::{Layout, Local, done, guard};

/// Two layers of different file systems, or of one.
struct Layers {
    lower: TempDir,
    _upper: TempDir,
    mount: TempDir,
}

impl Layers {
    fn new(apart: bool, fill: impl FnOnce(&Path)) -> Self {
        let lower = TempDir::new().unwrap();
        let upper = if apart { TempDir::new_in("/dev/shm").unwrap() } else { TempDir::new().unwrap() };
        let mount = TempDir::new().unwrap();
        fill(lower.path());
        for name in ["upper", "work"] {
            fs::create_dir(upper.path().join(name)).unwrap();
        }
        let of = |name: &str| upper.path().join(name).display().to_string();
        let options = format!("lowerdir={},upperdir={},workdir={}", lower.path().display(), of("upper"), of("work"));
        let mounted = Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(mount.path()).status().unwrap();
        assert!(mounted.success(), "this needs root and overlayfs");
        Self { lower, _upper: upper, mount }
    }
}

impl Drop for Layers {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.mount.path()).status();
    }
}

fn fill(volume: &Path) {
    for name in ["d/a", "d/single", "owned", "e/f/deep"] {
        write(volume, name, format!("content of {name}"));
    }
    for (first, further) in [("d/a", "d/b"), ("owned", "e/owned too")] {
        fs::hard_link(volume.join(first), volume.join(further)).unwrap();
    }
}

fn into(volume: &Path, private: bool) -> PullOptions {
    PullOptions { volume: volume.into(), applied: None, private, guard: guard() }
}

fn pull_into(site: &Local, volume: &Path) -> Synced {
    done(pull(&site.remote(), &into(volume, false)))
}

/// What is written to one of two names of an inode in the lower layer is not in the other one: neither is content of the one taken for that of
/// the other, by a push or by the pull of it.
#[rstest]
fn a_source_in_layers_is_pushed_as_it_shows(#[values(false, true)] apart: bool, #[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let (site, volume) = (Local::new(), Layers::new(apart, fill));
    let push_it = || layout.push(&site.remote(), &PushOptions { volume: volume.mount.path().into(), ..site.push_options() }).unwrap();
    push_it();
    pull_into(&site, site.dest.path());
    assert_same(volume.mount.path(), site.dest.path());
    assert_eq!(fs::metadata(site.dest.path().join("d/a")).unwrap().nlink(), 2);

    OpenOptions::new().append(true).open(volume.mount.path().join("d/a")).unwrap().write_all(b", and more").unwrap();
    fs::set_permissions(volume.mount.path().join("owned"), fs::Permissions::from_mode(0o600)).unwrap();
    write(volume.mount.path(), "e/new", "new");
    fs::hard_link(volume.mount.path().join("e/new"), volume.mount.path().join("newer")).unwrap();
    push_it();
    pull_into(&site, site.dest.path());
    for name in ["d/a", "d/b", "owned", "e/owned too", "e/new", "newer", "d/single", "e/f/deep"] {
        let [there, here] = [volume.mount.path(), site.dest.path()].map(|dir| fs::read(dir.join(name)).unwrap());
        assert_eq!(there, here, "{name}");
    }
    let mode = |name: &str| fs::metadata(site.dest.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("owned"), 0o600);
    assert!(!push_it().changed);
}

/// Into layers: what is changed is copied up under the pull's hands, and has another inode then.
#[rstest]
fn a_destination_in_layers_holds_the_revision(
    #[values(false, true)] apart: bool,
    #[values(false, true)] private: bool,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let site = Local::new();
    fill(site.source.path());
    layout.push(&site.remote(), &site.push_options()).unwrap();
    let volume = Layers::new(apart, |lower| drop(pull_into(&site, lower)));
    let options = into(volume.mount.path(), private);
    let pull_it = || done(pull(&site.remote(), &options));
    pull_it();
    assert_same(site.source.path(), volume.mount.path());

    chown(site.source.path().join("owned"), Some(1234), Some(1234)).unwrap();
    fs::set_permissions(site.source.path().join("d/single"), fs::Permissions::from_mode(0o4755)).unwrap();
    write(site.source.path(), "d/a", "other content, under both names");
    fs::rename(site.source.path().join("e/f"), site.source.path().join("e/g")).unwrap();
    layout.push(&site.remote(), &site.push_options()).unwrap();
    let pulled = pull_it();
    assert_eq!(pulled.skipped.get("changedMeanwhile"), None, "{pulled:?}");
    assert_same(site.source.path(), volume.mount.path());
    assert!(!pull_it().changed);
    assert!(volume.lower.path().join("e/f/deep").exists(), "the layer below is as it was");
}
