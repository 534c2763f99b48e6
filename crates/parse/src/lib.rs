//! Pure parsers of what Linux and its storage tools print: text in, types and problems out.
//!
//! Nothing here opens a file, starts a program or asks for the time; callers bring the text. A parser never
//! panics and never fails as a whole: what it can read is in [`Parsed::value`], what it could not is in
//! [`Parsed::problems`], so that one odd line neither hides the others nor vanishes itself. Numbers keep the
//! unit of their source, which each field names.

pub mod arp;
pub mod btrfs_scrub;
pub mod btrfs_stats;
pub mod btrfs_usage;
pub mod cgroup;
pub mod conntrack;
pub mod diskstats;
pub mod emmc;
pub mod exposition;
pub mod hwmon;
pub mod interrupts;
pub mod kstat;
pub mod loadavg;
pub mod lsblk;
pub mod lvm;
pub mod mdadm_detail;
pub mod mdstat;
pub mod meminfo;
pub mod mounts;
pub mod net_dev;
pub mod os_release;
pub mod pairs;
pub mod pressure;
pub mod problem;
pub mod process;
pub mod rows;
pub mod schedstat;
pub mod scsi_vpd;
pub mod snmp;
pub mod sockets;
pub mod sockstat;
pub mod softnet;
pub mod stat;
pub mod swaps;
pub mod systemd;
pub mod udev;
pub mod uevent;
pub mod upsc;
pub mod zfs_list;
pub mod zpool;

mod json;

pub use problem::{Parsed, Problem, Problems};
