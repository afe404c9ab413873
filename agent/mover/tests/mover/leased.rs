//! A file on which another program has a lease (`fcntl` with `F_SETLEASE`), as Samba and NFS servers take: it cannot be opened before that
//! program has given it up.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rstest::rstest;
use scribe_mover::pull::pull;
use scribe_mover::report::Reason;

use crate::support::tree::{assert_same, write};
use crate::support::{Layout, Local, done, guard};

/// Takes a lease on a file, and gives it up a while after it is asked to, or not at all, until its input ends.
const LEASE: &str = "
import fcntl, signal, sys
file = open(sys.argv[1], 'r+')
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print('leased', flush=True)
if sys.argv[2] == 'gives':
    signal.sigwait([signal.SIGIO])
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
sys.stdin.read()
";

struct Lease(Child);

impl Lease {
    fn new(file: &Path, gives: bool) -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", LEASE]).arg(file).arg(if gives { "gives" } else { "keeps" }).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "leased\n");
        Self(child)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[rstest]
fn a_leased_file_is_waited_for_and_then_named(
    #[values(false, true)] gives: bool,
    #[values(false, true)] pulling: bool,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let site = Local::new();
    write(site.source.path(), "dir/leased", "content");
    write(site.source.path(), "other", "other");
    let push = || layout.push(&site.remote(), &site.push_options());
    let try_pull = || {
        let options = scribe_mover::pull::PullOptions { volume: site.dest.path().into(), applied: None, private: false, guard: guard() };
        pull(&site.remote(), &options)
    };
    if pulling {
        push().unwrap();
        done(try_pull());
    }
    let volume = if pulling { site.dest.path() } else { site.source.path() };
    let lease = Lease::new(&volume.join("dir/leased"), gives);
    let failure = if pulling { try_pull().err() } else { push().err() };
    match failure {
        None => assert!(gives, "it was read although another program has it"),
        Some(failure) => {
            assert!(!gives, "{failure}");
            assert_eq!(failure.reason, Reason::VolumeUnreadable, "{failure}");
            assert!(failure.message.contains("dir/leased") && failure.message.contains("lease"), "{failure}");
        }
    }
    drop(lease);
    push().unwrap();
    done(try_pull());
    assert_same(site.source.path(), site.dest.path());
}
