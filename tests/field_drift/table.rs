//! What each field of `spec` is changed from and to, and what closes the difference.

/// What closes the difference between a container and a manifest that has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Closed {
    InPlace,
    Replace,
    /// It does not go into the container, or makes no difference there.
    Nothing,
    NotYet,
}

pub struct Row {
    /// Properties of the schema, without `spec.`.
    pub paths: Vec<String>,
    /// Lines of `spec`, before and after.
    pub was: String,
    pub now: String,
    pub closed: Closed,
    /// Carried out, too; else this machine has not what it takes.
    pub applied: bool,
}

fn row(paths: &[&str], was: &str, now: &str, closed: Closed) -> Row {
    let paths = paths.iter().map(|p| (*p).to_owned()).collect();
    Row { paths, was: was.to_owned(), now: now.to_owned(), closed, applied: closed != Closed::NotYet }
}

fn in_place(path: &str, was: &str, now: &str) -> Row {
    row(&[path], was, now, Closed::InPlace)
}

fn replace(path: &str, was: &str, now: &str) -> Row {
    row(&[path], was, now, Closed::Replace)
}

fn replaces(paths: &[&str], was: &str, now: &str) -> Row {
    row(paths, was, now, Closed::Replace)
}

fn nothing(path: &str, was: &str, now: &str) -> Row {
    row(&[path], was, now, Closed::Nothing)
}

fn planned(row: Row) -> Row {
    Row { applied: false, ..row }
}

pub fn process() -> Vec<Row> {
    let file = |more: &str| format!("files: [{{ target: /etc/a, content: a{more} }}]");
    let secret = |more: &str| format!("secretFiles: [{{ target: /etc/s, fromFile: a.txt{more} }}]");
    vec![
        replace("image", "", "image: ${SCOPE}:2"),
        replace("entrypoint", "", "entrypoint: [/bin/sleep]\ncommand: [\"1000000\"]"),
        replace("command", "", "command: [sleep, \"2000000\"]"),
        replace("workingDir", "", "workingDir: /tmp"),
        replace("user", "", "user: \"1000\""),
        replace("groupAdd", "", "groupAdd: [audio]"),
        replace("hostname", "", "hostname: here.example"),
        replace("init", "", "init: false"),
        replace("tty", "", "tty: true"),
        replace("stdin", "", "stdin: true"),
        replace("env", "env: { A: 1 }", "env: { A: 2 }"),
        replaces(&["envFrom", "envFrom[].file"], "envFrom: [{ file: a.env }]", "envFrom: [{ file: b.env }]"),
        nothing("envFrom[].optional", "envFrom: [{ file: a.env }]", "envFrom: [{ file: a.env, optional: true }]"),
        replaces(
            &["secretEnv", "secretEnv{}.fromEnv"],
            "secretEnv: { A: { fromEnv: SCOPE } }",
            "secretEnv: { A: { fromEnv: HOME } }",
        ),
        replace(
            "secretEnv{}.fromFile",
            "secretEnv: { A: { fromFile: a.txt } }",
            "secretEnv: { A: { fromFile: b.txt } }",
        ),
        nothing(
            "secretEnv{}.optional",
            "secretEnv: { A: { fromEnv: HOME } }",
            "secretEnv: { A: { fromEnv: HOME, optional: true } }",
        ),
        row(
            &["secretEnv{}.fromSecret", "secretEnv{}.fromSecret.file", "secretEnv{}.fromSecret.key"],
            "",
            "",
            Closed::NotYet,
        ),
        replaces(
            &["secretFiles", "secretFiles[].target"],
            &secret(""),
            "secretFiles: [{ target: /etc/t, fromFile: a.txt }]",
        ),
        replace("secretFiles[].fromFile", &secret(""), "secretFiles: [{ target: /etc/s, fromFile: b.txt }]"),
        replace("secretFiles[].fromEnv", &secret(""), "secretFiles: [{ target: /etc/s, fromEnv: HOME }]"),
        replace("secretFiles[].mode", &secret(""), &secret(", mode: \"0440\"")),
        replace("secretFiles[].uid", &secret(""), &secret(", uid: 7")),
        replace("secretFiles[].gid", &secret(""), &secret(", gid: 7")),
        row(
            &["secretFiles[].fromSecret", "secretFiles[].fromSecret.file", "secretFiles[].fromSecret.key"],
            "",
            "",
            Closed::NotYet,
        ),
        replaces(&["files", "files[].target"], &file(""), "files: [{ target: /etc/b, content: a }]"),
        replace("files[].content", &file(""), "files: [{ target: /etc/a, content: b }]"),
        replace(
            "files[].source",
            "files: [{ target: /etc/a, source: a.txt }]",
            "files: [{ target: /etc/a, source: b.txt }]",
        ),
        replace("files[].mode", &file(""), &file(", mode: \"0600\"")),
        replace("files[].uid", &file(""), &file(", uid: 7")),
        replace("files[].gid", &file(""), &file(", gid: 7")),
        nothing("files[].onChange", &file(""), &file(", onChange: { signal: WINCH }")),
        // A signal that `sleep` does not mind.
        in_place(
            "files[].onChange.signal",
            &file(", onChange: { signal: WINCH }"),
            "files: [{ target: /etc/a, content: b, onChange: { signal: WINCH } }]",
        ),
        replaces(&["stop", "stop.signal"], "", "stop: { signal: SIGINT, gracePeriod: 1s }"),
        nothing("stop.gracePeriod", "", "stop: { gracePeriod: 2s }"),
        replace("platform", "", "platform: linux/amd64"),
        replaces(&["logging", "logging.driver"], "logging: { driver: json-file }", "logging: { driver: local }"),
        replace(
            "logging.options",
            "logging: { driver: json-file, options: { max-size: 1m } }",
            "logging: { driver: json-file, options: { max-size: 2m } }",
        ),
        planned(replace("runtime", "", "runtime: runsc")),
        in_place("restart", "", "restart: Always"),
        in_place(
            "restartMaxRetries",
            "restart: OnFailure\nrestartMaxRetries: 3",
            "restart: OnFailure\nrestartMaxRetries: 7",
        ),
        in_place("containerName", "", "containerName: ${SCOPE}-elsewhere"),
    ]
}

pub fn data_and_networks() -> Vec<Row> {
    let bind = |more: &str| format!("volumes: [{{ type: bind, source: /usr/share, target: /mnt/a{more} }}]");
    let ram = |more: &str| format!("volumes: [{{ type: tmpfs, target: /mnt/ram{more} }}]");
    let device = |host: &str, container: &str, permissions: &str| {
        format!("devices: [{{ host: {host}, container: {container}, permissions: {permissions} }}]")
    };
    let null = device("/dev/null", "/dev/em", "rw");
    let request = |text: &str| format!("deviceRequests: [{{ capabilities: [gpu], {text} }}]");
    vec![
        replaces(
            &["volumes", "volumes[].target"],
            &bind(""),
            "volumes: [{ type: bind, source: /usr/share, target: /mnt/b }]",
        ),
        replace("volumes[].source", &bind(""), "volumes: [{ type: bind, source: /usr/lib, target: /mnt/a }]"),
        replace("volumes[].type", &bind(""), "volumes: [{ type: tmpfs, target: /mnt/a }]"),
        replace("volumes[].readOnly", &bind(""), &bind(", readOnly: true")),
        replace("volumes[].propagation", &bind(""), &bind(", propagation: private")),
        replace("volumes[].selinux", &bind(""), &bind(", selinux: shared")),
        planned(replace(
            "volumes[].subpath",
            "volumes: [{ type: volume, source: \"${SCOPE}_data\", target: /data }]",
            "volumes: [{ type: volume, source: \"${SCOPE}_data\", target: /data, subpath: below }]",
        )),
        replace("volumes[].size", &ram(", size: 1MiB"), &ram(", size: 2MiB")),
        replace("volumes[].mode", &ram(", mode: \"0750\""), &ram(", mode: \"0700\"")),
        replace("tmpfs", "tmpfs: [/run]", "tmpfs: [/run, /mnt/run]"),
        replaces(&["devices", "devices[].host"], &null, &device("/dev/zero", "/dev/em", "rw")),
        replace("devices[].container", &null, &device("/dev/null", "/dev/other", "rw")),
        replace("devices[].permissions", &null, &device("/dev/null", "/dev/em", "r")),
        planned(replaces(&["deviceRequests", "deviceRequests[].count"], "", &request("count: 1"))),
        planned(replace("deviceRequests[].driver", "", &request("driver: nvidia"))),
        planned(replace("deviceRequests[].ids", "", &request("ids: [\"0\"]"))),
        planned(replace("deviceRequests[].capabilities", "", "deviceRequests: [{ capabilities: [video], count: 1 }]")),
        replaces(&["ports", "ports[].containerPort"], "ports: [\"127.0.0.1::80\"]", "ports: [\"127.0.0.1::81\"]"),
        replace("ports[].hostIP", "ports: [\"127.0.0.1::80\"]", "ports: [\"127.0.0.2::80\"]"),
        replace("ports[].hostPort", "ports: [\"127.0.0.1::80\"]", "ports: [\"127.0.0.1:39482:80\"]"),
        replace("ports[].protocol", "ports: [\"127.0.0.1::80\"]", "ports: [\"127.0.0.1::80/udp\"]"),
        row(&["networks", "networks[].name"], "networks: [default]", "networks: [default, net-a]", Closed::InPlace),
        in_place("networks[].aliases", "networks: [net-a]", "networks: [{ name: net-a, aliases: [other] }]"),
        in_place(
            "networks[].ipv4Address",
            "networks: [net-a]",
            "networks: [{ name: net-a, ipv4Address: 10.213.9.99 }]",
        ),
        nothing("networks[].priority", "networks: [net-a]", "networks: [{ name: net-a, priority: 100 }]"),
        in_place("networkAliases", "networks: [net-a]", "networks: [net-a]\nnetworkAliases: [further]"),
        replace("networkMode", "networkMode: none", "networkMode: bridge"),
        replace("macAddress", "networks: [net-a]", "networks: [net-a]\nmacAddress: 02:42:0a:d5:09:63"),
        replace("extraHosts", "networks: [net-a]", "networks: [net-a]\nextraHosts: [\"db:10.0.0.9\"]"),
        replaces(&["dns", "dns.servers"], "networks: [net-a]", "networks: [net-a]\ndns: { servers: [9.9.9.9] }"),
        replace("dns.search", "networks: [net-a]", "networks: [net-a]\ndns: { search: [example.test] }"),
        replace("dns.options", "networks: [net-a]", "networks: [net-a]\ndns: { options: [\"ndots:2\"] }"),
    ]
}

pub fn limits_and_isolation() -> Vec<Row> {
    let one = |text: &str| format!("resources: {{ {text} }}");
    let limit = |path: &str, less: &str, more: &str| {
        let paths = format!("resources.{path}");
        let (less, more) = (one(&format!("{path}: {less}")), one(&format!("{path}: {more}")));
        let cleared = if path == "pids" { Closed::InPlace } else { Closed::Replace };
        [in_place(&paths, "", &less), in_place(&paths, &less, &more), row(&[&paths], &less, "", cleared)]
    };
    let mut rows = vec![
        replaces(&["resources", "resources.shmSize"], &one("shmSize: 8MiB"), &one("shmSize: 16MiB")),
        replace("resources.oomScoreAdj", "", &one("oomScoreAdj: 500")),
        planned(replace("resources.gpus", "", &one("gpus: all"))),
        in_place("resources.swap", &one("memory: 64MiB, swap: 16MiB"), &one("memory: 64MiB, swap: 32MiB")),
        replace("resources.swap", &one("memory: 64MiB"), &one("memory: 64MiB, swap: 32MiB")),
        replaces(&["security", "security.readOnlyRootFilesystem"], "", "security: { readOnlyRootFilesystem: true }"),
        planned(replace("security.privileged", "", "security: { privileged: true }")),
        replace("security.capAdd", "", "security: { capAdd: [NET_ADMIN] }"),
        replace("security.capDrop", "", "security: { capDrop: [MKNOD] }"),
        replace("security.noNewPrivileges", "", "security: { noNewPrivileges: true }"),
        replace("security.seccomp", "", "security: { seccomp: unconfined }"),
        replace("security.apparmor", "", "security: { apparmor: unconfined }"),
        replace("security.selinux", "", "security: { selinux: disable }"),
        replace("security.opts", "", "security: { opts: [\"systempaths=unconfined\"] }"),
        replace("sysctls", "sysctls: { net.core.somaxconn: \"777\" }", "sysctls: { net.core.somaxconn: \"778\" }"),
        replace("ulimits", "", "ulimits: { core: 0 }"),
        replace(
            "ulimits{}.soft",
            "ulimits: { nofile: { soft: 1000, hard: 2000 } }",
            "ulimits: { nofile: { soft: 1001, hard: 2000 } }",
        ),
        replace(
            "ulimits{}.hard",
            "ulimits: { nofile: { soft: 1000, hard: 2000 } }",
            "ulimits: { nofile: { soft: 1000, hard: 2001 } }",
        ),
        replace("pidMode", "", "pidMode: host"),
        replace("ipcMode", "ipcMode: private", "ipcMode: shareable"),
        replace("usernsMode", "", "usernsMode: host"),
        replace("cgroupParent", "cgroupParent: /em-test-a", "cgroupParent: /em-test-b"),
    ];
    rows.extend(limit("memory", "32MiB", "64MiB"));
    rows.extend(limit("memoryReservation", "16MiB", "32MiB"));
    rows.extend(limit("cpus", "0.5", "0.75"));
    rows.extend(limit("cpuset", "\"0\"", "\"0-1\""));
    rows.extend(limit("cpuShares", "512", "256"));
    rows.extend(limit("pids", "99", "98"));
    rows
}

/// How a service is treated, and what is asked of it.
pub fn treatment() -> Vec<Row> {
    let mut rows = vec![
        nothing("pullPolicy", "pullPolicy: Never", "pullPolicy: IfNotPresent"),
        nothing("required", "", "required: false"),
        nothing("state", "", "state: Stopped"),
        nothing("suspend", "", "suspend: true"),
        row(&["dependsOn", "dependsOn[].service"], "", "dependsOn: [f0]", Closed::Nothing),
        nothing("dependsOn[].condition", "dependsOn: [f0]", "dependsOn: [{ service: f0, condition: Started }]"),
        nothing("dependsOn[].restart", "dependsOn: [f0]", "dependsOn: [{ service: f0, restart: true }]"),
        row(&["update", "update.strategy"], "", "update: { strategy: Recreate }", Closed::Nothing),
        nothing("update.progressDeadline", "", "update: { progressDeadline: 45s }"),
        nothing("update.rollback", "", "update: { rollback: false }"),
        nothing("update.drain", "", "update: { drain: 2s }"),
        row(
            &["adopt", "adopt.policy", "adopt.composeProject", "adopt.composeService"],
            "",
            "adopt: { policy: Replace, composeProject: nobody, composeService: nothing }",
            Closed::Nothing,
        ),
        planned(replaces(
            &["probes.docker", "probes.docker.disable"],
            "probes: { docker: { disable: true } }",
            "probes: { readiness: { docker: {} } }",
        )),
    ];
    for role in ["startup", "readiness", "liveness"] {
        let mut probe = |properties: &[&str], text: &str, closed| {
            let paths: Vec<_> = properties.iter().map(|p| format!("probes.{role}{p}")).collect();
            let paths: Vec<_> = paths.iter().map(String::as_str).collect();
            rows.push(planned(row(&paths, "", &format!("probes: {{ {role}: {{ {text} }} }}"), closed)));
        };
        probe(&[".docker", ".docker.disable"], "docker: {}", Closed::Replace);
        probe(&[".http", ".http.port"], "http: { port: 80 }", Closed::Nothing);
        probe(
            &[".http.path", ".http.status", ".http.headers"],
            "http: { port: 80, path: /a, status: \"204\", headers: { A: b } }",
            Closed::Nothing,
        );
        probe(
            &["", ".tcp", ".tcp.port", ".interval", ".timeout", ".failureThreshold", ".successThreshold"],
            "tcp: { port: 80 }, interval: 9s, timeout: 3s, failureThreshold: 7",
            Closed::Nothing,
        );
        probe(&[".exec", ".exec.command"], "exec: { command: [\"true\"] }", Closed::Nothing);
        probe(&[".grpc", ".grpc.port", ".grpc.service"], "grpc: { port: 80, service: a }", Closed::Nothing);
        probe(&[".redis", ".redis.port"], "redis: { port: 80 }", Closed::Nothing);
        probe(
            &[".line", ".line.port", ".line.send", ".line.expect"],
            "line: { port: 80, send: \"a\\n\", expect: b }",
            Closed::Nothing,
        );
    }
    rows.push(planned(row(
        &["probes", "probes.startup.deadline", "probes.readiness.deadline", "probes.liveness.deadline"],
        "",
        "probes: { startup: { tcp: { port: 80 }, deadline: 9s } }",
        Closed::Nothing,
    )));
    rows
}

pub fn all() -> Vec<Row> {
    [process(), data_and_networks(), limits_and_isolation(), treatment()].into_iter().flatten().collect()
}

/// What Docker changes in a container that is there. `{}`: its name; `SCOPE`: that of the test.
pub struct Outside {
    /// As plans call it.
    pub field: &'static str,
    pub spec: &'static str,
    pub commands: &'static [&'static [&'static str]],
    pub closed: Closed,
}

/// Every means that Docker offers: `update`, `rename`, `network connect` and `disconnect`, `tag`. (`exec`
/// and `cp` change files, of which the engine tells nothing.)
pub const OUTSIDE: &[Outside] = &[
    Outside {
        field: "resources.memory",
        spec: "resources: { memory: 64MiB }",
        commands: &[&["update", "--memory", "32m", "--memory-swap", "32m", "{}"]],
        closed: Closed::InPlace,
    },
    Outside {
        field: "resources.memory",
        spec: "",
        commands: &[&["update", "--memory", "32m", "--memory-swap", "32m", "{}"]],
        closed: Closed::Replace,
    },
    Outside {
        field: "resources.swap",
        spec: "resources: { memory: 64MiB, swap: 16MiB }",
        commands: &[&["update", "--memory-swap", "128m", "{}"]],
        closed: Closed::InPlace,
    },
    Outside {
        field: "resources.memoryReservation",
        spec: "resources: { memoryReservation: 32MiB }",
        commands: &[&["update", "--memory-reservation", "16m", "{}"]],
        closed: Closed::InPlace,
    },
    Outside {
        field: "resources.cpus",
        spec: "resources: { cpus: 0.5 }",
        commands: &[&["update", "--cpus", "0.25", "{}"]],
        closed: Closed::InPlace,
    },
    Outside {
        field: "resources.cpuset",
        spec: "resources: { cpuset: \"0\" }",
        commands: &[&["update", "--cpuset-cpus", "0-1", "{}"]],
        closed: Closed::InPlace,
    },
    Outside {
        field: "resources.cpuShares",
        spec: "resources: { cpuShares: 512 }",
        commands: &[&["update", "--cpu-shares", "256", "{}"]],
        closed: Closed::InPlace,
    },
    Outside {
        field: "resources.pids",
        spec: "",
        commands: &[&["update", "--pids-limit", "77", "{}"]],
        closed: Closed::InPlace,
    },
    Outside {
        field: "restart",
        spec: "",
        commands: &[&["update", "--restart", "on-failure:3", "{}"]],
        closed: Closed::InPlace,
    },
    Outside {
        field: "containerName",
        spec: "",
        commands: &[&["rename", "{}", "SCOPE-astray"]],
        closed: Closed::InPlace,
    },
    Outside {
        field: "networks.SCOPE-a",
        spec: "networks: [net-a]",
        commands: &[&["network", "disconnect", "SCOPE-a", "{}"]],
        closed: Closed::InPlace,
    },
    Outside {
        field: "networks.SCOPE-a",
        spec: "networks: [{ name: net-a, aliases: [other] }]",
        commands: &[
            &["network", "disconnect", "SCOPE-a", "{}"],
            &["network", "connect", "--alias", "stranger", "SCOPE-a", "{}"],
        ],
        closed: Closed::InPlace,
    },
    Outside {
        field: "networks.bridge",
        spec: "networks: [net-a]",
        commands: &[&["network", "connect", "bridge", "{}"]],
        closed: Closed::InPlace,
    },
    Outside {
        field: "image",
        spec: "image: ${SCOPE}:1",
        commands: &[&["tag", "env-manager-local/stand-in:1", "SCOPE:1"]],
        closed: Closed::Replace,
    },
];
