//! Which program's command line is meant: by the name of the link, or by a name or path as the first argument
//! (`docker run IMAGE /kube-vip …`).

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// A program whose command line can be meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Personality {
    /// Our own.
    Baton,
    /// kube-vip's.
    KubeVip,
    /// kube-vip-cloud-provider's.
    CloudProvider,
    /// keepalived's.
    Keepalived,
    /// haproxy's.
    Haproxy,
    /// One that this version does not take the place of.
    NotYet(&'static str),
}

/// Names of programs that this version does not take the place of.
const NOT_YET: [&str; 1] = ["kube-keepalived-vip"];

fn named(name: &OsStr) -> Option<Personality> {
    let base = Path::new(name).file_name()?.to_str()?;
    match base {
        "kube-vip" => Some(Personality::KubeVip),
        "kube-vip-cloud-provider" => Some(Personality::CloudProvider),
        "keepalived" => Some(Personality::Keepalived),
        "haproxy" => Some(Personality::Haproxy),
        _ => NOT_YET.iter().find(|n| **n == base).map(|n| Personality::NotYet(n)),
    }
}

/// Takes the personality off the arguments: what is left begins with the program's name.
#[must_use]
pub fn of(mut args: Vec<OsString>) -> (Personality, Vec<OsString>) {
    if let Some(p) = args.first().and_then(|a| named(a)) {
        return (p, args);
    }
    match args.get(1).and_then(|a| named(a)) {
        Some(p) => {
            args.remove(0);
            (p, args)
        }
        None => (Personality::Baton, args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_name_and_first_argument() {
        let check = |line: &str, expected: Personality, left: &str| {
            let args = line.split(' ').map(OsString::from).collect();
            let (p, rest) = of(args);
            assert_eq!((p, rest.join(OsStr::new(" "))), (expected, OsString::from(left)), "{line}");
        };
        check("baton start", Personality::Baton, "baton start");
        check("/usr/bin/kube-vip start", Personality::KubeVip, "/usr/bin/kube-vip start");
        check("/baton /kube-vip sample manifest", Personality::KubeVip, "/kube-vip sample manifest");
        check("baton kube-vip version", Personality::KubeVip, "kube-vip version");
        check("/kube-vip-cloud-provider --v=4", Personality::CloudProvider, "/kube-vip-cloud-provider --v=4");
        check("keepalived -n", Personality::Keepalived, "keepalived -n");
        check("baton keepalived -t", Personality::Keepalived, "keepalived -t");
        check("baton /usr/sbin/haproxy -f x", Personality::Haproxy, "/usr/sbin/haproxy -f x");
        check("kube-vip-2 start", Personality::Baton, "kube-vip-2 start");
    }
}
