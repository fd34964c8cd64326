//! Everything as text.
//!
//! What is a fact of the moment (ready, converged, how much waits) is read off a view when somebody asks, and
//! kept nowhere: it cannot lag behind what `status` says, and goes with its service.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::family::Family;
use super::{ByService, Metrics};
use crate::queue::Snapshot;
use crate::report::{View, serves};

/// How the text is written. Names are the same in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' own, which everything reads.
    Text,
    /// OpenMetrics 1.0: what Prometheus asks for first.
    OpenMetrics,
}

impl Format {
    /// What the `Accept` header of a scrape prefers. [`Format::Text`] where it is in doubt.
    pub fn accepted(accept: &str) -> Self {
        let weight = |of: &str| {
            accept
                .split(',')
                .filter_map(|range| {
                    let mut parts = range.split(';').map(str::trim);
                    let media = parts.next()?;
                    let q = parts.filter_map(|p| p.strip_prefix("q=")).find_map(|q| q.trim().parse::<f32>().ok());
                    media.eq_ignore_ascii_case(of).then(|| q.unwrap_or(1.0))
                })
                .fold(0.0, f32::max)
        };
        let open = weight("application/openmetrics-text");
        if open > 0.0 && open >= weight("text/plain") { Self::OpenMetrics } else { Self::Text }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Metrics {
    /// Everything, for `/metrics`.
    pub fn render<K>(&self, format: Format, view: &View, queue: &Snapshot<K>) -> String {
        write(format, &[&self.0.registry, &of_the_moment(view, queue)])
    }

    /// Every number by its name with its labels, as [`Metrics::render`] writes them; of histograms `_sum` and
    /// `_count`.
    pub fn values<K>(&self, view: &View, queue: &Snapshot<K>) -> BTreeMap<String, f64> {
        values(&self.render(Format::Text, view, queue))
    }
}

pub fn write(format: Format, registries: &[&Registry]) -> String {
    let mut out = String::new();
    let written = match format {
        Format::Text => registries.iter().try_for_each(|r| prometheus_text::encode(&mut out, r)),
        Format::OpenMetrics => registries
            .iter()
            .try_for_each(|r| text::encode_registry(&mut out, r))
            .and_then(|()| text::encode_eof(&mut out)),
    };
    written.expect("writing to a string cannot fail");
    out
}

/// The numbers of a text in [`Format::Text`], by name with labels; of histograms `_sum` and `_count`.
pub fn values(text: &str) -> BTreeMap<String, f64> {
    let numbers = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        let is_bucket = name.split('{').next().is_some_and(|n| n.ends_with("_bucket"));
        Some((name.to_owned(), value.parse().ok()?)).filter(|_| !is_bucket)
    });
    numbers.collect()
}

/// Whether a number is among those that are asked for by their names without labels; no names: all.
pub fn is_asked(metric: &str, names: &[String]) -> bool {
    let bare = metric.split('{').next().unwrap_or_default();
    let histogram = bare.strip_suffix("_sum").or_else(|| bare.strip_suffix("_count"));
    names.is_empty() || names.iter().any(|name| name == bare || Some(name.as_str()) == histogram)
}

fn of_the_moment<K>(view: &View, queue: &Snapshot<K>) -> Registry {
    let mut registry = Registry::with_prefix("env_manager");
    let r = &mut registry;
    let longest = queue.in_flight.iter().map(|(_, since)| *since).max().unwrap_or_default();
    let unfinished: Duration = queue.in_flight.iter().map(|(_, since)| *since).sum();
    r.register("workqueue_depth", "Keys that are ready to be worked on", whole(queue.depth));
    let help = "How long the keys that are worked on have been so, together";
    r.register("workqueue_unfinished_work_seconds", help, seconds(unfinished));
    let help = "How long the oldest key that is worked on has been so";
    r.register("workqueue_longest_running_processor_seconds", help, seconds(longest));
    r.register("active_workers", "Keys that are worked on", whole(queue.in_flight.len()));
    r.register("converged", "Everything is as described, and ready", whole(view.is_converged().into()));
    r.register("healthy", "Every required service is ready, and the engine answers", whole(view.is_healthy().into()));
    let running = view.services().filter(|(_, s)| s.container.as_ref().is_some_and(|c| c.running)).count();
    r.register("active_services", "Services whose container runs", whole(running));
    let ready: Family<ByService, Gauge> = Family::new(Gauge::default);
    for (name, status) in view.services() {
        ready.get(ByService { service: Arc::from(name) }).set(serves(status).into());
    }
    r.register("service_ready", "The service is ready, or done where that is all that is asked", ready);
    let revision = Info::new([("revision", view.source.revision.clone())]);
    r.register("source_revision", "The manifests that were read last", revision);
    registry
}

pub fn whole(value: usize) -> Gauge {
    let gauge: Gauge = Gauge::default();
    gauge.set(value.try_into().unwrap_or(i64::MAX));
    gauge
}

pub fn seconds(value: Duration) -> Gauge<f64, std::sync::atomic::AtomicU64> {
    let gauge = Gauge::<f64, std::sync::atomic::AtomicU64>::default();
    gauge.set(value.as_secs_f64());
    gauge
}
