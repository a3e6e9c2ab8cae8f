//! mosquitto's clients. These tests run where they are installed, and say that they were skipped otherwise.

use super::*;

use std::io::Write as _;
use std::process::{Output, Stdio};
use std::time::Duration;

use eventbus::ports::{Publication, Qos};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// Prepares one of mosquitto's clients; nothing if it is not installed.
fn client(open: &Open, program: &str, args: &[&str]) -> Command {
    let address = open.serving.address();
    let mut command = Command::new(program);
    command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string()]).args(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

fn is_installed(test: &str) -> bool {
    let run = std::process::Command::new("mosquitto_pub").arg("--help").output();
    let is_there = run.is_ok();
    if !is_there {
        writeln!(std::io::stderr(), "SKIPPED {test}: mosquitto's clients are not installed")
            .expect("standard error is open");
    }
    is_there
}

async fn run(mut command: Command) -> Output {
    let output = timeout(PATIENCE, command.output()).await.expect("it ends");
    output.expect("it runs")
}

async fn publish(open: &Open, args: &[&str]) {
    let output = run(client(open, "mosquitto_pub", args)).await;
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn listen(open: &Open, args: &[&str]) -> Child {
    client(open, "mosquitto_sub", args).spawn().expect("it runs")
}

/// Returns the lines of a client that ends by itself.
async fn lines(child: Child) -> Vec<String> {
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").expect("it runs");
    String::from_utf8_lossy(&output.stdout).lines().map(ToOwned::to_owned).collect()
}

/// Publishes until a client, which ends with the first message, has one.
async fn heard(open: &Open, mut child: Child, publication: Publication) -> Vec<String> {
    let sender = open.join("sender").await;
    let begin = tokio::time::Instant::now();
    while child.try_wait().expect("it runs").is_none() {
        assert!(begin.elapsed() < PATIENCE, "it hears nothing");
        sender.client.publish(publication.clone()).await.expect("it may publish");
        sleep(Duration::from_millis(20)).await;
    }
    lines(child).await
}

#[tokio::test]
async fn mosquitto_s_clients_speak_every_qos_and_both_versions() {
    if !is_installed("every_qos") {
        return;
    }
    let open = Open::new(serve_on()).await;
    for version in ["mqttv31", "mqttv311"] {
        for qos in ["0", "1", "2"] {
            let child =
                listen(&open, &["-V", version, "-q", qos, "-t", "$hw/+/x", "-C", "1", "-F", "%t %q %p"]);
            let publication = Publication { qos: Qos::ExactlyOnce, ..message("$hw/a/x", "hello") };
            assert_eq!(heard(&open, child, publication).await, [format!("$hw/a/x {qos} hello")]);
            let mut reader = open.join("reader").await;
            reader.client.subscribe("b").await.expect("it may subscribe");
            publish(&open, &["-V", version, "-q", qos, "-t", "b", "-m", "hello"]).await;
            assert_eq!(take(&mut reader).await, "hello");
        }
    }
}

#[tokio::test]
async fn a_client_of_mqtt_5_says_that_the_version_is_not_supported() {
    if !is_installed("mqtt_5") {
        return;
    }
    let open = Open::new(serve_on()).await;
    let output = run(client(&open, "mosquitto_pub", &["-V", "mqttv5", "-t", "a", "-m", "x"])).await;
    let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert!(!output.status.success() && said.contains("protocol version"), "{output:?}");
}

#[tokio::test]
async fn what_is_retained_is_there_for_those_that_come_later() {
    if !is_installed("retained") {
        return;
    }
    let open = Open::new(serve_on()).await;
    publish(&open, &["-r", "-q", "1", "-t", "a/b", "-m", "kept"]).await;
    assert_eq!(lines(listen(&open, &["-t", "a/#", "-C", "1", "-F", "%r %p"])).await, ["1 kept"]);
    publish(&open, &["-r", "-t", "a/b", "-n"]).await;
    publish(&open, &["-r", "-t", "a/c", "-m", "other"]).await;
    assert_eq!(lines(listen(&open, &["-t", "a/#", "-C", "1", "-F", "%r %p"])).await, ["1 other"]);
}

#[tokio::test]
async fn a_client_that_is_killed_leaves_its_will() {
    if !is_installed("will") {
        return;
    }
    let open = Open::new(serve_on()).await;
    let mut reader = open.join("reader").await;
    reader.client.subscribe("#").await.expect("it may subscribe");
    let will = ["--will-topic", "will", "--will-payload", "gone", "--will-qos", "1", "-q", "1"];
    publish(&open, &[&will[..], &["-t", "a", "-m", "it takes leave"]].concat()).await;
    assert_eq!(take(&mut reader).await, "it takes leave");
    let mut command = client(&open, "mosquitto_pub", &[&will[..], &["-t", "a", "-l"]].concat());
    let mut mortal = command.stdin(Stdio::piped()).spawn().expect("it runs");
    let lines = mortal.stdin.as_mut().expect("it is piped");
    lines.write_all(b"it is there\n").await.expect("it reads");
    assert_eq!(take(&mut reader).await, "it is there");
    mortal.kill().await.expect("it ends");
    assert_eq!(take(&mut reader).await, "gone");
}

#[tokio::test]
async fn a_session_that_is_kept_is_resumed_by_mosquitto_s_client() {
    if !is_installed("session") {
        return;
    }
    let open = Open::new(serve_on()).await;
    let kept = ["-c", "-i", "mapper", "-q", "1", "-t", "a"];
    // `-E` subscribes and leaves.
    assert_eq!(lines(listen(&open, &[&kept[..], &["-E"]].concat())).await, [""; 0]);
    for payload in ["1", "2", "3"] {
        publish(&open, &["-q", "1", "-t", "a", "-m", payload]).await;
    }
    assert_eq!(lines(listen(&open, &[&kept[..], &["-C", "3"]].concat())).await, ["1", "2", "3"]);
}

#[tokio::test]
async fn many_and_large_messages_arrive() {
    if !is_installed("many_and_large") {
        return;
    }
    let open = Open::new(serve_on()).await;
    let folder = tempfile::tempdir().expect("a directory");
    let (large, many) = (folder.path().join("large"), folder.path().join("many"));
    std::fs::write(&large, vec![b'x'; 1_000_000]).expect("written");
    let text: String = (0..2000).map(|number| format!("{number}\n")).collect();
    std::fs::write(&many, text).expect("written");
    let mut reader = open.join("reader").await;
    reader.client.subscribe("#").await.expect("it may subscribe");
    let large = large.display().to_string();
    let args = ["-q", "2", "-t", "large", "-f", &large];
    let sending = publish(&open, &args);
    let (payload, ()) = tokio::join!(take(&mut reader), sending);
    assert_eq!(payload.len(), 1_000_000);
    let mut command = client(&open, "mosquitto_pub", &["-q", "1", "-t", "many", "-l"]);
    command.stdin(std::fs::File::open(&many).expect("it is there"));
    let reading = async {
        for number in 0..2000 {
            assert_eq!(take(&mut reader).await, number.to_string());
        }
    };
    let (output, ()) = tokio::join!(run(command), reading);
    assert!(output.status.success());
}
