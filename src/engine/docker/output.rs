//! What containers and execs write, bounded.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bollard::query_parameters::LogsOptions;
use futures_util::StreamExt;

use super::Docker;
use super::call::Call;
use crate::engine::{EngineError, ErrorKind, ExecOutput, ExecResult, Result};
use crate::resource::container::ContainerId;

/// Of an exec's output. The end is kept: that is where programs say what failed.
const EXEC_OUTPUT: usize = 4 << 10;
/// Of a container's last lines.
const LOG_OUTPUT: usize = 256 << 10;

/// The last `limit` bytes of what was written to it.
#[derive(Debug)]
struct Tail {
    bytes: Vec<u8>,
    limit: usize,
}

impl Tail {
    fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit }
    }

    fn push(&mut self, chunk: &[u8]) {
        self.bytes.extend_from_slice(&chunk[chunk.len().saturating_sub(self.limit)..]);
        let surplus = self.bytes.len().saturating_sub(self.limit);
        self.bytes.drain(..surplus);
    }

    fn text(&self) -> String {
        // A character cut in two at the front is left out.
        let start = self.bytes.iter().take(3).take_while(|b| *b & 0xc0 == 0x80).count();
        String::from_utf8_lossy(&self.bytes[start..]).into_owned()
    }
}

impl Docker {
    pub(super) async fn last_lines(&self, id: &ContainerId, lines: u32) -> Result<Vec<String>> {
        let subject = id.to_string();
        self.api(Call::LogTail, &subject).await?;
        let options = LogsOptions { stdout: true, stderr: true, tail: lines.to_string(), ..LogsOptions::default() };
        let read = async {
            let mut tail = Tail::new(LOG_OUTPUT);
            let mut chunks = Box::pin(self.client.logs(&id.0, Some(options)));
            while let Some(chunk) = chunks.next().await {
                tail.push(chunk?.as_ref());
            }
            Ok(tail)
        };
        let tail = self.within(Call::LogTail, self.deadlines.of(Call::LogTail), &subject, read).await?;
        let lines = usize::try_from(lines).unwrap_or(usize::MAX);
        let text = tail.text();
        let all: Vec<_> = text.lines().map(|l| l.trim_end_matches('\r').to_owned()).collect();
        Ok(all[all.len().saturating_sub(lines)..].to_vec())
    }

    /// `timeout` counts from when the command exists. A command that is past it goes on running.
    pub(super) async fn run_exec(
        &self,
        id: &ContainerId,
        command: &[String],
        env: &[String],
        timeout: Duration,
    ) -> Result<ExecResult> {
        let subject = id.to_string();
        let config = ExecConfig {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command.to_vec()),
            env: Some(env.to_vec()),
            ..ExecConfig::default()
        };
        let created = self.call(Call::Exec, &subject, self.client.create_exec(&id.0, config)).await?;
        let exec_id = created.id;
        match tokio::time::timeout(timeout, self.follow_exec(&exec_id, &subject)).await {
            Ok(ended) => Ok(ExecResult::Ended(ended?)),
            Err(_) => Ok(ExecResult::TimedOut { exec_id }),
        }
    }

    async fn follow_exec(&self, exec_id: &str, subject: &str) -> Result<ExecOutput> {
        let translate = |error| self.translate(Call::Exec, subject, &error);
        let started = self.client.start_exec(exec_id, None::<StartExecOptions>).await.map_err(translate)?;
        let mut tail = Tail::new(EXEC_OUTPUT);
        if let StartExecResults::Attached { mut output, input } = started {
            // Held until the end: closing our half ends the connection on some engines.
            let _input = input;
            while let Some(chunk) = output.next().await {
                match chunk.map_err(translate)? {
                    LogOutput::StdErr { message }
                    | LogOutput::StdOut { message }
                    | LogOutput::StdIn { message }
                    | LogOutput::Console { message } => tail.push(&message),
                }
            }
        }
        // The stream may end a moment before the engine has the exit code.
        loop {
            let state = self.client.inspect_exec(exec_id).await.map_err(translate)?;
            if let (Some(exit_code), false) = (state.exit_code, state.running.unwrap_or_default()) {
                return Ok(ExecOutput { exit_code, output: tail.text() });
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) async fn is_exec_running(&self, exec_id: &str) -> Result<bool> {
        let subject = exec_id.get(..12).unwrap_or(exec_id);
        match self.call(Call::ExecRunning, subject, self.client.inspect_exec(exec_id)).await {
            Ok(state) => Ok(state.running.unwrap_or_default()),
            // The engine forgets an exec some minutes after it has ended, and with its container.
            Err(EngineError { kind: ErrorKind::NotFound, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_an_output_is_kept_and_no_character_is_cut() {
        let mut tail = Tail::new(5);
        tail.push(b"abc");
        tail.push(b"defg");
        assert_eq!(tail.text(), "cdefg");
        tail.push("€€".as_bytes());
        assert_eq!(tail.text(), "€");
        tail.push(&[b'x'; 100]);
        assert_eq!(tail.text(), "xxxxx");
    }
}
