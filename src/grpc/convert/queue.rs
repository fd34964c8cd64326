//! The work queue.

use super::{many, span, waiting};
use crate::metrics::{Distribution, QueueTotals};
use crate::proto::env_manager::v1;
use crate::queue::Snapshot;
use crate::resource::ResourceKey;

pub fn queue_metrics(snapshot: &Snapshot<ResourceKey>, totals: QueueTotals) -> v1::GetQueueMetricsResponse {
    let Snapshot { depth, in_flight, oldest_age, waiting: backoff } = snapshot;
    let QueueTotals { adds, retries, queue_duration, work_duration } = totals;
    v1::GetQueueMetricsResponse {
        depth: many(*depth),
        adds_total: adds,
        retries_total: retries,
        in_flight: many(in_flight.len()),
        oldest_age: oldest_age.map(span),
        queue_duration: Some(histogram(queue_duration)),
        work_duration: Some(histogram(work_duration)),
        backoff: backoff.iter().map(waiting).collect(),
    }
}

fn histogram(distribution: Distribution) -> v1::Histogram {
    let Distribution { count, sum, buckets } = distribution;
    let bucket = |(upper_bound, count)| v1::Bucket { upper_bound, count };
    v1::Histogram { count, sum, buckets: buckets.into_iter().map(bucket).collect() }
}
