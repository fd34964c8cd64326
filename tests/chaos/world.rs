//! The engine as it is at one moment, read by the test itself.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use env_manager::resource::labels;
use serde_json::Value;

use crate::running::exchange;
use crate::stack::text;

#[derive(Clone, Debug)]
pub struct Container {
    pub id: String,
    pub name: String,
    /// `created`, `running`, `exited`, …
    pub state: String,
    pub image: String,
    pub networks: Vec<String>,
    labels: BTreeMap<String, String>,
}

impl Container {
    /// `None`: it is not of this stack.
    pub fn service(&self, stack: &str) -> Option<&str> {
        let ours = self.labels.get(labels::STACK).is_some_and(|s| s == stack);
        self.labels.get(labels::SERVICE).filter(|_| ours).map(String::as_str)
    }

    pub fn has(&self, label: &str) -> bool {
        self.labels.contains_key(label)
    }
}

/// Of everything that has an id and labels.
#[derive(Clone, Debug)]
pub struct Object {
    pub id: String,
    pub name: String,
    labels: BTreeMap<String, String>,
}

impl Object {
    pub fn is_ours(&self, stack: &str) -> bool {
        self.labels.get(labels::STACK).is_some_and(|s| s == stack)
    }

    pub fn is_lease(&self) -> bool {
        self.labels.contains_key(labels::LEASE)
    }

    pub fn has(&self, label: &str) -> bool {
        self.labels.contains_key(label)
    }
}

#[derive(Clone, Debug)]
pub struct World {
    pub containers: Vec<Container>,
    pub networks: Vec<Object>,
    pub volumes: Vec<Object>,
}

impl World {
    /// `None`: the engine is away.
    pub fn read(socket: &Path) -> Option<Self> {
        let containers = get(socket, "/containers/json?all=1")?;
        let networks = get(socket, "/networks")?;
        let volumes = get(socket, "/volumes")?;
        let all = |of: &Value| of.as_array().cloned().unwrap_or_default();
        let object =
            |of: &Value, id: &str| Object { id: text(&of[id]), name: text(&of["Name"]), labels: labels_of(of) };
        Some(Self {
            containers: all(&containers).iter().map(container).collect(),
            networks: all(&networks).iter().map(|n| object(n, "Id")).collect(),
            // Their `CreatedAt` is when a file in it was made last.
            volumes: all(&volumes["Volumes"]).iter().map(|v| object(v, "Name")).collect(),
        })
    }

    /// By id or name.
    pub fn container(&self, id: &str) -> Option<&Container> {
        self.containers.iter().find(|c| c.id == id || c.name == id)
    }

    pub fn of<'a>(&'a self, stack: &'a str, service: &'a str) -> impl Iterator<Item = &'a Container> {
        self.containers.iter().filter(move |c| c.service(stack) == Some(service))
    }
}

fn container(of: &Value) -> Container {
    let networks = of["NetworkSettings"]["Networks"].as_object();
    Container {
        id: text(&of["Id"]),
        name: text(&of["Names"][0]).trim_start_matches('/').to_owned(),
        state: text(&of["State"]),
        image: text(&of["Image"]),
        networks: networks.into_iter().flatten().map(|(name, _)| name.clone()).collect(),
        labels: labels_of(of),
    }
}

fn labels_of(of: &Value) -> BTreeMap<String, String> {
    of["Labels"].as_object().into_iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect()
}

/// `None`: the engine is away, or has no such thing.
pub fn get(socket: &Path, path: &str) -> Option<Value> {
    let stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    // Of that version an answer comes in one piece.
    let (head, body) = exchange(stream, &format!("GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n"))?;
    if head.split(' ').nth(1) != Some("200") {
        return None;
    }
    serde_json::from_str(&body).ok()
}
