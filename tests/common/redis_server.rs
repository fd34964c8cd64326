//! A `redis-server` of a test's own, as the store's unit tests have it.

#![allow(dead_code, reason = "each test binary uses a part of it")]

#[path = "../../src/tasks/store/redis/tests/server.rs"]
mod server;

pub use server::RedisServer;
