//! A machine in good order, and broken ones.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use edgecore::enrol::{Registration, RequestError};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use store_sled::Examined;

use super::*;
use crate::play::{NoServices, Played, survey};
use crate::world::StoreSeen;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A node's directory, whose certificates begin and end around the played time.
struct Home {
    directory: tempfile::TempDir,
    fingerprint: String,
    config: PathBuf,
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

impl Home {
    fn new(days_left: i32) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        let write = |name: &str, text: &str| std::fs::write(at(name), text).expect("written");
        let of_day = |day: i64| {
            let day = jiff::Timestamp::try_from(now()).expect("a time")
                + jiff::SignedDuration::from_hours(24 * day);
            let day = day.to_zoned(jiff::tz::TimeZone::UTC).date();
            let part = |part: i8| u8::try_from(part).expect("positive");
            rcgen::date_time_ymd(day.year().into(), part(day.month()), part(day.day()))
        };
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = of_day(-400);
        params.not_after = of_day(3650);
        let key = KeyPair::generate().expect("a key");
        let authority = params.self_signed(&key).expect("a certificate");
        let issuer = Issuer::new(params, key);
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "system:node:edge-1");
        params.not_before = of_day(i64::from(days_left) - 365);
        params.not_after = of_day(days_left.into());
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        write("ca.crt", &authority.pem());
        write("e.crt", &certificate.pem());
        write("e.key", &key.serialize_pem());
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(at("e.key"), permissions).expect("it is ours");
        let fingerprint =
            edgecore::certificate::CertificateFacts::of_file(&at("ca.crt")).expect("it is one").fingerprint;
        write(
            "edgecore.yaml",
            &format!(
                "database: {{dataSource: {at}/edgecore.db}}\nmodules:\n  edgeHub:\n    \
                 httpServer: https://cloud.example.com:10002\n    tlsCaFile: {at}/ca.crt\n    tlsCertFile: {at}/e.crt\n    \
                 tlsPrivateKeyFile: {at}/e.key\n    websocket: {{server: 'cloud.example.com:10000'}}\n  \
                 edged: {{hostnameOverride: edge-1, runtime: containerd}}\n",
                at = directory.path().display()
            ),
        );
        let config = at("edgecore.yaml");
        Self { directory, fingerprint, config }
    }

    fn healthy() -> (Self, Played) {
        let home = Self::new(300);
        let machine = home.machine();
        (home, machine)
    }

    fn machine(&self) -> Played {
        let mut machine = Played { now: now(), ..Played::new() };
        machine.hosts.insert("cloud.example.com".to_owned(), [203, 0, 113, 7].into());
        let fingerprint = self.fingerprint.clone();
        machine.cloud = Some(Box::new(move || Ok(survey(&fingerprint, now(), Registration::Known))));
        machine.runs("edgecore");
        machine.store = StoreSeen::Read(Examined { records: 9, corrupt: 0, moved_aside: 0 });
        machine
    }

    async fn look(&self, machine: &Played) -> Vec<Finding> {
        edge::look(&self.config, true, machine, &NoServices).await
    }
}

fn of<'a>(findings: &'a [Finding], check: &str) -> &'a Finding {
    let mut all: Vec<&Finding> = findings.iter().filter(|finding| finding.check == check).collect();
    all.sort_by_key(|finding| finding.state);
    all.pop().unwrap_or_else(|| panic!("{check} was not looked at: {findings:?}"))
}

#[tokio::test]
async fn a_healthy_node_has_nothing_to_do() {
    let (home, machine) = Home::healthy();
    let findings = home.look(&machine).await;
    let bad: Vec<&Finding> = findings.iter().filter(|finding| finding.state != State::Ok).collect();
    assert!(bad.is_empty(), "{bad:?}");
    for check in [
        "config",
        "process",
        "certificate",
        "authority",
        "dns",
        "link",
        "cloud",
        "clock",
        "runtime",
        "cgroups",
        "pod dns",
        "store",
        "disk",
        "kernel",
    ] {
        of(&findings, check);
    }
}

/// Spoils one thing of a healthy machine, and expects one check to say so and all others to go on.
#[tokio::test]
async fn each_broken_part_is_found_and_says_what_to_do() {
    type Spoil = fn(&mut Played, &Home);
    let cases: [(&str, State, &str, &str, Spoil); 16] = [
        ("process", State::Failed, "edgecore does not run", "start edgecore", |it, _| it.processes.clear()),
        ("rival", State::Failed, "kubelet runs", "disable --now kubelet", |it, _| it.runs("kubelet")),
        ("certificate", State::Failed, "ended at", "keadm join --rejoin", |it, _| it.now += DAY * 400),
        ("certificate", State::Warning, "for 19 days", "could not be replaced", |it, _| it.now += DAY * 280),
        ("certificate", State::Failed, "begins at", "set this machine's clock", |it, _| it.now -= DAY * 100),
        ("clock", State::Failed, "24 hours ahead of", "timedatectl", |it, _| {
            it.now += Duration::from_secs(86_400)
        }),
        ("clock", State::Warning, "60 seconds behind", "timedatectl", |it, _| {
            it.now -= Duration::from_secs(60)
        }),
        ("link", State::Failed, "refused", "firewalls", |it, _| {
            it.unreachable.insert("cloud.example.com:10000".to_owned());
        }),
        ("cloud", State::Failed, "was not reached", "start cloudcore", |it, _| {
            it.cloud = Some(Box::new(|| {
                let server = "cloud.example.com:10002".to_owned();
                Err(RequestError::Unreachable { server, problem: "timed out".to_owned() })
            }));
        }),
        ("authority", State::Failed, "has the SHA-256", "another cluster", |it, _| {
            it.cloud = Some(Box::new(|| Ok(survey(&"0".repeat(64), now(), Registration::Known))));
        }),
        ("dns", State::Failed, "is not resolved", "/etc/hosts", |it, _| it.hosts.clear()),
        ("runtime", State::Failed, "no such socket", "install and start containerd", |it, _| {
            it.runtime = Err("no such socket".to_owned());
        }),
        ("cgroups", State::Failed, "without memory", "cgroup_enable=memory", |it, _| {
            it.files.insert("/sys/fs/cgroup/cgroup.controllers".into(), "cpu pids".to_owned());
        }),
        ("cgroups", State::Failed, "not this machine's init", "SystemdCgroup = false", |it, _| {
            it.files.insert("/proc/1/comm".into(), "busybox\n".to_owned());
        }),
        ("kernel", State::Warning, "IPv4 is not forwarded", "sysctl -w net.ipv4.ip_forward=1", |it, _| {
            it.files.insert("/proc/sys/net/ipv4/ip_forward".into(), "0\n".to_owned());
        }),
        ("store", State::Failed, "2 of 9 records are corrupt", "failing disk", |it, _| {
            it.store = StoreSeen::Read(Examined { records: 7, corrupt: 2, moved_aside: 0 });
        }),
    ];
    for (check, state, seen, todo, spoil) in cases {
        let (home, mut machine) = Home::healthy();
        spoil(&mut machine, &home);
        let findings = home.look(&machine).await;
        let finding = of(&findings, check);
        assert_eq!(finding.state, state, "{check}: {finding:?}");
        assert!(finding.seen.contains(seen), "{seen}: {}", finding.seen);
        assert!(finding.todo.contains(todo), "{todo}: {}", finding.todo);
        assert!(
            findings.iter().all(|finding| finding.state == State::Ok || !finding.todo.is_empty()),
            "{findings:?}"
        );
    }
}

#[tokio::test]
async fn what_is_wrong_on_the_disk_is_found() {
    let (home, mut machine) = Home::healthy();
    std::fs::remove_file(home.directory.path().join("e.crt")).expect("it is there");
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(home.directory.path().join("e.key"), permissions).expect("it is ours");
    machine.space.bytes_available = 1 << 20;
    machine.files.insert("/etc/resolv.conf".into(), "nameserver 127.0.0.53\n".to_owned());
    let findings = home.look(&machine).await;
    for (check, state, seen) in [
        ("certificate", State::Failed, "cannot read"),
        ("key", State::Warning, "mode 644"),
        ("disk", State::Failed, "1 MiB free"),
        ("pod dns", State::Warning, "which no pod reaches"),
    ] {
        let finding = of(&findings, check);
        assert!(finding.state == state && finding.seen.contains(seen), "{finding:?}");
    }
}

#[tokio::test]
async fn a_configuration_with_mistakes_is_told_with_every_one() {
    let (home, machine) = Home::healthy();
    std::fs::write(&home.config, "modules:\n  edgeHub: {hartbeat: 1}\n  edgd: {}\n").expect("written");
    let findings = home.look(&machine).await;
    let mistakes: Vec<&str> =
        findings.iter().filter(|it| it.check == "config").map(|it| it.seen.as_str()).collect();
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    assert!(mistakes[0].contains("did you mean modules.edgeHub.heartbeat?"), "{mistakes:?}");
    let missing = edge::look(Path::new("/nonexistent.yaml"), true, &machine, &NoServices).await;
    assert!(of(&missing, "config").todo.contains("keadm join"), "{missing:?}");
}

#[tokio::test]
async fn a_cloud_is_looked_at_whether_it_runs_or_not() {
    let home = tempfile::tempdir().expect("a directory");
    let at = home.path().display();
    let config = home.path().join("cloudcore.yaml");
    let text = format!(
        "database: {{dataSource: {at}/c.db}}\nkubeAPIServer: {{directory: {at}/api}}\nmodules:\n  cloudHub:\n    \
         tlsCAFile: {at}/ca.crt\n    tlsCAKeyFile: {at}/ca.key\n    tlsCertFile: {at}/s.crt\n    \
         tlsPrivateKeyFile: {at}/s.key\n"
    );
    std::fs::write(&config, text).expect("written");
    let mut machine = Played { now: now(), ..Played::new() };
    let stopped = cloud::look(&config, true, &machine, &NoServices).await;
    assert_eq!(of(&stopped, "process").state, State::Failed, "{stopped:?}");
    assert!(of(&stopped, "link").seen.contains("is free"), "{stopped:?}");

    machine.taken.insert(10002);
    std::fs::write(home.path().join("ca.crt"), "x").expect("written");
    let broken = cloud::look(&config, true, &machine, &NoServices).await;
    assert!(of(&broken, "enrolment").seen.contains("10002 cannot be listened on"), "{broken:?}");
    assert!(of(&broken, "authority").seen.contains("ca.key is not"), "{broken:?}");
    std::fs::remove_file(home.path().join("ca.crt")).expect("it is there");

    machine.runs("cloudcore");
    machine.cloud = Some(Box::new(|| Ok(survey(&"0".repeat(64), now(), Registration::Unknown))));
    let running = cloud::look(&config, true, &machine, &NoServices).await;
    assert!(running.iter().all(|finding| finding.state == State::Ok), "{running:?}");
}

#[test]
fn findings_are_written_for_people_and_for_programs() {
    let finding = Finding::failed("dns", "no server", "add one");
    assert_eq!(finding.to_string(), "failed   dns          no server\n                      do: add one");
    let ok = Finding::ok("dns", "fine");
    let report = Report { part: "edgecore", state: State::Ok, findings: vec![ok] };
    let text = serde_json::to_value(&report).expect("it can be written");
    assert_eq!(
        text,
        serde_json::json!({"part": "edgecore", "state": "ok", "findings": [{"check": "dns", "state": "ok", "seen": "fine"}]})
    );
}
