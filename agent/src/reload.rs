//! Keeps the settings in step with their file.
//!
//! A mounted ConfigMap changes by swapping a symbolic link, so the folder is watched, not the file. Imports `settings`.

use crate::settings::Settings;
use anyhow::{Context, Result, anyhow};
use notify::{RecursiveMode, Watcher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;

/// The settings in force, and whether the file as it is now was accepted.
#[derive(Clone, Debug)]
pub struct Current {
    /// In force.
    pub settings: Arc<Settings>,
    /// What is wrong with the file, if anything is; then an older version is in force.
    pub problem: Option<String>,
}

/// Reads the file, and again whenever its folder changes, for as long as the returned watcher lives.
///
/// # Errors
/// When the file has a mistake at the start: there are no older settings to keep.
pub fn watch(file: &Path) -> Result<(watch::Receiver<Current>, impl Watcher + use<>)> {
    let settings = Settings::parse(&read(file)?).map_err(|e| anyhow!(e))?;
    let (sender, receiver) = watch::channel(Current { settings: Arc::new(settings), problem: None });
    let watched: PathBuf = file.to_owned();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        match event {
            // Our own reading; to act on it would never end.
            Ok(event) if event.kind.is_access() => return,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "watching the settings failed; reading them again"),
        }
        reread(&watched, &sender);
    })
    .context("starting to watch the settings")?;
    let folder = file.parent().unwrap_or(Path::new("/"));
    watcher.watch(folder, RecursiveMode::NonRecursive).with_context(|| format!("watching {}", folder.display()))?;
    Ok((receiver, watcher))
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("reading the settings {}", file.display()))
}

fn reread(file: &Path, sender: &watch::Sender<Current>) {
    let parsed = read(file).map_err(|e| format!("{e:#}")).and_then(|text| Settings::parse(&text));
    sender.send_if_modified(|current| match parsed {
        Ok(settings) if *current.settings == settings && current.problem.is_none() => false,
        Ok(settings) => {
            tracing::info!(?settings, "new settings are in force");
            *current = Current { settings: Arc::new(settings), problem: None };
            true
        }
        Err(problem) if current.problem.as_ref() == Some(&problem) => false,
        Err(problem) => {
            tracing::error!(problem, "the settings have a mistake; the old ones stay in force");
            current.problem = Some(problem);
            true
        }
    });
}
