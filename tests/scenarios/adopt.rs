//! What Compose has started is observed or taken over (`docs/adoption.md`; P4, P17, rules 5, 9 and 14).

use std::process::{Command, Output};

use serde_json::Value;

use crate::stack::engine::{IMAGE, inspect};
use crate::stack::{Stack, docker, free_port, idle, service, text};

const REDIS: &str = "env-manager-local/redis:7";

/// A project of three in Compose's hands: a database with data, a web server, and a one-shot that is done.
pub struct Project<'s> {
    stack: &'s Stack,
    pub name: String,
    pub port: u16,
}

impl<'s> Project<'s> {
    pub fn up(stack: &'s Stack) -> Self {
        let project = Self { stack, name: stack.scope.name("shop"), port: free_port() };
        let folder = project.folder();
        std::fs::create_dir_all(folder.join("site")).expect("a folder");
        std::fs::write(folder.join("site/index.html"), "the shop\n").expect("a file");
        let text = format!(
            "version: '3.7'\n\
             services:\n\
             \x20 database:\n\
             \x20   image: {REDIS}\n\
             \x20   command: redis-server --appendonly yes --dir /data\n\
             \x20   environment: {{ PASSWORD: canary-of-the-shop }}\n\
             \x20   volumes: ['{scope}-data:/data']\n\
             \x20   restart: always\n\
             \x20 web:\n\
             \x20   image: {IMAGE}\n\
             \x20   command: httpd -f -p 80 -h /www\n\
             \x20   ports: ['127.0.0.1:{}:80']\n\
             \x20   volumes: ['./site:/www:ro']\n\
             \x20   depends_on: [database]\n\
             \x20 migrate:\n\
             \x20   image: {IMAGE}\n\
             \x20   command: [sh, -c, 'echo run >> /runs/log']\n\
             \x20   volumes: ['{scope}-runs:/runs']\n\
             volumes: {{ {scope}-data: {{}}, {scope}-runs: {{}} }}\n",
            project.port,
            scope = stack.name(),
        );
        std::fs::write(folder.join("docker-compose.yml"), text).expect("a file");
        project.compose(&["up", "-d"]);
        docker(&["wait", &project.container("migrate")]);
        assert_eq!(redis(&project.container("database"), &["set", "order", "1 barrel"]), "OK");
        project
    }

    fn folder(&self) -> std::path::PathBuf {
        self.stack.home().join("compose")
    }

    /// As Compose calls it.
    pub fn container(&self, service: &str) -> String {
        format!("{}_{service}_1", self.name)
    }

    pub fn compose(&self, arguments: &[&str]) -> String {
        let output = self.compose_output(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "docker-compose {arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub fn compose_output(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("docker-compose");
        command.args(["-p", &self.name]).args(arguments).current_dir(self.folder());
        command.output().expect("deploy/test-tools installs docker-compose")
    }

    /// Manifests of the three, with what Compose's file says and no more.
    pub fn describe(&self, adopt: &str) {
        let adopt = format!("adopt: {{ policy: {adopt}, composeProject: \"${{SCOPE}}-shop\" }}");
        let ping = "probes: { readiness: { exec: { command: [redis-cli, ping] }, interval: 1s } }";
        let one_shot = "command: [sh, -c, \"echo run >> /runs/log\"]\nvolumes: [\"${SCOPE}-runs:/runs\"]\nrestart: No";
        self.stack.describe(&[
            service(
                "database",
                &format!(
                    "image: {REDIS}\ncommand: redis-server --appendonly yes --dir /data\n{ping}\nrestart: Always\n\
                     env: {{ PASSWORD: another }}\nvolumes: [\"${{SCOPE}}-data:/data\"]\n{adopt}"
                ),
            ),
            service(
                "web",
                &format!(
                    "image: {IMAGE}\ncommand: httpd -f -p 80 -h /www\nports: [\"127.0.0.1:{}:80\"]\n\
                     probes: {{ readiness: {{ http: {{ port: 80, path: / }}, interval: 1s }} }}\n\
                     dependsOn: [database]\n{adopt}",
                    self.port
                ),
            ),
            service("migrate", &format!("image: {IMAGE}\n{one_shot}\n{adopt}")),
        ]);
    }

    /// As the engine calls it.
    fn volume(&self, name: &str) -> String {
        format!("{}_{}-{name}", self.name, self.stack.name())
    }

    pub fn ids(&self) -> Vec<String> {
        ["database", "migrate", "web"].map(|s| text(&inspect(&self.container(s))["Id"])).into()
    }

    fn page(&self) -> String {
        let address = format!("http://127.0.0.1:{}/", self.port);
        let output = Command::new("busybox").args(["wget", "-q", "-O-", &address]).output();
        let output = output.expect("deploy/test-tools installs busybox");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        let _ = self.compose_output(&["down", "-v"]);
    }
}

fn redis(container: &str, command: &[&str]) -> String {
    docker(&[&["exec", container, "redis-cli"][..], command].concat())
}

fn mounts(container: &Value) -> Vec<(String, String)> {
    let mounts = container["Mounts"].as_array().expect("mounts");
    let source = |m: &Value| text(if m["Type"] == "volume" { &m["Name"] } else { &m["Source"] });
    mounts.iter().map(|m| (text(&m["Destination"]), source(m))).collect()
}

#[test]
fn p04_a_compose_project_of_three_is_taken_over_with_its_data_and_nothing_else_is_touched() {
    let stack = Stack::new("adopt");
    let project = Project::up(&stack);
    let bystander = docker(&["run", "-d", "--name", &stack.container("bystander"), IMAGE, "sleep", "1000000"]);
    let bystander_before = inspect(&bystander);
    let [database, migrate, web] = <[String; 3]>::try_from(project.ids()).expect("three");
    let before = project.compose(&["ps"]);
    assert_eq!(before.lines().filter(|l| l.contains(" Up ")).count(), 2, "{before}");

    project.describe("Replace");
    let plan = stack.plan().exits(2);
    assert!(!plan.out.contains("canary-of-the-shop") && plan.out.contains("env.PASSWORD"), "{plan}");
    assert!(text(&plan.change("database")).contains(&project.container("database")), "{plan}");
    let applied = stack.apply().exits(0);
    for name in ["database", "web"] {
        applied.is_ready(name);
    }

    // One of ours each, and what was Compose's is gone; but not the one-shot, which had run.
    assert_eq!(stack.names(), ["bystander", "database", "shop_migrate_1", "web"]);
    assert_ne!(stack.id("database"), database);
    assert_ne!(stack.id("web"), web);
    assert_eq!(text(&inspect(&project.container("migrate"))["Id"]), migrate);
    assert_eq!(
        docker(&["run", "--rm", "-v", &format!("{}:/runs", project.volume("runs")), IMAGE, "cat", "/runs/log"]),
        "run"
    );
    assert_eq!(text(&applied.service("migrate")["phase"]), "Completed", "{applied}");

    // No data lost: Compose's volume, whose name within the project is the manifest's.
    assert_eq!(redis(&stack.container("database"), &["get", "order"]), "1 barrel");
    assert_eq!(mounts(&stack.inspect("database")), [("/data".to_owned(), project.volume("data"))]);
    let volume: Value = serde_json::from_str(&docker(&["volume", "inspect", &project.volume("data")])).unwrap();
    assert!(volume[0]["Labels"]["dev.env-manager.stack"].is_null(), "never labelled: {volume}");
    // A folder that the manifest does not name is mounted as it was; the port is served.
    assert_eq!(
        mounts(&stack.inspect("web")),
        [("/www".to_owned(), text(&format!("{}/site", project.folder().display()).into()))]
    );
    assert_eq!(project.page(), "the shop\n");
    // And who is left of the project finds it where it was.
    let networks = stack.inspect("database")["NetworkSettings"]["Networks"].clone();
    let aliases = networks[format!("{}_default", project.name)]["Aliases"].as_array().expect("aliases").clone();
    assert!(aliases.contains(&"database".into()), "{networks}");
    assert!(networks.get(stack.network()).is_some(), "{networks}");

    let after = project.compose(&["ps"]);
    assert!(after.contains("migrate") && !after.contains("database_1") && !after.contains("web_1"), "{after}");
    let bystander_now = inspect(&bystander);
    for part in ["Id", "Name", "State", "HostConfig", "RestartCount"] {
        assert_eq!(bystander_now[part], bystander_before[part], "{part}");
    }

    // At rest; an edit replaces it as any other, with the data that it has.
    assert_eq!(stack.plan().exits(0).json()["changes"], false);
    let id = stack.id("database");
    project.describe("Replace");
    let edited = std::fs::read_to_string(stack.folder().join("database.yaml")).unwrap().replace("another", "third");
    stack.write("database.yaml", &edited);
    stack.apply().exits(0);
    assert_ne!(stack.id("database"), id);
    assert_eq!(redis(&stack.container("database"), &["get", "order"]), "1 barrel");
    assert_eq!(stack.plan().exits(0).json()["changes"], false);

    // What was never ours is not ours to remove.
    stack.run(&["down", "--volumes"]).exits(0);
    docker(&["volume", "inspect", &project.volume("data")]);
    assert_eq!(stack.names(), ["bystander", "shop_migrate_1"]);
}

#[test]
fn p17_what_is_observed_is_probed_and_reported_and_not_changed() {
    let stack = Stack::new("observe");
    let project = Project::up(&stack);
    let parts = |id: &String| {
        let seen = inspect(id);
        let networks = seen["NetworkSettings"]["Networks"].clone();
        (["Id", "Name", "State", "HostConfig", "Config", "RestartCount", "Mounts"].map(|p| seen[p].clone()), networks)
    };
    let ids = project.ids();
    let before: Vec<_> = ids.iter().map(parts).collect();

    project.describe("Observe");
    // One that depends on an observed one may count on it.
    stack.describe(&[idle("needs", "dependsOn: [database]")]);
    let applied = stack.apply().exits(0);
    let said = applied.service("database");
    for words in ["observed, never changed", &project.name, "not as described"] {
        assert!(text(&said["message"]).contains(words), "{words}: {applied}");
    }
    applied.is_ready("database");
    applied.is_ready("needs");
    assert_eq!(text(&applied.service("web")["phase"]), "Observed", "{applied}");
    assert_eq!(text(&applied.service("migrate")["phase"]), "Completed", "{applied}");
    assert_eq!(text(&applied.service("database")["containerId"]), ids[0]);
    assert!(!applied.out.contains("canary-of-the-shop"), "{applied}");
    // Drift is shown, and not planned.
    let plan = stack.plan().exits(0);
    assert_eq!(plan.json()["changes"], false, "{plan}");
    assert!(!plan.out.contains("canary-of-the-shop"), "{plan}");
    let after: Vec<_> = ids.iter().map(parts).collect();
    assert_eq!(after, before);

    // It fails: told, and left alone.
    docker(&["stop", "-t", "1", &ids[2]]);
    let status = stack.status().exits(0);
    let web = status.service("web");
    assert_eq!((text(&web["phase"]), &web["ready"]), ("Observed".to_owned(), &false.into()), "{status}");
    assert_eq!(inspect(&ids[2])["State"]["Running"], false);
    // It is gone: told, and none is made.
    docker(&["rm", "-f", &ids[2]]);
    let ran = stack.apply().was_stuck();
    ran.says("web", "NothingToObserve", &["service web of Compose project"]);
    stack.run(&["down"]).exits(0);
    assert_eq!(text(&inspect(&project.container("database"))["Id"]), ids[0]);
    assert_eq!(inspect(&ids[0])["State"]["Running"], true);
}

#[test]
fn p17_never_is_a_conflict_and_several_that_could_be_meant_are_named() {
    let stack = Stack::new("ambiguous");
    let service = format!("only-{}", std::process::id());
    let labelled = |project: &str, more: &[&str]| {
        let name = stack.scope.name(&format!("{project}_{service}_1"));
        let project = format!("com.docker.compose.project={project}");
        let label = format!("com.docker.compose.service={service}");
        let args = [&["run", "-d", "--name", &name, "--label", &project, "--label", &label][..], more].concat();
        docker(&[&args[..], &[IMAGE, "sleep", "1000000"]].concat())
    };
    let (one, other) = (labelled("a", &[]), labelled("b", &[]));
    let one_off = labelled("c", &["--label", "com.docker.compose.oneoff=True"]);
    stack.describe(&[idle(&service, "adopt: Replace")]);
    let ran = stack.apply().was_stuck();
    ran.says(&service, "AdoptionRefused", &[&one[..12], &other[..12], "none is touched", "composeProject"]);
    assert!(!ran.out.contains(&one_off[..12]), "{ran}");

    // With one left it is clear. It would vanish, though.
    docker(&["rm", "-f", &one, &other]);
    let vanishing = labelled("d", &["--rm"]);
    stack.apply().was_stuck().says(&service, "AdoptionRefused", &["--rm", &vanishing[..12]]);
    assert_eq!(inspect(&vanishing)["State"]["Running"], true);

    // By its name; and with `Never` it stays a conflict.
    docker(&["rm", "-f", &vanishing]);
    let named = docker(&["run", "-d", "--name", &stack.container(&service), IMAGE, "sleep", "1000000"]);
    stack.describe(&[idle(&service, "adopt: Never")]);
    stack.apply().was_stuck().says(&service, "NameConflict", &[&named[..12]]);
    stack.describe(&[idle(&service, "adopt: Replace")]);
    stack.apply().exits(0);
    assert_ne!(stack.id(&service), named);
    let label = &stack.inspect(&service)["Config"]["Labels"]["dev.env-manager.adopted-from"];
    assert_eq!(text(label), named);
    docker(&["rm", "-f", &one_off]);
    stack.is_converged(&[&service]);
}
