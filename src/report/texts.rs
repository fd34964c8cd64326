//! What callers elsewhere do not get (P16): texts that a person or a program wrote, since they may name files,
//! users and hosts; and ids of containers.

use super::status::{
    ConditionReport, EngineReport, KeptReport, ResourceReport, ServiceReport, SourceReport, StatusReport,
};

/// That there is an error stays; what it says goes.
fn empty(text: &mut Option<String>) {
    if let Some(text) = text {
        text.clear();
    }
}

impl StatusReport {
    pub fn without_texts(&mut self) {
        // Exhaustive: whether a new field is for everybody is decided here.
        let Self {
            converged: _,
            healthy: _,
            stack: _,
            source,
            services,
            resources,
            invalid_manifests: _,
            notes,
            kept,
            engine,
            observe_only: _,
            findings,
            time: _,
        } = self;
        notes.clear();
        for KeptReport { kind: _, name: _, reason: _, message } in kept {
            message.clear();
        }
        findings.clear();
        let SourceReport { kind: _, location: _, revision: _, short_revision: _, error } = source;
        empty(error);
        let EngineReport { reachable: _, address: _, version: _, error, since: _ } = engine;
        empty(error);
        services.iter_mut().for_each(ServiceReport::without_texts);
        resources.iter_mut().for_each(ResourceReport::without_texts);
    }
}

impl ResourceReport {
    pub fn without_texts(&mut self) {
        let Self { kind: _, name: _, ready: _, phase: _, reason: _, message, converged: _ } = self;
        message.clear();
    }
}

impl ServiceReport {
    pub fn without_texts(&mut self) {
        let Self {
            name: _,
            required: _,
            ready: _,
            phase: _,
            reason: _,
            message,
            generation: _,
            observed_generation: _,
            converged: _,
            container_id,
            image: _,
            ports: _,
            stand_in: _,
            started_at: _,
            restarts: _,
            exit_code: _,
            revision: _,
            depends_on: _,
            conditions,
            next,
        } = self;
        message.clear();
        *container_id = None;
        *next = None;
        for ConditionReport { kind: _, status: _, reason: _, message, last_transition_time: _ } in conditions {
            message.clear();
        }
    }
}
