//! A real browser, as people use one: Chromium without a window, told what to do over a pipe.
//!
//! The protocol is that of Chrome's own developer tools (`--remote-debugging-pipe`: JSON with a zero byte behind it).
//! Scripts of pages are switched off until a test wants them, because the pages promise to work without; what the test asks
//! runs all the same.
//! It has its own profile, opens no port, and is ended with the test.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What answers within a tenth of a second gets two minutes on a loaded machine.
const LIMIT: Duration = Duration::from_secs(120);
/// The program, as Debian calls it.
const PROGRAM: &str = "/usr/bin/chromium";
/// Gives the program its pipes under the numbers that it expects: 3 to read from, 4 to write to.
const PIPES: &str = "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null";

/// A browser with one page.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    last_id: u64,
    session: Option<String>,
    complaints: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    /// Starts one; its own words go to `log`.
    ///
    /// # Errors
    /// If it is not installed or does not answer.
    pub fn start(log: &Path) -> Result<Self> {
        ensure!(
            Path::new(PROGRAM).is_file(),
            "chromium is missing: run `cargo xtask test-deps`"
        );
        let profile = tempfile::tempdir()?;
        let out = std::fs::File::options().create(true).append(true).open(log)?;
        #[expect(
            clippy::disallowed_methods,
            reason = "starting the programs is what this crate is for"
        )]
        let mut child = Command::new("/bin/sh")
            .args(["-c", PIPES, PROGRAM])
            .args([
                "--headless=new",
                // Tests run as root, where its sandbox does not; it sees pages of this test alone.
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--no-first-run",
                "--remote-debugging-pipe",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(out)
            .spawn()
            .context("start chromium")?;
        let to = child.stdin.take().context("its input is piped")?;
        let output = child.stdout.take().context("its output is piped")?;
        let (told, from) = mpsc::channel();
        // Ends with the browser, whose end of the pipe is closed then.
        std::thread::spawn(move || {
            for message in BufReader::new(output).split(0) {
                let Ok(message) = message else { break };
                let Ok(message) = serde_json::from_slice(&message) else {
                    break;
                };
                if told.send(message).is_err() {
                    break;
                }
            }
        });
        let mut browser = Self {
            child,
            to,
            from,
            last_id: 0,
            session: None,
            complaints: Vec::new(),
            _profile: profile,
        };
        browser.open()?;
        Ok(browser)
    }

    fn open(&mut self) -> Result<()> {
        let page = self.call("Target.createTarget", &json!({"url": "about:blank"}))?;
        let attach = json!({"targetId": page["targetId"], "flatten": true});
        let attached = self.call("Target.attachToTarget", &attach)?;
        let session = attached["sessionId"].as_str().context("a session")?;
        self.session = Some(session.to_owned());
        self.call("Log.enable", &json!({}))?;
        self.run_scripts(false)
    }

    /// Lets scripts of pages run that are shown from now on, or not.
    ///
    /// # Errors
    /// If the browser does not.
    pub fn run_scripts(&mut self, is_wanted: bool) -> Result<()> {
        let setting = json!({"value": !is_wanted});
        self.call("Emulation.setScriptExecutionDisabled", &setting)?;
        Ok(())
    }

    /// Asks the browser for something, and waits for the answer.
    fn call(&mut self, method: &str, parameters: &Value) -> Result<Value> {
        self.last_id += 1;
        let mut message = json!({"id": self.last_id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = serde_json::to_vec(&message)?;
        bytes.push(0);
        self.to.write_all(&bytes).context("chromium reads no more")?;
        let until = Instant::now() + LIMIT;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let answer = self
                .from
                .recv_timeout(left)
                .with_context(|| format!("chromium says nothing to {method}"))?;
            if answer["method"] == "Log.entryAdded" {
                self.complain(&answer["params"]["entry"]);
            }
            if answer["id"] == self.last_id {
                ensure!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return Ok(answer["result"].clone());
            }
        }
    }

    fn complain(&mut self, entry: &Value) {
        // Among them is whatever the page's own policy of contents forbids.
        if entry["level"] == "error" || entry["source"] == "security" {
            self.complaints.push(entry["text"].to_string());
        }
    }

    /// What the browser complained of so far: what was forbidden, or could not be loaded.
    #[must_use]
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// Shows an address.
    ///
    /// # Errors
    /// If there is nothing.
    pub fn go_to(&mut self, url: &str) -> Result<()> {
        let gone = self.call("Page.navigate", &json!({"url": url}))?;
        ensure!(gone["errorText"].is_null(), "{url}: {}", gone["errorText"]);
        Ok(())
    }

    /// Makes the page as narrow as a telephone, or as wide as a screen.
    ///
    /// # Errors
    /// If the browser does not.
    pub fn make_wide(&mut self, pixels: u32) -> Result<()> {
        let size = json!({"width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", &size)?;
        Ok(())
    }

    /// Asks the page for a value: an expression of JavaScript. `null` while the page is being changed for another.
    ///
    /// # Errors
    /// If the expression has a mistake.
    pub fn ask(&mut self, expression: &str) -> Result<Value> {
        let wanted = json!({"expression": expression, "returnByValue": true});
        let Ok(answer) = self.call("Runtime.evaluate", &wanted) else {
            return Ok(Value::Null);
        };
        ensure!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {}",
            answer["exceptionDetails"]
        );
        Ok(answer["result"]["value"].clone())
    }

    /// Waits until the page answers something else than null, false, or an empty text.
    ///
    /// # Errors
    /// If it does not in time; with what is on the page.
    pub fn until(&mut self, expression: &str) -> Result<Value> {
        let started = Instant::now();
        while started.elapsed() < LIMIT {
            let value = self.ask(expression)?;
            if !matches!(&value, Value::Null | Value::Bool(false)) && value != "" {
                return Ok(value);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let page = self.ask("location.href + '\\n' + (document.body ? document.body.innerText : '')")?;
        bail!("not in time: {expression}\n{}", page.as_str().unwrap_or_default())
    }

    /// Waits until a text is to be seen.
    ///
    /// # Errors
    /// If it does not come in time.
    pub fn sees(&mut self, text: &str) -> Result<()> {
        let text = json!(text);
        self.until(&format!(
            "!!document.body && document.body.innerText.includes({text})"
        ))?;
        Ok(())
    }

    /// Whether something of this name can be seen to be clicked.
    ///
    /// # Errors
    /// If the browser does not answer.
    pub fn can_click(&mut self, name: &str) -> Result<bool> {
        Ok(self.ask(&format!("!!({})", clickable(name)))? == true)
    }

    /// Clicks a link, button or summary that can be seen, by its whole name, as soon as there is one.
    ///
    /// # Errors
    /// If there is none in time.
    pub fn click(&mut self, name: &str) -> Result<()> {
        let found = clickable(name);
        self.until(&format!(
            "(() => {{ const found = {found}; if (found) found.click(); return !!found; }})()"
        ))?;
        Ok(())
    }

    /// Writes into the field that is labelled so.
    ///
    /// # Errors
    /// If there is none in time.
    pub fn write(&mut self, label: &str, text: &str) -> Result<()> {
        let (label, text) = (json!(label), json!(text));
        let find = format!(
            "[...document.querySelectorAll('label')].find(one => one.innerText.trim().startsWith({label}))?.control"
        );
        self.until(&format!(
            "(() => {{ const found = {find}; if (found) found.value = {text}; return !!found; }})()"
        ))?;
        Ok(())
    }
}

/// Something that can be seen and clicked, by its whole name.
fn clickable(name: &str) -> String {
    let name = json!(name);
    format!(
        "[...document.querySelectorAll('a, button, summary')].find(one => one.innerText.trim() === {name} && \
         one.checkVisibility() && 0 < one.getClientRects().length)"
    )
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked to, it ends its children too; what it leaves has nobody to talk to, and is killed.
        let _ = self.to.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
