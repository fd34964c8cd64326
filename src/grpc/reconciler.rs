//! `env_manager.v1.ReconcilerService`.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, async_trait};

use super::refuse::{Names, engine, no_such_service, refused, service_name, service_names};
use super::watch::{Begin, ConvergenceWatch, EventsWatch};
use super::{MAX_REQUEST, MAX_RESPONSE, convert};
use crate::daemon::Environment;
use crate::daemon::environment::{LogQuery, Refusal, Synced};
use crate::engine::{EngineError, LogLine};
use crate::metrics::scrape::is_asked;
use crate::net::peer::{Peer, local};
use crate::net::pull::{self, Places, Pull, Stream};
use crate::net::refuse::{bad, ending};
use crate::proto::env_manager::v1;
use crate::proto::env_manager::v1::reconciler_service_server::{ReconcilerService, ReconcilerServiceServer};
use crate::report::StatusReport;
use crate::resource::ResourceKey;
use crate::resource::event::Actor;

/// Events that a description comes with.
const DESCRIBED_EVENTS: usize = 20;

/// Asks the environment; knows nothing itself.
pub struct Reconciler<E> {
    environment: E,
    places: Places,
}

impl<E: Environment> Reconciler<E> {
    pub fn service(environment: E, places: Places) -> ReconcilerServiceServer<Self> {
        ReconcilerServiceServer::new(Self { environment, places })
            .max_decoding_message_size(MAX_REQUEST)
            .max_encoding_message_size(MAX_RESPONSE)
    }

    fn retry_after(&self) -> Duration {
        self.environment.retry_after()
    }

    fn refused(&self, refusal: Refusal) -> Status {
        refused(refusal, self.retry_after())
    }
}

/// Who asks for a change. Callers elsewhere may not.
fn changer<T>(request: &Request<T>, what: &str) -> Result<Actor, Status> {
    Ok(Actor::Caller(local(request, what)?.to_string()))
}

fn subjects(names: Vec<String>) -> Vec<ResourceKey> {
    names.into_iter().map(ResourceKey::service).collect()
}

/// Numbers of the wire that count what fits into memory.
fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[async_trait]
impl<E: Environment> ReconcilerService for Reconciler<E> {
    async fn get_health(&self, _: Request<v1::GetHealthRequest>) -> Result<Response<v1::GetHealthResponse>, Status> {
        let view = self.environment.view();
        let word = |ready, phase: String| if ready { "ready".to_owned() } else { phase.to_lowercase() };
        Ok(Response::new(v1::GetHealthResponse {
            healthy: view.is_healthy(),
            version: self.environment.identity().version.to_owned(),
            services: view
                .services()
                .map(|(name, status)| (name.to_owned(), word(status.ready, status.phase.to_string())))
                .collect(),
            converged: view.is_converged(),
            stack: view.stack,
        }))
    }

    async fn get_convergence(
        &self,
        request: Request<v1::GetConvergenceRequest>,
    ) -> Result<Response<v1::GetConvergenceResponse>, Status> {
        let peer = Peer::of(&request);
        let names = service_names(request.into_inner().service_names, Names::Any)?;
        let view = self.environment.view();
        if let Some(name) = names.iter().find(|name| !view.services().any(|(known, _)| known == **name)) {
            return Err(self.refused(no_such_service(&view, name)));
        }
        let mut report = StatusReport::new(&view, &names);
        if !peer.is_local() {
            report.without_texts();
        }
        let convergence = convert::convergence(report, self.environment.identity().version);
        Ok(Response::new(v1::GetConvergenceResponse { convergence: Some(convergence) }))
    }

    type WatchConvergenceStream = Stream<v1::WatchConvergenceResponse>;

    async fn watch_convergence(
        &self,
        request: Request<v1::WatchConvergenceRequest>,
    ) -> Result<Response<Self::WatchConvergenceStream>, Status> {
        let peer = Peer::of(&request);
        // Those that are not there may come.
        let names = service_names(request.into_inner().service_names, Names::Any)?;
        let place = self.places.take(peer, self.retry_after())?;
        let watch = ConvergenceWatch::new(self.environment.clone(), names, !peer.is_local());
        Ok(Response::new(pull::stream(watch, place)))
    }

    async fn get_queue_metrics(
        &self,
        _: Request<v1::GetQueueMetricsRequest>,
    ) -> Result<Response<v1::GetQueueMetricsResponse>, Status> {
        let totals = self.environment.metrics().queue_totals();
        Ok(Response::new(convert::queue_metrics(&self.environment.queue(), totals)))
    }

    async fn get_metrics(
        &self,
        request: Request<v1::GetMetricsRequest>,
    ) -> Result<Response<v1::GetMetricsResponse>, Status> {
        let names = request.into_inner().names;
        if names.len() > super::refuse::MAX_NAMES {
            return Err(bad("names", "too many names; leave them out to get all"));
        }
        let values: BTreeMap<String, f64> =
            self.environment.metrics().values(&self.environment.view(), &self.environment.queue());
        let metrics = values.into_iter().filter(|(name, _)| is_asked(name, &names)).collect();
        Ok(Response::new(v1::GetMetricsResponse { metrics }))
    }

    async fn sync(&self, request: Request<v1::SyncRequest>) -> Result<Response<v1::SyncResponse>, Status> {
        let by = changer(&request, "Sync")?;
        let v1::SyncRequest { service_names: names, allow_prune } = request.into_inner();
        let names = service_names(names, Names::Any)?;
        let closing = self.environment.closing();
        // It can take ten seconds; the daemon has less to end in.
        let synced = tokio::select! {
            biased;
            synced = self.environment.sync(names, allow_prune, by) => synced,
            // Cancel-safe for the environment, as a caller who hangs up is.
            () = closing.cancelled() => Err(Refusal::Ending),
        };
        let Synced { revision, services, message } = synced.map_err(|refusal| self.refused(refusal))?;
        let services = u32::try_from(services).unwrap_or(u32::MAX);
        Ok(Response::new(v1::SyncResponse { revision, services, message }))
    }

    async fn suspend(&self, request: Request<v1::SuspendRequest>) -> Result<Response<v1::SuspendResponse>, Status> {
        let by = changer(&request, "Suspend")?;
        let names = service_names(request.into_inner().service_names, Names::AtLeastOne)?;
        let changed = self.environment.suspend(names, by).await.map_err(|refusal| self.refused(refusal))?;
        Ok(Response::new(v1::SuspendResponse { changed }))
    }

    async fn resume(&self, request: Request<v1::ResumeRequest>) -> Result<Response<v1::ResumeResponse>, Status> {
        let by = changer(&request, "Resume")?;
        let names = service_names(request.into_inner().service_names, Names::AtLeastOne)?;
        let (changed, still_suspended) =
            self.environment.resume(names, by).await.map_err(|refusal| self.refused(refusal))?;
        Ok(Response::new(v1::ResumeResponse { changed, still_suspended }))
    }

    async fn retry(&self, request: Request<v1::RetryRequest>) -> Result<Response<v1::RetryResponse>, Status> {
        let by = changer(&request, "Retry")?;
        let names = service_names(request.into_inner().service_names, Names::Any)?;
        let retried = self.environment.retry(names, by).await.map_err(|refusal| self.refused(refusal))?;
        Ok(Response::new(v1::RetryResponse { retried }))
    }

    async fn restart(&self, request: Request<v1::RestartRequest>) -> Result<Response<v1::RestartResponse>, Status> {
        let by = changer(&request, "Restart")?;
        let names = service_names(request.into_inner().service_names, Names::AtLeastOne)?;
        let restarting = self.environment.restart(names, by).await.map_err(|refusal| self.refused(refusal))?;
        Ok(Response::new(v1::RestartResponse { restarting }))
    }

    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        local(&request, "ListEvents")?;
        let v1::ListEventsRequest { service_names: names, limit } = request.into_inner();
        let subjects = subjects(service_names(names, Names::Any)?);
        let limit = (limit > 0).then(|| count(limit));
        let events = self.environment.history().list(&subjects, limit);
        Ok(Response::new(v1::ListEventsResponse { events: events.into_iter().map(convert::event).collect() }))
    }

    type WatchEventsStream = Stream<v1::WatchEventsResponse>;

    async fn watch_events(
        &self,
        request: Request<v1::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let peer = local(&request, "WatchEvents")?;
        let v1::WatchEventsRequest { service_names: names, past, after_sequence } = request.into_inner();
        let subjects = subjects(service_names(names, Names::Any)?);
        let begin = match (after_sequence, past) {
            (0, 0) => Begin::Now,
            (0, past) => Begin::Past(count(past)),
            (after, _) => Begin::After(after),
        };
        let place = self.places.take(peer, self.retry_after())?;
        let watch = EventsWatch::new(&self.environment, subjects, begin);
        Ok(Response::new(pull::stream(watch, place)))
    }

    async fn describe_service(
        &self,
        request: Request<v1::DescribeServiceRequest>,
    ) -> Result<Response<v1::DescribeServiceResponse>, Status> {
        local(&request, "DescribeService")?;
        let name = service_name(request.into_inner().service_name)?;
        let Some(description) = self.environment.describe(&name) else {
            return Err(self.refused(no_such_service(&self.environment.view(), &name)));
        };
        let subject = [ResourceKey::service(name.as_str())];
        let events = self.environment.history().list(&subject, Some(DESCRIBED_EVENTS));
        Ok(Response::new(convert::description(&name, description, events)))
    }

    type ReadLogsStream = Stream<v1::ReadLogsResponse>;

    async fn read_logs(&self, request: Request<v1::ReadLogsRequest>) -> Result<Response<Self::ReadLogsStream>, Status> {
        let peer = local(&request, "ReadLogs")?;
        let v1::ReadLogsRequest { service_name: service, follow, tail, since, failed } = request.into_inner();
        let service = service_name(service)?;
        let since = since
            .map(|moment| convert::timestamp(&moment).ok_or_else(|| bad("since", "this is no moment after 1970")))
            .transpose()?;
        let retry_after = self.retry_after();
        let place = self.places.take(peer, retry_after)?;
        let query = LogQuery { service, follow, tail, since, failed };
        let log = self.environment.logs(query).await.map_err(|refusal| self.refused(refusal))?;
        let lines = Lines { log, closing: self.environment.closing(), retry_after };
        Ok(Response::new(pull::stream(lines, place)))
    }
}

/// What ReadLogs sends: to the end of the log, or of the daemon.
struct Lines {
    log: BoxStream<'static, Result<LogLine, EngineError>>,
    closing: CancellationToken,
    retry_after: Duration,
}

impl Pull for Lines {
    type Message = v1::ReadLogsResponse;

    async fn next(&mut self) -> Result<Option<Self::Message>, Status> {
        tokio::select! {
            biased;
            // Both are cancel-safe. The end first: some logs never pause.
            () = self.closing.cancelled() => Err(ending(self.retry_after)),
            line = self.log.next() => {
                line.map(|line| line.map(convert::log_line).map_err(|e| engine(&e, self.retry_after))).transpose()
            }
        }
    }
}
