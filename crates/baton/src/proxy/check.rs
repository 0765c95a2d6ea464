//! Performs one active check. What a result means is decided in `baton_core::health`.
//!
//! Connections are closed in order: servers log resets.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use baton_core::settings::{Check, CheckKind};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::tls;

/// Tries what `check` says at `address`; `host` is the backend's name, for TLS and HTTP.
///
/// # Errors
/// What went wrong, for people.
pub async fn run(check: &Check, address: SocketAddr, host: &str) -> Result<Duration, String> {
    let start = Instant::now();
    match tokio::time::timeout(check.timeout, attempt(&check.kind, address, host)).await {
        Ok(Ok(())) => Ok(start.elapsed()),
        Ok(Err(why)) => Err(why),
        Err(_) => Err(format!("no answer within {:?}", check.timeout)),
    }
}

async fn attempt(kind: &CheckKind, address: SocketAddr, host: &str) -> Result<(), String> {
    let stream = TcpStream::connect(address).await.map_err(|e| format!("connect: {}", plain(&e)))?;
    match kind {
        CheckKind::Tcp => Ok(()),
        CheckKind::Tls => handshake(stream, host).await.map(drop),
        CheckKind::Http { tls: false, path, expect } => get(stream, address, host, path, expect).await,
        CheckKind::Http { tls: true, path, expect } => {
            let stream = handshake(stream, host).await?;
            get(stream, address, host, path, expect).await
        }
    }
}

async fn handshake(stream: TcpStream, host: &str) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let name = tls::server_name(host)?;
    tls::connector().connect(name, stream).await.map_err(|e| format!("TLS: {e}"))
}

async fn get<S>(stream: S, address: SocketAddr, host: &str, path: &str, expect: &[(u16, u16)]) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let request = Request::get(path)
        .header(header::HOST, authority(host, address.port()))
        .header(header::USER_AGENT, concat!("baton/", env!("CARGO_PKG_VERSION"), " (health check)"))
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|e| format!("{path}: {e}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| format!("HTTP: {e}"))?;
    let response = async { sender.send_request(request).await.map_err(|e| format!("HTTP: {e}")) };
    let driven = async {
        // Its end without a response is the sender's error.
        let _ = connection.await;
        std::future::pending().await
    };
    let response = tokio::select! { biased; response = response => response?, never = driven => never };
    let status = response.status().as_u16();
    if expect.iter().any(|(from, to)| (*from..=*to).contains(&status)) {
        Ok(())
    } else {
        Err(format!("GET {path} answered {status}"))
    }
}

/// Host and port as in a URL.
pub(super) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// An I/O error without its number.
fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        std::io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        std::io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        _ => error.to_string(),
    }
}
