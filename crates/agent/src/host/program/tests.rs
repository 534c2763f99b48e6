//! Programs against scripts of our own.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

struct Folder {
    dir: tempfile::TempDir,
    programs: Programs,
}

impl Folder {
    fn with(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tool");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let folder = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        Self {
            dir,
            programs: Programs::in_folders(vec![folder]),
        }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }
}

fn call<'a>(args: &[&'a str], deadline_ms: u64) -> ProgramCall<'a> {
    ProgramCall {
        program: "tool",
        args: args.to_vec(),
        record: "tool/one",
        deadline: Duration::from_millis(deadline_ms),
    }
}

#[tokio::test]
async fn arguments_pass_as_they_are_and_the_environment_is_empty() {
    let folder = Folder::with("printf '%s|' \"$@\"; env | grep -v -e '^PWD=' -e '^SHLVL=' -e '^_='; exit 4");
    let output = folder
        .programs
        .run(&call(&["a b", "$(id)", ";"], 10_000))
        .await
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "a b|$(id)|;|LC_ALL=C\n");
    assert_eq!(output.status, Some(4));
}

#[tokio::test]
async fn a_hung_program_dies_with_its_children() {
    let folder = Folder::with("sleep 1000 & echo $! >\"$1\"; wait");
    let pid_file = folder.path("pid");
    let error = folder
        .programs
        .run(&call(&[pid_file.to_str().unwrap()], 500))
        .await
        .unwrap_err();
    assert!(matches!(error, ProgramError::TimedOut { .. }), "{error}");
    let pid: i32 = std::fs::read_to_string(pid_file).unwrap().trim().parse().unwrap();
    let is_alive = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    while is_alive() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_program_that_says_too_much_is_ended() {
    let folder = Folder::with("exec yes");
    let error = folder.programs.run(&call(&[], 60_000)).await.unwrap_err();
    assert!(matches!(error, ProgramError::TooMuch { .. }), "{error}");
}

#[tokio::test]
async fn what_is_more_than_a_pipe_holds_comes_whole_from_a_program_and_from_one_it_left_behind() {
    let folder = Folder::with(
        "head -c 3000000 /dev/zero; head -c 300000 /dev/zero >&2; (sleep 0.3; echo late) & exit 3",
    );
    let output = folder.programs.run(&call(&[], 60_000)).await.unwrap();
    assert_eq!((output.stdout.len(), output.stderr.len()), (3_000_005, 300_000));
    assert!(output.stdout.ends_with(b"late\n"));
    assert_eq!(output.status, Some(3));
}

#[tokio::test]
async fn the_same_call_is_refused_while_one_is_under_way() {
    let folder = Folder::with("sleep 1000");
    let first_call = call(&[], 60_000);
    let first = folder.programs.run(&first_call);
    tokio::pin!(first);
    tokio::select! {
        biased;
        _ = &mut first => panic!("it sleeps"),
        () = std::future::ready(()) => {}
    }
    let error = folder.programs.run(&first_call).await.unwrap_err();
    assert!(matches!(error, ProgramError::Stuck { .. }), "{error}");
}

#[tokio::test]
async fn a_program_in_no_folder_is_not_installed() {
    let programs = Programs::in_folders(vec![Utf8PathBuf::from("/nonexistent")]);
    let error = programs.run(&call(&[], 1000)).await.unwrap_err();
    assert!(matches!(error, ProgramError::NotInstalled { program: "tool" }));
}

#[tokio::test]
async fn below_a_root_the_recorded_output_and_status_are_given() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("muster/run/tool")).unwrap();
    std::fs::write(dir.path().join("muster/run/tool/one"), "out").unwrap();
    std::fs::write(dir.path().join("muster/run/tool/one.rc"), "4\n").unwrap();
    let files = Files::under(Utf8Path::from_path(dir.path()).unwrap()).unwrap();
    let programs = Programs::recorded(files);
    let output = programs.run(&call(&[], 1000)).await.unwrap();
    assert_eq!((output.status, output.stdout.as_slice()), (Some(4), &b"out"[..]));
}
