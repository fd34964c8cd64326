//! Which settings of Redis keep what it acknowledges. Pure.

use ::redis::{Cmd, ErrorKind, RedisResult, ServerErrorKind, Value};

use super::link::{LOADING, refused};
use super::record::text;
use crate::tasks::store::{NotDurable, StoreError};

/// Asked with CONFIG GET. Under `everysec` acknowledged writes are lost with the process where the disk is slow.
const SETTINGS: [(&str, &str); 3] =
    [("appendfsync", "always"), ("no-appendfsync-on-rewrite", "no"), ("maxmemory-policy", "noeviction")];

/// What is asked; [`judge`] wants the answers in this order.
pub fn questions() -> impl Iterator<Item = Cmd> {
    let mut info = Cmd::new();
    info.arg("INFO").arg("persistence");
    let settings = SETTINGS.into_iter().map(|(setting, _)| {
        let mut get = Cmd::new();
        get.arg("CONFIG").arg("GET").arg(setting);
        get
    });
    [info].into_iter().chain(settings)
}

/// `before`: it was durable when it was asked last, on the same connection.
///
/// # Errors
/// [`StoreError::NotDurable`] where a setting is otherwise, or is not told; [`StoreError::NotReady`] where Redis
/// answers nothing at the moment.
pub fn judge(answers: Vec<RedisResult<Value>>, before: bool) -> Result<(), StoreError> {
    let mut answers = answers.into_iter();
    let mut next = |setting: &str, wanted: &str| match answers.next() {
        Some(Ok(answer)) => Ok(answer),
        Some(Err(error)) => Err(untold(setting, wanted, &error)),
        None => Err(otherwise(setting, wanted, "unknown")),
    };

    let info = text(next("appendonly", "yes")?).unwrap_or_default();
    let field = |name: &str| {
        info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or("unknown").trim()
    };
    // These questions it answers all the same.
    if field("loading") == "1" {
        return Err(StoreError::NotReady(LOADING.to_owned()));
    }
    match field("aof_enabled") {
        "1" => {}
        "0" => return Err(otherwise("appendonly", "yes", "no")),
        found => return Err(otherwise("appendonly", "yes", found)),
    }
    // Switched on while Redis runs, the file keeps nothing before it has been written whole once. It looks the same
    // when one that was there from the start is written anew for the first time.
    let writes = ["aof_rewrite_in_progress", "aof_rewrite_scheduled"].into_iter().any(|name| field(name) == "1");
    if !before && field("aof_base_size") == "0" && (writes || field("aof_last_bgrewrite_status") != "ok") {
        return Err(StoreError::NotReady("it writes its append-only file for the first time".to_owned()));
    }
    let written = field("aof_last_write_status");
    if written != "ok" {
        return Err(otherwise("aof_last_write_status", "ok", written));
    }

    for (setting, wanted) in SETTINGS {
        let found = value(next(setting, wanted)?).unwrap_or_else(|| "unknown".to_owned());
        if found != wanted {
            return Err(otherwise(setting, wanted, &found));
        }
    }
    Ok(())
}

fn otherwise(setting: &str, wanted: &str, found: &str) -> StoreError {
    let (setting, wanted, found) = (setting.to_owned(), wanted.to_owned(), found.chars().take(60).collect());
    StoreError::NotDurable(NotDurable { setting, found, wanted })
}

/// Redis answered the question with an error: it does not know the command or may not tell, or can do nothing now.
fn untold(setting: &str, wanted: &str, error: &::redis::RedisError) -> StoreError {
    let at_all = ErrorKind::Server(ServerErrorKind::ResponseError);
    let forbidden = ErrorKind::Server(ServerErrorKind::NoPerm);
    if error.kind() == at_all || error.kind() == forbidden {
        otherwise(setting, wanted, "not told by this Redis")
    } else {
        refused(error, "")
    }
}

/// Of the answer to CONFIG GET of one setting.
fn value(answer: Value) -> Option<String> {
    match answer {
        Value::Array(pair) => text(pair.into_iter().nth(1)?),
        Value::Map(pairs) => text(pairs.into_iter().next()?.1),
        _ => None,
    }
}
