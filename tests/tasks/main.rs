//! The task queue end to end: a real Redis, the service as the daemon serves it, clients over real sockets.

mod calls;
mod http;
mod order;
mod outages;
#[path = "../common/redis_server.rs"]
mod redis_server;
mod remote;
mod rig;
#[path = "../common/rpcs.rs"]
mod rpcs;
mod workers;
