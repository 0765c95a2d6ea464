//! The data path alone, with health checks, for measurements: `proxy WORKERS LISTEN=BACKEND,BACKEND… …`.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use baton::proxy::Proxy;
use baton::proxy::health::{Change, Checks};
use baton_core::settings::{Backend, Balancer, BalancerKind, Check, CheckKind};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let parsed = words.split_first().and_then(|(workers, balancers)| {
        Some((workers.parse().ok()?, balancers.iter().map(|b| balancer(b)).collect::<Option<Vec<_>>>()?))
    });
    let Some((workers, balancers)) = parsed else {
        eprintln!("usage: proxy WORKERS LISTEN=BACKEND,BACKEND… …");
        return ExitCode::from(2);
    };
    match run(workers, &balancers) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn balancer(text: &str) -> Option<Balancer> {
    let (listen, backends) = text.split_once('=')?;
    let check = Check {
        kind: CheckKind::Tcp,
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        rise: 2,
        fall: 3,
    };
    let backend = |text: &str| -> Option<Backend> {
        let address: SocketAddr = text.parse().ok()?;
        Some(Backend {
            host: address.ip().to_string(),
            port: address.port(),
            url: None,
            weight: 1,
            backup: false,
            check: Some(check.clone()),
        })
    };
    Some(Balancer {
        name: listen.to_owned(),
        kind: BalancerKind::Tcp,
        listen: vec![listen.parse().ok()?],
        bind_to_vip: false,
        backends: backends.split(',').map(backend).collect::<Option<_>>()?,
        cut_on_down: true,
    })
}

fn run(workers: usize, balancers: &[Balancer]) -> std::io::Result<()> {
    let mut proxy = Proxy::start(workers)?;
    for listening in proxy.apply(balancers) {
        if let Some(error) = listening.error {
            return Err(error);
        }
    }
    println!("ready");
    let passive = proxy.passive().expect("nobody else takes it");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut checks = Checks::new(passive, baton_net::clock::now);
        checks.apply(balancers);
        loop {
            match checks.next().await {
                Change::State { id, up, why, .. } => {
                    eprintln!("{id} is {}: {why}", if up { "up" } else { "down" });
                    proxy.set_up(&id, up);
                }
                Change::Address { id, address } => proxy.set_address(&id, Some(address)),
            }
        }
    })
}
