//! The cluster's settings, computed from the memory at hand and written anew at each start.

use std::fmt::Write as _;
use std::path::Path;

use super::memory::MIB;

/// Sizes that depend on the machine. Everything else is the same everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    /// PostgreSQL's own cache, in MiB: 32 to 128, because the operating system's cache does the rest.
    pub shared_buffers_mib: u64,
    /// What the planner may assume to be cached anywhere, in MiB.
    pub effective_cache_mib: u64,
    /// Memory of one sort or hash, in MiB.
    pub work_mem_mib: u64,
    /// Memory of an index build or a vacuum, in MiB.
    pub maintenance_mib: u64,
    /// Write-ahead log kept between checkpoints, in MiB.
    pub max_wal_mib: u64,
    /// Connections: the request path's pool and room for everybody else.
    pub max_connections: u32,
}

/// Connections beside the request path's pool: the small pools of the other roles, jobs, an operator's shell.
const OTHER_CONNECTIONS: u32 = 16;
/// Connections kept for each service role; drivers open pools of ten by default.
const CONNECTIONS_PER_SERVICE: u32 = 10;

/// Connections of the request path when the settings leave the figure open: 8 on a machine of 1 GiB, one more for each
/// further 256 MiB, at most 32. A connection costs PostgreSQL about 1.5 MiB.
pub fn default_pool_size(memory_bytes: u64) -> u32 {
    let extra = memory_bytes.saturating_sub(1024 * MIB) / (256 * MIB);
    u32::try_from(extra.min(24)).unwrap_or(24) + 8
}

impl Sizes {
    /// Sizes for `memory_bytes` of memory, a pool of `pool` connections (0 = [`default_pool_size`]) and
    /// `n_services` service roles.
    pub fn for_machine(memory_bytes: u64, pool: u32, n_services: usize) -> Self {
        let mib = memory_bytes / MIB;
        let pool = if pool == 0 { default_pool_size(memory_bytes) } else { pool };
        let services = u32::try_from(n_services).unwrap_or(u32::MAX).saturating_mul(CONNECTIONS_PER_SERVICE);
        Self {
            shared_buffers_mib: (mib / 16).clamp(32, 128),
            effective_cache_mib: (mib * 3 / 8).max(96),
            work_mem_mib: (mib / 512).clamp(2, 8),
            maintenance_mib: (mib / 32).clamp(16, 128),
            max_wal_mib: (mib / 8).clamp(128, 1024),
            max_connections: pool.saturating_add(OTHER_CONNECTIONS).saturating_add(services).min(1000),
        }
    }

    /// The text of `postgresql.conf` for a cluster whose socket is in `socket_dir` and whose client rules are `hba`.
    ///
    /// Durability is never traded for speed. Statements and error details stay out of the log: they hold personal data.
    pub fn conf(&self, socket_dir: &Path, hba: &Path) -> String {
        let Self {
            shared_buffers_mib,
            effective_cache_mib,
            work_mem_mib,
            maintenance_mib,
            max_wal_mib,
            max_connections,
        } = self;
        let mut text = String::from(
            "# Written by businessos at every start: changes here are lost. ALTER SYSTEM overrides these settings.\n",
        );
        let mut set = |name: &str, value: &str| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name} = '{}'", value.replace('\'', "''"));
        };
        set("listen_addresses", "");
        set("unix_socket_directories", &socket_dir.to_string_lossy());
        set("unix_socket_permissions", "0700");
        set("hba_file", &hba.to_string_lossy());
        set("max_connections", &max_connections.to_string());
        set("superuser_reserved_connections", "3");
        set("shared_buffers", &format!("{shared_buffers_mib}MB"));
        set("huge_pages", "off");
        set("effective_cache_size", &format!("{effective_cache_mib}MB"));
        set("work_mem", &format!("{work_mem_mib}MB"));
        set("maintenance_work_mem", &format!("{maintenance_mib}MB"));
        set("max_parallel_workers", "0");
        set("max_parallel_workers_per_gather", "0");
        set("max_parallel_maintenance_workers", "0");
        set("max_worker_processes", "2");
        set("max_logical_replication_workers", "0");
        set("autovacuum_max_workers", "1");
        set("jit", "off");
        set("fsync", "on");
        set("full_page_writes", "on");
        set("synchronous_commit", "on");
        set("wal_level", "replica");
        set("wal_compression", "on");
        set("wal_buffers", "1MB");
        set("max_wal_size", &format!("{max_wal_mib}MB"));
        set("min_wal_size", "32MB");
        set("max_wal_senders", "2");
        set("max_replication_slots", "2");
        set("restart_after_crash", "on");
        set("password_encryption", "scram-sha-256");
        set("logging_collector", "off");
        set("log_destination", "stderr");
        set("log_line_prefix", "%m [%p] %q%u@%d ");
        set("log_checkpoints", "off");
        set("log_min_messages", "warning");
        set("log_min_error_statement", "panic");
        set("log_error_verbosity", "terse");
        set("timezone", "UTC");
        set("log_timezone", "UTC");
        set("lc_messages", "C");
        text
    }
}

/// The client rules: whoever gets into the 0700 socket directory may connect, nobody else, and never by TCP.
pub(super) const HBA: &str = "# Written by businessos at every start: changes here are lost.\n\
                              local all all trust\n\
                              local replication postgres trust\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_machine_gets_small_buffers_and_a_large_one_no_more_than_128_mib() {
        assert_eq!(Sizes::for_machine(256 * MIB, 0, 0).shared_buffers_mib, 32);
        assert_eq!(Sizes::for_machine(1024 * MIB, 0, 0).shared_buffers_mib, 64);
        assert_eq!(Sizes::for_machine(65536 * MIB, 0, 0).shared_buffers_mib, 128);
    }

    #[test]
    fn connections_follow_the_pool_and_the_services() {
        assert_eq!(default_pool_size(512 * MIB), 8);
        assert_eq!(default_pool_size(2048 * MIB), 12);
        assert_eq!(default_pool_size(u64::MAX), 32);
        assert_eq!(Sizes::for_machine(1024 * MIB, 20, 2).max_connections, 20 + 16 + 20);
        assert_eq!(Sizes::for_machine(1024 * MIB, u32::MAX, usize::MAX).max_connections, 1000);
    }

    #[test]
    fn a_quote_in_a_path_cannot_end_the_value() {
        let conf = Sizes::for_machine(1024 * MIB, 0, 0).conf(Path::new("/it's"), Path::new("/hba"));
        assert!(conf.contains("unix_socket_directories = '/it''s'"));
        assert!(conf.contains("listen_addresses = ''"));
        assert!(conf.contains("fsync = 'on'"));
    }
}
