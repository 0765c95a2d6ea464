//! The way to the API: whose credentials, which servers. Chosen anew for every connection, so that rotated certificates,
//! a file that appears, and API servers that come and go need no restart.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use baton_config::kubeconfig::{Kubeconfig, Material, Token, kubeconfig};
use hyper::Uri;
use rustls::pki_types::ServerName;

use super::counts::{Counts, Verb};
use super::tls::{Identity, Names};

/// How long the stronger credentials are used once the ordinary ones were forbidden something.
const SUPER: Duration = Duration::from_secs(120);
/// Servers of the cluster that are remembered.
const SERVERS_MAX: usize = 16;
/// What the system trusts, where distributions keep it.
const SYSTEM_TRUST: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// What decides the choice.
#[derive(Clone, Debug)]
pub struct AccessSettings {
    /// A kubeconfig file of the user's choice (`k8s_config_file`).
    pub kubeconfig: Option<PathBuf>,
    /// Ask this server instead of the one in admin.conf (`kubernetes_addr`): host, host:port or URL.
    pub server: Option<String>,
    /// This is a control-plane node: with admin.conf, ask its own API server.
    pub control_plane: bool,
    /// The port of this node's API server.
    pub port: u16,
    /// Take this node's API server by any name that its certificate has (`cp_detect`).
    pub detect: bool,
    /// Where everything is.
    pub files: Files,
}

/// Where credentials are found.
#[derive(Clone, Debug)]
pub struct Files {
    /// The administrator's, by kubeadm.
    pub admin: PathBuf,
    /// What is not bound to any role, by kubeadm ≥ 1.29.
    pub super_admin: PathBuf,
    /// The user's own.
    pub home: Option<PathBuf>,
    /// A pod's `ServiceAccount`: token, ca.crt.
    pub service_account: PathBuf,
    /// The API as pods are told of it.
    pub service: Option<(String, u16)>,
}

impl Files {
    /// The usual places, and this process's environment.
    #[must_use]
    pub fn of_this_host() -> Files {
        let var = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        let port = var("KUBERNETES_SERVICE_PORT").and_then(|text| text.parse().ok());
        Files {
            admin: "/etc/kubernetes/admin.conf".into(),
            super_admin: "/etc/kubernetes/super-admin.conf".into(),
            home: var("HOME").map(|home| Path::new(&home).join(".kube/config")),
            service_account: "/var/run/secrets/kubernetes.io/serviceaccount".into(),
            service: var("KUBERNETES_SERVICE_HOST").zip(port),
        }
    }
}

/// The way to the API, shared by all clients.
#[derive(Clone, Debug)]
pub struct Access(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: AccessSettings,
    /// The cluster's API servers, as its own `kubernetes` Service has them.
    remembered: Mutex<Vec<SocketAddr>>,
    /// Until when admin.conf is not asked with.
    super_until: Mutex<Option<Instant>>,
    counts: Counts,
}

/// Whose credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The file of the user's choice, or in the user's home.
    File(PathBuf),
    /// admin.conf, or what is used in its place.
    Admin(PathBuf),
    /// A pod's.
    InCluster,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::File(path) | Source::Admin(path) => write!(f, "{}", path.display()),
            Source::InCluster => f.write_str("this pod's ServiceAccount"),
        }
    }
}

/// One API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    /// What all paths begin with there.
    pub(super) prefix: String,
    pub(super) names: Names,
}

impl Server {
    /// As it stands in a URL.
    pub(super) fn authority(&self) -> String {
        match self.host.parse() {
            Ok(IpAddr::V6(ip)) => format!("[{ip}]:{}", self.port),
            _ => format!("{}:{}", self.host, self.port),
        }
    }
}

impl Server {
    /// Whether its address is one of this host's own: the kernel would send from that very address. Nothing is sent.
    pub(super) fn is_this_host(&self) -> bool {
        let Ok(ip) = self.host.parse::<IpAddr>() else { return false };
        let any: IpAddr = if ip.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let Ok(socket) = UdpSocket::bind((any, 0)) else { return false };
        socket.connect((ip, self.port)).is_ok() && socket.local_addr().is_ok_and(|own| own.ip() == ip)
    }
}

/// What a connection needs.
pub(super) struct Way {
    pub(super) source: Source,
    /// The first is home, the others are tried in turn.
    pub(super) servers: Vec<Server>,
    pub(super) identity: Identity,
    pub(super) token: Option<Token>,
}

impl Access {
    /// The way that these settings describe. Nothing is opened yet, and nothing needs to be there yet.
    #[must_use]
    pub fn find(settings: AccessSettings) -> Access {
        let (remembered, super_until) = (Mutex::default(), Mutex::default());
        Access(Arc::new(Shared { settings, remembered, super_until, counts: Counts::default() }))
    }

    /// How many requests all clients sent, by verb.
    #[must_use]
    pub fn requests(&self) -> Vec<(Verb, u64)> {
        self.0.counts.read()
    }

    pub(super) fn count(&self, verb: Verb) {
        self.0.counts.add(verb);
    }

    /// These are the cluster's API servers now. None means that it is not known: the last ones stay.
    pub fn remember(&self, mut servers: Vec<SocketAddr>) {
        if !servers.is_empty() {
            servers.sort();
            servers.dedup();
            servers.truncate(SERVERS_MAX);
            *self.0.remembered.lock().unwrap_or_else(PoisonError::into_inner) = servers;
        }
    }

    /// Credentials of this source were forbidden something. `true`: there are stronger ones, ask again with those.
    pub(super) fn forbidden(&self, source: &Source) -> bool {
        let files = &self.0.settings.files;
        if *source != Source::Admin(files.admin.clone()) || !files.super_admin.is_file() {
            return false;
        }
        *self.0.super_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + SUPER);
        true
    }

    /// Whether a connection by this source has had its time: the stronger credentials are not for long.
    pub(super) fn is_over(&self, source: &Source) -> bool {
        *source == Source::Admin(self.0.settings.files.super_admin.clone()) && !self.is_super()
    }

    fn is_super(&self) -> bool {
        let until = *self.0.super_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Chooses, and reads what was chosen.
    pub(super) fn way(&self) -> Result<Way, String> {
        let source = self.choose()?;
        let mut way = match &source {
            Source::File(path) => file(&source, path, None)?,
            Source::Admin(path) => file(&source, path, Some(&self.0.settings))?,
            Source::InCluster => self.in_cluster()?,
        };
        self.add_remembered(&mut way);
        Ok(way)
    }

    fn choose(&self) -> Result<Source, String> {
        let AccessSettings { kubeconfig, files, .. } = &self.0.settings;
        let home = files.home.as_ref();
        let own = kubeconfig.as_ref().filter(|path| **path != files.admin && Some(*path) != home && path.is_file());
        if let Some(path) = own {
            return Ok(Source::File(path.clone()));
        }
        if self.is_super() && files.super_admin.is_file() {
            return Ok(Source::Admin(files.super_admin.clone()));
        }
        if files.admin.is_file() {
            return Ok(Source::Admin(files.admin.clone()));
        }
        if let Some(home) = home.filter(|home| home.is_file()) {
            return Ok(Source::File(home.clone()));
        }
        if files.service.is_some() {
            return Ok(Source::InCluster);
        }
        let home = home.map_or_else(|| "$HOME/.kube/config".to_owned(), |home| home.display().to_string());
        let admin = files.admin.display();
        Err(format!("there is no way to the API yet: no {admin}, no {home}, and this is no pod with a ServiceAccount"))
    }

    fn in_cluster(&self) -> Result<Way, String> {
        let files = &self.0.settings.files;
        let (host, port) = files.service.clone().ok_or("KUBERNETES_SERVICE_HOST is not set")?;
        let token = files.service_account.join("token");
        let identity = Identity { authority: read(&files.service_account.join("ca.crt"))?, ..Identity::default() };
        let names = Names::Cluster(name(&host)?);
        let servers = vec![Server { host, port, prefix: String::new(), names }];
        let token = Some(Token::File(token.display().to_string()));
        Ok(Way { source: Source::InCluster, servers, identity, token })
    }

    /// The cluster's other servers come after home, before whatever an administrator's file says for the case that
    /// home is away: that is often the very address that depends on us.
    /// Home by another name is left out.
    fn add_remembered(&self, way: &mut Way) {
        let is_local = |server: &Server| server.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        let is_home = way.servers.first().is_some_and(is_local);
        let is_other = |server: &Server| !is_home || is_local(server) || !server.is_this_host();
        let remembered = self.0.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let spare = way.servers.split_off(1.min(way.servers.len()));
        for address in remembered.iter() {
            let host = address.ip().to_string();
            let Ok(server_name) = name(&host) else { continue };
            let names = Names::Cluster(server_name);
            let server = Server { host, port: address.port(), prefix: String::new(), names };
            if is_other(&server) && !way.servers.iter().any(|known| known.authority() == server.authority()) {
                way.servers.push(server);
            }
        }
        for server in spare {
            if is_other(&server) && !way.servers.iter().any(|known| known.authority() == server.authority()) {
                way.servers.push(server);
            }
        }
    }
}

/// What a kubeconfig file leads to. `admin`: as kube-vip does with admin.conf, whose server is often the address that
/// we are to bring up.
fn file(source: &Source, path: &Path, admin: Option<&AccessSettings>) -> Result<Way, String> {
    let wrong = |what: String| format!("{}: {what}", path.display());
    let text = String::from_utf8(read(path)?).map_err(|_| wrong("is not text".to_owned()))?;
    let config = kubeconfig(&text).map_err(wrong)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let own = server(&config.server, config.server_name.as_deref()).map_err(wrong)?;
    let servers = match admin {
        Some(AccessSettings { server: Some(other), .. }) => vec![server(other, config.server_name.as_deref())?],
        Some(settings) if settings.control_plane => vec![loopback(settings), own],
        _ => vec![own],
    };
    let identity = identity(&config, directory)?;
    let token = config.token.map(|token| match token {
        Token::File(path) => Token::File(directory.join(path).display().to_string()),
        text @ Token::Text(_) => text,
    });
    Ok(Way { source: source.clone(), servers, identity, token })
}

/// This node's own API server, which has the name `kubernetes`: no entry in /etc/hosts is needed for it.
fn loopback(settings: &AccessSettings) -> Server {
    let kubernetes = ServerName::try_from("kubernetes").ok().map_or(Names::Signed, Names::Cluster);
    let names = if settings.detect { Names::Signed } else { kubernetes };
    Server { host: "127.0.0.1".to_owned(), port: settings.port, prefix: String::new(), names }
}

fn identity(config: &Kubeconfig, directory: &Path) -> Result<Identity, String> {
    let authority = match &config.authority {
        Some(authority) => material(authority, directory)?,
        None if config.insecure => Vec::new(),
        None => SYSTEM_TRUST
            .iter()
            .find_map(|path| std::fs::read(path).ok())
            .ok_or("the kubeconfig names no certificate-authority, and this system has no list of its own")?,
    };
    let pair = config.certificate.as_ref();
    let pair = pair.map(|(own, key)| Ok::<_, String>((material(own, directory)?, material(key, directory)?)));
    Ok(Identity { authority, insecure: config.insecure, certificate: pair.transpose()? })
}

fn material(material: &Material, directory: &Path) -> Result<Vec<u8>, String> {
    match material {
        Material::File(path) => read(&directory.join(path)),
        Material::Base64(text) => STANDARD.decode(text).map_err(|e| format!("a certificate or key is not base64: {e}")),
    }
}

/// A server as people write it: a URL, or host and port.
fn server(text: &str, server_name: Option<&str>) -> Result<Server, String> {
    let url = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let uri: Uri = url.parse().map_err(|_| format!("`{text}` is not the address of a server"))?;
    if uri.scheme_str() != Some("https") {
        return Err(format!("`{text}` is not asked: only https protects the credentials"));
    }
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let names = Names::One(name(server_name.unwrap_or(&host))?);
    let prefix = uri.path().trim_end_matches('/').to_owned();
    Ok(Server { port: uri.port_u16().unwrap_or(443), host, prefix, names })
}

fn name(host: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(host.to_owned()).map_err(|_| format!("`{host}` is no name of a server"))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))
}
