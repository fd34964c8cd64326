//! The daemon on a real engine: manifests change, containers are interfered with, the engine comes and
//! goes. What is asserted is state; nothing is timed, and what takes a while is waited for.

#[path = "../common/networks.rs"]
mod networks;
#[path = "../common/proxy.rs"]
mod proxy;
#[path = "../common/redis_server.rs"]
mod redis_server;
#[path = "../common/registry.rs"]
mod registry;
#[path = "../common/rpcs.rs"]
mod rpcs;
#[path = "../common/running.rs"]
mod running;
#[path = "../common/stack.rs"]
mod stack;

mod adopt;
mod dependents;
mod elsewhere;
mod healing;
mod hostile;
mod images;
mod manifests;
mod owner;
mod rollback;
mod secrets;
mod start_first;
mod tasks;
mod verbs;
