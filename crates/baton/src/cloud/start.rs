//! `cloud-provider` as a program of its own.

use std::path::PathBuf;
use std::process::ExitCode;

use baton_config::manager::{CloudAccess, CloudSettings};
use baton_core::time::Time;
use baton_net::process;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing::{debug, info};

use super::allocator::{Counts, serve};
use super::election::Election;
use super::face::Face;
use super::reports::recorder;
use crate::cli::output::{FAILED, fail};
use crate::kube::{Access, AccessSettings, Client, Files, Times};

/// The API servers' usual port.
const PORT: u16 = 6443;

/// Runs until a signal ends it.
#[must_use]
pub fn run(settings: CloudSettings) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return fail(FAILED, &format!("the event loop: {e}")),
    };
    // Before any thread exists, so that all of them are without.
    if let Err(e) = process::drop_capabilities() {
        debug!("capabilities are kept: {e}");
    }
    match runtime.block_on(campaign(settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(FAILED, &why),
    }
}

async fn campaign(settings: CloudSettings) -> Result<(), String> {
    let handler = |kind| signal(kind).map_err(|e| format!("signals: {e}"));
    let signals = (handler(SignalKind::terminate())?, handler(SignalKind::interrupt())?);
    let mut random = [0; 16];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random)
        .map_err(|e| format!("no random numbers: {e}"))?;
    let random = u128::from_ne_bytes(random);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let access = Access::find(access(&settings));
    let client = Client::new(&access, Times::default());
    let recorder = recorder(client.clone(), &settings.pools, &host);
    info!("cloud provider {} for cluster {}", crate::VERSION, settings.cluster_name);
    if let Some(class) = &settings.pools.class {
        info!("only Services of class {class} get addresses");
    }
    let (tell, counts) = watch::channel(Counts::default());
    if let Some(address) = settings.serve {
        let face = Face { access: access.clone(), counts };
        face.serve(address).await.map_err(|e| format!("/healthz and /metrics cannot be served at {address}: {e}"))?;
        info!("/healthz and /metrics are at {address}");
    }
    let Some(election) = &settings.election else {
        info!("without election: nobody else may give out addresses");
        let (_sender, until) = watch::channel(Some(Time(u64::MAX)));
        tokio::select! {
            () = serve(client, recorder, settings.pools, until, tell) => {}
            () = ended(signals) => {}
        }
        return Ok(());
    };
    // Two processes never have one identity, also not on one host: neither takes the other's record for its own.
    let identity = format!("{host}_{random:032x}");
    let seed = u64::try_from(random & u128::from(u64::MAX)).unwrap_or_default();
    let started = Election::start(&access, election, identity, seed);
    let (election, until) = started.map_err(|e| format!("the Lease's thread: {e}"))?;
    let server = tokio::spawn(serve(client, recorder, settings.pools, until, tell));
    election.run(ended(signals)).await;
    server.abort();
    info!("the end");
    Ok(())
}

async fn ended((mut terminate, mut interrupt): (Signal, Signal)) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn access(settings: &CloudSettings) -> AccessSettings {
    let usual = Files::of_this_host();
    // What a node's administrator may do is none of this program's business.
    let nowhere = PathBuf::from("/nonexistent");
    let files = Files { admin: nowhere.clone(), super_admin: nowhere, ..usual };
    let (kubeconfig, files) = match &settings.access {
        CloudAccess::File(path) => (Some(path.into()), files),
        CloudAccess::Home => (files.home.clone(), files),
        CloudAccess::InCluster => (None, Files { home: None, ..files }),
    };
    AccessSettings { kubeconfig, server: None, control_plane: false, port: PORT, detect: false, files }
}
