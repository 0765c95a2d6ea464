//! Certificates of servers, as far as checks judge them: by the authorities of a file, and by name where one is known.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use baton_config::haproxy::model::{CheckTls, Verify};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

use crate::proxy::tls;

/// Files of authorities that are kept ready: more are read again and again.
const FILES_MAX: usize = 64;

/// Where distributions keep the authorities of the system (`@system-ca`).
const SYSTEM: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// What makes connections with this TLS.
pub(super) fn connector(asked: &CheckTls) -> Result<TlsConnector, String> {
    let verifier: Option<Arc<dyn ServerCertVerifier>> = match &asked.verify {
        Verify::None => None,
        Verify::Required { ca_file, host } => {
            // What was asked for by name has to have that name; without a name the authority is all that counts.
            let name = asked.sni.clone().or_else(|| host.clone());
            let name = name.map(|name| tls::server_name(&name)).transpose()?;
            Some(Arc::new(Verifier { authorities: authorities(ca_file)?, name }))
        }
    };
    Ok(tls::checker(asked.sni.is_some(), &asked.alpn, verifier))
}

/// Authorities, and the certificates that they are.
#[derive(Debug)]
pub(super) struct Authorities {
    chain: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
}

/// What was read, and how old the file was then.
type Kept = BTreeMap<PathBuf, (SystemTime, Arc<Authorities>)>;

static KEPT: Mutex<Kept> = Mutex::new(BTreeMap::new());

/// The authorities of a file: read when it has changed, and not otherwise.
pub(super) fn authorities(file: &str) -> Result<Arc<Authorities>, String> {
    let path = match file {
        "@system-ca" => SYSTEM.iter().map(Path::new).find(|path| path.exists()).unwrap_or(Path::new(SYSTEM[0])),
        file => Path::new(file),
    };
    let unreadable = |e: std::io::Error| format!("{}: {e}", path.display());
    let age = std::fs::metadata(path).and_then(|found| found.modified()).map_err(unreadable)?;
    let mut kept = KEPT.lock().expect("nobody panics while holding it");
    if let Some((read, authorities)) = kept.get(path)
        && *read == age
    {
        return Ok(authorities.clone());
    }
    let mut own = Vec::new();
    for file in files(path).map_err(unreadable)? {
        let pem = std::fs::read(&file).map_err(unreadable)?;
        own.extend(CertificateDer::pem_slice_iter(&pem).flatten());
    }
    let mut roots = RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(own.iter().cloned());
    if taken == 0 {
        return Err(format!("{}: holds no certificate that can be used", path.display()));
    }
    let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()))
        .build()
        .map_err(|e| format!("{}: {e}", path.display()))?;
    let authorities = Arc::new(Authorities { chain, own });
    if kept.len() >= FILES_MAX {
        kept.clear();
    }
    kept.insert(path.to_owned(), (age, authorities.clone()));
    Ok(authorities)
}

/// The files of a path that may be a directory.
fn files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        if file.is_file() && file.extension().is_some_and(|end| end == "pem" || end == "crt") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

#[derive(Debug)]
struct Verifier {
    authorities: Arc<Authorities>,
    name: Option<ServerName<'static>>,
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
        let name = self.name.as_ref().unwrap_or(asked);
        match self.authorities.chain.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.name.is_none() => Ok(ServerCertVerified::assertion()),
            // One that is itself trusted needs nobody to vouch for it.
            Err(Error::InvalidCertificate(CertificateError::Other(_)))
                if self.name.is_none() && self.authorities.own.iter().any(|own| own == certificate) =>
            {
                Ok(ServerCertVerified::assertion())
            }
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.chain.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.chain.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.chain.supported_verify_schemes()
    }
}
