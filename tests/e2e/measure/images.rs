//! What each further image of a destination takes on csi-btrfs, where an image shares with the one before it all that a pull has not written.
//!
//! The file system's own count of data before and after each pull: all images are kept, so what a pull adds is what the image has for itself.

use super::support::cluster::given;
use super::support::replication::image_of;
use super::support::site::Site;
use super::support::volume::Claim;
use super::{Row, row};
use serde_json::json;
use std::fs;
use std::process::Command;

const IMAGES: usize = 10;
const BLOCKS: usize = 20;
const BLOCK: u64 = 16 << 10;

/// Whether nothing else is to be measured.
pub fn alone() -> bool {
    std::env::var_os("MEASURE_IMAGES").is_some()
}

/// Ten pulls of twenty changed blocks each, of a file of 64 MiB that cannot be compressed.
pub async fn of_small_changes(site: &Site) -> Vec<Row> {
    // On another file system than the destination's, which is to hold nothing that changes but it.
    site.claim(&Claim { name: "blocks", class: Some("csi-hostpath"), image: None });
    let source = site.hand("blocks").await;
    source.run("head -c 67108864 /dev/urandom >big");
    let path = format!("{}-blocks", site.path);
    let packs = json!({ "rcloneDestPath": path, "layout": "Packs", "copyMethod": "Direct" });
    let push = site.source("push-blocks", "blocks", json!({ "rclone": packs }));
    push.synced("first").await;
    let pull = site.destination("pull-blocks", json!({ "rclone": { "rcloneDestPath": path, "retain": IMAGES + 1 } }));
    let mut images = vec![image_of(&pull.synced("first").await)];
    let disk = Disk::of_the_node();
    let mut used = vec![disk.used()];
    for round in 0..IMAGES {
        source.run(&format!(
            "for i in $(seq {BLOCKS}); do dd if=/dev/urandom of=big bs={BLOCK} count=1 seek=$((i * 199 + {round} * 13)) conv=notrunc 2>/dev/null; done"
        ));
        let tag = round.to_string();
        push.sync(&tag).await;
        images.push(image_of(&pull.sync(&tag).await));
        used.push(disk.used());
    }
    images.dedup();
    assert_eq!(images.len(), IMAGES + 1, "not an image each: {images:?}");
    let grown = |of: fn(&Used) -> u64| {
        let mut each: Vec<_> = used.windows(2).map(|pair| of(&pair[1]).saturating_sub(of(&pair[0]))).collect();
        each.sort_unstable();
        format!("{} (median), {} (most) bytes", each[each.len() / 2], each[each.len() - 1])
    };
    let changed = u64::try_from(BLOCKS).unwrap() * BLOCK;
    vec![
        row("changed blocks in each of ten pulls of layout Packs into a private volume on csi-btrfs", format!("{changed} bytes")),
        row("data that the image of each has for itself", grown(|used| used.data)),
        row("metadata of the file system for it (DUP: it is stored twice)", grown(|used| used.metadata)),
    ]
}

/// What the file system says is used.
struct Used {
    data: u64,
    metadata: u64,
}

/// The file system of csi-btrfs, as its driver has it mounted.
struct Disk {
    driver: String,
    mounted: String,
}

impl Disk {
    fn of_the_node() -> Disk {
        let kubeconfig = given("KUBECONFIG");
        let mounted = format!("{}/btrfs", kubeconfig.rsplit_once('/').unwrap().0);
        let ids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let is_driver = |id: &String| {
            let words = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            let mut words = words.split(|byte| *byte == 0);
            words.next().is_some_and(|program| program.ends_with(b"/btrfsplugin")) && words.any(|word| word == mounted.as_bytes())
        };
        let driver = ids.into_iter().find(is_driver).unwrap_or_else(|| panic!("no driver of {mounted} runs"));
        Disk { driver, mounted }
    }

    fn used(&self) -> Used {
        self.btrfs(&["sync"]);
        let all = self.btrfs(&["df", "--raw"]);
        let of = |what: &str| {
            let line = all.lines().find(|line| line.starts_with(what)).unwrap_or_else(|| panic!("no {what} in {all}"));
            line.split_once("used=").unwrap().1.trim().parse().unwrap()
        };
        Used { data: of("Data, "), metadata: of("Metadata, ") }
    }

    fn btrfs(&self, words: &[&str]) -> String {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.driver, "--mount", "btrfs", "filesystem"]).args(words).arg(&self.mounted);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}
