//! A CRI server on a socket of the test's own, which does as the test says.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status};

use crate::cri::proto::image_service_server::{ImageService, ImageServiceServer};
use crate::cri::proto::runtime_service_server::{RuntimeService, RuntimeServiceServer};
use crate::cri::proto::tasks::tasks_server::{Tasks, TasksServer};
use crate::cri::proto::tasks::{DeleteResponse, DeleteTaskRequest, KillRequest};
use crate::cri::proto::{self, ContainerStatus, PodSandbox, PodSandboxStatus};
use crate::cri::{Cri, CriOptions, Deadlines, SocketEndpoint};

/// What the server has, how it misbehaves, and what it was asked.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) sandboxes: Vec<(PodSandbox, PodSandboxStatus)>,
    pub(super) containers: Vec<(proto::Container, ContainerStatus)>,
    pub(super) image: Option<proto::Image>,
    pub(super) exec: proto::ExecSyncResponse,
    pub(super) status_info: BTreeMap<String, String>,
    pub(super) cgroup_driver: Option<proto::CgroupDriver>,
    /// Passwords that the registry behind the server takes; all, if there is none.
    pub(super) passwords: BTreeSet<String>,
    /// Calls that are answered by an error.
    pub(super) failing: BTreeMap<&'static str, (Code, String)>,
    /// Calls that are never answered.
    pub(super) hanging: BTreeSet<&'static str>,
    /// The names of all calls, in order.
    pub(super) calls: Vec<&'static str>,
    pub(super) time_limits: Vec<Option<String>>,
    pub(super) sandbox_requests: Vec<proto::RunPodSandboxRequest>,
    pub(super) container_requests: Vec<proto::CreateContainerRequest>,
    pub(super) pull_requests: Vec<proto::PullImageRequest>,
    pub(super) exec_requests: Vec<proto::ExecSyncRequest>,
    pub(super) stop_requests: Vec<proto::StopContainerRequest>,
    pub(super) removed: Vec<String>,
    /// The containers and sandboxes whose tasks the server has forgotten, and whether these were killed.
    pub(super) forgotten: BTreeMap<String, bool>,
}

impl State {
    /// Returns how often a call was made since the last time it was asked.
    pub(super) fn take_calls(&mut self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for call in self.calls.drain(..) {
            *counts.entry(call).or_default() += 1;
        }
        counts
    }
}

#[derive(Debug, Clone, Default)]
struct Service(Arc<Mutex<State>>);

impl Service {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds the state")
    }

    /// Refuses to remove what has a task.
    fn must_have_no_task(&self, id: &str) -> Result<(), Status> {
        match self.state().forgotten.contains_key(id) {
            true => Err(Status::failed_precondition(format!(
                "cannot delete running task {id}: failed precondition"
            ))),
            false => Ok(()),
        }
    }

    /// Notes the call and misbehaves as the test wants.
    async fn enter<M>(&self, name: &'static str, request: Request<M>) -> Result<M, Status> {
        let (hangs, failure) = {
            let mut state = self.state();
            state.calls.push(name);
            let limit = request.metadata().get("grpc-timeout");
            state.time_limits.push(limit.map(|limit| limit.to_str().expect("ASCII").to_owned()));
            (state.hanging.contains(name), state.failing.get(name).cloned())
        };
        if hangs {
            return pending().await;
        }
        match failure {
            Some((code, message)) => Err(Status::new(code, message)),
            None => Ok(request.into_inner()),
        }
    }
}

impl Service {
    async fn serve(self, listener: std::os::unix::net::UnixListener, killed: oneshot::Receiver<()>) {
        let listener = UnixListener::from_std(listener).expect("a socket that does not block");
        let incoming = futures::stream::unfold(listener, async |listener| {
            let accepted = listener.accept().await.map(|(stream, _)| stream);
            Some((accepted, listener))
        });
        let server = Server::builder()
            .add_service(RuntimeServiceServer::new(self.clone()))
            .add_service(ImageServiceServer::new(self.clone()))
            .add_service(TasksServer::new(self));
        tokio::select! {
            biased;
            _ = killed => {}
            served = server.serve_with_incoming(incoming) => served.expect("the socket serves"),
        }
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl RuntimeService for Service {
    async fn version(&self, request: Request<proto::VersionRequest>) -> Answer<proto::VersionResponse> {
        self.enter("version", request).await?;
        Ok(Response::new(proto::VersionResponse {
            version: "0.1.0".to_owned(),
            runtime_name: "containerd".to_owned(),
            runtime_version: "1.6.20~ds1".to_owned(),
            runtime_api_version: "v1".to_owned(),
        }))
    }

    async fn status(&self, request: Request<proto::StatusRequest>) -> Answer<proto::StatusResponse> {
        let request = self.enter("status", request).await?;
        let condition = |kind: &str, status: bool, reason: &str| proto::RuntimeCondition {
            r#type: kind.to_owned(),
            status,
            reason: reason.to_owned(),
            message: String::new(),
        };
        let conditions = vec![
            condition("RuntimeReady", true, ""),
            condition("NetworkReady", false, "NetworkPluginNotReady"),
        ];
        let info = if request.verbose { self.state().status_info.clone() } else { BTreeMap::new() };
        let status = Some(proto::RuntimeStatus { conditions });
        Ok(Response::new(proto::StatusResponse { status, info, ..Default::default() }))
    }

    async fn runtime_config(
        &self,
        request: Request<proto::RuntimeConfigRequest>,
    ) -> Answer<proto::RuntimeConfigResponse> {
        self.enter("runtime_config", request).await?;
        match self.state().cgroup_driver {
            Some(driver) => {
                let linux = Some(proto::LinuxRuntimeConfiguration { cgroup_driver: driver.into() });
                Ok(Response::new(proto::RuntimeConfigResponse { linux }))
            }
            None => Err(Status::unimplemented(
                "unknown method RuntimeConfig for service runtime.v1.RuntimeService",
            )),
        }
    }

    async fn list_pod_sandbox(
        &self,
        request: Request<proto::ListPodSandboxRequest>,
    ) -> Answer<proto::ListPodSandboxResponse> {
        self.enter("list_pod_sandbox", request).await?;
        let items = self.state().sandboxes.iter().map(|(listed, _)| listed.clone()).collect();
        Ok(Response::new(proto::ListPodSandboxResponse { items }))
    }

    async fn pod_sandbox_status(
        &self,
        request: Request<proto::PodSandboxStatusRequest>,
    ) -> Answer<proto::PodSandboxStatusResponse> {
        let id = self.enter("pod_sandbox_status", request).await?.pod_sandbox_id;
        let status = self
            .state()
            .sandboxes
            .iter()
            .find(|(listed, _)| listed.id == id)
            .map(|(_, status)| status.clone());
        match status {
            Some(status) => Ok(Response::new(proto::PodSandboxStatusResponse {
                status: Some(status),
                ..Default::default()
            })),
            None => Err(Status::not_found(format!("sandbox {id} not found"))),
        }
    }

    async fn list_containers(
        &self,
        request: Request<proto::ListContainersRequest>,
    ) -> Answer<proto::ListContainersResponse> {
        let filter = self.enter("list_containers", request).await?.filter.unwrap_or_default();
        let wanted = |listed: &proto::Container| {
            filter.pod_sandbox_id.is_empty() || filter.pod_sandbox_id == listed.pod_sandbox_id
        };
        let containers =
            self.state().containers.iter().map(|(listed, _)| listed.clone()).filter(wanted).collect();
        Ok(Response::new(proto::ListContainersResponse { containers }))
    }

    async fn container_status(
        &self,
        request: Request<proto::ContainerStatusRequest>,
    ) -> Answer<proto::ContainerStatusResponse> {
        let id = self.enter("container_status", request).await?.container_id;
        let found = self
            .state()
            .containers
            .iter()
            .find(|(_, status)| status.id == id)
            .map(|(_, status)| status.clone());
        match found {
            Some(status) => Ok(Response::new(proto::ContainerStatusResponse {
                status: Some(status),
                info: BTreeMap::new(),
            })),
            None => Err(Status::not_found(format!("container {id} not found"))),
        }
    }

    async fn run_pod_sandbox(
        &self,
        request: Request<proto::RunPodSandboxRequest>,
    ) -> Answer<proto::RunPodSandboxResponse> {
        let request = self.enter("run_pod_sandbox", request).await?;
        self.state().sandbox_requests.push(request);
        Ok(Response::new(proto::RunPodSandboxResponse { pod_sandbox_id: "s1".to_owned() }))
    }

    async fn stop_pod_sandbox(
        &self,
        request: Request<proto::StopPodSandboxRequest>,
    ) -> Answer<proto::StopPodSandboxResponse> {
        self.enter("stop_pod_sandbox", request).await?;
        Ok(Response::new(proto::StopPodSandboxResponse {}))
    }

    async fn remove_pod_sandbox(
        &self,
        request: Request<proto::RemovePodSandboxRequest>,
    ) -> Answer<proto::RemovePodSandboxResponse> {
        let id = self.enter("remove_pod_sandbox", request).await?.pod_sandbox_id;
        let containers: Vec<String> =
            self.state().containers.iter().map(|(held, _)| held.id.clone()).collect();
        for id in containers.iter().chain([&id]) {
            self.must_have_no_task(id)?;
        }
        Ok(Response::new(proto::RemovePodSandboxResponse {}))
    }

    async fn create_container(
        &self,
        request: Request<proto::CreateContainerRequest>,
    ) -> Answer<proto::CreateContainerResponse> {
        let request = self.enter("create_container", request).await?;
        self.state().container_requests.push(request);
        Ok(Response::new(proto::CreateContainerResponse { container_id: "c1".to_owned() }))
    }

    async fn start_container(
        &self,
        request: Request<proto::StartContainerRequest>,
    ) -> Answer<proto::StartContainerResponse> {
        self.enter("start_container", request).await?;
        Ok(Response::new(proto::StartContainerResponse {}))
    }

    async fn stop_container(
        &self,
        request: Request<proto::StopContainerRequest>,
    ) -> Answer<proto::StopContainerResponse> {
        let request = self.enter("stop_container", request).await?;
        self.state().stop_requests.push(request);
        Ok(Response::new(proto::StopContainerResponse {}))
    }

    async fn remove_container(
        &self,
        request: Request<proto::RemoveContainerRequest>,
    ) -> Answer<proto::RemoveContainerResponse> {
        let id = self.enter("remove_container", request).await?.container_id;
        self.must_have_no_task(&id)?;
        self.state().removed.push(id);
        Ok(Response::new(proto::RemoveContainerResponse {}))
    }

    async fn exec_sync(&self, request: Request<proto::ExecSyncRequest>) -> Answer<proto::ExecSyncResponse> {
        let request = self.enter("exec_sync", request).await?;
        self.state().exec_requests.push(request);
        Ok(Response::new(self.state().exec.clone()))
    }
}

#[tonic::async_trait]
impl Tasks for Service {
    async fn kill(&self, request: Request<KillRequest>) -> Answer<()> {
        assert_eq!(request.metadata().get("containerd-namespace").expect("a namespace"), "k8s.io");
        let request = self.enter("kill_task", request).await?;
        match self.state().forgotten.get_mut(&request.container_id) {
            Some(killed) => *killed = request.signal == 9 && request.all,
            None => return Err(Status::not_found("no such task")),
        }
        Ok(Response::new(()))
    }

    async fn delete(&self, request: Request<DeleteTaskRequest>) -> Answer<DeleteResponse> {
        assert_eq!(request.metadata().get("containerd-namespace").expect("a namespace"), "k8s.io");
        let id = self.enter("delete_task", request).await?.container_id;
        match self.state().forgotten.get(&id) {
            Some(true) => {}
            Some(false) => {
                return Err(Status::failed_precondition("task must be stopped before deletion: running"));
            }
            None => return Err(Status::not_found("no such task")),
        }
        self.state().forgotten.remove(&id);
        Ok(Response::new(DeleteResponse { exit_status: 137 }))
    }
}

#[tonic::async_trait]
impl ImageService for Service {
    async fn image_status(
        &self,
        request: Request<proto::ImageStatusRequest>,
    ) -> Answer<proto::ImageStatusResponse> {
        self.enter("image_status", request).await?;
        Ok(Response::new(proto::ImageStatusResponse {
            image: self.state().image.clone(),
            info: BTreeMap::new(),
        }))
    }

    async fn pull_image(
        &self,
        request: Request<proto::PullImageRequest>,
    ) -> Answer<proto::PullImageResponse> {
        let request = self.enter("pull_image", request).await?;
        let mut state = self.state();
        let password = request.auth.as_ref().map(|auth| auth.password.clone()).unwrap_or_default();
        state.pull_requests.push(request);
        match state.passwords.is_empty() || state.passwords.contains(&password) {
            true => Ok(Response::new(proto::PullImageResponse { image_ref: "sha256:1".to_owned() })),
            false => Err(Status::unknown("failed to authorize: 401 Unauthorized")),
        }
    }

    async fn remove_image(
        &self,
        request: Request<proto::RemoveImageRequest>,
    ) -> Answer<proto::RemoveImageResponse> {
        self.enter("remove_image", request).await?;
        Ok(Response::new(proto::RemoveImageResponse {}))
    }
}

/// The server and the directory of its socket. It runs in a runtime of its own, so that killing it
/// takes all its connections with it.
pub(super) struct Fake {
    service: Service,
    directory: tempfile::TempDir,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Fake {
    /// Starts a server.
    pub(super) fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut fake = Self { service: Service::default(), directory, running: None };
        fake.serve();
        fake
    }

    /// Starts to serve, on the same socket with the same state.
    pub(super) fn serve(&mut self) {
        let listener = std::os::unix::net::UnixListener::bind(self.path()).expect("the directory is ours");
        listener.set_nonblocking(true).expect("a socket can be");
        let (kill, killed) = oneshot::channel();
        let service = self.service.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(service.serve(listener, killed));
        });
        self.running = Some((kill, thread));
    }

    /// Ends the server, its connections and its socket.
    pub(super) fn kill(&mut self) {
        let (kill, thread) = self.running.take().expect("it runs");
        kill.send(()).expect("it waits for the end");
        thread.join().expect("it ends in peace");
        std::fs::remove_file(self.path()).expect("the socket is ours");
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.service.state()
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().join("containerd.sock")
    }

    /// Returns an adapter that is connected to the server.
    pub(super) fn cri(&self, deadlines: Deadlines) -> Cri {
        Cri::new(CriOptions { endpoint: endpoint(&self.path()), image_endpoint: None, deadlines })
    }
}

pub(super) fn endpoint(path: &Path) -> SocketEndpoint {
    SocketEndpoint::parse(&format!("unix://{}", path.display())).expect("an absolute path")
}
