//! A prober on the paused clock, over an engine whose answers a test gives.

use super::*;

/// Commands run, with when; and what they answer.
pub struct Script {
    pub begun: Instant,
    pub runs: Mutex<Vec<(String, u64)>>,
    /// By command; passes where nothing is said.
    pub answers: Mutex<std::collections::BTreeMap<String, Answer>>,
    pub in_flight: AtomicUsize,
    pub most_in_flight: AtomicUsize,
    pub hanging: AtomicUsize,
    pub asked_whether_running: AtomicUsize,
}

#[derive(Clone)]
pub enum Answer {
    Code(i64, &'static str),
    Takes(Duration),
    Hangs,
    /// The engine does not put the question.
    Fails(ErrorKind),
}

impl Script {
    pub fn say(&self, command: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(command.to_owned(), answer);
    }

    /// Milliseconds at which a command was run.
    pub fn times(&self, command: &str) -> Vec<u64> {
        self.runs.lock().unwrap().iter().filter(|(c, _)| c == command).map(|(_, at)| *at).collect()
    }

    pub async fn run(self: Arc<Self>, command: String, limit: Duration) -> crate::engine::Result<ExecResult> {
        let at = u64::try_from(self.begun.elapsed().as_millis()).unwrap();
        self.runs.lock().unwrap().push((command.clone(), at));
        let answer = self.answers.lock().unwrap().get(&command).cloned().unwrap_or(Answer::Code(0, ""));
        let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_in_flight.fetch_max(now, Ordering::SeqCst);
        let result = match answer {
            Answer::Code(code, output) => Ok(ended(code, output)),
            Answer::Takes(d) => {
                tokio::time::sleep(d).await;
                Ok(ended(0, ""))
            }
            Answer::Fails(kind) => Err(EngineError::new("run a command in", "kafka", kind, "the engine is away")),
            Answer::Hangs => {
                tokio::time::sleep(limit).await;
                self.hanging.store(1, Ordering::SeqCst);
                Ok(ExecResult::TimedOut { exec_id: "e1".to_owned() })
            }
        };
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        result
    }
}

/// What the meter was told: of which key and probe, whether it passed, milliseconds.
pub type Metered = (ResourceKey, ProbeRole, bool, u128);

pub struct World {
    pub prober: Arc<Prober<ScriptedEngine>>,
    pub script: Arc<Script>,
    pub edges: mpsc::UnboundedReceiver<ResourceKey>,
    pub metered: Arc<Mutex<Vec<Metered>>>,
    _tasks: JoinSet<()>,
}

pub fn world() -> World {
    let script = Arc::new(Script {
        begun: Instant::now(),
        runs: Mutex::default(),
        answers: Mutex::default(),
        in_flight: AtomicUsize::new(0),
        most_in_flight: AtomicUsize::new(0),
        hanging: AtomicUsize::new(0),
        asked_whether_running: AtomicUsize::new(0),
    });
    let (on_exec, on_running) = (script.clone(), script.clone());
    let on_inspect = script.clone();
    let engine = ScriptedEngine::default()
        .inspect(move |_| {
            let at = u64::try_from(on_inspect.begun.elapsed().as_millis()).unwrap();
            on_inspect.runs.lock().unwrap().push(("inspect".to_owned(), at));
            Ok(None)
        })
        .exec(move |command, limit| Box::pin(on_exec.clone().run(command.join(" "), limit)))
        .exec_running(move |_| {
            on_running.asked_whether_running.fetch_add(1, Ordering::SeqCst);
            Ok(on_running.hanging.load(Ordering::SeqCst) > 0)
        });
    let (tx, edges) = mpsc::unbounded_channel();
    let prober = Prober::new(Arc::new(engine), Arc::new(Zero), move |key| {
        let _ = tx.send(key);
    });
    let metered = Arc::new(Mutex::new(Vec::new()));
    let told = metered.clone();
    let prober = Arc::new(prober.with_meter(move |key, role, passed, took| {
        told.lock().unwrap().push((key.clone(), role, passed, took.as_millis()));
    }));
    let mut tasks = JoinSet::new();
    let running = prober.clone();
    tasks.spawn(async move { running.run().await });
    World { prober, script, edges, metered, _tasks: tasks }
}

impl World {
    /// Lets virtual time pass: the paused clock jumps to whatever is due next.
    pub async fn pass(&self, d: Duration) {
        tokio::time::sleep(d).await;
    }

    pub fn state(&self, id: &str) -> ProbeState {
        self.prober.state(&key(), &ContainerId::new(id), target(id).started_at)
    }

    pub fn edge_count(&mut self) -> usize {
        std::iter::from_fn(|| self.edges.try_recv().ok()).count()
    }
}

pub fn key() -> ResourceKey {
    ResourceKey::service("kafka")
}

pub fn readiness(probe: Probe) -> Probes {
    Probes { readiness: Some(probe), ..Probes::default() }
}
