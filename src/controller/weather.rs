//! Whether the engine answers (P12: outages are weather).

use tokio::sync::{Notify, watch};

use crate::clock::Timestamp;
use crate::engine::{EngineError, EngineInfo, ErrorKind};

/// The engine, as it was last met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Met {
    pub info: EngineInfo,
    /// Why it does not answer; `None`: it does.
    pub away: Option<String>,
    /// Since when it has been so.
    pub since: Timestamp,
}

#[derive(Debug)]
pub struct Weather {
    met: watch::Sender<Met>,
    doubt: Notify,
}

impl Weather {
    /// `info`: from its address alone, where it has not answered yet.
    pub fn new(info: EngineInfo, now: Timestamp) -> Self {
        Self { met: watch::Sender::new(Met { info, away: None, since: now }), doubt: Notify::new() }
    }

    pub fn subscribe(&self) -> watch::Receiver<Met> {
        self.met.subscribe()
    }

    pub fn met(&self) -> Met {
        self.met.borrow().clone()
    }

    /// Since when the engine has been seen without a break, where there was one.
    pub fn watched_since(&self) -> Timestamp {
        let met = self.met.borrow();
        if met.away.is_none() { met.since } else { Timestamp(u64::MAX) }
    }

    /// A call failed in a way that may mean that the engine is away: whoever follows it asks.
    pub fn doubt(&self, error: &EngineError) {
        if is_absence(error) {
            self.doubt.notify_one();
        }
    }

    /// Cancel-safe: a doubt that is not received stays stored.
    pub async fn doubted(&self) {
        self.doubt.notified().await;
    }

    /// It does not answer. Says whether that is news.
    pub fn is_away(&self, error: &EngineError, now: Timestamp) -> bool {
        let mut news = false;
        self.met.send_if_modified(|met| {
            news = met.away.is_none();
            let changed = met.away.as_deref() != Some(&*error.message);
            if news {
                met.since = now;
            }
            met.away = Some(error.message.clone());
            changed
        });
        news
    }

    /// It answers. Says for how long it had not, where that is news.
    pub fn answers(&self, info: &EngineInfo, now: Timestamp) -> Option<std::time::Duration> {
        let mut outage = None;
        self.met.send_if_modified(|met| {
            let changed = met.away.is_some() || met.info != *info;
            if met.away.take().is_some() {
                outage = Some(now.since(met.since));
                met.since = now;
            }
            met.info = info.clone();
            changed
        });
        outage
    }
}

/// Errors that a call brings when nobody answers it.
pub fn is_absence(error: &EngineError) -> bool {
    matches!(error.kind, ErrorKind::Unreachable | ErrorKind::Timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(message: &str) -> EngineError {
        EngineError::new("connect to", "docker", ErrorKind::Unreachable, message)
    }

    #[test]
    fn an_outage_is_news_once_and_its_end_says_how_long_it_was() {
        let weather = Weather::new(EngineInfo::default(), Timestamp(0));
        let mut watch = weather.subscribe();
        assert!(weather.is_away(&gone("refused"), Timestamp(1_000)));
        assert!(!weather.is_away(&gone("refused"), Timestamp(2_000)));
        assert_eq!(watch.borrow_and_update().since, Timestamp(1_000));
        assert!(!weather.is_away(&gone("no socket"), Timestamp(3_000)), "another message is no second outage");
        assert!(watch.has_changed().unwrap());
        let outage = weather.answers(&EngineInfo::default(), Timestamp(5_000));
        assert_eq!(outage, Some(std::time::Duration::from_secs(4)));
        assert_eq!(weather.answers(&EngineInfo::default(), Timestamp(6_000)), None);
    }

    #[tokio::test]
    async fn only_absence_raises_doubt() {
        let weather = Weather::new(EngineInfo::default(), Timestamp(0));
        weather.doubt(&EngineError::new("start", "c", ErrorKind::NotFound, "no such container"));
        assert!(futures_util::FutureExt::now_or_never(weather.doubted()).is_none());
        weather.doubt(&gone("refused"));
        assert!(futures_util::FutureExt::now_or_never(weather.doubted()).is_some());
    }
}
