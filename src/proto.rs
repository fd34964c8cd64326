//! Generated from `proto/`.

/// `env_manager.v1`
pub mod env_manager {
    #[allow(
        clippy::all,
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        reason = "generated code is not ours to style"
    )]
    pub mod v1 {
        tonic::include_proto!("env_manager.v1");
    }
}

/// `orchestrator.v1`
pub mod orchestrator {
    #[allow(
        clippy::all,
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        reason = "generated code is not ours to style"
    )]
    pub mod v1 {
        tonic::include_proto!("orchestrator.v1");
    }
}

/// All of `proto/`, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
