//! The HTTP side: API, Prometheus text, the page. The only module that knows axum.
//!
//! Handlers are thin: read the request, call [`App`] or [`Series`], show the result. Who may call a route is decided in
//! one place (`access`), what a refusal looks like in another (`error`), and what surrounds every request in a third
//! (`middleware`). Nothing here knows tables, certificates or the agents' wire.

mod access;
mod agents;
mod alerts;
mod audit;
mod auth;
mod bulk;
mod channels;
mod client;
mod collect;
mod collectors;
mod commands;
mod containers;
mod devices;
mod enrolment_tokens;
mod error;
mod exposition;
mod extract;
mod federate;
mod follow;
mod health;
pub mod metrics;
mod middleware;
mod openapi;
mod page;
mod pools;
mod probes;
mod range;
mod registries;
mod resources;
mod rules;
mod scheduler;
mod serve;
mod servers;
mod targets;
#[cfg(test)]
mod tests;
mod tokens;
mod topology;
mod users;

use std::sync::{Arc, OnceLock};

use axum::extract::DefaultBodyLimit;
use axum::http::Method;
use axum::{Router, middleware as layer};
use tokio::sync::{Semaphore, watch};
use utoipa_axum::routes;

use crate::alert::Alerts;
use crate::app::auth::{AuthError, Role};
use crate::app::channels::ChannelError;
use crate::app::collect::Collecting;
use crate::app::enrolment::EnrolError;
use crate::app::registries::RegistryUseError;
use crate::app::series::{Series, SeriesError};
use crate::app::tokens::TokenError;
use crate::app::users::UserError;
use crate::app::{App, AppError};
use crate::config::Network;
use crate::grpc::control;
use crate::registry::Registries;
use crate::task::TaskStatuses;
use crate::update::Updates;
use access::{Access, Declared, Routes};
use error::{Code, Problem};
use metrics::Metrics;
pub use probes::{Readiness, readiness};
pub use serve::{Peer, serve};

/// What the HTTP side is made of.
pub struct Parts {
    /// The use-cases.
    pub app: Arc<App>,
    /// The sample store, with names joined.
    pub series: Series,
    /// Collecting now.
    pub collect: Collecting,
    /// What judges.
    pub alerts: Alerts,
    /// What registries say.
    pub registries: Registries,
    /// Updates of containers.
    pub updates: Updates,
    /// How the work goes that goes on by itself.
    pub tasks: TaskStatuses,
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
    /// Whether both ports accept and queries are complete.
    pub ready: watch::Receiver<Readiness>,
    /// Reverse proxies whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<Network>,
}

/// What handlers share. Cheap to clone.
#[derive(Clone)]
struct HttpState {
    app: Arc<App>,
    series: Series,
    collect: Collecting,
    alerts: Alerts,
    registries: Registries,
    updates: Updates,
    tasks: TaskStatuses,
    metrics: Arc<Metrics>,
    ready: watch::Receiver<Readiness>,
    requests: Arc<Semaphore>,
    followers: follow::Followers,
    trusted_proxies: Arc<[Network]>,
    /// Set once all routes are known.
    openapi: Arc<OnceLock<String>>,
}

impl HttpState {
    fn new(parts: Parts) -> Self {
        Self {
            app: parts.app,
            series: parts.series,
            collect: parts.collect,
            alerts: parts.alerts,
            registries: parts.registries,
            updates: parts.updates,
            tasks: parts.tasks,
            metrics: parts.metrics,
            ready: parts.ready,
            trusted_proxies: parts.trusted_proxies.into(),
            requests: Arc::new(Semaphore::new(middleware::REQUESTS_MAX)),
            followers: follow::Followers::default(),
            openapi: Arc::default(),
        }
    }
}

/// The whole router.
pub fn router(parts: Parts) -> Router {
    build(HttpState::new(parts)).0
}

/// The router and who may call what.
fn build(state: HttpState) -> (Router, Vec<Declared>) {
    let look = Access::Needs(Role::Viewer);
    let act = Access::Needs(Role::Operator);
    let administer = Access::Needs(Role::Admin);
    let routes = Routes::new(state.clone(), openapi::base())
        .add(Access::Public, routes!(probes::healthz))
        .add(Access::Public, routes!(probes::readyz))
        .add(Access::Public, routes!(auth::token))
        .add(look, routes!(auth::me))
        .change(look, "auth.logout", routes!(auth::logout))
        .add(look, routes!(openapi::openapi))
        .add(look, routes!(servers::list))
        .change(administer, "server.create", routes!(servers::create))
        .add(look, routes!(servers::get))
        .change(administer, "server.change", routes!(servers::patch))
        .change(administer, "server.delete", routes!(servers::delete))
        .change(administer, "server.enable", routes!(bulk::enable))
        .change(administer, "server.disable", routes!(bulk::disable))
        .add(look, routes!(agents::list))
        .change(administer, "agent.adopt", routes!(agents::adopt))
        .change(administer, "agent.revoke", routes!(agents::revoke))
        .change(act, "collect.all", routes!(collect::all))
        .change(act, "collect.one", routes!(collect::one))
        .add(look, routes!(resources::list))
        .add(look, routes!(resources::devices))
        .add(look, routes!(resources::device))
        .add(look, routes!(devices::list))
        .add(look, routes!(devices::verdict))
        .change(act, "device.acknowledge", routes!(devices::acknowledge))
        .change(act, "device.forget_baseline", routes!(devices::forget_baseline))
        .change(act, "device.set_overrides", routes!(devices::set_overrides))
        .add(look, routes!(collectors::collectors))
        .add(look, routes!(collectors::errors_of_server))
        .add(look, routes!(collectors::errors))
        .add(look, routes!(collectors::stats))
        .add(look, routes!(health::detailed))
        .add(look, routes!(range::range))
        .add(Access::Metrics, routes!(federate::federate))
        .add(Access::Metrics, routes!(targets::of_server))
        .add(Access::Metrics, routes!(targets::of_resource))
        .add(Access::Metrics, routes!(targets::discover))
        .add(Access::Metrics, routes!(metrics::metrics));
    let routes = containers::add(registry_routes(people(routes)));
    let (router, openapi, table) = pages(calls(
        notifications(scheduling(alerting(commanding(storage(routes))))),
        &state,
    ))
    .build();
    let document = openapi
        .to_json()
        .expect("the document has only texts and numbers");
    state
        .openapi
        .set(document)
        .expect("a state is built into one router only");
    let router = router
        .layer(DefaultBodyLimit::max(middleware::BODY_BYTES_MAX))
        .layer(layer::from_fn_with_state(state.clone(), middleware::surround))
        .with_state(state);
    (router, table)
}

/// Pools, and what rests on what.
fn storage(routes: Routes) -> Routes {
    let look = Access::Needs(Role::Viewer);
    routes
        .add(look, routes!(pools::of_server))
        .add(look, routes!(pools::list))
        .add(look, routes!(pools::one))
        .add(look, routes!(pools::history))
        .add(look, routes!(topology::of_server))
        .add(look, routes!(topology::impact))
}

/// What agents are asked to do.
fn commanding(routes: Routes) -> Routes {
    let look = Access::Needs(Role::Viewer);
    let act = Access::Needs(Role::Operator);
    let administer = Access::Needs(Role::Admin);
    routes
        .change(act, "command.request", routes!(commands::create))
        .add(look, routes!(commands::list))
        .add(look, routes!(commands::events::events))
        .add(look, routes!(commands::get))
        .change(act, "command.request_cancel", routes!(commands::cancel))
        .add(look, routes!(commands::key))
        .change(administer, "command.rotate_key", routes!(commands::rotate_key))
}

/// Who did what; accounts and tokens.
fn people(routes: Routes) -> Routes {
    let look = Access::Needs(Role::Viewer);
    let administer = Access::Needs(Role::Admin);
    routes
        .add(administer, routes!(audit::list))
        .add(look, routes!(users::me))
        .change(
            look,
            "user.change_own_password",
            routes!(users::change_own_password),
        )
        .add(administer, routes!(users::list))
        .change(administer, "user.create", routes!(users::create))
        .add(administer, routes!(users::get))
        .change(administer, "user.change", routes!(users::put))
        .change(administer, "user.delete", routes!(users::delete))
        .add(administer, routes!(enrolment_tokens::list))
        .change(
            administer,
            "enrolment_token.create",
            routes!(enrolment_tokens::create),
        )
        .change(
            administer,
            "enrolment_token.end",
            routes!(enrolment_tokens::delete),
        )
        .add(look, routes!(tokens::list))
        .change(look, "api_token.create", routes!(tokens::create))
        .change(look, "api_token.delete", routes!(tokens::delete))
}

/// Rules, alerts, silences.
fn alerting(routes: Routes) -> Routes {
    let look = Access::Needs(Role::Viewer);
    let act = Access::Needs(Role::Operator);
    let administer = Access::Needs(Role::Admin);
    routes
        .add(look, routes!(rules::list))
        .change(administer, "alert_rule.create", routes!(rules::create))
        .add(look, routes!(rules::export))
        .change(administer, "alert_rule.import", routes!(rules::import))
        .add(look, routes!(rules::test_new))
        .add(look, routes!(rules::get))
        .add(look, routes!(rules::test))
        .change(administer, "alert_rule.change", routes!(rules::patch))
        .change(administer, "alert_rule.delete", routes!(rules::delete))
        .add(look, routes!(alerts::list))
        .add(look, routes!(alerts::list_as_before))
        .add(look, routes!(alerts::stats::stats))
        .add(look, routes!(alerts::events::events))
        .change(act, "alert.acknowledge_all", routes!(alerts::acknowledge_all))
        .change(act, "alert.resolve_all", routes!(alerts::resolve_all))
        .add(look, routes!(alerts::get))
        .change(act, "alert.acknowledge", routes!(alerts::acknowledge))
        .change(act, "alert.resolve", routes!(alerts::resolve))
        .change(act, "alert.snooze", routes!(alerts::snooze))
        .add(look, routes!(rules::silences))
        .change(act, "silence.create", routes!(rules::create_silence))
        .change(act, "silence.change", routes!(rules::replace_silence))
        .change(act, "silence.delete", routes!(rules::delete_silence))
}

/// Registries, and what checks of images found.
fn registry_routes(routes: Routes) -> Routes {
    let look = Access::Needs(Role::Viewer);
    let administer = Access::Needs(Role::Admin);
    routes
        .add(administer, routes!(registries::list))
        .change(administer, "registry.create", routes!(registries::create))
        .add(administer, routes!(registries::get))
        .change(administer, "registry.change", routes!(registries::put))
        .change(administer, "registry.delete", routes!(registries::delete))
        .change(administer, "registry.validate", routes!(registries::validate))
        .add(look, routes!(registries::images))
}

/// Work that goes on by itself.
fn scheduling(routes: Routes) -> Routes {
    let look = Access::Needs(Role::Viewer);
    let act = Access::Needs(Role::Operator);
    routes
        .add(look, routes!(scheduler::status))
        .change(act, "task.run", routes!(scheduler::run))
        .change(act, "server.collect_all", routes!(collect::all_as_before))
}

/// Where news of alerts go, and what became of them.
fn notifications(routes: Routes) -> Routes {
    let look = Access::Needs(Role::Viewer);
    let act = Access::Needs(Role::Operator);
    let administer = Access::Needs(Role::Admin);
    routes
        .add(look, routes!(channels::list))
        .change(administer, "channel.create", routes!(channels::create))
        .add(look, routes!(channels::get))
        .change(administer, "channel.change", routes!(channels::patch))
        .change(administer, "channel.delete", routes!(channels::delete))
        .change(act, "channel.test", routes!(channels::test))
        .add(look, routes!(channels::deliveries))
        .change(act, "delivery.retry", routes!(channels::retry))
}

/// What programs call over gRPC.
fn calls(routes: Routes, state: &HttpState) -> Routes {
    let look = Access::Needs(Role::Viewer);
    let control = control::service(Arc::clone(&state.app), state.series.clone(), state.alerts.clone());
    let reflection = control::reflection();
    routes
        .calls(look, &control::CALLS, &control)
        .calls(look, &[control::REFLECTION], &reflection)
}

/// What people see.
fn pages(routes: Routes) -> Routes {
    let routes = routes
        .page(Access::Public, Method::GET, "/login", page::login_form)
        .page(Access::Public, Method::POST, "/login", page::login)
        .page(Access::Public, Method::GET, "/static/style.css", page::style)
        .page(Access::Public, Method::GET, "/static/live.js", page::script)
        .form(Access::Page(Role::Viewer), "auth.logout", "/logout", page::logout)
        .page(Access::Page(Role::Viewer), Method::GET, "/", page::fleet)
        .page(
            Access::Page(Role::Viewer),
            Method::GET,
            "/servers/{id}",
            page::server,
        )
        .page(
            Access::Page(Role::Viewer),
            Method::GET,
            "/devices/{id}",
            page::device,
        )
        .page(
            Access::Page(Role::Viewer),
            Method::GET,
            "/resources/{id}",
            page::resource,
        )
        .page(Access::Page(Role::Viewer), Method::GET, "/api/docs", page::docs);
    page::routes::add(accounts(alert_pages(routes)))
}

/// The pages of alerts, and what their forms post to.
fn alert_pages(routes: Routes) -> Routes {
    use page::{alerts, channels, rules, silences};
    let look = Access::Page(Role::Viewer);
    let act = Access::Page(Role::Operator);
    let administer = Access::Page(Role::Admin);
    let below = |path: &str, rest: &str| format!("{path}{rest}");
    let alert = |deed: &str| format!("{}/{{id}}/{deed}", alerts::PATH);
    routes
        .page(look, Method::GET, alerts::PATH, alerts::show)
        .page(look, Method::GET, &below(alerts::PATH, "/{id}"), alerts::show_one)
        .form(
            act,
            "alert.acknowledge",
            &alert("acknowledge"),
            alerts::acknowledge,
        )
        .form(act, "alert.resolve", &alert("resolve"), alerts::resolve)
        .form(act, "alert.snooze", &alert("snooze"), alerts::snooze)
        .form(
            act,
            "alert.acknowledge_all",
            &below(alerts::PATH, "/acknowledge-all"),
            alerts::acknowledge_all,
        )
        .form(
            act,
            "alert.resolve_all",
            &below(alerts::PATH, "/resolve-all"),
            alerts::resolve_all,
        )
        .page(look, Method::GET, rules::PATH, rules::show)
        .page(look, Method::GET, &below(rules::PATH, "/{id}"), rules::show_one)
        .form(
            administer,
            "alert_rule.change",
            &below(rules::PATH, "/{id}/{way}"),
            rules::set,
        )
        .page(look, Method::GET, silences::PATH, silences::show)
        .form(act, "silence.create", silences::PATH, silences::add)
        .form(
            act,
            "silence.delete",
            &below(silences::PATH, "/{id}/end"),
            silences::end,
        )
        .page(look, Method::GET, channels::PATH, channels::show)
        .form(
            act,
            "channel.test",
            &below(channels::PATH, "/{id}/test"),
            channels::test,
        )
        .form(
            act,
            "delivery.retry",
            &below(channels::PATH, "/deliveries/{id}/retry"),
            channels::retry,
        )
}

/// The page of accounts and tokens, and what its forms post to.
fn accounts(routes: Routes) -> Routes {
    use page::accounts;
    let admin = Access::Page(Role::Admin);
    let path = |rest: &str| format!("{}{rest}", accounts::PATH);
    routes
        .page(admin, Method::GET, accounts::PATH, accounts::show)
        .form(admin, "user.create", &path("/users"), accounts::add_user)
        .form(
            admin,
            "user.delete",
            &path("/users/{id}/delete"),
            accounts::delete_user,
        )
        .form(
            admin,
            "user.change",
            &path("/users/{id}/{way}"),
            accounts::switch_user,
        )
        .form(admin, "api_token.create", &path("/tokens"), accounts::add_token)
        .form(
            admin,
            "api_token.delete",
            &path("/tokens/{id}/delete"),
            accounts::delete_token,
        )
        .form(
            admin,
            "enrolment_token.create",
            &path("/enrolment"),
            accounts::add_enrolment,
        )
        .form(
            admin,
            "enrolment_token.end",
            &path("/enrolment/{id}/end"),
            accounts::end_enrolment,
        )
}

impl From<AppError> for Problem {
    fn from(error: AppError) -> Self {
        match error {
            AppError::NotFound { what: "server", id } => Self::no_server(id),
            AppError::NotFound { what: "alert", id } => {
                Self::new(Code::AlertNotFound, format!("there is no alert {id}"))
            }
            AppError::NotFound { what, id } => Self::new(Code::NotFound, format!("there is no {what} {id}")),
            AppError::Invalid(problems) => Self::fields(&problems),
            AppError::Cursor => {
                Self::parameter("cursor", "it is not one that an earlier answer gave in next")
            }
            AppError::Enrolment(EnrolError::NoServer(id)) => Self::no_server(id.0),
            AppError::Enrolment(EnrolError::BadRequest(message)) => Self::new(Code::InvalidBody, message),
            error @ (AppError::Enrolment(_) | AppError::NotKept(_) | AppError::Store(_)) => {
                Self::internal(&error)
            }
        }
    }
}

impl From<ChannelError> for Problem {
    fn from(error: ChannelError) -> Self {
        let detail = error.to_string();
        match error {
            ChannelError::NotFound(id) => {
                Self::new(Code::ChannelNotFound, format!("there is no channel {id}"))
            }
            ChannelError::NoDelivery(id) => {
                Self::new(Code::DeliveryNotFound, format!("there is no delivery {id}"))
            }
            ChannelError::NotDead => Self::new(Code::DeliveryNotDead, detail),
            ChannelError::NameTaken => Self::new(Code::ChannelNameTaken, "choose another name"),
            ChannelError::TooMany => Self::new(Code::LimitReached, detail),
            ChannelError::Disabled => Self::new(Code::ChannelDisabled, "enable it first"),
            ChannelError::TestFailed(answer) => Self::new(Code::DeliveryFailed, answer),
            ChannelError::Invalid(problems) => Self::settings(&problems),
            ChannelError::App(error) => error.into(),
            error @ (ChannelError::Identity(_) | ChannelError::Store(_)) => Self::internal(&error),
        }
    }
}

impl From<RegistryUseError> for Problem {
    fn from(error: RegistryUseError) -> Self {
        let detail = error.to_string();
        match error {
            RegistryUseError::NotFound(id) => {
                Self::new(Code::RegistryNotFound, format!("there is no registry {id}"))
            }
            RegistryUseError::NameTaken => Self::new(Code::RegistryTaken, "choose another name"),
            RegistryUseError::HostTaken => Self::new(Code::RegistryTaken, detail),
            RegistryUseError::TooMany => Self::new(Code::LimitReached, detail),
            RegistryUseError::Disabled => Self::new(Code::RegistryDisabled, "enable it first"),
            RegistryUseError::Changed => Self::new(Code::RegistryTaken, detail),
            RegistryUseError::Invalid(problems) => Self::fields(&problems),
            RegistryUseError::App(error) => error.into(),
            error @ (RegistryUseError::Identity(_)
            | RegistryUseError::Store(_)
            | RegistryUseError::Registry(_)) => Self::internal(&error),
        }
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::BadCredentials => Self::new(Code::InvalidCredentials, "which of the two is not said"),
            AuthError::BadToken => Self::unauthenticated(),
            AuthError::TooMany { retry_after_s } => Self {
                retry_after: Some(std::time::Duration::from_secs(retry_after_s)),
                ..Self::new(
                    Code::TooManyAttempts,
                    format!("for this account or from this address; wait {retry_after_s} s"),
                )
            },
            error
            @ (AuthError::Hash(_) | AuthError::Random(_) | AuthError::Keep(_) | AuthError::Store(_)) => {
                Self::internal(&error)
            }
        }
    }
}

impl From<UserError> for Problem {
    fn from(error: UserError) -> Self {
        match error {
            UserError::NotFound(id) => Self::new(Code::UserNotFound, format!("there is no user {id}")),
            UserError::NameTaken(_) => Self::new(Code::UsernameTaken, "choose another name"),
            UserError::LastAdmin => Self::new(Code::LastAdmin, "make or enable another admin first"),
            UserError::NeedsSession => Self::new(Code::SessionNeeded, "log in to change the password"),
            UserError::WrongPassword => Self::field("current_password", "it is wrong"),
            UserError::TooMany => Self::new(Code::LimitReached, error.to_string()),
            UserError::Invalid(problems) => Self::fields(&problems),
            UserError::Auth(error) => error.into(),
            UserError::Store(_) => Self::internal(&error),
        }
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::NotFound(id) => Self::new(Code::TokenNotFound, format!("there is no API token {id}")),
            TokenError::NeedsSession => Self::new(Code::SessionNeeded, "log in to make an API token"),
            TokenError::TooMany => Self::new(Code::LimitReached, error.to_string()),
            TokenError::Invalid(problems) => Self::fields(&problems),
            TokenError::Auth(error) => error.into(),
            TokenError::Store(_) => Self::internal(&error),
        }
    }
}

impl From<SeriesError> for Problem {
    fn from(error: SeriesError) -> Self {
        Self::internal(&error)
    }
}
