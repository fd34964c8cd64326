//! The engine reached in every way that the docker command knows, from here to the real one.

mod common {
    pub mod engine;
}

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::engine::{SOCKET, eventually};
use env_manager::engine::docker::Docker;
use env_manager::engine::docker::connect::{ConnectError, EngineAddress};
use env_manager::engine::{Engine, EngineInfo, ErrorKind};
use sha2::{Digest, Sha256};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinSet;

fn find(env: &[(&str, &str)]) -> Result<EngineAddress, ConnectError> {
    let env: BTreeMap<_, _> = env.iter().copied().collect();
    EngineAddress::find(None, &|name| env.get(name).map(|v| (*v).to_owned()))
}

async fn info(env: &[(&str, &str)]) -> EngineInfo {
    Docker::at(&find(env).unwrap()).unwrap().info().await.unwrap()
}

/// The engine's socket, on a port of loopback.
async fn over_tcp() -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut near, _)) = listener.accept().await {
            connections.spawn(async move {
                let Ok(mut far) = UnixStream::connect(SOCKET).await else { return };
                let _ = copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    (at, tasks)
}

#[tokio::test]
async fn by_default_it_is_the_local_socket() {
    let info = info(&[]).await;
    assert_eq!((info.address.as_str(), info.local), ("unix:///var/run/docker.sock", true));
    assert!(!info.version.is_empty());
}

#[tokio::test]
async fn by_tcp() {
    let (at, _tasks) = over_tcp().await;
    let info = info(&[("DOCKER_HOST", &format!("tcp://{at}"))]).await;
    assert_eq!(info.address, format!("tcp://{at}"));
}

#[tokio::test]
async fn by_the_current_context() {
    let home = tempfile::tempdir().unwrap();
    let (at, _tasks) = over_tcp().await;
    let id = Sha256::digest(b"em-test").iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let meta = home.path().join("contexts/meta").join(id);
    std::fs::create_dir_all(&meta).unwrap();
    let text = format!(r#"{{"Name":"em-test","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"tcp://{at}"}}}}}}"#);
    std::fs::write(meta.join("meta.json"), text).unwrap();
    std::fs::write(home.path().join("config.json"), r#"{"currentContext":"em-test"}"#).unwrap();
    let folder = home.path().to_str().unwrap();
    assert_eq!(info(&[("DOCKER_CONFIG", folder)]).await.address, format!("tcp://{at}"));

    // The docker command finds the same, where it is new enough to know contexts.
    let out = Command::new("docker").args(["--config", folder, "context", "show"]).output();
    if let Ok(out) = out
        && out.status.success()
    {
        assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), "em-test");
    }
}

#[tokio::test]
async fn a_socket_that_nobody_listens_on_is_unreachable() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let address = find(&[("DOCKER_HOST", &format!("unix://{}", path.display()))]).unwrap();
    let error = Docker::at(&address).unwrap().info().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    let why = address.reach().await.unwrap_err();
    assert!(why.is_unreachable() && why.to_string().contains("nobody listens"), "{why}");
}

/// Ends TLS, asks the client for a certificate, and hands on to the engine's socket.
const TLS_PROXY: &str = r#"
import socket, ssl, sys, threading
folder, target = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(folder + "/server.pem", folder + "/server-key.pem")
context.load_verify_locations(folder + "/ca.pem")
context.verify_mode = ssl.CERT_REQUIRED
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
def copy(a, b):
    try:
        while data := a.recv(65536): b.sendall(data)
        b.shutdown(socket.SHUT_WR)
    except OSError: pass
def serve(raw):
    try: near = context.wrap_socket(raw, server_side=True)
    except OSError: return
    far = socket.socket(socket.AF_UNIX); far.connect(target)
    threading.Thread(target=copy, args=(far, near), daemon=True).start()
    copy(near, far)
while True:
    raw, _ = listener.accept()
    threading.Thread(target=serve, args=(raw,), daemon=True).start()
"#;

/// A CA, and certificates of it for the server (127.0.0.1) and the client.
fn certificates(folder: &Path) -> bool {
    let openssl = |args: &str| {
        let out = Command::new("openssl").args(args.split(' ')).current_dir(folder).stdin(Stdio::null()).output();
        out.is_ok_and(|out| {
            assert!(out.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&out.stderr));
            true
        })
    };
    let new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    std::fs::write(folder.join("server.ext"), "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n").unwrap();
    std::fs::write(folder.join("client.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
    let signed = |name: &str, cert: &str, key: &str| {
        openssl(&format!("req {new} -keyout {key} -out {name}.csr -subj /CN={name}"))
            && openssl(&format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -extfile {name}.ext -out {cert}"
            ))
    };
    openssl(&format!("req -x509 {new} -keyout ca-key.pem -out ca.pem -days 2 -subj /CN=em-test-ca"))
        && signed("server", "server.pem", "server-key.pem")
        && signed("client", "cert.pem", "key.pem")
}

struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn by_tls_with_the_users_certificates() {
    let folder = tempfile::tempdir().unwrap();
    if !certificates(folder.path()) {
        eprintln!("skipped: openssl is not installed");
        return;
    }
    let spawned = Command::new("python3")
        .args(["-c", TLS_PROXY, folder.path().to_str().unwrap(), SOCKET])
        .stdout(std::fs::File::create(folder.path().join("port")).unwrap())
        .spawn();
    let Ok(child) = spawned else {
        eprintln!("skipped: python3 is not installed");
        return;
    };
    let _child = Child(child);
    let port = eventually(async || {
        let text = std::fs::read_to_string(folder.path().join("port")).unwrap_or_default();
        text.trim().parse::<u16>().ok()
    });
    let port = tokio::time::timeout(Duration::from_secs(30), port).await.expect("the proxy listens");
    TcpStream::connect(("127.0.0.1", port)).await.unwrap();

    let host = format!("tcp://127.0.0.1:{port}");
    let with = |certificates: &Path| {
        let path = certificates.to_str().unwrap().to_owned();
        let address = find(&[("DOCKER_HOST", &host), ("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", &path)]).unwrap();
        Docker::at(&address)
    };
    let info = with(folder.path()).unwrap().info().await.unwrap();
    assert_eq!(info.address, host);

    // Another CA's word counts for nothing.
    let other = tempfile::tempdir().unwrap();
    certificates(other.path());
    with(other.path()).unwrap().info().await.expect_err("the server is not known to this CA");
    // And the server lets nobody in without a certificate.
    let bare = tempfile::tempdir().unwrap();
    std::fs::copy(folder.path().join("ca.pem"), bare.path().join("ca.pem")).unwrap();
    with(bare.path()).unwrap().info().await.expect_err("the client shows no certificate");
    std::fs::remove_file(bare.path().join("ca.pem")).unwrap();
    let error = with(bare.path()).unwrap_err();
    assert!(error.to_string().contains("ca.pem"), "{error}");
}
