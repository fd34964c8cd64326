//! The adapter on a real engine: what `docs/engine.md` and the `Engine` trait promise.

#[path = "../common/engine.rs"]
mod common;

mod data;
mod lease;
mod lifecycle;
mod limits;
mod network;
mod silence;
mod streams;
