//! Reads what rclone prints: listings, sums, and what a backend can do.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::Path;

use serde::Deserialize;

use crate::error::{Failure, Result};
use crate::report::Reason;
use crate::store::{Features, Listed};

/// The coarsest time that says anything of a file, in nanoseconds: FAT has two seconds.
const COARSEST: u64 = 2_000_000_000;

/// What rclone says of a backend.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Backend {
    features: HashMap<String, serde_json::Value>,
    /// Of the times that it keeps, in nanoseconds; a hundred years where it keeps none.
    #[serde(default)]
    precision: u64,
    /// The kinds of sums that it tells.
    #[serde(default)]
    hashes: Option<Vec<String>>,
}

impl Backend {
    /// Whether it has this one of rclone's features.
    pub fn has(&self, feature: &str) -> bool {
        self.features.get(feature).and_then(serde_json::Value::as_bool).unwrap_or(false)
    }

    /// What the mover asks of it.
    pub fn features(&self) -> Features {
        Features {
            keeps_folders: self.has("CanHaveEmptyDirectories"),
            folds_case: self.has("CaseInsensitive"),
            tells_sums: self.hashes.iter().flatten().any(|kind| kind == "md5"),
            slow_sums: self.has("SlowHash"),
            noted_sums: false,
            keeps_times: Some(self.precision).filter(|precision| !self.has("SlowModTime") && *precision <= COARSEST),
            is_overlay: self.has("Overlay"),
            reads_once: None,
        }
    }
}

/// One object or folder of a listing. A negative size means unknown.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Item {
    path: String,
    size: i64,
    #[serde(default)]
    mod_time: String,
    #[serde(default)]
    is_dir: bool,
    #[serde(default)]
    hashes: HashMap<String, String>,
}

impl From<Item> for Listed {
    fn from(mut item: Item) -> Self {
        Self {
            name: item.path,
            size: u64::try_from(item.size).ok(),
            time: item.mod_time,
            md5: item.hashes.remove("md5").filter(|sum| !sum.is_empty()),
            is_folder: item.is_dir,
        }
    }
}

/// What `lsjson` printed: an array with one object a line, far too much of it to be read as a whole.
pub(super) fn listing(printed: &Path, root: &str, each: &mut dyn FnMut(Listed)) -> Result<()> {
    let unreadable =
        |error: &dyn std::fmt::Display| Failure::new(Reason::MoverFailed, format!("rclone's listing of {root} cannot be read: {error}"));
    let mut complete = false;
    each_line(printed, |line| {
        match line.trim_end_matches(',') {
            "[" | "" => {}
            "]" | "[]" => complete = true,
            object => each(serde_json::from_str::<Item>(object).map_err(|e| unreadable(&e))?.into()),
        }
        Ok(())
    })?;
    if complete { Ok(()) } else { Err(unreadable(&"it has no end")) }
}

/// What `hashsum` printed; nothing if it printed nothing.
pub(super) fn sums(printed: &Path, each: &mut dyn FnMut(&[u8], &str)) -> Result<()> {
    each_line(printed, |line| {
        if let Some((sum, name)) = line.split_once("  ") {
            each(name.as_bytes(), sum);
        }
        Ok(())
    })
}

/// Shows a file line by line, and removes it.
fn each_line(printed: &Path, mut each: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let file = match File::open(printed) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        file => file.map_err(|e| Failure::scratch(&e))?,
    };
    for line in BufReader::new(file).lines() {
        each(&line.map_err(|e| Failure::scratch(&e))?)?;
    }
    fs::remove_file(printed).map_err(|e| Failure::scratch(&e))
}
