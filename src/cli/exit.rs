//! Exit codes. The table is in `docs/cli.md` and in `--help`; a test compares.

use std::process::ExitCode;

use crate::config::ConfigError;
use crate::report::StatusReport;

/// How a command ended. Ordered by weight: where several hold, the greatest is the exit code
/// (130, 5, 4, 1, 3, 2, 0).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    #[default]
    Done,
    Changes,
    NotConverged,
    Error,
    Invalid,
    Unreachable,
    Interrupted,
}

impl Exit {
    pub const ALL: &'static [Self] = &[
        Self::Done,
        Self::Changes,
        Self::NotConverged,
        Self::Error,
        Self::Invalid,
        Self::Unreachable,
        Self::Interrupted,
    ];

    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Error => 1,
            Self::Changes => 2,
            Self::NotConverged => 3,
            Self::Invalid => 4,
            Self::Unreachable => 5,
            Self::Interrupted => 130,
        }
    }

    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done, or nothing to change",
            Self::Error => "error",
            Self::Changes => "`plan` found changes",
            Self::NotConverged => "not converged: out of time, or nothing can progress",
            Self::Invalid => "invalid manifests or configuration",
            Self::Unreachable => "engine or daemon not reachable",
            Self::Interrupted => "interrupted",
        }
    }

    /// What of a moment goes into an exit code.
    pub fn of(report: &StatusReport) -> Self {
        if report.invalid_manifests > 0 || report.source.error.is_some() {
            Self::Invalid
        } else if report.converged {
            Self::Done
        } else {
            Self::NotConverged
        }
    }

    /// What counts where both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.max(other)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// For the end of `--help`.
pub fn help_text() -> String {
    let mut all = Exit::ALL.to_vec();
    all.sort_by_key(|e| e.code());
    let lines: Vec<_> = all.iter().map(|e| format!("  {:<4} {}", e.code(), e.meaning())).collect();
    format!("Exit codes (where several hold: the first of 130, 5, 4, 1, 3, 2):\n{}", lines.join("\n"))
}

/// Why a verb did not get to its end: what to print, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub exit: Exit,
    /// May be styled; ends with a newline.
    pub text: String,
}

impl Failure {
    /// `message`: lower case, what happened to what, and what to do.
    pub fn new(exit: Exit, message: impl AsRef<str>) -> Self {
        let error = super::terminal::ERROR;
        Self { exit, text: format!("{error}error{error:#}: {}\n", message.as_ref()) }
    }

    /// An error with its sources, one line.
    pub fn from_error(exit: Exit, error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(e) = source {
            message = format!("{message}: {e}");
            source = e.source();
        }
        Self::new(exit, message)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self { exit: Exit::Invalid, text: error.render(true) }
    }
}
