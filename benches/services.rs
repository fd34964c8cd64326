//! The nine services, once more: what the floor creates, and what all contenders are checked against.
//!
//! Written out rather than read from `manifests/`, so that the floor parses nothing. In the warm-up the
//! containers of each contender are compared with this table (`stage::check`), so it cannot drift apart.

use serde_json::{Value, json};

#[derive(Debug)]
pub struct Service {
    pub name: &'static str,
    pub image: &'static str,
    pub command: &'static [&'static str],
    pub env: &'static [(&'static str, &'static str)],
    /// Host to container, on 127.0.0.1.
    pub port: Option<(u16, u16)>,
    /// Volume to target.
    pub volumes: &'static [(&'static str, &'static str)],
    /// Target to source below `manifests/`.
    pub file: Option<(&'static str, &'static str)>,
    pub extra_hosts: &'static [&'static str],
    pub memory_gib: u64,
    pub grace_seconds: u32,
    /// Which have to be ready before this one is started.
    pub needs: &'static [&'static str],
    /// All have to pass, one after the other.
    pub probes: &'static [Probe],
}

#[derive(Clone, Copy, Debug)]
pub enum Probe {
    Http { port: u16, path: &'static str },
    Tcp { port: u16 },
    Redis { port: u16 },
    Line { port: u16, send: &'static str, expect: &'static str },
    Exec { command: &'static [&'static str] },
}

/// What most of them have in common.
pub const NODE: Service = Service {
    name: "",
    image: "env-manager-local/infermesh:stand-in",
    command: &["meshd", "start", "--config", "/config/node.yaml"],
    env: &[],
    port: None,
    volumes: &[],
    file: None,
    extra_hosts: &[],
    memory_gib: 1,
    grace_seconds: 10,
    needs: &["redis"],
    probes: &[Probe::Http { port: 9090, path: "/health" }],
};

/// In the order in which the floor starts those that could start at once: longest chain first.
pub const SERVICES: [Service; 9] = [
    Service {
        name: "zookeeper",
        image: "env-manager-local/zookeeper:3.8",
        command: &[],
        env: &[("ZOOKEEPER_CLIENT_PORT", "2181"), ("ZOOKEEPER_TICK_TIME", "2000")],
        port: Some((2181, 2181)),
        volumes: &[("zookeeper_data", "/var/lib/zookeeper/data"), ("zookeeper_log", "/var/lib/zookeeper/log")],
        needs: &[],
        probes: &[Probe::Line { port: 2181, send: "srvr\n", expect: "Mode:" }],
        ..NODE
    },
    Service {
        name: "redis",
        image: "env-manager-local/redis:7",
        command: &[
            "redis-server",
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--no-appendfsync-on-rewrite",
            "no",
            "--maxmemory",
            "1536mb",
            "--maxmemory-policy",
            "noeviction",
            "--save",
            "",
        ],
        port: Some((6379, 6379)),
        volumes: &[("redis_data", "/data")],
        memory_gib: 2,
        grace_seconds: 30,
        needs: &[],
        probes: &[Probe::Redis { port: 6379 }],
        ..NODE
    },
    Service {
        name: "infermesh-node-a",
        env: &[("NODE_ID", "infermesh-node-a")],
        volumes: &[("infermesh_cache_a", "/cache")],
        file: Some(("/config/node.yaml", "files/infermesh-node-a.yaml")),
        ..NODE
    },
    Service {
        name: "infermesh-node-b",
        env: &[("NODE_ID", "infermesh-node-b")],
        volumes: &[("infermesh_cache_b", "/cache")],
        file: Some(("/config/node.yaml", "files/infermesh-node-b.yaml")),
        ..NODE
    },
    Service {
        name: "reddb",
        image: "env-manager-local/reddb:stand-in",
        command: &[],
        env: &[
            ("REDDB_DATA_DIR", "/data"),
            ("REDDB_HOST", "0.0.0.0"),
            ("REDDB_NAMESPACE", "dspy"),
            ("REDDB_PORT", "8080"),
        ],
        port: Some((8082, 8080)),
        volumes: &[("reddb_data", "/data")],
        needs: &[],
        probes: &[Probe::Http { port: 8080, path: "/health" }],
        ..NODE
    },
    Service {
        name: "ollama",
        image: "env-manager-local/ollama:stand-in",
        command: &[],
        env: &[("OLLAMA_HOST", "0.0.0.0:11434")],
        port: Some((11435, 11434)),
        volumes: &[("ollama_data", "/root/.ollama")],
        memory_gib: 6,
        needs: &[],
        probes: &[Probe::Http { port: 11434, path: "/api/tags" }],
        ..NODE
    },
    Service {
        name: "prometheus",
        image: "env-manager-local/prometheus:2",
        command: &[],
        port: Some((9090, 9090)),
        volumes: &[("prometheus_data", "/prometheus")],
        file: Some(("/etc/prometheus/prometheus.yml", "files/prometheus.yml")),
        extra_hosts: &["host.docker.internal:host-gateway"],
        grace_seconds: 30,
        needs: &[],
        probes: &[Probe::Http { port: 9090, path: "/-/ready" }],
        ..NODE
    },
    Service {
        name: "infermesh-router",
        command: &[
            "mesh-router",
            "--bind",
            "0.0.0.0",
            "--http-port",
            "9000",
            "--grpc-port",
            "9100",
            "--agent",
            "infermesh-node-a:50051",
        ],
        port: Some((19000, 9000)),
        needs: &["infermesh-node-a", "infermesh-node-b"],
        probes: &[Probe::Http { port: 9000, path: "/health" }],
        ..NODE
    },
    Service {
        name: "kafka",
        image: "env-manager-local/kafka:stand-in",
        command: &[],
        env: &[
            ("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://kafka:9092,PLAINTEXT_HOST://localhost:9092"),
            ("KAFKA_BROKER_ID", "1"),
            ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
            ("KAFKA_INTER_BROKER_LISTENER_NAME", "PLAINTEXT"),
            ("KAFKA_LISTENERS", "PLAINTEXT://0.0.0.0:9092,PLAINTEXT_HOST://0.0.0.0:29092"),
            ("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "PLAINTEXT:PLAINTEXT,PLAINTEXT_HOST:PLAINTEXT"),
            ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
            ("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1"),
            ("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1"),
            ("KAFKA_ZOOKEEPER_CONNECT", "zookeeper:2181"),
        ],
        port: Some((9092, 29092)),
        volumes: &[("kafka_data", "/var/lib/kafka/data")],
        memory_gib: 2,
        grace_seconds: 45,
        needs: &["zookeeper"],
        probes: &[
            Probe::Exec { command: &["kafka-broker-api-versions", "--bootstrap-server", "localhost:9092"] },
            Probe::Tcp { port: 9092 },
        ],
        ..NODE
    },
];

impl Service {
    /// The body of the create call, equal to what env-manager sends for the manifest.
    pub fn create_body(&self, network: &str, volume_prefix: &str, labels: &Value) -> Value {
        let mounts: Vec<_> = self
            .volumes
            .iter()
            .map(|(name, target)| json!({"Type": "volume", "Source": format!("{volume_prefix}{name}"), "Target": target}))
            .collect();
        let mut body = json!({
            "Image": self.image,
            "Env": self.env.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(),
            "Labels": labels,
            "StopTimeout": self.grace_seconds,
            "Healthcheck": {"Test": ["NONE"]},
            "HostConfig": {
                "Init": true,
                "Mounts": mounts,
                "Memory": self.memory_gib << 30,
                "NetworkMode": network,
                "RestartPolicy": {"Name": "unless-stopped"},
                "ExtraHosts": self.extra_hosts,
            },
            "NetworkingConfig": {"EndpointsConfig": {network: {"Aliases": [self.name]}}},
        });
        if !self.command.is_empty() {
            body["Cmd"] = json!(self.command);
        }
        if let Some((host, container)) = self.port {
            let container = format!("{container}/tcp");
            body["ExposedPorts"] = json!({&container: {}});
            body["HostConfig"]["PortBindings"] =
                json!({container: [{"HostIp": "127.0.0.1", "HostPort": host.to_string()}]});
        }
        body
    }
}
