//! What others ask of this server as an NFS server.

use muster_catalogue::{
    NODE_NFSD_CONNECTIONS_TOTAL, NODE_NFSD_DISK_BYTES_READ_TOTAL, NODE_NFSD_DISK_BYTES_WRITTEN_TOTAL,
    NODE_NFSD_FILE_HANDLES_STALE_TOTAL, NODE_NFSD_PACKETS_TOTAL, NODE_NFSD_READ_AHEAD_CACHE_NOT_FOUND_TOTAL,
    NODE_NFSD_READ_AHEAD_CACHE_SIZE_BLOCKS, NODE_NFSD_REPLY_CACHE_HITS_TOTAL,
    NODE_NFSD_REPLY_CACHE_MISSES_TOTAL, NODE_NFSD_REPLY_CACHE_NOCACHE_TOTAL, NODE_NFSD_REQUESTS_TOTAL,
    NODE_NFSD_RPC_ERRORS_TOTAL, NODE_NFSD_SERVER_RPCS_TOTAL, NODE_NFSD_SERVER_THREADS,
};
use muster_parse::rows::{self, Rows};

use super::Descriptor;
use super::nfs::{VERSION_2, VERSION_3};
use super::reading::{FileCollector, Reading, every_15s};
use crate::host::HostError;

/// The nfsd collector.
pub const DESCRIPTOR: Descriptor = every_15s(
    "nfsd",
    "what others ask of this server as an NFS server, from /proc/net/rpc/nfsd",
    |_| Box::new(NFSD),
);

const NFSD: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "the server is no NFS server (no /proc/net/rpc/nfsd)",
    read,
};

/// Operations of version 4 by their numbers in RFC 7530; the first three are none.
const OPERATIONS_4: &str = "- - - Access Close Commit Create DelegPurge DelegReturn GetAttr GetFH Link Lock Lockt Locku \
     Lookup LookupRoot Nverify Open OpenAttr OpenConfirm OpenDgrd PutFH PutPubFH PutRootFH Read ReadDir ReadLink \
     Remove Rename Renew RestoreFH SaveFH SecInfo SetAttr Verify Write RelLockOwner";

fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    let path = "/proc/net/rpc/nfsd";
    let Some(text) = reading.text(path)? else {
        return Ok(());
    };
    let parsed = rows::parse(&text);
    server(reading, &parsed.value);
    for (row, version, methods) in [
        ("proc2", "2", VERSION_2),
        ("proc3", "3", VERSION_3),
        ("proc4ops", "4", OPERATIONS_4),
    ] {
        // The first number is how many follow; procedure 0 does nothing and is of no interest.
        let Some([_, counts @ ..]) = parsed.value.get(row) else {
            continue;
        };
        let counts = methods.split_ascii_whitespace().zip(counts).skip(1);
        for (method, count) in counts.filter(|(method, _)| *method != "-") {
            let labels = [("method", method), ("proto", version)];
            reading.sample(&NODE_NFSD_REQUESTS_TOTAL, &labels, *count);
        }
    }
    reading.draft.parser_problems(path, parsed.problems);
    Ok(())
}

/// `net/sunrpc/stats.c` and `fs/nfsd/stats.c` of the kernel.
fn server(reading: &mut Reading<'_>, rows: &Rows) {
    let at = |row: &str, place: usize| rows.get(row)?.get(place).copied();
    let plain = [
        (&NODE_NFSD_REPLY_CACHE_HITS_TOTAL, at("rc", 0)),
        (&NODE_NFSD_REPLY_CACHE_MISSES_TOTAL, at("rc", 1)),
        (&NODE_NFSD_REPLY_CACHE_NOCACHE_TOTAL, at("rc", 2)),
        (&NODE_NFSD_FILE_HANDLES_STALE_TOTAL, at("fh", 0)),
        (&NODE_NFSD_DISK_BYTES_READ_TOTAL, at("io", 0)),
        (&NODE_NFSD_DISK_BYTES_WRITTEN_TOTAL, at("io", 1)),
        (&NODE_NFSD_SERVER_THREADS, at("th", 0)),
        (&NODE_NFSD_READ_AHEAD_CACHE_SIZE_BLOCKS, at("ra", 0)),
        (&NODE_NFSD_READ_AHEAD_CACHE_NOT_FOUND_TOTAL, at("ra", 11)),
        (&NODE_NFSD_CONNECTIONS_TOTAL, at("net", 3)),
        (&NODE_NFSD_SERVER_RPCS_TOTAL, at("rpc", 0)),
    ];
    for (metric, value) in plain {
        if let Some(value) = value {
            reading.sample(metric, &[], value);
        }
    }
    for (protocol, place) in [("udp", 1), ("tcp", 2)] {
        if let Some(value) = at("net", place) {
            reading.sample(&NODE_NFSD_PACKETS_TOTAL, &[("proto", protocol)], value);
        }
    }
    for (error, place) in [("fmt", 2), ("auth", 3), ("cInt", 4)] {
        if let Some(value) = at("rpc", place) {
            reading.sample(&NODE_NFSD_RPC_ERRORS_TOTAL, &[("error", error)], value);
        }
    }
}
