//! temp
#[tokio::main]
async fn main() {
    let o = hfd_sandbox::Options {
        listen: "127.0.0.1:18080".parse().expect("a"),
        token: Some("t".into()),
        state_file: std::env::args().nth(1).map(Into::into),
        ..Default::default()
    };
    let c = hfd_sandbox::Cluster::start(o).await.expect("start");
    std::fs::write("/tmp/sbx/kubeconfig", c.kubeconfig()).expect("w");
    std::future::pending::<()>().await;
}
