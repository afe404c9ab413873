//! The process of the daemon: started, watched, ended and reaped.

use std::io;
use std::process::{Command, ExitStatus};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::rclone::process::GRACE;

/// A running child, or one that has ended.
#[derive(Debug)]
pub(super) struct Child {
    pid: Pid,
    state: Arc<State>,
    /// The thread that started it: lives until it is reaped.
    keeper: Option<JoinHandle<()>>,
}

/// How it ended, once it has. Its id is its own as long as this is empty: it is reaped under the lock.
#[derive(Debug, Default)]
struct State {
    ended: Mutex<Option<String>>,
    changed: Condvar,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, time: Duration) -> Option<String> {
        let waited = self.changed.wait_timeout_while(self.lock(), time, |ended| ended.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

impl Child {
    /// Starts it from a thread that lives as long as the child.
    pub(super) fn spawn(mut command: Command) -> io::Result<Self> {
        let state = Arc::new(State::default());
        let (sender, started) = mpsc::channel();
        let shared = Arc::clone(&state);
        let keeper = Builder::new().name("rclone-keeper".into()).spawn(move || {
            let child = command.spawn().and_then(|child| {
                let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
                Ok((child, pid))
            });
            // It has our end of the child's pipe.
            drop(command);
            match child {
                Ok((child, pid)) => {
                    // Who asked for it waits for this.
                    let _ = sender.send(Ok(pid));
                    keep(child, pid, &shared);
                }
                Err(error) => {
                    let _ = sender.send(Err(error));
                }
            }
        })?;
        let pid = started.recv().map_err(|_| io::Error::other("the thread that starts it died"))?;
        match pid {
            Ok(pid) => Ok(Self { pid, state, keeper: Some(keeper) }),
            Err(error) => Err(error),
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// How it ended, if it has.
    pub(super) fn ended(&self) -> Option<String> {
        self.state.lock().clone()
    }

    /// How it ended, if it does so in this time.
    pub(super) fn ends_within(&self, time: Duration) -> Option<String> {
        self.state.wait(time)
    }

    /// Ends it at once.
    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        let ended = self.state.lock();
        if ended.is_none()
            && let Err(error) = kill_process(self.pid, signal)
        {
            tracing::warn!(%error, "cannot end rclone");
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It closes its connections.
        self.signal(Signal::TERM);
        if self.state.wait(GRACE).is_none() {
            self.kill();
        }
        if self.keeper.take().is_some_and(|keeper| keeper.join().is_err()) {
            tracing::warn!("the thread that started rclone died");
        }
    }
}

/// Waits until it has ended, and reaps it.
fn keep(mut child: std::process::Child, pid: Pid, state: &State) {
    // Without reaping it: as long as it is waited for, others may send it signals.
    let mut waited = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
    while waited.as_ref().is_err_and(|error| *error == rustix::io::Errno::INTR) {
        waited = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
    }
    let mut ended = state.lock();
    *ended = Some(child.wait().map_or_else(|error| format!("with an unknown result ({error})"), described));
    state.changed.notify_all();
}

fn described(status: ExitStatus) -> String {
    // "exit status: 1" or "signal: 9 (SIGKILL)".
    format!("with {status}")
}
