//! Listing: what is asked, what is remembered, and what happens when things go meanwhile.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use edged::ports::{ContainerState, Runtime, RuntimeError, SandboxState};
use tonic::Code;

use super::PATIENT;
use super::fake::Fake;
use crate::cri::proto::{self, PodSandboxMetadata};

fn metadata(name: &str) -> Option<PodSandboxMetadata> {
    Some(PodSandboxMetadata {
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        namespace: "default".to_owned(),
        attempt: 2,
    })
}

fn sandbox(id: &str, addresses: &[&str]) -> (proto::PodSandbox, proto::PodSandboxStatus) {
    let listed = proto::PodSandbox {
        id: id.to_owned(),
        metadata: metadata(id),
        state: proto::PodSandboxState::SandboxReady.into(),
        created_at: 1_000_000_000,
        labels: BTreeMap::from([("app".to_owned(), "web".to_owned())]),
        ..Default::default()
    };
    let (ip, further) = addresses.split_first().map_or(("", &[][..]), |(ip, further)| (*ip, further));
    let network = proto::PodSandboxNetworkStatus {
        ip: ip.to_owned(),
        additional_ips: further.iter().map(|ip| proto::PodIp { ip: (*ip).to_owned() }).collect(),
    };
    let status = proto::PodSandboxStatus { id: id.to_owned(), network: Some(network), ..Default::default() };
    (listed, status)
}

fn container(
    id: &str,
    sandbox: &str,
    state: proto::ContainerState,
) -> (proto::Container, proto::ContainerStatus) {
    let metadata = Some(proto::ContainerMetadata { name: format!("name-{id}"), attempt: 3 });
    let image = Some(proto::ImageSpec { image: "sha256:abc".to_owned(), ..Default::default() });
    let annotations = BTreeMap::from([("beehive.io/image".to_owned(), "nginx:1.27".to_owned())]);
    let labels = BTreeMap::from([("io.kubernetes.pod.uid".to_owned(), "uid-orphan".to_owned())]);
    let listed = proto::Container {
        id: id.to_owned(),
        pod_sandbox_id: sandbox.to_owned(),
        metadata: metadata.clone(),
        image: image.clone(),
        state: state.into(),
        labels: labels.clone(),
        annotations: annotations.clone(),
        ..Default::default()
    };
    let status = proto::ContainerStatus {
        id: id.to_owned(),
        metadata,
        state: state.into(),
        created_at: 1_000_000_000,
        started_at: 2_000_000_000,
        image,
        image_ref: "docker.io/library/nginx@sha256:def".to_owned(),
        labels,
        annotations,
        ..Default::default()
    };
    (listed, status)
}

#[tokio::test]
async fn details_are_asked_for_once_per_state() {
    let fake = Fake::start();
    let cri = fake.cri(PATIENT);
    fake.state().sandboxes = vec![sandbox("s1", &["10.1.2.3", "fd00::3"])];
    fake.state().containers = vec![container("c1", "s1", proto::ContainerState::ContainerRunning)];

    let first = cri.list().await.expect("it lists");
    let calls = BTreeMap::from([
        ("list_pod_sandbox", 1),
        ("list_containers", 1),
        ("pod_sandbox_status", 1),
        ("container_status", 1),
    ]);
    assert_eq!(fake.state().take_calls(), calls);
    assert_eq!(first[0].pod.uid, "uid-s1");
    assert_eq!(first[0].pod.attempt, 2);
    assert_eq!(first[0].ips.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.1.2.3", "fd00::3"]);
    let shown = &first[0].containers[0];
    assert_eq!((shown.name.as_str(), shown.attempt), ("name-c1", 3));
    assert_eq!(
        (shown.image.as_str(), shown.image_id.as_str()),
        ("nginx:1.27", "docker.io/library/nginx@sha256:def")
    );
    assert!(shown.annotations.is_empty(), "the adapter's own annotation stays inside");

    assert_eq!(cri.list().await.expect("it lists"), first);
    assert_eq!(fake.state().take_calls(), BTreeMap::from([("list_pod_sandbox", 1), ("list_containers", 1)]));

    let (listed, mut status) = container("c1", "s1", proto::ContainerState::ContainerExited);
    (status.exit_code, status.finished_at, status.reason) = (1, 3_000_000_000, "Error".to_owned());
    fake.state().containers = vec![(listed, status)];
    let after = cri.list().await.expect("it lists");
    assert_eq!(fake.state().take_calls().get("container_status"), Some(&1));
    let ContainerState::Exited(exit) = &after[0].containers[0].state else { panic!("{after:?}") };
    assert_eq!((exit.code, exit.reason.as_str()), (1, "Error"));
    cri.list().await.expect("it lists");
    assert_eq!(fake.state().take_calls().get("container_status"), None);
}

#[tokio::test]
async fn the_order_is_that_of_creation_whatever_the_runtime_says() {
    let fake = Fake::start();
    let cri = fake.cri(PATIENT);
    let at = |second: i64, id: &str| {
        let (mut listed, status) = sandbox(id, &["10.1.2.3"]);
        listed.created_at = second;
        (listed, status)
    };
    let container_at = |second: i64, id: &str| {
        let (listed, mut status) = container(id, "s2", proto::ContainerState::ContainerRunning);
        status.created_at = second;
        (listed, status)
    };
    fake.state().sandboxes = vec![at(3, "s1"), at(2, "s3"), at(1, "s4"), at(2, "s2")];
    fake.state().containers = vec![container_at(9, "c1"), container_at(7, "c3"), container_at(7, "c2")];
    let mut seen = Vec::new();
    for _ in 0..2 {
        let listed = cri.list().await.expect("it lists");
        let sandboxes: Vec<_> = listed.iter().map(|sandbox| sandbox.id.to_string()).collect();
        let containers: Vec<_> =
            listed[1].containers.iter().map(|container| container.id.to_string()).collect();
        seen.push((sandboxes.join(" "), containers.join(" ")));
        fake.state().sandboxes.reverse();
        fake.state().containers.rotate_left(1);
    }
    assert_eq!(seen, vec![("s4 s2 s3 s1".to_owned(), "c2 c3 c1".to_owned()); 2]);
}

#[tokio::test]
async fn a_container_does_not_end_before_it_began() {
    let fake = Fake::start();
    fake.state().sandboxes = vec![sandbox("s1", &["10.1.2.3"])];
    for (started, finished, expect) in
        [(20, 10, (Some(10), 10)), (10, 20, (Some(10), 20)), (0, 20, (None, 20))]
    {
        let (listed, mut status) = container("c1", "s1", proto::ContainerState::ContainerExited);
        (status.started_at, status.finished_at) = (started, finished);
        fake.state().containers = vec![(listed, status)];
        let listed = fake.cri(PATIENT).list().await.expect("it lists");
        let ContainerState::Exited(exit) = &listed[0].containers[0].state else { panic!("{listed:?}") };
        let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
        assert_eq!((exit.started_at.map(since), since(exit.finished_at)), expect);
    }
}

#[tokio::test]
async fn an_out_of_memory_notice_that_comes_late_is_seen() {
    let fake = Fake::start();
    let cri = fake.cri(PATIENT);
    fake.state().sandboxes = vec![sandbox("s1", &["10.1.2.3"])];
    let (listed, mut status) = container("c1", "s1", proto::ContainerState::ContainerExited);
    (status.exit_code, status.reason) = (137, "Error".to_owned());
    fake.state().containers = vec![(listed, status)];

    let reason = async || {
        let listed = cri.list().await.expect("it lists");
        let ContainerState::Exited(exit) = &listed[0].containers[0].state else { panic!("{listed:?}") };
        exit.reason.clone()
    };
    assert_eq!(reason().await, "Error");
    fake.state().containers[0].1.reason = "OOMKilled".to_owned();
    assert_eq!(reason().await, "OOMKilled");
    fake.state().take_calls();
    assert_eq!(reason().await, "OOMKilled");
    assert_eq!(fake.state().take_calls().get("container_status"), None, "and is final");
}

#[tokio::test]
async fn a_killed_container_is_not_asked_about_for_ever() {
    let fake = Fake::start();
    let cri = fake.cri(PATIENT);
    fake.state().sandboxes = vec![sandbox("s1", &["10.1.2.3"])];
    let (listed, mut status) = container("c1", "s1", proto::ContainerState::ContainerExited);
    status.exit_code = 137;
    fake.state().containers = vec![(listed, status)];
    for _ in 0..10 {
        cri.list().await.expect("it lists");
    }
    assert_eq!(fake.state().take_calls().get("container_status"), Some(&4));
}

#[tokio::test]
async fn a_list_is_whole_or_an_error() {
    for call in ["list_pod_sandbox", "list_containers", "pod_sandbox_status", "container_status"] {
        let fake = Fake::start();
        let cri = fake.cri(PATIENT);
        fake.state().sandboxes = vec![sandbox("s1", &["10.1.2.3"]), sandbox("s2", &["10.1.2.4"])];
        fake.state().containers = vec![container("c1", "s1", proto::ContainerState::ContainerRunning)];
        fake.state().failing.insert(call, (Code::Unavailable, "going down".to_owned()));
        assert_eq!(cri.list().await, Err(RuntimeError::Unavailable("going down".to_owned())), "{call}");
        fake.state().failing.clear();
        assert_eq!(cri.list().await.expect("it lists again").len(), 2, "{call}");
    }
}

#[tokio::test]
async fn what_goes_between_two_questions_is_left_out() {
    let fake = Fake::start();
    let cri = fake.cri(PATIENT);
    fake.state().sandboxes = vec![sandbox("s1", &["10.1.2.3"]), sandbox("s2", &["10.1.2.4"])];
    fake.state().sandboxes[1].1.id = "s2".to_owned();
    let mut gone = container("c1", "s1", proto::ContainerState::ContainerRunning);
    gone.1.id = "another".to_owned();
    fake.state().containers = vec![gone, container("c2", "s2", proto::ContainerState::ContainerRunning)];
    let listed = cri.list().await.expect("it lists");
    assert_eq!(listed.iter().map(|sandbox| sandbox.containers.len()).collect::<Vec<_>>(), [0, 1]);
}

#[tokio::test]
async fn one_that_the_runtime_cannot_describe_does_not_hide_the_others() {
    let fake = Fake::start();
    let cri = fake.cri(PATIENT);
    fake.state().sandboxes = vec![sandbox("s1", &["10.1.2.3"])];
    fake.state().containers = vec![container("c1", "s1", proto::ContainerState::ContainerRunning)];
    fake.state().failing.insert("container_status", (Code::Unknown, "its directory is gone".to_owned()));
    let listed = cri.list().await.expect("it lists");
    let container = &listed[0].containers[0];
    assert_eq!((container.name.as_str(), &container.state), ("name-c1", &ContainerState::Unknown));

    fake.state().failing.clear();
    let listed = cri.list().await.expect("it lists");
    assert!(matches!(listed[0].containers[0].state, ContainerState::Running { .. }), "asked for again");
}

#[tokio::test]
async fn a_sandbox_on_the_hosts_network_has_no_address_and_one_without_is_asked_again() {
    let fake = Fake::start();
    let cri = fake.cri(PATIENT);
    let (listed, mut status) = sandbox("host", &["192.168.1.9"]);
    let options = proto::NamespaceOption { network: proto::NamespaceMode::Node.into(), ..Default::default() };
    let namespaces = Some(proto::Namespace { options: Some(options) });
    status.linux = Some(proto::LinuxPodSandboxStatus { namespaces });
    fake.state().sandboxes = vec![(listed, status), sandbox("late", &[])];

    let addresses = async || {
        let listed = cri.list().await.expect("it lists");
        listed.iter().map(|sandbox| sandbox.ips.len()).collect::<Vec<_>>()
    };
    assert_eq!(addresses().await, [0, 0]);
    fake.state().take_calls();
    fake.state().sandboxes[1] = sandbox("late", &["10.1.2.3"]);
    assert_eq!(addresses().await, [0, 1]);
    assert_eq!(fake.state().take_calls().get("pod_sandbox_status"), Some(&1), "not of the one on the host");

    fake.state().sandboxes[1].0.state = proto::PodSandboxState::SandboxNotready.into();
    assert_eq!(addresses().await, [0, 0], "a stopped sandbox gives its address back");
}

#[tokio::test]
async fn containers_that_outlived_their_sandbox_can_be_found_and_removed() {
    let fake = Fake::start();
    let cri = fake.cri(PATIENT);
    fake.state().containers = vec![container("c1", "gone", proto::ContainerState::ContainerRunning)];
    let listed = cri.list().await.expect("it lists");
    assert_eq!((listed[0].id.as_str(), listed[0].state), ("gone", SandboxState::NotReady));
    assert_eq!(listed[0].pod.uid, "uid-orphan");
    assert_eq!(listed[0].containers.len(), 1);

    fake.state().failing.insert("remove_pod_sandbox", (Code::NotFound, "no such sandbox".to_owned()));
    cri.remove_sandbox(&listed[0].id).await.expect("it goes");
    assert_eq!(fake.state().removed, ["c1"]);
}
