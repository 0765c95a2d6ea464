//! Which credentials and which server: kube-vip's order, and what its users had to do by hand.

use baton::kube::{Access, Client, Error};
use serde_json::json;

use super::server::{Answer, Ask, Authority, Node, Server, status, times};

const NODE: &str = "/api/v1/nodes/n1";

fn well(_: &Ask) -> Answer {
    Answer::Json(200, json!({"metadata": {"name": "n1"}}))
}

async fn asked(access: &Access) -> Result<(), Error> {
    Client::new(access, times()).get(NODE).await.map(drop)
}

#[tokio::test]
async fn a_control_plane_node_asks_its_own_server_by_the_name_kubernetes() {
    let authority = Authority::new();
    let server = Server::with(&authority, &["kubernetes"], &["h2"], well).await;
    let node = Node::with_admin(&authority, server.address.port());
    asked(&node.access()).await.unwrap();
    assert_eq!(server.count(|ask| ask.certificate.is_some() && ask.bearer.is_none()), 1);
}

#[tokio::test]
async fn its_server_has_another_name_and_is_taken_when_that_is_asked_for() {
    let authority = Authority::new();
    let server = Server::with(&authority, &["10.0.0.1"], &["h2"], well).await;
    let mut node = Node::with_admin(&authority, server.address.port());
    let error = asked(&node.access()).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable(text) if text.contains("certificate")), "{error}");
    node.settings.detect = true;
    asked(&node.access()).await.unwrap();
    // Signed by somebody else it is nobody, by whatever name.
    let stranger = Server::with(&Authority::new(), &["kubernetes"], &["h2"], well).await;
    node.settings.port = stranger.address.port();
    assert!(asked(&node.access()).await.is_err());
    assert_eq!(stranger.count(|_| true), 0);
}

#[tokio::test]
async fn another_server_in_place_of_the_file_s() {
    let authority = Authority::new();
    let server = Server::start(&authority, well).await;
    let mut node = Node::with_admin(&authority, 1);
    node.settings.server = Some(server.address.to_string());
    asked(&node.access()).await.unwrap();
}

#[tokio::test]
async fn a_file_of_the_users_choice_goes_before_everything_and_the_home_s_comes_last() {
    let authority = Authority::new();
    let [own, admin, home] = [
        Server::start(&authority, well).await,
        Server::start(&authority, well).await,
        Server::start(&authority, well).await,
    ];
    let mut node = Node::bare(admin.address.port());
    let kubeconfig = |server: &Server| authority.kubeconfig(&format!("https://{}", server.address), "somebody");
    node.write("config", &kubeconfig(&home));
    asked(&node.access()).await.unwrap();
    node.write("admin.conf", &kubeconfig(&own));
    asked(&node.access()).await.unwrap();
    node.settings.kubeconfig = Some(node.directory.path().join("own.conf"));
    asked(&node.access()).await.unwrap();
    node.write("own.conf", &kubeconfig(&own));
    asked(&node.access()).await.unwrap();
    let counts = [&home, &admin, &own].map(|server| server.count(|_| true));
    assert_eq!(counts, [1, 2, 1], "home once, then admin.conf twice (the chosen file was not there), then the file");
}

#[tokio::test]
async fn in_a_pod_the_token_is_read_again_when_it_is_refused() {
    let authority = Authority::new();
    let server = Server::with(&authority, &["127.0.0.1"], &["h2"], |ask| {
        if ask.bearer.as_deref() == Some("Bearer new") { well(ask) } else { status(401, "Unauthorized", "who?") }
    })
    .await;
    let mut node = Node::bare(1);
    node.write("sa/token", "old\n");
    node.write("sa/ca.crt", &authority.pem);
    node.settings.files.service = Some(("127.0.0.1".to_owned(), server.address.port()));
    let access = node.access();
    let client = Client::new(&access, times());
    assert!(matches!(client.get(NODE).await, Err(Error::Unauthorized(_))));
    node.write("sa/token", "new\n");
    client.get(NODE).await.unwrap();
}

#[tokio::test]
async fn super_admin_conf_where_admin_conf_is_forbidden() {
    let authority = Authority::new();
    let (known, strong) = (std::sync::Mutex::new(None), std::sync::Mutex::new(false));
    let server = Server::start(&authority, move |ask| {
        // The first certificate that comes along is admin.conf's.
        let weak = known.lock().unwrap().get_or_insert(ask.certificate.clone()).clone();
        *strong.lock().unwrap() = weak != ask.certificate;
        if weak == ask.certificate { status(403, "Forbidden", "nodes is forbidden") } else { well(ask) }
    })
    .await;
    let node = Node::with_admin(&authority, server.address.port());
    let access = node.access();
    let client = Client::new(&access, times());
    assert!(matches!(client.get(NODE).await, Err(Error::Forbidden(_))));
    node.write("super-admin.conf", &authority.kubeconfig("https://127.0.0.1:1", "kubernetes-super-admin"));
    client.get(NODE).await.unwrap();
    client.get(NODE).await.unwrap();
    assert_eq!(server.count(|_| true), 4, "refused, refused and asked again, asked once");
}

#[tokio::test]
async fn what_is_not_there_yet_is_waited_for() {
    let authority = Authority::new();
    let server = Server::start(&authority, well).await;
    let node = Node::bare(server.address.port());
    let client = Client::new(&node.access(), times());
    let error = client.get(NODE).await.unwrap_err();
    assert!(error.message().starts_with("there is no way to the API yet: no "), "{error}");
    node.write("admin.conf", "users: [{name: u, user: {exec: {}}}]");
    let error = client.get(NODE).await.unwrap_err();
    assert!(error.message().contains("admin.conf: has no current-context"), "{error}");
    node.write("admin.conf", &authority.kubeconfig("https://127.0.0.1:1", "kubernetes-admin"));
    client.get(NODE).await.unwrap();
}
