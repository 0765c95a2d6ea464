//! A Go that builds the module in `go/`: one of this machine, or, where all are older than go.mod asks for (as Debian's is), the
//! release that it asks for, which any Go downloads as the module that it is and verifies like every other.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Where Go's own archive is unpacked, which is not in everybody's `PATH`.
const UNPACKED: &str = "/usr/local/go/bin";

/// The program that builds `module`.
pub(crate) fn program(module: &Path) -> io::Result<PathBuf> {
    let text = fs::read_to_string(module.join("go.mod"))?;
    let needed = text.lines().find_map(|line| line.strip_prefix("go "));
    let needed = needed.ok_or_else(|| io::Error::other("go.mod does not say which Go it needs"))?.trim();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([PathBuf::from(UNPACKED)]);
    let installed: Vec<PathBuf> = places.map(|place| place.join("go")).filter(|go| go.is_file()).collect();
    let is_new = |go: &&PathBuf| about(go, "GOVERSION").is_ok_and(|version| numbers(&version) >= numbers(needed));
    match (installed.iter().find(is_new), installed.first()) {
        (Some(go), _) => Ok(go.clone()),
        (None, Some(old)) => fetch(old, needed),
        (None, None) => {
            Err(io::Error::new(io::ErrorKind::NotFound, "there is no Go (Debian's package golang-go will do)"))
        }
    }
}

/// What Go says about itself, whatever module is around and without becoming another release.
fn about(go: &Path, name: &str) -> io::Result<String> {
    let output = Command::new(go).args(["env", name]).env("GOTOOLCHAIN", "local").current_dir("/").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// `go1.26.8` or `1.26.8`, to be compared.
fn numbers(version: &str) -> Vec<u32> {
    version.trim_start_matches("go").split('.').map_while(|part| part.parse().ok()).collect()
}

fn fetch(old: &Path, release: &str) -> io::Result<PathBuf> {
    let module = format!("golang.org/toolchain@v0.0.1-go{release}.{}-{}", about(old, "GOOS")?, about(old, "GOARCH")?);
    eprintln!("fetching Go {release}, because {} is older", old.display());
    let output = Command::new(old).args(["mod", "download", "-json", &module]).current_dir("/").output()?;
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let Some(directory) = said["Dir"].as_str().map(Path::new) else {
        let why = said["Error"].as_str().map_or_else(|| String::from_utf8_lossy(&output.stderr), Into::into);
        return Err(io::Error::other(format!("{module} cannot be downloaded: {}", why.trim())));
    };
    // A module's files are nothing that is run.
    let tools = fs::read_dir(directory.join("pkg/tool"))?.filter_map(|entry| Some(entry.ok()?.path()));
    for place in tools.chain([directory.join("bin")]) {
        for file in fs::read_dir(place)? {
            fs::set_permissions(file?.path(), Permissions::from_mode(0o755))?;
        }
    }
    Ok(directory.join("bin/go"))
}

#[cfg(test)]
mod tests {
    //! Releases are compared by number.

    use super::numbers;

    #[test]
    fn releases_are_compared_by_number() {
        assert!(numbers("go1.26.8") >= numbers("1.26.0"));
        assert!(numbers("go1.19.8") < numbers("1.26.0") && numbers("go1.9") < numbers("1.26.0"));
        assert!(numbers("") < numbers("1.26.0"), "what says nothing is no Go");
    }
}
