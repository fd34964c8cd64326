//! P18: an upgrade of env-manager must not replace containers that an older one made.

use super::*;
use crate::resource::hash::{container_hash, service_hash};

/// Two spellings of one service: least words, and everything that has a default written out.
const SHORT: &str = "  dependsOn: [db, cache]
  command: [serve, --fast]
  env: { B: 2, A: 1 }
  ports: ['8080:80', '127.0.0.1:53:53/udp']
  volumes: ['data:/data', './conf:/conf:ro']
  tmpfs: [/run]
  files:
    - { target: /etc/a, content: a }
    - { target: /etc/b, content: b }
  resources: { memory: 64MiB, cpus: 1.5 }
  security: { capDrop: [ALL, NET_RAW], capAdd: [CHOWN, KILL] }
  extraHosts: ['a:10.0.0.1', 'b:10.0.0.2']
  probes:
    startup: { http: { port: 80 } }
    readiness: { tcp: { port: 80 } }
";

const LONG: &str = "  # Comments, order and defaults mean nothing.
  pullPolicy: IfNotPresent
  required: true
  state: Running
  suspend: false
  adopt: Never
  update: { strategy: Auto, progressDeadline: 60s, rollback: true }
  stop: { gracePeriod: 10s }
  restart: UnlessStopped
  containerName: web
  networks: [default]
  networkAliases: []
  init: true
  tty: false
  stdin: false
  entrypoint: []
  dependsOn:
    - { service: cache, condition: Ready, restart: false }
    - { service: db, condition: Ready }
  command: 'serve   --fast'
  env:
    A: '1'
    B: \"2\"
  secretEnv: {}
  envFrom: []
  ports:
    - { hostIP: 127.0.0.1, hostPort: 53, containerPort: 53, protocol: udp }
    - { hostIP: 0.0.0.0, hostPort: 8080, containerPort: 80, protocol: tcp }
  volumes:
    - { type: bind, source: /m/conf, target: /conf/, readOnly: true, propagation: rprivate }
    - { type: tmpfs, target: /run, mode: '1777' }
    - { type: volume, source: data, target: /data, readOnly: false }
  files:
    - { target: /etc/b, content: b, mode: '0644', uid: 0, gid: 0, onChange: Restart }
    - { target: /etc/a, content: a, mode: 644 }
  resources: { memory: 67108864, cpus: '1.50', oomScoreAdj: 0 }
  security:
    privileged: false
    readOnlyRootFilesystem: false
    noNewPrivileges: false
    capAdd: [CAP_KILL, chown]
    capDrop: [NET_RAW, ALL]
    opts: []
  extraHosts: ['b:10.0.0.2', 'a:10.0.0.1']
  sysctls: {}
  ulimits: {}
  dns: {}
  devices: []
  probes:
    readiness: { tcp: { port: 80 }, interval: 5s, timeout: 2000ms, failureThreshold: 3, successThreshold: 1 }
    startup: { http: { port: 80, path: /, status: 200-399, headers: {} }, interval: 50ms, deadline: 1m }
";

fn web(spec: &str) -> Arc<Service> {
    let others = format!("---\n{}---\n{}", manifest("db", ""), manifest("cache", ""));
    service_of(&set_of(&format!("{}{others}", manifest("web", spec)), &Fake::default()), "web")
}

#[test]
fn p18_order_comments_and_written_defaults_change_no_hash() {
    let (short, long) = (web(SHORT), web(LONG));
    assert_eq!(short.spec, long.spec);
    assert_eq!(short.hash, long.hash);
    assert_eq!(service_hash(&short.spec), service_hash(&long.spec));
}

#[test]
fn p18_what_is_treated_differently_is_the_same_container() {
    let base = web(SHORT);
    for same_container in [
        "  required: false\n",
        "  suspend: true\n",
        "  state: Stopped\n",
        "  pullPolicy: Always\n",
        "  stop: { gracePeriod: 3s }\n",
    ] {
        let other = web(&format!("{SHORT}{same_container}"));
        assert_eq!(other.hash, base.hash, "{same_container}");
        assert_ne!(service_hash(&other.spec), service_hash(&base.spec), "{same_container}");
    }
}

#[test]
fn what_is_in_the_container_changes_the_hash() {
    let base = web("");
    for change in [
        "  user: root\n",
        "  env: { A: 1 }\n",
        "  ports: [80]\n",
        "  tty: true\n",
        "  init: false\n",
        "  command: [a]\n",
        "  networks: [other]\n",
    ] {
        assert_ne!(web(change).hash, base.hash, "{change}");
    }
}

#[test]
fn networks_and_volumes_hash_alike_with_defaults_written_out() {
    let set = |spec: &str| {
        let text =
            format!("apiVersion: env-manager.dev/v1\nkind: Network\nmetadata: {{ name: default }}\nspec: {spec}\n");
        set_of(&text, &Fake::default()).resources.into_values().next().unwrap()
    };
    assert_eq!(
        set("{}"),
        set("{ name: env-manager, driver: bridge, external: false, internal: false, ipv6: false, ipam: [] }")
    );
    assert_ne!(set("{}"), set("{ internal: true }"));
}

/// **These hashes must never change**: a changed line here means that every such container in the
/// world is replaced by an upgrade. A new field must be left out of the JSON when it is not set.
#[test]
fn p18_hashes_stay_what_they_were() {
    let outside = Fake {
        variables: BTreeMap::from([("TOKEN", "t")]),
        files: BTreeMap::from([("/m/a.conf", &b"a"[..]), ("/m/p.json", b"{}")]),
    };
    let specs = [
        ("least", String::new()),
        ("short", SHORT.replace("  dependsOn: [db, cache]\n", "")),
        ("process", "  entrypoint: [a]\n  workingDir: /w\n  user: '1:2'\n  groupAdd: [b, a]\n  hostname: h\n  init: false\n  tty: true\n  stdin: true\n  stop: { signal: SIGINT }\n  restart: OnFailure\n  restartMaxRetries: 3\n".to_owned()),
        ("managed", "  restart: Managed\n".to_owned()),
        ("secrets", "  secretEnv: { A: { fromEnv: TOKEN }, B: { fromFile: a.conf } }\n  secretFiles: [{ target: /a, fromFile: a.conf }]\n  files: [{ target: /b, source: a.conf, mode: 0600, uid: 1, gid: 2 }]\n".to_owned()),
        ("storage", "  volumes: [/anon, 'v1:/v:ro', {type: volume, source: v2, target: /s, subpath: p}, '/b:/b:Z,rshared']\n  tmpfs: ['/t:size=1m,mode=0700']\n  devices: ['/dev/a:/dev/b:r']\n  deviceRequests: [{driver: d, count: all, capabilities: [gpu]}]\n".to_owned()),
        ("network", "  networks: [default, {name: n1, aliases: [x], ipv4Address: 10.0.0.9, priority: 3}]\n  networkAliases: [y]\n  macAddress: 02:42:AC:11:00:02\n  extraHosts: ['h:host-gateway']\n  dns: {servers: [1.1.1.1], search: [s], options: [o]}\n".to_owned()),
        ("mode", "  networkMode: container:other\n  pidMode: host\n  ipcMode: shareable\n  usernsMode: host\n  cgroupParent: /c\n  runtime: runc\n  platform: linux/amd64\n".to_owned()),
        ("limits", "  resources: {memory: 1GiB, memoryReservation: 512MiB, swap: 1GiB, cpus: 0.5, cpuset: 0-1, cpuShares: 512, pids: 100, shmSize: 1MiB, oomScoreAdj: -5, gpus: all}\n  security: {readOnlyRootFilesystem: true, privileged: true, noNewPrivileges: true, seccomp: p.json}\n  sysctls: {net.core.somaxconn: 1}\n  ulimits: {nofile: 9, nproc: {soft: 1, hard: -1}}\n  logging: {driver: local, options: {max-size: 1m}}\n".to_owned()),
    ];
    let mut lines = Vec::new();
    for (name, spec) in specs {
        let set = set_of(&manifest("web", &spec), &outside);
        let service = service_of(&set, "web");
        assert_eq!(service.hash, container_hash(&service.spec.container));
        lines.push(format!("{name:8} {} {}", service.hash, service_hash(&service.spec)));
    }
    insta::assert_snapshot!(lines.join("\n"));
}
