//! Runs a program and kills it with all it has started right before its n-th change of a directory: a crash at a chosen step, for tests.
//!
//! `crash N DIR PROGRAM ARG…` prints `killed before` and the call that it kept the program from making, or `ended` and the exit code. In the place of
//! N may stand such a call: the first one like it is meant.
//!
//! A process of its own, because whoever traces a program has to wait for any of its threads.

// A tool for tests: what goes wrong here ends it with a message, and the test fails.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// How a system call names what it changes.
#[derive(Clone, Copy)]
enum Names {
    /// By the path in this argument.
    Path(usize),
    /// By the descriptor of a directory in this argument and the path in the next one.
    Location(usize),
    /// As [`Names::Location`], if its flags, right after, say that a file is made or emptied.
    Open(usize),
    /// As [`Names::Open`], with a structure that begins with the flags.
    How(usize),
    /// By the descriptor in this argument.
    Fd(usize),
}

/// The system calls that change a file system.
const CALLS: &[(i64, &str, Names)] = &[
    (libc::SYS_openat, "open", Names::Open(0)),
    (libc::SYS_openat2, "open", Names::How(0)),
    (libc::SYS_mkdirat, "mkdir", Names::Location(0)),
    (libc::SYS_unlinkat, "unlink", Names::Location(0)),
    (libc::SYS_renameat2, "rename", Names::Location(0)),
    (libc::SYS_linkat, "link", Names::Location(0)),
    (libc::SYS_symlinkat, "symlink", Names::Location(1)),
    (libc::SYS_mknodat, "mknod", Names::Location(0)),
    (libc::SYS_fchmodat, "chmod", Names::Location(0)),
    (libc::SYS_fchownat, "chown", Names::Location(0)),
    (libc::SYS_utimensat, "utimens", Names::Location(0)),
    (libc::SYS_lsetxattr, "setxattr", Names::Path(0)),
    (libc::SYS_setxattr, "setxattr", Names::Path(0)),
    (libc::SYS_lremovexattr, "removexattr", Names::Path(0)),
    (libc::SYS_removexattr, "removexattr", Names::Path(0)),
    (libc::SYS_fsetxattr, "setxattr", Names::Fd(0)),
    (libc::SYS_fchmod, "chmod", Names::Fd(0)),
    (libc::SYS_fchown, "chown", Names::Fd(0)),
    (libc::SYS_ftruncate, "truncate", Names::Fd(0)),
    (libc::SYS_fallocate, "fallocate", Names::Fd(0)),
    (libc::SYS_copy_file_range, "copy", Names::Fd(2)),
    (libc::SYS_write, "write", Names::Fd(0)),
    (libc::SYS_pwrite64, "write", Names::Fd(0)),
    (libc::SYS_syncfs, "sync", Names::Fd(0)),
    (libc::SYS_fsync, "sync", Names::Fd(0)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rename, "rename", Names::Path(0)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mkdir, "mkdir", Names::Path(0)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rmdir, "rmdir", Names::Path(0)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_unlink, "unlink", Names::Path(0)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_link, "link", Names::Path(1)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_symlink, "symlink", Names::Path(1)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chmod, "chmod", Names::Path(0)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_lchown, "chown", Names::Path(0)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chown, "chown", Names::Path(0)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mknod, "mknod", Names::Path(0)),
    (libc::SYS_renameat, "rename", Names::Location(0)),
];

fn main() {
    let mut args = std::env::args_os().skip(1);
    let wanted = args.next().unwrap().into_string().unwrap();
    let mut left: Option<usize> = wanted.parse().ok();
    let dir = PathBuf::from(args.next().unwrap());
    // Stops itself before it becomes the program, so that not one call goes unseen.
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "kill -STOP $$; exec \"$@\"", "sh"]).args(args).process_group(0);
    let child = Pid::from_raw(i32::try_from(command.spawn().unwrap().id()).unwrap());
    assert!(matches!(waitpid(child, Some(WaitPidFlag::WUNTRACED)).unwrap(), WaitStatus::Stopped(..)));
    ptrace::seize(child, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL).unwrap();
    kill(child, Signal::SIGCONT).unwrap();

    // Every call stops twice: on its way in and on its way out.
    let mut inside: Vec<Pid> = Vec::new();
    loop {
        let status = waitpid(None, Some(WaitPidFlag::__WALL)).unwrap();
        let (thread, signal) = match status {
            WaitStatus::Exited(pid, code) if pid == child => return println!("ended {code}"),
            WaitStatus::Signaled(pid, signal, _) if pid == child => return println!("ended {signal}"),
            WaitStatus::PtraceSyscall(thread) => {
                if let Some(at) = inside.iter().position(|pid| *pid == thread) {
                    inside.swap_remove(at);
                } else {
                    inside.push(thread);
                    if let Some(call) = change(thread, &dir) {
                        left = left.map(|left| left - 1);
                        if left == Some(0) || call == wanted {
                            killpg(child, Signal::SIGKILL).unwrap();
                            return println!("killed before {call}");
                        }
                    }
                }
                (thread, None)
            }
            WaitStatus::Stopped(thread, signal) if signal != Signal::SIGTRAP => (thread, Some(signal)),
            other => match other.pid() {
                Some(thread) => (thread, None),
                None => continue,
            },
        };
        // A thread may have died meanwhile.
        let _ = ptrace::syscall(thread, signal);
    }
}

/// Flags of a call that makes or empties a file.
const MAKES: i32 = libc::O_CREAT | libc::O_TRUNC;

/// The call that this thread is about to make, if it changes something below `dir`.
fn change(thread: Pid, dir: &Path) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{thread}/syscall")).ok()?;
    let mut words = text.split_whitespace();
    let number: i64 = words.next()?.parse().ok()?;
    let (_, verb, names) = *CALLS.iter().find(|(call, ..)| *call == number)?;
    let args: Vec<u64> = words.map_while(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok()).collect();
    let path = match names {
        Names::Path(at) => named(thread, string(thread, args[at])?)?,
        Names::How(at) if word(thread, args[at + 2])? & u64::from(MAKES.cast_unsigned()) == 0 => return None,
        Names::Open(at) if args[at + 2] & u64::from(MAKES.cast_unsigned()) == 0 => return None,
        Names::Location(at) | Names::Open(at) | Names::How(at) => {
            let below = string(thread, args[at + 1])?;
            if below.is_absolute() { named(thread, below)? } else { descriptor(thread, args[at])?.join(below) }
        }
        Names::Fd(at) => descriptor(thread, args[at])?,
    };
    path.starts_with(dir).then(|| format!("{verb} {}", path.strip_prefix(dir).unwrap().display()))
}

fn descriptor(thread: Pid, fd: u64) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{thread}/fd/{}", fd & 0xffff_ffff)).ok()
}

/// An absolute path, by what it is called where it goes by a descriptor.
fn named(thread: Pid, path: PathBuf) -> Option<PathBuf> {
    let mut parts = path.components();
    parts.next();
    let part = |part: Option<std::path::Component>| part.and_then(|part| part.as_os_str().to_str().map(str::to_owned));
    let (proc, process, fd, number) = (part(parts.next()), part(parts.next()), part(parts.next()), part(parts.next()));
    let (Some("proc"), Some(process), Some("fd"), Some(number)) = (proc.as_deref(), process, fd.as_deref(), number) else {
        return Some(path);
    };
    let process = if process == "self" { thread.to_string() } else { process };
    let folder = fs::read_link(format!("/proc/{process}/fd/{number}")).ok()?;
    Some(folder.join(parts.as_path()))
}

fn word(thread: Pid, at: u64) -> Option<u64> {
    let mut word = [0; 8];
    fs::File::open(format!("/proc/{thread}/mem")).ok()?.read_exact_at(&mut word, at).ok()?;
    Some(u64::from_ne_bytes(word))
}

fn string(thread: Pid, at: u64) -> Option<PathBuf> {
    let memory = fs::File::open(format!("/proc/{thread}/mem")).ok()?;
    let mut text = Vec::new();
    while !text.contains(&0) {
        let mut part = [0; 64];
        let got = memory.read_at(&mut part, at + text.len() as u64).ok().filter(|got| *got > 0)?;
        text.extend_from_slice(&part[..got]);
    }
    let end = text.iter().position(|byte| *byte == 0)?;
    Some(PathBuf::from(OsStr::from_bytes(&text[..end])))
}
