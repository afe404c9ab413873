//! The local cron: one ticker that wakes the objects whose time has come.
//!
//! It decides nothing. `status.nextSyncTime` is the truth, and every object is reconciled within a minute anyway, so a lost or
//! doubled tick is harmless. Users' schedules never reach the scheduler crate, which reads cron differently.

use crate::controller::memory::{Memories, failing};
use crate::controller::objects::Objects;
use crate::controller::wake::{self, Sender};
use crate::reload::Current;
use anyhow::{Context, Result};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_cron_scheduler::{Job, JobScheduler};

/// Six fields, the first of them seconds.
const EVERY_FIVE_SECONDS: &str = "*/5 * * * * *";

/// Starts the ticker; it runs until the returned scheduler is dropped.
///
/// # Errors
/// When the scheduler does not start.
pub async fn start(objects: Objects, sender: Sender, memories: Memories, settings: watch::Receiver<Current>) -> Result<JobScheduler> {
    let scheduler = JobScheduler::new().await.context("starting the ticker")?;
    let tick = Job::new(EVERY_FIVE_SECONDS, move |_, _| {
        let slots = settings.borrow().settings.limits.max_concurrent_syncs;
        wake::due(&objects, &sender, &failing(&memories), slots, Timestamp::now());
    })?;
    scheduler.add(tick).await.context("starting the ticker")?;
    scheduler.start().await.context("starting the ticker")?;
    Ok(scheduler)
}
