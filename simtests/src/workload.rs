//! What users do with the cluster, and what was acknowledged to them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Error};
use serde_json::{Value, json};

/// One thing that a user does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Makes a pod on an edge that mounts a config map and a secret.
    CreatePod {
        /// Which pod.
        number: u32,
        /// Where.
        edge: String,
        /// Which config map and secret.
        config: u32,
    },
    /// Deletes a pod.
    DeletePod {
        /// Which pod.
        number: u32,
        /// Seconds of grace.
        grace: u32,
    },
    /// Gives a config map a new content.
    ChangeConfigMap {
        /// Which one.
        number: u32,
    },
    /// Gives a secret a new content.
    ChangeSecret {
        /// Which one.
        number: u32,
    },
}

/// What is known of the content of a config map or secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Content {
    /// The newest content that was acknowledged; 0 for none.
    pub(crate) acknowledged: u64,
    /// The newest content that was sent.
    pub(crate) sent: u64,
}

/// What is known of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    /// Its uid, if its making was acknowledged.
    pub(crate) uid: Option<String>,
    /// Whether its deletion was asked for, with an answer or without.
    pub(crate) is_deleted: bool,
}

/// What users did, and what they were told.
#[derive(Debug, Default)]
pub(crate) struct Workload {
    contents: u64,
    pub(crate) config_maps: BTreeMap<String, Content>,
    pub(crate) secrets: BTreeMap<String, Content>,
    pub(crate) pods: BTreeMap<String, Made>,
}

/// The key under which a content has its number.
pub(crate) const MARK: &str = "mark";

fn pod(name: &str, edge: &str, config: u32) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": {
            "nodeName": edge,
            "terminationGracePeriodSeconds": 2,
            // Pods of users who do not want them moved: nothing but their users deletes them.
            "tolerations": [{ "operator": "Exists" }],
            "automountServiceAccountToken": false,
            "containers": [
                { "name": "first", "image": "example.com/app:1", "volumeMounts": [
                    { "name": "config", "mountPath": "/config" }, { "name": "secret", "mountPath": "/secret" },
                ] },
                { "name": "second", "image": "example.com/app:2" },
            ],
            "volumes": [
                { "name": "config", "configMap": { "name": format!("config-{config}") } },
                { "name": "secret", "secret": { "secretName": format!("secret-{config}") } },
            ],
        },
    })
}

impl Workload {
    /// Makes what pods will refer to. Called before anything goes wrong.
    pub(crate) async fn prepare(&mut self, kube: &Client, configs: u32) -> Result<(), Error> {
        let post = PostParams::default();
        for number in 0..configs {
            self.contents += 1;
            let content = Content { acknowledged: self.contents, sent: self.contents };
            let mark = BTreeMap::from([(MARK.to_owned(), self.contents.to_string())]);
            let (config, secret) = (format!("config-{number}"), format!("secret-{number}"));
            let mut map = ConfigMap { data: Some(mark.clone()), ..ConfigMap::default() };
            map.metadata.name = Some(config.clone());
            Api::<ConfigMap>::default_namespaced(kube.clone()).create(&post, &map).await?;
            self.config_maps.insert(config, content);
            let mut object = Secret { string_data: Some(mark), ..Secret::default() };
            object.metadata.name = Some(secret.clone());
            Api::<Secret>::default_namespaced(kube.clone()).create(&post, &object).await?;
            self.secrets.insert(secret, content);
        }
        Ok(())
    }

    /// Does a piece of work. Returns what came of it, for the trace.
    pub(crate) async fn act(&mut self, kube: &Client, work: &Work) -> String {
        let outcome = match work {
            Work::CreatePod { number, edge, config } => {
                self.create_pod(kube, &format!("pod-{number}"), edge, *config).await
            }
            Work::DeletePod { number, grace } => {
                self.delete_pod(kube, &format!("pod-{number}"), *grace).await
            }
            Work::ChangeConfigMap { number } => {
                let name = format!("config-{number}");
                let (content, mark) = Self::next(&mut self.contents, &mut self.config_maps, &name);
                let patch = Patch::Merge(json!({ "data": { MARK: mark.to_string() } }));
                let api = Api::<ConfigMap>::default_namespaced(kube.clone());
                let done = api.patch(&name, &PatchParams::default(), &patch).await;
                done.map(|_| content.acknowledged = mark)
            }
            Work::ChangeSecret { number } => {
                let name = format!("secret-{number}");
                let (content, mark) = Self::next(&mut self.contents, &mut self.secrets, &name);
                let patch = Patch::Merge(json!({ "stringData": { MARK: mark.to_string() } }));
                let api = Api::<Secret>::default_namespaced(kube.clone());
                let done = api.patch(&name, &PatchParams::default(), &patch).await;
                done.map(|_| content.acknowledged = mark)
            }
        };
        outcome.map_or_else(|error| error.to_string(), |()| "done".to_owned())
    }

    fn next<'a>(
        contents: &mut u64,
        of: &'a mut BTreeMap<String, Content>,
        name: &str,
    ) -> (&'a mut Content, u64) {
        *contents += 1;
        let content = of.entry(name.to_owned()).or_default();
        content.sent = *contents;
        (content, *contents)
    }

    async fn create_pod(&mut self, kube: &Client, name: &str, edge: &str, config: u32) -> Result<(), Error> {
        self.pods.entry(name.to_owned()).or_insert(Made { uid: None, is_deleted: false });
        let pod: Pod = serde_json::from_value(pod(name, edge, config)).map_err(Error::SerdeError)?;
        let made = Api::<Pod>::default_namespaced(kube.clone()).create(&PostParams::default(), &pod).await?;
        if let Some(known) = self.pods.get_mut(name) {
            known.uid = made.metadata.uid;
        }
        Ok(())
    }

    async fn delete_pod(&mut self, kube: &Client, name: &str, grace: u32) -> Result<(), Error> {
        let Some(known) = self.pods.get_mut(name) else { return Ok(()) };
        known.is_deleted = true;
        let params = DeleteParams::default().grace_period(grace);
        Api::<Pod>::default_namespaced(kube.clone()).delete(name, &params).await.map(drop)
    }
}
