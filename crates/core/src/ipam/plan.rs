//! What is to be written on one Service, and why.

use super::service::{Key, Service};

/// The outcome of one look at a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// To be written over exactly the version it names.
    Write(Change),
    /// It gets no address, or may not have the one it carries. Looked at again when that may have changed.
    Refused {
        /// Of the Service.
        uid: String,
        /// For people; does not change as long as the cause does not.
        why: String,
    },
}

/// Why a Service is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It got addresses of a pool.
    Allocated,
    /// `spec.loadBalancerIP` goes into the annotation.
    Adopted,
    /// It has its addresses; label or finalizer are missing.
    Marked,
    /// Its ports came to collide with another Service on a shared address.
    Moved,
    /// It came to want another family, or one less.
    Families,
    /// It is no load balancer any more: addresses of a pool go back.
    Released,
    /// It is being deleted: the finalizer goes.
    Deleted,
}

/// The fields to write; `None` leaves a field alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which Service.
    pub key: Key,
    /// Which of that name.
    pub uid: String,
    /// Only over this version.
    pub version: String,
    /// Why.
    pub why: Why,
    /// Annotation `kube-vip.io/loadbalancerIPs`; empty: removed.
    pub annotation: Option<String>,
    /// `spec.loadBalancerIP`; empty: removed.
    pub spec_ip: Option<String>,
    /// Annotation `kube-vip.io/serviceInterface`; empty: removed.
    pub interface: Option<String>,
    /// Label `implementation: kube-vip`.
    pub label: Option<bool>,
    /// Finalizer `service.kubernetes.io/load-balancer-cleanup`.
    pub finalizer: Option<bool>,
}

impl Change {
    pub(super) fn of(service: &Service, why: Why) -> Change {
        Change {
            key: service.key.clone(),
            uid: service.uid.clone(),
            version: service.version.clone(),
            why,
            annotation: None,
            spec_ip: None,
            interface: None,
            label: None,
            finalizer: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        let text = [&self.annotation, &self.spec_ip, &self.interface];
        text.iter().all(|field| field.is_none()) && self.label.is_none() && self.finalizer.is_none()
    }
}
