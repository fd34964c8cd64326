use std::collections::BTreeMap;

use super::*;

struct World {
    home: tempfile::TempDir,
    env: BTreeMap<&'static str, String>,
}

fn world() -> World {
    let home = tempfile::tempdir().unwrap();
    let env = [("HOME", home.path().to_string_lossy().into_owned())].into();
    World { home, env }
}

impl World {
    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.env.insert(name, value.to_owned());
        self
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.home.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn context(&self, name: &str, endpoint: &str) -> String {
        let digest = context_id(name);
        self.write(
            &format!(".docker/contexts/meta/{digest}/meta.json"),
            &format!(r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{"docker":{endpoint}}}}}"#),
        );
        digest
    }

    fn find(&self, configured: Option<&str>) -> Result<EngineAddress, ConnectError> {
        EngineAddress::find(configured, &|name| self.env.get(name).cloned())
    }

    fn text(&self, configured: Option<&str>) -> String {
        match self.find(configured) {
            Ok(found) => format!("{found} ({})", found.origin()),
            Err(e) => format!("{e}"),
        }
    }
}

#[test]
fn the_nearest_word_wins() {
    let w = world();
    w.write(".docker/config.json", r#"{"currentContext":"far"}"#);
    w.context("far", r#"{"Host":"ssh://me@far","SkipTLSVerify":false}"#);
    w.context("near", r#"{"Host":"tcp://10.0.0.1:2375"}"#);
    assert_eq!(w.text(None), "ssh://me@far (Docker's context `far`)");
    let w = w.with("DOCKER_CONTEXT", "near");
    assert_eq!(w.text(None), "tcp://10.0.0.1:2375 (Docker's context `near`)");
    let w = w.with("DOCKER_HOST", "unix:///run/other.sock");
    assert_eq!(w.text(None), "unix:///run/other.sock (DOCKER_HOST)");
    assert_eq!(w.text(Some("tcp://configured")), "tcp://configured:2375 (docker_host)");
}

#[test]
fn without_any_word_it_is_the_default_socket() {
    let w = world();
    assert_eq!(w.text(None), "unix:///var/run/docker.sock (the default)");
    w.write(".docker/config.json", r#"{"currentContext":"default","auths":{"x":{}},"unknown":[1]}"#);
    assert_eq!(w.text(None), "unix:///var/run/docker.sock (the default)");
    let nobody = World { env: BTreeMap::new(), ..world() };
    assert_eq!(nobody.text(None), "unix:///var/run/docker.sock (the default)");
}

#[test]
fn a_rootless_socket_is_taken_only_where_the_usual_one_is_missing() {
    let w = world();
    w.write("run/docker.sock", "");
    let run = w.home.path().join("run");
    let env = |name: &str| (name == "XDG_RUNTIME_DIR").then(|| run.to_string_lossy().into_owned());
    let missing = w.home.path().join("no.sock");
    assert_eq!(default_socket(&missing, &env), Endpoint::Unix(run.join("docker.sock")));
    w.write("usual.sock", "");
    let usual = w.home.path().join("usual.sock");
    assert_eq!(default_socket(&usual, &env), Endpoint::Unix(usual.clone()));
    assert_eq!(default_socket(&missing, &|_| None), Endpoint::Unix(missing.clone()));
}

#[test]
fn docker_config_says_where_the_contexts_are() {
    let w = world();
    w.context("near", r#"{"Host":"tcp://10.0.0.1:2375"}"#);
    let elsewhere = w.home.path().join(".docker").to_string_lossy().into_owned();
    let w = World { env: BTreeMap::new(), ..w }.with("DOCKER_CONFIG", &elsewhere).with("DOCKER_CONTEXT", "near");
    assert_eq!(w.text(None), "tcp://10.0.0.1:2375 (Docker's context `near`)");
}

#[test]
fn a_context_that_is_not_there_is_named() {
    let w = world().with("DOCKER_CONTEXT", "gone");
    let text = w.text(None);
    assert!(text.starts_with("Docker's context `gone` is not there (") && text.contains("docker context ls"), "{text}");
    assert!(!w.find(None).unwrap_err().is_unreachable());
}

#[test]
fn a_broken_configuration_is_named_and_not_quoted() {
    let w = world();
    w.write(".docker/config.json", "{\n \"auths\": {\"ghcr.io\": \"hunter2\"}}");
    let text = w.text(None);
    assert!(text.contains(".docker/config.json is not a Docker configuration: line 2"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn tls_is_used_where_the_environment_or_the_context_says_so() {
    let w = world().with("DOCKER_TLS_VERIFY", "1");
    let found = w.find(Some("tcp://far")).unwrap();
    assert_eq!(found.endpoint, Endpoint::Tls("far:2376".into(), w.home.path().join(".docker")));
    let w = w.with("DOCKER_CERT_PATH", "/certs");
    assert_eq!(w.find(Some("tcp://far:1")).unwrap().endpoint, Endpoint::Tls("far:1".into(), "/certs".into()));
    assert_eq!(w.find(Some("http://far")).unwrap().endpoint, Endpoint::Tcp("far:2375".into()));
    assert_eq!(w.find(Some("unix:///s")).unwrap().endpoint, Endpoint::Unix("/s".into()));

    let w = world().with("DOCKER_CONTEXT", "safe");
    let digest = w.context("safe", r#"{"Host":"tcp://far:2376"}"#);
    assert_eq!(w.find(None).unwrap().endpoint, Endpoint::Tcp("far:2376".into()));
    w.write(&format!(".docker/contexts/tls/{digest}/docker/ca.pem"), "");
    let material = w.home.path().join(format!(".docker/contexts/tls/{digest}/docker"));
    assert_eq!(w.find(None).unwrap().endpoint, Endpoint::Tls("far:2376".into(), material));

    w.context("safe", r#"{"Host":"tcp://far:2376","SkipTLSVerify":true}"#);
    assert!(w.text(None).contains("skips the verification of certificates"));
}

#[test]
fn missing_certificates_are_named() {
    let w = world().with("DOCKER_CERT_PATH", "/nowhere");
    let error = w.find(Some("https://far")).unwrap().client().unwrap_err();
    assert!(
        error.to_string().starts_with("TLS to tcp://far:2376 needs /nowhere/ca.pem, which cannot be read"),
        "{error}"
    );
}

#[test]
fn what_is_not_an_address_is_refused_with_advice() {
    for (text, advice) in [
        ("/var/run/docker.sock", "write it as unix:///var/run/docker.sock"),
        ("far:2375", "begins with none of"),
        ("unix://run/docker.sock", "absolute"),
        ("tcp://", "names no host"),
        ("tcp://far:0", "port"),
        ("tcp://far:x", "port"),
        ("tcp://::1:2375", "brackets"),
        ("tcp://far:2375/prefix", "path"),
        ("ssh://", "names no host"),
        ("ssh://-oProxyCommand=evil", "names no host"),
        ("ssh://me@far/run/docker.sock", "path"),
        ("npipe:////./pipe/docker_engine", "Windows"),
        ("fd://", "unix:///var/run/docker.sock"),
    ] {
        let error = world().text(Some(text));
        assert!(error.starts_with(&format!("docker_host is `{text}`: ")) && error.contains(advice), "{error}");
    }
}

#[test]
fn addresses_are_completed_and_told_apart() {
    for (text, printed, local) in [
        ("unix://", "unix:///var/run/docker.sock", true),
        ("tcp://localhost", "tcp://localhost:2375", true),
        ("tcp://[::1]", "tcp://[::1]:2375", true),
        ("tcp://127.0.0.2:99/", "tcp://127.0.0.2:99", true),
        ("tcp://10.0.0.1:2375", "tcp://10.0.0.1:2375", false),
        ("ssh://me@far:22", "ssh://me@far:22", false),
    ] {
        let found = world().find(Some(text)).unwrap();
        assert_eq!((found.to_string().as_str(), found.is_local()), (printed, local));
    }
}

#[tokio::test]
async fn a_socket_that_does_not_answer_says_why() {
    let w = world();
    let reach = |path: PathBuf| async move {
        let found = EngineAddress { endpoint: Endpoint::Unix(path), origin: Origin::Default };
        let error = found.reach().await.unwrap_err();
        assert!(error.is_unreachable());
        error.to_string()
    };
    let missing = w.home.path().join("no.sock");
    let text = reach(missing.clone()).await;
    let head = format!("cannot connect to Docker at unix://{}: no such file. Is it running?", missing.display());
    assert!(text.starts_with(&head), "{text}");
    let found = EngineAddress { endpoint: Endpoint::Unix(missing), origin: Origin::Default };
    found.client().expect("it may come later");

    let dead = w.home.path().join("dead.sock");
    drop(tokio::net::UnixListener::bind(&dead).unwrap());
    assert!(reach(dead).await.contains("nobody listens on the socket"));

    let alive = w.home.path().join("alive.sock");
    let _listener = tokio::net::UnixListener::bind(&alive).unwrap();
    let found = EngineAddress { endpoint: Endpoint::Unix(alive), origin: Origin::Default };
    found.reach().await.unwrap();
    found.client().unwrap();
}

#[tokio::test]
async fn a_tcp_address_that_refuses_says_who_named_it() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let w = world().with("DOCKER_HOST", &address);
    w.find(None).unwrap().reach().await.unwrap();
    drop(listener);
    let text = w.find(None).unwrap().reach().await.unwrap_err().to_string();
    assert!(text.starts_with(&format!("cannot connect to Docker at {address}: connection refused.")), "{text}");
    assert!(text.contains("DOCKER_HOST"), "{text}");
}
