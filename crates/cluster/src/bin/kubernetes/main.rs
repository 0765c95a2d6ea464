//! Builds the programs of Kubernetes, runs a cluster to look at, and measures a daemon on one.

mod bench;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use baton_cluster::daemon::{Access, Daemon};
use baton_cluster::programs::Programs;
use baton_cluster::{Cluster, Plan};
use baton_lab::enter::{Side, enter};
use baton_lab::lab::{v4, v6};
use clap::{Parser, Subcommand};

/// Kubernetes in the lab.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build what is not there: etcd, API server, controllers, kube-proxy, kubectl, and client-go's elector
    Build,
    /// Start a cluster, run a command on its client's host (KUBECONFIG is set; logs are in /run/n1 …), and end it
    Run(Run),
    /// Measure a daemon and print a section of docs/benchmarks.md
    Bench(bench::Args),
}

#[derive(clap::Args)]
struct Run {
    /// A daemon for every node: the program and its arguments, separated by spaces
    #[arg(long)]
    daemon: Option<String>,
    /// The daemon is the service account kube-system/NAME; otherwise it has an admin.conf
    #[arg(long, value_name = "NAME")]
    service_account: Option<String>,
    /// A manifest to apply before the daemons start
    #[arg(long, value_name = "FILE")]
    apply: Option<PathBuf>,
    /// The command
    #[arg(trailing_var_arg = true, required = true)]
    command: Vec<String>,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Verb::Build => Programs::build().map(|_| ExitCode::SUCCESS).map_err(|error| error.to_string()),
        Verb::Run(run) => inside(|| look(&run)),
        Verb::Bench(args) => inside(|| bench::run(&args)),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

/// Does it in namespaces of our own.
fn inside(work: impl FnOnce() -> Result<ExitCode, String>) -> Result<ExitCode, String> {
    match enter() {
        Ok(Side::Outside(code)) => Ok(code),
        Ok(Side::Inside) => work(),
        Err(refused) => Err(refused.to_string()),
    }
}

fn look(run: &Run) -> Result<ExitCode, String> {
    let words = |error: std::io::Error| error.to_string();
    let plan = Plan::new(vec![v4(100).into(), v6(100).into()]);
    let manifest = run.apply.as_ref().map(std::fs::read_to_string).transpose().map_err(words)?;
    let mut cluster = Cluster::start(plan, Programs::find()?).map_err(words)?;
    if let Some(manifest) = manifest {
        eprintln!("{}", cluster.apply(&manifest)?);
    }
    for place in 0..cluster.size() {
        let Some(line) = &run.daemon else { break };
        let access = match &run.service_account {
            None => Access::AdminConf,
            Some(name) => Access::ServiceAccount { namespace: "kube-system".to_owned(), name: name.clone() },
        };
        let (program, arguments) = line.split_once(' ').unwrap_or((line, ""));
        let program = std::path::absolute(program).map_err(words)?;
        cluster.deploy(place, Daemon::new(program, arguments, access)).map_err(words)?;
    }
    let mut command = Command::new(&run.command[0]);
    command.args(&run.command[1..]).env("KUBECONFIG", cluster.admin_conf());
    let kubectl = cluster.programs().get("kubectl");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = kubectl.parent().map(ToOwned::to_owned).into_iter().chain(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(places).map_err(|error| error.to_string())?);
    let status = cluster.client().run(move |_| command.status()).map_err(words)?;
    eprint!("{}", cluster.words());
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
