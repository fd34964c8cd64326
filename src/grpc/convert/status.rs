//! The status document.

use super::{few, moment_of_text, some, text_of_moment};
use crate::proto::env_manager::v1;
use crate::report::status::{ConditionReport, DependencyReport, EngineReport, ResourceReport};
use crate::report::{KeptReport, ServiceReport, SourceReport, StatusReport};

/// The whole. `version`: of env-manager.
pub fn convergence(report: StatusReport, version: &str) -> v1::Convergence {
    let StatusReport {
        converged,
        healthy,
        stack,
        source,
        services,
        resources,
        invalid_manifests,
        notes,
        kept,
        engine,
        observe_only,
        findings,
        time,
    } = report;
    v1::Convergence {
        converged,
        healthy,
        stack,
        source: Some(source_message(source)),
        services: services.into_iter().map(service).collect(),
        resources: resources.into_iter().map(resource).collect(),
        invalid_manifests: few(invalid_manifests),
        notes,
        kept: kept.into_iter().map(kept_message).collect(),
        engine: Some(engine_message(engine)),
        observe_only,
        time: moment_of_text(&time),
        findings,
        version: version.to_owned(),
    }
}

/// All but services and resources.
fn source_message(source: SourceReport) -> v1::Source {
    let SourceReport { kind, location, revision, short_revision, error } = source;
    v1::Source { kind, location, revision, short_revision, error: error.unwrap_or_default() }
}

fn engine_message(engine: EngineReport) -> v1::EngineStatus {
    let EngineReport { reachable, address, version, error, since } = engine;
    v1::EngineStatus { reachable, address, version, message: error.unwrap_or_default(), since: moment_of_text(&since) }
}

pub fn service(service: ServiceReport) -> v1::ServiceStatus {
    let ServiceReport {
        name,
        required,
        ready,
        phase,
        reason,
        message,
        generation,
        observed_generation,
        converged,
        container_id,
        image,
        ports,
        stand_in,
        started_at,
        restarts,
        exit_code,
        revision,
        depends_on,
        conditions,
        next,
    } = service;
    v1::ServiceStatus {
        name,
        required,
        ready,
        phase,
        reason,
        message,
        generation,
        observed_generation,
        converged,
        container_id: container_id.unwrap_or_default(),
        image: image.unwrap_or_default(),
        ports,
        stand_in: stand_in.unwrap_or_default(),
        started_at: started_at.as_deref().and_then(moment_of_text),
        restarts,
        exit_code,
        revision,
        depends_on: depends_on
            .into_iter()
            .map(|DependencyReport { service, condition }| v1::Dependency { service, condition })
            .collect(),
        conditions: conditions.into_iter().map(condition_message).collect(),
        next: next.unwrap_or_default(),
    }
}

fn condition_message(condition: ConditionReport) -> v1::Condition {
    let ConditionReport { kind, status, reason, message, last_transition_time } = condition;
    v1::Condition { r#type: kind, status, reason, message, last_transition_time: moment_of_text(&last_transition_time) }
}

pub fn resource(resource: ResourceReport) -> v1::ResourceStatus {
    let ResourceReport { kind, name, ready, phase, reason, message, converged } = resource;
    v1::ResourceStatus { kind, name, ready, phase, reason, message, converged }
}

fn kept_message(kept: KeptReport) -> v1::Kept {
    let KeptReport { kind, name, reason, message } = kept;
    v1::Kept { kind, name, reason, message }
}

fn kept_report(kept: v1::Kept) -> KeptReport {
    let v1::Kept { kind, name, reason, message } = kept;
    KeptReport { kind, name, reason, message }
}

/// What `-o json` prints, of what a daemon sent.
pub fn report(convergence: v1::Convergence) -> StatusReport {
    let v1::Convergence {
        converged,
        healthy,
        stack,
        source,
        services,
        resources,
        invalid_manifests,
        notes,
        kept,
        engine,
        observe_only,
        time,
        findings,
        // The document says what is, not who saw it.
        version: _,
    } = convergence;
    let v1::Source { kind, location, revision, short_revision, error } = source.unwrap_or_default();
    let v1::EngineStatus { reachable, address, version, message, since } = engine.unwrap_or_default();
    StatusReport {
        converged,
        healthy,
        stack,
        source: SourceReport { kind, location, revision, short_revision, error: some(error) },
        services: services.into_iter().map(service_report).collect(),
        resources: resources.into_iter().map(resource_report).collect(),
        invalid_manifests: usize::try_from(invalid_manifests).unwrap_or(usize::MAX),
        notes,
        kept: kept.into_iter().map(kept_report).collect(),
        engine: EngineReport {
            reachable,
            address,
            version,
            error: some(message),
            since: text_of_moment(since.as_ref()).unwrap_or_default(),
        },
        observe_only,
        findings,
        time: text_of_moment(time.as_ref()).unwrap_or_default(),
    }
}

/// One service of [`report`].
pub fn service_report(service: v1::ServiceStatus) -> ServiceReport {
    let v1::ServiceStatus {
        name,
        required,
        ready,
        phase,
        reason,
        message,
        generation,
        observed_generation,
        converged,
        container_id,
        image,
        ports,
        stand_in,
        started_at,
        restarts,
        exit_code,
        revision,
        depends_on,
        conditions,
        next,
    } = service;
    ServiceReport {
        name,
        required,
        ready,
        phase,
        reason,
        message,
        generation,
        observed_generation,
        converged,
        container_id: some(container_id),
        image: some(image),
        ports,
        stand_in: some(stand_in),
        started_at: text_of_moment(started_at.as_ref()),
        restarts,
        exit_code,
        revision,
        depends_on: depends_on
            .into_iter()
            .map(|v1::Dependency { service, condition }| DependencyReport { service, condition })
            .collect(),
        conditions: conditions.into_iter().map(condition_report).collect(),
        next: some(next),
    }
}

fn condition_report(condition: v1::Condition) -> ConditionReport {
    let v1::Condition { r#type: kind, status, reason, message, last_transition_time } = condition;
    ConditionReport {
        kind,
        status,
        reason,
        message,
        last_transition_time: text_of_moment(last_transition_time.as_ref()).unwrap_or_default(),
    }
}

fn resource_report(resource: v1::ResourceStatus) -> ResourceReport {
    let v1::ResourceStatus { kind, name, ready, phase, reason, message, converged } = resource;
    ResourceReport { kind, name, ready, phase, reason, message, converged }
}
