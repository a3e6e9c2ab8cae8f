//! Where sled's files are, and how they get a new place.
//!
//! sled does not get over a batch in the middle of which it failed: it never closes, keeps its files locked
//! and may go on touching them by their names. The store then goes on with a copy under another name.
//! `data` is the first place, `data-N` the later ones: the one with the greatest number counts.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

const FIRST: &str = "data";

fn number(name: &str) -> Option<u32> {
    if name == FIRST { Some(0) } else { name.strip_prefix("data-")?.parse().ok() }
}

/// Returns the directory in `path` that counts, and removes what other attempts left.
pub(crate) fn settle(path: &Path) -> io::Result<PathBuf> {
    let mut found: Vec<(Option<u32>, PathBuf)> = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if number(&name).is_some() || name.ends_with(".part") {
            found.push((number(&name), entry.path()));
        }
    }
    found.sort();
    let newest = match found.pop_if(|(number, _)| number.is_some()) {
        Some((_, newest)) => newest,
        None => path.join(FIRST),
    };
    found.into_iter().try_for_each(|(_, left)| fs::remove_dir_all(left))?;
    Ok(newest)
}

/// Returns the directory in `path` that counts, if there is one.
pub(crate) fn newest(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest = None;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let number = number(&entry.file_name().to_string_lossy());
        newest = newest.max(number.map(|number| (number, entry.path())));
    }
    Ok(newest.map(|(_, path)| path))
}

/// Copies `data` to a new place beside it, durably, and returns that.
pub(crate) fn copy(path: &Path, data: &Path) -> io::Result<PathBuf> {
    let name = data.file_name().unwrap_or_default().to_string_lossy();
    let next = format!("data-{}", number(&name).unwrap_or(0) + 1);
    let part = path.join(format!("{next}.part"));
    if part.try_exists()? {
        fs::remove_dir_all(&part)?;
    }
    copy_all(data, &part)?;
    let target = path.join(next);
    if target.try_exists()? {
        fs::remove_dir_all(&target)?;
    }
    fs::rename(part, &target)?;
    File::open(path)?.sync_all()?;
    Ok(target)
}

/// Removes a place that counts no longer. Whoever still has its files open keeps no room on the disk.
pub(crate) fn leave(path: &Path, data: &Path) -> io::Result<()> {
    for file in files(data)? {
        File::options().write(true).open(file)?.set_len(0)?;
    }
    settle(path).map(drop)
}

/// Returns all of sled's files in `data`.
pub(crate) fn files(data: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for directory in [data.to_owned(), data.join("blobs")] {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                files.push(entry.path());
            }
        }
    }
    Ok(files)
}

pub(crate) fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
            File::open(&target)?.sync_all()?;
        }
    }
    File::open(to)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_place_counts_and_what_was_left_is_removed() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path();
        assert_eq!(settle(path).expect("it is readable"), path.join("data"));
        for name in ["data", "data-2", "data-10", "data-11.part", "data.corrupt-1"] {
            fs::create_dir_all(path.join(name).join("blobs")).expect("it is writable");
        }
        fs::write(path.join("data-10/blobs/a"), "x").expect("it is writable");
        assert_eq!(newest(path).expect("it is readable"), Some(path.join("data-10")));
        assert_eq!(settle(path).expect("it is readable"), path.join("data-10"));
        let copied = copy(path, &path.join("data-10")).expect("it is writable");
        assert_eq!(copied, path.join("data-11"));
        assert_eq!(fs::read_to_string(copied.join("blobs/a")).expect("it is copied"), "x");
        assert_eq!(settle(path).expect("it is readable"), copied);
        let entries = fs::read_dir(path).expect("it is readable");
        let mut left: Vec<_> = entries.map(|entry| entry.expect("it is readable").file_name()).collect();
        left.sort();
        assert_eq!(left, ["data-11", "data.corrupt-1"]);
    }
}
