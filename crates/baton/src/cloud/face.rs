//! `/healthz` and `/metrics` of the cloud provider, over HTTP, where `--port` asks for them.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::allocator::Counts;
use crate::admin::exposition::{self, Page};
use crate::kube::Access;

/// What is shown.
#[derive(Clone)]
pub(super) struct Face {
    pub(super) access: Access,
    pub(super) counts: watch::Receiver<Counts>,
}

impl Face {
    /// Listens, and serves for as long as the runtime lives.
    ///
    /// # Errors
    /// What listening may fail with.
    pub(super) async fn serve(self, address: SocketAddr) -> std::io::Result<()> {
        let listener = TcpListener::bind(address).await?;
        let routes = Router::new().route("/healthz", get(alive)).route("/metrics", get(scrape)).with_state(self);
        // axum retries what accepting may fail with; it does not return.
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(())
    }
}

/// There is one thread for everything here: if it answers this, it does the rest, too.
async fn alive() -> &'static str {
    "ok\n"
}

async fn scrape(State(face): State<Face>) -> Response {
    let mut page = Page::default();
    page.metric(("baton_build_info", "gauge"), "The program; always 1", [(vec![("version", crate::VERSION)], 1.0)]);
    metrics(&mut page, *face.counts.borrow());
    page.api_requests(&face.access);
    ([(CONTENT_TYPE, exposition::CONTENT_TYPE)], page.text()).into_response()
}

/// What an allocator knows, on a page.
#[expect(clippy::cast_precision_loss, reason = "no cluster has 2^53 Services")]
pub(crate) fn metrics(page: &mut Page, counts: Counts) {
    let Counts { leads, services, addresses, waiting } = counts;
    let leading = [(vec![], f64::from(u8::from(leads)))];
    page.metric(("baton_ipam_is_leader", "gauge"), "This process gives out addresses", leading);
    if leads {
        let rows = [
            ("baton_ipam_services", "Services known", services),
            ("baton_ipam_addresses", "Addresses in use", addresses),
            ("baton_ipam_services_waiting", "Services that wait for an address", waiting),
        ];
        for (name, help, count) in rows {
            page.metric((name, "gauge"), help, [(vec![], count as f64)]);
        }
    }
}
