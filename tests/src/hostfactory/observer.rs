//! The eyes: one list, then a watch that is resumed where it ended. Only when the server has forgotten that place (410)
//! is the list asked again, and the time in between is blind.

use std::{sync::mpsc, thread, time::Duration};

use anyhow::Result;
use serde_json::Value;

use super::{
    clock::{Moment, Span},
    factory::Factory,
    pods::PodView,
};
use crate::http::Events;

/// Pause before a failed list or watch is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// Length of the extra watch that catches up, seconds, and how long it may take in all.
const CATCH_UP_SECONDS: u32 = 1;
const CATCH_UP_LIMIT: Duration = Duration::from_secs(10);

/// Makes the first list: what it shows was there before the run.
///
/// # Errors
/// When the cluster can't be read.
pub fn start(factory: &Factory) -> Result<()> {
    let (views, version) = factory.cluster.list()?;
    let at = factory.clock.now();
    factory.with(|world| {
        world.judge.pods.start(views, at);
        world.version = version;
    });
    Ok(())
}

/// Watches until the run is over. A thread of its own that nobody joins: a quiet stream would hold up the end.
pub fn observe(factory: &Factory) {
    let mut last = factory.clock.now();
    while !factory.stopped() {
        match follow(factory, None, &mut last) {
            Ok(Ended::Resume) => {}
            Ok(Ended::Forgotten) => relist(factory, last),
            Err(_) => {
                factory.with(|world| world.watching = false);
                factory.pause(PAUSE);
            }
        }
    }
}

/// Reads all that the server has to tell since the last event, by a watch of its own: so that a watch that has broken
/// without a word accuses nobody. False when the server does not tell in time.
pub fn catch_up(factory: &std::sync::Arc<Factory>) -> bool {
    let (done_tx, done_rx) = mpsc::channel();
    let own = std::sync::Arc::clone(factory);
    // Not joined when it hangs: its stream is what hangs.
    thread::spawn(move || {
        let mut last = own.clock.now();
        let caught = matches!(follow(&own, Some(CATCH_UP_SECONDS), &mut last), Ok(Ended::Resume));
        // Nobody listens any more when it took too long.
        let _ = done_tx.send(caught);
    });
    done_rx.recv_timeout(CATCH_UP_LIMIT).unwrap_or(false)
}

enum Ended {
    /// The server ended the stream: it goes on from the last event.
    Resume,
    /// The server no longer knows the place.
    Forgotten,
}

fn follow(factory: &Factory, seconds: Option<u32>, last: &mut Moment) -> Result<Ended> {
    let version = factory.with(|world| world.version.clone());
    let events: Events = match factory.cluster.watch(&version, seconds) {
        Ok(events) => events,
        // The place may be refused at once, too.
        Err(error) if error.to_string().contains(": 410 ") => return Ok(Ended::Forgotten),
        Err(error) => return Err(error),
    };
    factory.with(|world| {
        if !world.watching {
            world.judge.pods.standing_since = factory.clock.now();
        }
        world.watching = true;
    });
    for event in events {
        let event = event?;
        if event["type"] == "ERROR" {
            let forgotten = event["object"]["code"] == 410;
            anyhow::ensure!(forgotten, "the watch says {}", event["object"]);
            return Ok(Ended::Forgotten);
        }
        // Not for an error: from the last event on nothing was seen.
        *last = factory.clock.now();
        take(factory, &event, *last);
    }
    Ok(Ended::Resume)
}

fn take(factory: &Factory, event: &Value, at: Moment) {
    let object = &event["object"];
    factory.with(|world| {
        if let Some(version) = object["metadata"]["resourceVersion"].as_str() {
            // The extra watch may be behind the standing one: the place only goes forward.
            if number(version) >= number(&world.version) {
                version.clone_into(&mut world.version);
            }
        }
        let Some(view) = PodView::read(object).filter(|_| event["type"] != "BOOKMARK") else { return };
        let uid = view.uid.clone();
        world.judge.pods.observe(view, at);
        if event["type"] == "DELETED" {
            world.judge.pods.vanish(&uid, at);
        }
    });
}

fn number(version: &str) -> u64 {
    version.parse().unwrap_or(u64::MAX)
}

fn relist(factory: &Factory, last: Moment) {
    match factory.cluster.list() {
        Ok((views, version)) => {
            let gap = Span { begun: last, ended: factory.clock.now() };
            factory.with(|world| {
                world.judge.pods.relist(views, gap);
                world.version = version;
            });
        }
        Err(_) => {
            factory.with(|world| world.watching = false);
            factory.pause(PAUSE);
        }
    }
}
