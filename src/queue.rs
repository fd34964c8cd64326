//! The work queue: client-go semantics.
