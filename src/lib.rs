//! `env-manager`: keeps a set of Docker services in the state that a folder of YAML manifests describes.
//!
//! This file is the map. Layers import downwards only; `tests/layering.rs` checks it.
//!
//! ```text
//!  manifests ── source ──▶ desired ─┐                                     ┌─▶ status ──▶ cli
//!  Docker ───── engine ──▶ observed ┼─▶ queue ─▶ plan(key) ─▶ first stage ┤
//!  probes, pulls ─ results ─────────┘   backoff    (pure)      of the plan└─▶ execute ──▶ engine ──▶ Docker
//! ```
//!
//! | layer | modules |
//! |---|---|
//! | words | [`resource`], [`backoff`], [`clock`], [`address`] |
//! | pure | [`plan`], [`report`], [`happenings`]; [`store`], [`queue`], [`manifest`], [`config`] |
//! | shell | [`engine`], [`execute`], [`images`], [`probe`], [`source`], [`state`], [`lease`], [`history`], [`metrics`], [`net`] |
//! | loop | [`controller`], [`daemon`] |
//! | faces | [`cli`], [`grpc`], [`http`]; [`proto`] is generated |
//! | beside | [`tasks`]: the task queue, which knows nothing of the reconciler |

pub mod address;
pub mod backoff;
pub mod cli;
pub mod clock;
pub mod config;
pub mod controller;
pub mod daemon;
pub mod engine;
pub mod execute;
pub mod grpc;
pub mod happenings;
pub mod history;
pub mod http;
pub mod images;
pub mod lease;
pub mod manifest;
pub mod metrics;
pub mod net;
pub mod plan;
pub mod probe;
pub mod proto;
pub mod queue;
pub mod report;
pub mod resource;
pub mod source;
pub mod state;
pub mod store;
pub mod tasks;
