//! Durations in buckets. Unlike the library's own histogram it can be read back, which gRPC needs.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Upper bounds, seconds, ascending; the bucket without a bound is not written down.
type Bounds = &'static [f64];

/// Powers of ten, as client-go has them: which order of magnitude is all that one asks of a queue. An idle
/// one hands over in 10 µs; what waits 10 s is in trouble.
pub const QUEUE: Bounds = &[0.000_01, 0.000_1, 0.001, 0.01, 0.1, 1.0, 10.0];

/// From a look that finds nothing to do (some ms) to a stop that takes its whole grace; pulls are not waited
/// for. Dense around create and start, which take the engine 125 ms.
pub const RECONCILE: Bounds =
    &[0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// From an inspect over a unix socket (under 1 ms) to a stop or pull that takes a minute. Few, since every
/// call has two such series.
pub const DOCKER: Bounds = &[0.000_2, 0.001, 0.005, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];

/// From a connect on this host (some 0.1 ms) over execs (30 ms and more) to long timeouts; 2 s is the default.
pub const PROBE: Bounds = &[0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0];

/// From a restart policy that is put right to a first start with all its pulls.
pub const CONVERGE: Bounds = &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];

/// Cheap to clone; clones are one.
#[derive(Clone, Debug)]
pub struct Histogram {
    bounds: Bounds,
    counted: Arc<Mutex<Counted>>,
}

#[derive(Debug)]
struct Counted {
    /// Seconds.
    sum: f64,
    /// One for each bound, and one more for what is beyond all.
    buckets: Vec<u64>,
}

/// A histogram at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    pub count: u64,
    /// Seconds.
    pub sum: f64,
    /// Upper bound in seconds (inclusive, the last one infinity), and how many lie below it.
    pub buckets: Vec<(f64, u64)>,
}

impl Histogram {
    pub fn new(bounds: Bounds) -> Self {
        let counted = Counted { sum: 0.0, buckets: vec![0; bounds.len() + 1] };
        Self { bounds, counted: Arc::new(Mutex::new(counted)) }
    }

    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = self.bounds.partition_point(|bound| *bound < seconds);
        let mut counted = self.lock();
        counted.sum += seconds;
        counted.buckets[bucket] += 1;
    }

    pub fn distribution(&self) -> Distribution {
        let (sum, single) = self.read();
        let mut below = 0;
        let cumulative = |(bound, count)| {
            below += count;
            (bound, below)
        };
        let buckets = single.into_iter().map(cumulative).collect();
        Distribution { count: below, sum, buckets }
    }

    /// The sum, and each bucket by itself.
    fn read(&self) -> (f64, Vec<(f64, u64)>) {
        let counted = self.lock();
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        (counted.sum, bounds.zip(counted.buckets.iter().copied()).collect())
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let (sum, buckets) = self.read();
        let count = buckets.iter().map(|(_, n)| n).sum();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}
