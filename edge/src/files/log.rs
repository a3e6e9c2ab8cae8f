//! Container logs as CRI runtimes write them: `TIME STREAM TAG TEXT`, where the tag of a line that
//! goes on in the next is `P`.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use edged::time::parse_rfc3339;

/// So much is read backwards at a time to find the last lines.
const STEP: u64 = 64 << 10;

/// What is shown of a line.
#[derive(Debug, Clone, Default)]
pub(super) struct Show {
    pub(super) since: Option<SystemTime>,
    pub(super) timestamps: bool,
}

impl Show {
    /// Appends to `out` what is shown of a line, which ends with a line feed. A line that no runtime
    /// wrote is shown as it is.
    pub(super) fn line(&self, line: &[u8], out: &mut Vec<u8>) {
        let mut fields = line.splitn(4, |byte| *byte == b' ');
        let (Some(time), Some(_stream), Some(tag), Some(text)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            out.extend_from_slice(line);
            return;
        };
        let time = String::from_utf8_lossy(time);
        if let (Some(since), Some(written)) = (self.since, parse_rfc3339(&time))
            && written < since
        {
            return;
        }
        if self.timestamps {
            out.extend_from_slice(time.as_bytes());
            out.push(b' ');
        }
        let partial = tag.split(|byte| *byte == b':').next() == Some(b"P");
        out.extend_from_slice(if partial { text.strip_suffix(b"\n").unwrap_or(text) } else { text });
    }
}

/// Finds where the last `lines` lines of a file begin.
pub(super) fn tail_offset(file: &mut File, lines: u64) -> io::Result<u64> {
    let length = file.seek(SeekFrom::End(0))?;
    if lines == 0 {
        return Ok(length);
    }
    let mut end = length;
    let mut missing = lines;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(STEP);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        file.by_ref().take(end - start).read_to_end(&mut block)?;
        for (at, byte) in block.iter().enumerate().rev() {
            let after = start + u64::try_from(at).unwrap_or_default() + 1;
            if *byte == b'\n' && after < length {
                missing -= 1;
                if missing == 0 {
                    return Ok(after);
                }
            }
        }
        end = start;
    }
    Ok(0)
}

/// Reads the end of a log as text; empty if there is none.
pub(super) fn tail(path: &Path, lines_max: usize, bytes_max: usize) -> io::Result<String> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error),
    };
    let offset = tail_offset(&mut file, u64::try_from(lines_max).unwrap_or(u64::MAX))?;
    // A line holds at most 16 KiB of text in a log of a CRI runtime.
    let limit = u64::try_from(bytes_max.saturating_mul(2).saturating_add(32 << 10)).unwrap_or(u64::MAX);
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(offset.max(length.saturating_sub(limit))))?;
    let mut raw = Vec::new();
    file.take(limit).read_to_end(&mut raw)?;
    let mut shown = Vec::new();
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        Show::default().line(line, &mut shown);
    }
    let start = shown.len().saturating_sub(bytes_max);
    Ok(String::from_utf8_lossy(shown.get(start..).unwrap_or_default()).into_owned())
}

/// Lists what was rotated away from a log, in the order of rotation, and the log itself last.
pub(super) fn with_rotated(log: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = rotated(log)?.into_iter().map(|(_, path)| path).collect();
    paths.push(log.to_owned());
    Ok(paths)
}

/// Renames a log that is larger than `bytes_max` and removes the oldest ones beyond `files_max`.
pub(super) fn rotate(log: &Path, bytes_max: u64, files_max: u32) -> io::Result<bool> {
    match fs::metadata(log) {
        Ok(metadata) if metadata.len() > bytes_max => {}
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    let newest = rotated(log)?.last().map_or(0, |(number, _)| *number);
    fs::rename(log, numbered(log, newest.saturating_add(1)))?;
    let rotated = rotated(log)?;
    let keep = usize::try_from(files_max.saturating_sub(1)).unwrap_or(usize::MAX);
    for (_, path) in rotated.iter().take(rotated.len().saturating_sub(keep)) {
        fs::remove_file(path)?;
    }
    Ok(true)
}

fn numbered(log: &Path, number: u64) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

fn rotated(log: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let (Some(directory), Some(name)) = (log.parent(), log.file_name().and_then(|name| name.to_str())) else {
        return Ok(Vec::new());
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let number = entry
            .file_name()
            .to_str()
            .and_then(|found| found.strip_prefix(name)?.strip_prefix('.')?.parse::<u64>().ok());
        found.extend(number.map(|number| (number, entry.path())));
    }
    found.sort();
    Ok(found)
}
