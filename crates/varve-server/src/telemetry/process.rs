//! The process, as the kernel sees it; what that does not say is `None`. None of these files takes a disk.

use std::fs;
use std::path::Path;

/// Ticks of the clock by which processor time is counted, each second: what Linux says to programs, whatever its own is.
const TICKS_PER_SECOND: f64 = 100.0;

/// Bytes of memory that the process has.
pub(crate) fn memory_used() -> Option<u64> {
    kilobytes_of(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Seconds of processor time that it has used.
pub(crate) fn cpu_used() -> Option<f64> {
    cpu_seconds(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// Files and sockets that it has open.
pub(crate) fn files_open() -> Option<u64> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count() as u64)
}

/// Seconds since it was started.
pub(crate) fn uptime() -> Option<f64> {
    let (stat, uptime) =
        (fs::read_to_string("/proc/self/stat").ok()?, fs::read_to_string("/proc/uptime").ok()?);
    uptime_seconds(&stat, &uptime)
}

/// The most memory that the process may have: its control group's limit, else the machine's.
pub(crate) fn memory_limit() -> Option<u64> {
    let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let of_group = group.lines().find_map(|line| line.strip_prefix("0::")).and_then(|path| {
        let file = Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/')).join("memory.max");
        fs::read_to_string(file).ok()?.trim().parse().ok()
    });
    // Within a container its own group is the root of what is seen.
    let of_root = || fs::read_to_string("/sys/fs/cgroup/memory.max").ok()?.trim().parse().ok();
    let of_machine = || kilobytes_of(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:");
    of_group.or_else(of_root).or_else(of_machine)
}

/// How many files may be open; `None` where there is no limit.
pub(crate) fn files_limit() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn kilobytes_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Fields of `/proc/self/stat` from the third on: the second is a name, which may hold anything but ends with the last bracket.
fn stat_fields(stat: &str) -> Option<Vec<&str>> {
    Some(stat.rsplit_once(')')?.1.split_whitespace().collect())
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    let fields = stat_fields(stat)?;
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    // Fields 14 and 15 of proc(5): user and system.
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

fn uptime_seconds(stat: &str, uptime: &str) -> Option<f64> {
    let since_boot: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    // Field 22: when it started.
    let started: f64 = stat_fields(stat)?.get(19)?.parse().ok()?;
    Some((since_boot - started / TICKS_PER_SECOND).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen() {
        assert!(memory_used().is_some_and(|bytes| bytes > 100_000));
        assert!(files_open().is_some_and(|files| files > 2));
        assert!(cpu_used().is_some() && uptime().is_some());
        assert!(memory_limit() > memory_used());
    }

    #[test]
    fn a_name_with_brackets_and_blanks_moves_no_field() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 1000 1 1";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(uptime_seconds(stat, "25.5 10.0\n"), Some(15.5));
        assert_eq!(cpu_seconds(""), None);
    }
}
