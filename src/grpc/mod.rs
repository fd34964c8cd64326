//! The daemon's gRPC face: `env_manager.v1`, `grpc.health.v1` and reflection, on a port and a unix socket.
//!
//! Streams are pulled: what a watcher gets is made when its connection has room for it, from what is then
//! the newest. So whoever reads slowly, or not at all, costs a message and holds up nobody; and no task runs
//! for a watcher.
//!
//! | file | what |
//! |---|---|
//! | [`convert`] | our types as messages, and back |
//! | [`client`] | how the program reaches a daemon |

pub mod client;
pub mod convert;

/// What is taken in one message, in bytes.
pub const MAX_REQUEST: usize = 1 << 20;
/// What is given in one message, in bytes.
pub const MAX_RESPONSE: usize = 16 << 20;
