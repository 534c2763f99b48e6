//! Policies and windows: keeping, changing, deleting.

use muster_update::{Policy, PolicyBody, Window, WindowBody};

use super::{DOCUMENTS_MAX, FieldProblem, UpdateError, Updates, model};
use crate::store::{DocumentKind, DocumentRow};

/// A policy or window with what is known of it.
#[derive(Debug, Clone)]
pub struct Kept<T> {
    /// It.
    pub document: T,
    /// When it was made, Unix ms.
    pub created_ms: i64,
    /// When it was changed last, Unix ms.
    pub updated_ms: i64,
    /// Who changed it last.
    pub updated_by: String,
}

fn kept<T>(row: &DocumentRow, document: T) -> Kept<T> {
    Kept {
        document,
        created_ms: row.created_ms,
        updated_ms: row.updated_ms,
        updated_by: row.updated_by.clone(),
    }
}

fn corrupt(what: &'static str, problems: &[FieldProblem]) -> UpdateError {
    let value = problems
        .first()
        .map(|problem| format!("{}: {}", problem.field, problem.message));
    UpdateError::Store(crate::store::StoreError::Corrupt {
        what,
        value: value.unwrap_or_default(),
    })
}

impl Updates {
    /// Every policy, by number.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn kept_policies(&self) -> Result<Vec<Kept<Policy>>, UpdateError> {
        let rows = self.app().store().documents(DocumentKind::Policy).await?;
        let read = |row: DocumentRow| {
            let body: PolicyBody = model::read("update_policy.body", row.body.clone())?;
            let mut policy =
                Policy::read(body).map_err(|problems| corrupt("update_policy.body", &problems))?;
            policy.id = row.id;
            Ok(kept(&row, policy))
        };
        rows.into_iter().map(read).collect()
    }

    /// Every window, by number.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn kept_windows(&self) -> Result<Vec<Kept<Window>>, UpdateError> {
        let rows = self.app().store().documents(DocumentKind::Window).await?;
        let read = |row: DocumentRow| {
            let body: WindowBody = model::read("maintenance_window.body", row.body.clone())?;
            let window = Window::from_stored(row.id, body)
                .map_err(|problems| corrupt("maintenance_window.body", &problems))?;
            Ok(kept(&row, window))
        };
        rows.into_iter().map(read).collect()
    }

    /// Keeps a policy; with a number it replaces the one that has it.
    ///
    /// # Errors
    /// [`UpdateError::Invalid`], [`UpdateError::NotFound`], [`UpdateError::TooMany`] or a failure of the database.
    pub async fn put_policy(
        &self,
        id: Option<i64>,
        body: PolicyBody,
        by: &str,
    ) -> Result<Kept<Policy>, UpdateError> {
        let mut policy = Policy::read(body).map_err(UpdateError::Invalid)?;
        let mut problems = Vec::new();
        let mut missing = |field: &str, id: i64| {
            problems.push(FieldProblem {
                field: field.to_owned(),
                message: format!("{id} is not there"),
            });
        };
        if let Some(window) = policy.body.maintenance_window_id
            && !self.windows().await?.iter().any(|known| known.id == window)
        {
            missing("maintenance_window_id", window);
        }
        let channels = self.app().store().channels().await?;
        for channel in &policy.body.notification_channels {
            if !channels.iter().any(|known| known.id == *channel) {
                missing("notification_channels", *channel);
            }
        }
        if !problems.is_empty() {
            return Err(UpdateError::Invalid(problems));
        }
        let known = self.kept_policies().await?;
        let old = known
            .iter()
            .find(|kept| Some(kept.document.id) == id)
            .map(|kept| kept.created_ms);
        let body = model::write(&policy.body)?;
        let row = self
            .put(DocumentKind::Policy, id, old, known.len(), body, by)
            .await?;
        policy.id = row.id;
        Ok(kept(&row, policy))
    }

    /// Keeps a window; with a number it replaces the one that has it.
    ///
    /// # Errors
    /// [`UpdateError::Invalid`], [`UpdateError::NotFound`], [`UpdateError::TooMany`] or a failure of the database.
    pub async fn put_window(
        &self,
        id: Option<i64>,
        body: WindowBody,
        by: &str,
    ) -> Result<Kept<Window>, UpdateError> {
        let mut window = Window::read(body, self.now_ms()).map_err(UpdateError::Invalid)?;
        let known = self.kept_windows().await?;
        let old = known
            .iter()
            .find(|kept| Some(kept.document.id) == id)
            .map(|kept| kept.created_ms);
        let body = model::write(&window.body)?;
        let row = self
            .put(DocumentKind::Window, id, old, known.len(), body, by)
            .await?;
        window.id = row.id;
        Ok(kept(&row, window))
    }

    async fn put(
        &self,
        kind: DocumentKind,
        id: Option<i64>,
        old: Option<i64>,
        count: usize,
        body: serde_json::Value,
        by: &str,
    ) -> Result<DocumentRow, UpdateError> {
        match (id, old) {
            (Some(id), None) => {
                return Err(UpdateError::NotFound { what: word(kind), id });
            }
            (None, _) if DOCUMENTS_MAX <= count => return Err(UpdateError::TooMany(DOCUMENTS_MAX)),
            _ => {}
        }
        let now_ms = self.now_ms();
        let mut row = DocumentRow {
            id: id.unwrap_or(0),
            body,
            created_ms: old.unwrap_or(now_ms),
            updated_ms: now_ms,
            updated_by: by.to_owned(),
        };
        row.id = self.app().store().put_document(kind, &row).await?;
        Ok(row)
    }

    /// Deletes a policy.
    ///
    /// # Errors
    /// [`UpdateError::NotFound`] or a failure of the database.
    pub async fn delete_policy(&self, id: i64) -> Result<(), UpdateError> {
        self.delete(DocumentKind::Policy, id).await
    }

    /// Deletes a window that no policy names.
    ///
    /// # Errors
    /// [`UpdateError::State`] if one does, [`UpdateError::NotFound`] or a failure of the database.
    pub async fn delete_window(&self, id: i64) -> Result<(), UpdateError> {
        let policies = self.policies().await?;
        let mut using = policies.iter();
        if let Some(policy) = using.find(|policy| policy.body.maintenance_window_id == Some(id)) {
            return Err(UpdateError::State(format!(
                "policy {} ({:?}) waits for it: change that first",
                policy.id, policy.body.name
            )));
        }
        self.delete(DocumentKind::Window, id).await
    }

    async fn delete(&self, kind: DocumentKind, id: i64) -> Result<(), UpdateError> {
        if self.app().store().delete_document(kind, id).await? {
            return Ok(());
        }
        Err(UpdateError::NotFound { what: word(kind), id })
    }
}

const fn word(kind: DocumentKind) -> &'static str {
    match kind {
        DocumentKind::Policy => "update policy",
        DocumentKind::Window => "maintenance window",
    }
}
