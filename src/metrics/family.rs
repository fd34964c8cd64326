//! Series of one name. Unlike the library's own family it keeps them in order, so that two scrapes can
//! be compared by eye, and forgets by a part of the labels.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Metrics `M`, one for each set of labels `L`. Cheap to clone; clones are one.
#[derive(Debug)]
pub struct Family<L, M> {
    members: Arc<RwLock<BTreeMap<L, M>>>,
    first: fn() -> M,
}

impl<L, M> Clone for Family<L, M> {
    fn clone(&self) -> Self {
        Self { members: Arc::clone(&self.members), first: self.first }
    }
}

impl<L: Ord, M: Clone> Family<L, M> {
    /// `first` makes a metric at 0.
    pub fn new(first: fn() -> M) -> Self {
        Self { members: Arc::default(), first }
    }

    /// The metric with these labels, at 0 where there was none.
    pub fn get(&self, labels: L) -> M {
        if let Some(metric) = self.members.read().unwrap_or_else(PoisonError::into_inner).get(&labels) {
            return metric.clone();
        }
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        members.entry(labels).or_insert_with(self.first).clone()
    }

    /// Sees to it that there is one with these labels.
    pub fn touch(&self, labels: L) {
        self.get(labels);
    }

    pub fn retain(&self, mut keep: impl FnMut(&L) -> bool) {
        self.members.write().unwrap_or_else(PoisonError::into_inner).retain(|labels, _| keep(labels));
    }
}

impl<L, M> EncodeMetric for Family<L, M>
where
    L: EncodeLabelSet,
    M: EncodeMetric + TypedMetric,
{
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (labels, metric) in &*self.members.read().unwrap_or_else(PoisonError::into_inner) {
            metric.encode(encoder.encode_family(labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }
}
