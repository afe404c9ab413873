//! How much memory there is: the least limit of the cgroups that this process is in, of either version.

use std::fs;
use std::path::{Path, PathBuf};

/// A version 1 group without a limit says a number close to this.
const NO_LIMIT: u64 = 1 << 62;

/// The limit in bytes; `None` when there is none, or none can be seen.
pub fn limit() -> Option<u64> {
    limit_below(Path::new("/"))
}

/// With `root` in the place of the file system's root.
fn limit_below(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let limits = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, group) = (fields.next()?, fields.next()?);
        let (mount, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => return None,
        };
        least(&root.join(mount), group, file)
    });
    limits.min().filter(|limit| *limit < NO_LIMIT)
}

/// The least limit from `group` up to the top. In a container the mount may show the container's own group as the top: then the
/// path of the group leads nowhere there, and the top is what counts.
fn least(mount: &Path, group: &str, file: &str) -> Option<u64> {
    let group = PathBuf::from(group.trim_start_matches('/'));
    let limit = |dir: &Path| fs::read_to_string(mount.join(dir).join(file)).ok()?.trim().parse::<u64>().ok();
    group.ancestors().filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use assert_fs::TempDir;

    fn machine(files: &[(&str, &str)]) -> Option<u64> {
        let root = TempDir::new().unwrap();
        for (name, content) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        limit_below(root.path())
    }

    #[test]
    fn the_least_limit_above_counts_in_version_2() {
        let groups = ("proc/self/cgroup", "0::/pod/mover\n");
        let of = |own, above| machine(&[groups, ("sys/fs/cgroup/pod/mover/memory.max", own), ("sys/fs/cgroup/pod/memory.max", above)]);
        assert_eq!((of("134217728\n", "max\n"), of("max\n", "99\n"), of("max\n", "max\n")), (Some(134_217_728), Some(99), None));
        assert_eq!(machine(&[("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "7\n")]), Some(7), "a namespace of its own");
    }

    #[test]
    fn version_1_is_read_whether_or_not_the_mount_shows_the_group() {
        let groups = ("proc/self/cgroup", "3:cpu:/x\n2:memory:/pod/mover\n1:name=systemd:/y\n0::/\n");
        assert_eq!(machine(&[groups, ("sys/fs/cgroup/memory/memory.limit_in_bytes", "8\n")]), Some(8));
        let unlimited = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(machine(&[groups, unlimited]), None);
        assert_eq!(machine(&[groups, unlimited, ("sys/fs/cgroup/memory/pod/mover/memory.limit_in_bytes", "9\n")]), Some(9));
        assert_eq!(machine(&[]), None);
    }
}
