//! Connections, for gRPC and HTTP: how many, how long, from where, and their end. What is served is others' business.
//!
//! Streams are pulled: what a reader gets is made when its connection has room for it. So whoever reads slowly, or
//! not at all, costs a message and holds up nobody.
//!
//! | file | what |
//! |---|---|
//! | [`serve`](mod@serve) | gRPC: one router behind all listeners, its limits and its end |
//! | [`listen`] | its connections |
//! | [`peer`] | who calls |
//! | [`pull`] | streams that make a message when there is room for one |
//! | [`refuse`] | why a call fails |
//! | [`http`] | HTTP/1.1 |

pub mod http;
pub mod listen;
pub mod peer;
pub mod pull;
pub mod refuse;
pub mod serve;
