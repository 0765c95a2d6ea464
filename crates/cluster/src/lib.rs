//! Kubernetes clusters in the lab: real etcd and API servers, controllers and kube-proxy, on hosts that are network namespaces.
//!
//! Not a part of `baton-lab`, which the shipped program contains for its demo: certificates and an HTTPS client are the tests' own.
//!
//! - [`programs`]: the programs of Kubernetes, found, or built from Go modules into a cache;
//! - [`certificates`]: an authority, and a certificate and a kubeconfig for everybody;
//! - [`api`]: a small HTTPS client; [`probe`]: the same at a fixed rate, from a client's host;
//! - [`cluster`]: nodes that can be broken, what runs on them, and the host where etcd is;
//! - [`components`]: command lines of Kubernetes' programs; [`daemon`]: the daemon that is looked at, as a kubelet would start it;
//! - [`pods`]: pods, as objects and as network namespaces with a server in each;
//! - [`announcements`]: gratuitous ARP as a client hears it; [`audit`]: who asked the API servers for what.

pub mod announcements;
pub mod api;
pub mod audit;
pub mod certificates;
pub mod cluster;
pub mod components;
pub mod daemon;
mod go;
pub mod pods;
pub mod probe;
pub mod programs;

pub use cluster::{Cluster, Plan};
