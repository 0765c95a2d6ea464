//! Backends, clients and settings for the tests of the data path.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use baton::proxy::{Counts, Proxy};
use baton_core::settings::{Backend, Balancer, BalancerKind};

/// What a test waits for at most.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn any() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

pub(crate) fn backend(address: SocketAddr) -> Backend {
    Backend { host: address.ip().to_string(), port: address.port(), url: None, weight: 1, backup: false, check: None }
}

pub(crate) fn balancer(name: &str, backends: Vec<Backend>) -> Balancer {
    Balancer {
        name: name.to_owned(),
        kind: BalancerKind::Tcp,
        listen: vec![any()],
        bind_to_vip: false,
        backends,
        cut_on_down: true,
    }
}

/// A proxy with one balancer, and where it listens.
pub(crate) fn proxy(settings: &Balancer) -> (Proxy, SocketAddr) {
    let mut proxy = Proxy::start(2).expect("workers");
    let listening = proxy.apply(std::slice::from_ref(settings));
    assert!(listening[0].error.is_none(), "{listening:?}");
    (proxy, listening[0].address)
}

/// A backend: `serve` gets every connection on a thread of its own. Counts them.
pub(crate) fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(any()).expect("bind");
    let address = listener.local_addr().expect("address");
    let (count, serve) = (Arc::new(AtomicUsize::new(0)), Arc::new(serve));
    let counter = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            counter.fetch_add(1, SeqCst);
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    (address, count)
}

/// A backend that speaks TLS, with a certificate that nobody would trust.
pub(crate) fn tls_server(
    serve: impl Fn(rustls::StreamOwned<rustls::ServerConnection, TcpStream>) + Send + Sync + 'static,
) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = include_bytes!("fixtures/cert.der").to_vec().into();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(include_bytes!("fixtures/key.der").to_vec());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())
        .expect("a certificate and its key");
    let config = Arc::new(config);
    let (address, _) = server(move |stream| {
        let connection = rustls::ServerConnection::new(config.clone()).expect("a connection");
        serve(rustls::StreamOwned::new(connection, stream));
    });
    address
}

/// Sends back what comes.
pub(crate) fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(n) = stream.read(&mut buffer) {
        if n == 0 || stream.write_all(&buffer[..n]).is_err() {
            return;
        }
    }
}

/// Says its name and waits for the end.
pub(crate) fn named(name: u8) -> impl Fn(TcpStream) + Send + Sync {
    move |mut stream| {
        let _ = stream.write_all(&[name]);
        let _ = stream.read(&mut [0; 1]);
    }
}

/// An address where nobody listens, now or later: it stays bound until the tests end.
pub(crate) fn nobody() -> SocketAddr {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("socket");
    // So that a test can listen there after all.
    socket.set_reuse_port(true).expect("option");
    socket.bind(&any().into()).expect("bind");
    let address = socket.local_addr().expect("address").as_socket().expect("IP");
    std::mem::forget(socket);
    address
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("timeout");
    stream
}

/// One byte from a new connection; `None`: it was refused or reset.
pub(crate) fn ask(address: SocketAddr) -> Option<u8> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let mut byte = [0];
    stream.read_exact(&mut byte).ok()?;
    let _ = stream.shutdown(Shutdown::Both);
    Some(byte[0])
}

/// Bytes that tell where they are from and in which order.
pub(crate) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn counts(proxy: &Proxy, at: usize) -> Counts {
    proxy.snapshot().backends[at].counts
}
