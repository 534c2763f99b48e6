//! The pages of containers and updates, and what their forms post to.

use axum::http::Method;

use super::{containers, updates};
use crate::app::auth::Role;
use crate::http::access::{Access, Routes};

const LOOK: Access = Access::Page(Role::Viewer);
const ACT: Access = Access::Page(Role::Operator);
const ADMINISTER: Access = Access::Page(Role::Admin);

/// Adds them all. The audit log knows what a form does by the word of the API's route that does the same.
pub(in crate::http) fn add(routes: Routes) -> Routes {
    of_registries(of_rules(of_rollouts(of_updates(of_containers(routes)))))
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
    let policy = |rest: &str| below(updates::POLICIES, rest);
    let window = |rest: &str| below(updates::WINDOWS, rest);
    routes
        .page(LOOK, Method::GET, updates::POLICIES, updates::show_policies)
        .page(ADMINISTER, Method::GET, &policy("/new"), updates::new_policy)
        .page(LOOK, Method::GET, &policy("/{id}"), updates::edit_policy)
        .form(
            ADMINISTER,
            "update_policy.create",
            updates::POLICIES,
            updates::add_policy,
        )
        .form(
            ADMINISTER,
            "update_policy.change",
            &policy("/{id}"),
            updates::change_policy,
        )
        .form(
            ADMINISTER,
            "update_policy.delete",
            &policy("/{id}/delete"),
            updates::delete_policy,
        )
        .page(LOOK, Method::GET, updates::WINDOWS, updates::show_windows)
        .page(ADMINISTER, Method::GET, &window("/new"), updates::new_window)
        .page(LOOK, Method::GET, &window("/{id}"), updates::edit_window)
        .form(
            ADMINISTER,
            "maintenance_window.create",
            updates::WINDOWS,
            updates::add_window,
        )
        .form(
            ADMINISTER,
            "maintenance_window.change",
            &window("/{id}"),
            updates::change_window,
        )
        .form(
            ADMINISTER,
            "maintenance_window.delete",
            &window("/{id}/delete"),
            updates::delete_window,
        )
}

fn of_registries(routes: Routes) -> Routes {
    let one = |rest: &str| below(updates::REGISTRIES, rest);
    routes
        .page(LOOK, Method::GET, updates::REGISTRIES, updates::show_registries)
        .page(ADMINISTER, Method::GET, &one("/new"), updates::new_registry)
        .page(ADMINISTER, Method::GET, &one("/{id}"), updates::edit_registry)
        .form(
            ADMINISTER,
            "registry.create",
            updates::REGISTRIES,
            updates::add_registry,
        )
        .form(
            ADMINISTER,
            "registry.change",
            &one("/{id}"),
            updates::change_registry,
        )
        .form(
            ADMINISTER,
            "registry.validate",
            &one("/{id}/validate"),
            updates::validate_registry,
        )
        .form(
            ADMINISTER,
            "registry.delete",
            &one("/{id}/delete"),
            updates::delete_registry,
        )
}
