//! What the watch takes in from an API server in memory.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use kube::{
    Config,
    client::{Body, ClientBuilder},
};
use serde_json::Value;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tower::{BoxError, service_fn};

use super::{Access, Calls, ClientSettings, Cluster, Link, PodWatch, Seen, WatchSettings};
use crate::{
    cache::PodCache,
    workloads::{machine, request, uid},
};

/// A pod as the API server tells it, some 5 KB; only that of its line breaks is missing on the wire.
const POD: &str = include_str!("workload-pod.json");

/// Pods of a page.
const PAGE: u32 = 500;

/// Lists `pods` pods and takes in `times` events, each of which is news.
pub(crate) fn events(pods: u32, times: u32) {
    watch(pods, 0, times as usize);
}

/// Lists `pods` pods once and then `times` times again, each of them changed each time.
pub(crate) fn lists(pods: u32, times: u32) {
    watch(pods, times as usize, 0);
}

fn watch(pods: u32, lists_more: usize, events: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let server = Arc::new(Server::new(pods, events));
        let settings = settings();
        let builder = ClientBuilder::new(
            service_fn(move |request: Request<Body>| {
                let answer = server.answer(request.uri().query().unwrap_or_default());
                async move { Ok::<_, Infallible>(answer) }
            }),
            "symphony",
        );
        let cluster = Cluster::over(builder, &settings, "symphony".to_owned(), "memory".to_owned(), None);
        let (link, keeper) = Link::new(settings);
        keeper.publish(Cluster { build: 1, ..cluster });
        let (seen_tx, mut seen) = mpsc::channel(16);
        let (cache, relist, stop) = (Arc::new(PodCache::new()), Arc::new(Notify::new()), CancellationToken::new());
        let times = WatchSettings {
            page_size: PAGE,
            watch_timeout: Duration::from_secs(290),
            fresh_within: Duration::from_secs(90),
        };
        let mut watch = JoinSet::new();
        watch.spawn(PodWatch::new(link, cache.clone(), seen_tx, relist.clone(), times).run(stop.clone()));
        let (mut lists_done, mut news) = (0, 0);
        while lists_done <= lists_more || news < pods as usize * (1 + lists_more) + events {
            match seen.recv().await.expect("the watch goes on") {
                Seen::Pods(pods) => news += pods.len(),
                Seen::ListDone { swept } => {
                    assert!(swept.is_empty(), "{swept:?}");
                    lists_done += 1;
                    if lists_done <= lists_more {
                        relist.notify_one();
                    }
                }
                Seen::ListBegan | Seen::Fresh(_) => {}
                other => panic!("{other:?}"),
            }
        }
        stop.cancel();
        watch.join_next().await.expect("the watch was started").expect("it ends");
        assert_eq!((lists_done, news), (1 + lists_more, pods as usize * (1 + lists_more) + events));
        assert_eq!(cache.len(), pods as usize);
    });
}

/// Of a client whose API server is in this process; the tests beside have the same.
pub(super) fn settings() -> ClientSettings {
    ClientSettings {
        access: Access::Given(Box::new(Config::new(http::Uri::from_static("http://127.0.0.1:1")))),
        namespace: Some("symphony".to_owned()),
        instance: "k8s-hf".to_owned(),
        call_timeout: Duration::from_secs(30),
        fresh_within: Duration::from_secs(90),
        calls: Arc::new(Calls::default()),
    }
}

/// Everything that it answers, written beforehand: of the pods not ready, and of them ready.
struct Server {
    pages: [Vec<Bytes>; 2],
    lines: [Vec<Bytes>; 2],
    lists: AtomicUsize,
    events: usize,
}

impl Server {
    fn new(pods: u32, events: usize) -> Self {
        let texts = |ready| (0..pods).map(|ordinal| pod(ordinal, ready)).collect::<Vec<_>>();
        let texts = [texts(false), texts(true)];
        let lines = |texts: &Vec<String>| {
            let line = |text| Bytes::from(format!("{{\"type\":\"MODIFIED\",\"object\":{text}}}\n"));
            // Only those that are told.
            if events == 0 { Vec::new() } else { texts.iter().map(line).collect() }
        };
        Self {
            pages: texts.each_ref().map(|texts| pages(texts)),
            lines: texts.each_ref().map(lines),
            lists: AtomicUsize::new(0),
            events,
        }
    }

    fn answer(self: &Arc<Self>, query: &str) -> Response<UnsyncBoxBody<Bytes, BoxError>> {
        let field = |name: &str| query.split('&').find_map(|field| field.strip_prefix(name));
        let body = if field("watch=") == Some("true") {
            // One after the other, each of the pods in turn and each time changed; then nothing more.
            let server = self.clone();
            let line = move |place: usize| {
                let pods = server.lines[0].len();
                Ok(Frame::data(server.lines[(place / pods + 1) % 2][place % pods].clone()))
            };
            StreamBody::new(stream::iter((0..self.events).map(line)).chain(stream::pending())).boxed_unsync()
        } else {
            let page: usize = field("continue=").map_or(0, |page| page.parse().expect("a token of ours"));
            let list = match page {
                0 => self.lists.fetch_add(1, Ordering::Relaxed),
                _ => self.lists.load(Ordering::Relaxed) - 1,
            };
            Full::new(self.pages[list % 2][page].clone()).map_err(|never: Infallible| match never {}).boxed_unsync()
        };
        Response::new(body)
    }
}

/// The pages of a list.
fn pages(pods: &[String]) -> Vec<Bytes> {
    let chunks = pods.chunks(PAGE as usize);
    let count = chunks.len();
    let page = |(place, pods): (usize, &[String])| {
        let next = if place + 1 < count { format!(r#","continue":"{}""#, place + 1) } else { String::new() };
        let head = format!(r#"{{"kind":"PodList","apiVersion":"v1","metadata":{{"resourceVersion":"7"{next}}}"#);
        Bytes::from(format!(r#"{head},"items":[{}]}}"#, pods.join(",")))
    };
    chunks.enumerate().map(page).collect()
}

fn pod(ordinal: u32, ready: bool) -> String {
    let text = POD
        .replace("@name@", &machine(ordinal).to_string())
        .replace("@uid@", &uid(ordinal).to_string())
        .replace("@request@", &request().to_string())
        .replace("@version@", &(100_000 + ordinal).to_string())
        .replace("@ready@", if ready { "True" } else { "False" });
    serde_json::from_str::<Value>(&text).expect("JSON").to_string()
}
