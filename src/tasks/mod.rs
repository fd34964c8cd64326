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
//! | [`store`] | what is kept, as a trait; [`store::redis`] keeps it |

pub mod settings;
pub mod store;
pub mod task;
