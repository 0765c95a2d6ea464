//! A kubeconfig file: which server, what vouches for it, and who we are there. Only what its current context names.
//!
//! What would have to run a program (`exec`, `auth-provider`) or is gone from Kubernetes (passwords) is refused with words.

use crate::yaml::{self, Kind, Node};

/// The current context of a kubeconfig file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubeconfig {
    /// `https://host:port`, as written.
    pub server: String,
    /// The name that the server's certificate is to have, if not the host's.
    pub server_name: Option<String>,
    /// What the server's certificate is signed by; `None`: what the system trusts.
    pub authority: Option<Material>,
    /// Do not verify the server's certificate.
    pub insecure: bool,
    /// Certificate and key of this client.
    pub certificate: Option<(Material, Material)>,
    /// The bearer token of this client.
    pub token: Option<Token>,
}

/// A certificate or key: where it is, or itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Material {
    /// A path; relative ones are meant from the kubeconfig's own directory.
    File(String),
    /// PEM in base64.
    Base64(String),
}

/// A bearer token: where it is, or itself.
#[derive(Clone, PartialEq, Eq)]
pub enum Token {
    /// A path, read again and again because tokens are rotated.
    File(String),
    /// The token.
    Text(String),
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Token::File(path) => write!(f, "File({path:?})"),
            Token::Text(_) => f.write_str("Text(…)"),
        }
    }
}

/// Reads a kubeconfig file.
///
/// # Errors
/// What is wrong with it, for a line that begins with the file's name.
pub fn kubeconfig(text: &str) -> Result<Kubeconfig, String> {
    let document = yaml::parse(text).map_err(|broken| format!("line {}: {}", broken.line, broken.what))?;
    let root = document.root.ok_or("is empty")?;
    let context = match scalar(&root, "current-context")? {
        Some(name) => named(&root, "contexts", "context", &name)?,
        None => only(&root)?,
    };
    let cluster = scalar(context, "cluster")?.ok_or("the current context names no cluster")?;
    let cluster = named(&root, "clusters", "cluster", &cluster)?;
    let user = match scalar(context, "user")? {
        Some(name) => Some(named(&root, "users", "user", &name)?),
        None => None,
    };
    let certificate = user.map(certificate).transpose()?.flatten();
    let token = user.map(token).transpose()?.flatten();
    if let Some(user) = user {
        refuse(user)?;
    }
    Ok(Kubeconfig {
        server: scalar(cluster, "server")?.ok_or("the cluster of the current context has no server")?,
        server_name: scalar(cluster, "tls-server-name")?,
        authority: material(cluster, "certificate-authority")?,
        insecure: scalar(cluster, "insecure-skip-tls-verify")?.is_some_and(|text| text == "true"),
        certificate,
        token,
    })
}

/// What would be ignored otherwise.
fn refuse(user: &Node) -> Result<(), String> {
    let why = [
        ("exec", "runs a program for its credentials, which Baton does not do: use a client certificate or a token"),
        ("auth-provider", "needs a plug-in, which Kubernetes removed in 1.26: use a client certificate or a token"),
        ("username", "uses a password, which Kubernetes removed in 1.19: use a client certificate or a token"),
        ("as", "acts as somebody else, which Baton does not do: use that user's own credentials"),
    ];
    match why.iter().find(|(key, _)| get(user, key).is_some_and(|node| !is_null(node))) {
        Some((key, why)) => Err(format!("the user of the current context ({key}) {why}")),
        None => Ok(()),
    }
}

fn certificate(user: &Node) -> Result<Option<(Material, Material)>, String> {
    match (material(user, "client-certificate")?, material(user, "client-key")?) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (None, None) => Ok(None),
        (Some(_), None) => Err("the user of the current context has a client-certificate but no client-key".into()),
        (None, Some(_)) => Err("the user of the current context has a client-key but no client-certificate".into()),
    }
}

fn token(user: &Node) -> Result<Option<Token>, String> {
    Ok(match scalar(user, "tokenFile")? {
        Some(path) => Some(Token::File(path)),
        None => scalar(user, "token")?.map(Token::Text),
    })
}

/// `KEY-data` before `KEY`.
fn material(node: &Node, key: &str) -> Result<Option<Material>, String> {
    Ok(match scalar(node, &format!("{key}-data"))? {
        Some(text) => Some(Material::Base64(text.split_ascii_whitespace().collect())),
        None => scalar(node, key)?.map(Material::File),
    })
}

/// The one context there is.
fn only(root: &Node) -> Result<&Node, String> {
    match list(root, "contexts")? {
        [one] => get(one, "context").ok_or_else(|| "its context is empty".to_owned()),
        _ => Err("has no current-context".to_owned()),
    }
}

fn named<'a>(root: &'a Node, list_key: &str, key: &str, name: &str) -> Result<&'a Node, String> {
    for entry in list(root, list_key)? {
        if scalar(entry, "name")?.as_deref() == Some(name) {
            return get(entry, key).ok_or_else(|| format!("line {}: the {key} `{name}` is empty", entry.line));
        }
    }
    Err(format!("there is no {key} `{name}`"))
}

fn list<'a>(node: &'a Node, key: &str) -> Result<&'a [Node], String> {
    match get(node, key).map(|node| (&node.kind, node)) {
        Some((Kind::List(items), _)) => Ok(items),
        Some((_, node)) if !is_null(node) => Err(format!("line {}: `{key}` is not a list", node.line)),
        _ => Ok(&[]),
    }
}

fn get<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    let Kind::Map(entries) = &node.kind else { return None };
    let is = |node: &Node| matches!(&node.kind, Kind::Scalar { text, .. } if text == key);
    entries.iter().find(|(name, _)| is(name)).map(|(_, value)| value)
}

fn is_null(node: &Node) -> bool {
    matches!(&node.kind, Kind::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
}

/// A scalar's text; an empty one is none.
fn scalar(node: &Node, key: &str) -> Result<Option<String>, String> {
    match get(node, key) {
        Some(value) if !is_null(value) => match &value.kind {
            Kind::Scalar { text, .. } => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
            _ => Err(format!("line {}: `{key}` is not a text", value.line)),
        },
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMIN: &str = "\
apiVersion: v1
kind: Config
clusters:
- cluster:
    certificate-authority-data: QUJD
    server: https://10.0.0.100:6443
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: kubernetes-admin
  name: kubernetes-admin@kubernetes
current-context: kubernetes-admin@kubernetes
preferences: {}
users:
- name: kubernetes-admin
  user:
    client-certificate-data: REVG
    client-key-data: R0hJ
";

    #[test]
    fn an_admin_conf_of_kubeadm() {
        let read = kubeconfig(ADMIN).unwrap();
        assert_eq!(read.server, "https://10.0.0.100:6443");
        assert_eq!(read.authority, Some(Material::Base64("QUJD".into())));
        let pair = (Material::Base64("REVG".into()), Material::Base64("R0hJ".into()));
        assert_eq!((read.certificate, read.token, read.insecure), (Some(pair), None, false));
    }

    #[test]
    fn files_tokens_and_names() {
        let text = ADMIN
            .replace(
                "certificate-authority-data: QUJD",
                "certificate-authority: ca.crt\n    tls-server-name: kubernetes",
            )
            .replace("client-certificate-data: REVG", "tokenFile: /run/token")
            .replace("client-key-data: R0hJ", "token: abc");
        let read = kubeconfig(&text).unwrap();
        assert_eq!(read.authority, Some(Material::File("ca.crt".into())));
        assert_eq!(read.server_name.as_deref(), Some("kubernetes"));
        assert_eq!((read.token, read.certificate), (Some(Token::File("/run/token".into())), None));
    }

    #[test]
    fn the_current_context_decides_and_a_single_one_needs_no_choice() {
        let none = ADMIN.replace("current-context: kubernetes-admin@kubernetes", "current-context: \"\"");
        assert_eq!(kubeconfig(&none).unwrap().server, "https://10.0.0.100:6443");
        let wrong = ADMIN.replace("current-context: kubernetes-admin@kubernetes", "current-context: other");
        assert_eq!(kubeconfig(&wrong).unwrap_err(), "there is no context `other`");
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_words() {
        let cases = [
            ("", "is empty"),
            ("a: [", "line 1: is not valid YAML"),
            ("contexts: 1", "line 1: `contexts` is not a list"),
            ("clusters: []", "has no current-context"),
            (&ADMIN.replace("client-key-data: R0hJ", "exec: {command: aws}"), "client-certificate but no client-key"),
            (
                &ADMIN.replace(
                    "    client-certificate-data: REVG\n    client-key-data: R0hJ",
                    "    exec: {command: aws}",
                ),
                "(exec) runs a program",
            ),
            (&ADMIN.replace("    server: https://10.0.0.100:6443\n", ""), "has no server"),
        ];
        for (text, says) in cases {
            let error = kubeconfig(text).unwrap_err();
            assert!(error.contains(says), "{text}\n{error}");
        }
    }

    #[test]
    fn a_token_is_not_printed() {
        assert_eq!(format!("{:?}", Token::Text("secret".into())), "Text(…)");
    }
}
