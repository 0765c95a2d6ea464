//! An authority of the cluster's own, and a certificate for everybody who takes part.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// The authority, and the directory where everything that it issues is written.
pub struct Authority {
    directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as files.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct User<'a> {
    /// The user's name.
    pub name: &'a str,
    /// A group that the user is in.
    pub group: Option<&'a str>,
}

/// The group that may do everything.
pub const MASTERS: &str = "system:masters";

impl Authority {
    /// A new one that writes into `directory`.
    pub fn new(directory: PathBuf) -> io::Result<Authority> {
        fs::create_dir_all(&directory)?;
        let mut params = CertificateParams::new(Vec::new()).map_err(io::Error::other)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, "baton-lab");
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.self_signed(&key).map_err(io::Error::other)?;
        fs::write(directory.join("ca.crt"), certificate.pem())?;
        let tokens = KeyPair::generate().map_err(io::Error::other)?;
        fs::write(directory.join("service-account.key"), tokens.serialize_pem())?;
        fs::write(directory.join("service-account.pub"), tokens.public_key_pem())?;
        Ok(Authority { directory, issuer: Issuer::new(params, key) })
    }

    /// The authority's own certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.directory.join("ca.crt")
    }

    /// The key that signs the tokens of service accounts.
    #[must_use]
    pub fn service_account_key(&self) -> PathBuf {
        self.directory.join("service-account.key")
    }

    /// What tells that these tokens are right.
    #[must_use]
    pub fn service_account_public_key(&self) -> PathBuf {
        self.directory.join("service-account.pub")
    }

    /// A server's certificate for names and addresses.
    pub fn server(&self, file: &str, names: Vec<String>) -> io::Result<Pair> {
        let params = CertificateParams::new(names).map_err(io::Error::other)?;
        self.issue(file, params, "kube-apiserver", None, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client's certificate.
    pub fn client(&self, file: &str, user: User<'_>) -> io::Result<Pair> {
        let params = CertificateParams::new(Vec::new()).map_err(io::Error::other)?;
        self.issue(file, params, user.name, user.group, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A kubeconfig for a client of `server`.
    pub fn kubeconfig(&self, file: &str, user: User<'_>, server: &str) -> io::Result<PathBuf> {
        let pair = self.client(file, user)?;
        let path = self.directory.join(format!("{file}.conf"));
        fs::write(&path, kubeconfig(server, &self.certificate(), &pair))?;
        Ok(path)
    }

    fn issue(
        &self,
        file: &str,
        mut params: CertificateParams,
        name: &str,
        group: Option<&str>,
        purpose: ExtendedKeyUsagePurpose,
    ) -> io::Result<Pair> {
        params.distinguished_name.push(DnType::CommonName, name);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        let pair = Pair {
            certificate: self.directory.join(format!("{file}.crt")),
            key: self.directory.join(format!("{file}.key")),
        };
        fs::write(&pair.certificate, certificate.pem())?;
        fs::write(&pair.key, key.serialize_pem())?;
        Ok(pair)
    }
}

fn kubeconfig(server: &str, authority: &Path, pair: &Pair) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: lab\ncontexts:\n- name: lab\n  context: {{cluster: lab, user: lab}}\n\
         clusters:\n- name: lab\n  cluster:\n    server: {server}\n    certificate-authority: {}\n\
         users:\n- name: lab\n  user:\n    client-certificate: {}\n    client-key: {}\n",
        authority.display(),
        pair.certificate.display(),
        pair.key.display()
    )
}

/// The URL of an API server.
#[must_use]
pub fn url(server: SocketAddr) -> String {
    format!("https://{server}")
}
