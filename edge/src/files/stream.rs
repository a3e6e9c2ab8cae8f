//! Logs as they are read, and as they grow.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use edged::ports::LogQuery;
use protocol::edge::{LogError, LogStream};
use tokio::sync::{mpsc, watch};

use super::log::{Show, tail_offset};

const CHUNK_BYTES: usize = 32 << 10;
const CHUNKS_WAITING: usize = 16;
/// How often a log that is followed is looked at.
const LOOK_PERIOD: Duration = Duration::from_millis(250);
/// A line longer than this is shown in pieces.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Opens a log. The reading ends with the log, or when the stream is dropped.
pub(super) async fn open(
    path: PathBuf,
    query: LogQuery,
    ended: watch::Receiver<bool>,
) -> Result<LogStream, LogError> {
    let shown = path.display().to_string();
    let opened = tokio::task::spawn_blocking(move || Reader::open(path, &query)).await;
    let failed = |cause: String| LogError::Failed(format!("failed to open log file {shown:?}: {cause}"));
    let reader = match opened {
        Ok(Ok(reader)) => reader,
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(error) => return Err(failed(error.to_string())),
    };
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
    #[expect(clippy::disallowed_methods, reason = "it ends with the log, or when the stream is dropped")]
    tokio::spawn(pump(reader, sender, ended));
    Ok(LogStream(receiver))
}

async fn pump(
    mut reader: Reader,
    chunks: mpsc::Sender<Result<Bytes, LogError>>,
    mut ended: watch::Receiver<bool>,
) {
    loop {
        // Asked before reading: what was written before the end is read after it.
        let last = !reader.follow || *ended.borrow() || ended.has_changed().is_err();
        let read = tokio::task::spawn_blocking(move || {
            let step = reader.step();
            (reader, step)
        })
        .await;
        let step = match read {
            Ok((same, step)) => {
                reader = same;
                step.map_err(|error| error.to_string())
            }
            Err(error) => return tell(&chunks, error.to_string()).await,
        };
        match step {
            Err(error) => return tell(&chunks, error).await,
            Ok(Step::Chunk(mut text)) => {
                while !text.is_empty() {
                    let chunk = text.split_to(text.len().min(CHUNK_BYTES));
                    if chunks.send(Ok(chunk)).await.is_err() {
                        return;
                    }
                }
            }
            Ok(Step::Full) => return,
            Ok(Step::AtEnd) if last => return,
            Ok(Step::AtEnd) => {
                tokio::select! {
                    biased;
                    () = chunks.closed() => return,
                    changed = ended.changed() => drop(changed),
                    () = tokio::time::sleep(LOOK_PERIOD) => {}
                }
            }
        }
    }
}

async fn tell(chunks: &mpsc::Sender<Result<Bytes, LogError>>, problem: String) {
    if chunks.send(Err(LogError::Failed(problem))).await.is_err() {
        tracing::debug!("nobody reads the log any longer");
    }
}

enum Step {
    /// Some of the log, as it is shown.
    Chunk(Bytes),
    /// Nothing more at the moment.
    AtEnd,
    /// As much was read as was asked for.
    Full,
}

struct Reader {
    path: PathBuf,
    file: File,
    inode: u64,
    /// What a rotation put in the place of the file, which is read to its end first.
    next: Option<(File, u64)>,
    show: Show,
    follow: bool,
    bytes_left: Option<u64>,
    /// The beginning of a line whose end is not there yet.
    begun: Vec<u8>,
}

impl Reader {
    fn open(path: PathBuf, query: &LogQuery) -> io::Result<Self> {
        let mut file = File::open(&path)?;
        if let Some(lines) = query.tail_lines {
            let offset = tail_offset(&mut file, lines)?;
            file.seek(SeekFrom::Start(offset))?;
        }
        let inode = file.metadata()?.ino();
        let show = Show { since: query.since, timestamps: query.timestamps };
        let (follow, bytes_left) = (query.follow, query.limit_bytes);
        Ok(Self { path, file, inode, next: None, show, follow, bytes_left, begun: Vec::new() })
    }

    fn step(&mut self) -> io::Result<Step> {
        if self.bytes_left == Some(0) {
            return Ok(Step::Full);
        }
        loop {
            let mut block = vec![0; CHUNK_BYTES];
            let length = self.file.read(&mut block)?;
            block.truncate(length);
            let mut shown = Vec::new();
            if length == 0 {
                if self.go_over()? {
                    continue;
                }
                if self.follow || self.begun.is_empty() {
                    return Ok(Step::AtEnd);
                }
                let line = std::mem::take(&mut self.begun);
                self.show.line(&line, &mut shown);
            } else {
                self.begun.extend_from_slice(&block);
                let whole = self.begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                let whole = if self.begun.len() > LINE_BYTES_MAX { self.begun.len() } else { whole };
                let rest = self.begun.split_off(whole);
                for line in self.begun.split_inclusive(|byte| *byte == b'\n') {
                    self.show.line(line, &mut shown);
                }
                self.begun = rest;
            }
            if let Some(left) = &mut self.bytes_left {
                shown.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= u64::try_from(shown.len()).unwrap_or(*left);
            }
            if !shown.is_empty() {
                return Ok(Step::Chunk(shown.into()));
            }
        }
    }

    /// Goes over to the file that a rotation put in place of this one. Once it is there, nothing
    /// is written to the old one, which may have grown since its end was read.
    fn go_over(&mut self) -> io::Result<bool> {
        if let Some((file, inode)) = self.next.take() {
            (self.file, self.inode) = (file, inode);
            return Ok(true);
        }
        if !self.follow {
            return Ok(false);
        }
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let inode = file.metadata()?.ino();
        let rotated = inode != self.inode;
        if rotated {
            self.next = Some((file, inode));
        }
        Ok(rotated)
    }
}
