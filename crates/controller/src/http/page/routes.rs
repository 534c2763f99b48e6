//! The pages of containers and updates, and what their forms post to.

use axum::http::Method;
use muster_update::{Policy, Window};

use super::{containers, sheet, updates};
use crate::app::auth::Role;
use crate::app::registries::RegistryView;
use crate::http::access::{Access, Routes};
use crate::update::Kept;

const LOOK: Access = Access::Page(Role::Viewer);
const ACT: Access = Access::Page(Role::Operator);
const ADMINISTER: Access = Access::Page(Role::Admin);

/// Adds them all. The audit log knows what a form does by the word of the API's route that does the same.
pub(in crate::http) fn add(routes: Routes) -> Routes {
    of_rules(of_rollouts(of_updates(of_containers(routes))))
}

fn below(path: &str, rest: &str) -> String {
    format!("{path}{rest}")
}

fn of_containers(routes: Routes) -> Routes {
    let one = |rest: &str| below(containers::PATH, rest);
    routes
        .page(LOOK, Method::GET, containers::PATH, containers::show)
        .page(LOOK, Method::GET, &one("/{id}"), containers::show_one)
        .form(ACT, "container.start", &one("/{id}/start"), containers::start)
        .form(ACT, "container.stop", &one("/{id}/stop"), containers::stop)
        .form(
            ACT,
            "container.restart",
            &one("/{id}/restart"),
            containers::restart,
        )
        .form(ACT, "container.logs", &one("/{id}/logs"), containers::logs)
        .form(ACT, "container.forget", &one("/{id}/forget"), containers::forget)
        .form(ACT, "update.check", &one("/{id}/check"), containers::check)
}

fn of_updates(routes: Routes) -> Routes {
    let one = |rest: &str| below(updates::PATH, rest);
    routes
        .page(LOOK, Method::GET, updates::PATH, updates::show)
        .page(LOOK, Method::GET, updates::HISTORY, updates::show_history)
        .form(ACT, "update.check", &one("/check"), updates::check_all)
        .form(ACT, "update.approve", &one("/approve"), updates::approve_chosen)
        .form(ACT, "update.reject", &one("/reject"), updates::reject_chosen)
        .form(ACT, "update.approve", &one("/{id}/approve"), updates::approve)
        .form(ACT, "update.reject", &one("/{id}/reject"), updates::reject)
        .form(ACT, "update.execute", &one("/{id}/execute"), updates::execute)
        .form(ACT, "update.rehearse", &one("/{id}/rehearse"), updates::rehearse)
        .form(ACT, "update.rollback", &one("/{id}/rollback"), updates::roll_back)
        .form(ACT, "update.freeze", &one("/freeze"), updates::set_freeze)
        .form(
            ADMINISTER,
            "bad_digest.forgive",
            &one("/forgive"),
            updates::forgive,
        )
}

fn of_rollouts(routes: Routes) -> Routes {
    let one = |rest: &str| below(updates::ROLLOUTS, rest);
    routes
        .page(LOOK, Method::GET, updates::ROLLOUTS, updates::show_rollouts)
        .form(ACT, "rollout.create", updates::ROLLOUTS, updates::begin_rollout)
        .page(LOOK, Method::GET, &one("/{id}"), updates::show_rollout)
        .form(ACT, "rollout.pause", &one("/{id}/pause"), updates::pause_rollout)
        .form(
            ACT,
            "rollout.resume",
            &one("/{id}/resume"),
            updates::resume_rollout,
        )
        .form(ACT, "rollout.abort", &one("/{id}/abort"), updates::abort_rollout)
}

fn of_rules(routes: Routes) -> Routes {
    let routes = routes
        .page(LOOK, Method::GET, updates::POLICIES, updates::show_policies)
        .page(LOOK, Method::GET, updates::WINDOWS, updates::show_windows)
        .page(LOOK, Method::GET, updates::REGISTRIES, updates::show_registries)
        .form(
            ADMINISTER,
            "registry.validate",
            &below(updates::REGISTRIES, "/{id}/validate"),
            updates::validate_registry,
        );
    let routes = sheet::add::<Kept<Policy>>(routes);
    let routes = sheet::add::<Kept<Window>>(routes);
    sheet::add::<RegistryView>(routes)
}
