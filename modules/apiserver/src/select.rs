//! Label and field selectors.

pub(crate) mod field;
pub(crate) mod label;

use crate::server::error::ApiError;
use crate::server::query::Query;
use crate::storage::object::{Key, Stored};

/// Which objects of a resource a request is about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    labels: label::Selector,
    fields: field::Selector,
}

impl Selection {
    /// Reads the selectors of a query for objects of one kind in the stored form's space.
    pub(crate) fn of(query: &Query, space: &str, selectable: &[String]) -> Result<Self, ApiError> {
        Ok(Self {
            labels: label::Selector::parse(query.get("labelSelector").unwrap_or_default())?,
            fields: field::Selector::parse(
                query.get("fieldSelector").unwrap_or_default(),
                space,
                selectable,
            )?,
        })
    }

    /// Adds the requirement of one name, as a single object's watch has it.
    pub(crate) fn named(mut self, name: &str) -> Self {
        self.fields.require_name(name);
        self
    }

    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(crate) fn matches(&self, key: &Key, object: &Stored) -> bool {
        self.labels.matches(&object.labels) && self.fields.matches(key, object)
    }
}
