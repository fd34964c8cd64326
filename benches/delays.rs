//! How long the daemon takes to notice a saved file and a removed container.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::docker::{Docker, Error, Result, encode, error};
use crate::floor::FLOOR;
use crate::frame::{self, Lines, round_1};
use crate::proxy::Proxy;
use crate::resident::{LIMIT, Resident};
use crate::services::{NODE, Service};
use crate::stage::{STACK, STACK_LABEL};

pub const IMAGE: &str = "env-manager-local/stand-in:1";
const NAME: &str = "em-bench-sleep";

/// It ends at the first signal, listens to nothing and has no probe: what is measured is not its own time.
const SLEEP: Service = Service {
    name: NAME,
    image: IMAGE,
    command: &["sleep", "1000000"],
    memory_gib: 0,
    grace_seconds: 1,
    needs: &[],
    probes: &[],
    ..NODE
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Delay {
    Saved,
    Removed,
    Floor,
}

impl Delay {
    pub fn name(self) -> &'static str {
        match self {
            Self::Saved => "file saved → first engine call",
            Self::Removed => "container removed → replacement started",
            Self::Floor => "floor: removed → bare create + start",
        }
    }
}

/// Milliseconds, in the order of the tries.
pub type Delays = BTreeMap<Delay, Vec<f64>>;

pub struct Tries<'a> {
    pub docker: &'a Docker,
    pub folder: &'a Path,
    pub saved: usize,
    pub removed: usize,
}

impl Tries<'_> {
    pub async fn run(&self, lines: &mut Lines) -> Result<Delays> {
        let mut proxy = Proxy::start(self.folder.join("tries.sock"), self.docker.socket())?;
        let config = self.folder.join("none.toml");
        let manifests = self.folder.join("sleep");
        let made = std::fs::create_dir_all(&manifests).and_then(|()| std::fs::write(&config, ""));
        made.or_else(|e| error(format!("{}: {e}", self.folder.display())))?;
        self.save(0)?;
        let mut resident = Resident::start(self.folder, &manifests, &config, &proxy).await?;
        let mut delays = Delays::new();
        let mut note = |delay: Delay, number: usize, ms: f64, load: f64, call: Option<&str>| {
            delays.entry(delay).or_default().push(ms);
            lines.add(&json!({
                "case": delay.name(), "try": number, "ms": round_1(ms), "load_before": load, "first_call": call,
            }))
        };

        let mut status = resident.at_rest(&mut proxy, |_| true).await?;
        for number in 1..=self.saved {
            let generation = of(&status, "generation").as_u64().unwrap_or_default();
            let load = frame::load();
            proxy.so_far();
            self.save(number)?;
            let (begin, _) = frame::now();
            let call = proxy.first_after(begin, LIMIT).await?;
            note(Delay::Saved, number, ms(call.at - begin), load, Some(&call.line))?;
            let is_new = |status: &Value| of(status, "generation").as_u64() > Some(generation);
            status = resident.at_rest(&mut proxy, is_new).await?;
        }
        eprintln!("{}: {} tries", Delay::Saved.name(), self.saved);

        if self.removed > 0 {
            let mut bare = self.bare().await?;
            self.check_same(&bare).await?;
            let mut events = Events::listen(self.docker).await?;
            for number in 1..=self.removed {
                let load = frame::load();
                let id = of(&status, "containerId").as_str().unwrap_or_default().to_owned();
                self.remove(&id).await?;
                note(Delay::Removed, number, events.replaced(&id, STACK).await?, load, None)?;
                let is_new = |status: &Value| !of(status, "containerId").is_null() && *of(status, "containerId") != id;
                status = resident.at_rest(&mut proxy, is_new).await?;

                let load = frame::load();
                self.remove(&bare).await?;
                let next = self.create_and_start().await?;
                note(Delay::Floor, number, events.replaced(&bare, FLOOR).await?, load, None)?;
                bare = next;
                proxy.silent_for(Duration::from_millis(300)).await;
            }
            eprintln!("{}, and the floor: {} tries each", Delay::Removed.name(), self.removed);
        }
        resident.stop().await?;
        Ok(delays)
    }

    /// As an editor does: beside it, then over it.
    fn save(&self, number: usize) -> Result<()> {
        let (image, command, grace_seconds) = (SLEEP.image, json!(SLEEP.command), SLEEP.grace_seconds);
        let text = format!(
            "apiVersion: env-manager.dev/v1\nkind: Service\nmetadata: {{ name: {NAME} }}\nspec:\n  image: {image}\n  \
             pullPolicy: Never\n  command: {command}\n  env: {{ TRY: \"{number}\" }}\n  \
             stop: {{ gracePeriod: {grace_seconds}s }}\n"
        );
        let path: PathBuf = self.folder.join("sleep").join("sleep.yaml");
        let beside = path.with_file_name(".sleep.yaml.new");
        let saved = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, &path));
        saved.or_else(|e| error(format!("{}: {e}", path.display())))
    }

    /// The floor's network and container: like the daemon's in all but names and labels. Its network is
    /// another one, so that the daemon hears nothing of what happens there.
    async fn bare(&self) -> Result<String> {
        let network = json!({"Name": FLOOR, "Labels": {STACK_LABEL: FLOOR}});
        self.docker.call("POST", "/networks/create", &network).await?;
        self.create_and_start().await
    }

    async fn create_and_start(&self) -> Result<String> {
        let mut body = SLEEP.create_body(FLOOR, "", &json!({STACK_LABEL: FLOOR}));
        body["Env"] = json!([format!("TRY={}", self.saved)]);
        let made = self.docker.call("POST", &format!("/containers/create?name={FLOOR}-sleep"), &body).await?;
        let id = made["Id"].as_str().unwrap_or_default().to_owned();
        self.docker.call("POST", &format!("/containers/{id}/start"), &Value::Null).await?;
        Ok(id)
    }

    async fn remove(&self, id: &str) -> Result<()> {
        self.docker.call("DELETE", &format!("/containers/{id}?force=1&v=1"), &Value::Null).await.map(|_| ())
    }

    /// A floor that creates less than the daemon would be none.
    async fn check_same(&self, bare: &str) -> Result<()> {
        let seen = async |name: &str| -> Result<BTreeSet<String>> {
            let mut found = self.docker.get(&format!("/containers/{name}/json")).await?;
            for (part, field) in [("Config", "Hostname"), ("Config", "Labels"), ("HostConfig", "NetworkMode")] {
                found[part][field] = Value::Null;
            }
            let fields = ["Config", "HostConfig"].into_iter().filter_map(|part| found[part].as_object()).flatten();
            // An empty list says what an absent one says.
            let fields = fields.filter(|(_, value)| !value.is_null() && **value != json!([]));
            Ok(fields.map(|(name, value)| format!("{name}: {value}")).collect())
        };
        let (ours, floors) = (seen(NAME).await?, seen(bare).await?);
        let differ: Vec<_> = ours.symmetric_difference(&floors).map(String::as_str).collect();
        if differ.is_empty() {
            return Ok(());
        }
        error(format!("the floor's container is another one than the daemon's:\n  {}", differ.join("\n  ")))
    }
}

/// A field of the only service.
fn of<'a>(status: &'a Value, field: &str) -> &'a Value {
    &status["services"][0][field]
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The engine's event stream: both contenders are timed by its clock.
struct Events {
    received: UnboundedReceiver<Value>,
    _reading: JoinSet<()>,
}

impl Events {
    async fn listen(docker: &Docker) -> Result<Self> {
        let failed = |e: std::io::Error| Error(format!("the engine's events: {e}"));
        let filters = encode(&json!({"type": ["container"], "event": ["destroy", "start"]}).to_string());
        let mut stream = UnixStream::connect(docker.socket()).await.map_err(failed)?;
        let request = format!("GET /events?filters={filters} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.map_err(failed)?;
        let mut lines = BufReader::new(stream).lines();
        // The head is sent once the engine listens.
        while lines.next_line().await.map_err(failed)?.is_some_and(|line| !line.is_empty()) {}
        let (sender, received) = unbounded_channel();
        let mut reading = JoinSet::new();
        reading.spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if sender.send(serde_json::from_str(&line).unwrap_or_default()).is_err() {
                    return;
                }
            }
        });
        Ok(Self { received, _reading: reading })
    }

    /// Milliseconds from the end of container `old` to the next start in `stack`.
    async fn replaced(&mut self, old: &str, stack: &str) -> Result<f64> {
        let found = timeout(LIMIT, async {
            let mut destroyed = None;
            loop {
                let event = self.received.recv().await?;
                let actor = &event["Actor"];
                let at = event["timeNano"].as_i64()?;
                if event["Action"] == "destroy" && actor["ID"] == old {
                    destroyed = Some(at);
                } else if let Some(destroyed) = destroyed
                    && event["Action"] == "start"
                    && actor["Attributes"][STACK_LABEL] == stack
                {
                    return Some(Duration::from_nanos((at - destroyed).unsigned_abs()));
                }
            }
        });
        match found.await {
            Ok(Some(delay)) => Ok(ms(delay)),
            Ok(None) => error("the engine's event stream ended"),
            Err(_) => error(format!("no replacement of container {old} was started within {LIMIT:?}")),
        }
    }
}
