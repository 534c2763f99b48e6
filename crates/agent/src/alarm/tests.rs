//! When it rings, and what it does not run.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use super::*;

/// What was rung, and how many seconds after the beginning.
type Rung = Arc<Mutex<Vec<(u64, &'static str)>>>;

struct Noted {
    began: Instant,
    rung: Rung,
    succeeds: bool,
}

impl Ring for Noted {
    async fn ring(&self, word: Word) -> bool {
        let at = self.began.elapsed().as_secs();
        self.rung.lock().unwrap().push((at, word.as_str()));
        self.succeeds
    }
}

fn watched(after_s: u64, succeeds: bool) -> (watch::Sender<bool>, Rung) {
    let (reached, is_reached) = watch::channel(false);
    let rung = Rung::default();
    let noted = Noted {
        began: Instant::now(),
        rung: Arc::clone(&rung),
        succeeds,
    };
    tokio::spawn(async move { ring_when(is_reached, Duration::from_secs(after_s), &noted).await });
    (reached, rung)
}

async fn pass(seconds: u64) {
    // A little more, so that what is due at that moment has happened.
    tokio::time::sleep(Duration::from_secs(seconds) + Duration::from_millis(1)).await;
}

/// D16
#[tokio::test(start_paused = true)]
async fn the_loss_of_the_controller_rings_once_and_its_return_once() {
    let (reached, rung) = watched(300, true);
    pass(10).await;
    reached.send_replace(true);
    pass(3_600).await;
    assert_eq!(*rung.lock().unwrap(), []);
    reached.send_replace(false);
    pass(299).await;
    assert_eq!(*rung.lock().unwrap(), []);
    pass(3_600).await;
    assert_eq!(*rung.lock().unwrap(), [(3_910, "controller_lost")]);
    reached.send_replace(true);
    pass(3_600).await;
    let last = rung.lock().unwrap().clone();
    assert_eq!(last.len(), 2, "{last:?}");
    assert_eq!(last[1], (7_509, "controller_back"));
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_comes_and_goes_rings_every_ten_minutes_at_most() {
    let (reached, rung) = watched(5, true);
    for turn in 0..1_000 {
        reached.send_replace(turn % 2 == 1);
        pass(7).await;
    }
    let rung = rung.lock().unwrap().clone();
    assert!((6..=12).contains(&rung.len()), "{rung:?}");
    for pair in rung.windows(2) {
        assert!(pair[0].0 + 600 <= pair[1].0, "{rung:?}");
        assert_ne!(pair[0].1, pair[1].1, "{rung:?}");
    }
    let (reached, rung) = watched(300, true);
    for turn in 0..1_000 {
        reached.send_replace(turn % 2 == 1);
        pass(7).await;
    }
    assert_eq!(*rung.lock().unwrap(), [], "it was never gone for long");
}

#[tokio::test(start_paused = true)]
async fn an_alarm_that_failed_is_tried_again_after_ten_minutes() {
    let (_reached, rung) = watched(300, false);
    pass(1_600).await;
    let times: Vec<u64> = rung.lock().unwrap().iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [300, 900, 1_500]);
}

/// A program in a folder, and settings beside it, as root would have them; `None` for whoever is not root.
fn files() -> Option<(tempfile::TempDir, Utf8PathBuf, Utf8PathBuf)> {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root has files that are root's");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| Utf8PathBuf::from_path_buf(folder.path().join(name)).unwrap();
    let (program, settings) = (at("ring"), at("agent.toml"));
    let heard = at("heard");
    let script = format!("#!/bin/sh\necho \"$#:$*:${{HOME-none}}:${{MUSTER_LOG-none}}\" >> {heard}\n");
    std::fs::write(&program, script).unwrap();
    std::fs::write(&settings, "").unwrap();
    for (file, mode) in [(&program, 0o755), (&settings, 0o644)] {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    Some((folder, program, settings))
}

fn bell(program: &Utf8Path, settings: &Utf8Path) -> Result<Bell, TrustError> {
    let alarm = Alarm {
        program: program.to_owned(),
        args: vec!["--to".to_owned(), "$(id); ops".to_owned()],
        after: Alarm::AFTER_DEFAULT,
    };
    Bell::new(alarm, settings)
}

/// D16
#[tokio::test]
async fn the_program_gets_its_arguments_and_the_word_and_neither_shell_nor_environment() {
    let Some((folder, program, settings)) = files() else {
        return;
    };
    let bell = bell(&program, &settings).unwrap();
    assert!(bell.ring(Word::Lost).await);
    assert!(bell.ring(Word::Back).await);
    let heard = std::fs::read_to_string(folder.path().join("heard")).unwrap();
    let expected =
        "3:--to $(id); ops controller_lost:none:none\n3:--to $(id); ops controller_back:none:none\n";
    assert_eq!(heard, expected);
}

/// D16
#[tokio::test]
async fn what_others_than_root_may_write_to_is_refused_and_not_run() {
    let Some((folder, program, settings)) = files() else {
        return;
    };
    let good = bell(&program, &settings).unwrap();
    let set = |path: &Utf8Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let above = Utf8Path::from_path(folder.path()).unwrap();
    let places = [
        (program.as_path(), 0o755, 0o775),
        (program.as_path(), 0o755, 0o757),
        (settings.as_path(), 0o644, 0o666),
        (above, 0o700, 0o777),
    ];
    for (path, right, wrong) in places {
        set(path, wrong);
        let refused = bell(&program, &settings).unwrap_err();
        assert!(matches!(refused, TrustError::Mode { .. }), "{path}: {refused}");
        // Also if it was right when the agent started.
        assert!(!good.ring(Word::Lost).await, "{path} {wrong:o}");
        set(path, right);
    }
    for path in [&program, &settings] {
        std::os::unix::fs::chown(path, Some(65_534), None).unwrap();
        let refused = bell(&program, &settings).unwrap_err();
        assert!(
            matches!(refused, TrustError::Owner { owner: 65_534, .. }),
            "{refused}"
        );
        assert!(!good.ring(Word::Lost).await);
        std::os::unix::fs::chown(path, Some(0), None).unwrap();
    }
    // A link in a safe place does not make what it leads to safe.
    let link = above.join("link");
    std::os::unix::fs::symlink(&program, &link).unwrap();
    assert!(bell(&link, &settings).is_ok());
    set(&program, 0o777);
    assert!(bell(&link, &settings).is_err());
    assert!(matches!(bell(above, &settings), Err(TrustError::NoFile { .. })));
    assert!(matches!(
        bell(&above.join("none"), &settings),
        Err(TrustError::Look { .. })
    ));
    assert!(!folder.path().join("heard").exists(), "it was run all the same");
}
