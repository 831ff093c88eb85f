//! How much memory this process may use: the machine's, or less if a control group says so.

use std::fs;
use std::path::{Path, PathBuf};
#[cfg(not(target_os = "linux"))]
use std::process::Command;

/// One mebibyte.
pub(super) const MIB: u64 = 1 << 20;

/// Assumed where neither `/proc` nor `sysctl` answers: small, so that a wrong guess starves nobody.
const FALLBACK: u64 = 1024 * MIB;

/// Bytes of memory that this process and its children may use: the least of the machine's memory and every limit of
/// its control groups (version 1 and 2).
pub fn available_bytes() -> u64 {
    let machine = machine_bytes().unwrap_or(FALLBACK);
    cgroup_limit().map_or(machine, |limit| limit.min(machine))
}

#[cfg(target_os = "linux")]
fn machine_bytes() -> Option<u64> {
    meminfo_total(&fs::read_to_string("/proc/meminfo").ok()?)
}

#[cfg(not(target_os = "linux"))]
fn machine_bytes() -> Option<u64> {
    let output = Command::new("sysctl").args(["-n", "hw.memsize"]).output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

fn meminfo_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn cgroup_limit() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    limit_files(&text).iter().filter_map(|file| read_limit(file)).min()
}

/// The files that may hold a limit for the groups in `/proc/self/cgroup`. Inside a container the path may be that of
/// the host, where no such directory exists here; the walk up then ends at the container's own root.
fn limit_files(proc_self_cgroup: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in proc_self_cgroup.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (root, name) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            continue;
        };
        let group = Path::new(path.trim_start_matches('/'));
        files.extend(group.ancestors().map(|ancestor| Path::new(root).join(ancestor).join(name)));
    }
    files
}

/// `max` (no limit) and unreadable files are `None`; version 1 writes "no limit" as a huge number, which the minimum
/// with the machine's memory absorbs.
fn read_limit(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read_in_kibibytes() {
        assert_eq!(meminfo_total("MemFree: 1 kB\nMemTotal:        1024 kB\n"), Some(1024 * 1024));
        assert_eq!(meminfo_total("MemTotal: many kB\n"), None);
        assert_eq!(meminfo_total(""), None);
    }

    #[test]
    fn limits_are_looked_for_from_the_own_group_up_to_the_root() {
        assert_eq!(
            limit_files("0::/a/b\n"),
            ["/sys/fs/cgroup/a/b/memory.max", "/sys/fs/cgroup/a/memory.max", "/sys/fs/cgroup/memory.max"]
                .map(PathBuf::from)
        );
        assert_eq!(
            limit_files("3:cpu,memory:/x\n2:cpuset:/\nnonsense\n"),
            ["/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
                .map(PathBuf::from)
        );
    }

    #[test]
    fn this_machine_has_some_memory() {
        assert!(available_bytes() >= 64 * MIB);
    }
}
