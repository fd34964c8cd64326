//! One try of each kind, against small servers on loopback.

use super::*;

/// A server that does the same with each connection, and the port it listens on.
async fn server<F>(each: impl Fn(TcpStream) -> F + Send + 'static) -> (SocketAddr, JoinSet<()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(each(stream));
        }
    });
    (at, tasks)
}

/// A server that reads a little, answers `text`, and ends the connection.
async fn answering(text: &'static str) -> (SocketAddr, JoinSet<()>) {
    server(move |mut stream| async move {
        let mut seen = [0; 1024];
        let _ = stream.read(&mut seen).await;
        let _ = stream.write_all(text.as_bytes()).await;
    })
    .await
}

/// A server that accepts and says nothing for ever.
async fn silent() -> (SocketAddr, JoinSet<()>) {
    server(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await
}

/// Like Docker's proxy in front of a container that does not listen.
async fn hanging_up() -> (SocketAddr, JoinSet<()>) {
    server(|stream| async move { drop(stream) }).await
}

async fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn published(at: SocketAddr) -> Route {
    Route::Published { host: at.ip().to_string(), port: at.port() }
}

async fn ask(check: Check, route: Route) -> Tried {
    ask_within(check, route, Duration::from_secs(20)).await
}

async fn ask_within(check: Check, route: Route, limit: Duration) -> Tried {
    let probe = Probe { timeout: limit, ..probe(check) };
    attempt(&ScriptedEngine::default(), &target("a"), &probe, &route, None).await
}

fn http(path: &str) -> Check {
    Check::Http { port: 80, path: path.to_owned(), status: StatusRanges::default(), headers: [].into() }
}

fn line(send: &str, expect: &str) -> Check {
    Check::Line { port: 1, send: send.to_owned(), expect: expect.to_owned() }
}

const TCP: Check = Check::Tcp { port: 1 };
const REDIS: Check = Check::Redis { port: 1 };

#[tokio::test]
async fn tcp_by_address_passes_on_a_connect() {
    let (at, _tasks) = silent().await;
    let tried = ask(TCP, Route::Address(at)).await;
    assert!(tried.passed && tried.message.starts_with("connected in "), "{tried:?}");
    let tried = ask(TCP, Route::Address(closed().await)).await;
    assert_eq!((tried.passed, tried.message.as_str()), (false, "connection refused"));
}

#[tokio::test]
async fn tcp_by_published_port_wants_a_peer_that_speaks_or_stays() {
    let (at, _tasks) = hanging_up().await;
    let tried = ask(TCP, published(at)).await;
    assert_eq!(
        (tried.passed, tried.message.as_str()),
        (false, "the published port accepts and hangs up: nothing listens behind it")
    );
    let (at, _tasks) = silent().await;
    assert!(ask(TCP, published(at)).await.passed, "it stays");
    let (at, _tasks) = server(|mut s| async move {
        let _ = s.write_all(b"220 hello").await;
    })
    .await;
    assert!(ask(TCP, published(at)).await.passed, "it speaks");
}

#[tokio::test]
async fn http_passes_on_a_status_within_the_ranges() {
    let (at, _tasks) = answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let tried = ask(http("/health"), Route::Address(at)).await;
    assert_eq!((tried.passed, tried.message.as_str()), (true, "HTTP 200 from /health"));

    let (at, _tasks) = answering("HTTP/1.1 503 Service Unavailable\r\n\r\n").await;
    let tried = ask(http("/health"), Route::Address(at)).await;
    assert_eq!((tried.passed, tried.message.as_str()), (false, "HTTP 503 from /health"));
    let only_503 = Check::Http {
        port: 80,
        path: "/health".into(),
        status: StatusRanges::parse("503").unwrap(),
        headers: [].into(),
    };
    assert!(ask(only_503, Route::Address(at)).await.passed);
}

#[tokio::test]
async fn http_skips_interim_answers() {
    let (at, _tasks) = answering(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.0 204 No Content\r\n\r\n",
    )
    .await;
    assert_eq!(ask(http("/"), Route::Address(at)).await.message, "HTTP 204 from /");
}

#[tokio::test]
async fn http_sends_its_headers_and_what_was_asked_for() {
    let (tx, mut seen) = mpsc::unbounded_channel();
    let (at, _tasks) = server(move |mut stream| {
        let tx = tx.clone();
        async move {
            let mut request = vec![0; 4096];
            let n = stream.read(&mut request).await.unwrap();
            tx.send(String::from_utf8_lossy(&request[..n]).into_owned()).unwrap();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        }
    })
    .await;
    let check = |headers: &[(&str, &str)]| Check::Http {
        port: 8080,
        path: "/a?b=c".into(),
        status: StatusRanges::default(),
        headers: headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    };
    assert!(ask(check(&[("X-Token", "t")]), Route::Address(at)).await.passed);
    let request = seen.recv().await.unwrap();
    assert!(request.starts_with("GET /a?b=c HTTP/1.1\r\nHost: localhost:8080\r\n"), "{request}");
    assert!(request.contains("\r\nX-Token: t\r\n") && request.ends_with("\r\nConnection: close\r\n\r\n"), "{request}");

    assert!(ask(check(&[("host", "example.org")]), Route::Address(at)).await.passed);
    let request = seen.recv().await.unwrap();
    assert!(request.contains("\r\nhost: example.org\r\n") && !request.contains("localhost"), "{request}");

    let tried = ask(check(&[("X", "a\r\nY: b")]), Route::Address(at)).await;
    assert_eq!(tried.message, "\"X\" is not a header");
}

#[tokio::test]
async fn http_says_what_is_not_http() {
    let (at, _tasks) = answering("-ERR unknown command\r\n\r\n").await;
    assert_eq!(ask(http("/"), Route::Address(at)).await.message, "the answer is not HTTP");
    let (at, _tasks) = answering("").await;
    let tried = ask(http("/"), Route::Address(at)).await;
    assert_eq!(tried.message, "connection closed by the peer without an answer");
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let (at, _tasks) = server(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b'x'; 8192]).await.is_ok() {}
    })
    .await;
    assert!(ask(http("/"), Route::Address(at)).await.passed);
    let (at, _tasks) = server(|mut stream| async move { while stream.write_all(&[b'x'; 8192]).await.is_ok() {} }).await;
    assert_eq!(ask(http("/"), Route::Address(at)).await.message, "the answer is not HTTP");
    assert!(!ask(line("", "never"), Route::Address(at)).await.passed);
}

#[tokio::test]
async fn redis_passes_on_pong_and_on_a_demand_for_a_password() {
    for (answer, passed, message) in [
        ("+PONG\r\n", true, "PING answered in "),
        ("-NOAUTH Authentication required.\r\n", true, "PING answered in "),
        (
            "-LOADING Redis is loading the dataset in memory\r\n",
            false,
            "PING: LOADING Redis is loading the dataset in memory",
        ),
        ("HTTP/1.1 400 Bad Request\r\n", false, "the answer to PING is not Redis"),
        ("+PO", false, "connection closed by the peer without an answer"),
        ("", false, "connection closed by the peer without an answer"),
    ] {
        let (at, _tasks) = answering(answer).await;
        let tried = ask(REDIS, Route::Address(at)).await;
        assert!(tried.passed == passed && tried.message.starts_with(message), "{answer}: {tried:?}");
    }
    let (at, _tasks) = answering("-NOAUTH Authentication required.\r\n").await;
    assert!(ask(REDIS, Route::Address(at)).await.message.ends_with("(it asks for a password)"));
}

#[tokio::test]
async fn line_passes_on_a_line_that_contains_the_text_and_shows_it() {
    let (at, _tasks) = answering("Zookeeper version: 3.8\nMode: standalone\nNode count: 5\n").await;
    let tried = ask(line("srvr", "Mode: "), Route::Address(at)).await;
    assert_eq!((tried.passed, tried.message.as_str()), (true, "Mode: standalone"));
    let tried = ask(line("srvr", "Mode: leader"), Route::Address(at)).await;
    assert_eq!(
        (tried.passed, tried.message.as_str()),
        (false, "no line of the answer contains `Mode: leader`; it begins: Zookeeper version: 3.8")
    );
}

#[tokio::test]
async fn line_waits_for_the_end_of_a_line_that_comes_in_pieces() {
    let (at, _tasks) = server(|mut stream| async move {
        let mut seen = [0; 4];
        stream.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen, b"srvr");
        for piece in ["Mo", "de: stand", "alone\n"] {
            stream.write_all(piece.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
        std::future::pending::<()>().await;
    })
    .await;
    assert_eq!(ask(line("srvr", "Mode: "), Route::Address(at)).await.message, "Mode: standalone");
}

#[tokio::test]
async fn every_kind_gives_up_on_a_peer_that_says_nothing() {
    let (at, _tasks) = silent().await;
    for check in [http("/"), REDIS, line("x", "y"), Check::Grpc { port: 1, service: String::new() }] {
        let kind = check.kind();
        let tried = ask_within(check, Route::Address(at), ms(30)).await;
        assert_eq!((tried.passed, tried.message.as_str()), (false, "no answer within 30 ms"), "{kind}");
    }
}

#[tokio::test]
async fn every_kind_says_that_nothing_listens() {
    let at = closed().await;
    for check in [http("/"), REDIS, TCP, line("x", "y"), Check::Grpc { port: 1, service: String::new() }] {
        let kind = check.kind();
        let tried = ask(check, Route::Address(at)).await;
        assert_eq!((tried.passed, tried.message.as_str()), (false, "connection refused"), "{kind}");
    }
    let (at, _tasks) = hanging_up().await;
    for check in [http("/"), REDIS, line("x", "y")] {
        let kind = check.kind();
        let tried = ask(check, published(at)).await;
        assert_eq!(tried.message, "connection closed by the peer without an answer", "{kind}");
    }
}

#[tokio::test]
async fn p15_exec_quotes_the_last_line_and_masks_secrets() {
    let engine =
        ScriptedEngine::default().exec(|_, _| Box::pin(async { Ok(ended(7, "one\nlogin with hunter2 failed\n\n")) }));
    let masked = target("a").masking([Secret::new("hunter2"), Secret::new("x")]);
    let tried = attempt(&engine, &masked, &exec("login"), &Route::Exec, None).await;
    assert_eq!(tried.message, "exit code 7: login with <secret> failed");
}

#[tokio::test]
async fn exec_errors_of_the_engine_are_failures() {
    let engine = ScriptedEngine::default().exec(|_, _| {
        Box::pin(async { Err(EngineError::new("exec", "kafka", ErrorKind::NotFound, "no such container")) })
    });
    let tried = attempt(&engine, &target("a"), &exec("x"), &Route::Exec, None).await;
    assert_eq!((tried.passed, tried.message.as_str()), (false, "no such container"));
}

#[tokio::test]
async fn long_and_coloured_output_is_cut_to_a_table_cell() {
    let engine = ScriptedEngine::default()
        .exec(|_, _| Box::pin(async { Ok(ended(1, &format!("\u{1b}[31m{}", "é".repeat(500)))) }));
    let tried = attempt(&engine, &target("a"), &exec("x"), &Route::Exec, None).await;
    assert!(tried.message.chars().count() < 200 && tried.message.ends_with('…'), "{}", tried.message);
    assert!(!tried.message.contains('\u{1b}'));
}

#[tokio::test]
async fn grpc_asks_the_health_service() {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("ready.Service", tonic_health::ServingStatus::Serving).await;
    reporter.set_service_status("sick.Service", tonic_health::ServingStatus::NotServing).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let incoming = futures_util::stream::unfold(listener, |l| async {
            let accepted = l.accept().await.map(|(stream, _)| stream);
            Some((accepted, l))
        });
        let incoming = Box::pin(incoming);
        let _ = tonic::transport::Server::builder().add_service(health).serve_with_incoming(incoming).await;
    });
    let ask_for = |service: &str| ask(Check::Grpc { port: 1, service: service.to_owned() }, Route::Address(at));
    let tried = ask_for("").await;
    assert!(tried.passed && tried.message.starts_with("SERVING in "), "{tried:?}");
    assert!(ask_for("ready.Service").await.passed);
    let tried = ask_for("sick.Service").await;
    assert_eq!((tried.passed, tried.message.as_str()), (false, "NOT_SERVING"));
    assert_eq!(ask_for("other").await.message, "the server's health service does not know `other`");

    let (at, _tasks) = answering("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let tried = ask(Check::Grpc { port: 1, service: String::new() }, Route::Address(at)).await;
    assert_eq!((tried.passed, tried.message.as_str()), (false, "the peer hangs up, or does not speak gRPC"));
}

#[tokio::test]
async fn docker_repeats_the_engines_verdict() {
    let engine = ScriptedEngine::default().inspect(|_| Ok(None));
    let tried = attempt(&engine, &target("a"), &probe(Check::Docker), &Route::Engine, None).await;
    assert_eq!((tried.passed, tried.message.as_str()), (false, "the container is gone"));
}

#[tokio::test]
async fn a_route_that_leads_nowhere_gives_way_to_the_next() {
    // No TCP connection can be made to the broadcast address; the kernel says so at once.
    let (at, _tasks) = silent().await;
    let target = Target {
        addresses: vec!["255.255.255.255".parse().unwrap()],
        published: vec![crate::resource::spec::Port {
            host_ip: Some("127.0.0.1".into()),
            host_port: Some(at.port()),
            container_port: 80,
            protocol: crate::resource::spec::Protocol::Tcp,
        }],
        ..target("a")
    };
    let brief = Probe { timeout: ms(100), ..probe(Check::Tcp { port: 80 }) };
    let probes = Probes { readiness: Some(brief), ..Probes::default() };
    assert_eq!(probe_once(&ScriptedEngine::default(), &target, &probes).await.ready, Some(true));

    let (tx, mut edges) = mpsc::unbounded_channel();
    let watcher = Arc::new(Prober::new(Arc::new(ScriptedEngine::default()), Arc::new(Zero), move |k| {
        let _ = tx.send(k);
    }));
    let running = watcher.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { running.run().await });
    let key = ResourceKey::service("a");
    watcher.want(&key, std::slice::from_ref(&target), &probes);
    timeout(Duration::from_secs(30), async {
        while watcher.state(&key, &target.container, target.started_at).ready != Some(true) {
            edges.recv().await;
        }
    })
    .await
    .expect("the second route is found");
    assert!(watcher.last(&key, &target.container)[0].route.starts_with("published port 127.0.0.1:"));
}
