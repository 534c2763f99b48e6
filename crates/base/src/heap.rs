//! How the C library's allocator is to keep the agent small: mallopt(3), and malloc's tunables in glibc's manual.
//!
//! It reads them from the environment before `main`, so whoever starts the agent sets them: its unit file, `muster up`,
//! and the agent for its own parts. Without them it works the same, in a MiB and a half more.

/// Variables of the environment.
///
/// One heap for all threads: the agent's come and go, and what one has used serves the next. What is larger than 64 KiB
/// is mapped by itself, and so given back when it is free; free memory at the heap's end is given back at that size too.
/// glibc would let both thresholds grow with the largest block that was ever freed, which is a kept segment of reports.
///
/// What is freed joins the free memory beside it at once. Otherwise each thread keeps some pieces of each size for itself
/// (`tcache_count`, since glibc 2.26), and the heap keeps small ones apart (`mxfast`, since 2.31); each holds a page. A glibc
/// that has no such thing leaves the setting alone.
pub const SETTINGS: [(&str, &str); 5] = [
    (
        "GLIBC_TUNABLES",
        "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0",
    ),
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_MMAP_THRESHOLD_", "65536"),
    ("MALLOC_TOP_PAD_", "16384"),
    ("MALLOC_TRIM_THRESHOLD_", "65536"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_unit_sets_them_all_and_no_other() {
        let unit = include_str!("../../../deploy/muster-agent.service");
        let set: Vec<&str> = unit
            .lines()
            .filter_map(|line| line.strip_prefix("Environment="))
            .collect();
        let expected = SETTINGS.map(|(name, value)| format!("{name}={value}"));
        assert_eq!(set, expected);
    }
}
