//! What `baton cloud-provider` is asked to do: its flags are those of every cloud controller manager, its own settings
//! are environment variables.

use std::time::Duration;

use crate::message::{Findings, Place, Severity};

use super::settings::Level;

/// Where pools of addresses are, and for which Services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pools {
    /// Namespace of the ConfigMap (`KUBEVIP_NAMESPACE`).
    pub namespace: String,
    /// Its name (`KUBEVIP_CONFIG_MAP`).
    pub config_map: String,
    /// Services of this `loadBalancerClass` are served as well (`KUBEVIP_ENABLE_LOADBALANCERCLASS`,
    /// `KUBEVIP_CUSTOM_LOADBALANCERCLASS_NAME`); `None`: only those without a class.
    pub class: Option<String>,
}

/// Everything that `baton cloud-provider` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudSettings {
    /// Where addresses come from.
    pub pools: Pools,
    /// `--leader-elect`; `None`: this is the only one and asks nobody.
    pub election: Option<CloudElection>,
    /// `--kubeconfig`, or the one in `$HOME` with `--OutSideCluster`; `None`: the pod's ServiceAccount.
    pub access: CloudAccess,
    /// `--master`: goes before the server of the kubeconfig.
    pub master: Option<String>,
    /// `--cluster-name`.
    pub cluster_name: String,
    /// `--concurrent-service-syncs`.
    pub workers: u32,
    /// What is worth a log line (`--v`: 0 info, 4 debug, 6 trace).
    pub log: Level,
}

/// Who allocates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudElection {
    /// `--leader-elect-resource-namespace`.
    pub namespace: String,
    /// `--leader-elect-resource-name`.
    pub name: String,
    /// `--leader-elect-lease-duration`.
    pub duration: Duration,
    /// `--leader-elect-renew-deadline`.
    pub renew_deadline: Duration,
    /// `--leader-elect-retry-period`.
    pub retry: Duration,
}

/// How the API server is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloudAccess {
    /// By the pod's ServiceAccount.
    InCluster,
    /// By the kubeconfig of this path.
    File(String),
    /// By `$HOME/.kube/config` (`--OutSideCluster`).
    Home,
}

/// The class of kube-vip's Services.
const CLASS: &str = "kube-vip.io/kube-vip-class";

/// The environment of the cloud provider.
pub(crate) fn pools(env: &[(String, String)], found: &mut Findings) -> Pools {
    let set = |name: &str| env.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str());
    let enabled = set("KUBEVIP_ENABLE_LOADBALANCERCLASS").is_some_and(|text| match text {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => true,
        "0" | "f" | "F" | "false" | "False" | "FALSE" => false,
        _ => {
            let place = Place::Environment("KUBEVIP_ENABLE_LOADBALANCERCLASS".to_owned());
            found.put(Severity::Error, &place, "class", "is not a boolean", text, "true or false");
            false
        }
    });
    let custom = set("KUBEVIP_CUSTOM_LOADBALANCERCLASS_NAME").map(str::to_owned);
    Pools {
        namespace: set("KUBEVIP_NAMESPACE").unwrap_or("kube-system").to_owned(),
        config_map: set("KUBEVIP_CONFIG_MAP").unwrap_or("kubevip").to_owned(),
        class: custom.or_else(|| enabled.then(|| CLASS.to_owned())),
    }
}
