//! The daemon's gRPC face: `env_manager.v1`, `grpc.health.v1` and reflection, on a port and a unix socket.
//!
//! Streams are pulled: what a watcher gets is made when its connection has room for it, from what is then
//! the newest. So whoever reads slowly, or not at all, costs a message and holds up nobody; and no task runs
//! for a watcher.
//!
//! | file | what |
//! |---|---|
//! | [`serve`](mod@serve) | one router behind all listeners, its limits and its end |
//! | [`listen`] | connections |
//! | [`access`] | who calls, and what is theirs to know |
//! | [`reconciler`] | `env_manager.v1.ReconcilerService` |
//! | [`health`] | `grpc.health.v1.Health` |
//! | [`watch`] | what watchers are sent |
//! | [`pull`] | streams that make a message when there is room for one |
//! | [`refuse`] | why a call fails |
//! | [`convert`] | our types as messages, and back |
//! | [`client`] | how the program reaches a daemon |

pub mod access;
pub mod client;
pub mod convert;
pub mod health;
pub mod listen;
pub mod pull;
pub mod reconciler;
pub mod refuse;
pub mod serve;
pub mod watch;

#[cfg(test)]
mod tests;

pub use listen::Listeners;
pub use serve::{ServeError, serve};

/// What is taken in one message, in bytes.
pub const MAX_REQUEST: usize = 1 << 20;
/// What is given in one message, in bytes.
pub const MAX_RESPONSE: usize = 16 << 20;
