//! The program on a real engine, as people use it: manifests in, `docker inspect` out.
//!
//! What is asserted is state: of containers, of reports, of exit codes. Nothing is timed, and what
//! takes a while is waited for.

#[path = "../common/stack.rs"]
mod stack;

mod adopt;
mod conflict;
mod converge;
mod down;
mod drift;
mod order;
mod prune;
mod replace;
mod secrets;
mod signals;
mod stuck;
