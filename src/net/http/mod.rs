//! HTTP/1.1 with limits, for a router of anybody's.
//!
//! | file | what |
//! |---|---|
//! | [`server`] | connections: how many, how long, and their end |
//! | [`caller`] | who asks, and for what type |
//! | [`answer`] | what answers look like |

pub mod answer;
pub mod caller;
pub mod server;

pub use caller::{accept, is_local};
pub use server::serve;
