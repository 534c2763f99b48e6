//! Updates on a real dockerd and podman with a real registry: version 1 with every kind of option, version 2 under the
//! same tag.

mod failing;
mod killed;
mod options;
mod podman;
mod stage;
