//! Numbers for Prometheus.

/// Every number that the daemon counts. Cheap to clone; clones are one.
#[derive(Clone, Debug, Default)]
pub struct Metrics;
