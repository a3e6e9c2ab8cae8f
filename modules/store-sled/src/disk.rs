//! What makes sled's files durable. sled's own flush asks the kernel to write
//! (`sync_file_range`), which neither flushes the drive nor covers large values.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The files that sled writes between two flushes.
#[derive(Debug)]
pub(crate) struct Disk {
    log: File,
    blobs: PathBuf,
    synced: BTreeSet<OsString>,
}

impl Disk {
    /// Opens sled's files beneath `data` a second time and makes their names durable.
    pub(crate) fn open(data: &Path) -> io::Result<Self> {
        let log = File::options().read(true).write(true).open(data.join("db"))?;
        File::open(data.join("conf"))?.sync_all()?;
        let mut disk = Self { log, blobs: data.join("blobs"), synced: BTreeSet::new() };
        disk.sync()?;
        for directory in [Some(data), data.parent(), data.parent().and_then(Path::parent)] {
            match directory {
                Some(path) if path.as_os_str().is_empty() => File::open(".")?.sync_all()?,
                Some(path) => File::open(path)?.sync_all()?,
                None => {}
            }
        }
        Ok(disk)
    }

    /// Makes durable what sled has written.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.sync_blobs()?;
        self.log.sync_data()
    }

    /// Large values are files of their own. sled never writes one twice.
    fn sync_blobs(&mut self) -> io::Result<()> {
        let mut present = BTreeSet::new();
        let mut fresh = false;
        for entry in fs::read_dir(&self.blobs)? {
            let name = entry?.file_name();
            if !self.synced.contains(&name) {
                match File::open(self.blobs.join(&name)) {
                    Ok(blob) => blob.sync_all()?,
                    Err(gone) if gone.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
                fresh = true;
            }
            present.insert(name);
        }
        self.synced = present;
        if fresh { File::open(&self.blobs)?.sync_all() } else { Ok(()) }
    }
}
