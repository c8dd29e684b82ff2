//! The command line of `hfd sandbox`. Only shapes and bounds; what they mean is done elsewhere.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use crate::config;

/// A daemon on a simulated cluster, both in this process: nothing else is needed for a first try.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct SandboxArgs {
    #[command(subcommand)]
    pub(super) what: Option<What>,
    #[command(flatten)]
    pub(super) cluster: ClusterFlags,
    /// Keep journal and simulated cluster in this directory and go on from there at the next start
    /// [default: a temporary directory, removed at the end]
    #[arg(long, value_name = "DIR")]
    pub(super) state_dir: Option<PathBuf>,
    /// Template file instead of the built-in sample
    #[arg(long, value_name = "FILE")]
    pub(super) template_file: Option<PathBuf>,
    /// Run this with the environment of HostFactory's scripts and end with its exit status; without it, print what to
    /// type in another terminal and stay until Ctrl-C
    #[arg(last = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

/// What else the sandbox can do.
#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// Serve the simulated cluster alone, for an hfd, kubectl or another client of yours
    Cluster(ClusterArgs),
    /// Show the five provider scripts at work on a simulated cluster, in under half a minute
    Tour,
}

/// `hfd sandbox cluster`.
#[derive(Debug, Args)]
pub(super) struct ClusterArgs {
    #[command(flatten)]
    pub(super) cluster: ClusterFlags,
    /// Write the kubeconfig there as soon as the cluster serves [default: a temporary file, removed at the end]
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig_out: Option<PathBuf>,
    /// Address to serve on; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(super) listen: SocketAddr,
    /// A namespace beside `default`, and the one that the kubeconfig names
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(super) namespace: String,
    /// Keep the cluster in this directory and go on from there at the next start
    #[arg(long, value_name = "DIR")]
    pub(super) state_dir: Option<PathBuf>,
}

/// What the simulated cluster is like.
#[derive(Debug, Clone, Args)]
pub(super) struct ClusterFlags {
    /// Number of nodes; a cluster kept in a state directory keeps its own
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub(super) nodes: u32,
    /// Pods that fit on one node
    #[arg(long, value_name = "M", default_value_t = 110, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) pods_per_node: u32,
    /// Equal seeds give equal delays, names and UIDs
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(super) seed: u64,
    /// Mean time from a pod's scheduling to its readiness
    #[arg(long, value_name = "D", default_value = "1s", value_parser = config::duration)]
    pub(super) start_delay: Duration,
    /// Mean time from a pod's deletion to its end
    #[arg(long, value_name = "D", default_value = "1s", value_parser = config::duration)]
    pub(super) stop_delay: Duration,
}

impl ClusterFlags {
    /// The simulated cluster's options, all others at their defaults.
    pub(super) fn options(&self) -> hfd_sandbox::Options {
        hfd_sandbox::Options {
            nodes: self.nodes,
            pods_per_node: self.pods_per_node,
            seed: self.seed,
            start_delay: self.start_delay,
            stop_delay: self.stop_delay,
            ..hfd_sandbox::Options::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        sandbox: SandboxArgs,
    }

    fn parse(line: &[&str]) -> Result<SandboxArgs, clap::Error> {
        Line::try_parse_from(["sandbox"].iter().chain(line)).map(|line| line.sandbox)
    }

    #[test]
    fn without_arguments_a_pod_starts_in_about_a_second() {
        let args = parse(&[]).expect("legal");
        assert!(args.what.is_none() && args.command.is_empty() && args.state_dir.is_none());
        let options = args.cluster.options();
        assert_eq!((options.nodes, options.pods_per_node, options.start_delay), (10, 110, Duration::from_secs(1)));
    }

    #[test]
    fn all_that_follows_two_dashes_is_the_command_even_flags_and_names_of_subcommands() {
        let args = parse(&["--nodes", "3", "--seed", "9", "--", "tour", "--nodes", "x"]).expect("legal");
        assert!(args.what.is_none());
        assert_eq!((args.cluster.nodes, args.cluster.seed), (3, 9));
        assert_eq!(args.command, ["tour", "--nodes", "x"]);
    }

    #[test]
    fn the_cluster_alone_takes_the_same_flags_and_its_own() {
        let line = "cluster --nodes 4 --start-delay 30ms --stop-delay 1m30s --kubeconfig-out k --listen 127.0.0.1:7000";
        let args = parse(&line.split(' ').collect::<Vec<_>>()).expect("legal");
        let Some(What::Cluster(args)) = args.what else { panic!("{args:?}") };
        assert_eq!(args.cluster.nodes, 4);
        assert_eq!(args.cluster.start_delay, Duration::from_millis(30));
        assert_eq!(args.cluster.stop_delay, Duration::from_secs(90));
        assert_eq!(args.kubeconfig_out, Some("k".into()));
        assert_eq!(args.listen.port(), 7000);
    }

    #[test]
    fn flags_that_would_be_ignored_and_values_out_of_bounds_are_refused() {
        for line in [
            "--nodes 3 tour",
            "tour --nodes 3",
            "--start-delay 5",
            "--pods-per-node 0",
            "--nodes 10001",
            "echo",
            "cluster --listen 7000",
            "cluster -- true",
        ] {
            assert!(parse(&line.split(' ').collect::<Vec<_>>()).is_err(), "{line}");
        }
    }
}
