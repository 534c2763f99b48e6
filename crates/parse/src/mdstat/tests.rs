//! Forms of many kernels, and what is not one.

use super::*;

fn one(text: &str) -> (Array, Vec<String>) {
    let whole = format!("Personalities : [raid1]\n{text}\nunused devices: <none>\n");
    let parsed = parse(&whole);
    assert_eq!(parsed.value.arrays.len(), 1, "{text}");
    let messages = parsed
        .problems
        .into_iter()
        .map(|problem| problem.message)
        .collect();
    (parsed.value.arrays[0].clone(), messages)
}

/// One that must be understood without a problem.
fn clean(text: &str) -> Array {
    let (array, problems) = one(text);
    assert!(problems.is_empty() && array.is_understood, "{text}: {problems:?}");
    array
}

fn up(array: &Array) -> String {
    let up = array.up.iter().flatten();
    up.map(|up| if *up { 'U' } else { '_' }).collect()
}

#[test]
fn members_carry_their_marks_in_any_order() {
    let array = clean(
        "md0 : active raid5 sdf[6](J) sde1[5](S) sdd1[4](R) sdc1[3](W)(F) sdb1[1](F) sda1[0]\n      \
         358400 blocks super 1.2 level 5, 64k chunk, algorithm 2 [3/1] [U__]\n      \n",
    );
    let marks: Vec<_> = array
        .members
        .iter()
        .map(|m| {
            (
                m.name.as_str(),
                m.number,
                m.is_faulty,
                m.is_spare,
                m.is_journal,
                m.is_replacement,
                m.is_write_mostly,
            )
        })
        .collect();
    assert_eq!(marks[0], ("sdf", Some(6), false, false, true, false, false));
    assert_eq!(marks[1], ("sde1", Some(5), false, true, false, false, false));
    assert_eq!(marks[2], ("sdd1", Some(4), false, false, false, true, false));
    assert_eq!(marks[3], ("sdc1", Some(3), true, false, false, false, true));
    assert_eq!(marks[4], ("sdb1", Some(1), true, false, false, false, false));
    assert_eq!(
        (array.required, array.working, up(&array).as_str()),
        (Some(3), Some(1), "U__")
    );
    assert_eq!(
        (array.size_kib, array.chunk_kib, array.algorithm),
        (Some(358_400), Some(64), Some(2))
    );
}

#[test]
fn every_synchronisation_is_read_with_its_progress() {
    let with = |line: &str| {
        clean(&format!(
            "md0 : active raid1 sdb1[1] sda1[0]\n      100 blocks [2/2] [UU]\n      {line}\n"
        ))
        .sync
        .unwrap()
    };
    for (word, action) in [
        ("recovery", Action::Recovery),
        ("recover", Action::Recovery),
        ("resync", Action::Resync),
        ("reshape", Action::Reshape),
        ("check", Action::Check),
        ("repair", Action::Repair),
    ] {
        let sync = with(&format!(
            "[=>..]  {word} =  8.5% (16775552/195310144) finish=17.0min speed=259783K/sec"
        ));
        assert_eq!(sync.action, action);
        assert_eq!(
            sync.progress,
            Progress::Running {
                percent: 8.5,
                done_kib: Some(16_775_552),
                total_kib: Some(195_310_144),
                finish_min: Some(17.0),
                speed_kib_per_s: Some(259_783),
            }
        );
    }
    assert_eq!(with("\tresync=DELAYED").progress, Progress::Delayed);
    assert_eq!(with("resync=PENDING").progress, Progress::Pending);
    assert_eq!(with("\trecover=REMOTE").progress, Progress::Remote);
    assert_eq!(with("  resync = DELAYED").progress, Progress::Delayed);
    let whole = with("[===================>.]  check =100.0% (7/7) finish=0.0min speed=-1K/sec");
    assert!(matches!(
        whole.progress,
        Progress::Running {
            speed_kib_per_s: None,
            ..
        }
    ));
}

#[test]
fn containers_and_their_arrays_are_told_from_arrays_that_do_not_start() {
    let container =
        clean("md127 : inactive sdb[1](S) sda[0](S)\n      6306 blocks super external:imsm\n       \n");
    assert!(container.is_container());
    let inside =
        clean("md126 : active raid1 sda[1] sdb[0]\n      100 blocks super external:/md127/0 [2/2] [UU]\n");
    assert_eq!(
        (inside.is_container(), inside.container()),
        (false, Some("md127"))
    );
    let read_only = clean(
        "md126 : active (read-only) raid0 sda[1] sdb[0]\n      100 blocks super external:-md127/0 128k chunks\n",
    );
    assert_eq!(
        (read_only.access, read_only.container()),
        (Access::ReadOnly, Some("md127"))
    );
    let stopped = clean("md0 : inactive sdb[1](S)\n      100 blocks super 1.2\n       \n");
    assert!(!stopped.is_container() && stopped.level.is_none());
    let ddf = clean("md127 : inactive sdb[1](S) sda[0](S)\n      65536 blocks super external:ddf\n");
    assert!(ddf.is_container());
    let empty = clean("md5 : inactive\n super 1.2\n");
    assert_eq!(empty.metadata.as_deref(), Some("1.2"));
}

#[test]
fn levels_without_counts_and_layouts_of_raid10_are_read() {
    assert_eq!(
        clean("md4 : active linear sdb[1] sda[0]\n      22528 blocks super 1.2 0k rounding\n").chunk_kib,
        Some(0)
    );
    assert_eq!(
        clean("md5 : active raid0 sdb[1] sda[0]\n      20480 blocks 64k chunks\n").chunk_kib,
        Some(64)
    );
    let broken = clean("md5 : broken raid0 sdb[1] sda[0]\n      20480 blocks super 1.2 512k chunks\n");
    assert_eq!(broken.activity, Activity::Broken);
    let ten = |words: &str| {
        clean(&format!(
            "md10 : active raid10 sdd[3] sdc[2] sdb[1] sda[0]\n 20480 blocks super 1.2 512K chunks {words} [4/3] [U_UU]\n"
        ))
    };
    assert_eq!(ten("2 near-copies").near_copies, Some(2));
    assert_eq!(ten("2 offset-copies").offset_copies, Some(2));
    let far = ten("2 near-copies 2 far-copies 4 devices per set");
    assert_eq!(
        (far.near_copies, far.far_copies, far.devices_per_set),
        (Some(2), Some(2), Some(4))
    );
    clean(
        "md7 : active faulty sda1[0]\n      100 blocks super non-persistent WriteTransient=10(3) nfaults=2\n",
    );
    clean("md8 : active multipath sdb[1] sda[0]\n      17774464 blocks [2/1] [U_]\n");
}

#[test]
fn old_kernels_lines_are_read() {
    let text = "Personalities : [linear] [raid0] [raid1] [raid5]\nread_ahead 1024 sectors\nEvent: 3\n\
                md0 : active raid5 sdf1[5] sde1[4] sdd1[3] 35374080 blocks level 5, 32k chunk, algorithm 2 [3/3] [UUU]\n\
                md1 : active raid0 sda1 sdb1 6041472 blocks 32k chunks\nmd2 : inactive\n\
                md3 : active raid1 sdb2[1] sda2[0] 1048 blocks [2/2] [UU] resync=10% finish=1.6min\n\
                unused devices: sdx1 sdy1\n";
    let parsed = parse(text);
    assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
    let arrays = &parsed.value.arrays;
    assert_eq!((arrays[0].members.len(), up(&arrays[0]).as_str()), (3, "UUU"));
    assert_eq!(
        (arrays[1].members[1].name.as_str(), arrays[1].size_kib),
        ("sdb1", Some(6_041_472))
    );
    assert_eq!(arrays[2].activity, Activity::Inactive);
    assert_eq!(
        arrays[3].sync.as_ref().map(|sync| sync.action),
        Some(Action::Resync)
    );
    assert_eq!(parsed.value.unused, ["sdx1", "sdy1"]);
}

#[test]
fn bitmaps_are_read_and_an_unknown_one_is_only_told_of() {
    let with = |line: &str| {
        one(&format!(
            "md0 : active raid1 sdb1[1] sda1[0]\n 100 blocks super 1.2 [2/2] [UU]\n {line}\n"
        ))
    };
    let (array, problems) = with("bitmap: 0/30 pages [0KB], 65536KB chunk, file: /var/b");
    assert!(problems.is_empty());
    let bitmap = array.bitmap.unwrap();
    assert_eq!(
        (bitmap.pages, bitmap.pages_total, bitmap.chunk_bytes),
        (Some(0), Some(30), Some(64 << 20))
    );
    assert_eq!(bitmap.file.as_deref(), Some("/var/b"));
    assert_eq!(
        with("bitmap: 1/1 pages [4KB], 512B chunk")
            .0
            .bitmap
            .unwrap()
            .chunk_bytes,
        Some(512)
    );
    for line in ["bitmap: lockless 3", "lockless bitmap: 3"] {
        let (array, problems) = with(line);
        assert!(array.is_understood && problems.len() == 1, "{problems:?}");
    }
}

#[test]
fn what_is_not_known_makes_an_array_not_understood() {
    for text in [
        "md0 : active raid1 sdb1[1](X) sda1[0]\n 100 blocks [2/2] [UU]\n",
        "md0 : active raidF1 sdb1[1] sda1[0]\n 100 blocks [2/2] [UU]\n",
        "md0 : sleeping raid1 sdb1[1] sda1[0]\n 100 blocks [2/2] [UU]\n",
        "md0 : active (odd) raid1 sdb1[1] sda1[0]\n 100 blocks [2/2] [UU]\n",
        "md0 : active raid1 sdb1[1] sda1[0]\n 100 blocks [2/2] [UX]\n",
        "md0 : active raid1 sdb1[1] sda1[0]\n 100 blocks [2/2]\n",
        "md0 : active raid1 sdb1[1] sda1[0]\n 100 blocks [2/2] [U_]\n",
        "md0 : active raid1 sdb1[1] sda1[0]\n 100 blocks [2/2] [UUU]\n",
        "md0 : active raid1 sdb1[1] sda1[0]\n 100 blocks [2/2] [UU] newer\n",
        "md0 : active raid1 sdb1[1] sda1[0]\n 100 blocks [2/2] [UU]\n rebuilding = 1%\n",
        "md0 : active raid1 sdb1[1] sda1[0]\n 100 blocks [2/2] [UU]\n [=>] resync = soon\n",
        "md0 : active raid1 sdb1[x] sda1[0]\n 100 blocks [2/2] [UU]\n",
        "md0 : active raid1 sdb1[1 sda1[0]\n 100 blocks [2/2] [UU]\n",
        "md0 : active raid1 sdb1[1] sda1[0]\n",
        "md0 : active sdb1[1] sda1[0]\n 100 blocks [2/2] [UU]\n",
    ] {
        let (array, problems) = one(text);
        assert!(
            !array.is_understood && !problems.is_empty(),
            "{text}: {problems:?}"
        );
    }
}

#[test]
fn a_text_cut_anywhere_is_a_problem_or_the_same_arrays() {
    let whole = "Personalities : [raid1]\nmd0 : active raid1 sdb1[1](F) sda1[0]\n      100 blocks super 1.2 [2/1] [U_]\n      \
                 [=>..]  recovery =  8.5% (1/2) finish=17.0min speed=259783K/sec\n      \nunused devices: <none>\n";
    for end in 0..whole.len() - " <none>\n".len() - 1 {
        let parsed = parse(&whole[..end]);
        assert!(!parsed.problems.is_empty(), "{end}: {:?}", &whole[..end]);
    }
    assert!(parse(whole).problems.is_empty());
}

#[test]
fn a_server_without_arrays_is_no_problem_and_an_empty_text_is() {
    assert!(
        parse("Personalities : \nunused devices: <none>\n")
            .problems
            .is_empty()
    );
    for text in ["", "\n\n", "nonsense", " nonsense\n", "md0\n", ": active\n"] {
        assert!(!parse(text).problems.is_empty(), "{text:?}");
    }
}
