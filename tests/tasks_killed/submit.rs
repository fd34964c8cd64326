//! Those who submit: what they were told, what they were not told, and which calls were under way when.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use env_manager::proto::orchestrator::v1;
use env_manager::proto::orchestrator::v1::orchestrator_service_client::OrchestratorServiceClient;
use serde_json::json;
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

pub type Client = OrchestratorServiceClient<Channel>;

/// One that connects when it is first used, and again after each loss.
pub fn client(address: &str) -> Client {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    let endpoint = endpoint.connect_timeout(Duration::from_secs(5));
    OrchestratorServiceClient::new(endpoint.connect_lazy()).max_decoding_message_size(16 << 20)
}

/// After which a call counts as not answered.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(20);

pub fn id(number: u64) -> String {
    format!("t{number}")
}

pub fn number(id: &str) -> Option<u64> {
    id.strip_prefix('t')?.parse().ok()
}

/// What a task does: two in a hundred fail for good, two fail always, four once.
pub fn fails(number: u64) -> &'static str {
    match number % 50 {
        7 => "for good",
        17 => "always",
        3 | 33 => "once",
        _ => "never",
    }
}

/// In milliseconds: one in five takes its time, so that whoever is killed is at something.
fn takes(number: u64) -> u64 {
    if number.is_multiple_of(5) { 60 } else { number % 7 }
}

/// Always the same for a number, as it has to be for one that is sent again.
pub fn task(number: u64) -> v1::SubmitTaskRequest {
    let payload = json!({ "number": number, "fails": fails(number), "takes": takes(number) });
    v1::SubmitTaskRequest {
        id: id(number),
        class: "cpu_short".to_owned(),
        priority: i32::try_from(number % 3).unwrap_or_default(),
        payload_json: payload.to_string().into_bytes(),
        ..Default::default()
    }
}

/// What is known of submissions. Shared by all who submit.
#[derive(Default)]
pub struct Ledger(Mutex<Books>);

#[derive(Default)]
pub struct Books {
    /// Numbers below may be submitted.
    pub released: u64,
    next: u64,
    /// No more will be released.
    over: bool,
    pub acknowledged: BTreeSet<u64>,
    /// Calls that were not answered, and what they were about.
    pub unanswered: u64,
    pub in_doubt: BTreeSet<u64>,
    /// Of those: had been taken, as the repeated call says.
    pub had_been_taken: u64,
    calls: u64,
    /// Calls that are under way.
    pub open: BTreeSet<u64>,
    broken: BTreeSet<u64>,
    /// Answers that there is no excuse for.
    pub wrong: Vec<String>,
}

impl Ledger {
    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn release(&self, more: u64) {
        self.books().released += more;
    }

    /// Whoever has submitted what was released ends.
    pub fn close(&self) {
        self.books().over = true;
    }

    /// Of these calls, how many were not answered; `None`: some are still under way.
    pub fn broken(&self, calls: &BTreeSet<u64>) -> Option<usize> {
        let books = self.books();
        let are_over = calls.is_disjoint(&books.open);
        are_over.then(|| calls.intersection(&books.broken).count())
    }

    /// The next ones to submit; empty: none at the moment; `None`: none any more.
    fn take(&self, up_to: u64) -> Option<Vec<u64>> {
        let mut books = self.books();
        let end = (books.next + up_to).min(books.released);
        let taken: Vec<_> = (books.next..end).collect();
        books.next = end;
        (!taken.is_empty() || !books.over).then_some(taken)
    }

    fn begin(&self) -> u64 {
        let mut books = self.books();
        books.calls += 1;
        let call = books.calls;
        books.open.insert(call);
        call
    }

    fn end(&self, call: u64, numbers: &[u64], came: Result<Vec<v1::SubmitTaskResponse>, Option<Status>>) -> bool {
        let mut books = self.books();
        books.open.remove(&call);
        match came {
            Ok(answers) if answers.len() == numbers.len() => {
                for (number, answer) in numbers.iter().zip(answers) {
                    let v1::SubmitTaskResponse { success, existed, error, task_id, .. } = answer;
                    if !success || task_id != id(*number) {
                        books.wrong.push(format!("t{number}: {task_id} {error}"));
                    } else if existed && !books.in_doubt.contains(number) {
                        books.wrong.push(format!("t{number} was there before it was submitted"));
                    }
                    books.had_been_taken += u64::from(existed);
                    books.acknowledged.insert(*number);
                }
                true
            }
            Ok(answers) => {
                books.wrong.push(format!("{} answers for {} tasks", answers.len(), numbers.len()));
                true
            }
            Err(status) => {
                if let Some(status) = status.filter(|status| !is_no_answer(status)) {
                    books.wrong.push(status.to_string());
                }
                books.broken.insert(call);
                books.unanswered += 1;
                books.in_doubt.extend(numbers);
                false
            }
        }
    }

    pub fn said(&self) -> String {
        let books = self.books();
        let mut text = String::new();
        let _ = write!(
            text,
            "acknowledged {}; {} calls unanswered, about {} tasks, of which {} had been taken",
            books.acknowledged.len(),
            books.unanswered,
            books.in_doubt.len(),
            books.had_been_taken
        );
        text
    }
}

/// The connection broke, or the daemon says that it cannot tell.
fn is_no_answer(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Cancelled) || status.source().is_some()
}

/// Submits what is released, so many in a call, each until it is answered.
pub async fn submit(ledger: Arc<Ledger>, address: String, at_once: u64) {
    let mut client = client(&address);
    while let Some(numbers) = ledger.take(at_once) {
        if numbers.is_empty() {
            sleep(Duration::from_millis(2)).await;
            continue;
        }
        loop {
            let call = ledger.begin();
            let came = timeout(PATIENCE, async {
                if let [one] = numbers[..] {
                    return Ok(vec![client.submit_task(task(one)).await?.into_inner()]);
                }
                let tasks = numbers.iter().copied().map(task).collect();
                Ok(client.submit_tasks(v1::SubmitTasksRequest { tasks }).await?.into_inner().results)
            });
            let came = came.await.map_err(|_| None).and_then(|came| came.map_err(Some));
            if ledger.end(call, &numbers, came) {
                break;
            }
            sleep(PAUSE).await;
        }
    }
}

/// All tasks of these states, as the daemon lists them: state and error by number.
pub async fn listed(client: &Client, statuses: &[&str]) -> Result<BTreeMap<u64, (String, String)>, Status> {
    let mut all = BTreeMap::new();
    let mut request = v1::ListTasksRequest {
        statuses: statuses.iter().map(|status| (*status).to_owned()).collect(),
        limit: 1_000,
        ..Default::default()
    };
    loop {
        let page = client.clone().list_tasks(request.clone()).await?.into_inner();
        for task in page.tasks {
            let number = number(&task.task_id).expect("an id of these tests");
            all.insert(number, (task.status, task.error));
        }
        if page.next_page_token.is_empty() {
            return Ok(all);
        }
        request.page_token = page.next_page_token;
    }
}
