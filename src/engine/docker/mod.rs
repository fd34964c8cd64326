//! Docker, over bollard: the only place that names it.

pub mod connect;
pub mod credentials;
pub mod user_config;
