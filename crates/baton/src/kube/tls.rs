//! TLS towards API servers: what vouches for them, the names they may have, and who we say we are.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// What every API server's certificate is valid for.
const EVERY_SERVER: [&str; 4] = ["kubernetes", "kubernetes.default.svc", "localhost", "127.0.0.1"];

/// The names that a server's certificate may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// This one.
    One(ServerName<'static>),
    /// This one, or one that every API server of a cluster has: it was not named by an administrator, but found.
    Cluster(ServerName<'static>),
    /// Whatever it is called: on the loopback, and signed by the cluster.
    Signed,
}

impl Names {
    /// What the server is asked for.
    pub(super) fn asked(&self) -> ServerName<'static> {
        match self {
            Names::One(name) | Names::Cluster(name) => name.clone(),
            Names::Signed => every_server().next().expect("the list is not empty"),
        }
    }
}

fn every_server() -> impl Iterator<Item = ServerName<'static>> {
    EVERY_SERVER.iter().filter_map(|name| ServerName::try_from(*name).ok())
}

/// PEM texts of one identity.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Identity {
    /// What servers' certificates are signed by.
    pub(super) authority: Vec<u8>,
    /// Do not verify servers.
    pub(super) insecure: bool,
    /// Our certificate and its key.
    pub(super) certificate: Option<(Vec<u8>, Vec<u8>)>,
}

/// Settings for a connection to a server with one of these names.
pub(super) fn config(identity: &Identity, names: &Names) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier = verifier(identity, names, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS: {e}"))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &identity.certificate {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate).map_err(|e| format!("the client certificate {e}"))?;
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| format!("the client key is not PEM: {e}"))?;
            let refused = |e| format!("the client certificate and key cannot be used: {e}");
            builder.with_client_auth_cert(chain, key).map_err(refused)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Connections are few and long: remembering sessions would only cost memory.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let list: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match list {
        Ok(list) if list.is_empty() => Err("holds no certificate".to_owned()),
        Ok(list) => Ok(list),
        Err(e) => Err(format!("is not PEM: {e}")),
    }
}

fn verifier(
    identity: &Identity,
    names: &Names,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    if identity.insecure {
        return Ok(Arc::new(Verifier { chain: None, names: names.clone(), provider: Arc::clone(provider) }));
    }
    let mut roots = RootCertStore::empty();
    let list = certificates(&identity.authority).map_err(|e| format!("the certificate authority {e}"))?;
    let (taken, _) = roots.add_parsable_certificates(list);
    if taken == 0 {
        return Err("the certificate authority holds no certificate that can be used".to_owned());
    }
    let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|e| format!("the certificate authority cannot be used: {e}"))?;
    Ok(Arc::new(Verifier { chain: Some(chain), names: names.clone(), provider: Arc::clone(provider) }))
}

/// Verifies the chain, and the name against several. Without a chain nothing but possession of the key.
#[derive(Debug)]
struct Verifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    names: Names,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        asked: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        let verify = |name: &ServerName<'_>| chain.verify_server_cert(certificate, intermediates, name, ocsp, now);
        let first = verify(asked);
        // The chain is verified before the name: a wrong name means a good chain.
        match (&first, &self.names) {
            (Err(error), Names::Signed) if is_name(error) => Ok(ServerCertVerified::assertion()),
            (Err(error), Names::Cluster(_)) if is_name(error) => {
                every_server().find_map(|name| verify(&name).ok()).ok_or_else(|| error.clone())
            }
            _ => first,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn is_name(error: &Error) -> bool {
    use CertificateError::{NotValidForName, NotValidForNameContext};
    matches!(error, Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }))
}
