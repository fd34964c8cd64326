//! One container: what was asked for in the engine's own words, and what became of it.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::models::{
    ContainerConfig, ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, ContainerSummary,
    ContainerSummaryNetworkSettings, EndpointIpamConfig, EndpointSettings, HostConfig, MountPoint, NetworkSettings,
    PortBinding, PortMap, PortSummary,
};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::life::KILLED;
use super::program::Program;
use super::refusal::Refusal;
use super::world::ContainerView;
use crate::clock::Timestamp;
use crate::engine::docker::inspect;
use crate::engine::{Inspected, LogLine};
use crate::resource::container::{ContainerId, NetworkId};
use crate::resource::image::ImageId;
use crate::resource::observed::{ContainerRow, RunState};
use crate::resource::spec::{Port, RestartPolicy};

pub(super) struct Unit {
    pub id: ContainerId,
    pub name: String,
    pub config: ContainerConfig,
    pub host: HostConfig,
    pub mounts: Vec<MountPoint>,
    /// By network name, or by whatever the network was called when it was not there.
    pub endpoints: BTreeMap<String, Attached>,
    pub image_id: ImageId,
    pub program: Program,

    pub state: RunState,
    pub exit_code: i64,
    pub oom_killed: bool,
    pub error: String,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub restarts: i64,
    /// `HasBeenManuallyStopped`
    pub manually_stopped: bool,
    /// No restart by policy until it is started by a call.
    pub cancelled: bool,
    /// Before the next restart by policy; zero: the shortest.
    pub wait: Duration,
    /// Counts starts: what was to happen to an earlier one is void.
    pub run: u64,
    /// Of this run.
    pub began: Option<Instant>,
    /// Its health was turned from outside.
    pub flipped: bool,
    /// What the image's HEALTHCHECK said last.
    pub health: Option<bool>,
    pub published: Vec<Port>,
    pub marker: Option<String>,
    pub logs: Vec<LogLine>,
    /// Told when nothing bears the id any more.
    pub waiters: Vec<oneshot::Sender<Result<(), Refusal>>>,
}

/// An attachment to a network.
#[derive(Clone, Debug, Default)]
pub(super) struct Attached {
    /// `None`: looked up by name at the next start.
    pub network_id: Option<NetworkId>,
    pub aliases: Vec<String>,
    pub ipv4_address: Option<String>,
    /// While it runs.
    pub address: Option<String>,
}

impl Unit {
    /// Has a process: running or paused.
    pub fn lives(&self) -> bool {
        matches!(self.state, RunState::Running | RunState::Paused)
    }

    /// What the engine calls running; one that waits for its next start is.
    pub fn runs(&self) -> bool {
        self.lives() || self.state == RunState::Restarting
    }

    /// Where somebody waits long enough for it to end.
    pub fn stop_code(&self) -> i64 {
        if self.program.stops_in.is_some() { self.program.stop_code } else { KILLED }
    }

    pub fn policy(&self) -> RestartPolicy {
        inspect::restart(&self.host)
    }

    pub fn label(&self, name: &str) -> Option<&str> {
        self.config.labels.as_ref()?.get(name).map(String::as_str)
    }

    pub fn labels(&self) -> BTreeMap<String, String> {
        self.config.labels.clone().into_iter().flatten().collect()
    }

    /// Whether a probe passes.
    pub fn is_ready(&self, at: Instant) -> bool {
        let Some(began) = self.began.filter(|_| self.state == RunState::Running) else { return false };
        let since = at.saturating_duration_since(began);
        let Program { ready_after, goes_unhealthy_after, .. } = &self.program;
        let well = ready_after.is_some_and(|after| since >= after) && goes_unhealthy_after.is_none_or(|t| since < t);
        well != self.flipped
    }

    pub fn view(&self, at: Instant) -> ContainerView {
        ContainerView {
            id: self.id.clone(),
            name: self.name.clone(),
            labels: self.labels(),
            image: self.config.image.clone().unwrap_or_default(),
            image_id: self.image_id.clone(),
            state: self.state,
            exit_code: self.exit_code,
            oom_killed: self.oom_killed,
            error: self.error.clone(),
            policy: self.policy(),
            manually_stopped: self.manually_stopped,
            restarts: self.restarts,
            created_at: self.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
            ready: self.is_ready(at),
            networks: self
                .endpoints
                .iter()
                .filter_map(|(name, e)| Some((name.clone(), e.network_id.clone()?)))
                .collect(),
            published: self.published.clone(),
            volumes: self.volumes().map(|(target, name)| (target.to_owned(), name.to_owned())).collect(),
            marker: self.marker.clone(),
            memory: self.host.memory.unwrap_or_default(),
        }
    }

    /// Target and name.
    pub fn volumes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.mounts.iter().filter_map(|m| Some((m.destination.as_deref()?, m.name.as_deref()?)))
    }

    // ---- as the engine tells it ----------------------------------------------------------------

    pub fn inspected(&self) -> Inspected {
        let networks = self.endpoints.iter().map(|(name, e)| (name.clone(), endpoint(e)));
        inspect::container(ContainerInspectResponse {
            id: Some(self.id.0.to_string()),
            created: Some(self.created_at.to_string()),
            state: Some(self.container_state()),
            image: Some(self.image_id.0.clone()),
            name: Some(format!("/{}", self.name)),
            restart_count: Some(self.restarts),
            mounts: Some(self.mounts.clone()),
            config: Some(self.config.clone()),
            host_config: Some(self.host.clone()),
            network_settings: Some(NetworkSettings {
                ports: Some(self.port_map()),
                networks: Some(networks.collect()),
                ..NetworkSettings::default()
            }),
            ..ContainerInspectResponse::default()
        })
    }

    fn container_state(&self) -> ContainerState {
        let never = || "0001-01-01T00:00:00Z".to_owned();
        let time = |at: Option<Timestamp>| Some(at.map_or_else(never, |at| at.to_string()));
        ContainerState {
            status: Some(match self.state {
                RunState::Created => ContainerStateStatusEnum::CREATED,
                RunState::Running => ContainerStateStatusEnum::RUNNING,
                RunState::Paused => ContainerStateStatusEnum::PAUSED,
                RunState::Restarting => ContainerStateStatusEnum::RESTARTING,
                RunState::Exited => ContainerStateStatusEnum::EXITED,
                RunState::Dead => ContainerStateStatusEnum::DEAD,
                RunState::Removing => ContainerStateStatusEnum::REMOVING,
            }),
            oom_killed: Some(self.oom_killed),
            exit_code: Some(self.exit_code),
            error: Some(self.error.clone()),
            started_at: time(self.started_at),
            finished_at: time(self.finished_at),
            health: self.health.map(|well| self.health_answer(well)),
            ..ContainerState::default()
        }
    }

    fn health_answer(&self, well: bool) -> bollard::models::Health {
        use bollard::models::{Health, HealthStatusEnum, HealthcheckResult};
        let status = match (well, self.program.ready_after) {
            (true, _) => HealthStatusEnum::HEALTHY,
            (false, Some(_)) if self.began.is_some() && !self.flipped => HealthStatusEnum::STARTING,
            (false, _) => HealthStatusEnum::UNHEALTHY,
        };
        let output = if well { "well\n" } else { "not well\n" };
        let log = HealthcheckResult { output: Some(output.to_owned()), ..HealthcheckResult::default() };
        Health { status: Some(status), failing_streak: None, log: Some(vec![log]) }
    }

    fn port_map(&self) -> PortMap {
        let mut map = BTreeMap::<String, Option<Vec<PortBinding>>>::new();
        for port in &self.published {
            let bindings = map.entry(format!("{}/{}", port.container_port, port.protocol)).or_default();
            bindings.get_or_insert_default().push(PortBinding {
                host_ip: Some(port.host_ip.clone().unwrap_or_else(|| "0.0.0.0".to_owned())),
                host_port: port.host_port.map(|p| p.to_string()),
            });
        }
        map.into_iter().collect()
    }

    /// `image`: what the list shows, which is an id where the tag has moved on.
    pub fn row(&self, image: String) -> ContainerRow {
        let networks = self.endpoints.iter().map(|(name, e)| (name.clone(), endpoint(e)));
        let ports = self.published.iter().map(|port| PortSummary {
            ip: Some(port.host_ip.clone().unwrap_or_else(|| "0.0.0.0".to_owned())),
            private_port: port.container_port,
            public_port: port.host_port,
            typ: port.protocol.to_string().parse().ok(),
        });
        inspect::row(ContainerSummary {
            id: Some(self.id.0.to_string()),
            names: Some(vec![format!("/{}", self.name)]),
            image: Some(image),
            ports: Some(ports.collect()),
            labels: self.config.labels.clone(),
            state: self.container_state().status.and_then(|s| s.to_string().parse().ok()),
            network_settings: Some(ContainerSummaryNetworkSettings { networks: Some(networks.collect()) }),
            ..ContainerSummary::default()
        })
    }
}

fn endpoint(attached: &Attached) -> EndpointSettings {
    EndpointSettings {
        network_id: Some(attached.network_id.as_ref().map(|id| id.0.to_string()).unwrap_or_default()),
        aliases: Some(attached.aliases.clone()),
        ipam_config: attached
            .ipv4_address
            .as_ref()
            .map(|address| EndpointIpamConfig { ipv4_address: Some(address.clone()), ..EndpointIpamConfig::default() }),
        ip_address: attached.address.clone().or_else(|| Some(String::new())),
        ..EndpointSettings::default()
    }
}
