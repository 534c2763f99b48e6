//! What this server asks of others as an NFS client.

use muster_catalogue::{
    NODE_NFS_CONNECTIONS_TOTAL, NODE_NFS_PACKETS_TOTAL, NODE_NFS_REQUESTS_TOTAL,
    NODE_NFS_RPC_AUTHENTICATION_REFRESHES_TOTAL, NODE_NFS_RPC_RETRANSMISSIONS_TOTAL, NODE_NFS_RPCS_TOTAL,
};
use muster_parse::rows;

use super::Descriptor;
use super::reading::{FileCollector, Reading, every_15s};
use crate::host::HostError;

/// The nfs collector.
pub const DESCRIPTOR: Descriptor = every_15s(
    "nfs",
    "what this server asks as an NFS client, from /proc/net/rpc/nfs",
    |_| Box::new(NFS),
);

const NFS: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "the server is no NFS client (no /proc/net/rpc/nfs)",
    read,
};

/// Procedures of version 2 (RFC 1094), in the kernel's order.
pub(super) const VERSION_2: &str = "Null GetAttr SetAttr Root Lookup ReadLink Read WrCache Write Create Remove Rename \
     Link SymLink MkDir RmDir ReadDir FsStat";
/// Procedures of version 3 (RFC 1813).
pub(super) const VERSION_3: &str = "Null GetAttr SetAttr Lookup Access ReadLink Read Write Create MkDir SymLink MkNod \
     Remove RmDir Rename Link ReadDir ReadDirPlus FsStat FsInfo PathConf Commit";
/// Compounds of version 4 that the client sends, in the order of the kernel's `include/linux/nfs4.h`.
const VERSION_4: &str = "Null Read Write Commit Open OpenConfirm OpenNoattr OpenDowngrade Close Setattr FsInfo Renew \
     SetClientID SetClientIDConfirm Lock Lockt Locku Access Getattr Lookup LookupRoot Remove Rename Link Symlink \
     Create Pathconf StatFs ReadLink ReadDir ServerCaps DelegReturn GetACL SetACL FsLocations ReleaseLockowner \
     Secinfo FsidPresent ExchangeID CreateSession DestroySession Sequence GetLeaseTime ReclaimComplete LayoutGet \
     GetDeviceInfo LayoutCommit LayoutReturn SecinfoNoName TestStateID FreeStateID GetDeviceList BindConnToSession \
     DestroyClientID Seek Allocate DeAllocate LayoutStats Clone";

fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    let path = "/proc/net/rpc/nfs";
    let Some(text) = reading.text(path)? else {
        return Ok(());
    };
    let parsed = rows::parse(&text);
    if let Some([_, udp, tcp, connections, ..]) = parsed.value.get("net") {
        reading.sample(&NODE_NFS_PACKETS_TOTAL, &[("protocol", "udp")], *udp);
        reading.sample(&NODE_NFS_PACKETS_TOTAL, &[("protocol", "tcp")], *tcp);
        reading.sample(&NODE_NFS_CONNECTIONS_TOTAL, &[], *connections);
    }
    if let Some([calls, again, refreshed, ..]) = parsed.value.get("rpc") {
        reading.sample(&NODE_NFS_RPCS_TOTAL, &[], *calls);
        reading.sample(&NODE_NFS_RPC_RETRANSMISSIONS_TOTAL, &[], *again);
        reading.sample(&NODE_NFS_RPC_AUTHENTICATION_REFRESHES_TOTAL, &[], *refreshed);
    }
    for (row, version, methods) in [
        ("proc2", "2", VERSION_2),
        ("proc3", "3", VERSION_3),
        ("proc4", "4", VERSION_4),
    ] {
        // The first number is how many follow; later kernels have more than are known here.
        let Some([_, counts @ ..]) = parsed.value.get(row) else {
            continue;
        };
        for (method, count) in methods.split_ascii_whitespace().zip(counts) {
            let labels = [("method", method), ("proto", version)];
            reading.sample(&NODE_NFS_REQUESTS_TOTAL, &labels, *count);
        }
    }
    reading.draft.parser_problems(path, parsed.problems);
    Ok(())
}
