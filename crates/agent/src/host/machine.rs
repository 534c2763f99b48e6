//! What is easier had from `sysinfo` than from files: the processor and the operating system's long name.

use sysinfo::{CpuRefreshKind, RefreshKind, System};

/// Facts about the machine; each absent if it is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// The architecture, as `uname -m` prints it.
    pub architecture: Option<String>,
    /// The processor's name.
    pub cpu_model: Option<String>,
    /// Cores, without counting hardware threads twice.
    pub physical_cpu_count: Option<u64>,
}

/// Asks the machine; blocks.
pub(super) fn read() -> Machine {
    let refresh = RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing());
    let cpu_model = System::new_with_specifics(refresh)
        .ok()
        .and_then(|system| system.cpus().first().map(|cpu| cpu.brand().trim().to_owned()))
        .filter(|brand| !brand.is_empty());
    Machine {
        architecture: nix::sys::utsname::uname()
            .ok()
            .map(|names| names.machine().to_string_lossy().into_owned()),
        cpu_model,
        physical_cpu_count: System::physical_core_count()
            .ok()
            .and_then(|count| u64::try_from(count).ok()),
    }
}
