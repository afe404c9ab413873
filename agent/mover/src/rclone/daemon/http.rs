//! One request over the daemon's socket and its answer. A connection for each: connecting costs less than a tenth of a millisecond, and one
//! that closes ends what its request began.

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_RANGE, CONTENT_TYPE, HOST, RANGE};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// What was answered.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_range: Option<String>,
    pub(super) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// The connection failed, or ended too early.
    Broken(String),
    /// The answer is longer than this.
    TooLong(usize),
    /// There is no such request.
    Unspeakable(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(what) | Self::Unspeakable(what) => f.write_str(what),
            Self::TooLong(most) => write!(f, "an answer of more than {most} bytes"),
        }
    }
}

fn broken(error: &dyn std::error::Error) -> Fault {
    let source = error.source().map_or_else(String::new, |source| format!(": {source}"));
    Fault::Broken(format!("{error}{source}"))
}

/// Calls a method of rclone with these parameters in JSON.
pub(super) async fn post(socket: &Path, method: &str, params: Vec<u8>, most: usize) -> Result<Reply, Fault> {
    let request = Request::post(format!("/{method}")).header(HOST, "rclone").header(CONTENT_TYPE, "application/json");
    let request = request.body(Full::new(Bytes::from(params))).map_err(|error| Fault::Unspeakable(error.to_string()))?;
    exchange(socket, request, most, &AtomicU64::new(0)).await
}

/// Reads bytes `range`, written as in the header Range, of what is behind `target`. Counts in `seen` what has come.
pub(super) async fn get(socket: &Path, target: &str, range: &str, most: usize, seen: &AtomicU64) -> Result<Reply, Fault> {
    let request = Request::get(target).header(HOST, "rclone").header(RANGE, range);
    let request = request.body(Full::new(Bytes::new())).map_err(|error| Fault::Unspeakable(error.to_string()))?;
    exchange(socket, request, most, seen).await
}

async fn exchange(socket: &Path, request: Request<Full<Bytes>>, most: usize, seen: &AtomicU64) -> Result<Reply, Fault> {
    let stream = UnixStream::connect(socket).await.map_err(|error| broken(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = response.status().as_u16();
        let content_range = response.headers().get(CONTENT_RANGE).and_then(|value| Some(value.to_str().ok()?.to_owned()));
        let (mut incoming, mut body) = (response.into_body(), Vec::new());
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|error| broken(&error))?;
            if let Some(data) = frame.data_ref() {
                if body.len() + data.len() > most {
                    return Err(Fault::TooLong(most));
                }
                body.extend_from_slice(data);
                seen.fetch_add(data.len() as u64, Ordering::Relaxed);
            }
        }
        Ok(Reply { status, content_range, body })
    };
    both(answer, connection).await
}

/// The answer, for which the connection has to be driven. A connection that has ended may have left the answer behind.
async fn both<T>(answer: impl Future<Output = T>, connection: impl Future) -> T {
    let (mut answer, connection) = (pin!(answer), pin!(connection));
    tokio::select! {
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}
