//! Lets syncs that run at the same time take their steps one after another, in an order that a seed decides: one of them may wait for
//! very long.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use fastrand::Rng;

enum Message {
    Waits(usize),
    Ended,
}

/// What a sync waits with. It counts as ended when this is dropped.
#[derive(Debug)]
pub struct Baton {
    index: usize,
    to: Sender<Message>,
    go: Mutex<Receiver<()>>,
}

impl Baton {
    /// Waits for its turn.
    pub fn wait(&self) {
        if self.to.send(Message::Waits(self.index)).is_ok() {
            // Nobody leads any more: it goes on alone.
            let _ = self.go.lock().unwrap().recv();
        }
    }
}

impl Drop for Baton {
    fn drop(&mut self) {
        let _ = self.to.send(Message::Ended);
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("message")
    }
}

/// Leads the syncs that have its batons.
pub struct Leader {
    from: Receiver<Message>,
    go: Vec<Sender<()>>,
}

/// Batons for so many syncs.
pub fn batons(count: usize) -> (Leader, Vec<Baton>) {
    let (to, from) = channel();
    let (mut go, mut batons) = (Vec::new(), Vec::new());
    for index in 0..count {
        let (sender, receiver) = channel();
        go.push(sender);
        batons.push(Baton { index, to: to.clone(), go: Mutex::new(receiver) });
    }
    (Leader { from, go }, batons)
}

impl Leader {
    /// Until all have ended.
    pub fn lead(self, order: u64) {
        let mut rng = Rng::with_seed(order);
        // How many of ten steps are followed by another one of the same sync. Where nearly all are, one runs through while another waits.
        let stays = if order >> 62 == 3 { 10 } else { 8 };
        let mut waiting: Vec<usize> = Vec::new();
        let mut running = self.go.len();
        let mut favourite = None;
        loop {
            while running > 0 {
                running -= 1;
                match self.from.recv() {
                    Ok(Message::Waits(index)) => waiting.push(index),
                    Ok(Message::Ended) => {}
                    Err(_) => return,
                }
            }
            if waiting.is_empty() {
                return;
            }
            waiting.sort_unstable();
            let stays = favourite.filter(|index| waiting.contains(index) && (rng.u8(0..10) < stays && (stays < 10 || rng.u8(0..32) > 0)));
            let next = stays.unwrap_or_else(|| waiting[rng.usize(0..waiting.len())]);
            favourite = Some(next);
            waiting.retain(|index| *index != next);
            running = 1;
            let _ = self.go[next].send(());
        }
    }
}
