//! What `baton cloud-provider` is asked to do: its flags are those of every cloud controller manager, its own settings
//! are environment variables.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use baton_core::strconv::parse_bool;

use crate::keys::Shape;
use crate::message::{Findings, Message, Place, Severity};
use crate::scalar::{self, Style};
use crate::tree::Value;

use super::cloud_flags::{CLOUD_FLAGS, Meaning};
use super::settings::Level;

/// Where pools of addresses are, and for which Services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pools {
    /// Namespace of the ConfigMap (`KUBEVIP_NAMESPACE`).
    pub namespace: String,
    /// Its name (`KUBEVIP_CONFIG_MAP`).
    pub config_map: String,
    /// Services of this `loadBalancerClass` are served and no others (`KUBEVIP_ENABLE_LOADBALANCERCLASS`,
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
    /// `--port` and `--address`: where `/healthz` and `/metrics` are served; `None`: nowhere.
    pub serve: Option<SocketAddr>,
    /// `--cluster-name`.
    pub cluster_name: String,
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

/// Settings that may be started with.
#[derive(Clone, Debug)]
pub struct LoadedCloud {
    /// What to do.
    pub settings: CloudSettings,
    /// What has no effect.
    pub warnings: Vec<Message>,
}

/// Bounds of a Lease's times.
const TIMES: Shape = Shape::Time(Duration::from_secs(1), Duration::from_secs(86_400), false);

/// Reads the command line, flags by name without dashes, and the environment.
///
/// # Errors
/// Everything that is wrong, and the warnings too.
pub fn cloud(flags: &[(String, String)], env: &[(String, String)]) -> Result<LoadedCloud, Vec<Message>> {
    let mut found = Findings::default();
    for (name, text) in flags {
        let place = Place::Flag(name.clone());
        match CLOUD_FLAGS.iter().find(|flag| flag.name == name).map(|flag| flag.meaning) {
            Some(Meaning::Works) => {}
            Some(Meaning::Idle(why)) => {
                let what = format!("has no effect: {why}");
                found.put(Severity::Warning, &place, name, &what, "", "");
            }
            None => found.put(Severity::Error, &place, name, "is not a known flag", text, ""),
        }
    }
    let mut read = Read { flags, found: &mut found };
    let access = match (read.text("kubeconfig"), read.on("OutSideCluster", false)) {
        (Some(path), _) => CloudAccess::File(path),
        (None, true) => CloudAccess::Home,
        (None, false) => CloudAccess::InCluster,
    };
    let settings = CloudSettings {
        election: read.on("leader-elect", true).then(|| read.election()),
        access,
        serve: read.serve(),
        cluster_name: read.text("cluster-name").unwrap_or_else(|| "kubernetes".to_owned()),
        log: match read.int("v", 0, 10, 0) {
            0..=3 => Level::Info,
            4..=5 => Level::Debug,
            _ => Level::Trace,
        },
        pools: pools(env, read.found),
    };
    let refused = found.refused();
    let messages = found.finish(None);
    if refused { Err(messages) } else { Ok(LoadedCloud { settings, warnings: messages }) }
}

/// Flags by name; what is wrong goes to the findings.
struct Read<'a> {
    flags: &'a [(String, String)],
    found: &'a mut Findings,
}

impl Read<'_> {
    fn given(&self, name: &str) -> Option<String> {
        self.flags.iter().rev().find(|(n, _)| n == name).map(|(_, text)| text.clone())
    }

    fn text(&self, name: &str) -> Option<String> {
        self.given(name).filter(|text| !text.is_empty())
    }

    /// A value of a shape, or the default.
    fn value(&mut self, name: &str, shape: &Shape) -> Option<Value> {
        let text = self.text(name)?;
        match scalar::read(&text, Style::Outside, shape) {
            Ok(value) => value,
            Err(wrong) => {
                let place = Place::Flag(name.to_owned());
                self.found.put(Severity::Error, &place, name, wrong.what, &text, &wrong.expected);
                None
            }
        }
    }

    fn on(&mut self, name: &str, default: bool) -> bool {
        match self.value(name, &Shape::Bool) {
            Some(Value::Bool(bool)) => bool,
            _ => default,
        }
    }

    fn int(&mut self, name: &str, min: u64, max: u64, default: u64) -> u64 {
        match self.value(name, &Shape::Int(min, max)) {
            Some(Value::Int(int)) => int,
            _ => default,
        }
    }

    fn serve(&mut self) -> Option<SocketAddr> {
        let port = u16::try_from(self.int("port", 0, 65_535, 0)).unwrap_or_default();
        let text = self.text("address");
        let address = text.as_deref().map_or(Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)), str::parse);
        match address {
            Ok(address) => (port != 0).then(|| SocketAddr::new(address, port)),
            Err(_) => {
                let (name, value) = ("address", text.unwrap_or_default());
                let place = Place::Flag(name.to_owned());
                self.found.put(Severity::Error, &place, name, "is not an IP address", &value, "such as 127.0.0.1");
                None
            }
        }
    }

    fn time(&mut self, name: &str, default: u64) -> Duration {
        match self.value(name, &TIMES) {
            Some(Value::Time(time)) => time,
            _ => Duration::from_secs(default),
        }
    }

    fn election(&mut self) -> CloudElection {
        let lock = self.text("leader-elect-resource-lock");
        if let Some(lock) = lock.filter(|lock| lock != "leases") {
            let (name, what) = ("leader-elect-resource-lock", "is no kind of lock any more");
            self.found.put(Severity::Error, &Place::Flag(name.to_owned()), name, what, &lock, "leases");
        }
        let election = CloudElection {
            namespace: self.text("leader-elect-resource-namespace").unwrap_or_else(|| CLOUD_LEASE_NAMESPACE.to_owned()),
            name: self.text("leader-elect-resource-name").unwrap_or_else(|| CLOUD_LEASE.to_owned()),
            duration: self.time("leader-elect-lease-duration", 15),
            renew_deadline: self.time("leader-elect-renew-deadline", 10),
            retry: self.time("leader-elect-retry-period", 2),
        };
        let CloudElection { duration, renew_deadline, retry, .. } = election;
        if renew_deadline >= duration {
            let expected = format!("less than leader-elect-lease-duration, which is {}", scalar::duration(duration));
            self.too_long("leader-elect-renew-deadline", renew_deadline, &expected);
        }
        if retry * 6 >= renew_deadline * 5 {
            let expected =
                format!("less than leader-elect-renew-deadline ({}) / 1.2", scalar::duration(renew_deadline));
            self.too_long("leader-elect-retry-period", retry, &expected);
        }
        election
    }

    fn too_long(&mut self, name: &str, time: Duration, expected: &str) {
        let place = Place::Flag(name.to_owned());
        self.found.put(Severity::Error, &place, name, "is too long", &scalar::duration(time), expected);
    }
}

/// Where the Lease of kube-vip's cloud provider is unless said otherwise.
pub const CLOUD_LEASE_NAMESPACE: &str = "kube-system";
/// Its name in kube-vip's manifest.
pub const CLOUD_LEASE: &str = "kube-vip-cloud-controller";
/// The class of kube-vip's Services.
const CLASS: &str = "kube-vip.io/kube-vip-class";

/// The environment of the cloud provider.
pub(crate) fn pools(env: &[(String, String)], found: &mut Findings) -> Pools {
    let set = |name: &str| env.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str());
    let enabled = set("KUBEVIP_ENABLE_LOADBALANCERCLASS").is_some_and(|text| {
        parse_bool(text).unwrap_or_else(|| {
            let place = Place::Environment("KUBEVIP_ENABLE_LOADBALANCERCLASS".to_owned());
            found.put(Severity::Error, &place, "class", "is not a boolean", text, "true or false");
            false
        })
    });
    let custom = set("KUBEVIP_CUSTOM_LOADBALANCERCLASS_NAME").map(str::to_owned);
    Pools {
        namespace: set("KUBEVIP_NAMESPACE").unwrap_or("kube-system").to_owned(),
        config_map: set("KUBEVIP_CONFIG_MAP").unwrap_or("kubevip").to_owned(),
        class: custom.or_else(|| enabled.then(|| CLASS.to_owned())),
    }
}
