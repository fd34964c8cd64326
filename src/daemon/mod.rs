//! The daemon: the controller in a loop that never ends, fed by manifests, the engine, probes and
//! resyncs; and what the faces may ask of it.
//!
//! | file | what |
//! |---|---|
//! | [`environment`] | [`Environment`]: everything that gRPC and HTTP ask |

pub mod environment;
#[cfg(test)]
pub mod played;

pub use environment::Environment;
