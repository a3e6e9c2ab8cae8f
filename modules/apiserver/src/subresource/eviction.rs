//! Evicting a pod: a deletion that disruption budgets may refuse.

use serde_json::{Value, json};

use crate::select::label;
use crate::server::call::{Call, Wanted};
use crate::server::error::ApiError;
use crate::server::reply::Reply;
use crate::storage::Transaction;
use crate::storage::object::Stored;
use crate::verbs::create::carry_out;
use crate::verbs::delete::{DeleteOptions, remove};

const BUDGETS: &str = "policy/poddisruptionbudgets";

pub(crate) async fn evict(call: &Call, wanted: &Wanted) -> Result<Reply, ApiError> {
    let eviction = call.decode()?.value;
    let named = crate::server::meta::text(&eviction, "name");
    if !named.is_empty() && named != wanted.name() {
        return Err(ApiError::bad_request("name in URL does not match name in Eviction object"));
    }
    let mut body = eviction["deleteOptions"].clone();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("kind");
    }
    let mut options = DeleteOptions::of_value(&body)?;
    options.dry |= call.query.dry_run()?;
    carry_out(call, options.dry, |transaction| {
        let pod =
            transaction.get(&wanted.resource.storage, &wanted.key()).ok_or_else(|| wanted.not_found())?;
        if !pod.deleting && !has_ended(&pod) {
            spend_budget(transaction, wanted, &pod)?;
        }
        remove(call, &wanted.resource, transaction, &wanted.key(), &options)
    })
    .await?;
    Ok(Reply::created())
}

fn has_ended(pod: &Stored) -> bool {
    matches!(pod.bare_value()["status"]["phase"].as_str(), Some("Succeeded" | "Failed" | "Pending"))
}

fn spend_budget(transaction: &mut Transaction<'_>, wanted: &Wanted, pod: &Stored) -> Result<(), ApiError> {
    let budgets = transaction.list(BUDGETS, Some(wanted.namespace()));
    let covering = |budget: &Stored| label::selects(&budget.bare_value()["spec"]["selector"], &pod.labels);
    let budgets: Vec<_> = budgets.into_iter().filter(|(_, budget)| covering(budget)).collect();
    match budgets.as_slice() {
        [] => Ok(()),
        [(key, budget)] => {
            let mut value = budget.bare_value();
            let allowed = value["status"]["disruptionsAllowed"].as_i64().unwrap_or_default();
            if allowed <= 0 {
                return Err(refused(&value, &key.name));
            }
            value["status"]["disruptionsAllowed"] = (allowed - 1).into();
            transaction.put(&BUDGETS.into(), key.clone(), value).map(drop)
        }
        _ => Err(ApiError::internal(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        )),
    }
}

fn refused(budget: &Value, name: &str) -> ApiError {
    let message = "Cannot evict pod as it would violate the pod's disruption budget.";
    let healthy = |field: &str| budget["status"][field].as_i64().unwrap_or_default();
    let cause = format!(
        "The disruption budget {name} needs {} healthy pods and has {} currently",
        healthy("desiredHealthy"),
        healthy("currentHealthy")
    );
    ApiError::new(429, "TooManyRequests", message)
        .with_details(json!({"causes": [{"reason": "DisruptionBudget", "message": cause}]}))
}
