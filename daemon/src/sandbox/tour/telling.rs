//! What every chapter needs: an exchange with a script shown as it was, a request followed to its end, bounded waits.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    Tour, TourError,
    scripts::{Reply, Verb},
};

/// Longest wait for anything; the longest that is needed is a deadline of 10 s.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two polls. HostFactory's own is 30 s.
const POLL_EVERY: Duration = Duration::from_millis(100);

/// A wait with a bound.
#[derive(Debug)]
pub(super) struct Patience {
    what: String,
    until: Instant,
}

impl Patience {
    /// The pause before the next poll.
    pub(super) async fn wait(&mut self) -> Result<(), TourError> {
        if Instant::now() > self.until {
            return Err(TourError::TimedOut { what: self.what.clone(), within: PATIENCE });
        }
        sleep(POLL_EVERY).await;
        Ok(())
    }
}

impl Tour<'_> {
    pub(super) fn patience(what: &str) -> Patience {
        Patience { what: what.to_owned(), until: Instant::now() + PATIENCE }
    }

    /// Prints whether something is as it must be, and keeps it in mind.
    pub(super) fn check(&mut self, what: &str, holds: bool) -> Result<(), TourError> {
        let line = self.checks.note(what, holds);
        Ok(self.out.line(&line)?)
    }

    /// Runs a script that must succeed, and shows input and reply.
    pub(super) async fn exchange(&mut self, verb: Verb, input: &Value) -> Result<Value, TourError> {
        let reply = self.scripts.call(self.stage, verb, input.to_string().as_bytes()).await?;
        self.show(&reply, input)?;
        if reply.code != 0 {
            self.check(&format!("{} succeeds", verb.name()), false)?;
        }
        Ok(reply.json)
    }

    /// Runs a script that must succeed, and shows nothing unless it does not.
    pub(super) async fn silent(&mut self, verb: Verb, input: &Value) -> Result<Reply, TourError> {
        let reply = self.scripts.call(self.stage, verb, input.to_string().as_bytes()).await?;
        if reply.code != 0 {
            self.show(&reply, input)?;
            self.check(&format!("{} succeeds", verb.name()), false)?;
        }
        Ok(reply)
    }

    pub(super) fn show(&mut self, reply: &Reply, input: &Value) -> Result<(), TourError> {
        self.out.gap()?;
        self.out.line(&format!("  $ {}", reply.line))?;
        self.out.document("input", input)?;
        self.out.document("reply", &reply.json)?;
        self.out.line(&format!("  exit    {}, after {} ms", reply.code, reply.took.as_millis()))?;
        Ok(())
    }

    /// Asks getRequestStatus until every request has its final answer, which comes back. Shows the first and the last
    /// reply, and of those between a line whenever something has changed.
    pub(super) async fn follow(&mut self, ids: &[String], machines: usize) -> Result<Vec<Value>, TourError> {
        let ids: Vec<_> = ids.iter().map(|id| json!({"requestId": id})).collect();
        let input = json!({ "requests": ids });
        let begun = Instant::now();
        let mut patience = Self::patience("every request has its final answer");
        let mut before = String::new();
        let mut is_changing = false;
        let mut is_every_machine_listed = true;
        for poll in 1.. {
            let reply = self.silent(Verb::GetRequestStatus, &input).await?;
            let requests = reply.json["requests"].as_array().cloned().unwrap_or_default();
            let listed: usize =
                requests.iter().filter_map(|request| request["machines"].as_array().map(Vec::len)).sum();
            is_every_machine_listed &= listed == machines && requests.len() == ids.len();
            let is_over = requests.iter().all(|request| request["status"] != "running");
            let now = standing(&requests);
            if poll > 1 && now != before {
                if !is_changing {
                    self.out.gap()?;
                }
                is_changing = true;
                self.out.line(&format!("  poll {poll}, {:.1} s: {now}", begun.elapsed().as_secs_f64()))?;
            }
            if poll == 1 || is_over {
                self.show(&reply, &input)?;
            }
            if is_over {
                self.check("every reply listed every machine", is_every_machine_listed)?;
                return Ok(requests);
            }
            before = now;
            patience.wait().await?;
        }
        Ok(Vec::new())
    }
}

/// Where the requests stand, in a line.
fn standing(requests: &[Value]) -> String {
    let of_one = |request: &Value| {
        let mut results: BTreeMap<&str, u32> = BTreeMap::new();
        for machine in request["machines"].as_array().into_iter().flatten() {
            *results.entry(machine["result"].as_str().unwrap_or_default()).or_default() += 1;
        }
        let results: Vec<_> = results.iter().map(|(result, count)| format!("{count} {result}")).collect();
        format!("{} ({})", request["status"].as_str().unwrap_or_default(), results.join(", "))
    };
    requests.iter().map(of_one).collect::<Vec<_>>().join("; ")
}
