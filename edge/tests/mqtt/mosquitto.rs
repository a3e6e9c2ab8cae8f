//! A mosquitto of a test's own.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use edgecore::mqtt::MqttClient;
use eventbus::ports::{ConnectTo, Credentials, Mqtt, TlsFiles};
use eventbus::{BrokerUrl, Password};
use link_ws::authority::Authority;
use tempfile::TempDir;

/// Long enough for any machine; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const USER: &str = "edge";
const PASSWORD: &str = "s3cret";

/// A broker with a user and a password, which listens plainly and with TLS on loopback.
pub(crate) struct Mosquitto {
    folder: TempDir,
    process: Option<Child>,
    plain: u16,
    tls: u16,
    files: TlsFiles,
}

/// Runs a test's body with a broker, or says that it was skipped.
macro_rules! with_mosquitto {
    ($test:literal, |$broker:ident| $body:block) => {
        let Some(mut broker) = Mosquitto::prepare($test) else { return };
        broker.start().await;
        let $broker = &mut broker;
        $body
    };
}

pub(crate) use with_mosquitto;

impl Mosquitto {
    pub(crate) fn prepare(test: &str) -> Option<Self> {
        let is_there = |program: &str| {
            let run = Command::new(program).arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status();
            run.is_ok()
        };
        if !is_there("mosquitto") || !is_there("mosquitto_passwd") {
            writeln!(std::io::stderr(), "SKIPPED {test}: mosquitto is not installed")
                .expect("standard error is open");
            return None;
        }
        let folder = tempfile::tempdir().expect("a directory");
        let files = Authority::new("KubeEdge").issue("edge", &["127.0.0.1"]).write(folder.path());
        let (plain, tls) = free_ports();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("passwords"), "").expect("written");
        let made = Command::new("mosquitto_passwd").args(["-b", &path("passwords"), USER, PASSWORD]).status();
        assert!(made.expect("mosquitto_passwd runs").success());
        let config = format!(
            "user root\nallow_anonymous false\npassword_file {}\nlistener {plain} 127.0.0.1\n\
             listener {tls} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\n",
            path("passwords"),
            files.ca.display(),
            files.certificate.display(),
            files.key.display(),
        );
        std::fs::write(path("mosquitto.conf"), config).expect("written");
        let files = TlsFiles { ca: files.ca, client: Some((files.certificate, files.key)) };
        Some(Self { folder, process: None, plain, tls, files })
    }

    /// Starts the broker and waits until it serves.
    pub(crate) async fn start(&mut self) {
        let process = Command::new("mosquitto")
            .arg("-c")
            .arg(self.folder.path().join("mosquitto.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.process = Some(process.expect("mosquitto starts"));
        let begin = tokio::time::Instant::now();
        while let Err(error) = MqttClient.connect(self.to()).await {
            assert!(begin.elapsed() < PATIENCE, "mosquitto does not serve: {error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("mosquitto can be ended");
            process.wait().expect("mosquitto ends");
        }
    }

    pub(crate) fn to(&self) -> ConnectTo {
        let credentials = Credentials { username: USER.to_owned(), password: Password::new(PASSWORD) };
        ConnectTo { credentials: Some(credentials), ..crate::to(&format!("tcp://127.0.0.1:{}", self.plain)) }
    }

    pub(crate) fn to_tls(&self) -> ConnectTo {
        let server = BrokerUrl::parse(&format!("ssl://127.0.0.1:{}", self.tls)).expect("an address");
        ConnectTo { server, tls: Some(self.files.clone()), ..self.to() }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Returns two ports that were free a moment ago.
fn free_ports() -> (u16, u16) {
    let bind = || TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (one, other) = (bind(), bind());
    let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
    (port(&one), port(&other))
}
