//! The configuration reference as Markdown, from the same tables that the reader uses.

use crate::keys::{Key, ROOT, Shape, Standing};
use crate::outside::{FLAGS, How};
use crate::scalar::{self, Style};

const HEAD: &str = "\
# Configuration

`baton start -c FILE` reads the YAML file of kube-vip 0.1, with Baton's own keys beside the old ones; flags and
environment variables of kube-vip 0.1 work too. `baton check FILE…` says what is wrong in one file or between the files of
several nodes, `baton schema` prints a JSON Schema, `baton sample config` a file to begin with.

*This page is generated from the tables that the reader itself uses.*

- **Precedence**: environment over flags over file. An empty variable is not set. Flags and variables of load
  balancers apply to the first one.
- **Spelling**: keys are read in any case: `localPeer` as up to kube-vip 0.1.4, `LocalPeer` as since 0.1.5. A key twice
  is an error, whatever its spelling.
- **Durations** have a unit: `500ms`, `1.5s`, `1m30s`.
- **Booleans** are `true` or `false` (`yes`, `no`, `on`, `off` too). In flags and variables Go's words count: `1`, `t`,
  `T`, `true`, `True`, `TRUE` and their opposites.
- **Messages**: all problems are reported at once, one line each: `FILE:LINE:COLUMN: KEY: what is wrong (VALUE), what is
  expected`. With an error nothing is started, and the exit code is 2.
";

const NOTES: &str = "\
## Notes

**Voters.** `localPeer` and `remotePeers` together are the voters; an entry of the list with localPeer's address and port is
skipped, so one list serves all nodes. Every node must have the same set: votes count only between equal lists. Two voters
cannot fail over; a third that only votes (`witness: true`) is enough.

**Manifests of `kube-vip kubeadm init` and `join`** (environment only) start as they are. `vip_startleader` without peers
makes a group of one until it hears a node whose list contains it. Those manifests name a load balancer but not the port
where it listens (`lb_port`), and their `lb_backendport` holds the API server's own port: kube-vip then listened on a random
port. Baton starts no listener and says so; the virtual IP leads to the API server on the holder, as it did in effect before.
To balance, set `lb_port` to a port that no API server uses; with `vip_addpeerstolb` the backends are then all peers on
`lb_backendport`.

**Numbers from the environment** are decimal. (kube-vip 0.1 read them in base eight.)

**Unknown keys** are errors; started under the name `kube-vip`, warnings. Unknown environment variables are never looked at.
";

/// The reference.
#[must_use]
pub fn reference() -> String {
    let mut out = HEAD.to_owned();
    out.push_str("\n## Keys\n");
    level("The file", "", ROOT, &mut out);
    idle(&mut out);
    flags(&mut out);
    out.push('\n');
    out.push_str(NOTES);
    out
}

fn level(title: &str, path: &str, keys: &'static [Key], out: &mut String) {
    out.push_str(&format!("\n### {title}\n\n| key | value | default | meaning |\n| --- | --- | --- | --- |\n"));
    for key in keys.iter().filter(|key| !matches!(key.standing, Standing::Idle(_))) {
        let mut name = format!("`{}`", key.name);
        for also in key.also {
            name.push_str(&format!(", `{also}`"));
        }
        let default = cell(key.default);
        out.push_str(&format!("| {name} | {} | {default} | {} |\n", cell(&value(&key.shape)), cell(key.about)));
    }
    for key in keys {
        if let Some((below, list)) = below(&key.shape) {
            let path = crate::tree::join(path, key.name) + if list { "[]" } else { "" };
            if path.ends_with("backends[].check") {
                continue;
            }
            level(&format!("`{path}`"), &path, below, out);
        }
    }
}

/// The mapping that a key leads to, and whether it is one of a list.
fn below(shape: &Shape) -> Option<(&'static [Key], bool)> {
    match shape {
        Shape::Map(keys) => Some((keys, false)),
        Shape::List(of, _) => below(of).map(|(keys, _)| (keys, true)),
        Shape::Either(shapes) => shapes.iter().find_map(below),
        _ => None,
    }
}

fn value(shape: &Shape) -> String {
    match shape {
        Shape::Map(_) => "mapping".to_owned(),
        Shape::List(of, most) => format!("list of {}, at most {most}", value(of)),
        Shape::Either(shapes) => shapes.iter().map(value).collect::<Vec<_>>().join(", or "),
        Shape::Ip => "address".to_owned(),
        shape => scalar::expects(shape, Style::Plain),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn idle(out: &mut String) {
    out.push_str("\n### Keys of kube-vip 0.1 without effect\n\nThey are warned of when they ask for something.\n\n| key | why |\n| --- | --- |\n");
    let backends = ROOT.iter().filter_map(|key| below(&key.shape)).flat_map(|(keys, _)| keys);
    let deepest = backends.filter_map(|key| below(&key.shape)).flat_map(|(keys, _)| keys);
    for key in ROOT.iter().chain(deepest) {
        if let Standing::Idle(why) = key.standing {
            out.push_str(&format!("| `{}` | {} |\n", key.name, cell(why)));
        }
    }
}

fn flags(out: &mut String) {
    out.push_str("\n## Flags and environment\n\n| flag | variable | key | meaning |\n| --- | --- | --- | --- |\n");
    for flag in FLAGS {
        let env: Vec<String> = flag.env.iter().map(|name| format!("`{name}`")).collect();
        let (key, about) = match flag.how {
            How::Idle(why) => (String::new(), format!("{}: {why}", flag.about)),
            How::Switch => (String::new(), flag.about.to_owned()),
            _ => (format!("`{}`", flag.path), flag.about.to_owned()),
        };
        out.push_str(&format!("| `--{}` | {} | {key} | {} |\n", flag.name, env.join(", "), cell(&about)));
    }
}
