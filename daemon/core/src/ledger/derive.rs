//! Indexes and counters that follow from requests and returns, computed anew after a start or an undone commit.

use std::time::Duration;

use super::{Ledger, OpenRequest, OpenReturn, tick};
use crate::{
    clock::Now,
    machine::{Machine, MachineOutcome},
    policy::wall_seconds,
    request::Origin,
};

impl Ledger {
    /// Computes indexes and counters anew, keeping the due times of what was open.
    pub(super) fn derive(&mut self, now: Now) {
        let before = std::mem::take(&mut self.derived);
        let sighted_now = self.sight.read(now);
        let derived = &mut self.derived;
        for (id, request) in self.requests.iter() {
            if let Some(key) = &request.key {
                derived.keys.insert(key.text.clone(), *id);
            }
            let in_use = request.machines.iter().filter(|machine| machine.is_in_use()).count();
            *derived.in_use.entry(request.template.clone()).or_default() += u32::try_from(in_use).unwrap_or(u32::MAX);
            derived.live += request.machines.iter().filter(|machine| machine.is_live()).count();
            if !request.polled && request.cancelled.is_none() {
                let since = before.unpolled.get(id).copied().unwrap_or(self.clocks.polling_by(now.mono));
                derived.unpolled.insert(*id, since);
            }
            if request.terminal.is_none() {
                let executing = |machine: &&Machine| machine.outcome() == MachineOutcome::Executing;
                let undecided = u32::try_from(request.machines.iter().filter(executing).count()).unwrap_or(u32::MAX);
                let open = before.open_requests.get(id).or(before.ending_requests.get(id)).copied();
                let open = open.unwrap_or_else(|| {
                    // The deadline did not run while nobody could look: count to the last sign of life.
                    let ran = self.meta.alive_at.min(now.wall).saturating_sub(tick::deadline_start(request)).max(0);
                    let left = (i64::from(request.ready_deadline) - ran).max(0);
                    let due = sighted_now + Duration::from_secs(left.unsigned_abs());
                    OpenRequest { undecided, due }
                });
                derived.open_requests.insert(*id, OpenRequest { undecided, ..open });
            }
        }
        for (id, request) in self.returns.iter() {
            if let Some(key) = &request.key {
                derived.keys.insert(key.text.clone(), *id);
            }
            if request.ended_at.is_some() {
                continue;
            }
            let due = before.open_returns.get(id).map_or_else(
                || {
                    let ran = now.wall.saturating_sub(request.accepted_at).max(0);
                    let left = (i64::from(request.deadline) - ran).max(0);
                    now.mono + Duration::from_secs(left.unsigned_abs())
                },
                |open| open.due,
            );
            let mut undecided = 0;
            for (place, entry) in (0..).zip(&request.entries).filter(|(_, entry)| entry.end.is_none()) {
                undecided += 1;
                if let Some(machine) = entry.machine {
                    derived.covering.entry(machine).or_default().push((*id, place));
                }
            }
            derived.open_returns.insert(*id, OpenReturn { undecided, due });
        }
    }

    /// Creates of earlier lives count as unsettled (`lifecycle.md` 5): without a durable UID until the server's
    /// time-out after the start, with one until the time-out after it was recorded.
    pub(super) fn unsettle_earlier_lives(&mut self, now: Now) {
        let time_out = self.policy.server_request_timeout;
        for (_, request) in self.requests.iter() {
            if request.origin == Origin::Adopted {
                continue;
            }
            for (name, machine) in request.named_machines().filter(|(_, machine)| machine.gone_at.is_none()) {
                let ran = match machine.uid {
                    None => 0,
                    // Both are whole seconds: up to one of those between them has not passed.
                    Some(_) => now.wall.saturating_sub(machine.uid_recorded_at).saturating_sub(1).max(0),
                };
                let left = wall_seconds(time_out).saturating_sub(ran);
                if left > 0 || machine.uid.is_none() {
                    let left = if machine.uid.is_none() {
                        time_out
                    } else {
                        Duration::from_secs(left.unsigned_abs()).min(time_out)
                    };
                    self.unsettled.insert(name, now.mono + left);
                }
            }
        }
    }
}
