//! Updates against an engine that is broken at each of its calls, by clients that die at each of them.

mod bench;
mod breaking;
mod ground;
mod killed;
mod outcomes;
mod units;
