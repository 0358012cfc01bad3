//! Protects root in another user's directory. What that user put there (a link, a pipe) must not make root write
//! to, or read from, any other place. So a command that root runs takes on the owner's ids before it accesses a
//! state directory; it can then do there what the owner can, and nothing else.

use rustix::process::{Gid, Uid, getegid, geteuid, getgroups};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// This thread acts as the owner of a directory while the value lives.
#[derive(Debug)]
pub struct AsOwner {
    before: Option<(Uid, Gid, Vec<Gid>)>,
}

impl AsOwner {
    /// Takes on the ids of the user who can change the contents of this directory, unless only root can. Does
    /// nothing in a process that does not run as root. Threads started meanwhile keep the ids.
    pub fn of(dir: &Path) -> io::Result<Self> {
        if !geteuid().is_root() {
            return Ok(Self { before: None });
        }
        let Some((uid, gid)) = owner(dir)? else { return Ok(Self { before: None }) };
        let before = (geteuid(), getegid(), getgroups()?);
        // The user comes last: without root's id the others could not be changed.
        set_thread_groups(&[gid])?;
        let guard = Self { before: Some(before) };
        set_thread_res_gid(None, gid, None)?;
        set_thread_res_uid(None, uid, None)?;
        Ok(guard)
    }

    /// Takes on the ids of a user, whose main group is the first. A process of another user than root is not changed.
    pub fn user(uid: u32, groups: &[u32]) -> io::Result<Self> {
        let Some(gid) = groups.first().filter(|_| geteuid().is_root()) else { return Ok(Self { before: None }) };
        let before = (geteuid(), getegid(), getgroups()?);
        let groups: Vec<Gid> = groups.iter().map(|group| Gid::from_raw(*group)).collect();
        set_thread_groups(&groups)?;
        let guard = Self { before: Some(before) };
        set_thread_res_gid(None, Gid::from_raw(*gid), None)?;
        set_thread_res_uid(None, Uid::from_raw(uid), None)?;
        Ok(guard)
    }

    /// Makes the change permanent for this thread and those it starts.
    pub fn keep(mut self) {
        self.before = None;
    }
}

impl Drop for AsOwner {
    fn drop(&mut self) {
        let Some((uid, gid, groups)) = self.before.take() else { return };
        // The user comes first, because only root can change the others. If this fails, the thread keeps fewer
        // rights.
        let back = set_thread_res_uid(None, uid, None)
            .and_then(|()| set_thread_res_gid(None, gid, None))
            .and_then(|()| set_thread_groups(&groups));
        if let Err(error) = back {
            log::error!("event=ids_not_restored error={:?}", error.to_string());
        }
    }
}

/// The user, other than root, who owns the directory; or, if it belongs to root, the owner of a parent directory
/// who could replace it.
fn owner(dir: &Path) -> io::Result<Option<(Uid, Gid)>> {
    let absolute = std::path::absolute(dir)?;
    let there = absolute.ancestors().find(|part| part.symlink_metadata().is_ok()).unwrap_or(Path::new("/"));
    let real = fs::canonicalize(there).unwrap_or_else(|_| there.to_owned());
    let paths = [real, there.to_owned()];
    let parts = paths.iter().flat_map(|path| path.ancestors().map(PathBuf::from).collect::<Vec<_>>());
    for part in parts {
        let Ok(meta) = fs::symlink_metadata(&part) else { continue };
        if meta.uid() != 0 {
            return Ok(Some((Uid::from_raw(meta.uid()), Gid::from_raw(meta.gid()))));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{chown, symlink};

    #[test]
    fn root_acts_as_the_owner_and_is_root_again() {
        if !geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let state = dir.path().join("state");
        fs::create_dir(&state).expect("a directory");
        assert!(owner(&state).expect("a look").is_none(), "root's own");
        chown(&state, Some(65_534), Some(65_534)).expect("it is given away");
        let link = dir.path().join("link");
        symlink(&state, &link).expect("a link");
        for path in [&state, &link, &state.join("not-there-yet")] {
            let guard = AsOwner::of(path).expect("the ids");
            assert_eq!((geteuid().as_raw(), getegid().as_raw()), (65_534, 65_534), "{}", path.display());
            fs::write(state.join("file"), "").expect("the owner may write there");
            assert_eq!(fs::metadata(state.join("file")).expect("it").uid(), 65_534);
            fs::remove_file(state.join("file")).expect("it goes");
            assert!(fs::write(dir.path().join("file"), "").is_err(), "and nowhere else");
            drop(guard);
            assert!(geteuid().is_root());
        }
    }
}
