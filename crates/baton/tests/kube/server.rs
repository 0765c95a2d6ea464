//! API servers of the tests' own: TLS as real ones have it, answers as a test wants them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use baton::kube::{Access, AccessSettings, Client, Files, Times};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// What a test waits for at most.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A cluster's certificate authority.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, "kubernetes");
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate and its key, as PEM.
    pub(crate) fn certificate(&self, common: &str, names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, common);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// A kubeconfig file that leads to a server, for this user.
    pub(crate) fn kubeconfig(&self, server: &str, user: &str) -> String {
        let (certificate, key) = self.certificate(user, &[]);
        let [authority, certificate, key] = [&self.pem, &certificate, &key].map(|pem| STANDARD.encode(pem));
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
             contexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
             clusters: [{{name: k, cluster: {{server: '{server}', certificate-authority-data: {authority}}}}}]\n\
             users: [{{name: u, user: {{client-certificate-data: {certificate}, client-key-data: {key}}}}}]\n"
        )
    }
}

/// A request, as far as tests look at it.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) bearer: Option<String>,
    /// The client certificate, if there was one.
    pub(crate) certificate: Option<Vec<u8>>,
    pub(crate) body: Value,
}

impl Ask {
    pub(crate) fn is_watch(&self) -> bool {
        self.query.contains_key("watch")
    }
}

/// What to do with a request.
pub(crate) enum Answer {
    Json(u16, Value),
    /// A stream: what is sent into it; it ends in good order when the sender is dropped.
    Stream(mpsc::UnboundedReceiver<Part>),
    /// No answer at all.
    Never,
}

/// A part of a stream.
pub(crate) enum Part {
    Text(String),
    /// The connection breaks.
    Break,
}

pub(crate) fn status(code: u16, reason: &str, message: &str) -> Answer {
    Answer::Json(code, serde_json::json!({"kind": "Status", "code": code, "reason": reason, "message": message}))
}

/// A running server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) asked: Arc<Mutex<Vec<Ask>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Script = Arc<dyn Fn(&Ask) -> Answer + Send + Sync>;

impl Server {
    /// One that every kind of client takes.
    pub(crate) async fn start(
        authority: &Authority,
        answer: impl Fn(&Ask) -> Answer + Send + Sync + 'static,
    ) -> Server {
        Server::with(authority, &["kubernetes", "127.0.0.1"], &["h2", "http/1.1"], answer).await
    }

    pub(crate) async fn with(
        authority: &Authority,
        names: &[&str],
        protocols: &[&str],
        answer: impl Fn(&Ask) -> Answer + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        Server::on(listener, authority, names, protocols, answer)
    }

    pub(crate) fn on(
        listener: TcpListener,
        authority: &Authority,
        names: &[&str],
        protocols: &[&str],
        answer: impl Fn(&Ask) -> Answer + Send + Sync + 'static,
    ) -> Server {
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls(authority, names, protocols)));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, log): (Script, _) = (Arc::new(answer), asked.clone());
        let task = tokio::spawn(async move {
            // Dropped with the task: a server that stops takes its connections along.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, answer, log) = (acceptor.clone(), answer.clone(), log.clone());
                connections.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let peer = stream.get_ref().1.peer_certificates().map(|chain| chain[0].to_vec());
                    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    let service = service_fn(move |request| serve(request, peer.clone(), answer.clone(), log.clone()));
                    let io = TokioIo::new(stream);
                    if is_http2 {
                        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        drop(builder.serve_connection(io, service).await);
                    } else {
                        drop(hyper::server::conn::http1::Builder::new().serve_connection(io, service).await);
                    }
                });
            }
        });
        Server { address, asked, task }
    }

    /// Requests so far that fit.
    pub(crate) fn count(&self, fits: impl Fn(&Ask) -> bool) -> usize {
        self.asked.lock().unwrap().iter().filter(|ask| fits(ask)).count()
    }

    pub(crate) fn stop(&self) {
        self.task.abort();
    }
}

fn tls(authority: &Authority, names: &[&str], protocols: &[&str]) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let (certificate, key) = authority.certificate("kube-apiserver", names);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.allow_unauthenticated().build().unwrap())
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

async fn serve(
    request: Request<Incoming>,
    certificate: Option<Vec<u8>>,
    answer: Script,
    log: Arc<Mutex<Vec<Ask>>>,
) -> Result<Response<Feed>, Infallible> {
    let (head, body) = request.into_parts();
    let pairs = head.uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let query = pairs.map(|(key, value)| (key.to_owned(), value.replace("%3D", "="))).collect();
    let bearer = head.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let (method, path) = (head.method.to_string(), head.uri.path().to_owned());
    let ask = Ask { method, path, query, bearer, certificate, body };
    log.lock().unwrap().push(ask.clone());
    Ok(match answer(&ask) {
        Answer::Json(code, value) => {
            let (sender, feed) = mpsc::unbounded_channel();
            sender.send(Part::Text(value.to_string())).unwrap();
            Response::builder().status(code).body(Feed(feed)).unwrap()
        }
        Answer::Stream(feed) => Response::new(Feed(feed)),
        Answer::Never => std::future::pending().await,
    })
}

/// The body of an answer.
struct Feed(mpsc::UnboundedReceiver<Part>);

impl Body for Feed {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|part| match part? {
            Part::Text(text) => Some(Ok(Frame::data(text.into()))),
            Part::Break => Some(Err(std::io::Error::other("broken on purpose"))),
        })
    }
}

/// A node's files, as a control-plane node has them, and what leads to the servers of a test.
pub(crate) struct Node {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) settings: AccessSettings,
}

impl Node {
    /// A node without any file, whose own API server would have this port.
    pub(crate) fn bare(port: u16) -> Node {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let files = Files {
            admin: path("admin.conf"),
            super_admin: path("super-admin.conf"),
            home: Some(path("config")),
            service_account: path("sa"),
            service: None,
        };
        let settings =
            AccessSettings { kubeconfig: None, server: None, control_plane: true, port, detect: false, files };
        Node { directory, settings }
    }

    /// A node with admin.conf, whose server is an address that nobody has.
    pub(crate) fn with_admin(authority: &Authority, port: u16) -> Node {
        let node = Node::bare(port);
        node.write("admin.conf", &authority.kubeconfig("https://127.0.0.1:1", "kubernetes-admin"));
        node
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn access(&self) -> Access {
        Access::find(self.settings.clone())
    }
}

/// Times for tests: short where a test waits for them, longer than a busy machine's pauses all the same.
pub(crate) fn times() -> Times {
    let attempt = Duration::from_secs(2);
    Times { connect: attempt, attempt, total: Duration::from_secs(20) }
}

/// A client of these servers; the first is home.
pub(crate) fn client(authority: &Authority, servers: &[&Server]) -> (Client, Access, Node) {
    let node = Node::with_admin(authority, servers[0].address.port());
    let access = node.access();
    access.remember(servers[1..].iter().map(|server| server.address).collect());
    (Client::new(&access, times()), access, node)
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The next message.
pub(crate) async fn next<T>(receiver: &mut mpsc::Receiver<T>) -> T {
    tokio::time::timeout(PATIENCE, receiver.recv()).await.expect("a message in time").expect("a message")
}
