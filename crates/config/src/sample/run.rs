//! What runs `baton run`: a static pod, a unit of systemd.

use super::{image, quoted};

/// What they need to know: which files of the host are run.
#[derive(Clone, Debug)]
pub struct RunArgs<'a> {
    /// The `keepalived.conf`.
    pub keepalived: &'a str,
    /// The `haproxy.cfg`.
    pub haproxy: &'a str,
}

impl RunArgs<'_> {
    /// The directories of the files, each once: what a file includes, and scripts, are usually beside it.
    fn directories(&self) -> Vec<&str> {
        let directory = |file| match str::rsplit_once(file, '/') {
            Some(("", _)) | None => "/",
            Some((directory, _)) => directory,
        };
        let mut all = vec![directory(self.keepalived), directory(self.haproxy)];
        all.dedup();
        all
    }
}

/// A static pod in the place of the two that keepalived and haproxy had.
#[must_use]
pub fn pod(args: &RunArgs<'_>, name: &str) -> String {
    let (mut inside, mut outside) = (String::new(), String::new());
    for (number, directory) in args.directories().into_iter().enumerate() {
        let path = quoted(directory);
        inside += &format!("    - mountPath: {path}\n      name: files{number}\n      readOnly: true\n");
        outside += &format!("  - hostPath:\n      path: {path}\n      type: Directory\n    name: files{number}\n");
    }
    format!(
        "\
apiVersion: v1
kind: Pod
metadata:
  name: baton-run
  namespace: kube-system
spec:
  containers:
  - args:
    - run
    - {keepalived}
    - {haproxy}
    image: {image}
    name: baton
    resources: {{}}
    securityContext:
      capabilities:
        add:
        - IPC_LOCK
        - NET_ADMIN
        - NET_RAW
        - SYS_NICE
    volumeMounts:
{inside}  hostNetwork: true
  priorityClassName: system-node-critical
  terminationGracePeriodSeconds: 30
  volumes:
{outside}",
        keepalived = quoted(args.keepalived),
        haproxy = quoted(args.haproxy),
        image = image(name),
    )
}

/// A unit in the place of `keepalived.service` and `haproxy.service`.
#[must_use]
pub fn unit(args: &RunArgs<'_>) -> String {
    // Scripts of the files run inside, as users that the files name: so much of the host is left to them.
    format!(
        "\
# /etc/systemd/system/baton-run.service
[Unit]
Description=Baton: keepalived.conf and haproxy.cfg in one process
Documentation=man:baton(1)
Wants=network-online.target
After=network-online.target
# The same files would be served twice.
Conflicts=keepalived.service haproxy.service
# A crash costs nothing while the gates are open: come back at once, for ever.
StartLimitIntervalSec=0

[Service]
ExecStart=/usr/local/bin/baton run {} {}
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=50ms
# Refused files do not get better by themselves.
RestartPreventExitStatus=2
TimeoutStopSec=40s
OOMScoreAdjust=-900

LimitNOFILE=1048576
LimitMEMLOCK=infinity
LimitRTPRIO=50

LockPersonality=yes
MemoryDenyWriteExecute=yes
ProtectClock=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectSystem=full
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_PACKET AF_UNIX

[Install]
WantedBy=multi-user.target
",
        word(args.keepalived),
        word(args.haproxy)
    )
}

/// A word of a command line of systemd's.
fn word(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    if escaped.contains(char::is_whitespace) || escaped.is_empty() { format!("\"{escaped}\"") } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_one_directory_are_one_volume() {
        let pod = pod(&RunArgs { keepalived: "/etc/ha/keepalived.conf", haproxy: "/etc/ha/haproxy.cfg" }, "baton:1");
        assert_eq!(pod.matches("path: /etc/ha\n").count(), 1, "{pod}");
        assert_eq!(pod.matches("mountPath: /etc/ha\n").count(), 1, "{pod}");
        assert!(pod.contains("    - run\n    - /etc/ha/keepalived.conf\n    - /etc/ha/haproxy.cfg\n"), "{pod}");
    }

    #[test]
    fn paths_are_one_word_of_the_command_line() {
        let unit = unit(&RunArgs { keepalived: "/etc/my files/k.conf", haproxy: "/etc/100%.cfg" });
        assert!(unit.contains("baton run \"/etc/my files/k.conf\" /etc/100%%.cfg\n"), "{unit}");
    }
}
