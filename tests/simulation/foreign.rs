//! Containers of other people: in the way, or there to be adopted.

use std::collections::BTreeMap;

use env_manager::engine::sim::{ContainerView, Foreigner, Outside};
use env_manager::resource::adoption::{COMPOSE_ONE_OFF, COMPOSE_PROJECT, COMPOSE_SERVICE};
use env_manager::resource::labels::{FAILED, NEXT, OLD};
use env_manager::resource::spec::{Port, Protocol, RestartPolicy};

use crate::checks::service_of;
use crate::history::Life;
use crate::model::{Adopt, PORTS, PROJECT, Service};
use crate::random::Random;

/// A network of Compose's.
pub const NETWORK: &str = "shop_default";

fn port(host: u16) -> Port {
    Port { host_ip: None, host_port: Some(host), container_port: 80, protocol: Protocol::Tcp }
}

/// Takes a name that we need, or will need in a replacement, or a port; or does a service's work already.
pub fn draw(life: &mut Life) -> Option<Foreigner> {
    let services: Vec<_> = life.stack.services.values().cloned().collect();
    let service = life.random.pick(&services)?.clone();
    let likely = if service.adopt == Adopt::Never { 4 } else { 2 };
    if life.random.range(0, 4) < 4 / likely {
        return Some(predecessor(life, &service));
    }
    let suffix = *life.random.pick(&["", "", NEXT, OLD, FAILED, "-friend"])?;
    let ports = if life.random.one_in(4) { vec![port(*life.random.pick(PORTS)?)] } else { Vec::new() };
    Some(Foreigner {
        name: format!("{}{suffix}", service.container()),
        image: "sim/foreign:1".to_owned(),
        labels: BTreeMap::from([("theirs".to_owned(), "1".to_owned())]),
        ports,
        started: !life.random.one_in(3),
        ..Foreigner::default()
    })
}

/// What served before somebody wrote a manifest: by `docker run` under the service's name, or by Compose.
fn predecessor(life: &mut Life, service: &Service) -> Foreigner {
    let has_network = life.engine.world().networks.values().any(|n| n.name == NETWORK);
    let random = &mut life.random;
    let by_compose = random.one_in(2);
    let mut labels = BTreeMap::new();
    let name = if by_compose {
        let project = if random.one_in(6) { "other" } else { PROJECT };
        labels.insert(COMPOSE_PROJECT.to_owned(), project.to_owned());
        labels.insert(COMPOSE_SERVICE.to_owned(), service.name.clone());
        if random.one_in(12) {
            labels.insert(COMPOSE_ONE_OFF.to_owned(), "True".to_owned());
        }
        let number = if random.one_in(10) { 2 } else { 1 };
        if random.one_in(4) { service.container().to_owned() } else { format!("{project}_{}_{number}", service.name) }
    } else {
        service.container().to_owned()
    };
    let as_described = random.one_in(2);
    let env = BTreeMap::from([("VERSION".to_owned(), if as_described { service.env } else { 9 }.to_string())]);
    let mut volumes = BTreeMap::new();
    if let Some(volume) = service.volume.as_ref().filter(|_| by_compose) {
        volumes.insert("/data".to_owned(), format!("{PROJECT}_{volume}"));
    }
    if random.one_in(4) {
        volumes.insert("/more".to_owned(), format!("{}-more", service.name));
    }
    Foreigner {
        name,
        image: if random.one_in(4) { "sim/foreign:1".to_owned() } else { service.image.reference() },
        labels,
        env,
        ports: service.port.filter(|_| random.one_in(2)).map(port).into_iter().collect(),
        networks: if has_network && random.one_in(2) { vec![NETWORK.to_owned()] } else { Vec::new() },
        volumes,
        policy: policy(random),
        started: !random.one_in(5),
    }
}

fn policy(random: &mut Random) -> Option<RestartPolicy> {
    let policies = [
        None,
        Some(RestartPolicy::No),
        Some(RestartPolicy::Always),
        Some(RestartPolicy::UnlessStopped),
        Some(RestartPolicy::OnFailure { max_retries: 1 }),
    ];
    *random.pick(&policies).unwrap_or(&None)
}

/// Some are there before the daemon is.
pub fn settle_in(life: &mut Life) {
    let wanted: Vec<_> = life.stack.services.values().filter(|s| s.adopt != Adopt::Never).cloned().collect();
    if !wanted.is_empty() && life.random.one_in(2) {
        life.outside(Outside::CreateNetwork { name: NETWORK.to_owned() });
    }
    for service in wanted {
        if life.random.one_in(4) {
            continue;
        }
        let foreigner = predecessor(life, &service);
        life.note("act", &format!("there before: {foreigner:?}"));
        life.outside(Outside::CreateForeign(foreigner));
    }
}

/// Somebody does it to a container that is not ours.
pub fn pick(life: &mut Life, which: impl Fn(&ContainerView) -> bool) -> Option<ContainerView> {
    let world = life.engine.world();
    let theirs: Vec<_> = world.containers.values().filter(|c| service_of(c).is_none() && which(c)).collect();
    life.random.pick(&theirs).map(|c| (*c).clone())
}
