//! The one place that knows whether there is a client, and makes a new one when there must be.
//!
//! A [`Keeper`] (one task) connects, publishes the [`Cluster`], and builds a new client when somebody saw a 401, when the
//! credentials expire, or when the kubeconfig or a file that it names was replaced. Everybody else holds a [`Link`] and
//! takes the current client for each call. A client that was once made stays in use until a better one exists: an outage
//! of the identity provider must not blind us.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    access::Files,
    client::{ClientSettings, Cluster, ConnectError, connect_noting, explained},
};

/// First pause after a failure; doubles up to [`PAUSE_MAX`]. A kubeconfig that appears is in use this soon.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Longest pause between attempts to build a client.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A client that served this long was a good one: the next rebuild comes without a pause.
const GOOD_AFTER: Duration = Duration::from_secs(60);

/// Everybody's way to the current client.
#[derive(Clone)]
pub struct Link {
    state: watch::Receiver<State>,
    stale: Arc<watch::Sender<u64>>,
}

/// Keeps the [`Link`] connected.
pub struct Keeper {
    settings: ClientSettings,
    state: watch::Sender<State>,
    stale: watch::Receiver<u64>,
}

#[derive(Clone, Default)]
struct State {
    cluster: Option<Arc<Cluster>>,
    trouble: Option<Arc<str>>,
}

impl Link {
    /// A link that nobody is connected to yet, and the keeper that has to be run.
    #[must_use]
    pub fn new(settings: ClientSettings) -> (Self, Keeper) {
        let (state_tx, state_rx) = watch::channel(State::default());
        let (stale_tx, stale_rx) = watch::channel(0);
        let link = Self { state: state_rx, stale: Arc::new(stale_tx) };
        (link, Keeper { settings, state: state_tx, stale: stale_rx })
    }

    /// The client to use now; `None` as long as none could be made.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Cluster>> {
        self.state.borrow().cluster.clone()
    }

    /// Why the last attempt to make a client failed, for `status`.
    #[must_use]
    pub fn trouble(&self) -> Option<Arc<str>> {
        self.state.borrow().trouble.clone()
    }

    /// Says that the client with this [`Cluster::build`] got a 401. Many calls may say so of one client; it is rebuilt
    /// once.
    pub fn rebuild(&self, build: u64) {
        self.stale.send_if_modified(|stale| {
            let newer = build > *stale;
            *stale = build.max(*stale);
            newer
        });
    }

    /// Waits for a client newer than `build`; `None` when the keeper has ended.
    pub async fn newer_than(&mut self, build: u64) -> Option<Arc<Cluster>> {
        let newer = |state: &State| state.cluster.as_ref().is_some_and(|cluster| cluster.build > build);
        self.state.wait_for(newer).await.ok()?.cluster.clone()
    }
}

impl Keeper {
    /// Connects, and connects again whenever it is needed, until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let keep = async {
            let mut build = 0;
            let mut pause = PAUSE_MIN;
            loop {
                let began = Instant::now();
                let mut files = Files::default();
                match connect_noting(&self.settings, &mut files).await {
                    Ok(cluster) => {
                        build += 1;
                        self.publish(Cluster { build, ..cluster });
                        self.until_stale(build, &files).await;
                    }
                    Err(error) => self.report(&error),
                }
                let edited = files.have_changed().await;
                if edited || began.elapsed() >= GOOD_AFTER {
                    pause = PAUSE_MIN;
                    if edited {
                        // A plug-in may write to one of them each time it runs: not at once, again and again.
                        sleep(PAUSE_MIN).await;
                    }
                    continue;
                }
                tokio::select! {
                    () = sleep(pause) => {}
                    () = files.change() => {}
                }
                pause = (pause * 2).min(PAUSE_MAX);
            }
        };
        let _stopped: Option<std::convert::Infallible> = shutdown.run_until_cancelled(keep).await;
    }

    pub(super) fn publish(&self, cluster: Cluster) {
        info!(server = cluster.server, namespace = cluster.namespace, build = cluster.build, "kubernetes client made");
        self.state.send_modify(|state| {
            state.cluster = Some(Arc::new(cluster));
            state.trouble = None;
        });
    }

    fn report(&self, error: &ConnectError) {
        let why: Arc<str> = explained(error).into();
        self.state.send_if_modified(|state| {
            let news = state.trouble.as_ref() != Some(&why);
            if news {
                warn!(error = &*why, "no kubernetes client");
                state.trouble = Some(why);
            }
            news
        });
    }

    /// Until somebody calls this client stale, its credentials are about to expire, or one of its files was replaced: a
    /// wrong address or authority is mended by that, and nothing else would tell us.
    async fn until_stale(&mut self, build: u64, files: &Files) {
        let expires = self.state.borrow().cluster.as_ref().and_then(|cluster| expiry(cluster));
        let expired = async {
            match expires {
                Some(expires) => sleep_until(expires).await,
                None => std::future::pending().await,
            }
        };
        let refused = async {
            // An error means that no link is left; then nothing is asked of us any more.
            if self.stale.wait_for(|&stale| stale >= build).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = expired => info!("credentials expire; making a new kubernetes client"),
            () = refused => warn!("credentials refused (401); making a new kubernetes client"),
            () = files.change() => info!("a file of the credentials was replaced; making a new kubernetes client"),
        }
    }
}

/// When the credentials of a client end, on our clock, a minute early.
fn expiry(cluster: &Cluster) -> Option<Instant> {
    let until = (*cluster.client.valid_until())?;
    let left = std::time::SystemTime::from(until).duration_since(std::time::SystemTime::now()).unwrap_or_default();
    Some(Instant::now() + left.saturating_sub(Duration::from_secs(60)))
}
