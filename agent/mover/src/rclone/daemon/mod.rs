//! One rclone for a whole sync: a child that takes its commands over a unix socket (`rclone rcd`).
//!
//! A process for each command costs 80 ms of CPU before its first request, and loses the connections to the server each time. This one is
//! started once, and ends with the [`Daemon`], or with the mover if that dies (see [`crate::rclone::shim`]).
//!
//! Measured with rclone 1.75.2 on two shared cores; requests as a proxy in front of `rclone serve s3` counts them:
//!
//! | what | time | requests to S3 | to crypt over S3 |
//! |---|---|---|---|
//! | [`Daemon::start`] until it answers | 60 ms | none | |
//! | a call that does nothing, with its statistics | 1.2 ms | none | |
//! | [`Daemon::read`], small | 4 ms | 1 GET; missing: 1 GET | HEAD + GET; missing: HEAD |
//! | [`Daemon::write`], small | 4 ms | 1 PUT | PUT + HEAD; the first one HEAD + PUT of the bucket, too |
//! | [`Daemon::range`] | 25 ms | HEAD + GET | 3 requests |
//! | [`Daemon::send`], [`Daemon::fetch`], [`Daemon::delete`] | | 1 a file | |
//! | a transfer of what is [`Serving`] | | 1 a file, or more in parts | |
//! | [`Daemon::copy`] | | HEAD + PUT a file | |
//! | [`Daemon::rename`] | | HEAD + PUT + DELETE | |
//! | [`Daemon::mkdir`] | | 1 PUT, of the bucket | |
//! | [`Daemon::list`] | 1 s for 100,000 objects | 1 for 1,000 objects | the same |
//! | [`Daemon::features`], [`Daemon::config_dump`] | 1 ms | none | |
//!
//! Memory: 65 MB resident when idle, of which 15 MB are its own and not the file's of the program; 75 and 22 MB after some hundred
//! small calls. A listing is built up whole before it is sent: 42 MB more for 100,000 objects (711 MB for a million), so that big listings
//! remain a process of `rclone lsjson`; [`Daemon::list`] refuses what is larger than [`MOST`].
//!
//! What holds for all calls:
//! - They are synchronous to rclone: the answer comes when the work is done, without being asked for, and has the HTTP status that says
//!   what kind of failure it is. The status of an asynchronous job has neither. Meanwhile the statistics of the call's group are read on
//!   a connection of their own, and `job/stopgroup` ends the work.
//! - A backend is set up by the first call that names it, with the `_config` of that call, and keeps that. What a backend itself looks at
//!   (timeouts, which times it lists) has to stand in its name, see [`Fs`]; in a section that leads to another one it does not reach that
//!   one if it is set up already. UseServerModTime there made copies within S3 with a time in the year 1754.
//! - rclone ignores parameters that it does not know, and so a filter of another name: it would then work on everything below the path.
//! - What rclone keeps of a backend (folder ids, sessions) outlives a call. [`Daemon::forget`] drops it.
//! - Its cache folder is its own: a section of type hasher locks its data base there against any other rclone.

mod bulk;
mod call;
mod child;
mod error;
mod folders;
mod http;
mod links;
mod messages;
mod objects;
mod place;
mod served;
mod tally;

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

pub use super::lines::Backend;
pub use call::MOST;
pub use error::{Answer, CallError, Kind, Side, Sides};
pub use folders::ConfigDump;
pub use links::Links;
pub use objects::{Check, Found};
pub use place::Fs;
pub use served::Serving;

use crate::error::{Failure, Result};
use crate::rclone::classify::shorten;
use crate::rclone::environment::Environment;
use crate::rclone::log::Message;
use crate::rclone::process::{ALWAYS, GRACE, Rclone};
use crate::rclone::shim;
use crate::report::Reason;
use crate::scratch::Scratch;
use crate::stop::Stop;
use child::Child;
use http::Fault;
use messages::{Messages, Pipe};
use tally::Tally;

/// The path of a socket has room for no more, the byte that ends it left out.
const LONGEST: usize = 107;
/// It answers within a tenth of a second; a machine that is this slow would not finish a sync either.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is asked whether it answers yet.
const KNOCK: Duration = Duration::from_millis(2);

/// An rclone that waits for commands. May be used from several threads at a time.
#[derive(Debug)]
pub struct Daemon {
    // Ends before the folder of its socket goes.
    child: Child,
    messages: Arc<Messages>,
    pipe: Pipe,
    runtime: Runtime,
    socket: PathBuf,
    environment: Environment,
    stop: Stop,
    tally: Tally,
    calls: AtomicU64,
    scratch: Scratch,
}

impl Daemon {
    /// Starts `rclone` as a daemon and waits until it answers.
    pub fn start(rclone: &Rclone) -> Result<Self> {
        rclone.context.stop.check()?;
        let scratch = Scratch::new()?;
        let folder = scratch.dir().join("rc");
        DirBuilder::new().mode(0o700).create(&folder).map_err(|e| Failure::scratch(&e))?;
        let socket = folder.join("rc.sock");
        let length = socket.as_os_str().as_bytes().len();
        if length > LONGEST {
            let what =
                format!("the temporary directory {} has too long a path for a socket; set a shorter TMPDIR", scratch.dir().display());
            return Err(failed(what));
        }
        let Some(address) = socket.to_str().map(|path| format!("unix://{path}")) else {
            return Err(failed(format!("the path of the temporary directory {} is not text; set another TMPDIR", scratch.dir().display())));
        };
        let messages = Arc::new(Messages::new(rclone.environment.redaction().clone()));
        let (pipe, stderr) = messages.read().map_err(|e| failed(format!("cannot read the messages of rclone: {e}")))?;
        let mut command = Command::new(&rclone.program);
        command
            .args(shim::args(&rclone.binary))
            .args(["rcd", "--rc-no-auth", "--rc-serve", "--rc-addr", &address, "--rc-max-header-bytes", "65536"])
            // Of a whole transfer, which may take as long as it moves on.
            .args(["--rc-server-read-timeout", "0", "--rc-server-write-timeout", "0"])
            // Answers of calls that are over are kept for those who ask for them later, which nobody does.
            .args(["--rc-job-expire-duration", "1s", "--rc-job-expire-interval", "1s"])
            .args(ALWAYS)
            .env_clear()
            .envs(&rclone.environment.vars)
            .env("RCLONE_CACHE_DIR", scratch.dir())
            .env("RCLONE_TEMP_DIR", scratch.dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| failed(format!("cannot wait for connections: {e}")))?;
        let child = Child::spawn(command).map_err(|e| failed(format!("cannot start rclone ({}): {e}", rclone.binary.display())))?;
        let daemon = Self {
            child,
            messages,
            pipe,
            runtime,
            socket,
            environment: rclone.environment.clone(),
            stop: rclone.context.stop.clone(),
            tally: Tally::new(rclone.context.progress.clone()),
            calls: AtomicU64::new(0),
            scratch,
        };
        daemon.wait_until_it_answers(&rclone.binary)?;
        Ok(daemon)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// The place `root`, written `section:path`.
    pub fn fs(&self, root: &str) -> Fs {
        Fs::new(root, &self.environment)
    }

    /// Whether this variable has our own value: what the user has set is meant so.
    fn is_ours(&self, variable: &str, value: &str) -> bool {
        self.environment.vars.get(OsStr::new(variable)).is_some_and(|set| set == value)
    }

    /// From now on it is known what the configuration says.
    pub(crate) fn know(&mut self, environment: &Environment) {
        self.messages.know(environment.redaction());
        self.environment = environment.clone();
    }

    fn wait_until_it_answers(&self, binary: &Path) -> Result<()> {
        let began = Instant::now();
        loop {
            self.stop.check()?;
            let answer = self.runtime.block_on(async {
                let asked = tokio::time::timeout(GRACE, http::post(&self.socket, "rc/noop", b"{}".to_vec(), MOST));
                let answer = asked.await.unwrap_or_else(|_| Err(Fault::Broken("no answer".to_owned())));
                if answer.is_err() {
                    tokio::time::sleep(KNOCK).await;
                }
                answer
            });
            let error = match answer {
                Ok(reply) if reply.status == 200 => return Ok(()),
                Ok(reply) => format!("HTTP status {}", reply.status),
                Err(fault) => fault.to_string(),
            };
            if let Some(ended) = self.child.ended() {
                // All that it has said is read by then.
                let messages = self.messages.explanation(&self.pipe);
                // The one thing of the user's that it looks at before it is asked.
                let wrong = messages.iter().map(Message::to_string).find_map(|said| Some((self.environment.misunderstood(&said)?, said)));
                if let Some((variables, said)) = wrong {
                    let said = shorten(&self.environment.redact(&said));
                    return Err(Failure::new(Reason::SecretInvalid, format!("correct {variables}: rclone refuses it: {said}")));
                }
                let said = self.messages.last();
                return Err(failed(format!("rclone ({}) ended as it was started, {ended}{said}", binary.display())));
            }
            if began.elapsed() > PATIENCE {
                return Err(failed(format!(
                    "rclone ({}) does not answer on its socket: {error}{}",
                    binary.display(),
                    self.messages.last()
                )));
            }
        }
    }
}

fn failed(what: String) -> Failure {
    Failure::new(Reason::MoverFailed, what)
}
