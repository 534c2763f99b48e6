//! Images made here: a static busybox and a script that behaves as a test wants it to.

use std::path::Path;

use anyhow::{Context as _, Result};

/// What the container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Runs until it is stopped, which takes no time; has no health check.
    Runs,
    /// The same, and is healthy after a second, unless there is a file `/tmp/sick` in it.
    Healthy,
    /// The same, and is unhealthy after two seconds.
    NeverHealthy,
    /// Ends at once with exit code 7.
    Crashes,
    /// Cannot be started: its entry point does not exist.
    BrokenEntrypoint,
    /// Serves its `/version` over HTTP at port 8080.
    Serves,
}

/// An image to be made; two that differ in `version` have different ids.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    /// Stands in its file `/version`, in its label `version` and in the first line of its log.
    pub version: &'a str,
    /// What its container does.
    pub behaviour: Behaviour,
    /// Further Dockerfile instructions, such as `VOLUME /data`.
    pub changes: &'a [&'a str],
}

/// An image in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// `127.0.0.1:PORT/name:tag`.
    pub reference: String,
    /// Digest of its manifest, `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// Id of the image, which is the digest of its configuration.
    pub image_id: String,
}

const APPLETS: &[&str] = &[
    "cat", "dd", "echo", "httpd", "ls", "mkdir", "rm", "sh", "sleep", "test", "touch", "true", "wget",
];

impl<'a> Image<'a> {
    /// An image of this version that behaves so.
    #[must_use]
    pub const fn new(version: &'a str, behaviour: Behaviour) -> Self {
        Self {
            version,
            behaviour,
            changes: &[],
        }
    }

    /// Its files, as a tar archive.
    pub(super) fn files(&self) -> Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        archive.mode(tar::HeaderMode::Deterministic);
        for folder in ["bin", "data", "etc", "tmp"] {
            let mut header = header(tar::EntryType::Directory, 0o777, 0);
            archive.append_data(&mut header, format!("{folder}/"), std::io::empty())?;
        }
        let busybox = super::program("busybox")?;
        let busybox = std::fs::read(&busybox).with_context(|| busybox.display().to_string())?;
        let script = self.script();
        let files: [(&str, &[u8], u32); 4] = [
            ("bin/busybox", &busybox, 0o755),
            ("app", script.as_bytes(), 0o755),
            ("version", self.version.as_bytes(), 0o644),
            ("etc/passwd", b"root:x:0:0:root:/:/bin/sh\n", 0o644),
        ];
        for (path, content, mode) in files {
            let mut header = header(tar::EntryType::Regular, mode, content.len() as u64);
            archive.append_data(&mut header, path, content)?;
        }
        for applet in APPLETS {
            let mut header = header(tar::EntryType::Symlink, 0o777, 0);
            archive.append_link(&mut header, format!("bin/{applet}"), Path::new("busybox"))?;
        }
        Ok(archive.into_inner()?)
    }

    /// PID 1 gets no signal that it does not ask for, and a shell sees one only between two commands.
    fn script(&self) -> String {
        let work = match self.behaviour {
            Behaviour::Crashes => "echo going down >&2\nexit 7\n".to_owned(),
            Behaviour::Serves => "httpd -f -p 8080 -h / &\nwait\n".to_owned(),
            _ => "while :; do sleep 1 & wait $!; done\n".to_owned(),
        };
        format!(
            "#!/bin/sh\ntrap 'exit 0' TERM INT\necho version {} started\n{work}",
            self.version
        )
    }

    /// Its configuration, as `import --change` takes it.
    pub(super) fn instructions(&self) -> Vec<String> {
        const HEALTH: &str = "HEALTHCHECK --interval=1s --timeout=5s --retries=2 CMD";
        let entry = match self.behaviour {
            Behaviour::BrokenEntrypoint => r#"ENTRYPOINT ["/no/such/program"]"#,
            _ => r#"CMD ["/app"]"#,
        };
        let mut all = vec![
            entry.to_owned(),
            format!("LABEL version={}", self.version),
            "ENV PATH=/bin".to_owned(),
        ];
        match self.behaviour {
            Behaviour::Healthy => all.push(format!("{HEALTH} test ! -e /tmp/sick")),
            Behaviour::NeverHealthy => all.push(format!("{HEALTH} test -e /no/such/file")),
            _ => {}
        }
        all.extend(self.changes.iter().map(|&change| change.to_owned()));
        all
    }
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(1_700_000_000);
    header.set_uid(0);
    header.set_gid(0);
    header
}
