//! Follows the template file and its manifests.
//!
//! By asking for their state every few seconds, not by inotify: `$HF_CONFDIR` is shared between management hosts over
//! NFS, and another host's edits raise no event here. A changed file is read once two looks in a row find it the same,
//! so that half-written files are rarely read; if one is, its last good version stays and the next look reads again.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use tokio::{sync::watch::Sender, task, time};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Source, TemplateSet, files::Stamp, load};
use crate::clock;

/// Time between two looks: an edit counts after at most three of them.
pub const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Publishes a new set whenever the files say something new, until `stop`.
///
/// `sets` holds the set of a first [`load`], or an empty one. A file system that does not answer holds up this task
/// and nothing else: the last set stays in force.
pub async fn watch(source: Source, sets: Sender<Arc<TemplateSet>>, stop: CancellationToken) {
    let source = Arc::new(source);
    let mut unsettled = None;
    let mut looks = time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = stop.cancelled() => return,
        }
        let current = Arc::clone(&sets.borrow());
        let look = look(Arc::clone(&source), current, unsettled.take());
        match task::spawn_blocking(look).await {
            Ok(Look::Same) => {}
            Ok(Look::Unsettled(stamps)) => unsettled = Some(stamps),
            Ok(Look::Read(set)) => publish(&sets, *set),
            // The look panicked, or the runtime is going down; the set in force is not touched.
            Err(error) => warn!(%error, "templates could not be looked at"),
        }
    }
}

type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

enum Look {
    /// Nothing has changed.
    Same,
    /// Something has, and may still be in the making.
    Unsettled(Stamps),
    /// It has settled.
    Read(Box<TemplateSet>),
}

fn look(source: Arc<Source>, current: Arc<TemplateSet>, unsettled: Option<Stamps>) -> impl FnOnce() -> Look + Send {
    move || {
        let candidates = source.candidates.iter();
        let stamps: Stamps =
            current.stamps.keys().chain(candidates).map(|path| (path.clone(), Stamp::of(path))).collect();
        if stamps == current.stamps && !current.retry {
            return Look::Same;
        }
        if stamps != current.stamps && unsettled.as_ref() != Some(&stamps) {
            return Look::Unsettled(stamps);
        }
        Look::Read(Box::new(load(&source, Some(&current), clock::wall())))
    }
}

/// Everyone sees the new set; it is logged only if it says something new.
fn publish(sets: &Sender<Arc<TemplateSet>>, set: TemplateSet) {
    sets.send_if_modified(|current| {
        let is_news = !current.says_the_same(&set);
        if is_news {
            info!(usable = set.usable.len(), broken = set.broken.len(), "templates changed");
            let known: Vec<_> = current.warnings().collect();
            set.warnings().filter(|warning| !known.contains(warning)).for_each(|warning| warn!("{warning}"));
        }
        // Stored even if it says the same: its stamps are newer.
        *current = Arc::new(set);
        is_news
    });
}
