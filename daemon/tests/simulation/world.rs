//! One world: virtual time, the agenda of what will happen, and everything that takes part.
//!
//! ```text
//! agenda ──event──> cluster │ watch │ daemon (ledger, commits, disk) │ callers
//!    ^                                   │ calls, commits, ticks
//!    └───────────────────────────────────┘          each step is held against the model
//! ```
//! One thread, no clock, no chance but the dice: the same seed is the same run.

use std::{
    collections::{BTreeMap, VecDeque, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};

use hfd_core::{id::JournalId, policy::Policy};

use crate::{
    calls::Sent,
    cluster::Cluster,
    daemon::Daemon,
    dice::Dice,
    disk::Disk,
    factory::Factory,
    follow::Follow,
    model::{Model, Truth},
    profile::{Fault, Profile},
    stats::Stats,
};

/// Wall time at which every world begins, epoch seconds.
pub(crate) const START: i64 = 1_700_000_000;
/// Lines of the trace that a failure shows.
const SHOWN: usize = 40;

/// What will happen.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// The daemon's clock.
    Tick {
        life: u64,
    },
    /// What nobody waits for is to be committed.
    CommitDue,
    /// The commit in flight ends.
    CommitEnds {
        life: u64,
    },
    /// A call takes effect on the server.
    CallArrives {
        number: u64,
    },
    /// Its answer is there.
    CallAnswered {
        life: u64,
        number: u64,
    },
    /// The guard's LIST, the GET of the namespace.
    ListAnswered {
        life: u64,
    },
    NamespaceAnswered {
        life: u64,
        /// What the server read as the question came in, if it was not as late as its answer.
        read: Option<Option<hfd_core::id::PodUid>>,
    },
    /// The watch.
    Watch {
        life: u64,
        connection: u64,
    },
    /// The kubelet and the scheduler.
    PodStarts {
        name: String,
        uid: hfd_core::id::PodUid,
    },
    PodReady {
        name: String,
        uid: hfd_core::id::PodUid,
    },
    PodEnds {
        name: String,
        uid: hfd_core::id::PodUid,
    },
    PodLoops {
        name: String,
        uid: hfd_core::id::PodUid,
    },
    PodRemoved {
        name: String,
        uid: hfd_core::id::PodUid,
    },
    /// HostFactory does something.
    Factory,
    /// A call is (again) sent to the daemon.
    CallerTries {
        number: u64,
    },
    /// Something goes wrong.
    Gremlin,
    /// The daemon is started again.
    Start,
    DiskHasRoom,
    OutageEnds,
    NamespaceIsMade,
    /// An operator answers what the daemon asks of one.
    Operator,
}

impl Event {
    pub(crate) const KINDS: [&'static str; 21] = [
        "Tick",
        "CommitDue",
        "CommitEnds",
        "CallArrives",
        "CallAnswered",
        "ListAnswered",
        "NamespaceAnswered",
        "Watch",
        "PodStarts",
        "PodReady",
        "PodEnds",
        "PodLoops",
        "PodRemoved",
        "Factory",
        "CallerTries",
        "Gremlin",
        "Start",
        "DiskHasRoom",
        "OutageEnds",
        "NamespaceIsMade",
        "Operator",
    ];

    const fn kind(&self) -> &'static str {
        match self {
            Self::Tick { .. } => "Tick",
            Self::CommitDue => "CommitDue",
            Self::CommitEnds { .. } => "CommitEnds",
            Self::CallArrives { .. } => "CallArrives",
            Self::CallAnswered { .. } => "CallAnswered",
            Self::ListAnswered { .. } => "ListAnswered",
            Self::NamespaceAnswered { .. } => "NamespaceAnswered",
            Self::Watch { .. } => "Watch",
            Self::PodStarts { .. } => "PodStarts",
            Self::PodReady { .. } => "PodReady",
            Self::PodEnds { .. } => "PodEnds",
            Self::PodLoops { .. } => "PodLoops",
            Self::PodRemoved { .. } => "PodRemoved",
            Self::Factory => "Factory",
            Self::CallerTries { .. } => "CallerTries",
            Self::Gremlin => "Gremlin",
            Self::Start => "Start",
            Self::DiskHasRoom => "DiskHasRoom",
            Self::OutageEnds => "OutageEnds",
            Self::NamespaceIsMade => "NamespaceIsMade",
            Self::Operator => "Operator",
        }
    }
}

/// Everything.
pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) profile: Profile,
    /// Milliseconds since the world began.
    pub(crate) now: u64,
    agenda: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    pub(crate) cluster: Cluster,
    pub(crate) outage: bool,
    /// The view is falsified and not yet listed anew.
    pub(crate) lying: bool,
    pub(crate) disk: Disk,
    pub(crate) daemon: Option<Box<Daemon>>,
    pub(crate) lives: u64,
    pub(crate) calls: BTreeMap<u64, Sent>,
    pub(crate) factory: Factory,
    pub(crate) model: Model,
    /// The model's states of single machines, where the run is held against them (`follow/`).
    pub(crate) follow: Option<Follow>,
    /// The watch tells one event at a time, with a second between, so that all that follows from it has happened.
    pub(crate) one_by_one: bool,
    pub(crate) policy: Policy,
    /// Sighted time that is over, at most, in milliseconds.
    pub(crate) sighted: u64,
    /// Nothing goes wrong any more, and time runs faster.
    pub(crate) healing: bool,
    /// HostFactory and the gremlins act by themselves.
    pub(crate) lively: bool,
    /// What nobody waits for is committed when it is due, and not at once: in two worlds of seven. The seeds that were
    /// findings are among the others, where they take the course that they took then.
    pub(crate) paces_commits: bool,
    /// What becomes of a pod is decided by a test.
    pub(crate) by_hand: bool,
    pub(crate) stats: Stats,
    trace: VecDeque<String>,
    /// The whole trace is printed as it comes.
    loud: bool,
    hash: DefaultHasher,
}

impl World {
    /// A world whose daemon has just been started for the first time.
    pub(crate) fn new(seed: u64, profile: Profile, with_real_journal: bool) -> Self {
        let mut dice = Dice::new(seed);
        let id = JournalId(dice.bytes());
        let policy = Policy {
            concurrency: 8,
            return_deadline: std::time::Duration::from_secs(600),
            never_polled_cancel: Some(std::time::Duration::from_secs(1800)),
            ..Policy::default()
        };
        let mut world = Self {
            dice,
            profile,
            now: 0,
            agenda: BTreeMap::new(),
            next_event: 0,
            cluster: Cluster::new(),
            outage: false,
            lying: false,
            disk: Disk::new(with_real_journal, id, START),
            daemon: None,
            lives: 0,
            calls: BTreeMap::new(),
            factory: Factory::default(),
            model: Model::default(),
            follow: None,
            one_by_one: false,
            policy,
            sighted: 0,
            healing: false,
            lively: false,
            paces_commits: false,
            by_hand: false,
            stats: Stats::default(),
            trace: VecDeque::new(),
            loud: std::env::var_os("HFD_SIM_TRACE").is_some(),
            hash: DefaultHasher::new(),
        };
        world.start();
        world
    }

    /// A world of one seed, that lives by itself.
    pub(crate) fn of_seed(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0xA5A5_5A5A);
        let profile = Profile::drawn(&mut dice);
        let mut world = Self::new(seed, profile, seed.is_multiple_of(16));
        world.lively = true;
        world.paces_commits = matches!(seed % 7, 1 | 2);
        world.after(500, Event::Factory);
        world.after(2000, Event::Gremlin);
        world
    }

    /// A world of one seed that is held against the model of `lifecycle.md`.
    pub(crate) fn followed(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x5A5A_A5A5);
        let profile = Profile::drawn(&mut dice).without(&Follow::NOT_MODELLED);
        let mut world = Self::new(seed, Profile::calm(), false);
        world.follow = Some(Follow::new());
        world.profile = profile;
        world.lively = true;
        world.after(500, Event::Factory);
        world.after(2000, Event::Gremlin);
        world
    }

    pub(crate) fn wall(&self) -> i64 {
        START + i64::try_from(self.now / 1000).expect("it fits")
    }

    /// Plans `event` for so many milliseconds from now.
    pub(crate) fn after(&mut self, wait: u64, event: Event) {
        self.next_event += 1;
        self.agenda.insert((self.now + wait, self.next_event), event);
    }

    /// Whether a fault happens here and now; counted.
    pub(crate) fn strikes(&mut self, fault: Fault) -> bool {
        let strikes = !self.healing && self.dice.chance(self.profile.rate(fault));
        if strikes {
            self.happens(fault);
        }
        strikes
    }

    pub(crate) fn happens(&mut self, fault: Fault) {
        self.stats.fault(fault);
        self.note(|| format!("  {fault:?}"));
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        let line = format!("{:>9.3} {}", std::time::Duration::from_millis(self.now).as_secs_f64(), line());
        line.hash(&mut self.hash);
        if self.loud {
            println!("{line}");
        }
        if self.trace.len() == SHOWN {
            self.trace.pop_front();
        }
        self.trace.push_back(line);
    }

    /// The last lines of the trace.
    pub(crate) fn trace(&self) -> String {
        self.trace.iter().map(|line| format!("{line}\n")).collect()
    }

    /// A number that stands for all that has happened.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.hash.finish()
    }

    /// What is true, for a check of the model.
    pub(crate) fn truth(&self) -> Truth<'_> {
        let seen = self.daemon.as_ref().and_then(|daemon| daemon.watch.seeing_since);
        Truth {
            cluster: &self.cluster,
            rows: &self.disk.rows,
            wall: self.wall(),
            bound: self.disk.meta.namespace,
            now: self.now,
            sighted: self.sighted + seen.map_or(0, |since| self.now - since),
            lives: self.lives,
        }
    }

    /// The next event; returns whether there was one before `until`.
    pub(crate) fn step(&mut self, until: u64) -> bool {
        let Some((&(at, number), _)) = self.agenda.first_key_value() else { return false };
        if at > until {
            self.now = until;
            return false;
        }
        self.now = at;
        let event = self.agenda.remove(&(at, number)).expect("it was there");
        self.stats.step(event.kind());
        if !matches!(event, Event::Tick { .. } | Event::Watch { .. } | Event::CallAnswered { .. }) {
            self.note(|| format!("{event:?}"));
        }
        self.happen(event);
        self.go_on();
        self.compare_with_model();
        true
    }

    /// Everything that happens until so many seconds from now.
    pub(crate) fn run_for(&mut self, seconds: u64) {
        let until = self.now + seconds * 1000;
        while self.step(until) {}
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Tick { life } if self.is_life(life) => self.tick(),
            // Whatever happened, what is due is begun.
            Event::CommitDue => {}
            Event::CommitEnds { life } if self.is_life(life) => self.commit_ends(),
            Event::CallArrives { number } => self.call_arrives(number),
            Event::CallAnswered { life, number } => self.call_answered(life, number),
            Event::ListAnswered { life } if self.is_life(life) => self.list_answered(),
            Event::NamespaceAnswered { life, read } if self.is_life(life) => self.namespace_answered(read),
            Event::Watch { life, connection } if self.is_life(life) => self.watch_goes_on(connection),
            Event::PodStarts { name, uid } => self.pod_starts(&name, uid),
            Event::PodReady { name, uid } => self.pod_ready(&name, uid),
            Event::PodEnds { name, uid } => self.pod_ends(&name, uid),
            Event::PodLoops { name, uid } => self.pod_loops(&name, uid),
            Event::PodRemoved { name, uid } => self.pod_removed(&name, uid),
            Event::Factory => self.factory_acts(),
            Event::CallerTries { number } => self.caller_tries(number),
            Event::Gremlin => self.gremlin_acts(),
            Event::Start => self.start(),
            Event::DiskHasRoom => self.disk.full = false,
            Event::OutageEnds => self.outage = false,
            Event::NamespaceIsMade => {
                if self.cluster.namespace.is_none() {
                    self.cluster.make_namespace();
                }
            }
            Event::Operator => self.operator_acts(),
            // Of a life that is over.
            Event::Tick { .. }
            | Event::CommitEnds { .. }
            | Event::ListAnswered { .. }
            | Event::NamespaceAnswered { .. }
            | Event::Watch { .. } => {}
        }
    }

    fn is_life(&self, life: u64) -> bool {
        self.daemon.as_ref().is_some_and(|daemon| daemon.life == life)
    }
}
