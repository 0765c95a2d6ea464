//! What is printed: samples, schema, reference. And that they say what the reader does.

use baton_config::{FLAGS, ManifestArgs, StartArgs, reference, sample_config, sample_manifest, schema, start};
use serde_json::Value as Json;

use crate::corpus::{files, host};
use crate::{accepted, key_file, lines, pairs};

/// Byte for byte what kube-vip 0.1.5 prints with default flags.
const SAMPLE: &str = "\
AddPeersAsBackends: false
GratuitousARP: false
Interface: eth0
LoadBalancers:
- BackendPort: 0
  Backends:
  - Address: 192.168.0.1
    ParsedURL: null
    Port: 8080
    RawURL: \"\"
  - Address: 192.168.0.2
    ParsedURL: null
    Port: 8080
    RawURL: \"\"
  BindToVip: false
  Name: Example Load Balancer
  Port: 8080
  Type: tcp
LocalPeer:
  Address: 192.168.0.1
  ID: server1
  Port: 10000
RemotePeers:
- Address: 192.168.0.2
  ID: server2
  Port: 10000
- Address: 192.168.0.3
  ID: server3
  Port: 10000
SingleNode: false
StartAsLeader: false
VIP: 192.168.0.1
";

fn sample(flags: &[(&str, &str)], env: &[(&str, &str)], kube_vip: bool) -> String {
    sample_config(&StartArgs { flags: pairs(flags) }, &pairs(env), kube_vip).unwrap()
}

#[test]
fn the_sample_under_the_old_name() {
    assert_eq!(sample(&[], &[], true), SAMPLE);
    let changed = SAMPLE.replace("VIP: 192.168.0.1", "VIP: 192.168.0.9").replace("Interface: eth0", "Interface: ens3");
    assert_eq!(
        sample(&[("interface", "ens3"), ("vip", "192.168.0.8")], &[("vip_address", "192.168.0.9")], true),
        changed
    );
}

#[test]
fn our_sample_is_accepted_by_our_reader() {
    let text = sample(&[], &[], false);
    let loaded = start(&StartArgs::default(), &[], Some(("s", &text)), &host(), &key_file, false).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", lines(&loaded.warnings));
    assert_eq!(loaded.settings.ownership.peers.len(), 2);
    assert_eq!(loaded.settings.balancers[0].backends.len(), 3);
    assert!(text.starts_with(
        "localPeer:\n  id: server1\n  address: 192.168.0.1\n  port: 10000\nremotePeers:\n- id: server2\n"
    ));
}

#[test]
fn samples_take_any_text() {
    for name in ["yes", "7", "a: b", "\"", "x\ny", "- a", "#", " a ", "", "0x1f", "null", "é"] {
        let flags = [("lbName", name), ("lbPort", "8443")];
        let text = sample(&flags, &[], false);
        let loaded = start(&StartArgs::default(), &[], Some(("s", &text)), &host(), &key_file, false);
        let expected = if name.is_empty() { "Kubernetes Control Plane" } else { name };
        assert_eq!(loaded.unwrap().settings.balancers[0].name, expected, "{text}");
    }
    let wrong = sample_config(&StartArgs { flags: pairs(&[("lbPort", "x")]) }, &[], false).unwrap_err();
    let line =
        "flag --lbPort: loadBalancers[0].port: is not a whole number (x), expected a whole number from 1 to 65535";
    assert_eq!(lines(&wrong), [line]);
}

#[test]
fn manifests() {
    let args = ManifestArgs { image: "docker.io/plndr/kube-vip:0.1.5", name: "kube-vip", command: None };
    let expected = "\
apiVersion: v1
kind: Pod
metadata:
  creationTimestamp: null
  name: kube-vip
  namespace: kube-system
spec:
  containers:
  - args:
    - start
    - -c
    - /etc/kube-vip/config.yaml
    image: docker.io/plndr/kube-vip:0.1.5
    name: kube-vip
    resources: {}
    securityContext:
      capabilities:
        add:
        - NET_ADMIN
        - NET_RAW
        - SYS_TIME
    volumeMounts:
    - mountPath: /etc/kube-vip/
      name: config
  hostNetwork: true
  volumes:
  - hostPath:
      path: /etc/kube-vip/
    name: config
status: {}
";
    assert_eq!(sample_manifest(&args), expected);
    let own = sample_manifest(&ManifestArgs { image: "baton:1", name: "baton", command: Some("/baton") });
    assert!(
        own.contains("    command:\n    - /baton\n    image: baton:1\n") && own.contains("        - IPC_LOCK\n"),
        "{own}"
    );
    assert!(own.contains("path: /var/lib/baton\n      type: DirectoryOrCreate\n"), "{own}");
}

/// The schema's node for a value at this point, followed by key, through lists and alternatives.
fn step<'s>(schema: &'s Json, key: &str) -> Option<&'s Json> {
    if let Some(found) = schema.get("properties").and_then(|p| p.get(key)) {
        return Some(found);
    }
    let below =
        schema.get("items").into_iter().chain(schema.get("anyOf").and_then(Json::as_array).into_iter().flatten());
    below.into_iter().find_map(|schema| step(schema, key))
}

#[test]
fn the_schema_knows_the_keys_of_accepted_files() {
    let schema = schema();
    let mut keys = 0;
    for (name, text) in files().iter().filter(|(_, text)| text.starts_with("#! accepted")) {
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.contains('{')) {
            let Some((key, _)) = line.trim_start_matches([' ', '-']).split_once(':') else { continue };
            let depth = line.len() - line.trim_start_matches([' ', '-']).len();
            let at_root = schema["properties"].get(key).is_some();
            let below = ["loadBalancers", "localPeer", "remotePeers", "vips"].iter().any(|top| {
                let top = &schema["properties"][*top];
                step(top, key).is_some() || step(top, "backends").is_some_and(|b| step(b, key).is_some())
            });
            assert!(if depth == 0 { at_root } else { below }, "{name}: {line}");
            keys += 1;
        }
    }
    assert!(keys > 50, "{keys}");
}

#[test]
fn the_schemas_defaults_are_the_readers() {
    const FILE: &str = "localPeer: {address: 192.0.2.1}\nremotePeers: [{address: 192.0.2.2}]\nvip: 192.0.2.75\n";
    let plain = accepted(FILE, &[]).settings;
    let mut seen = 0;
    for (key, schema) in schema()["properties"].as_object().unwrap() {
        let Some(default) = schema.get("default").filter(|_| !key.eq_ignore_ascii_case("remotePeers")) else {
            continue;
        };
        let said = accepted(&format!("{FILE}{key}: {}\n", default.to_string().trim_matches('"')), &[]).settings;
        assert_eq!(said, plain, "{key}");
        seen += 1;
    }
    assert!(seen >= 12, "{seen}");
    // A load balancer, its backend and its check: everything that has a default, written out.
    const BALANCER: &str =
        "singleNode: true\nvip: 192.0.2.75\nloadBalancers:\n- port: 80\n  backends:\n  - address: web\n    port: 80\n";
    let plain = accepted(BALANCER, &[]).settings;
    let schema = schema();
    let balancers = &schema["properties"]["loadBalancers"];
    let backends = step(balancers, "backends").unwrap();
    let check = step(backends, "check").unwrap();
    let inline = |schema: &Json| -> Vec<String> {
        let map = schema["anyOf"].as_array().map_or(schema, |all| &all[1]);
        let properties = map["properties"].as_object().unwrap();
        let with_default = properties.iter().filter(|(key, _)| key.chars().next().unwrap().is_lowercase());
        with_default
            .filter_map(|(key, p)| Some(format!("{key}: {}", p.get("default")?.to_string().replace('"', ""))))
            .collect()
    };
    let checks: Vec<String> =
        inline(check).into_iter().filter(|line| !line.starts_with("path") && !line.starts_with("expect")).collect();
    assert!(checks.len() >= 3, "{checks:?}");
    let backend = inline(&backends["items"]);
    assert_eq!(backend, ["backup: false", "weight: 1"]);
    let text = format!("{BALANCER}    {}\n    check: {{{}}}\n", backend.join("\n    "), checks.join(", "));
    assert_eq!(accepted(&text, &[]).settings, plain);
}

#[test]
fn the_schema_names_both_spellings_and_all_bounds() {
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let properties = schema["properties"].as_object().unwrap();
    for key in ["vip", "VIP", "localPeer", "LocalPeer", "gratuitousARP", "GratuitousARP", "lease", "renewal", "VIPCIDR"]
    {
        assert!(properties.contains_key(key), "{key}");
    }
    assert!(!properties.contains_key("Lease"));
    for (key, property) in properties {
        assert!(property["description"].as_str().is_some_and(|text| text.len() > 10), "{key}");
    }
    assert!(properties["lease"]["description"].as_str().unwrap().ends_with("Expected a duration from 50ms to 5s."));
    assert_eq!(step(&schema["properties"]["localPeer"], "ID").unwrap()["description"], "The same as id.");
    assert_eq!(properties["priority"]["maximum"], 65535);
    assert_eq!(properties["leaseDuration"]["deprecated"], true);
}

#[test]
fn the_reference_names_everything() {
    let text = reference();
    for key in
        schema()["properties"].as_object().unwrap().keys().filter(|key| key.chars().next().unwrap().is_lowercase())
    {
        assert!(text.contains(&format!("`{key}`")), "{key}");
    }
    for flag in FLAGS {
        assert!(text.contains(&format!("| `--{}` |", flag.name)), "{}", flag.name);
        assert!(flag.env.iter().all(|name| text.contains(&format!("`{name}`"))), "{:?}", flag.env);
    }
    for title in [
        "### `localPeer`",
        "### `remotePeers[]`",
        "### `vips[]`",
        "### `loadBalancers[]`",
        "### `loadBalancers[].backends[]`",
        "### `loadBalancers[].check`",
    ] {
        assert!(text.contains(&format!("\n{title}\n")), "{title}");
    }
}
