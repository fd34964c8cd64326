//! Manifests, without a file system.
