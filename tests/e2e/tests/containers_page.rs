//! The page of containers in a real browser, over a real controller, agent and engine: a person looks, asks, is refused
//! by the server's own policy, does what the page says, and asks again.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use muster_e2e::engines::{Behaviour, Docker, Image};
use muster_e2e::{Browser, Process, World, eventually, run_to_end};
use serde_json::{Value, json};

/// How long anything may take on a machine that does much else.
const LONG: Duration = Duration::from_secs(120);
/// As wide as a telephone.
const NARROW: u32 = 390;
/// As wide as a screen.
const WIDE: u32 = 1_280;
/// How soon something must be on the page that the controller knows. A page that loads itself anew has 30 seconds.
const SOON: Duration = Duration::from_secs(5);
/// Fields without a name that a reader of the screen could say.
const NAMELESS: &str = "[...document.querySelectorAll('input:not([type=hidden]), select, textarea')]\
    .filter(one => !one.labels?.length && !one.getAttribute('aria-label')).map(one => one.name).join(' ')";
/// How much wider than the window a page is, pixels.
const TOO_WIDE: &str = "document.readyState === 'complete' && \
    String(document.documentElement.scrollWidth - document.documentElement.clientWidth)";
/// Pages that are looked at besides a container's own.
const PAGES: [&str; 8] = [
    "/containers",
    "/updates",
    "/updates/rollouts",
    "/updates/history",
    "/updates/policies/new",
    "/updates/windows/new",
    "/registries",
    "/registries/new",
];

struct Stage {
    world: World,
    docker: Docker,
    agent: Process,
    browser: Browser,
}

impl Stage {
    /// A controller, an agent that reads an engine of its own, in which `web` runs, and a browser that shows nothing.
    async fn set() -> Result<Self> {
        let docker = Docker::start()?;
        docker.build("lab/web:1", &Image::new("1", Behaviour::Runs))?;
        docker.cli(&["run", "--detach", "--name", "web", "lab/web:1"])?;
        let mut world = World::prepare()?;
        world.start_controller().await?;
        let settings = format!(
            "policy_file = \"{policy}\"\n[containers]\ndiscover = false\n[[containers.runtime]]\nname = \"docker\"\n\
             type = \"docker\"\nsocket = \"{socket}\"\n",
            policy = world.dir().join("policy.toml").display(),
            socket = docker.socket().display(),
        );
        let config = world.dir().join("agent.toml");
        fs::write(&config, settings)?;
        let enrolled = world.enroll("agent", &world.token_file(1)?)?;
        ensure!(
            enrolled.status.success(),
            "{}",
            String::from_utf8_lossy(&enrolled.stderr)
        );
        let agent = world.start_agent("agent", &["--config", config.to_str().context("UTF-8")?])?;
        let mut browser = Browser::start(&world.dir().join("browser.log"))?;
        browser.make_wide(WIDE)?;
        Ok(Self {
            world,
            docker,
            agent,
            browser,
        })
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.world.http)
    }

    /// Logs in, and goes to the page of the container once the agent has told of it.
    async fn find_the_container(&mut self) -> Result<()> {
        let password = fs::read_to_string(self.world.data().join("admin-password"))?;
        self.browser.go_to(&self.url("/containers"))?;
        self.browser.write("User name", "admin")?;
        self.browser.write("Password", password.trim())?;
        self.browser.click("Log in")?;
        self.browser.click("Containers")?;
        self.browser.sees("All containers")?;
        let started = Instant::now();
        while !self.browser.can_click("web")? {
            ensure!(started.elapsed() < LONG, "the container was never seen");
            self.browser.go_to(&self.url("/containers?text=web"))?;
            self.browser.until("document.readyState === 'complete'")?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.browser.sees("unknown")?;
        self.browser.click("web")?;
        self.browser.sees("Why is this not updating?")
    }

    fn restart(&mut self) -> Result<()> {
        self.browser.click("Restart…")?;
        self.browser.click("Yes, restart it")
    }

    fn started_at(&self) -> Result<Value> {
        Ok(self.docker.inspect("web")?["State"]["StartedAt"].clone())
    }

    /// Does on the server what the page says root is to do.
    fn heed_the_advice(&mut self) -> Result<()> {
        let advice = self
            .browser
            .until("document.querySelector('pre.command')?.innerText")?;
        let advice = advice.as_str().context("a text")?;
        // None of its words has a space in it.
        let words = advice.split_whitespace().map(|word| word.trim_matches('\''));
        let words: Vec<&str> = words.collect();
        ensure!(words.first() == Some(&"muster-agent"), "{advice}");
        self.as_root(&words[1..])
    }

    /// Has the policy of the server changed.
    fn as_root(&self, words: &[&str]) -> Result<()> {
        let policy = self.world.dir().join("policy.toml");
        let mut words = words.to_vec();
        words.extend(["--policy", policy.to_str().context("UTF-8")?]);
        let told = run_to_end("muster-agent", &words)?;
        ensure!(
            told.status.success(),
            "{words:?}: {}",
            String::from_utf8_lossy(&told.stderr)
        );
        Ok(())
    }

    /// Every page fits on every screen, and every field has a name.
    fn look_at_every_page(&mut self) -> Result<()> {
        let one = self.browser.ask("location.pathname")?;
        let one = one.as_str().context("a path")?;
        for path in std::iter::once(one).chain(PAGES) {
            for pixels in [WIDE, NARROW] {
                self.browser.make_wide(pixels)?;
                self.browser.go_to(&self.url(path))?;
                let more = self.browser.until(TOO_WIDE)?;
                ensure!(more == "0", "{path} is {more} pixels wider than {pixels}");
            }
            let nameless = self.browser.ask(NAMELESS)?;
            ensure!(nameless == "", "{path} has fields without a name: {nameless}");
        }
        let complaints = self.browser.complaints();
        ensure!(complaints.is_empty(), "{complaints:?}");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_restarts_a_container_in_a_browser_once_its_server_allows_it() -> Result<()> {
    let begun = Instant::now();
    let told = |what: &str| println!("{what} after {:.1} s", begun.elapsed().as_secs_f64());
    let mut stage = Stage::set().await?;
    told("everything runs");
    stage.find_the_container().await?;
    told("the container is seen");
    ensure!(
        !stage.browser.can_click("Yes, restart it")?,
        "nothing is one slip away"
    );
    let before = stage.started_at()?;
    stage.restart()?;
    stage.browser.sees("refused by the server")?;
    ensure!(stage.started_at()? == before, "the policy was passed over");
    stage.heed_the_advice()?;
    told("it was refused and allowed");

    stage.restart()?;
    // Followed by the page itself, without a script and without anybody who presses anything.
    stage
        .browser
        .until("document.querySelector('#asked tbody tr .pill')?.innerText === 'done'")?;
    ensure!(stage.started_at()? != before, "it was not restarted");
    told("it was done");
    stage.look_at_every_page()?;
    told("every page was looked at");
    stage.agent.stop(Duration::from_secs(30))?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_ask_for_shows_at_once_and_what_is_being_written_stays() -> Result<()> {
    const DONE: &str =
        "[...document.querySelectorAll('#asked .pill')].filter(one => one.innerText === 'done').length";
    let mut stage = Stage::set().await?;
    stage.find_the_container().await?;
    stage.as_root(&["allow", "container.restart"])?;
    let address = stage.browser.ask("location.href")?;
    let address = address.as_str().context("an address")?.to_owned();
    stage.browser.run_scripts(true)?;
    stage.browser.go_to(&address)?;
    stage
        .browser
        .until("document.querySelector('footer .live')?.hidden === false")?;
    // A page that is loaded anew forgets this, and what is written in it.
    stage.browser.ask("window.isTheSame = true")?;
    stage.browser.click("Stop…")?;
    let api = stage.world.api().await?;
    let path = address.replace(&stage.url("/containers"), "/api/containers");
    for count in 1..=3 {
        let (status, answer) = api
            .ask("POST", &format!("{path}/restart"), Some(json!({})))
            .await?;
        ensure!(status == 202, "{status}: {answer}");
        let answer: Value = serde_json::from_str(&answer)?;
        let command = answer["command_id"].as_str().context("a command")?;
        eventually(LONG, async || {
            let command = api.get(&format!("/api/commands/{command}")).await?;
            ensure!(command["state"] == "succeeded", "{command}");
            Ok(())
        })
        .await?;
        let known = Instant::now();
        stage.browser.until(&format!("{DONE} === {count}"))?;
        let took = known.elapsed();
        println!(
            "on the page {:.2} s after the controller had it",
            took.as_secs_f64()
        );
        ensure!(took < SOON, "{took:?}");
    }
    ensure!(
        stage.browser.ask("window.isTheSame")? == true,
        "the page was loaded anew"
    );
    ensure!(
        stage.browser.can_click("Yes, stop it")?,
        "the question was taken away"
    );
    let complaints = stage.browser.complaints();
    ensure!(complaints.is_empty(), "{complaints:?}");
    // What is shown while nobody answers may be old, and says so.
    stage.world.stop_controller()?;
    stage
        .browser
        .until("document.querySelector('.stale')?.hidden === false")?;
    stage.agent.stop(Duration::from_secs(30))?;
    Ok(())
}
