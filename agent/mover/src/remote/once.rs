//! Sends files that are read once, and looks at each of them afterwards: there was no sum that the backend could have held against what came.

use std::collections::HashMap;

use super::Remote;
use crate::format::names::Folder;
use crate::store::{self, Content, Features, Upload, slices};

/// What came of sending such files.
#[derive(Debug)]
pub struct SentOnce {
    /// What was sent, in the order of the files.
    pub contents: Vec<Content>,
    /// Which of the files the remote shows with another size, or another sum, by their place in that order.
    pub altered: Vec<usize>,
}

impl Remote {
    /// Uploads `files` to the folder `to`, overwriting. Where [`Features::reads_once`] says that it can. A request more for each of them, on S3.
    pub fn send_once(&self, files: Vec<Upload>, to: Folder) -> store::Result<SentOnce> {
        if files.is_empty() {
            return Ok(SentOnce { contents: Vec::new(), altered: Vec::new() });
        }
        let below = to.below();
        let names: Vec<Vec<u8>> = files.iter().map(|file| [below.as_bytes(), file.name].concat()).collect();
        let contents = self.store.put_once(files, &below)?;
        let sent: HashMap<&[u8], (usize, &Content)> = names.iter().map(Vec::as_slice).zip(contents.iter().enumerate()).collect();
        let Features { tells_sums, slow_sums, .. } = self.store.features()?;
        let mut altered = Vec::new();
        // One that is not shown proves nothing: what was sent in parts has no sum either.
        self.store.look(&slices(&names), tells_sums && !slow_sums, &mut |listed| {
            let Some((place, sent)) = sent.get(listed.name.as_bytes()) else { return };
            if listed.size.is_some_and(|size| size != sent.size) || listed.md5.is_some_and(|md5| md5 != sent.md5) {
                altered.push(*place);
            }
        })?;
        Ok(SentOnce { contents, altered })
    }
}
