//! The daemon's gRPC face: `env_manager.v1`, `grpc.health.v1` and reflection, on a port and a unix socket.
//!
//! Streams are pulled ([`crate::net::pull`]): what a watcher gets is made from what is then the newest, and no task runs
//! for it.
//!
//! | file | what |
//! |---|---|
//! | [`serve`](mod@serve) | the services behind their listeners |
//! | [`reconciler`] | `env_manager.v1.ReconcilerService` |
//! | [`health`] | `grpc.health.v1.Health` |
//! | [`watch`] | what watchers are sent |
//! | [`wakes`] | what wakes watchers |
//! | [`refuse`] | why a call fails |
//! | [`convert`] | our types as messages, and back |
//! | [`client`] | how the program reaches a daemon |

pub mod client;
pub mod convert;
pub mod health;
pub mod reconciler;
pub mod refuse;
pub mod serve;
pub mod wakes;
pub mod watch;

#[cfg(test)]
mod tests;

pub use serve::serve;

/// What is taken in one message, in bytes.
pub const MAX_REQUEST: usize = 1 << 20;
/// What is given in one message, in bytes.
pub const MAX_RESPONSE: usize = 16 << 20;
