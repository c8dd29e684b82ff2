//! Which faults one seed has, and how often: each seed draws its own subset (swarm testing, Groce et al. 2012), so that
//! some runs are calm and deep and in others everything breaks at once.

use std::collections::BTreeMap;

use crate::dice::Dice;

/// Everything that goes wrong here. Each is counted when it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    // the process
    Crash,
    CrashAfterDecision,
    CrashCommitLost,
    CrashCommitDurable,
    CrashBeforeReply,
    CrashBetweenCalls,
    CrashInReplay,
    CrashInRebuild,
    CrashWhileListing,
    // the disk
    SlowDisk,
    DiskFull,
    DiskError,
    StateLost,
    // calls to the API server
    CallNotDone,
    Throttled,
    Unauthorized,
    PostLost,
    PostLate,
    PostAnswerLost,
    Quota,
    DeleteRefused,
    DeleteAnswerLost,
    SlowCall,
    Outage,
    // the watch
    WatchCut,
    WatchExpired,
    WatchSilent,
    WatchUnauthorized,
    SlowWatch,
    SlowList,
    LyingList,
    // the cluster
    NeverScheduled,
    EndsBeforeReady,
    CrashLoop,
    SlowStart,
    Deleted,
    Evicted,
    Ended,
    NodeLost,
    Flap,
    StuckTerminating,
    MassLoss,
    NamespaceRecreated,
    // others
    Stranger,
    OtherInstance,
    SecondWriter,
    // callers
    CallerDies,
    RetriedCall,
    KeyReused,
    UnknownName,
    FormerProvider,
    ReturnedAgain,
}

impl Fault {
    pub(crate) const ALL: [Self; 52] = [
        Self::Crash,
        Self::CrashAfterDecision,
        Self::CrashCommitLost,
        Self::CrashCommitDurable,
        Self::CrashBeforeReply,
        Self::CrashBetweenCalls,
        Self::CrashInReplay,
        Self::CrashInRebuild,
        Self::CrashWhileListing,
        Self::SlowDisk,
        Self::DiskFull,
        Self::DiskError,
        Self::StateLost,
        Self::CallNotDone,
        Self::Throttled,
        Self::Unauthorized,
        Self::PostLost,
        Self::PostLate,
        Self::PostAnswerLost,
        Self::Quota,
        Self::DeleteRefused,
        Self::DeleteAnswerLost,
        Self::SlowCall,
        Self::Outage,
        Self::WatchCut,
        Self::WatchExpired,
        Self::WatchSilent,
        Self::WatchUnauthorized,
        Self::SlowWatch,
        Self::SlowList,
        Self::LyingList,
        Self::NeverScheduled,
        Self::EndsBeforeReady,
        Self::CrashLoop,
        Self::SlowStart,
        Self::Deleted,
        Self::Evicted,
        Self::Ended,
        Self::NodeLost,
        Self::Flap,
        Self::StuckTerminating,
        Self::MassLoss,
        Self::NamespaceRecreated,
        Self::Stranger,
        Self::OtherInstance,
        Self::SecondWriter,
        Self::CallerDies,
        Self::RetriedCall,
        Self::KeyReused,
        Self::UnknownName,
        Self::FormerProvider,
        Self::ReturnedAgain,
    ];

    /// Happens once in a while to the whole world, not to single calls or pods.
    pub(crate) const GREMLINS: [Self; 20] = [
        Self::Crash,
        Self::DiskFull,
        Self::DiskError,
        Self::StateLost,
        Self::Outage,
        Self::WatchCut,
        Self::WatchExpired,
        Self::WatchSilent,
        Self::WatchUnauthorized,
        Self::LyingList,
        Self::Deleted,
        Self::Evicted,
        Self::Ended,
        Self::NodeLost,
        Self::Flap,
        Self::MassLoss,
        Self::NamespaceRecreated,
        Self::Stranger,
        Self::OtherInstance,
        Self::SecondWriter,
    ];
}

/// How often each fault happens, in a thousand; missing = never.
#[derive(Debug, Clone, Default)]
pub(crate) struct Profile {
    rates: BTreeMap<Fault, u32>,
}

impl Profile {
    /// Nothing goes wrong.
    pub(crate) fn calm() -> Self {
        Self::default()
    }

    pub(crate) fn drawn(dice: &mut Dice) -> Self {
        // One seed in eight is nearly calm, one in eight has nearly everything.
        let share = [30, 150, 150, 300, 300, 500, 500, 900][usize::try_from(dice.within(0..8)).expect("below 8")];
        let mut profile = Self::default();
        for fault in Fault::ALL {
            if dice.chance(share) {
                let rate = match fault {
                    // One of these changes the whole run: the most that a run has is a few.
                    Fault::StateLost | Fault::NamespaceRecreated | Fault::SecondWriter => dice.small(3..30),
                    Fault::CrashInReplay | Fault::CrashInRebuild | Fault::CrashWhileListing => dice.small(50..300),
                    fault if fault < Fault::SlowDisk => dice.small(2..40),
                    _ => dice.small(10..250),
                };
                profile.rates.insert(fault, rate);
            }
        }
        profile
    }

    pub(crate) fn with(mut self, fault: Fault, permille: u32) -> Self {
        self.rates.insert(fault, permille);
        self
    }

    pub(crate) fn without(mut self, faults: &[Fault]) -> Self {
        self.rates.retain(|fault, _| !faults.contains(fault));
        self
    }

    pub(crate) fn rate(&self, fault: Fault) -> u32 {
        self.rates.get(&fault).copied().unwrap_or(0)
    }
}
