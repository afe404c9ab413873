//! Keeps the settings in step with their file.
//!
//! A mounted ConfigMap changes by swapping a symbolic link, so the folder is watched, not the file.

use crate::settings::Settings;
use anyhow::{Context, Result};
use notify::{PollWatcher, RecursiveMode, Watcher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often the folder is read where the system does not report changes.
const POLL: Duration = Duration::from_secs(60);

/// The settings in force, and whether the file as it is now was accepted.
#[derive(Clone, Debug)]
pub struct Current {
    /// In force.
    pub settings: Arc<Settings>,
    /// What is wrong with the file, if anything is; then an older version is in force, or the defaults.
    pub problem: Option<String>,
}

/// Reads the file, and again whenever its folder changes, for as long as the returned watcher lives. Where the system has no watches left
/// (inotify counts them per user, over all containers of a node), the folder is read periodically.
///
/// A mistake at the start means the defaults: an agent that ends for it would replicate nothing, and say nothing but in its log.
pub fn watch(file: &Path) -> (watch::Receiver<Current>, Option<Box<dyn Watcher>>) {
    let read = read(file).map_err(|e| format!("{e:#}")).and_then(|text| Settings::parse(&text));
    let (settings, problem) = match read {
        Ok(settings) => (settings, None),
        Err(problem) => {
            tracing::error!(problem, "the settings are invalid; the defaults are in effect until they are corrected");
            (Settings::default(), Some(problem))
        }
    };
    let (sender, receiver) = watch::channel(Current { settings: Arc::new(settings), problem });
    let folder = file.parent().unwrap_or(Path::new("/"));
    let watcher = told(file, folder, sender.clone()).or_else(|error| {
        tracing::warn!(%error, "the system does not report changes of the settings file; checking it every minute");
        asking(file, folder, sender, POLL)
    });
    let watcher = watcher.inspect_err(|error| {
        tracing::error!(%error, folder = %folder.display(), "the settings file cannot be watched; changes take effect when the agent starts again");
    });
    (receiver, watcher.ok())
}

/// The system reports changes.
fn told(file: &Path, folder: &Path, sender: watch::Sender<Current>) -> notify::Result<Box<dyn Watcher>> {
    let mut watcher = notify::recommended_watcher(on_change(file, sender))?;
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok(Box::new(watcher))
}

/// The folder is read again and again.
fn asking(file: &Path, folder: &Path, sender: watch::Sender<Current>, interval: Duration) -> notify::Result<Box<dyn Watcher>> {
    let config = notify::Config::default().with_poll_interval(interval).with_compare_contents(true);
    let mut watcher = PollWatcher::new(on_change(file, sender), config)?;
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok(Box::new(watcher))
}

fn on_change(file: &Path, sender: watch::Sender<Current>) -> impl Fn(notify::Result<notify::Event>) + Send + 'static {
    let file: PathBuf = file.to_owned();
    move |event| {
        match event {
            // Our own reading; to act on it would never end.
            Ok(event) if event.kind.is_access() => return,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "watching the settings file failed; reading it again"),
        }
        reread(&file, &sender);
    }
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("reading the settings {}", file.display()))
}

fn reread(file: &Path, sender: &watch::Sender<Current>) {
    // A file that is being written in place is empty for a moment, which would mean the defaults.
    let text = read(file).map_err(|e| format!("{e:#}")).and_then(|text| match text.trim() {
        "" => Err(format!("{} is empty: write {{}} for the defaults", file.display())),
        _ => Ok(text),
    });
    let parsed = text.and_then(|text| Settings::parse(&text));
    sender.send_if_modified(|current| match parsed {
        Ok(settings) if *current.settings == settings && current.problem.is_none() => false,
        Ok(settings) => {
            tracing::info!(?settings, "new settings are in effect");
            *current = Current { settings: Arc::new(settings), problem: None };
            true
        }
        Err(problem) if current.problem.as_ref() == Some(&problem) => false,
        Err(problem) => {
            tracing::error!(problem, "the settings are invalid; the previous settings stay in effect");
            current.problem = Some(problem);
            true
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An agent that ended for it would be restarted for ever.
    #[tokio::test]
    async fn a_mistake_at_the_start_means_the_defaults_until_it_is_corrected() {
        let dir = std::env::temp_dir().join(format!("scribe-reload-start-{}", std::process::id()));
        let file = dir.join("agent.yaml");
        let (missing, _) = watch(&file);
        assert!(missing.borrow().problem.as_ref().is_some_and(|problem| problem.contains("agent.yaml")));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(&file, "maxAttempts: many").unwrap();
        let (mut receiver, watcher) = watch(&file);
        {
            let current = receiver.borrow();
            assert_eq!(*current.settings, Settings::default());
            assert!(current.problem.as_ref().is_some_and(|problem| problem.contains("maxAttempts")), "{current:?}");
        }
        std::fs::write(&file, "maxAttempts: 3").unwrap();
        let found = receiver.wait_for(|current| current.problem.is_none() && current.settings.limits.max_attempts == 3);
        tokio::time::timeout(Duration::from_secs(20), found).await.unwrap().unwrap();
        drop(watcher);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    /// As the kubelet changes a ConfigMap: a link to another folder takes the place of the one before.
    #[tokio::test]
    async fn new_settings_are_found_by_asking_as_well() {
        let dir = std::env::temp_dir().join(format!("scribe-reload-{}", std::process::id()));
        let file = dir.join("agent.yaml");
        let put = |version: &str, text: &str| {
            let (data, link) = (dir.join(version), dir.join("..next"));
            std::fs::create_dir_all(&data).unwrap();
            std::fs::write(data.join("agent.yaml"), text).unwrap();
            std::os::unix::fs::symlink(version, &link).unwrap();
            std::fs::rename(&link, dir.join("..data")).unwrap();
        };
        put("..1", "{}");
        std::os::unix::fs::symlink("..data/agent.yaml", &file).unwrap();
        let settings = Settings::parse("{}").unwrap();
        let (sender, mut receiver) = watch::channel(Current { settings: Arc::new(settings), problem: None });
        let watcher = asking(&file, &dir, sender, Duration::from_millis(20)).unwrap();
        put("..2", "{maxConcurrentSyncs: 7}");
        let found = receiver.wait_for(|current| current.settings.limits.max_concurrent_syncs == 7);
        tokio::time::timeout(Duration::from_secs(20), found).await.unwrap().unwrap();
        drop(watcher);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
