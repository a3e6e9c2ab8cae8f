use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::timeout;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

struct Disk {
    files: DiskFiles,
    pod: PodDir,
    root: tempfile::TempDir,
}

async fn disk() -> Disk {
    let root = tempfile::tempdir().expect("a temporary directory");
    let files = DiskFiles::new(root.path().join("data"), root.path().join("logs"));
    let pod = PodDir { uid: "u-1".to_owned(), name: "web".to_owned(), namespace: "default".to_owned() };
    files.make_pod(&pod).await.expect("the directory is writable");
    Disk { files, pod, root }
}

fn file(path: &str, content: &str, mode: u32) -> VolumeFile {
    VolumeFile { path: path.to_owned(), content: Bytes::from(content.to_owned()), mode }
}

impl Disk {
    async fn write(&self, files: &[VolumeFile]) -> PathBuf {
        let kind = VolumeKind::ConfigMap;
        let written = self.files.write_volume(&self.pod, kind, "config", files, VolumeOwner::default());
        written.await.expect("the directory is writable")
    }

    async fn write_log(&self, text: &str) -> PathBuf {
        self.files.make_container(&self.pod, "main", 0).await.expect("the directory is writable");
        let path = self.files.log_dir(&self.pod).join("main/0.log");
        fs::write(&path, text).expect("the directory is writable");
        path
    }

    async fn read_log(&self, query: LogQuery) -> String {
        let (_running, ended) = watch::channel(true);
        let stream = self.files.open_log(&self.pod, "main", 0, query, ended).await.expect("it is there");
        collect(stream).await
    }
}

async fn collect(mut stream: LogStream) -> String {
    let mut text = Vec::new();
    while let Some(chunk) = timeout(PATIENCE, stream.0.recv()).await.expect("the log ends") {
        text.extend_from_slice(&chunk.expect("it is readable"));
    }
    String::from_utf8(text).expect("it is text")
}

fn listed(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("it is there").map(|entry| entry.expect("it is readable"));
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_volume_changes_at_one_moment_and_keeps_nothing_old() {
    let disk = disk().await;
    let path = disk.write(&[file("a", "1", 0o644), file("dir/b", "2", 0o400)]).await;
    assert_eq!(listed(&path), ["..data", "..v1", "a", "dir"]);
    assert_eq!(fs::read_to_string(path.join("dir/b")).expect("it is readable"), "2");
    let mode = |name: &str| fs::metadata(path.join(name)).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode("a"), mode("dir/b")), (0o644, 0o400));

    disk.write(&[file("a", "1", 0o644), file("dir/b", "2", 0o400)]).await;
    assert_eq!(listed(&path), ["..data", "..v1", "a", "dir"], "the same content is not written again");

    disk.write(&[file("a", "3", 0o600), file("c", "4", 0o644)]).await;
    assert_eq!(listed(&path), ["..data", "..v2", "a", "c"]);
    assert_eq!(fs::read_to_string(path.join("a")).expect("it is readable"), "3");
    assert_eq!(mode("a"), 0o600);

    disk.write(&[file("a", "3", 0o644), file("c", "4", 0o644)]).await;
    assert_eq!(mode("a"), 0o644, "a changed mode is a change");
}

#[tokio::test]
async fn a_volume_that_was_cut_off_in_its_writing_is_completed() {
    let disk = disk().await;
    let path = disk.write(&[file("a", "1", 0o644)]).await;
    fs::create_dir(path.join("..v2")).expect("the directory is writable");
    fs::write(path.join("..v2/junk"), "x").expect("the directory is writable");
    symlink("..v2", path.join("..data_tmp")).expect("the directory is writable");
    fs::remove_file(path.join("a")).expect("the directory is writable");
    disk.write(&[file("a", "1", 0o644)]).await;
    assert_eq!(fs::read_to_string(path.join("a")).expect("it is readable"), "1");
    disk.write(&[file("a", "2", 0o644)]).await;
    assert_eq!(listed(&path), ["..data", "..v3", "a"]);
}

#[tokio::test]
async fn the_pods_group_reads_what_its_owner_reads() {
    use std::os::unix::fs::MetadataExt;
    let disk = disk().await;
    let own = nix::unistd::getgid().as_raw();
    let owner = VolumeOwner { group: Some(own.into()) };
    let files = [file("a", "1", 0o400)];
    let written = disk.files.write_volume(&disk.pod, VolumeKind::ConfigMap, "g", &files, owner).await;
    let found = fs::metadata(written.expect("the directory is writable").join("a")).expect("it is there");
    assert_eq!((found.permissions().mode() & 0o777, found.gid()), (0o440, own));
    let wrong = VolumeOwner { group: Some(-1) };
    let refused = disk.files.write_volume(&disk.pod, VolumeKind::ConfigMap, "h", &files, wrong).await;
    assert!(matches!(refused, Err(FileError::Invalid(_))));
}

#[tokio::test]
async fn names_cannot_step_out_of_their_directories() {
    let disk = disk().await;
    for path in ["../x", "a/../../x", "/etc/x", "", "..data/x"] {
        let kind = VolumeKind::ConfigMap;
        let files = [file(path, "x", 0o644)];
        let written = disk.files.write_volume(&disk.pod, kind, "v", &files, VolumeOwner::default()).await;
        assert!(matches!(written, Err(FileError::Invalid(_))), "{path:?}");
    }
    for name in ["..", ".", "a/b", "", "a b", "a\0"] {
        let spec = EmptyDir::default();
        let made = disk.files.empty_dir(&disk.pod, name, spec, VolumeOwner::default()).await;
        assert!(matches!(made, Err(FileError::Invalid(_))), "{name:?}");
        let pod = PodDir { uid: name.to_owned(), ..disk.pod.clone() };
        assert!(disk.files.remove_pod(&pod).await.is_err(), "{name:?}");
        assert!(disk.files.make_pod(&pod).await.is_err(), "{name:?}");
    }
}

#[tokio::test]
async fn a_sub_path_follows_links_within_its_volume_only() {
    let disk = disk().await;
    let root = disk.write(&[file("a", "1", 0o644)]).await;
    let found = disk.files.sub_path(&root, "a").await.expect("it is within");
    assert!(found.ends_with("..v1/a"), "{}", found.display());
    let spec = EmptyDir::default();
    let empty = disk.files.empty_dir(&disk.pod, "work", spec, VolumeOwner::default()).await;
    let empty = empty.expect("the directory is writable");
    let made = disk.files.sub_path(&empty, "x/./y").await.expect("it is made");
    assert!(made.is_dir() && made.ends_with("work/x/y"));
    symlink("/etc", empty.join("out")).expect("the directory is writable");
    for path in ["out", "out/passwd", "../x", "/etc"] {
        assert!(disk.files.sub_path(&empty, path).await.is_err(), "{path}");
    }
}

#[tokio::test]
async fn host_paths_are_what_the_pod_says() {
    let disk = disk().await;
    let directory = disk.root.path().join("made/here");
    let check = async |path: &Path, kind| disk.files.host_path(path, kind).await.map(drop);
    assert!(check(&directory, HostPathKind::Directory).await.is_err());
    assert_eq!(check(&directory, HostPathKind::DirectoryOrCreate).await, Ok(()));
    assert_eq!(check(&directory, HostPathKind::Directory).await, Ok(()));
    assert!(check(&directory, HostPathKind::File).await.is_err());
    assert_eq!(check(&directory.join("f"), HostPathKind::FileOrCreate).await, Ok(()));
    assert_eq!(check(&directory.join("f"), HostPathKind::File).await, Ok(()));
    let refusal = check(&directory.join("f"), HostPathKind::Socket).await.expect_err("it is a file");
    assert!(refusal.to_string().ends_with("is not a socket"), "{refusal}");
    assert!(check(Path::new("relative"), HostPathKind::Unchecked).await.is_err());
    assert!(check(Path::new("/a/../b"), HostPathKind::Unchecked).await.is_err());
}

#[tokio::test]
async fn memory_is_unmounted_when_the_pod_goes() {
    let disk = disk().await;
    let spec = EmptyDir { medium: Medium::Memory, size_limit_bytes: Some(1 << 20) };
    let made = disk.files.empty_dir(&disk.pod, "fast", spec, VolumeOwner::default()).await;
    let table = || fs::read_to_string("/proc/self/mountinfo").expect("it is Linux");
    let root = disk.root.path().display().to_string();
    match made {
        Ok(path) => {
            assert!(table().contains(&root), "it is memory");
            fs::write(path.join("x"), "1").expect("it is writable");
            let again = disk.files.empty_dir(&disk.pod, "fast", spec, VolumeOwner::default()).await;
            assert!(again.expect("it is there").join("x").exists(), "content is kept");
        }
        // Where mounting is forbidden, the volume is refused: it must not fill a disk instead.
        Err(refused) => assert!(refused.to_string().starts_with("mount memory at"), "{refused}"),
    }
    disk.files.remove_pod(&disk.pod).await.expect("it is removed");
    assert!(!table().contains(&root));
    assert!(listed(&disk.root.path().join("data/pods")).is_empty());
    assert!(listed(&disk.root.path().join("logs")).is_empty());
    assert_eq!(disk.files.pods().await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_secret_is_written_wherever_it_is_kept_and_goes_with_the_pod() {
    let disk = disk().await;
    let files = [file("password", "honey", 0o600)];
    for _again in 0..2 {
        let kind = VolumeKind::Secret;
        let path = disk.files.write_volume(&disk.pod, kind, "login", &files, VolumeOwner::default()).await;
        let path = path.expect("the directory is writable");
        assert_eq!(fs::read_to_string(path.join("password")).expect("it is readable"), "honey");
        let written = disk.files.written_volume(&disk.pod, kind, "login").await;
        assert_eq!(written, Ok(Some(path)));
    }
    assert_eq!(disk.files.written_volume(&disk.pod, VolumeKind::Secret, "other").await, Ok(None));
    disk.files.remove_pod(&disk.pod).await.expect("it is removed");
    assert!(listed(&disk.root.path().join("data/pods")).is_empty());
}

#[tokio::test]
async fn pods_are_listed_by_either_directory() {
    let disk = disk().await;
    assert_eq!(disk.files.pods().await, Ok(vec![disk.pod.clone()]));
    fs::remove_dir_all(disk.files.log_dir(&disk.pod)).expect("it is there");
    assert_eq!(disk.files.pods().await, Ok(vec![disk.pod.clone()]), "its record tells the name");
    fs::create_dir_all(disk.root.path().join("data/pods/lost")).expect("the directory is writable");
    let pods = disk.files.pods().await.expect("they are readable");
    let lost = pods.iter().find(|pod| pod.uid == "lost").expect("it is listed");
    disk.files.remove_pod(lost).await.expect("a pod without a name can be removed");
    assert_eq!(disk.files.pods().await, Ok(vec![disk.pod.clone()]));
}

#[tokio::test]
async fn a_termination_message_is_read_and_a_link_is_not_followed() {
    let disk = disk().await;
    let read = async |max| disk.files.termination_message(&disk.pod, "main", 0, max).await;
    assert_eq!(read(10).await, Ok(String::new()));
    let path = disk.files.make_container(&disk.pod, "main", 0).await.expect("the directory is writable");
    fs::write(&path, "out of luck").expect("the directory is writable");
    assert_eq!(read(6).await.as_deref(), Ok("out of"));
    fs::remove_file(&path).expect("it is there");
    symlink("/etc/passwd", &path).expect("the directory is writable");
    assert!(read(100).await.is_err());
}

const LOG: &str = "2026-01-02T03:04:05.000000001Z stdout F one\n\
    2026-01-02T03:04:06.000000001Z stderr P tw\n\
    2026-01-02T03:04:06.500000001Z stderr F o\n\
    2026-01-02T03:04:07.000000001Z stdout F \n\
    2026-01-02T03:04:08.000000001Z stdout F three\n";

#[tokio::test]
async fn a_log_is_shown_as_it_is_asked_for() {
    let disk = disk().await;
    disk.write_log(LOG).await;
    let all = LogQuery::default();
    assert_eq!(disk.read_log(all.clone()).await, "one\ntwo\n\nthree\n");
    assert_eq!(disk.read_log(LogQuery { tail_lines: Some(1), ..all.clone() }).await, "three\n");
    assert_eq!(disk.read_log(LogQuery { tail_lines: Some(0), ..all.clone() }).await, "");
    assert_eq!(disk.read_log(LogQuery { tail_lines: Some(99), ..all.clone() }).await, "one\ntwo\n\nthree\n");
    assert_eq!(disk.read_log(LogQuery { limit_bytes: Some(5), ..all.clone() }).await, "one\nt");
    let since = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_047);
    assert_eq!(disk.read_log(LogQuery { since: Some(since), ..all.clone() }).await, "\nthree\n");
    let stamped = disk.read_log(LogQuery { timestamps: true, tail_lines: Some(1), ..all }).await;
    assert_eq!(stamped, "2026-01-02T03:04:08.000000001Z three\n");
    let tail = disk.files.log_tail(&disk.pod, "main", 0, 2, 100).await;
    assert_eq!(tail.as_deref(), Ok("\nthree\n"));
    let none = disk.files.log_tail(&disk.pod, "main", 7, 2, 100).await;
    assert_eq!(none.as_deref(), Ok(""));
}

#[tokio::test]
async fn a_large_log_comes_in_small_chunks_and_its_tail_is_exact() {
    let disk = disk().await;
    let text: String =
        (0..20_000).map(|n| format!("2026-01-02T03:04:05.000000001Z stdout F line {n}\n")).collect();
    disk.write_log(&text).await;
    let (_running, ended) = watch::channel(true);
    let query = LogQuery::default();
    let mut stream = disk.files.open_log(&disk.pod, "main", 0, query, ended).await.expect("it is there");
    let mut length = 0;
    while let Some(chunk) = timeout(PATIENCE, stream.0.recv()).await.expect("the log ends") {
        let chunk = chunk.expect("it is readable");
        assert!(chunk.len() <= 32 << 10);
        length += chunk.len();
    }
    assert_eq!(length, (0..20_000).map(|n| format!("line {n}\n").len()).sum::<usize>());
    let tail = disk.read_log(LogQuery { tail_lines: Some(5_000), ..LogQuery::default() }).await;
    assert!(tail.starts_with("line 15000\n") && tail.ends_with("line 19999\n"));
    let tail = disk.files.log_tail(&disk.pod, "main", 0, 80, 50).await.expect("it is readable");
    assert!(tail.len() == 50 && tail.ends_with("line 19999\n"), "{tail:?}");
}

#[tokio::test]
async fn a_followed_log_grows_over_rotations_until_the_container_ends() {
    let disk = disk().await;
    let path = disk.write_log("t stdout F one\n").await;
    let (running, ended) = watch::channel(false);
    let query = LogQuery { follow: true, ..LogQuery::default() };
    let mut stream = disk.files.open_log(&disk.pod, "main", 0, query, ended).await.expect("it is there");
    let mut next = async || {
        let chunk = timeout(PATIENCE, stream.0.recv()).await.expect("the log grows");
        chunk.map(|chunk| String::from_utf8(chunk.expect("it is readable").to_vec()).expect("it is text"))
    };
    assert_eq!(next().await.as_deref(), Some("one\n"));
    assert_eq!(disk.files.rotate_log(&disk.pod, "main", 0, 1 << 20, 3).await, Ok(false));
    assert_eq!(disk.files.rotate_log(&disk.pod, "main", 0, 3, 3).await, Ok(true));
    fs::write(&path, "t stdout F two\n").expect("the runtime opens a new file");
    assert_eq!(next().await.as_deref(), Some("two\n"));
    let mut log = fs::File::options().append(true).open(&path).expect("it is there");
    io::Write::write_all(&mut log, b"t stdout F three\n").expect("it is writable");
    running.send(true).expect("it is followed");
    assert_eq!(next().await.as_deref(), Some("three\n"));
    assert_eq!(next().await, None);
}

#[tokio::test]
async fn rotation_keeps_so_many_files_and_removal_takes_all() {
    let disk = disk().await;
    let path = disk.write_log("x").await;
    for round in 0..5 {
        fs::write(&path, format!("round {round} is long")).expect("the directory is writable");
        assert_eq!(disk.files.rotate_log(&disk.pod, "main", 0, 3, 3).await, Ok(true));
    }
    let directory = path.parent().expect("it has one");
    assert_eq!(listed(directory), ["0.log.4", "0.log.5"]);
    fs::write(&path, "t stdout F last\n").expect("the directory is writable");
    disk.files.remove_container(&disk.pod, "main", 0).await.expect("it is removed");
    assert!(listed(directory).is_empty());
    disk.files.remove_container(&disk.pod, "main", 0).await.expect("it is gone already");
}

#[tokio::test]
async fn a_dropped_stream_ends_the_reading() {
    let disk = disk().await;
    disk.write_log(LOG).await;
    let (running, ended) = watch::channel(false);
    let query = LogQuery { follow: true, ..LogQuery::default() };
    let stream = disk.files.open_log(&disk.pod, "main", 0, query, ended).await.expect("it is there");
    drop(stream);
    timeout(PATIENCE, running.closed()).await.expect("the reader lets go of everything");
}

#[tokio::test]
async fn the_hosts_file_keeps_its_place() {
    use std::os::unix::fs::MetadataExt;
    let disk = disk().await;
    let path = disk.files.write_hosts(&disk.pod, "127.0.0.1 a\n").await.expect("it is writable");
    let inode = fs::metadata(&path).expect("it is there").ino();
    disk.files.write_hosts(&disk.pod, "127.0.0.1 b\n").await.expect("it is writable");
    assert_eq!(fs::read_to_string(&path).expect("it is readable"), "127.0.0.1 b\n");
    assert_eq!(fs::metadata(&path).expect("it is there").ino(), inode, "containers have this file mounted");
}
