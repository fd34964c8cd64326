//! The task queue: `orchestrator.v1.OrchestratorService` on Redis. What was acknowledged is not lost (P20).
//!
//! ```text
//!  programs ── SubmitTask ──▶ submit (coalesces) ─┐            ┌─▶ events, results ──▶ programs
//!                                                  ├─▶ store ──┤
//!  workers ◀── leases ── dispatch ◀── hub ◀── ev ──┘  (Redis)  └─▶ metrics
//!     └─ complete, fail, extend, release ─────────────▶
//! ```
//!
//! All state is in Redis, changed by scripts that are atomic there; a daemon holds nothing that is lost with it, and
//! several may share one Redis. Nothing here knows of the reconciler.
//!
//! | file | what |
//! |---|---|
//! | [`settings`] | classes, limits, durability: what `[tasks]` configures |
//! | [`task`] | tasks, their states, contents and ids |
//! | [`store`] | what is kept, as a trait; [`store::redis`] keeps it; [`metered`] times its calls |
//! | [`submit`] | submissions that come at the same time are one call |
//! | [`hub`] | what happens, told to whoever waits for it |
//! | [`dispatch`] | tasks for the workers that are connected here |
//! | [`ready`] | whether tasks are taken |
//! | [`queue`] | all of these together, and their end |
//! | [`service`] | gRPC |
//! | [`http`] | HTTP |
//! | [`metrics`] | numbers |

pub mod dispatch;
pub mod http;
pub mod hub;
pub mod metered;
pub mod metrics;
#[cfg(test)]
mod played;
pub mod queue;
pub mod ready;
pub mod service;
pub mod settings;
pub mod store;
pub mod submit;
pub mod task;

pub use queue::{Identity, Queue, TasksError, Works, serve};
