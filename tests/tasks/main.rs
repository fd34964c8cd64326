//! The task queue end to end: a real Redis, the service as the daemon serves it, clients over real sockets.

mod calls;
#[path = "../common/redis_server.rs"]
mod redis_server;
#[allow(dead_code, reason = "more tests are to come")]
mod rig;
