//! Images that move under their tags: on the engine, and in a registry.

use std::net::TcpStream;

use tokio::runtime::Builder;

use crate::proxy::{Proxy, Rules};
use crate::registry::Registry;
use crate::stack::engine::{IMAGE, SOCKET, ensure_image, inspect};
use crate::stack::{Stack, docker, service, soon, text};

/// Images of a test, untagged when it ends.
struct Tags(Vec<String>);

impl Drop for Tags {
    fn drop(&mut self) {
        for tag in &self.0 {
            let _ = std::process::Command::new("docker").args(["rmi", "-f", tag]).output();
        }
    }
}

/// Has a tag point at an image that is like the tests' own, and another one.
fn build(tag: &str, version: u32) {
    let container = docker(&["create", IMAGE]);
    docker(&["commit", "--change", &format!("ENV VERSION={version}"), &container, tag]);
    docker(&["rm", &container]);
}

/// Events of images are kept back; everything else goes by.
struct NoImageEvents;

impl Rules for NoImageEvents {
    fn request(&self, head: &str) -> Result<String, String> {
        let asks = head.lines().next().is_some_and(|line| line.contains("/events?"));
        // In the filter by type; `plugin` is another one, of which there are none.
        Ok(if asks { head.replacen("%22image%22", "%22plugin%22", 1) } else { head.to_owned() })
    }

    fn version(&self, body: &str) -> String {
        body.to_owned()
    }
}

#[test]
fn p01_a_tag_that_moves_without_an_event_is_rolled_out_at_a_resync() {
    ensure_image();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let proxy = runtime.block_on(async { Proxy::start(SOCKET, NoImageEvents) });
    let stack = Stack::new("moved");
    let image = format!("{}:latest", stack.name());
    let _tags = Tags(vec![image.clone()]);
    build(&image, 1);
    stack.describe(&[service("web", &format!("image: {image}\ncommand: [sleep, \"1000000\"]"))]);
    let daemon = stack.daemon_with(|command| {
        command.env("DOCKER_HOST", format!("unix://{}", proxy.socket.display())).env("ENV_MANAGER_RESYNC", "2s");
    });
    daemon.converged();
    let asked = proxy.requests().iter().any(|line| line.contains("/events?") && line.contains("%22image%22"));
    assert!(asked, "the filter by type: {:?}", proxy.requests());
    let before = stack.id("web");
    build(&image, 2);
    daemon.replaced("web", &before);
    assert_eq!(stack.inspect("web")["Image"], inspect(&image)["Id"]);
    let told = daemon.events();
    assert!(!told.iter().any(|e| e["reason"] == "ImageMoved"), "no event came by: {told:#?}");
    daemon.told("web", "DriftFound", "image");
    stack.is_converged(&["web"]);
}

#[test]
fn what_a_registry_has_under_a_tag_is_rolled_out_and_one_that_is_gone_is_told_of() {
    let Some(registry) = Registry::serve(None) else { return };
    soon("the registry to listen", || TcpStream::connect(registry.at).ok().map(drop));
    ensure_image();
    let stack = Stack::new("poll");
    let tagged = |tag: &str| format!("{}/em-test/polled:{tag}", registry.at);
    let _tags = Tags(vec![tagged("1"), tagged("2")]);
    for (tag, version) in [("1", 1), ("2", 2)] {
        build(&tagged(tag), version);
        docker(&["push", "-q", &tagged(tag)]);
        docker(&["rmi", &tagged(tag)]);
    }
    let body = format!("image: {}\npullPolicy: Always\ncommand: [sleep, \"1000000\"]", tagged("1"));
    stack.describe(&[service("web", &body)]);
    let daemon = stack.daemon_with(|command| _ = command.env("ENV_MANAGER_IMAGE_POLL", "1s"));
    daemon.converged();
    let version = || {
        let inspected = stack.inspect("web");
        let env: Vec<_> = inspected["Config"]["Env"].as_array().into_iter().flatten().map(text).collect();
        env.into_iter().find(|line| line.starts_with("VERSION="))
    };
    assert_eq!(version().as_deref(), Some("VERSION=1"));
    let before = stack.id("web");
    registry.retag("em-test/polled", "2", "1");
    let after = daemon.replaced("web", &before);
    assert_eq!(version().as_deref(), Some("VERSION=2"));
    daemon.told("web", "DriftFound", "image");

    drop(registry);
    daemon.told("web", "ImagePollFailed", "no registry answers at 127.0.0.1:");
    let status = daemon.converged();
    assert_eq!(status["healthy"], true, "{status:#}");
    assert_eq!(stack.id("web"), after);
}
