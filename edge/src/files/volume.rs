//! Volumes whose content comes from the API. All files change at one moment:
//!
//! ```text
//! VOLUME/key        -> ..data/key
//! VOLUME/..data     -> ..v7
//! VOLUME/..v7/key   the content
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};

use edged::ports::{FileError, VolumeFile, VolumeOwner};

use super::{failed, make_dir, set_mode};

const CURRENT: &str = "..data";
const NEXT: &str = "..data_tmp";
const VERSION: &str = "..v";

/// Tells whether a volume was written.
pub(super) fn is_written(volume: &Path) -> bool {
    volume.join(CURRENT).exists()
}

/// Gives a directory the mode and, if asked for, the group.
pub(super) fn own_dir(path: &Path, mode: u32, owner: VolumeOwner) -> Result<(), FileError> {
    match group(owner)? {
        Some(group) => {
            chown(path, None, Some(group)).map_err(|error| failed("set the group of", path, &error))?;
            set_mode(path, mode | 0o2070)
        }
        None => set_mode(path, mode),
    }
}

/// Makes the volume hold exactly `files`.
pub(super) fn write(volume: &Path, files: &[VolumeFile], owner: VolumeOwner) -> Result<(), FileError> {
    for file in files {
        check_path(&file.path)?;
    }
    let current = fs::read_link(volume.join(CURRENT)).ok();
    if let Some(current) = &current
        && holds(&volume.join(current), files, owner)?
    {
        return link_names(volume, files);
    }
    let fresh = next_version(volume)?;
    let directory = volume.join(&fresh);
    remove_tree(&directory)?;
    make_dir(&directory, 0o755)?;
    own_dir(&directory, 0o755, owner)?;
    for file in files {
        write_file(&directory, file, owner)?;
    }
    let next = volume.join(NEXT);
    remove_tree(&next)?;
    symlink(&fresh, &next).map_err(|error| failed("make", &next, &error))?;
    fs::rename(&next, volume.join(CURRENT)).map_err(|error| failed("rename", &next, &error))?;
    link_names(volume, files)?;
    for old in versions(volume)?.into_iter().filter(|name| *name != fresh) {
        remove_tree(&volume.join(old))?;
    }
    Ok(())
}

fn write_file(directory: &Path, file: &VolumeFile, owner: VolumeOwner) -> Result<(), FileError> {
    let path = directory.join(&file.path);
    if let Some(parent) = path.parent().filter(|parent| *parent != directory) {
        make_dir(parent, 0o755)?;
        own_dir(parent, 0o755, owner)?;
    }
    fs::write(&path, &file.content).map_err(|error| failed("write", &path, &error))?;
    if let Some(group) = group(owner)? {
        chown(&path, None, Some(group)).map_err(|error| failed("set the group of", &path, &error))?;
    }
    set_mode(&path, mode(file, owner))
}

/// What the owner may do, the group of the pod may do too, except to execute.
fn mode(file: &VolumeFile, owner: VolumeOwner) -> u32 {
    let mode = file.mode & 0o777;
    if owner.group.is_some() { mode | ((mode & 0o600) >> 3) } else { mode }
}

fn group(owner: VolumeOwner) -> Result<Option<u32>, FileError> {
    let Some(group) = owner.group else { return Ok(None) };
    let group = u32::try_from(group);
    group.map(Some).map_err(|_| FileError::Invalid("fsGroup is no group's number".to_owned()))
}

/// Tells whether a version holds these files and no others, with these modes.
fn holds(version: &Path, files: &[VolumeFile], owner: VolumeOwner) -> Result<bool, FileError> {
    let mut present = BTreeSet::new();
    list_files(version, version, &mut present)?;
    let wanted: BTreeSet<PathBuf> = files.iter().map(|file| PathBuf::from(&file.path)).collect();
    if present != wanted {
        return Ok(false);
    }
    Ok(files.iter().all(|file| {
        let path = version.join(&file.path);
        let same_mode =
            path.metadata().is_ok_and(|found| found.permissions().mode() & 0o777 == mode(file, owner));
        same_mode && fs::read(&path).is_ok_and(|content| content == file.content)
    }))
}

fn list_files(root: &Path, directory: &Path, found: &mut BTreeSet<PathBuf>) -> Result<(), FileError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("list", directory, &error)),
    };
    for entry in entries {
        let path = entry.map_err(|error| failed("list", directory, &error))?.path();
        if path.is_dir() {
            list_files(root, &path, found)?;
        } else if let Ok(relative) = path.strip_prefix(root) {
            found.insert(relative.to_owned());
        }
    }
    Ok(())
}

/// Makes the names that containers see, and removes those of files that are gone.
fn link_names(volume: &Path, files: &[VolumeFile]) -> Result<(), FileError> {
    let wanted: BTreeSet<&str> = files.iter().filter_map(|file| file.path.split('/').next()).collect();
    for name in &wanted {
        let link = volume.join(name);
        let target = Path::new(CURRENT).join(name);
        if fs::read_link(&link).ok().as_deref() != Some(&target) {
            remove_tree(&link)?;
            symlink(&target, &link).map_err(|error| failed("make", &link, &error))?;
        }
    }
    for name in entries(volume)?.iter().filter(|name| !name.starts_with("..")) {
        if !wanted.contains(name.as_str()) {
            remove_tree(&volume.join(name))?;
        }
    }
    Ok(())
}

fn next_version(volume: &Path) -> Result<String, FileError> {
    let number = |name: &String| name.strip_prefix(VERSION).and_then(|number| number.parse::<u64>().ok());
    let newest = versions(volume)?.iter().filter_map(number).max().unwrap_or_default();
    Ok(format!("{VERSION}{}", newest.saturating_add(1)))
}

fn versions(volume: &Path) -> Result<Vec<String>, FileError> {
    Ok(entries(volume)?.into_iter().filter(|name| name.starts_with(VERSION)).collect())
}

fn entries(directory: &Path) -> Result<Vec<String>, FileError> {
    let listed = fs::read_dir(directory).map_err(|error| failed("list", directory, &error))?;
    Ok(listed.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
}

fn remove_tree(path: &Path) -> Result<(), FileError> {
    let removed = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    removed.map_err(|error| failed("remove", path, &error))
}

/// Accepts a relative path that stays where it is and does not look like the volume's own names.
fn check_path(path: &str) -> Result<(), FileError> {
    let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    let fine = !path.is_empty() && plain && !path.starts_with("..") && path.len() <= 4096;
    if fine { Ok(()) } else { Err(FileError::Invalid(format!("{path:?} cannot be a file of a volume"))) }
}
