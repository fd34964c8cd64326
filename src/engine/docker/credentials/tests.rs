use std::os::unix::fs::PermissionsExt;

use super::*;

struct World {
    home: tempfile::TempDir,
}

fn world(config: &str) -> World {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("bin")).unwrap();
    std::fs::write(home.path().join("config.json"), config).unwrap();
    World { home }
}

impl World {
    /// A helper on the search path that is a shell script; `$server` is what it was asked for.
    fn helper(&self, name: &str, script: &str) {
        let path = self.home.path().join("bin").join(format!("docker-credential-{name}"));
        std::fs::write(&path, format!("#!/bin/sh\nread -r server\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    async fn lookup(&self, image: &str) -> Result<Option<RegistryAuth>, CredentialError> {
        let home = self.home.path().to_string_lossy().into_owned();
        let keychain = Keychain::new(&|name| match name {
            "DOCKER_CONFIG" => Some(home.clone()),
            "PATH" => Some(format!("{home}/bin")),
            _ => None,
        });
        keychain.lookup(&ImageRef::parse(image).unwrap()).await
    }

    async fn login(&self, image: &str) -> Option<(String, String)> {
        match self.lookup(image).await.unwrap()?.login {
            Login::Password { username, password } => {
                let text = |s: Secret| String::from_utf8(s.reveal().to_vec()).unwrap();
                Some((text(username), text(password)))
            }
            other => panic!("{other:?}"),
        }
    }
}

fn pair(user: &str, password: &str) -> (String, String) {
    (user.to_owned(), password.to_owned())
}

#[tokio::test]
async fn without_configuration_pulls_are_anonymous() {
    assert_eq!(world("{}").lookup("redis").await.unwrap(), None);
    let nowhere = Keychain::new(&|_| None);
    assert_eq!(nowhere.lookup(&ImageRef::parse("redis").unwrap()).await.unwrap(), None);
    let missing = Keychain::new(&|n| (n == "DOCKER_CONFIG").then(|| "/nowhere".to_owned()));
    assert_eq!(missing.lookup(&ImageRef::parse("redis").unwrap()).await.unwrap(), None);
}

#[tokio::test]
async fn auths_are_found_by_registry_however_it_is_written() {
    // me:pa:ss, hub:word, zero:pad and two zeros
    let w = world(
        r#"{"auths": {
            "ghcr.io": {"auth": "bWU6cGE6c3M="},
            "https://index.docker.io/v1/": {"auth": "aHViOndvcmQ="},
            "https://127.0.0.1:5000/v2/": {"auth": "emVybzpwYWQAAA=="},
            "plain.example": {"username": "u", "password": "p"},
            "empty.example": {}
        }}"#,
    );
    assert_eq!(w.login("ghcr.io/a/b:1").await, Some(pair("me", "pa:ss")));
    assert_eq!(w.login("redis:7").await, Some(pair("hub", "word")));
    assert_eq!(w.login("docker.io/library/redis").await, Some(pair("hub", "word")));
    assert_eq!(w.login("127.0.0.1:5000/x").await, Some(pair("zero", "pad")));
    assert_eq!(w.login("plain.example/x").await, Some(pair("u", "p")));
    assert_eq!(w.login("empty.example/x").await, None);
    assert_eq!(w.login("quay.io/x").await, None);
}

#[tokio::test]
async fn tokens_are_handed_on_as_tokens() {
    let w = world(r#"{"auths": {"a.io": {"auth": "eDp5", "identitytoken": "idt"}, "b.io": {"registrytoken": "rt"}}}"#);
    let auth = w.lookup("a.io/x").await.unwrap().unwrap().reveal();
    assert_eq!(
        (auth.identitytoken.as_deref(), auth.password, auth.serveraddress.as_deref()),
        (Some("idt"), None, Some("a.io"))
    );
    let auth = w.lookup("b.io/x").await.unwrap().unwrap().reveal();
    assert_eq!(auth.registrytoken.as_deref(), Some("rt"));
}

#[tokio::test]
async fn a_helper_for_the_registry_comes_before_the_store_for_all() {
    let w = world(r#"{"credHelpers": {"ghcr.io": "one"}, "credsStore": "all"}"#);
    w.helper("one", r#"echo "{\"ServerURL\":\"$server\",\"Username\":\"one\",\"Secret\":\"for $server\"}""#);
    w.helper("all", r#"echo "{\"ServerURL\":\"$server\",\"Username\":\"all\",\"Secret\":\"for $server\"}""#);
    assert_eq!(w.login("ghcr.io/x").await, Some(pair("one", "for ghcr.io")));
    assert_eq!(w.login("redis").await, Some(pair("all", "for https://index.docker.io/v1/")));
}

#[tokio::test]
async fn a_helper_that_has_none_leaves_it_to_auths() {
    let w = world(r#"{"credsStore": "none", "auths": {"ghcr.io": {"auth": "bWU6cGE6c3M="}}}"#);
    w.helper("none", "echo credentials not found in native keychain; exit 1");
    assert_eq!(w.login("ghcr.io/x").await, Some(pair("me", "pa:ss")));
    assert_eq!(w.login("quay.io/x").await, None);
}

#[tokio::test]
async fn a_helpers_token_is_a_token() {
    let w = world(r#"{"credsStore": "t"}"#);
    w.helper("t", r#"echo '{"ServerURL":"x","Username":"<token>","Secret":"idt"}'"#);
    assert_eq!(w.lookup("ghcr.io/x").await.unwrap().unwrap().reveal().identitytoken.as_deref(), Some("idt"));
}

#[tokio::test]
async fn what_is_wrong_with_a_helper_is_said() {
    let w = world(r#"{"credsStore": "gone"}"#);
    let error = w.lookup("ghcr.io/x").await.unwrap_err().to_string();
    assert!(error.contains("`docker-credential-gone` for ghcr.io, which is not on the PATH"), "{error}");

    let w = world(r#"{"credsStore": "../../bin/evil"}"#);
    assert!(matches!(w.lookup("ghcr.io/x").await, Err(CredentialError::NoHelper { .. })), "only names are run");

    let w = world(r#"{"credsStore": "locked"}"#);
    w.helper("locked", "echo the keyring is locked; exit 3");
    let error = w.lookup("ghcr.io/x").await.unwrap_err().to_string();
    assert_eq!(error, "the credential helper `docker-credential-locked` failed for ghcr.io: the keyring is locked");

    w.helper("locked", "echo nonsense");
    let error = w.lookup("ghcr.io/x").await.unwrap_err().to_string();
    assert!(error.ends_with("its answer is not as the protocol has it"), "{error}");
}

#[tokio::test]
async fn a_helper_that_reads_nothing_and_says_too_much_does_no_harm() {
    let w = world(r#"{"credsStore": "loud"}"#);
    let path = w.home.path().join("bin/docker-credential-loud");
    std::fs::write(&path, "#!/bin/sh\nexec 0<&-\nexec /usr/bin/head -c 10000000 /dev/zero\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(w.lookup("ghcr.io/x").await, Err(CredentialError::HelperFailed { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_helper_that_hangs_is_given_up() {
    let w = world(r#"{"credsStore": "slow"}"#);
    w.helper("slow", "exec /bin/sleep 600");
    let error = w.lookup("ghcr.io/x").await.unwrap_err().to_string();
    assert_eq!(error, "the credential helper `docker-credential-slow` did not answer for ghcr.io within 10 s");
}

#[tokio::test]
async fn secrets_are_in_no_text() {
    let w = world(
        r#"{"credsStore": "bad", "auths": {"a.io": {"auth": "!!hunter2!!"}, "b.io": {"auth": "aHVudGVyMg=="}, "c.io": {"auth": "bWU6aHVudGVyMg=="}}}"#,
    );
    let config = UserConfig::read(w.home.path()).unwrap();
    assert!(!format!("{:?}", config.auths).contains("unter2"));
    w.helper("bad", r#"echo '{"Username":"me","Secret":"hunter2"}'; exit 1"#);
    let error = format!("{:?}", w.lookup("d.io/x").await.unwrap_err());
    assert!(!error.contains("hunter2"), "{error}");
    w.helper("bad", "echo credentials not found; exit 1");
    for image in ["a.io/x", "b.io/x"] {
        let error = w.lookup(image).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
    let auth = w.lookup("c.io/x").await.unwrap().unwrap();
    assert_eq!(auth.to_string(), "credentials for c.io");
    assert!(!format!("{auth:?}").contains("hunter2"), "{auth:?}");
    assert_eq!(auth.reveal().password.as_deref(), Some("hunter2"));
}
