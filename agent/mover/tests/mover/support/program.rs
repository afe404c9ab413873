//! The mover as a program: how it is started, killed and read.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use scribe_mover::report::Report;

use super::{Layout, Site, rclone};

pub(crate) fn program() -> PathBuf {
    example("mover")
}

/// Where cargo puts a program beside the tests.
pub(crate) fn example(name: &str) -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    let program = deps.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(program.exists(), "{} is not there: run `cargo build --workspace --examples` first, as `make test` does", program.display());
    program
}

/// A push or pull of the site's path by hand.
pub(crate) fn mover(site: &Site, verb: &str, volume: &Path, more: &[&str]) -> Command {
    mover_by(rclone(), site, verb, volume, more)
}

/// The same, with another program in rclone's place.
pub(crate) fn mover_by(rclone: &Path, site: &Site, verb: &str, volume: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args([verb, "--remote", &site.name, "--secret-name", "creds", "--volume"]).arg(volume);
    command.arg("--config-dir").arg(site.secret.path()).arg("--rclone").arg(rclone).args(more);
    if verb == "push" {
        command.args(["--owner", "shop/db", "--owner-uid", "uid-1"]);
        if site.layout == Layout::Packs {
            command.args(["--layout", "packs"]);
        }
    }
    // Scratch of a killed mover goes with the site.
    clean(&mut command).env("TMPDIR", site.scratch.path());
    command
}

/// A look at the site's path by hand: exit code, standard output and standard error.
pub(crate) fn inspect(site: &Site, verb: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(program());
    command.args([verb, "--remote", &site.name, "--secret-name", "creds", "--config-dir"]).arg(site.secret.path());
    command.arg("--rclone").arg(rclone()).args(more);
    let output = clean(&mut command).env("TMPDIR", site.scratch.path()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Answers a system call with an error, and then becomes the program in its arguments.
const WITHOUT: &str = "
import ctypes, os, struct, sys
call, errno = int(sys.argv[1]), int(sys.argv[2])
code = [(0x20, 0, 0, 0), (0x15, 0, 1, call), (0x06, 0, 0, 0x50000 | errno), (0x06, 0, 0, 0x7fff0000)]
filters = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *line) for line in code))
program = ctypes.create_string_buffer(struct.pack('HxxxxxxP', len(code), ctypes.addressof(filters)))
prctl = ctypes.CDLL(None, use_errno=True).prctl
assert prctl(38, 1, 0, 0, 0) == 0 and prctl(22, 2, program, 0, 0) == 0, ctypes.get_errno()
os.execv(sys.argv[3], sys.argv[3:])
";

/// The same program where a system call fails, as a kernel, a seccomp profile or a file system without it has it.
pub(crate) fn without(call: i64, errno: i32, command: &Command) -> Command {
    let mut without = Command::new("python3");
    without.args(["-c", WITHOUT, &call.to_string(), &errno.to_string()]).arg(command.get_program()).args(command.get_args());
    without
}

/// Without what the machine that runs the tests may have for rclone: the mover's environment reaches it.
pub(crate) fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if ["RCLONE_", "AWS_", "GOOGLE_", "AZURE_", "GO"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command
}

/// The last line of its output.
pub(crate) fn report(output: &Output) -> Report {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// A mover in a process group of its own, with its rclone: what a power failure takes down at once.
pub(crate) struct Group {
    child: Child,
    pub(crate) pid: Pid,
}

impl Group {
    pub(crate) fn spawn(mut command: Command) -> Self {
        let child = command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        Self { child, pid }
    }

    /// Waits for the mover's end; its rclone may live a little longer.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Gone already, nearly always.
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = self.child.wait();
    }
}
