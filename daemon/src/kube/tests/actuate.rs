//! Single calls: what is sent, and what is made of what comes back.

use hfd_core::outcome::{CreateOutcome, DeleteOutcome, ListOutcome, ListedPod, LookOutcome, NamespaceOutcome};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::kube::{Verb, connect};

#[tokio::test(start_paused = true)]
async fn a_create_posts_the_prepared_body_once() {
    let (cluster, mut server) = cluster(1);
    let ((), outcome) = tokio::join!(
        async {
            let asked = server.asked().await;
            assert_eq!((&asked.method, &*asked.uri), (&Method::POST, "/api/v1/namespaces/symphony/pods"));
            assert_eq!(asked.body, "the body");
            asked.answer(201, pod(3, "1", "Pending").to_string());
        },
        cluster.create(b"the body".to_vec())
    );
    assert_eq!(outcome, CreateOutcome::Created(uid(3)));
    server.idles(SOON).await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_throttled_or_failing_create_is_not_repeated() {
    for code in [403, 409, 429, 500, 503, 504] {
        let (cluster, mut server) = cluster(1);
        let ((), _outcome) =
            tokio::join!(async { server.asked().await.status(code, "Reason", "message") }, cluster.create(Vec::new()));
        server.idles(Duration::from_secs(1200)).await;
    }
}

#[tokio::test]
async fn the_http_client_itself_repeats_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let uri = format!("http://{}", listener.local_addr().expect("its address")).parse().expect("a URL");
    let settings = ClientSettings { access: Access::Given(Box::new(Config::new(uri))), ..settings() };
    let cluster = connect(&settings).await.expect("a client");
    let mut served = 0;
    let outcome = tokio::select! {
        outcome = cluster.create(b"{}".to_vec()) => outcome,
        () = async {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut request = vec![0; 4096];
                assert_ne!(stream.read(&mut request).await.expect("a request"), 0);
                served += 1;
                let answer = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                stream.write_all(answer).await.expect("an answer");
            }
        } => unreachable!("it serves until the outcome is there"),
    };
    assert!(matches!(&outcome, CreateOutcome::NotDone(why) if why.throttled), "{outcome:?}");
    assert_eq!(served, 1);
}

#[tokio::test(start_paused = true)]
async fn a_create_without_an_answer_is_ambiguous_after_its_timeout() {
    let (cluster, mut server) = cluster(1);
    let began = tokio::time::Instant::now();
    let (_unanswered, outcome) = tokio::join!(server.asked(), cluster.create(Vec::new()));
    assert_eq!(outcome, CreateOutcome::Ambiguous("no answer within 30s".to_owned()));
    assert_eq!(began.elapsed().as_secs(), 30);

    let ((), outcome) = tokio::join!(
        async {
            let frames = server.asked().await.stream(201);
            frames.send(Ok(Bytes::from_static(b"{\"metadata\""))).expect("it is read");
            frames.send(Err("connection reset".into())).expect("it is read");
        },
        cluster.create(Vec::new())
    );
    assert!(matches!(outcome, CreateOutcome::Ambiguous(_)), "an answer that breaks off: {outcome:?}");
}

#[tokio::test]
async fn a_connection_that_was_never_made_is_not_done_and_one_that_broke_is_ambiguous() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let uri = format!("http://{address}").parse().expect("a URL");
    let settings = ClientSettings { access: Access::Given(Box::new(Config::new(uri))), ..settings() };
    let cluster = connect(&settings).await.expect("a client");

    let (outcome, ()) = tokio::join!(cluster.create(b"{}".to_vec()), async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut begin = [0; 16];
        stream.read_exact(&mut begin).await.expect("a request");
    });
    assert!(matches!(outcome, CreateOutcome::Ambiguous(_)), "{outcome:?}");

    drop(listener);
    let outcome = cluster.create(b"{}".to_vec()).await;
    assert!(matches!(&outcome, CreateOutcome::NotDone(why) if why.why.contains("refused")), "{outcome:?}");
    let outcome = cluster.look("a").await;
    assert!(matches!(outcome, LookOutcome::NotDone(_)), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_delete_names_the_uid_and_leaves_the_grace_period_to_the_pod() {
    let (cluster, mut server) = cluster(1);
    let name = machine(3).to_string();
    let ((), outcome) = tokio::join!(
        async {
            let asked = server.asked().await;
            assert_eq!(asked.method, Method::DELETE);
            assert_eq!(asked.uri, format!("/api/v1/namespaces/symphony/pods/{name}"));
            let body: Value = serde_json::from_slice(&asked.body).expect("JSON");
            let expected = json!({"apiVersion": "v1", "kind": "DeleteOptions",
                                  "preconditions": {"uid": uid(3).to_string()}});
            assert_eq!(body, expected);
            asked.answer(200, pod(3, "1", "Running").to_string());
        },
        cluster.delete(&name, uid(3), false)
    );
    assert_eq!(outcome, DeleteOutcome::Accepted);
}

#[tokio::test(start_paused = true)]
async fn a_look_tells_ours_from_another_providers_and_from_anybodys_pod() {
    let (cluster, mut server) = cluster(1);
    let name = machine(3).to_string();
    let labelled = |labels: Value| {
        let mut pod = pod(3, "1", "Running");
        pod["metadata"]["labels"] = labels;
        pod
    };
    let request_label = request().to_string();
    let foreign = |hostfactory| LookOutcome::Foreign { hostfactory, uid: uid(3), deleting: false };
    let journal = Some(hfd_core::id::JournalId([0, 0, 0, 0, 0, 0, 0, 255]));
    let cases = [
        (pod(3, "1", "Running"), LookOutcome::Ours { uid: uid(3), request: request(), journal, deleting: false }),
        (labelled(json!({"symphony/hostfactory-reqid": "theirs"})), foreign(true)),
        (
            labelled(json!({"app.kubernetes.io/managed-by": "hfd", "symphony/hostfactory-provider": "other",
                            "symphony/hostfactory-reqid": request_label})),
            foreign(false),
        ),
        (labelled(json!({"app": "database"})), foreign(false)),
        (labelled(json!(null)), foreign(false)),
    ];
    for (pod, expected) in cases {
        let ((), outcome) =
            tokio::join!(async { server.asked().await.answer(200, pod.to_string()) }, cluster.look(&name));
        assert_eq!(outcome, expected, "{pod}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_says_absent_only_in_the_api_servers_own_words() {
    let (cluster, mut server) = cluster(1);
    let ((), outcome) =
        tokio::join!(async { server.asked().await.status(404, "NotFound", "pods \"a\" not found") }, cluster.look("a"));
    assert_eq!(outcome, LookOutcome::Absent);
    for (code, body) in [(404, "404 page not found"), (200, "<html>"), (200, "{}"), (403, "{}"), (500, "")] {
        let ((), outcome) = tokio::join!(async { server.asked().await.answer(code, body) }, cluster.look("a"));
        assert!(matches!(outcome, LookOutcome::NotDone(_)), "{code} {body}: {outcome:?}");
    }
    let refused = async { server.asked().await.status(403, "Forbidden", "pods \"a\" is forbidden") };
    let ((), outcome) = tokio::join!(refused, cluster.look("a"));
    assert!(matches!(&outcome, LookOutcome::Refused(why) if why.contains("is forbidden")), "{outcome:?}");
    let ((), outcome) = tokio::join!(async { server.asked().await.answer(401, "no") }, cluster.look("a"));
    assert_eq!(outcome, LookOutcome::Unauthorized);
}

#[tokio::test(start_paused = true)]
async fn a_text_that_cannot_be_a_name_never_reaches_the_server() {
    let (cluster, mut server) = cluster(1);
    for name in ["../../x", "/etc", "a?watch=true", "", "a b", "%2e"] {
        assert_eq!(cluster.look(name).await, LookOutcome::Absent);
        assert_eq!(cluster.delete(name, uid(1), false).await, DeleteOutcome::Gone);
    }
    server.idles(SOON).await;
}

#[tokio::test(start_paused = true)]
async fn a_list_reads_every_page_at_quorum_and_only_our_pods() {
    let (cluster, mut server) = cluster(1);
    let ((), outcome) = tokio::join!(
        async {
            let first = server.list().await;
            assert_eq!(
                first.uri,
                "/api/v1/namespaces/symphony/pods?limit=500&labelSelector=app.kubernetes.io%2Fmanaged-by%3Dhfd%2C\
                 symphony%2Fhostfactory-provider%3Dk8s-hf"
            );
            first.page("10", Some("a/b=="), &[pod(0, "5", "Running"), json!({"metadata": {"name": "stray"}})]);
            let second = server.list().await;
            assert!(second.uri.ends_with("&continue=a%2Fb%3D%3D"), "{}", second.uri);
            let mut leaving = pod(1, "6", "Failed");
            leaving["metadata"]["deletionTimestamp"] = json!("2026-03-01T10:00:30Z");
            second.pods("10", &[leaving]);
        },
        cluster.list()
    );
    let listed =
        |ordinal, leaving| ListedPod { name: machine(ordinal), uid: uid(ordinal), deleting: leaving, ended: leaving };
    assert_eq!(outcome, ListOutcome::Pods(vec![listed(0, false), listed(1, true)]));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_breaks_off_or_is_no_list_is_no_answer() {
    let (cluster, mut server) = cluster(1);
    for body in ["{}", "[]", "", r#"{"kind":"Status"}"#] {
        let ((), outcome) = tokio::join!(async { server.asked().await.answer(200, body) }, cluster.list());
        assert!(matches!(outcome, ListOutcome::NotDone(_)), "{body:?}: {outcome:?}");
    }
    let ((), outcome) = tokio::join!(
        async {
            server.list().await.page("10", Some("next"), &[pod(0, "5", "Running")]);
            server.list().await.status(410, "Expired", "too old");
        },
        cluster.list()
    );
    assert!(matches!(outcome, ListOutcome::NotDone(_)), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn the_namespace_is_known_unknown_or_not_ours_to_see() {
    let (cluster, mut server) = cluster(1);
    let ((), outcome) = tokio::join!(
        async {
            let asked = server.asked().await;
            assert_eq!(asked.uri, "/api/v1/namespaces/symphony");
            asked.answer(200, json!({"kind": "Namespace", "metadata": {"uid": uid(9).to_string()}}).to_string());
        },
        cluster.namespace_uid()
    );
    assert_eq!(outcome, NamespaceOutcome::Known(uid(9)));
    for (code, expected) in [(403, NamespaceOutcome::NotAllowed), (404, NamespaceOutcome::NotFound)] {
        let ((), outcome) =
            tokio::join!(async { server.asked().await.status(code, "Reason", "message") }, cluster.namespace_uid());
        assert_eq!(outcome, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn every_call_is_counted_by_its_verb() {
    let (asked_tx, mut asked_rx) = mpsc::unbounded_channel::<()>();
    let service = service_fn(move |_: Request<Body>| {
        let asked_tx = asked_tx.clone();
        async move {
            asked_tx.send(())?;
            Ok::<_, BoxError>(Response::new(http_body_util::Full::new(Bytes::from_static(b"{}"))))
        }
    });
    let settings = settings();
    let builder = ClientBuilder::new(service, "symphony");
    let cluster = Cluster::over(builder, &settings, "symphony".to_owned(), "memory".to_owned(), None);
    cluster.create(Vec::new()).await;
    cluster.create(Vec::new()).await;
    cluster.delete("a", uid(1), false).await;
    cluster.look("a").await;
    cluster.list().await;
    cluster.namespace_uid().await;
    let counted = settings.calls.read().map(|(verb, calls)| (verb.as_str(), calls));
    assert_eq!(counted.map(|(_, calls)| calls), [2, 1, 1, 1, 0, 1], "{counted:?}");
    assert_eq!(counted[0].0, Verb::Create.as_str());
    assert_eq!(asked_rx.recv_many(&mut Vec::new(), 100).await, 6);
}
