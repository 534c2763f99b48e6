//! `muster-agent collect`: every collector once, without any controller.

use std::process::ExitCode;
use std::sync::Arc;

use camino::Utf8PathBuf;
use clap::{Args, ValueEnum};
use futures::StreamExt as _;
use futures::stream::FuturesOrdered;
use muster_model::{Facts, Problem, RunOutcome};

use super::render::View;
use super::{host, plans, print, print_with, usage};
use crate::collect::runner::{Plan, Runner};
use crate::collect::{ALL, Context, Descriptor, Tick};
use crate::config::Config;
use crate::host::Host;

#[derive(Debug, Args)]
pub(super) struct Collect {
    /// Only these collectors, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    only: Vec<String>,
    /// Reads everything below DIR instead of this machine.
    #[arg(long, value_name = "DIR")]
    root: Option<Utf8PathBuf>,
    /// What is printed.
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Resources, links, samples and problems.
    Json,
    /// Samples alone, as an exporter shows them.
    Prometheus,
}

impl Collect {
    pub(super) async fn run(self, config: &Config) -> anyhow::Result<ExitCode> {
        if let Some(unknown) = self.only.iter().find(|name| Descriptor::find(name).is_none()) {
            let known: Vec<_> = ALL.iter().map(|descriptor| descriptor.name).collect();
            return Ok(usage(&format!(
                "no collector {unknown:?}; there are {}",
                known.join(", ")
            )));
        }
        let host = host(self.root.as_ref())?;
        let chosen = if self.only.is_empty() {
            plans(config)
        } else {
            only(&self.only)
        };
        let view = View::of(collect(&chosen, &host, config).await);
        match self.format {
            Format::Json => print_with(|out| view.write_json(out)),
            Format::Prometheus => print(&view.prometheus()),
        }
    }
}

fn only(names: &[String]) -> Vec<Plan> {
    let chosen = ALL
        .iter()
        .filter(|descriptor| names.iter().any(|name| name == descriptor.name));
    chosen
        .map(|descriptor| Plan::new(descriptor, descriptor.interval))
        .collect()
}

async fn collect(plans: &[Plan], host: &Host, config: &Config) -> Vec<(i64, Facts)> {
    let context = Context::new(Arc::new(config.collect.clone()));
    let runs = plans.iter().map(|plan| {
        let mut runner = Runner::new(plan.descriptor, host.clone(), context.clone());
        async move { runner.run_once(plan.interval).await }
    });
    // Polls the one that was woken, and not all of them as a join would.
    let runs: FuturesOrdered<_> = runs.collect();
    runs.map(facts_of).collect().await
}

/// The facts of a run, its self-metrics, and, if it failed, that.
fn facts_of(tick: Tick) -> (i64, Facts) {
    let mut facts = tick.facts.unwrap_or_default();
    facts.samples.extend(tick.self_samples);
    match tick.outcome {
        RunOutcome::Facts => {}
        RunOutcome::Absent => tracing::info!(collector = tick.collector, reason = tick.message, "absent"),
        RunOutcome::Failed | RunOutcome::TimedOut | RunOutcome::Panicked => facts.problems.push(Problem {
            collector: tick.collector.to_owned(),
            message: tick.message,
            line: None,
        }),
    }
    (tick.started_ms, facts)
}
