//! One client's connection of type http: its requests one after the other, and what becomes of it after an upgrade.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::super::route::Route;
use super::super::target::Cell;
use super::Shared;
use super::forward::forward;
use super::stream::Stream;

/// How long a client may take to send the head of a request, or be idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// What is kept of a client or a backend at once; also the largest head of a request or response.
pub(super) const BUFFER_MAX: usize = 64 * 1024;

/// Serves a client until one side has had enough.
pub(super) async fn connection(stream: Stream, from: IpAddr, route: Arc<Route>, shared: Arc<Shared>) {
    let service = service_fn(|request: Request<Incoming>| {
        let (route, shared) = (route.clone(), shared.clone());
        async move { Ok::<_, Infallible>(forward(request, from, &route, &shared).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .half_close(true)
        .max_buf_size(BUFFER_MAX)
        .preserve_header_case(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    // What is wrong with a client is its own business.
    let _ = connection.await;
}

/// Moves bytes after an upgrade, until both sides are done.
pub(super) async fn tunnel(client: OnUpgrade, backend: OnUpgrade, cell: &Cell) {
    let (Ok(client), Ok(backend)) = tokio::join!(client, backend) else { return };
    let (mut client, mut backend) = (TokioIo::new(client), TokioIo::new(backend));
    if let Ok((to_backend, to_client)) = tokio::io::copy_bidirectional(&mut client, &mut backend).await {
        cell.to_backend.fetch_add(to_backend, Relaxed);
        cell.to_client.fetch_add(to_client, Relaxed);
    }
}
