//! The programs of Kubernetes that a cluster needs: those of the machine, or built from source into a cache.
//!
//! The Go module in `go/` pins their versions. A build takes some minutes, once for each state of that module.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::FlockOperation;

use crate::go;

/// What a cluster runs, and where a Go module has it.
const PACKAGES: [(&str, &str); 5] = [
    ("etcd", "go.etcd.io/etcd/server/v3"),
    ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    ("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
];

/// client-go's elector as a program, the tests' own.
const ELECTOR: &str = "elector";

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    kubernetes: PathBuf,
    elector: PathBuf,
}

impl Programs {
    /// The program `name` of Kubernetes (or etcd).
    #[must_use]
    pub fn get(&self, name: &str) -> PathBuf {
        self.kubernetes.join(name)
    }

    /// The program that is nothing but client-go's elector.
    #[must_use]
    pub fn elector(&self) -> &Path {
        &self.elector
    }

    /// The programs, if they are there: of the directory that `KUBEBUILDER_ASSETS` names, or a directory of `PATH` that has them
    /// all, or the cache. What is missing, as words, otherwise.
    pub fn find() -> Result<Programs, String> {
        let cache = cache().map_err(|error| format!("there is no place for a cache: {error}"))?;
        let elector = cache.join(ELECTOR);
        let kubernetes = installed().unwrap_or(cache);
        let names = PACKAGES.iter().map(|(name, _)| kubernetes.join(name)).chain([elector.clone()]);
        match names.into_iter().find(|program| !program.is_file()) {
            None => Ok(Programs { kubernetes, elector }),
            Some(missing) => {
                Err(format!("{} is not built; `cargo xtask test` builds it (needs Go)", missing.display()))
            }
        }
    }

    /// Builds what is not there. Says what it does, for it takes minutes.
    pub fn build() -> io::Result<Programs> {
        let cache = cache()?;
        fs::create_dir_all(&cache)?;
        let lock = fs::File::create(cache.join("lock"))?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
        if installed().is_none() {
            for (name, package) in PACKAGES {
                build(&cache, name, package)?;
            }
        }
        build(&cache, ELECTOR, "./elector")?;
        Programs::find().map_err(io::Error::other)
    }
}

/// A directory of this machine that has all of Kubernetes' programs.
fn installed() -> Option<PathBuf> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let complete = |place: &PathBuf| PACKAGES.iter().all(|(name, _)| place.join(name).is_file());
    assets.into_iter().chain(std::env::split_paths(&path)).find(complete)
}

/// The Go module.
fn module() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("go")
}

/// Where built programs are kept: a directory for each state of the module, outside of the repository.
fn cache() -> io::Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let base = base.or_else(home).ok_or_else(|| io::Error::other("neither XDG_CACHE_HOME nor HOME is set"))?;
    let mut key = 0xcbf2_9ce4_8422_2325_u64;
    for file in ["go.mod", "go.sum", "elector/main.go"] {
        // FNV-1a: the same everywhere and always, unlike the standard library's.
        key = fs::read(module().join(file))?
            .iter()
            .fold(key, |key, byte| (key ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    }
    Ok(base.join("baton").join(format!("kubernetes-{key:016x}")))
}

/// The release that go.mod asks for.
fn release() -> io::Result<String> {
    let text = fs::read_to_string(module().join("go.mod"))?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"));
    let version = line.and_then(|rest| rest.split_whitespace().next());
    version.map(ToOwned::to_owned).ok_or_else(|| io::Error::other("go.mod does not name a release of Kubernetes"))
}

fn build(cache: &Path, name: &str, package: &str) -> io::Result<()> {
    let program = cache.join(name);
    if program.is_file() {
        return Ok(());
    }
    let release = release()?;
    let mut numbers = release.split('.');
    let (major, minor) = (numbers.next().unwrap_or("1"), numbers.next().unwrap_or("0"));
    // Without its release a server calls itself v0.0.0, and clients complain.
    let version = "k8s.io/component-base/version";
    let flags =
        format!("-s -w -X {version}.gitVersion=v{release} -X {version}.gitMajor={major} -X {version}.gitMinor={minor}");
    eprintln!("building {name} from {package} into {}: some minutes, once", cache.display());
    let unfinished = cache.join(format!("{name}.unfinished"));
    let mut go = Command::new("nice");
    go.args(["-n", "15"]).arg(go::program(&module())?);
    go.args(["build", "-trimpath", "-buildvcs=false", "-p", "2", "-ldflags"]).arg(flags);
    go.arg("-o").arg(&unfinished).arg(package).current_dir(module()).env("GOTOOLCHAIN", "local");
    // A Go knows where it is.
    go.env_remove("GOROOT");
    let status = go.status().map_err(|error| io::Error::new(error.kind(), format!("starting Go: {error}")))?;
    if !status.success() {
        return Err(io::Error::other(format!("building {package} failed: {status}")));
    }
    fs::rename(unfinished, program)
}
