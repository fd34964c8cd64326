//! Redis is away, comes back, hangs, or is something else.

use super::*;

#[tokio::test]
async fn p20_what_was_taken_is_there_after_redis_was_killed() {
    let Some(mut rig) = Rig::new().await else { return };
    rig.submit(&[short("low"), new("high", Class::CpuShort, 5), short("last")]).await;
    rig.redis.kill();
    assert!(matches!(rig.store.ready().await, Err(StoreError::NotReady(_))));
    rig.redis.start_again().await;
    let other = RedisStore::connect(&rig.settings, "test").unwrap();
    other.ready().await.unwrap();
    let leases = rig.lease(Class::CpuShort, 10).await;
    assert_eq!(names(&leases), ["high", "low", "last"]);
    assert_eq!(rig.state("last").await, State::Running);
}

#[tokio::test]
async fn while_redis_reads_its_file_back_it_is_said_so() {
    const BATCHES: usize = 10;
    let Some(mut rig) = Rig::new().await else { return };
    // While it loads, Redis looks at its connections once in 1,024 commands of the file.
    for batch in 0..BATCHES {
        rig.submit(&(0..200).map(|i| short(&format!("t{batch}-{i}"))).collect::<Vec<_>>()).await;
    }
    rig.redis.kill();
    // Microseconds for each command of the file.
    rig.redis.set("key-load-delay", "300");
    rig.redis.spawn().unwrap();
    let why = until("it loads", async || match rig.store.ready().await {
        Err(StoreError::NotReady(why)) if why.contains("reads its file back") => Some(why),
        Ok(()) => panic!("it was ready at once"),
        Err(_) => None,
    })
    .await;
    let came = rig.store.submit(&[short("new")]).await;
    assert!(matches!(came, Err(StoreError::NotReady(_)) | Ok(_)), "{why}: {came:?}");
    until("it is ready", async || rig.store.ready().await.ok()).await;
    assert_eq!(
        rig.store.depths().await.unwrap().by_class.of(Class::CpuShort).waiting,
        200 * BATCHES as u64 + u64::from(came.is_ok())
    );
}

#[tokio::test]
async fn p20_a_call_that_timed_out_may_be_sent_again() {
    let Some(rig) = Rig::new().await else { return };
    rig.submit(&[short("before")]).await;
    let lease = rig.one(Class::CpuShort).await;
    let pid = rustix::process::Pid::from_raw(i32::try_from(rig.redis.pid().unwrap()).unwrap()).unwrap();
    let signal = |signal| rustix::process::kill_process(pid, signal).unwrap();
    signal(rustix::process::Signal::STOP);
    let (task, result) = ([short("t")], json("1"));
    let (submitted, completed) =
        tokio::join!(rig.store.submit(&task), rig.store.complete(&lease.id, &lease.token, &result));
    signal(rustix::process::Signal::CONT);
    assert!(matches!(&submitted, Err(StoreError::NotReady(why)) if why.contains("no answer")), "{submitted:?}");
    assert!(matches!(&completed, Err(StoreError::NotReady(why)) if why.contains("no answer")), "{completed:?}");
    // Both have taken effect.
    assert_eq!(rig.store.submit(&task).await.unwrap(), [Submitted::Same]);
    assert_eq!(rig.store.complete(&lease.id, &lease.token, &result).await.unwrap(), Answer::Ok);
    assert_eq!(rig.lease(Class::CpuShort, 9).await.len(), 1);
}

#[tokio::test]
async fn nobody_at_the_address_is_said_and_waits_for_nobody() {
    let Some(mut rig) = Rig::new().await else { return };
    rig.redis.kill();
    let why = rig.store.submit(&[short("t")]).await.unwrap_err().to_string();
    assert_eq!(why, format!("Redis is not ready: nothing listens at 127.0.0.1:{}", rig.redis.port()));
    let events = rig.store.events(Position::default(), 1, Duration::ZERO).await.unwrap_err();
    assert!(matches!(events, StoreError::NotReady(_)), "{events:?}");
    rig.redis.start_again().await;
    until("it is there", async || rig.store.ready().await.ok()).await;
    rig.submit(&[short("t")]).await;
}

#[tokio::test]
async fn a_password_is_asked_for_and_never_shown() {
    let Some(redis) = RedisServer::start(&["--requirepass", "sesame"]).await else { return };
    let host = format!("127.0.0.1:{}", redis.port());
    let rig = Rig::on(redis, |_| {});
    let why = rig.store.ready().await.unwrap_err();
    assert!(matches!(&why, StoreError::NotReady(why) if why.contains("wants a password")), "{why:?}");

    let with =
        |url: String| RedisStore::connect(&TaskSettings { redis: url, ..TaskSettings::default() }, "test").unwrap();
    let wrong = with(format!("redis://:open-barley@{host}"));
    for _ in 0..2 {
        let why = wrong.ready().await.unwrap_err();
        let said = format!("{why} {why:?} {}", wrong.address());
        assert!(said.contains("refuses the password") && !said.contains("barley"), "{said}");
    }
    let right = with(format!("redis://:sesame@{host}"));
    right.ready().await.unwrap();
    // Once it is the right one, it is taken.
    let connection = ::redis::Client::open(format!("redis://:sesame@{host}/")).unwrap();
    let connection = connection.get_multiplexed_async_connection().await;
    let set = ["CONFIG", "SET", "requirepass", "open-barley"];
    let mut command = ::redis::Cmd::new();
    set.iter().fold(&mut command, |command, word| command.arg(*word));
    command.query_async::<()>(&mut connection.unwrap()).await.unwrap();
    until("the other password counts", async || wrong.ready().await.ok()).await;
}

#[tokio::test]
async fn what_is_no_address_is_refused_without_repeating_it() {
    for url in ["", "localhost:6379", "http://user:sesame@host", "redis://:sesame@host:port"] {
        let settings = TaskSettings { redis: url.to_owned(), ..TaskSettings::default() };
        let Err(why) = RedisStore::connect(&settings, "test") else { panic!("{url} was taken") };
        assert!(why.contains("redis://") && !why.contains("sesame"), "{why}");
    }
}

#[tokio::test]
async fn a_socket_is_an_address_too() {
    let Some(redis) = RedisServer::start(&[]).await else { return };
    let url = redis.socket_url();
    let rig = Rig::on(redis, |s| s.redis = url);
    rig.store.ready().await.unwrap();
    rig.submit(&[short("t")]).await;
    assert!(rig.store.address().ends_with("redis.sock"), "{}", rig.store.address());
}

#[tokio::test]
async fn something_that_is_no_redis_is_not_ready() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let settings = TaskSettings { redis: url, ..TaskSettings::default() };
    let store = RedisStore::connect(&settings, "test").unwrap();
    let serve = async {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n";
            tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await.unwrap();
        }
    };
    let came = tokio::select! { came = store.ready() => came, () = serve => unreachable!() };
    assert!(matches!(came, Err(StoreError::NotReady(_) | StoreError::Unexpected(_))), "{came:?}");
}

#[tokio::test]
async fn scripts_that_redis_has_forgotten_are_loaded_again() {
    let Some(rig) = Rig::new().await else { return };
    for name in ["a", "b"] {
        let _: () = rig.redis.command(&["SCRIPT", "FLUSH"]).await.unwrap();
        rig.submit(&[short(name)]).await;
        let _: () = rig.redis.command(&["SCRIPT", "FLUSH"]).await.unwrap();
        assert_eq!(names(&rig.lease(Class::CpuShort, 1).await), [name]);
    }
}
