//! The service manager's watchdog: who may feed it.

use std::{future::Future, time::Duration};

use tracing::error;

use crate::{
    engine::{EngineHandle, Refusal},
    journal::Journal,
    systemd::Notifier,
};

/// A part that does not answer the watchdog's question within this time is not alive.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Then it is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Feeds the service manager's watchdog for as long as engine and journal answer. Never by the API server's answers:
/// its outage must not restart us.
pub(crate) async fn watchdog(notifier: &Notifier, engine: &EngineHandle, journal: &Journal) {
    let Some(period) = notifier.watchdog_period() else { return std::future::pending().await };
    let is_alive = || async {
        // A full inbox is answered too: the engine is busy, not dead.
        let engine = engine.ask(|_, _| ()).await;
        let journal = journal.commit(Vec::new(), false).await;
        !matches!(engine, Err(Refusal::Stopping)) && journal.is_ok()
    };
    feed(period, is_alive, || notifier.alive()).await;
}

/// Asks every `period`, half of what the service manager waits. Without an answer it asks again soon: a disk that was
/// slow once is no reason to be restarted.
async fn feed<F: Future<Output = bool>>(period: Duration, is_alive: impl Fn() -> F, tell: impl Fn()) -> ! {
    loop {
        let pause = match tokio::time::timeout(ANSWER_WITHIN, is_alive()).await {
            Ok(true) => {
                tell();
                period
            }
            Ok(false) | Err(_) => {
                error!("engine or journal do not answer: the watchdog is not fed");
                ASK_AGAIN_AFTER
            }
        };
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// systemd waits twice the period.
    #[tokio::test(start_paused = true)]
    async fn one_late_answer_leaves_the_watchdog_fed() {
        let period = Duration::from_secs(15);
        let asked = std::cell::Cell::new(0);
        let fed = std::cell::RefCell::new(Vec::new());
        let is_alive = || async {
            asked.set(asked.get() + 1);
            if asked.get() == 2 {
                tokio::time::sleep(Duration::from_secs(12)).await;
            }
            true
        };
        let begun = tokio::time::Instant::now();
        let run = feed(period, is_alive, || fed.borrow_mut().push(begun.elapsed()));
        assert!(tokio::time::timeout(period * 5, run).await.is_err());
        let fed = fed.into_inner();
        let longest = fed.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max();
        assert!(longest.is_some_and(|longest| longest < period * 2), "{fed:?}");
    }
}
