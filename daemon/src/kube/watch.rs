//! The pod watch: one task from the API server's stream to the cache and the engine.
//!
//! ```text
//!  API server ── LIST pages, then a watch ──> kube's watcher ──> this task ──> PodCache (written here only)
//!                     │ bytes, below the watcher                     └──────> Seen, bounded channel ──> engine
//!                     └──> Heartbeat ──> Freshness
//! ```
//! It tells the engine what it saw, in order; it never acts and never judges. The channel is bounded and awaited: an
//! engine that falls behind slows the watch, and nothing is lost.
//!
//! *A list begins for the engine before it begins for the server.* kube's watcher yields `Init` from its empty state
//! and sends the LIST only when polled again; this task polls again only after the engine has taken `ListBegan` out of
//! the channel. So a 201 that the engine knew by then came before the LIST was read, and absence from that list counts
//! for it (`lifecycle.md` 7). Merely queued it would not do: a busy engine might learn of later 201s first.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, Stream, StreamExt};
use hfd_core::id::MachineName;
use kube::{
    Api,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    actuate::is_credential_error,
    client::{Cluster, explained},
    freshness::Freshness,
    intern::Interner,
    link::Link,
    wire::{Sighting, SlimPod},
};
use crate::cache::PodCache;

/// How often freshness is checked.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Most pods in one message to the engine.
const BATCH: usize = 256;
/// After a 401, how long to wait for a new client before the old one is tried again.
const NEW_CLIENT_WITHIN: Duration = Duration::from_secs(30);

/// What the watch tells the engine, in the order in which it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A list begins. The LIST is sent only after this was received: what was known by then, the list should contain.
    ListBegan,
    /// News of pods; the cache already has it.
    Pods(Vec<PodSeen>),
    /// The list is complete. The first one: synced.
    ListDone {
        /// Machines whose pods were cached and are gone.
        swept: Vec<MachineName>,
    },
    /// Whether what was seen last may still be believed; sent when it changes, `false` at first.
    Fresh(bool),
    /// The API server refused our credentials, or we could not get any. A new client has been asked for.
    Unauthorized,
    /// The stream failed; it is being resumed. For `status`.
    Failed(String),
}

/// News of one pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodSeen {
    /// Its machine.
    pub name: MachineName,
    /// It exists; its record is in the cache. Otherwise it was seen deleted.
    pub present: bool,
}

/// How the watch runs.
#[derive(Debug, Clone, Copy)]
pub struct WatchSettings {
    /// Pods per page of a LIST.
    pub page_size: u32,
    /// The server ends a watch after this time, told to it in whole seconds.
    pub watch_timeout: Duration,
    /// Silence after which the view is not believed (`lifecycle.md` 7: 90 s).
    pub fresh_within: Duration,
}

/// The watch task.
pub struct PodWatch {
    link: Link,
    cache: Arc<PodCache>,
    seen: mpsc::Sender<Seen>,
    relist: Arc<Notify>,
    settings: WatchSettings,
    interner: Interner,
    freshness: Freshness,
    told_fresh: bool,
}

/// Why one run over one client ended.
enum End {
    /// The engine or the link is gone.
    Stopped,
    /// A fresh list is wanted, or a new client is there.
    Again,
    /// 401.
    Unauthorized,
}

/// The engine is gone.
struct NobodyListens;

impl PodWatch {
    /// A watch that fills `cache` and tells `seen`. A permit of `relist` makes it start over with a fresh LIST.
    #[must_use]
    pub fn new(
        link: Link,
        cache: Arc<PodCache>,
        seen: mpsc::Sender<Seen>,
        relist: Arc<Notify>,
        settings: WatchSettings,
    ) -> Self {
        Self {
            link,
            cache,
            seen,
            relist,
            settings,
            interner: Interner::new(),
            freshness: Freshness::new(settings.fresh_within, Instant::now()),
            told_fresh: false,
        }
    }

    /// Watches until `shutdown`, or until the engine or the link is gone.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let watching = async {
            while let Some(cluster) = self.link.newer_than(0).await {
                match self.over(&cluster).await {
                    End::Stopped => return,
                    End::Again => {}
                    End::Unauthorized => {
                        self.link.rebuild(cluster.build);
                        // Whether a new client came or not, the next round takes the current one.
                        let _in_time = timeout(NEW_CLIENT_WITHIN, self.link.newer_than(cluster.build)).await;
                    }
                }
            }
        };
        let _ended = shutdown.run_until_cancelled(watching).await;
    }

    /// One run over one client.
    async fn over(&mut self, cluster: &Cluster) -> End {
        let api: Api<SlimPod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let seconds = u32::try_from(self.settings.watch_timeout.as_secs()).unwrap_or(u32::MAX);
        let config =
            watcher::Config::default().labels(&cluster.selector).page_size(self.settings.page_size).timeout(seconds);
        let mut events = std::pin::pin!(watcher(api, config).default_backoff());
        let mut link = self.link.clone();
        let mut new_client = std::pin::pin!(link.newer_than(cluster.build));
        let mut checks = interval(CHECK_EVERY);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let relist = Arc::clone(&self.relist);
            let item = tokio::select! {
                biased;
                () = relist.notified() => Err(End::Again),
                newer = &mut new_client => Err(if newer.is_some() { End::Again } else { End::Stopped }),
                _ = checks.tick() => Ok(None),
                item = events.next() => Ok(Some(item)),
            };
            let step = match item {
                Ok(Some(item)) => self.take(item, events.as_mut(), cluster).await,
                Ok(None) => {
                    self.freshness.check(cluster.heartbeat.last_beat(), Instant::now());
                    self.tell_fresh().await.map_err(End::from)
                }
                Err(end) => Err(end),
            };
            if let Err(end) = step {
                self.freshness.error(Instant::now());
                return match self.tell_fresh().await {
                    Ok(()) => end,
                    Err(gone) => gone.into(),
                };
            }
        }
    }

    /// Takes one item and those that are ready behind it.
    async fn take<S>(
        &mut self,
        first: Option<watcher::Result<Event<SlimPod>>>,
        mut events: std::pin::Pin<&mut S>,
        cluster: &Cluster,
    ) -> Result<(), End>
    where
        S: Stream<Item = watcher::Result<Event<SlimPod>>>,
    {
        let mut batch = Vec::new();
        let mut next = first;
        while let Some(item) = next {
            match item {
                Ok(event) => self.event(event, &mut batch).await?,
                Err(error) => {
                    self.flush(&mut batch).await?;
                    self.failed(&error, cluster).await?;
                }
            }
            if batch.len() >= BATCH {
                break;
            }
            next = events.next().now_or_never().flatten();
        }
        self.flush(&mut batch).await?;
        Ok(self.tell_fresh().await?)
    }

    async fn event(&mut self, event: Event<SlimPod>, batch: &mut Vec<PodSeen>) -> Result<(), NobodyListens> {
        let now = Instant::now();
        match event {
            Event::Init => {
                self.flush(batch).await?;
                self.freshness.list_began();
                self.tell_fresh().await?;
                self.cache.begin_list();
                self.tell(Seen::ListBegan).await?;
                self.all_taken().await?;
            }
            Event::InitApply(pod) => self.applied(&pod, batch),
            Event::InitDone => {
                self.flush(batch).await?;
                let swept = self.cache.end_list();
                debug!(pods = self.cache.len(), swept = swept.len(), "pods listed");
                self.tell(Seen::ListDone { swept }).await?;
                self.freshness.list_done(now);
            }
            Event::Apply(pod) => {
                self.applied(&pod, batch);
                self.freshness.event(now);
            }
            Event::Delete(pod) => {
                self.deleted(&pod, batch);
                self.freshness.event(now);
            }
        }
        Ok(())
    }

    fn applied(&mut self, pod: &SlimPod, batch: &mut Vec<PodSeen>) {
        match pod.sighting(&mut self.interner) {
            Sighting::Ours(name, record) => {
                if !self.cache.knows_request(&name.request)
                    && let Some(facts) = pod.facts()
                {
                    self.cache.learn_request(name.request, facts);
                }
                if self.cache.apply(name, record) {
                    batch.push(PodSeen { name, present: true });
                }
            }
            Sighting::Stray(name) => self.cache.note_stray(&name),
        }
    }

    fn deleted(&self, pod: &SlimPod, batch: &mut Vec<PodSeen>) {
        if let Some((name, uid)) = pod.identity()
            && self.cache.delete(&name, uid)
        {
            batch.push(PodSeen { name, present: false });
        }
        self.cache.forget_stray(pod.name());
    }

    async fn failed(&mut self, error: &watcher::Error, cluster: &Cluster) -> Result<(), End> {
        self.freshness.error(Instant::now());
        self.tell_fresh().await?;
        if cluster.heartbeat.take_unauthorized() || is_unauthorized(error) {
            self.tell(Seen::Unauthorized).await?;
            return Err(End::Unauthorized);
        }
        Ok(self.tell(Seen::Failed(explained(error))).await?)
    }

    async fn flush(&self, batch: &mut Vec<PodSeen>) -> Result<(), NobodyListens> {
        if batch.is_empty() { Ok(()) } else { self.tell(Seen::Pods(std::mem::take(batch))).await }
    }

    async fn tell_fresh(&mut self) -> Result<(), NobodyListens> {
        let fresh = self.freshness.is_fresh();
        if fresh != self.told_fresh {
            self.tell(Seen::Fresh(fresh)).await?;
            self.told_fresh = fresh;
        }
        Ok(())
    }

    /// Until the engine has taken everything out of the channel.
    async fn all_taken(&self) -> Result<(), NobodyListens> {
        let room = self.seen.reserve_many(self.seen.max_capacity()).await;
        room.map(drop).map_err(|_| NobodyListens)
    }

    async fn tell(&self, seen: Seen) -> Result<(), NobodyListens> {
        self.seen.send(seen).await.map_err(|_| NobodyListens)
    }
}

impl From<NobodyListens> for End {
    fn from(_: NobodyListens) -> Self {
        Self::Stopped
    }
}

/// A 401 in any of the forms in which the watcher passes one on.
fn is_unauthorized(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => {
            is_credential_error(error) || matches!(error, kube::Error::Api(status) if status.code == 401)
        }
        watcher::Error::WatchError(status) => status.code == 401,
        watcher::Error::NoResourceVersion => false,
    }
}
