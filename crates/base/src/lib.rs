//! What every Muster program needs, and nothing else: error chains, logging, shutdown, backoff, ids, the clock, the heap.
//!
//! Nothing may enter that only one program uses, and nothing that knows of servers, reports or the wire.

pub mod backoff;
pub mod clock;
mod error;
pub mod heap;
pub mod id;
pub mod log;
pub mod shutdown;

pub use error::ErrorChain;
