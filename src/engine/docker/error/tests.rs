//! Messages as engines wrote them: 20.10.24 where nothing is said.

use super::*;

const ID: &str = "ad476a5f933af0d468601974bf907ce4ddc7d352ce8198c8cc7bc674bc39fcea";
const SHORT: &str = "ad476a5f933a";

fn kind(call: Call, status: u16, subject: &str, message: &str) -> ErrorKind {
    classify(call, status, &message.replace("ID", ID), subject)
}

#[test]
fn names_and_ports_that_are_taken_name_their_holder() {
    let taken = r#"Conflict. The container name "/web" is already in use by container "ID". You have to remove (or rename) that container to be able to reuse that name."#;
    let holder = ErrorKind::NameTaken { holder: Some(ID.to_owned()) };
    assert_eq!(kind(Call::CreateContainer, 409, "web", taken), holder);
    let renamed = format!("Error when allocating new name: {taken}");
    assert_eq!(kind(Call::Rename, 409, "x", &renamed), holder);
    let network = "network with name env-manager already exists";
    assert_eq!(kind(Call::CreateNetwork, 409, "n", network), ErrorKind::NameTaken { holder: None });

    let port = |message: &str| kind(Call::Start, 500, SHORT, message);
    let taken = |port| ErrorKind::PortTaken { port: Some(port) };
    let head = "driver failed programming external connectivity on endpoint web (ID): ";
    for (text, number) in [
        ("Bind for 0.0.0.0:39300 failed: port is already allocated", 39300),
        ("Bind for :::39300 failed: port is already allocated", 39300),
        ("Bind for 127.0.0.1:53 failed: port is already allocated", 53),
        ("Error starting userland proxy: listen tcp4 0.0.0.0:39301: bind: address already in use", 39301),
        ("Error starting userland proxy: listen tcp6 [::1]:39301: bind: address already in use", 39301),
        // 28
        ("failed to bind host port for 0.0.0.0:8080:172.17.0.2:80/tcp: address already in use", 8080),
        ("failed to bind host port 127.0.0.1:8081/tcp: address already in use", 8081),
    ] {
        assert_eq!(port(&format!("{head}{text}")), taken(number), "{text}");
        assert_eq!(readable(Call::Start, &taken(number), &format!("{head}{text}")), text);
    }
    // An address in a network, in the same words.
    assert_eq!(kind(Call::Start, 403, SHORT, "Address already in use"), ErrorKind::InUse);
}

#[test]
fn what_is_gone_is_told_from_what_it_needs() {
    for (call, status, subject, message, wanted) in [
        (Call::Start, 404, SHORT, "No such container: ID", ErrorKind::NotFound),
        (Call::Start, 404, "0123456789ab", "No such container: ID", ErrorKind::NamespaceGone),
        (Call::CreateContainer, 400, "web", "No such container: ID", ErrorKind::NamespaceGone),
        (
            Call::Start,
            409,
            "0123456789ab",
            "cannot join network of a non running container: ID",
            ErrorKind::NamespaceGone,
        ),
        (Call::Start, 500, "0123456789ab", "container ID is not running", ErrorKind::NamespaceGone),
        (
            Call::Start,
            500,
            "0123456789ab",
            "can't join IPC of container ID: No such container: ID",
            ErrorKind::NamespaceGone,
        ),
        (Call::Start, 404, SHORT, "network e392d0332230a0fef843bca5e19be555 not found", ErrorKind::NetworkGone),
        (Call::Connect, 404, "ad476a5f933a to network n", "network 0123456789ab not found", ErrorKind::NetworkGone),
        (Call::Connect, 404, "ad476a5f933a to network n", "No such container: ID", ErrorKind::NotFound),
        (Call::RemoveNetwork, 404, "0123456789ab", "network 0123456789ab not found", ErrorKind::NotFound),
        (Call::RemoveVolume, 404, "v", "get v: no such volume", ErrorKind::NotFound),
        (Call::InspectImage, 404, "redis:7", "No such image: redis:7", ErrorKind::ImageNotFound),
        (Call::CreateContainer, 404, "web", "No such image: nothing/here:1", ErrorKind::ImageNotFound),
        (
            Call::CreateContainer,
            404,
            "web",
            "image with reference x:1 was found but does not match the specified platform: wanted linux/arm64, actual: linux/amd64",
            ErrorKind::ImageNotFound,
        ),
        // A restarting container has no sandbox to rename: not "gone".
        (Call::Rename, 404, "ad476a5f933a to web.old", "sandbox 7d3e not found", ErrorKind::Other),
        (Call::Rename, 404, "ad476a5f933a to web.old", "No such container: ID", ErrorKind::NotFound),
        (Call::Exec, 409, SHORT, "Container ID is not running", ErrorKind::Other),
        (Call::Exec, 409, SHORT, "Container ID is paused, unpause the container before exec", ErrorKind::Other),
        (Call::Start, 409, SHORT, "cannot start a paused container, try unpause instead", ErrorKind::Other),
    ] {
        assert_eq!(kind(call, status, subject, message), wanted, "{call:?} {subject}: {message}");
    }
}

#[test]
fn what_this_engine_will_never_do_is_refused() {
    for (call, status, message) in [
        (
            Call::Start,
            400,
            "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"/nothing\": stat /nothing: no such file or directory: unknown",
        ),
        (Call::Start, 500, "could not select device driver \"\" with capabilities: [[gpu]]"),
        (
            Call::Start,
            500,
            "error gathering device information while adding custom device \"/dev/nothing\": no such file or directory",
        ),
        (Call::Start, 500, "path /usr/share is mounted on / but it is not a shared or slave mount"),
        (
            Call::Start,
            400,
            "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: unable to apply caps: operation not permitted: unknown",
        ),
        (
            Call::CreateContainer,
            400,
            "invalid mount config for type \"bind\": bind source path does not exist: /nothing",
        ),
        (Call::CreateContainer, 400, "Unknown runtime specified nope"),
        (Call::CreateContainer, 400, "error looking up logging plugin nope: plugin \"nope\" not found"),
        (Call::CreateContainer, 400, "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"),
        (Call::CreateContainer, 400, "Minimum memory limit allowed is 6MB"),
        (Call::CreateContainer, 500, "invalid --security-opt 2: \"systempaths=unconfined\""),
        (Call::Start, 500, "unable to find user nobodyhere: no matching entries in passwd file"),
        (Call::Start, 500, "Unable to find group nogroup9: no matching entries in group file"),
        (Call::CreateNetwork, 500, "Invalid subnet 10.214.0.0 : invalid CIDR address: 10.214.0.0"),
        (Call::Start, 500, "Invalid address 10.99.0.9: It does not belong to any of this network's subnets"),
        (Call::CreateVolume, 404, "create v: error looking up volume plugin nope: plugin \"nope\" not found"),
        (Call::CreateNetwork, 404, "plugin \"nope\" not found"),
        (Call::Upload, 500, "container rootfs is marked read-only"),
        (Call::SetRestartPolicy, 400, "invalid restart policy 'nope'"),
    ] {
        assert_eq!(kind(call, status, SHORT, message), ErrorKind::Refused, "{message}");
    }
    // An exhausted host is no fault of the spec.
    let busy = "OCI runtime create failed: runc create failed: fork/exec: resource temporarily unavailable: unknown";
    assert_eq!(kind(Call::Start, 500, SHORT, busy), ErrorKind::Other);
}

#[test]
fn the_engines_state_has_kinds_of_its_own() {
    for (call, status, message, wanted) in [
        (
            Call::CreateNetwork,
            404,
            "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network",
            ErrorKind::NoAddress,
        ),
        (Call::CreateNetwork, 403, "Pool overlaps with other one on this address space", ErrorKind::NoAddress),
        (Call::RemoveContainer, 409, "removal of container ID is already in progress", ErrorKind::RemovalInProgress),
        (Call::Start, 409, "container is marked for removal and cannot be started", ErrorKind::RemovalInProgress),
        (
            Call::RemoveNetwork,
            403,
            "error while removing network: network n id 93b8359134ee has active endpoints",
            ErrorKind::InUse,
        ),
        (Call::RemoveVolume, 409, "remove v: volume is in use - [ID]", ErrorKind::InUse),
        (Call::CreateContainer, 500, "mkdir /var/lib/docker/overlay2/x: no space left on device", ErrorKind::DiskFull),
        (Call::Start, 400, "network env-manager is ambiguous (2 matches found on name)", ErrorKind::Other),
        (Call::Start, 500, "something else", ErrorKind::Other),
        // 29: the oldest that it takes.
        (
            Call::ListContainers,
            400,
            "client version 1.41 is too old. Minimum supported API version is 1.44, please upgrade your client to a newer version",
            ErrorKind::Unsupported,
        ),
        (
            Call::ListContainers,
            400,
            "client version 1.53 is too new. Maximum supported API version is 1.41",
            ErrorKind::Other,
        ),
    ] {
        assert_eq!(kind(call, status, SHORT, message), wanted, "{message}");
    }
}

#[test]
fn registries_errors_are_told_apart_and_read_well() {
    let throttled = |ms| ErrorKind::Throttled { retry_after: Some(Duration::from_millis(ms)) };
    for (message, wanted, begins) in [
        (
            "pull access denied for nothing/here, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
            ErrorKind::PullDenied,
            "the registry refuses",
        ),
        ("Head \"https://ghcr.io/v2/x/manifests/1\": unauthorized", ErrorKind::PullDenied, "the registry refuses"),
        (
            "Get \"https://x/v2/y/manifests/1\": no basic auth credentials",
            ErrorKind::PullDenied,
            "the registry refuses",
        ),
        ("unauthorized: incorrect username or password", ErrorKind::PullDenied, "the registry refuses"),
        (
            "manifest for redis:9 not found: manifest unknown: manifest unknown",
            ErrorKind::ImageNotFound,
            "the image is not",
        ),
        (
            "no matching manifest for linux/arm64/v8 in the manifest list entries",
            ErrorKind::ImageNotFound,
            "the image is not",
        ),
        // 29 with containerd's store
        (
            "failed to resolve reference \"docker.io/library/nope:1\": docker.io/library/nope:1: not found",
            ErrorKind::ImageNotFound,
            "the image is not",
        ),
        (
            "toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating",
            ErrorKind::Throttled { retry_after: None },
            "the registry asks to wait",
        ),
        ("toomanyrequests: retry-after: 1.5s, allowed: 44000/minute", throttled(1500), "the registry asks to wait"),
        ("toomanyrequests: retry-after: 250ms, allowed: 44000/minute", throttled(250), "the registry asks to wait"),
        (
            "error parsing HTTP 429 response body: unexpected end of JSON input: \"\"",
            ErrorKind::Throttled { retry_after: None },
            "the registry asks to wait",
        ),
        (
            "Get \"http://127.0.0.1:5999/v2/\": dial tcp 127.0.0.1:5999: connect: connection refused",
            ErrorKind::Other,
            "the registry cannot be reached",
        ),
        (
            "Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io on 192.0.2.53:53: no such host",
            ErrorKind::Other,
            "the registry's name does not resolve",
        ),
        (
            "Get \"https://registry-1.docker.io/v2/\": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)",
            ErrorKind::Other,
            "the registry cannot be reached",
        ),
        ("filesystem layer verification failed for digest sha256:12", ErrorKind::Other, "what came is not"),
        ("unexpected EOF", ErrorKind::Other, "the download broke off"),
        (
            "Get \"https://localhost:5000/v2/\": http: server gave HTTP response to HTTPS client",
            ErrorKind::Refused,
            "Get",
        ),
        ("write /var/lib/docker/tmp/x: no space left on device", ErrorKind::DiskFull, "write"),
    ] {
        let kind = kind(Call::Pull, 500, "x:1", message);
        assert_eq!(kind, wanted, "{message}");
        let text = readable(Call::Pull, &kind, message);
        assert!(text.starts_with(begins) && text.contains(message), "{text}");
    }
}

#[test]
fn an_engine_that_cannot_ask_registries_is_told_from_what_registries_say() {
    for (status, message, wanted) in [
        (404, "page not found", ErrorKind::Unsupported),
        // Podman, and HAProxy before an engine
        (404, "Not Found\n", ErrorKind::Unsupported),
        (
            403,
            "<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.\n</body></html>",
            ErrorKind::Unsupported,
        ),
        (404, "manifest unknown", ErrorKind::ImageNotFound),
        (404, "name unknown: repository name not known to registry", ErrorKind::ImageNotFound),
        (401, "unauthorized", ErrorKind::PullDenied),
        (
            429,
            "toomanyrequests: retry-after: 42s, allowed",
            ErrorKind::Throttled { retry_after: Some(Duration::from_secs(42)) },
        ),
        (429, "slow down", ErrorKind::Throttled { retry_after: None }),
        (500, "received unexpected HTTP status: 500 Internal Server Error", ErrorKind::Other),
    ] {
        assert_eq!(kind(Call::AskRegistry, status, "x:1", message), wanted, "{message}");
    }
    let away = "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused";
    assert!(readable(Call::AskRegistry, &ErrorKind::Other, away).starts_with("the registry cannot be reached"));
}

#[test]
fn messages_are_one_bounded_line() {
    let text = one_line(&format!("Error:\n\n  many\twords {}", "€".repeat(2000)));
    assert!(text.starts_with("Error: many words €") && text.ends_with('…') && text.chars().count() == 601, "{text}");
    let refused = Error::from(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
    let error = translate(Call::Start, "web", "unix:///x.sock", &refused);
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert_eq!(
        error.to_string(),
        "start container web: the engine at unix:///x.sock cannot be reached: connection refused"
    );
}
