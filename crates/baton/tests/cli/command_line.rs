//! Arguments, output, exit codes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::{BATON, baton, run};

/// A link to the program under another name.
fn link(dir: &tempfile::TempDir, name: &str) -> PathBuf {
    let path = dir.path().join(name);
    symlink(BATON, &path).expect("a link");
    path
}

#[test]
fn help_and_version_are_answers_and_nonsense_is_refused() {
    let help = baton(&["--help"]);
    assert_eq!(help.code, 0, "{help:?}");
    for command in [
        "start",
        "manager",
        "manifest",
        "kubeadm",
        "check",
        "schema",
        "sample",
        "status",
        "cleanup",
        "demo",
        "version",
        "completion",
        "man",
    ] {
        assert!(help.out.contains(&format!("\n  {command} ")), "{command} is not in {}", help.out);
    }
    assert!(help.out.contains("2 refused"), "exit codes are documented: {}", help.out);
    let version = baton(&["version"]);
    assert_eq!((version.code, version.out.starts_with("baton 0.")), (0, true), "{version:?}");
    let nonsense: [&[&str]; 5] = [&[], &["nonsense"], &["start", "--nonsense"], &["check"], &["sample"]];
    for args in nonsense {
        let ran = baton(args);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}: {ran:?}");
        assert!(ran.err.contains("Usage:"), "{args:?}: {ran:?}");
    }
}

#[test]
fn generated_texts() {
    let completion = baton(&["completion", "bash"]);
    assert_eq!((completion.code, completion.out.contains("_baton()")), (0, true));
    let man = baton(&["man"]);
    assert_eq!(man.code, 0);
    assert!(man.out.contains(".TH baton 1") && man.out.contains(".TH baton-start 1"), "{}", man.out);
    let schema = baton(&["schema"]);
    assert_eq!(schema.code, 0);
    let value: serde_json::Value = serde_json::from_str(&schema.out).expect("JSON");
    assert!(value["properties"]["localPeer"].is_object(), "{value}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut child =
        Command::new(BATON).arg("schema").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    let full = Command::new(BATON).arg("schema").stdout(fs::File::create("/dev/full").expect("it is there")).output();
    assert_eq!(full.expect("it runs").status.code(), Some(1), "a full disk is a failure");
}

#[test]
fn kube_vip_by_link_and_by_first_argument() {
    let dir = tempfile::tempdir().expect("a directory");
    let kube_vip = link(&dir, "kube-vip");
    let version = run(&kube_vip, &["version"]);
    let lines: Vec<&str> = version.out.lines().collect();
    assert_eq!(lines.len(), 3, "{version:?}");
    assert_eq!(lines[0], "Kube-VIP Release Information");
    assert!(lines[1].starts_with("Version:  ") && lines[2].starts_with("Build:    "), "{version:?}");
    assert_eq!(baton(&["/kube-vip", "version"]).out, version.out);

    let sample = run(&kube_vip, &["sample", "manifest"]);
    assert_eq!(sample.code, 0, "{sample:?}");
    assert!(sample.out.contains("kind: Pod") && sample.out.contains("NET_RAW"), "{sample:?}");
    let help = run(&kube_vip, &["sample"]);
    assert_eq!((help.code, help.out.contains("manifest")), (0, true), "{help:?}");
    assert_eq!(run(&kube_vip, &[]).code, 0, "no command prints help");

    let flag = run(&kube_vip, &["start", "--nonsense=1"]);
    assert_eq!((flag.code, flag.err.contains("Error: unknown flag: --nonsense\n")), (1, true), "{flag:?}");
    let command = run(&kube_vip, &["nonsense"]);
    assert_eq!((command.code, command.err.contains("unknown command \"nonsense\"")), (1, true), "{command:?}");
    assert!(help.out.contains("config"), "{help:?}");
}

#[test]
fn manifests_of_kube_vip_and_of_ours() {
    let dir = tempfile::tempdir().expect("a directory");
    let kube_vip = link(&dir, "kube-vip");
    let flags = ["--interface=eth0", "--address", "192.0.2.10", "--controlplane", "--arp", "--leaderElection"];
    let with = |before: &[&'static str], after: &[&'static str]| [before, &flags[..], after].concat();
    let pod = run(&kube_vip, &with(&["manifest", "pod"], &[]));
    assert_eq!((pod.code, pod.err.as_str()), (0, ""), "{pod:?}");
    assert!(pod.out.contains("image: ghcr.io/baton-vip/baton:") && pod.out.ends_with("status: {}\n\n"), "{pod:?}");
    let elsewhere = run(&kube_vip, &with(&["--image=a/b:c", "--inCluster"], &["manifest", "pod"]));
    assert!(elsewhere.out.contains("image: a/b:c") && elsewhere.out.contains("serviceAccountName"), "{elsewhere:?}");
    let set = baton(&with(&["manifest", "daemonset", "--inCluster", "--taint"], &["--image", "x"]));
    assert!(set.out.contains("kind: DaemonSet") && set.out.contains("tolerations:"), "{set:?}");
    let role = baton(&["manifest", "rbac", "--role=true"]);
    assert_eq!((role.code, role.out.contains("kind: Role\n")), (0, true), "{role:?}");

    // What is wrong is logged with kube-vip's exit code, and refused with ours.
    for (args, code) in [(["manifest", "pod"], 0), (["kubeadm", "init"], 0)] {
        let ran = run(&kube_vip, &[args[0], args[1], "--controlplane", "--arp"]);
        assert_eq!((ran.code, ran.out.contains("--interface")), (code, true), "{ran:?}");
        assert!(ran.err.contains("Address: is missing"), "{ran:?}");
        let ours = baton(&[args[0], args[1], "--controlplane", "--arp"]);
        assert_eq!((ours.code, ours.out.as_str(), ours.err.contains("Address: is missing")), (2, "", true), "{ours:?}");
    }
    let join = with(&["kubeadm", "join", "--config=/nonexistent"], &[]);
    assert_eq!((run(&kube_vip, &join).code, baton(&join).code), (0, 2));
    for group in ["manifest", "kubeadm", "sample"] {
        let help = run(&kube_vip, &[group]);
        assert_eq!((help.code, help.out.contains("Commands:")), (0, true), "{help:?}");
    }
    assert_eq!(run(&kube_vip, &["manifest", "pod", "--nonsense"]).code, 1);
    let completion = run(&kube_vip, &["completion", "bash"]);
    assert_eq!((completion.code, completion.out.contains("--serviceInterface")), (0, true));
}

#[test]
fn a_manager_is_refused_with_every_reason() {
    let dir = tempfile::tempdir().expect("a directory");
    let kube_vip = link(&dir, "kube-vip");
    let file = dir.path().join("settings.yaml");
    fs::write(&file, "enableBGP: true\nport: 0\n").expect("a file");
    let named = format!("--config-file={}", file.to_str().expect("UTF-8"));
    for ran in [
        run(&kube_vip, &["--services", &named, "manager", "--leaseRetry", "x"]),
        baton(&["manager", "--services", &named, "--leaseRetry=x"]),
        baton(&["service", &named, "--leaseRetry=x"]),
    ] {
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{ran:?}");
        for part in [":1:12: EnableBGP: is not in this version", ":2:7: Port: is out of range", "flag --leaseRetry: "] {
            assert!(ran.err.contains(part), "{part} is not in {}", ran.err);
        }
    }
    // A mistake has the original's exit code under its name.
    for args in [&["manager", "--arp"][..], &["manager", "--arp", "--services", "--healthCheckPort", "80"]] {
        assert_eq!((run(&kube_vip, args).code, baton(args).code), (1, 2), "{args:?}");
    }
    assert_eq!(run(&kube_vip, &["--log", "4", "version", "--arp"]).code, 0, "flags are of every command");
    let missing = baton(&["manager", "--config-file=/nonexistent.yaml"]);
    assert_eq!((missing.code, missing.err.contains("/nonexistent.yaml")), (2, true), "{missing:?}");
    let kind = baton(&["manager", "--config-file=/etc/hostname"]);
    assert_eq!((kind.code, kind.err.contains(".yaml, .yml or .json")), (2, true), "{kind:?}");
    let text = baton(&["manager", "--arp", "false"]);
    assert_eq!(text.code, 2, "a boolean takes no value without =: {text:?}");
}

#[test]
fn the_cloud_provider() {
    let dir = tempfile::tempdir().expect("a directory");
    let original = link(&dir, "kube-vip-cloud-provider");
    let manifest = baton(&["cloud-provider", "manifest", "--image=a/b"]);
    assert_eq!((manifest.code, manifest.out.contains("image: a/b:")), (0, true), "{manifest:?}");
    let help = run(&original, &["--help"]);
    assert_eq!((help.code, help.out.contains("--leader-elect-resource-name")), (0, true), "{help:?}");
    assert_eq!(run(&original, &["--nonsense"]).code, 1);
    assert_eq!(baton(&["cloud-provider", "--nonsense"]).code, 2);
    for ran in [run(&original, &["--leader-elect=x"]), baton(&["cloud-provider", "--leader-elect=x"])] {
        assert_eq!((ran.code, ran.err.contains("leader-elect: is not a boolean (x)")), (2, true), "{ran:?}");
    }
}

/// What documents show of commands that only print: run by a shell, as a reader would.
#[test]
fn commands_in_documents_are_accepted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let pages = fs::read_dir(root.join("docs")).expect("documents").map(|entry| entry.expect("a document").path());
    let mut tried = 0;
    for page in pages.chain([root.join("README.md")]) {
        let text = fs::read_to_string(&page).expect("a document");
        for block in text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            let mut script = String::from("set -eu\n");
            for line in block.replace("\\\n", " ").lines() {
                let printing = ["baton manifest ", "baton kubeadm ", "baton cloud-provider manifest", "baton sample "];
                if let Some(at) = printing.iter().find_map(|command| line.find(command)) {
                    // Without what becomes of the text. `join` asks whether the node has joined.
                    let command = line[at..].split(['|', '>', '#']).next().unwrap_or_default();
                    let command = command.replacen("kubeadm join", "kubeadm join --config /dev/null", 1);
                    script += &format!("{command} > /dev/null\n").replacen("baton", BATON, 1);
                    tried += 1;
                } else if line.starts_with("export ") {
                    script += &format!("{line}\n");
                }
            }
            let ran = run("sh", &["-c", &script]);
            assert_eq!(ran.code, 0, "{}:\n{script}\n{}", page.display(), ran.err);
        }
    }
    assert!(tried >= 8, "{tried} commands: documents show more");
}

/// Files of keepalived and haproxy that documents show: they can be run, and nothing is to be said about them.
#[test]
fn files_in_documents_are_accepted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let dir = tempfile::tempdir().expect("a directory");
    let mut tried = 0;
    for entry in fs::read_dir(root.join("docs")).expect("documents") {
        let text = fs::read_to_string(entry.expect("a document").path()).expect("a document");
        for name in ["keepalived.conf", "haproxy.cfg"] {
            let fence = format!("```{}\n", name.split('.').next().unwrap_or_default());
            for block in text.split(&fence).skip(1).filter_map(|rest| rest.split("```").next()) {
                let file = dir.path().join(name);
                fs::write(&file, block).expect("a file");
                let ran = baton(&["check", "--elsewhere", file.to_str().expect("UTF-8")]);
                assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{block}");
                tried += 1;
            }
        }
    }
    assert!(tried >= 2, "{tried} files: documents show more");
}

#[test]
fn samples_of_the_pair_name_its_files() {
    let pod = baton(&["sample", "run-pod", "--haproxy", "/usr/local/etc/haproxy/haproxy.cfg", "--image", "i:1"]);
    assert_eq!(pod.code, 0, "{pod:?}");
    for part in ["kind: Pod", "image: i:1", "- /etc/keepalived/keepalived.conf\n", "path: /usr/local/etc/haproxy\n"] {
        assert!(pod.out.contains(part), "{part} is not in\n{}", pod.out);
    }
    let unit = baton(&["sample", "run-unit"]);
    let start = "ExecStart=/usr/local/bin/baton run /etc/keepalived/keepalived.conf /etc/haproxy/haproxy.cfg\n";
    assert!(unit.code == 0 && unit.out.contains(start), "{unit:?}");
    let relative = baton(&["sample", "run-unit", "--keepalived", "keepalived.conf"]);
    assert_eq!((relative.code, relative.err.contains("begins with /")), (2, true), "{relative:?}");
}

#[test]
fn programs_that_are_not_replaced_yet_are_named() {
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["kube-keepalived-vip"] {
        for ran in [run(link(&dir, name), &["-n"]), baton(&[name, "-n"])] {
            assert_eq!(ran.code, 2, "{ran:?}");
            assert!(ran.err.contains(&format!("does not take the place of {name}")), "{ran:?}");
        }
    }
}

#[test]
fn a_file_is_checked_where_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("config.yaml");
    let path = file.to_str().expect("UTF-8");
    fs::write(&file, "vip: 192.0.2.300\ninterface: lo\nsingleNode: yess\n").expect("a file");
    for args in [["check", path], ["start", &format!("--config={path}")]] {
        let ran = baton(&args);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{ran:?}");
        for at in [format!("{path}:1:6: vip: "), format!("{path}:3:13: singleNode: ")] {
            assert!(ran.err.contains(&at), "{at} is not in {}", ran.err);
        }
    }
    let missing = baton(&["check", "/nonexistent/config.yaml"]);
    assert_eq!((missing.code, missing.err.contains("/nonexistent/config.yaml")), (2, true), "{missing:?}");

    let sample =
        baton(&["sample", "config", "--interface", "lo", "--vip=192.0.2.100", "--localPeer", "a:127.0.0.1:10000"]);
    assert_eq!(sample.code, 0, "{sample:?}");
    fs::write(&file, &sample.out).expect("a file");
    let check = baton(&["check", path]);
    assert_eq!(check.code, 0, "our own sample passes: {check:?}\n{}", sample.out);
}

#[test]
fn haproxys_file_is_checked_and_put_right() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("haproxy.cfg");
    let path = file.to_str().expect("UTF-8");
    let text = "\
listen api
    bind 127.0.0.1:7443
    mode tcp
    timeout connect 5s
    timeout client 20s
    timeout server 20s
    balance roundrobin
    option httpchk GET /healthz
    option ssl-hello-chk
    server one 10.0.0.1:6443 check
";
    fs::write(&file, text).expect("a file");
    let check = baton(&["check", path]);
    assert_eq!(check.code, 0, "{check:?}");
    assert!(
        check.err.contains(&format!("{path}:8:5: warning: overridden-check: `option httpchk` never runs")),
        "{check:?}"
    );
    assert_eq!(fs::read_to_string(&file).expect("a file"), text, "nothing is written without --fix");
    let fixed = baton(&["check", "--fix", path]);
    assert!(fixed.code == 0 && fixed.out.contains("places put right"), "{fixed:?}");
    let now = fs::read_to_string(&file).expect("a file");
    assert!(!now.contains("ssl-hello-chk") && now.contains("check-ssl verify none"), "{now}");
    let again = baton(&["check", "--fix", path]);
    assert_eq!((again.code, again.err.as_str()), (0, ""), "{again:?}");
    fs::write(&file, format!("{text}    email-alert from a@b\n")).expect("a file");
    let refused = baton(&["check", path]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains(&format!("{path}:11:5: email-alert: is not served by Baton")), "{refused:?}");
}

#[test]
fn keepaliveds_file_is_checked_and_put_right() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("keepalived.conf");
    let path = file.to_str().expect("UTF-8");
    let text = "\
vrrp_script chk {
    script \"/usr/bin/test -e /\"
    interval 3
    weight -2
    fall 10
    rise 2
}
vrrp_instance VI_1 {
    state BACKUP
    interface eth0
    virtual_router_id 57
    priority 100
    authentication {
        auth_type PASS
        auth_pass 0123456789abcdef
    }
    virtual_ipaddress {
        192.0.2.100
    }
    track_script {
        chk
    }
}
global_defs {
    enable_script_security
    script_user root
}
";
    fs::write(&file, text).expect("a file");
    let check = baton(&["check", "--elsewhere", path]);
    assert_eq!(check.code, 0, "{check:?}");
    for line in [4, 5, 15] {
        let warnings = check.err.matches(&format!("{path}:{line}:")).count();
        assert_eq!(warnings, 1, "one fault, one warning, line {line}: {check:?}");
    }
    assert_eq!(fs::read_to_string(&file).expect("a file"), text, "nothing is written without --fix");
    let fixed = baton(&["check", "--elsewhere", "--fix", path]);
    assert_eq!((fixed.code, fixed.err.as_str()), (0, ""), "{fixed:?}");
    let now = fs::read_to_string(&file).expect("a file");
    assert!(!now.contains("weight") && now.contains("auth_pass 01234567\n"), "{now}");
    assert!(now.contains("interval 1\n") && now.contains("fall 2\n"), "{now}");
    let again = baton(&["check", "--elsewhere", path]);
    assert_eq!((again.code, again.err.as_str()), (0, ""), "{again:?}");
}

#[test]
fn files_of_several_nodes_are_held_against_each_other() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, last: u8, other: u8| {
        let text = format!(
            "localPeer: {{address: 192.0.2.{last}}}\nremotePeers: [{{address: 192.0.2.{other}}}, {{address: 192.0.2.7}}]\n\
             vip: 192.0.2.9\ninterface: none0\npeerKey: 0123456789abcdef\n"
        );
        let path = dir.path().join(name);
        fs::write(&path, text).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    };
    let (a, b, c) = (write("a.yaml", 5, 6), write("b.yaml", 6, 5), write("c.yaml", 6, 4));
    let same = baton(&["check", &a, &b]);
    assert_eq!((same.code, same.err.as_str(), same.out.lines().count()), (0, "", 2), "{same:?}");
    let differ = baton(&["check", &a, &c]);
    assert_eq!(differ.code, 2, "{differ:?}");
    assert!(differ.err.starts_with(&format!("{c}:2:14: remotePeers: makes other voters than {a}, ")), "{differ:?}");
}

#[test]
fn status_says_where_it_looked() {
    let dir = tempfile::tempdir().expect("a directory");
    let run_dir = dir.path().to_str().expect("UTF-8");
    let ran = baton(&["status", "--run-dir", run_dir]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("neither `baton start` nor `baton manager` runs in this network namespace")
            && ran.err.contains(run_dir),
        "{ran:?}"
    );
}
