//! Updates against an engine that is broken at each of its calls, by clients that die at each of them.

mod bench;
mod blame;
mod breaking;
mod ground;
mod interrupted;
mod killed;
mod outcomes;
mod systemd;
mod units;
