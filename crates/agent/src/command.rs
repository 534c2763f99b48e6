//! Commands of a controller: what this server takes of them is decided here, by a policy that no controller can write.

pub mod transactions;
