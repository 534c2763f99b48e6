//! Graphics processors, as far as their drivers tell through sysfs; today that is amdgpu's.

use muster_catalogue::{
    NODE_DRM_CARD_INFO, NODE_DRM_GPU_BUSY_PERCENT, NODE_DRM_MEMORY_GTT_SIZE_BYTES,
    NODE_DRM_MEMORY_GTT_USED_BYTES, NODE_DRM_MEMORY_VIS_VRAM_SIZE_BYTES, NODE_DRM_MEMORY_VIS_VRAM_USED_BYTES,
    NODE_DRM_MEMORY_VRAM_SIZE_BYTES, NODE_DRM_MEMORY_VRAM_USED_BYTES,
};

use super::Descriptor;
use super::reading::{Attribute, FileCollector, Reading, every_15s};
use crate::host::HostError;

/// Cards told of.
const CARDS_MAX: usize = 32;
const ROOT: &str = "/sys/class/drm";

/// The drm collector.
pub const DESCRIPTOR: Descriptor = every_15s(
    "drm",
    "load and memory of graphics processors, from /sys/class/drm (amdgpu)",
    |_| Box::new(DRM),
);

const DRM: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "no graphics processor whose driver tells of itself in /sys/class/drm",
    read,
};

/// Documentation/gpu/amdgpu/driver-misc.rst and thermal.rst.
const ATTRIBUTES: [Attribute; 7] = [
    Attribute::plain("gpu_busy_percent", NODE_DRM_GPU_BUSY_PERCENT),
    Attribute::plain("mem_info_gtt_total", NODE_DRM_MEMORY_GTT_SIZE_BYTES),
    Attribute::plain("mem_info_gtt_used", NODE_DRM_MEMORY_GTT_USED_BYTES),
    Attribute::plain("mem_info_vis_vram_total", NODE_DRM_MEMORY_VIS_VRAM_SIZE_BYTES),
    Attribute::plain("mem_info_vis_vram_used", NODE_DRM_MEMORY_VIS_VRAM_USED_BYTES),
    Attribute::plain("mem_info_vram_total", NODE_DRM_MEMORY_VRAM_SIZE_BYTES),
    Attribute::plain("mem_info_vram_used", NODE_DRM_MEMORY_VRAM_USED_BYTES),
];

fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    // Outputs of a card are named after it, such as card0-DP-1, and are no number.
    for (_, card) in reading.numbered(ROOT, "card", CARDS_MAX) {
        let folder = format!("{ROOT}/{card}/device");
        let word = |file: &str| reading.files.word(&format!("{folder}/{file}"));
        let (Some(_), Some(busy)) = (word("mem_info_vram_total"), word("gpu_busy_percent")) else {
            continue;
        };
        let labels = [
            ("card", card.as_str()),
            ("memory_vendor", &word("mem_info_vram_vendor").unwrap_or_default()),
            (
                "power_performance_level",
                &word("power_dpm_force_performance_level").unwrap_or_default(),
            ),
            ("unique_id", &word("unique_id").unwrap_or_default()),
            ("vendor", "amd"),
        ];
        // A card that sleeps refuses to be asked, and is not woken.
        if !busy.is_empty() {
            reading.draft.sample(&NODE_DRM_CARD_INFO, &labels, 1.0);
        }
        reading.attributes(&folder, &ATTRIBUTES, &[("card", &card)]);
    }
    Ok(())
}
