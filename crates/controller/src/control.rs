//! The way in for whoever may use the data folder: the control socket of a running controller, or the lock of one that
//! does not run.
//!
//! `DIR/control.sock` has mode 0600 and answers only root and the controller's own account, whatever the mode says.
//! A request is one line of JSON, an answer is one line of JSON; only a backup is answered by a stream of frames. `DIR/lock` is held by a running controller, so that two
//! processes never write the same files.

pub mod client;
pub mod lock;
mod message;
pub mod server;
pub mod transfer;
pub mod trust;

pub use message::{MadeToken, Request, Status};
pub use trust::{Told, Trust};

/// The socket's name in the data folder.
pub const SOCKET: &str = "control.sock";
/// Longest line either side reads, in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests;
