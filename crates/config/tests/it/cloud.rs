//! `baton cloud-provider`: a cloud controller manager's flags, kube-vip's variables.

use std::time::Duration;

use baton_config::manager::{CloudAccess, CloudSettings, Level, cloud};

fn words(line: &str) -> Vec<(String, String)> {
    let pair = |word: &str| {
        let (name, value) = word.split_once('=').unwrap_or((word, "true"));
        (name.trim_start_matches('-').to_owned(), value.to_owned())
    };
    line.split_whitespace().map(pair).collect()
}

fn settings(flags: &str, env: &str) -> CloudSettings {
    cloud(&words(flags), &words(env)).unwrap_or_else(|messages| panic!("{flags}: {messages:?}")).settings
}

#[test]
fn defaults_and_the_original_manifest() {
    let s = settings("--leader-elect-resource-name=kube-vip-cloud-controller", "");
    assert_eq!(s, settings("", ""));
    let e = s.election.expect("it elects");
    assert_eq!((e.namespace.as_str(), e.name.as_str()), ("kube-system", "kube-vip-cloud-controller"));
    assert_eq!((e.duration.as_secs(), e.renew_deadline.as_secs(), e.retry.as_secs()), (15, 10, 2));
    assert_eq!((s.access, s.log), (CloudAccess::InCluster, Level::Info));
    assert_eq!(
        (s.pools.namespace.as_str(), s.pools.config_map.as_str(), s.pools.class),
        ("kube-system", "kubevip", None)
    );
    assert_eq!((s.cluster_name.as_str(), s.serve), ("kubernetes", None));
}

#[test]
fn what_can_be_said() {
    let s = settings(
        "--leader-elect-lease-duration=1m --leader-elect-renew-deadline=40s --kubeconfig=/a --OutSideCluster --v=4 \
         --port=10258 --address=127.0.0.1",
        "KUBEVIP_NAMESPACE=a KUBEVIP_CONFIG_MAP=b KUBEVIP_CUSTOM_LOADBALANCERCLASS_NAME=example.com/c",
    );
    let e = s.election.expect("it elects");
    assert_eq!((e.duration, e.renew_deadline), (Duration::from_secs(60), Duration::from_secs(40)));
    assert_eq!((s.access, s.log), (CloudAccess::File("/a".to_owned()), Level::Debug));
    assert_eq!((s.pools.namespace.as_str(), s.pools.config_map.as_str()), ("a", "b"));
    assert_eq!(s.pools.class.as_deref(), Some("example.com/c"));
    assert_eq!(s.serve, Some(([127, 0, 0, 1], 10258).into()));
    assert_eq!(settings("--port=10258", "").serve, Some("[::]:10258".parse().expect("an address")));
    assert!(settings("--leader-elect=false", "").election.is_none());
    assert_eq!(settings("--OutSideCluster", "").access, CloudAccess::Home);
    let class = settings("", "KUBEVIP_ENABLE_LOADBALANCERCLASS=true").pools.class;
    assert_eq!(class.as_deref(), Some("kube-vip.io/kube-vip-class"));
}

#[test]
fn standard_flags_are_taken_and_nonsense_is_not() {
    let loaded = cloud(&words("--allow-untagged-cloud --secure-port=0 --controllers=service"), &[]).expect("accepted");
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "flag --allow-untagged-cloud: warning: allow-untagged-cloud: has no effect: the cloud is kubevip",
            "flag --controllers: warning: controllers: has no effect: there is one controller, that of Services",
            "flag --secure-port: warning: secure-port: has no effect: no server with TLS is started; \
             --port serves /healthz and /metrics",
        ]
    );
    let refused = cloud(
        &words(
            "--nonsense=1 --leader-elect-lease-duration=10 --leader-elect=maybe --leader-elect-retry-period=9s \
             --leader-elect-resource-lock=endpoints --address=here",
        ),
        &words("KUBEVIP_ENABLE_LOADBALANCERCLASS=x"),
    );
    let messages: Vec<String> = refused.expect_err("it is refused").iter().map(ToString::to_string).collect();
    assert_eq!(
        messages,
        [
            "environment variable KUBEVIP_ENABLE_LOADBALANCERCLASS: class: is not a boolean (x), expected true or false",
            "flag --address: address: is not an IP address (here), expected such as 127.0.0.1",
            "flag --leader-elect: leader-elect: is not a boolean (maybe), expected 1, t, T, true, True, TRUE, 0, f, F, \
             false, False or FALSE",
            "flag --leader-elect-lease-duration: leader-elect-lease-duration: has no unit (10), expected a duration from \
             1s to 24h",
            "flag --leader-elect-resource-lock: leader-elect-resource-lock: is no kind of lock any more (endpoints), \
             expected leases",
            "flag --leader-elect-retry-period: leader-elect-retry-period: is too long (9s), expected less than \
             leader-elect-renew-deadline (10s) / 1.2",
            "flag --nonsense: nonsense: is not a known flag (1)",
        ]
    );
}
