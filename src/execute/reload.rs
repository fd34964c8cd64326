//! The process of a container is told that its files have changed.

use std::time::Duration;

use crate::engine::{Engine, EngineError, ErrorKind, ExecResult, archive};
use crate::resource::container::ContainerId;
use crate::resource::hash::SaltedHash;

/// As the table of reasons knows it.
pub(super) const OPERATION: &str = "signal container";

/// A `kill` has nothing to wait for.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Signals the first process, then notes that the files of `marker` are the ones it has been told of. Who
/// dies between the two signals once more, which a program that reads its files again does not mind.
///
/// By a shell in the container: the engine's own call for signals would end the restart policy for good.
pub async fn reload<E: Engine>(
    engine: &E,
    id: &ContainerId,
    signal: &str,
    marker: &SaltedHash,
) -> Result<(), EngineError> {
    let failed = |kind, text: String| EngineError::new(OPERATION, id.to_string(), kind, text);
    let kill = format!("kill -{} 1", signal.strip_prefix("SIG").unwrap_or(signal));
    let command = ["/bin/sh", "-c", &kill].map(str::to_owned);
    match engine.exec(id, &command, &[], TIMEOUT).await {
        Ok(ExecResult::Ended(ended)) if ended.exit_code == 0 => {}
        Ok(ExecResult::Ended(ended)) => {
            let said = ended.output.split_whitespace().collect::<Vec<_>>().join(" ");
            let text = format!("`{kill}` in it by /bin/sh ended with exit code {}: {said}", ended.exit_code);
            return Err(failed(ErrorKind::Refused, text));
        }
        Ok(ExecResult::TimedOut { .. }) => {
            let text = format!("`{kill}` in it did not end within {}", humantime::format_duration(TIMEOUT));
            return Err(failed(ErrorKind::Other, text));
        }
        Err(error) => return Err(EngineError { operation: OPERATION, ..error }),
    }
    engine.upload(id, &archive::marker_alone(marker)).await
}
