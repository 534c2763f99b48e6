//! The engines that other tests rely on: they start, do what they are asked, and leave nothing behind.

use anyhow::Result;
use muster_e2e::engines::{Auth, Behaviour, Docker, Image, Podman, Registry};

#[test]
fn a_docker_of_its_own_pushes_pulls_and_leaves_nothing_behind() -> Result<()> {
    let started = std::time::Instant::now();
    let mut docker = Docker::start()?;
    println!("dockerd answers after {:?}", started.elapsed());
    let registry = Registry::start(Some(Auth::BASIC))?;
    let one = docker.build_and_push(&registry, "lab/app", "latest", &Image::new("1", Behaviour::Runs))?;
    let two = docker.build_and_push(
        &registry,
        "lab/app",
        "latest",
        &Image::new("2", Behaviour::Healthy),
    )?;
    assert_ne!(one.digest, two.digest);
    assert_ne!(one.image_id, two.image_id);
    docker.cli(&[
        "run",
        "--detach",
        "--name",
        "app",
        "--restart",
        "always",
        &two.reference,
    ])?;
    let socket = docker.socket();
    docker.kill()?;
    docker.start_again()?;
    assert_eq!(docker.inspect("app")?["Image"], two.image_id.as_str());
    // The container still runs when the engine is gone: that is what has to be swept up.
    docker.kill()?;
    drop(docker);
    let folder = socket.parent().expect("a socket stands in a folder");
    assert!(!folder.exists(), "{} is still there", folder.display());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    assert!(!mounts.contains(folder.to_str().expect("UTF-8")), "{mounts}");
    Ok(())
}

#[test]
fn a_podman_of_its_own_runs_a_container_and_leaves_nothing_behind() -> Result<()> {
    let podman = Podman::start()?;
    podman.build("localhost/app:1", &Image::new("1", Behaviour::Runs))?;
    podman.cli(&["run", "--detach", "--name", "app", "localhost/app:1"])?;
    assert_eq!(podman.inspect("app")?["State"]["Running"], true);
    let socket = podman.socket();
    drop(podman);
    let folder = socket.parent().expect("a socket stands in a folder");
    assert!(!folder.exists(), "{} is still there", folder.display());
    Ok(())
}
