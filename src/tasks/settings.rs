//! Classes, limits, durability: what `[tasks]` configures. Plain values.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::address::Address;
use crate::backoff::Backoff;

/// What a task needs, and so how it is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    CpuShort,
    CpuLong,
    GpuShort,
    GpuLong,
}

impl Class {
    pub const ALL: [Self; 4] = [Self::CpuShort, Self::CpuLong, Self::GpuShort, Self::GpuLong];

    pub fn name(self) -> &'static str {
        match self {
            Self::CpuShort => "cpu_short",
            Self::CpuLong => "cpu_long",
            Self::GpuShort => "gpu_short",
            Self::GpuLong => "gpu_long",
        }
    }

    /// By its name, or by one of the system before this one. Empty: [`Class::CpuShort`].
    ///
    /// # Errors
    /// A sentence that names the known ones.
    pub fn parse(name: &str) -> Result<Self, String> {
        match name {
            "" => Ok(Self::CpuShort),
            "gpu" | "gpu_slurm" => Ok(Self::GpuLong),
            _ => Self::ALL.into_iter().find(|class| class.name() == name).ok_or_else(|| {
                let known = Self::ALL.map(Self::name).join(", ");
                format!("there is no class `{}`; there are {known}", name.chars().take(40).collect::<String>())
            }),
        }
    }

    pub fn is_gpu(self) -> bool {
        matches!(self, Self::GpuShort | Self::GpuLong)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How tasks of a class are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassSettings {
    /// Of one attempt. A lease is not extended past it, and the worker ends what takes longer.
    pub time_limit: Duration,
    /// Attempts in all, at least 1; then the task is dead.
    pub max_attempts: u32,
    /// Running at once, over all workers of this queue; 0: as many as they take.
    pub concurrency: u32,
    /// Its share where several classes wait, 1 to 1,000: one of 8 is given twice as many as one of 4.
    pub weight: u32,
}

/// One value for each class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByClass<T>(pub [T; 4]);

impl<T> ByClass<T> {
    pub fn of(&self, class: Class) -> &T {
        &self.0[class as usize]
    }

    pub fn of_mut(&mut self, class: Class) -> &mut T {
        &mut self.0[class as usize]
    }

    pub fn iter(&self) -> impl Iterator<Item = (Class, &T)> {
        Class::ALL.into_iter().zip(&self.0)
    }
}

/// What an acknowledgement is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On the disk. Nothing is taken where Redis is set otherwise.
    Strict,
    /// As Redis is set: after a crash of it, what was acknowledged may be gone.
    Relaxed,
}

impl Durability {
    pub const ALL: [Self; 2] = [Self::Strict, Self::Relaxed];

    pub fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Relaxed => "relaxed",
        }
    }
}

/// What a lease may be.
pub const LEASES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(10);
/// Bytes that a payload or a result may have, whatever is configured: a message must hold it.
pub const MAX_CONTENT: usize = 3 << 20;

/// `[tasks]`.
#[derive(Clone, PartialEq, Eq)]
pub struct TaskSettings {
    pub enabled: bool,
    /// `redis://[user:password@]host:port[/db]` or `redis+unix:///path`. Shown only as [`masked`].
    pub redis: String,
    pub grpc_addr: Address,
    pub http_addr: Address,
    pub durability: Durability,
    /// Callers that are not on this machine may submit and work, too.
    pub allow_remote: bool,
    pub classes: ByClass<ClassSettings>,
    /// Pause after a failed attempt.
    pub backoff: Backoff,
    /// Default of a lease; a heartbeat every third of it.
    pub lease: Duration,
    /// Waiting and delayed tasks, at most.
    pub max_backlog: u64,
    /// Bytes of one payload.
    pub max_payload: usize,
    /// Bytes of one result.
    pub max_result: usize,
    /// How long a finished task is known: its result, and that its id is taken.
    pub result_ttl: Duration,
    /// Dead tasks that are kept; the oldest go first.
    pub max_dead: u64,
}

/// With the password hidden.
impl fmt::Debug for TaskSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { redis, durability, grpc_addr, http_addr, .. } = self;
        f.debug_struct("TaskSettings")
            .field("redis", &masked(redis))
            .field("durability", durability)
            .field("grpc_addr", grpc_addr)
            .field("http_addr", http_addr)
            .finish_non_exhaustive()
    }
}

/// An address as it is shown: `redis://user:***@host`.
pub fn masked(text: &str) -> String {
    hidden(text, |_| "***".to_owned())
}

/// A text with the password of each address in it replaced. What may be one counts as one: from the first `:` after
/// the `://` to the last `@`, within quotes where there are some.
pub fn hidden(text: &str, instead: impl Fn(&str) -> String) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(['"', '\'', '`', '\n']).unwrap_or(after.len());
        let password = after[..end].rfind('@').and_then(|at| {
            let colon = after[..at].find(':')?;
            Some(colon + 1..at)
        });
        let Some(password) = password else {
            rest = after;
            continue;
        };
        out.push_str(&after[..password.start]);
        out.push_str(&instead(&after[password.clone()]));
        rest = &after[password.end..];
    }
    out + rest
}

impl Default for TaskSettings {
    fn default() -> Self {
        let class = |minutes, max_attempts, weight| ClassSettings {
            time_limit: Duration::from_mins(minutes),
            max_attempts,
            concurrency: 0,
            weight,
        };
        Self {
            enabled: true,
            redis: "redis://127.0.0.1:6379".to_owned(),
            grpc_addr: Address::Ip(([0, 0, 0, 0], 50052).into()),
            http_addr: Address::Ip(([0, 0, 0, 0], 9097).into()),
            durability: Durability::Strict,
            allow_remote: false,
            // In the order of `Class::ALL`.
            classes: ByClass([class(5, 5, 8), class(60, 3, 4), class(10, 5, 8), class(24 * 60, 3, 4)]),
            backoff: Backoff { initial: Duration::from_secs(1), max: Duration::from_mins(5) },
            lease: Duration::from_secs(30),
            max_backlog: 1_000_000,
            max_payload: 1 << 20,
            max_result: 1 << 20,
            result_ttl: Duration::from_hours(24),
            max_dead: 100_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_known_by_their_names_and_those_of_the_system_before() {
        for class in Class::ALL {
            assert_eq!(Class::parse(class.name()), Ok(class));
        }
        assert_eq!((Class::parse(""), Class::parse("gpu")), (Ok(Class::CpuShort), Ok(Class::GpuLong)));
        let error = Class::parse("fpga").unwrap_err();
        assert!(error.contains("`fpga`") && error.contains("cpu_short, cpu_long, gpu_short, gpu_long"), "{error}");
    }

    #[test]
    fn p15_a_password_is_hidden_wherever_an_address_is_shown() {
        for (text, shown) in [
            ("redis://localhost:6379", "redis://localhost:6379"),
            ("redis://:hunter2@localhost", "redis://:***@localhost"),
            ("redis://me:hunter2@localhost:1/2", "redis://me:***@localhost:1/2"),
            ("redis://me:hun/t@er:2@localhost", "redis://me:***@localhost"),
            ("redis = \"redis://:hunter2@a\" # b@c", "redis = \"redis://:***@a\" # b@c"),
            ("redis://:a@b redis://:c@d", "redis://:***@d"),
            ("redis://:hunter2@", "redis://:***@"),
        ] {
            assert_eq!(masked(text), shown);
        }
        let settings = TaskSettings { redis: "redis://:hunter2@localhost".to_owned(), ..TaskSettings::default() };
        assert!(!format!("{settings:?}").contains("hunter2"), "{settings:?}");
    }
}
