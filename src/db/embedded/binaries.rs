//! Finds `initdb` and `postgres` on the machine.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::EmbeddedError;

/// Oldest major version that is supported, here and for external servers.
pub(super) const MIN_MAJOR: u32 = 15;

/// One installation of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    pub dir: PathBuf,
    pub major: u32,
}

impl Binaries {
    pub fn postgres(&self) -> PathBuf {
        self.dir.join("postgres")
    }

    pub fn initdb(&self) -> PathBuf {
        self.dir.join("initdb")
    }
}

/// The installation to use: the one of `cluster_major` where a cluster exists already, else the newest.
/// `configured` (`database.embedded_bin_dir`) leaves no choice.
pub(super) fn find(
    configured: Option<&Path>,
    cluster_dir: &Path,
    cluster_major: Option<&str>,
) -> Result<Binaries, EmbeddedError> {
    let places = match configured {
        Some(dir) => vec![dir.to_path_buf()],
        None => usual_places(),
    };
    let found: Vec<Binaries> = places.iter().filter_map(|dir| inspect(dir)).collect();
    choose(found, cluster_dir, cluster_major).unwrap_or_else(|| {
        let searched = places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ");
        Err(EmbeddedError::BinariesNotFound { minimum: MIN_MAJOR, searched })
    })
}

/// `None` where nothing fits and there is no cluster that would ask for a particular version.
fn choose(
    mut found: Vec<Binaries>,
    cluster_dir: &Path,
    cluster_major: Option<&str>,
) -> Option<Result<Binaries, EmbeddedError>> {
    let Some(wanted) = cluster_major else {
        found.retain(|binaries| binaries.major >= MIN_MAJOR);
        // The first of equals wins, so an installation on PATH goes before one elsewhere.
        return found.into_iter().rev().max_by_key(|binaries| binaries.major).map(Ok);
    };
    if found.is_empty() {
        return None;
    }
    if let Some(binaries) = found.iter().find(|binaries| binaries.major.to_string() == wanted) {
        return Some(Ok(binaries.clone()));
    }
    let available =
        found.iter().map(|b| format!("PostgreSQL {} in {}", b.major, b.dir.display())).collect::<Vec<_>>().join(", ");
    Some(Err(EmbeddedError::VersionMismatch {
        data_dir: cluster_dir.to_path_buf(),
        found: wanted.to_owned(),
        available,
    }))
}

/// PATH, the folders of the distributions' packages, Homebrew, and what `pg_config` says.
fn usual_places() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> =
        env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    for (parent, prefix) in [
        ("/usr/lib/postgresql", ""),
        ("/usr", "pgsql-"),
        ("/opt/homebrew/opt", "postgresql"),
        ("/usr/local/opt", "postgresql"),
    ] {
        places.extend(version_dirs(Path::new(parent), prefix));
    }
    places.push(PathBuf::from("/usr/local/pgsql/bin"));
    if let Ok(output) = Command::new("pg_config").arg("--bindir").stdin(Stdio::null()).output() {
        places.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    let mut unique: Vec<PathBuf> = Vec::new();
    for place in places {
        if !place.as_os_str().is_empty() && !unique.contains(&place) {
            unique.push(place);
        }
    }
    unique
}

fn version_dirs(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut dirs: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path().join("bin"))
        .filter(|dir| dir.is_dir())
        .collect();
    dirs.sort();
    dirs
}

/// Both programs must be there: some packages ship clients alone.
fn inspect(dir: &Path) -> Option<Binaries> {
    let postgres = dir.join("postgres");
    if !postgres.is_file() || !dir.join("initdb").is_file() {
        return None;
    }
    let output = Command::new(&postgres).arg("--version").stdin(Stdio::null()).output().ok()?;
    let major = parse_major(&String::from_utf8_lossy(&output.stdout))?;
    Some(Binaries { dir: dir.to_path_buf(), major })
}

/// From `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` or `postgres (PostgreSQL) 19beta1`.
fn parse_major(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL)")?.1.trim_start();
    let digits = number.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binaries(major: u32) -> Binaries {
        Binaries { dir: PathBuf::from(format!("/pg/{major}/bin")), major }
    }

    fn chosen(found: &[u32], wanted: Option<&str>) -> Option<Result<u32, String>> {
        let found = found.iter().copied().map(binaries).collect();
        let choice = choose(found, Path::new("/data"), wanted)?;
        Some(choice.map(|binaries| binaries.major).map_err(|error| error.to_string()))
    }

    #[test]
    fn versions_of_releases_betas_and_packages_are_read() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(parse_major("postgres (EnterpriseDB) 15.1"), None);
        assert_eq!(parse_major(""), None);
    }

    #[test]
    fn a_new_cluster_takes_the_newest_supported_version() {
        assert_eq!(chosen(&[14, 17, 15], None), Some(Ok(17)));
        assert_eq!(chosen(&[14], None), None);
        assert_eq!(chosen(&[], None), None);
    }

    #[test]
    fn an_existing_cluster_takes_its_own_version_and_no_other() {
        assert_eq!(chosen(&[17, 15], Some("15")), Some(Ok(15)));
        let refusal = chosen(&[17, 16], Some("15")).unwrap().unwrap_err();
        assert!(refusal.contains("postgresql-15"), "{refusal}");
        assert!(refusal.contains("PostgreSQL 17 in /pg/17/bin"), "{refusal}");
        assert_eq!(chosen(&[], Some("15")), None);
    }
}
