//! The user PostgreSQL runs as: the server's own, or an ordinary one where the server runs as root.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{Gid, Uid, User, getegid, geteuid};

use super::error::EmbeddedError;

/// Who runs PostgreSQL and owns its directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub name: String,
    uid: Uid,
    gid: Gid,
    /// The server is root and has to step down for PostgreSQL.
    step_down: bool,
}

impl Account {
    /// The process's own user, or `embedded_user` for root, made with `useradd` where it is missing.
    pub fn resolve(embedded_user: &str) -> Result<Self, EmbeddedError> {
        let uid = geteuid();
        if !uid.is_root() {
            let name = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
            return Ok(Self { name, uid, gid: getegid(), step_down: false });
        }
        let user = match lookup(embedded_user)? {
            Some(user) => user,
            None => create(embedded_user)?,
        };
        if user.uid.is_root() {
            return Err(EmbeddedError::UserIsRoot { user: embedded_user.to_owned() });
        }
        Ok(Self { name: user.name, uid: user.uid, gid: user.gid, step_down: true })
    }

    /// Mode of a directory that the server fills and PostgreSQL only passes through.
    fn passage_mode(&self) -> u32 {
        if self.step_down { 0o711 } else { 0o700 }
    }

    /// Makes (or puts right) a directory that belongs to the server; PostgreSQL may pass through it but not write, so
    /// that it cannot plant links for root to follow.
    pub fn make_passage(&self, dir: &Path) -> Result<(), EmbeddedError> {
        match DirBuilder::new().mode(self.passage_mode()).create(dir) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(EmbeddedError::io("create", dir)(error))
            }
            _ => fs::set_permissions(dir, Permissions::from_mode(self.passage_mode()))
                .map_err(EmbeddedError::io("set the mode of", dir)),
        }
    }

    /// Makes a directory that belongs to PostgreSQL's user alone (0700), or checks that an existing one does.
    pub fn make_private(&self, dir: &Path) -> Result<(), EmbeddedError> {
        match DirBuilder::new().mode(0o700).create(dir) {
            Ok(()) if self.step_down => chown(dir, Some(self.uid.as_raw()), Some(self.gid.as_raw()))
                .map_err(EmbeddedError::io("change the owner of", dir)),
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => self.check_private(dir),
            Err(error) => Err(EmbeddedError::io("create", dir)(error)),
        }
    }

    /// Refuses links, other people's directories and open modes: in a shared place such as `/tmp` anybody may have
    /// put something under the name first.
    fn check_private(&self, dir: &Path) -> Result<(), EmbeddedError> {
        let metadata = fs::symlink_metadata(dir).map_err(EmbeddedError::io("read", dir))?;
        let detail = if !metadata.is_dir() {
            "it is no directory".to_owned()
        } else if metadata.uid() != self.uid.as_raw() {
            format!("its owner is user number {}", metadata.uid())
        } else if metadata.mode() & 0o077 != 0 {
            format!("its mode is {:o}", metadata.mode() & 0o777)
        } else {
            return Ok(());
        };
        Err(EmbeddedError::NotPrivate { dir: dir.to_path_buf(), user: self.name.clone(), detail })
    }

    /// Whether PostgreSQL's user can reach `dir`; names the uppermost closed directory if not. It is tried rather than
    /// computed from modes, so access lists and mounts count as well.
    pub fn check_reachable(&self, dir: &Path) -> Result<(), EmbeddedError> {
        if !self.step_down || self.can_enter(dir)? {
            return Ok(());
        }
        let mut ancestors: Vec<&Path> = dir.ancestors().collect();
        ancestors.reverse();
        for ancestor in ancestors {
            if !self.can_enter(ancestor)? {
                return Err(EmbeddedError::NotTraversable { dir: ancestor.to_path_buf(), user: self.name.clone() });
            }
        }
        Ok(())
    }

    fn can_enter(&self, dir: &Path) -> Result<bool, EmbeddedError> {
        let mut shell = self.command(Path::new("/bin/sh"));
        shell.args(["-c", "cd -- \"$0\""]).arg(dir).stdout(Stdio::null()).stderr(Stdio::null());
        let status = shell.status().map_err(EmbeddedError::io("run", "/bin/sh"))?;
        Ok(status.success())
    }

    /// A command that runs as this user, with an environment of its own, in a process group of its own: Ctrl-C at the
    /// terminal reaches the server alone, which then stops PostgreSQL in order.
    pub fn command(&self, program: &Path) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C").env("PATH", "/usr/local/bin:/usr/bin:/bin");
        if let Some(path) = std::env::var_os("LD_LIBRARY_PATH") {
            command.env("LD_LIBRARY_PATH", path);
        }
        command.current_dir("/").stdin(Stdio::null()).process_group(0);
        if self.step_down {
            // Setting the user as root also drops root's supplementary groups.
            command.gid(self.gid.as_raw()).uid(self.uid.as_raw());
        }
        command
    }
}

fn lookup(name: &str) -> Result<Option<User>, EmbeddedError> {
    User::from_name(name)
        .map_err(|errno| EmbeddedError::NoUser { user: name.to_owned(), detail: errno.desc().to_owned() })
}

fn create(name: &str) -> Result<User, EmbeddedError> {
    let refused = |detail: String| EmbeddedError::NoUser { user: name.to_owned(), detail };
    let output = Command::new("useradd")
        .args(["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"])
        .args(["--shell", "/usr/sbin/nologin", "--", name])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| refused(format!("useradd: {error}")))?;
    if !output.status.success() {
        return Err(refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    tracing::info!(user = name, "made a system user for the embedded PostgreSQL");
    lookup(name)?.ok_or_else(|| refused("useradd made it, but it cannot be found".to_owned()))
}

/// Removes a directory tree if it is there.
pub(super) fn remove_tree(dir: &Path) -> Result<(), EmbeddedError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(EmbeddedError::io("remove", PathBuf::from(dir))(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account { name: "me".to_owned(), uid: geteuid(), gid: getegid(), step_down: false }
    }

    #[test]
    fn an_open_directory_or_a_link_is_not_taken_for_a_private_one() {
        let dir = tempfile::tempdir().unwrap();
        let private = dir.path().join("private");
        account().make_private(&private).unwrap();
        account().make_private(&private).unwrap();
        fs::set_permissions(&private, Permissions::from_mode(0o750)).unwrap();
        assert!(account().make_private(&private).unwrap_err().to_string().contains("its mode is 750"));

        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        assert!(account().make_private(&link).unwrap_err().to_string().contains("it is no directory"));
    }

    #[test]
    fn another_users_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let private = dir.path().join("private");
        account().make_private(&private).unwrap();
        let stranger = Account { uid: Uid::from_raw(geteuid().as_raw() + 1), ..account() };
        assert!(stranger.make_private(&private).unwrap_err().to_string().contains("its owner is user number"));
    }
}
