//! What all loops share: the world they know, the stage of the run, and the one way to call a script.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use serde_json::Value;

use super::{
    book::Book,
    call::{Call, Outcome, Verb},
    clock::{Clock, Moment, Span},
    cluster::Cluster,
    contract::{Answer, Contract},
    install::Provider,
    judge::{Bounds, Claim, Judge, Look, Settled},
    observer,
    options::Options,
    random::Random,
    rule::Lie,
    runner,
    stats::Stats,
};

/// Where the run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Demand rises and falls.
    Running,
    /// All is given back.
    Draining,
    /// The end, or a lie.
    Stopped,
}

/// All that changes, under one lock that is held for computations only.
#[derive(Debug)]
pub struct World {
    /// The witness of everything.
    pub judge: Judge,
    /// What HostFactory knows.
    pub book: Book,
    /// Figures.
    pub stats: Stats,
    /// Claims that wait for the watch or for a look, and since when.
    pub pending: Vec<(Claim, Moment)>,
    /// Where the watch stands.
    pub version: String,
    /// Whether it stands.
    pub watching: bool,
    /// Calls under way that may change something.
    pub acting: usize,
    /// The first lie.
    pub lie: Option<Lie>,
    /// Why the run can't go on.
    pub trouble: Option<anyhow::Error>,
}

/// The run.
#[derive(Debug)]
pub struct Factory {
    /// The command line.
    pub options: Options,
    /// The provider as installed.
    pub provider: Provider,
    /// The run's clock.
    pub clock: Clock,
    /// The own way to the cluster.
    pub cluster: Cluster,
    /// The seed in force.
    pub seed: u64,
    contract: Contract,
    world: Mutex<World>,
    stage: Mutex<Stage>,
    turned: Condvar,
    numbers: AtomicU64,
    /// Which HostFactory this is: one more with each failover.
    life: AtomicU64,
}

impl Factory {
    /// A run that has not begun.
    ///
    /// # Errors
    /// When the kubeconfig can't be used.
    pub fn new(options: Options, provider: Provider, seed: u64) -> Result<Self> {
        let bounds = Bounds {
            view_lag: options.view_lag,
            reclaim_within: options.reclaim_within,
            others_disturb: options.others_disturb,
        };
        let world = World {
            judge: Judge::new(bounds, file_order(&provider)),
            book: Book::default(),
            stats: Stats::default(),
            pending: Vec::new(),
            version: String::new(),
            watching: false,
            acting: 0,
            lie: None,
            trouble: None,
        };
        Ok(Self {
            cluster: Cluster::open(&options, &provider.name)?,
            contract: Contract::new()?,
            options,
            provider,
            clock: Clock::start(),
            seed,
            world: Mutex::new(world),
            stage: Mutex::new(Stage::Running),
            turned: Condvar::new(),
            numbers: AtomicU64::new(0),
            life: AtomicU64::new(0),
        })
    }

    /// Works on the world under its lock.
    pub fn with<T>(&self, work: impl FnOnce(&mut World) -> T) -> T {
        work(&mut lock(&self.world))
    }

    /// The dice of a loop.
    pub fn random(&self, name: &str) -> Random {
        Random::of(self.seed, name)
    }

    /// The stage now.
    pub fn stage(&self) -> Stage {
        *lock(&self.stage)
    }

    /// Goes to a later stage; never back.
    pub fn turn(&self, stage: Stage) {
        let mut now = lock(&self.stage);
        *now = (*now).max(stage);
        self.turned.notify_all();
    }

    /// Whether the run is over.
    pub fn stopped(&self) -> bool {
        self.stage() == Stage::Stopped
    }

    /// Waits for a time, or until the stage changes. True while it is the same.
    pub fn pause(&self, time: Duration) -> bool {
        let stage = lock(&self.stage);
        let before = *stage;
        let waited = self.turned.wait_timeout_while(stage, time, |now| *now == before);
        *waited.unwrap_or_else(PoisonError::into_inner).0 == before
    }

    /// The first lie stops the run.
    pub fn accuse(&self, lie: Lie) {
        self.with(|world| world.lie.get_or_insert(lie).rule);
        self.turn(Stage::Stopped);
    }

    /// HostFactory's host has died: its scripts with it, and its memory.
    pub fn fail_over(&self) {
        self.with(|world| {
            self.life.fetch_add(1, Ordering::SeqCst);
            world.book.fail_over();
            world.stats.failovers += 1;
        });
    }

    /// Which HostFactory this is.
    pub fn life(&self) -> u64 {
        self.life.load(Ordering::SeqCst)
    }

    /// Calls a script, judges what comes, and lets HostFactory learn from a reply. True when it replied.
    pub fn ask(
        self: &Arc<Self>,
        verb: Verb,
        input: &Value,
        random: &mut Random,
        learn: impl FnOnce(&mut Book, &Value),
    ) -> bool {
        if self.stopped() {
            return false;
        }
        let life = self.life();
        let killed = self.stage() == Stage::Running && random.chance(self.options.kill_scripts);
        let kill_after =
            killed.then(|| Duration::from_micros(random.within(0..=1000) as u64) * (1 << random.within(0..=7)));
        let begun = self.clock.now();
        let begun_wall = Clock::wall();
        self.with(|world| {
            world.acting += usize::from(verb.acts());
            world.judge.begin(verb, input, begun);
        });
        let abandoned = || self.stopped() || self.life() != life;
        let bounds = runner::Bounds { limit: self.options.time_limit, kill_after, abandoned: &abandoned };
        let left = match runner::run(&self.provider, verb, input, &bounds) {
            Ok(left) => left,
            Err(error) => {
                self.with(|world| world.trouble.get_or_insert(error).to_string());
                self.turn(Stage::Stopped);
                return false;
            }
        };
        if self.stopped() {
            return false;
        }
        let span = Span { begun, ended: self.clock.now() };
        let wall = (begun_wall, Clock::wall());
        let number = self.numbers.fetch_add(1, Ordering::SeqCst);
        let runner::Left { outcome, stdout, stderr } = left;
        let call = Call { number, verb, input: input.clone(), span, wall, outcome, stdout, stderr };
        match self.with(|world| self.conclude(world, call, life, learn)) {
            Ok((replied, claims)) => {
                self.look_at(claims);
                replied
            }
            Err(lie) => {
                self.accuse(lie);
                false
            }
        }
    }

    fn conclude(
        &self,
        world: &mut World,
        mut call: Call,
        life: u64,
        learn: impl FnOnce(&mut Book, &Value),
    ) -> Result<(bool, Vec<Claim>), Lie> {
        world.acting -= usize::from(call.verb.acts());
        // A reply that comes after the failover was read by nobody.
        if self.life() != life {
            call.outcome = Outcome::Killed;
        }
        let call = Arc::new(call);
        let answer = self.contract.read(&call, &mut world.judge.checks)?;
        world.stats.called(&call, &answer);
        let claims = world.judge.end(&call, &answer)?;
        if let Answer::Reply(reply) = &answer {
            world.book.now = call.ended();
            learn(&mut world.book, reply);
        }
        let mut looks = Vec::new();
        for claim in claims {
            match world.judge.settle(&claim, None, false)? {
                Settled::Look => looks.push(claim),
                Settled::Wait => world.pending.push((claim, call.ended())),
                Settled::True | Settled::Undecided => {}
            }
        }
        Ok((matches!(answer, Answer::Reply(_)), looks))
    }

    /// Settles claims by looks of our own; what can't be looked at now waits.
    pub fn look_at(&self, claims: Vec<Claim>) {
        if claims.is_empty() {
            return;
        }
        let names: Vec<&str> = claims.iter().filter_map(|claim| claim.kind.machine()).collect();
        let looks = self.cluster.looks(&names);
        let now = self.clock.now();
        let settled = self.with(|world| match looks {
            Ok(looks) => settle(world, &claims, &looks),
            Err(_) => {
                world.pending.extend(claims.into_iter().map(|claim| (claim, now)));
                Ok(())
            }
        });
        if let Err(lie) = settled {
            self.accuse(lie);
        }
    }

    /// One round over the claims that wait, and one audit.
    pub fn settle_pending(self: &Arc<Self>) {
        let now = self.clock.now();
        let round = self.with(|world| round(world, now, self.options.catch_up));
        let (looks, overdue) = match round {
            Ok(found) => found,
            Err(lie) => return self.accuse(lie),
        };
        self.look_at(looks);
        if overdue.is_empty() {
            return;
        }
        let caught_up = observer::catch_up(self);
        let now = self.clock.now();
        let settled = self.with(|world| {
            for (claim, since) in overdue {
                // Without the catching-up nobody is accused: it is tried again later.
                if world.judge.settle(&claim, None, caught_up)? == Settled::Wait {
                    world.pending.push((claim, if caught_up { since } else { now }));
                }
            }
            Ok(())
        });
        if let Err(lie) = settled {
            self.accuse(lie);
        }
    }
}

type Waiting = Vec<(Claim, Moment)>;

fn round(world: &mut World, now: Moment, catch_up: Duration) -> Result<(Vec<Claim>, Waiting), Lie> {
    let mut looks = world.judge.audit()?;
    let mut overdue = Vec::new();
    for (claim, since) in std::mem::take(&mut world.pending) {
        match world.judge.settle(&claim, None, false)? {
            Settled::Look => looks.push(claim),
            Settled::Wait => {
                // The watch's time to catch up runs only while it stands.
                let waits_since = since.max(world.judge.pods.standing_since);
                if world.watching && now > waits_since + catch_up {
                    overdue.push((claim, since));
                } else {
                    world.pending.push((claim, since));
                }
            }
            Settled::True | Settled::Undecided => {}
        }
    }
    Ok((looks, overdue))
}

fn settle(world: &mut World, claims: &[Claim], looks: &[Look]) -> Result<(), Lie> {
    for (claim, look) in claims.iter().zip(looks) {
        world.judge.settle(claim, Some(look), true)?;
    }
    Ok(())
}

/// A panic of one loop must not hide what the others found.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ids of the template file in its order, where the provider's directory has one that is plain JSON.
fn file_order(provider: &Provider) -> Vec<String> {
    let own = provider.confdir.join(format!("{}prov_templates.json", provider.name));
    let common = provider.confdir.join("k8sprov_templates.json");
    let read =
        |file: &Path| -> Option<BTreeMap<String, Value>> { serde_json::from_slice(&std::fs::read(file).ok()?).ok() };
    let file = read(&own).or_else(|| read(&common)).unwrap_or_default();
    let list = file.get("templates").and_then(Value::as_array).cloned().unwrap_or_default();
    list.iter().filter_map(|template| template["templateId"].as_str().map(str::to_owned)).collect()
}
