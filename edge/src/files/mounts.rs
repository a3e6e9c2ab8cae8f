//! File systems in memory below pods' directories.

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use edged::ports::FileError;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::failed;

/// Mounts a file system in memory at `path` unless one is there.
pub(super) fn ensure_tmpfs(path: &Path, size_max: Option<u64>) -> Result<(), FileError> {
    if mounted(path)?.iter().any(|point| point == path) {
        return Ok(());
    }
    let options = size_max.map(|size| format!("size={size}"));
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), path, Some("tmpfs"), flags, options.as_deref())
        .map_err(|errno| failed("mount memory at", path, &errno.into()))
}

/// Mounts a file system in memory where that is allowed: secrets do not belong on a disk. Where it
/// is not, as without root, the directory itself serves.
pub(super) fn prefer_tmpfs(path: &Path) {
    if let Err(error) = ensure_tmpfs(path, None) {
        tracing::debug!(%error, "secrets are kept on disk");
    }
}

/// Unmounts everything at and below `directory`, the innermost first.
///
/// # Errors
///
/// When something stays mounted.
pub fn unmount_below(directory: &Path) -> Result<(), FileError> {
    let mut points = mounted(directory)?;
    points.sort();
    for point in points.iter().rev() {
        umount2(point, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)
            .map_err(|errno| failed("unmount", point, &errno.into()))?;
    }
    match mounted(directory)?.first() {
        None => Ok(()),
        Some(point) => Err(FileError::Invalid(format!("{} is still mounted", point.display()))),
    }
}

/// Lists the mount points at and below `directory`.
fn mounted(directory: &Path) -> Result<Vec<PathBuf>, FileError> {
    let table = Path::new("/proc/self/mountinfo");
    let text = fs::read_to_string(table).map_err(|error| failed("read", table, &error))?;
    let real = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    let points = text.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
    Ok(points
        .filter(|point| point.starts_with(&real))
        .map(|point| point.strip_prefix(&real).map_or_else(|_| point.clone(), |rest| join(directory, rest)))
        .collect())
}

fn join(directory: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { directory.to_owned() } else { directory.join(rest) }
}

/// The kernel writes blanks and backslashes in names as `\` and three octal digits.
fn unescape(field: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|digits| first == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        match octal {
            Some(digits) => {
                let value =
                    digits.iter().fold(0_u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0'));
                bytes.push(value);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_escapes_are_undone() {
        for (field, path) in [("/a", "/a"), ("/a\\040b", "/a b"), ("/a\\134", "/a\\"), ("/a\\9", "/a\\9")] {
            assert_eq!(unescape(field), Path::new(path));
        }
    }
}
