//! What a watch asks of an API server that lists, and then fails every watch.

use std::cell::RefCell;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::client::Body;
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Client};
use kube_watch::{Resume, Told, Watch};
use serde_json::{Value, json};
use tokio::time::Instant;

/// Answers to lists, refuses watches, and notes what was asked.
fn server(refusal: StatusCode, asked: Arc<Mutex<Vec<&'static str>>>) -> Client {
    let answer = move |request: Request<Body>| {
        let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        asked.lock().expect("no holder panics").push(if is_watch { "watch" } else { "list" });
        let (status, body) = if is_watch { (refusal, refused(refusal)) } else { (StatusCode::OK, list()) };
        let body = Body::from(body.to_string().into_bytes());
        let response = Response::builder().status(status).header("content-type", "application/json");
        let response = response.body(body).expect("a response");
        async move { Ok::<_, Infallible>(response) }
    };
    Client::new(tower::service_fn(answer), "default")
}

fn list() -> Value {
    json!({ "kind": "ConfigMapList", "apiVersion": "v1", "metadata": { "resourceVersion": "7" }, "items": [] })
}

fn refused(status: StatusCode) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "reason": "Refused", "message": "no watch", "code": status.as_u16(),
    })
}

/// Returns what was asked and told up to the second failure, and how long that took.
async fn until_second_failure(
    refusal: StatusCode,
    resume: Resume,
) -> (Vec<&'static str>, Vec<&'static str>, Duration) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let api = Api::<ConfigMap>::all(server(refusal, Arc::clone(&asked)));
    let told = RefCell::new(Vec::new());
    let began = Instant::now();
    let watch = Watch::new(api, Config::default(), "config maps", resume, [7; 16]);
    watch
        .run(async |event| {
            let mut told = told.borrow_mut();
            told.push(match event {
                Told::Event(Event::Init) => "begin",
                Told::Event(Event::InitDone) => "end",
                Told::Event(_) => "object",
                Told::Lost => "lost",
            });
            told.iter().filter(|told| **told == "lost").count() < 2
        })
        .await;
    let asked = asked.lock().expect("no holder panics").clone();
    (asked, told.into_inner(), began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_failed_watch_goes_on_from_its_last_version_or_lists_anew_as_it_was_asked() {
    let broken = StatusCode::INTERNAL_SERVER_ERROR;
    let (asked, told, _) = until_second_failure(broken, Resume::FromLast).await;
    assert_eq!(asked, ["list", "watch", "watch"]);
    assert_eq!(told, ["begin", "end", "lost", "lost"]);
    let (asked, told, _) = until_second_failure(broken, Resume::Anew).await;
    assert_eq!(asked, ["list", "watch", "list", "watch"]);
    assert_eq!(told, ["begin", "end", "lost", "begin", "end", "lost"]);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_too_old_is_followed_by_a_list() {
    let (asked, told, _) = until_second_failure(StatusCode::GONE, Resume::FromLast).await;
    assert_eq!(asked, ["list", "watch", "list", "watch"]);
    assert_eq!(told, ["begin", "end", "lost", "begin", "end", "lost"]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_between_a_failure_and_the_next_try() {
    let (_, _, took) = until_second_failure(StatusCode::INTERNAL_SERVER_ERROR, Resume::FromLast).await;
    assert!((Duration::from_millis(500)..Duration::from_millis(1500)).contains(&took), "{took:?}");
}
