//! What the manifests say, and what they said before.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::stack::{Stack, service};

/// Ready at once. The last one is a tag that moves.
pub const APPS: [&str; 3] = ["em-chaos/app:1", "em-chaos/app:2", "em-chaos/app:live"];
/// Never ready: it does not listen.
pub const DEAF: &str = "em-chaos/deaf:1";

pub const SERVICES: [&str; 6] = ["db", "migrate", "api", "web", "worker", "cache"];
/// All but the one-shot.
pub const LONG: [&str; 5] = ["db", "api", "web", "worker", "cache"];
/// Nobody needs them.
pub const LEAVES: [&str; 3] = ["web", "worker", "cache"];

/// The image tells whether it listens.
const SERVES: &str =
    "command: [sh, -c, \"test -n \\\"$DEAF\\\" && exec sleep 1000000; exec httpd -f -p 7000 -h /etc\"]";
const PROBE: &str = "probes: { startup: { tcp: { port: 7000 } }, readiness: { tcp: { port: 7000 }, interval: 1s } }";

/// Ways in which a file is no manifest.
const BROKEN: [&str; 3] = [
    "apiVersion: env-manager.dev/v1\nkind: Service\nmetadata: { name: NAME\nspec:\n  image: [\n",
    "apiVersion: env-manager.dev/v1\nkind: Service\nmetadata: { name: NAME }\nspec: { imagge: busybox:1 }\n",
    "\tnot: yaml\n%%%\n",
];

#[derive(Clone, Debug)]
pub struct Service {
    pub name: &'static str,
    pub image: &'static str,
    pub round: u64,
    pub file: u64,
    /// In MiB.
    pub memory: u64,
    pub gone: bool,
    pub broken: Option<usize>,
}

impl Service {
    fn text(&self) -> String {
        if let Some(way) = self.broken {
            return BROKEN[way % BROKEN.len()].replace("NAME", self.name);
        }
        let Self { name, image, round, file, memory, .. } = self;
        let file = format!("files: [{{ target: /etc/service.conf, content: \"version = {file}\\n\" }}]");
        let more = match *name {
            "db" => format!("networks: [default, back]\nvolumes: [\"${{SCOPE}}_data:/data\"]\n{PROBE}\n{SERVES}"),
            "migrate" => "restart: OnFailure\nrestartMaxRetries: 3\ndependsOn: [db]\nnetworks: [back]\n\
                 command: [echo, migrated]"
                .to_owned(),
            "api" => format!(
                "dependsOn: [db, {{ service: migrate, condition: Completed }}]\nnetworks: [default, back]\n\
                 {PROBE}\n{SERVES}"
            ),
            "web" => {
                let http = "probes: { readiness: { http: { port: 7000, path: /service.conf }, interval: 1s } }";
                format!("dependsOn: [api]\nports: [\"127.0.0.1:18080:7000\"]\n{http}\n{file}\n{SERVES}")
            }
            "worker" => format!(
                "restart: Managed\ndependsOn: [{{ service: db, condition: Started }}]\n{file}\n{PROBE}\n{SERVES}"
            ),
            _ => format!("restart: Always\n{PROBE}\n{SERVES}"),
        };
        service(
            name,
            &format!("image: {image}\nenv: {{ ROUND: \"{round}\" }}\nresources: {{ memory: {memory}MiB }}\n{more}"),
        )
    }
}

/// What a reading of the folder would have come to.
#[derive(Clone, Debug)]
pub struct Source {
    pub from: Instant,
    pub described: BTreeSet<&'static str>,
    /// Without an error, and there.
    pub whole: bool,
}

#[derive(Debug)]
pub struct Manifests {
    pub services: Vec<Service>,
    pub away: bool,
}

impl Manifests {
    pub fn new(stack: &Stack) -> Self {
        stack.write(
            "stack.yaml",
            "apiVersion: env-manager.dev/v1\nkind: Stack\nmetadata: { name: stack }\n\
             spec: { containerName: \"${SCOPE}-{service}\", stop: { gracePeriod: 2s }, \
             update: { progressDeadline: 6s } }\n",
        );
        stack.write(
            "back.yaml",
            "apiVersion: env-manager.dev/v1\nkind: Network\nmetadata: { name: back }\n\
             spec: { name: \"${SCOPE}-back\" }\n",
        );
        let service = |name| Service { name, image: APPS[0], round: 1, file: 1, memory: 64, gone: false, broken: None };
        let manifests = Self { services: SERVICES.map(service).into(), away: false };
        for service in &manifests.services {
            manifests.write(stack, service.name);
        }
        manifests
    }

    pub fn of(&mut self, name: &str) -> &mut Service {
        self.services.iter_mut().find(|s| s.name == name).expect("one of the services")
    }

    pub fn source(&self) -> Source {
        Source {
            from: Instant::now(),
            described: self.services.iter().filter(|s| !self.away && !s.gone).map(|s| s.name).collect(),
            whole: !self.away && self.services.iter().all(|s| s.gone || s.broken.is_none()),
        }
    }

    /// As people save: the file is written over.
    pub fn write(&self, stack: &Stack, name: &str) {
        let service = self.services.iter().find(|s| s.name == name).expect("one of the services");
        let file = format!("{name}.yaml");
        if service.gone {
            let _ = std::fs::remove_file(stack.folder().join(file));
        } else {
            stack.write(&file, &service.text());
        }
    }

    /// Takes the folder away (an empty one in its place, or none), or brings it back.
    pub fn put_away(stack: &Stack, empty: bool) {
        std::fs::rename(stack.folder(), aside(stack.folder())).expect("it is there");
        if empty {
            std::fs::create_dir(stack.folder()).expect("it is away");
        }
    }

    pub fn bring_back(stack: &Stack) {
        let _ = std::fs::remove_dir(stack.folder());
        std::fs::rename(aside(stack.folder()), stack.folder()).expect("it is aside");
    }
}

fn aside(folder: &Path) -> std::path::PathBuf {
    folder.with_extension("aside")
}

/// What the manifests may have been to a call at this time: it follows from a reading that may be as old as this.
pub const LAG: Duration = Duration::from_secs(10);

/// Those that may have been the newest reading of whoever makes a call now.
pub fn possible(sources: &[Source], now: Instant) -> impl Iterator<Item = &Source> {
    sources.iter().enumerate().filter_map(move |(i, source)| {
        let end = sources.get(i + 1).map(|next| next.from);
        end.is_none_or(|end| now.saturating_duration_since(end) < LAG).then_some(source)
    })
}
