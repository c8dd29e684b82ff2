//! Making clients: missing configuration is a clear error and heals by itself.

use std::path::PathBuf;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::kube::{Keeper, Link, connect};

const KUBECONFIG: &str = r#"
apiVersion: v1
kind: Config
current-context: here
contexts:
- {name: here, context: {cluster: c, user: u, namespace: from-context}}
- {name: there, context: {cluster: c, user: u}}
clusters:
- {name: c, cluster: {server: "http://127.0.0.1:1"}}
users:
- {name: u, user: {token: t}}
"#;

/// A file of this test that is removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("hfd-test-{}-{name}", std::process::id())))
    }

    fn settings(&self, context: Option<&str>) -> ClientSettings {
        let access = Access::Kubeconfig { path: Some(self.0.clone()), context: context.map(str::to_owned) };
        ClientSettings { access, namespace: None, ..settings() }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may never have been written.
        let _missing = std::fs::remove_file(&self.0);
    }
}

fn run(keeper: Keeper) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(keeper.run(CancellationToken::new()));
    tasks
}

#[tokio::test]
async fn a_kubeconfig_that_is_missing_or_wrong_is_named_in_the_error() {
    let file = Scratch::new("wrong");
    let error = connect(&file.settings(None)).await.err().expect("there is no such file");
    assert!(error.to_string().contains("hfd-test-"), "{error}");

    for text in ["not: [valid", "", "current-context: x", "\u{0}"] {
        std::fs::write(&file.0, text).expect("a scratch file");
        assert!(connect(&file.settings(None)).await.is_err(), "{text:?}");
    }
    std::fs::write(&file.0, KUBECONFIG).expect("a scratch file");
    assert!(connect(&file.settings(Some("nowhere"))).await.is_err());
}

#[tokio::test]
async fn the_context_gives_the_namespace_unless_one_is_configured() {
    let file = Scratch::new("context");
    std::fs::write(&file.0, KUBECONFIG).expect("a scratch file");
    let here = connect(&file.settings(None)).await.expect("a client");
    assert_eq!((&*here.namespace, here.context.as_deref()), ("from-context", Some("here")));
    let there = connect(&file.settings(Some("there"))).await.expect("a client");
    assert_eq!((&*there.namespace, there.context.as_deref()), ("default", Some("there")));
    let configured = ClientSettings { namespace: Some("mine".to_owned()), ..file.settings(None) };
    assert_eq!(connect(&configured).await.expect("a client").namespace, "mine");
}

#[tokio::test(start_paused = true)]
async fn a_kubeconfig_that_appears_later_is_used_without_a_restart() {
    let file = Scratch::new("later");
    let (mut link, keeper) = Link::new(file.settings(None));
    let _keeper = run(keeper);
    let missing = tokio::time::timeout(Duration::from_secs(600), link.newer_than(0)).await;
    assert!(missing.is_err() && link.current().is_none());
    assert!(link.trouble().is_some_and(|why| why.contains("kubeconfig")));

    std::fs::write(&file.0, KUBECONFIG).expect("a scratch file");
    let cluster = tokio::time::timeout(SOON, link.newer_than(0)).await.expect("in time").expect("a keeper");
    assert_eq!(cluster.build, 1);
    assert!(link.trouble().is_none());
}

#[tokio::test(start_paused = true)]
async fn many_refused_calls_of_one_client_make_one_new_client() {
    let file = Scratch::new("refused");
    std::fs::write(&file.0, KUBECONFIG).expect("a scratch file");
    let (mut link, keeper) = Link::new(file.settings(None));
    let _keeper = run(keeper);
    let first = link.newer_than(0).await.expect("a keeper");
    for _ in 0..50 {
        link.rebuild(first.build);
    }
    let second = link.newer_than(first.build).await.expect("a keeper");
    link.rebuild(first.build);
    let third = tokio::time::timeout(Duration::from_secs(600), link.newer_than(second.build)).await;
    assert!(third.is_err(), "a late complaint about the first client says nothing of the second");
}

#[tokio::test(start_paused = true)]
async fn a_client_stays_in_use_while_no_better_one_can_be_made() {
    let file = Scratch::new("stays");
    std::fs::write(&file.0, KUBECONFIG).expect("a scratch file");
    let (mut link, keeper) = Link::new(file.settings(None));
    let _keeper = run(keeper);
    let first = link.newer_than(0).await.expect("a keeper");
    std::fs::remove_file(&file.0).expect("the scratch file");
    link.rebuild(first.build);
    let renewed = tokio::time::timeout(Duration::from_secs(600), link.newer_than(first.build)).await;
    assert!(renewed.is_err());
    assert_eq!(link.current().map(|cluster| cluster.build), Some(first.build));
    assert!(link.trouble().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_replaced_token_file_makes_a_new_client_and_an_empty_one_does_not() {
    let (file, token) = (Scratch::new("names-a-token"), Scratch::new("token"));
    let text = KUBECONFIG.replace("{token: t}", &format!("{{tokenFile: {:?}}}", token.0));
    std::fs::write(&file.0, text).expect("a scratch file");
    std::fs::write(&token.0, "first\n").expect("a scratch file");
    let (mut link, keeper) = Link::new(file.settings(None));
    let _keeper = run(keeper);
    let first = link.newer_than(0).await.expect("a keeper");

    std::fs::write(&token.0, "\n").expect("a scratch file");
    let renewed = tokio::time::timeout(Duration::from_secs(600), link.newer_than(first.build)).await;
    assert!(renewed.is_err() && link.trouble().is_some_and(|why| why.contains("it is empty")));

    std::fs::write(&token.0, "second, longer\n").expect("a scratch file");
    let second = tokio::time::timeout(SOON, link.newer_than(first.build)).await.expect("in time").expect("a keeper");
    assert_eq!(second.build, 2);
    assert!(link.trouble().is_none());
}
